package gateway_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

// fill publishes to "room" until the connection there has a backlog.
func fill(t *testing.T, g *gateway.Gateway, size int) (sent int) {
	t.Helper()
	body := []byte(`"` + strings.Repeat("x", size) + `"`)
	for g.Stats().Backlogged == 0 {
		if err := g.Publish("room", body); err != nil {
			t.Fatal(err)
		}
		sent++
		eventually(t, "taken", func() bool { return g.Stats().CentralQueue == 0 })
	}
	return sent
}

// A client that reads slowly but steadily is alive, though it gets no pings
// while it has a backlog.
func TestSlowReaderIsNotDead(t *testing.T) {
	g := run(t, func(o *gateway.Options) {
		o.SlowPolicy = gateway.SlowDropOldest
		o.Heartbeat = 100 * time.Millisecond
		o.Limits.PendingBytes = 256 << 10
	})
	c := dial(t, g, protocol.SubprotocolV1)
	c.subscribe("room")
	var beats atomic.Int64
	other := dial(t, g, "")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, _, err := other.ReadMessage(); err != nil {
				return
			}
			beats.Add(1)
		}
	}()
	body := []byte(`"` + strings.Repeat("x", 32<<10) + `"`)
	for beats.Load() < 10 { // ten intervals, in which it is never without a backlog
		for range 10 {
			if err := g.Publish("room", body); err != nil {
				t.Fatal(err)
			}
		}
		c.nextReply()
	}
	if s := g.Stats(); s.Connections != 2 || s.Drops[gateway.DropSlowOldest] == 0 {
		t.Errorf("%d connections, dropped %v, ended %v", s.Connections, s.Drops, s.Disconnects)
	}
	_ = other.Close()
	<-ended
}

// A ping that comes while there is a backlog is answered, before what waits.
func TestPingBesideABacklogIsAnswered(t *testing.T) {
	g := run(t, nil)
	c := dial(t, g, protocol.SubprotocolV1)
	c.subscribe("room")
	fill(t, g, 16<<10)
	for _, data := range []string{"first", "second"} {
		if err := c.WriteControl(websocket.PingMessage, []byte(data), time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	pong := ""
	c.SetPongHandler(func(data string) error { pong = data; return nil })
	for pong != "second" {
		c.nextReply()
		if g.Stats().Backlogged == 0 {
			if err := g.Publish("room", []byte("1")); err != nil { // for something to read behind the pong
				t.Fatal(err)
			}
		}
	}
}

// The policies that tolerate slowness do so for messages of any size.
func TestSlowPoliciesNeverDisconnectForSize(t *testing.T) {
	for _, policy := range []gateway.SlowPolicy{gateway.SlowDropOldest, gateway.SlowLatest} {
		for _, size := range []int{40 << 10, 70 << 10} {
			t.Run(fmt.Sprintf("%s/%d", policy, size), func(t *testing.T) {
				g := run(t, func(o *gateway.Options) {
					o.SlowPolicy = policy
					o.Limits.PendingBytes = 64 << 10
					o.Limits.PendingAge = patience
				})
				c := dial(t, g, protocol.SubprotocolV1)
				c.subscribe("room")
				sent := fill(t, g, size)
				for range 20 {
					if err := g.Publish("room", []byte(`"`+strings.Repeat("x", size)+`"`)); err != nil {
						t.Fatal(err)
					}
					sent++
				}
				eventually(t, "taken", func() bool { return g.Stats().CentralQueue == 0 })
				if err := g.Publish("room", []byte(`"newest"`)); err != nil {
					t.Fatal(err)
				}
				got := 0
				for string(c.nextReply().Data) != `"newest"` {
					got++
				}
				var dropped int64
				for _, n := range g.Stats().Drops {
					dropped += n
				}
				if got+int(dropped) != sent {
					t.Errorf("of %d messages %d arrived and %d are counted as dropped", sent, got, dropped)
				}
			})
		}
	}
}

// What is wrong is told after what was sent before, never inside of it.
func TestErrorBesideABacklogKeepsFramesWhole(t *testing.T) {
	g := run(t, func(o *gateway.Options) { o.CloseTimeout = patience })
	c := dial(t, g, protocol.SubprotocolV1)
	c.subscribe("room")
	sent := fill(t, g, 32<<10)
	go func() { _ = c.WriteMessage(websocket.TextMessage, []byte(strings.Repeat("y", 70<<10))) }()
	eventually(t, "it is out of the topic", func() bool { return g.Stats().Subscriptions == 0 })
	for got := 0; ; got++ {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, b, err := c.ReadMessage()
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			if closed.Code != websocket.CloseMessageTooBig || got != sent {
				t.Errorf("closed with %d after %d of %d messages", closed.Code, got, sent)
			}
			return
		}
		if err != nil || len(b) < 32<<10 {
			t.Fatalf("message %d has %d bytes: %v", got, len(b), err)
		}
	}
}

// One handler that takes its time costs no other connection its heartbeat.
func TestSlowReadTimeoutHandlerDelaysNobody(t *testing.T) {
	release := make(chan struct{})
	g := run(t, func(o *gateway.Options) {
		o.Heartbeat = 50 * time.Millisecond
		o.OnTower = func(ft *gateway.FireTower) {
			ft.SetReadTimeoutHandler(func(*gateway.FireTower) { <-release })
		}
	})
	dial(t, g, protocol.SubprotocolV1) // answers no pings, since it does not read
	healthy := dial(t, g, "")
	beats := 0
	for beats < 20 {
		_ = healthy.SetReadDeadline(time.Now().Add(patience))
		if _, b, err := healthy.ReadMessage(); err != nil {
			t.Fatal(err)
		} else if string(b) == protocol.HeartbeatFrame {
			beats++
		}
	}
	close(release)
	eventually(t, "the dead one is gone", func() bool { return g.Stats().Disconnects[gateway.DisconnectDead] == 1 })
}

// A stop waits for no manager: who waits for one to know a topic is told at once.
func TestDrainWaitsForNoManager(t *testing.T) {
	g, stop := runStoppable(t, func(o *gateway.Options) {
		o.ManagerLink, o.ManagerGRPC = "127.0.0.1:1", "127.0.0.1:1"
		o.SubscribeTimeout = time.Hour
	})
	c := dial(t, g, protocol.SubprotocolV1)
	c.sendText(`{"type":"subscribe","topic":"x","id":"1"}`)
	eventually(t, "it waits", func() bool { return g.Stats().Subscriptions == 1 })
	stop()
	if s := g.Stats(); s.Topics != 0 || s.Connections != 0 {
		t.Errorf("left: %d topics, %d connections", s.Topics, s.Connections)
	}
}

// A handler that never returns is named, and does not keep a gateway from stopping.
func TestDrainNamesHandlersThatHang(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	o := gateway.DefaultOptions()
	o.Listen = "127.0.0.1:0"
	o.DrainTimeout, o.CloseTimeout = 20*time.Millisecond, 20*time.Millisecond
	made := make(chan struct{})
	o.OnTower = func(ft *gateway.FireTower) {
		ft.SetOnOfflineHandler(func() { <-release })
		close(made)
	}
	err := runUntil(t, o, func(g *gateway.Gateway) {
		dial(t, g, "")
		<-made // the client has its answer before that
	})
	if err == nil || !strings.Contains(err.Error(), "1 connections have not ended") {
		t.Errorf("Run: %v", err)
	}
}

// A subscription that is taken back while it waits for the manager leaves no topic.
func TestKickWhileSubscribingLeavesNothing(t *testing.T) {
	var tower atomic.Pointer[gateway.FireTower]
	g := run(t, func(o *gateway.Options) {
		o.ManagerLink, o.ManagerGRPC = "127.0.0.1:1", "127.0.0.1:1"
		o.SubscribeTimeout = 100 * time.Millisecond
		o.OnTower = func(ft *gateway.FireTower) { tower.Store(ft) }
	})
	c := dial(t, g, protocol.SubprotocolV1)
	c.sendText(`{"type":"subscribe","topic":"x","id":"1"}`)
	eventually(t, "it waits", func() bool { return g.Stats().Topics == 1 })
	tower.Load().Close(protocol.CloseKicked, "kicked")
	eventually(t, "nothing is left", func() bool { s := g.Stats(); return s.Connections == 0 && s.Topics == 0 })
}

// A message that no packet may hold is refused, and the link stays.
func TestTooLargeAMessageKeepsTheLink(t *testing.T) {
	m := newStandIn(t)
	g := linked(t, m, nil)
	if err := g.Publish("room", make([]byte, 9<<20)); !errors.Is(err, protocol.ErrPacketTooLarge) {
		t.Errorf("Publish: %v", err)
	}
	if s := g.Stats(); !s.LinkUp || s.LinkReconnects != 0 {
		t.Errorf("link up %v, reconnects %d", s.LinkUp, s.LinkReconnects)
	}
}
