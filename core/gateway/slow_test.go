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

// U4-28, U5-17: a client that stops reading delays nobody, is disconnected with
// 4008, and what it did not get is counted.
func TestU4_28_SlowClientDelaysNobody(t *testing.T) {
	g := run(t, func(o *gateway.Options) {
		o.Bucket.Num = 1 // everyone is in the Bucket of the slow one
		o.Limits.PendingBytes = 256 << 10
		o.CloseTimeout = patience // the slow one will read again, late
	})
	stuck := dial(t, g, protocol.SubprotocolV1)
	stuck.subscribe("room")
	var healthy []*wsClient
	for range 10 {
		c := dial(t, g, protocol.SubprotocolV1)
		c.subscribe("room")
		healthy = append(healthy, c)
	}
	body := []byte(`"` + strings.Repeat("x", 32<<10) + `"`)
	var sent int
	for g.Stats().Disconnects[gateway.DisconnectSlow] == 0 && sent < 10000 && g.Stats().Drops[gateway.DropSlowDisconnect] == 0 {
		if err := g.Publish("room", body); err != nil {
			t.Fatal(err)
		}
		sent++
		for _, c := range healthy {
			if r := c.nextReply(); len(r.Data) != len(body) {
				t.Fatalf("message %d: %d bytes", sent, len(r.Data))
			}
		}
	}
	got := 0
	code := 0
	for code == 0 {
		_ = stuck.SetReadDeadline(time.Now().Add(patience))
		if _, _, err := stuck.ReadMessage(); err != nil {
			var ce *websocket.CloseError
			if errors.As(err, &ce) {
				code = ce.Code
				break
			}
			t.Fatalf("after %d messages: %v", got, err)
		}
		got++
	}
	if code != protocol.CloseSlowConsumer {
		t.Errorf("closed with %d", code)
	}
	eventually(t, "the disconnect is counted", func() bool { return g.Stats().Disconnects[gateway.DisconnectSlow] == 1 })
	if drops := g.Stats().Drops[gateway.DropSlowDisconnect]; int(drops)+got != sent {
		t.Errorf("of %d messages %d arrived and %d are counted as dropped", sent, got, drops)
	}
	if s := g.Stats(); s.Backlogged != 0 || s.BacklogBytes != 0 {
		t.Errorf("left behind: %d backlogs, %d bytes", s.Backlogged, s.BacklogBytes)
	}
}

// A client that never reads again is gone after PendingAge and CloseTimeout,
// with nothing left behind.
func TestSlowClientThatNeverReadsIsGone(t *testing.T) {
	g := run(t, func(o *gateway.Options) {
		o.Limits.PendingAge = 50 * time.Millisecond
		o.CloseTimeout = 50 * time.Millisecond
	})
	stuck := dial(t, g, "")
	stuck.subscribeV0(g, "room", 1)
	body := []byte(strings.Repeat("x", 64<<10))
	eventually(t, "it is gone", func() bool {
		s := g.Stats()
		if s.Backlogged == 0 && s.CentralQueue == 0 && s.Connections == 1 {
			// Its socket has taken all, or again has room for what it did not take at first.
			if err := g.Publish("room", body); err != nil {
				t.Fatal(err)
			}
		}
		return s.Connections == 0
	})
	if s := g.Stats(); s.Disconnects[gateway.DisconnectSlow] != 1 || s.Backlogged != 0 || s.BacklogBytes != 0 || s.Topics != 0 {
		t.Errorf("%+v", s)
	}
}

func TestSlowPolicies(t *testing.T) {
	rows := []struct {
		name   string
		policy gateway.SlowPolicy
		reason gateway.DropReason
	}{
		{"drop oldest", gateway.SlowDropOldest, gateway.DropSlowOldest},
		{"latest per topic", gateway.SlowLatest, gateway.DropSlowLatest},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			g := run(t, func(o *gateway.Options) {
				o.SlowPolicy = row.policy
				o.Limits.PendingBytes = 128 << 10
				o.Limits.PendingAge = patience
			})
			c := dial(t, g, protocol.SubprotocolV1)
			c.subscribe("a,b")
			pad := strings.Repeat("x", 16<<10)
			sent := 0
			for g.Stats().Drops[row.reason] < 20 {
				for _, topic := range []string{"a", "b"} {
					if err := g.Publish(topic, fmt.Appendf(nil, `"%d %s"`, sent, pad)); err != nil {
						t.Fatal(err)
					}
				}
				sent++
				eventually(t, "taken", func() bool { return g.Stats().CentralQueue == 0 })
			}
			if err := g.Publish("a", []byte(`"end"`)); err != nil {
				t.Fatal(err)
			}
			if err := g.Publish("b", []byte(`"end"`)); err != nil {
				t.Fatal(err)
			}
			last := map[string]int{"a": -1, "b": -1}
			got := 0
			for ended := 0; ended < 2; {
				r := c.nextReply()
				if string(r.Data) == `"end"` {
					ended++
					continue
				}
				var n int
				if _, err := fmt.Sscanf(string(r.Data), `"%d `, &n); err != nil {
					t.Fatal(err)
				}
				if n <= last[r.Topic] {
					t.Fatalf("topic %s: %d after %d", r.Topic, n, last[r.Topic])
				}
				last[r.Topic] = n
				got++
			}
			var dropped int64
			for _, n := range g.Stats().Drops {
				dropped += n
			}
			if got+int(dropped) != 2*sent {
				t.Errorf("of %d messages %d arrived and %d are counted as dropped", 2*sent, got, dropped)
			}
			if n := g.Stats().Connections; n != 1 {
				t.Errorf("connections = %d", n)
			}
		})
	}
}

// U4-29: the heartbeat does not go through the data queue of a connection that
// has one, and blocks nothing.
func TestU4_29_HeartbeatBesideABacklog(t *testing.T) {
	g := run(t, func(o *gateway.Options) {
		o.Heartbeat = 30 * time.Millisecond
		o.Limits.PendingAge = 200 * time.Millisecond
	})
	stuck := dial(t, g, "")
	stuck.subscribeV0(g, "room", 1)
	var beats, pings atomic.Int64
	other := dial(t, g, "")
	other.SetPingHandler(func(string) error {
		pings.Add(1)
		return other.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Second))
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, b, err := other.ReadMessage(); err != nil {
				return
			} else if string(b) == protocol.HeartbeatFrame {
				beats.Add(1)
			}
		}
	}()
	// It answers nothing and reads nothing: it is gone as dead while it has no
	// backlog yet, and as too slow once it has.
	eventually(t, "backlog or gone", func() bool {
		_ = g.Publish("room", []byte(strings.Repeat("x", 32<<10)))
		s := g.Stats()
		return s.Backlogged == 1 || s.Connections == 1
	})
	eventually(t, "heartbeats go on", func() bool { return beats.Load() >= 3 && pings.Load() >= 3 })
	eventually(t, "the dead one is gone", func() bool { return g.Stats().Connections == 1 })
	_ = other.Close()
	<-ended
}

// U4-42: a peer that answers no pings is gone after two heartbeats.
func TestU4_42_DeadPeerIsReaped(t *testing.T) {
	timedOut := make(chan struct{}, 1)
	g := run(t, func(o *gateway.Options) {
		o.Heartbeat = 40 * time.Millisecond
		o.CloseTimeout = 20 * time.Millisecond
		o.OnTower = func(tower *gateway.FireTower) {
			tower.SetReadTimeoutHandler(func(*gateway.FireTower) { timedOut <- struct{}{} })
		}
	})
	dial(t, g, protocol.SubprotocolV1) // gorilla answers pings only while it reads
	<-timedOut
	eventually(t, "it is gone", func() bool { return g.Stats().Connections == 0 })
	if n := g.Stats().Disconnects[gateway.DisconnectDead]; n != 1 {
		t.Errorf("dead peers = %d", n)
	}
}
