package gateway_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"firetower/core/gateway"
	"firetower/core/protocol"
	"firetower/core/topicpb"
)

func linked(t *testing.T, m *standIn, change func(*gateway.Options)) *gateway.Gateway {
	t.Helper()
	g := run(t, func(o *gateway.Options) {
		m.options(o)
		if change != nil {
			change(o)
		}
	})
	<-g.Ready()
	return g
}

// deadlines is a connection that counts how often a deadline is set, and reads nothing.
type deadlines struct {
	net.Conn

	reads  int
	latest time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.reads++
	d.latest = t
	return nil
}

func (d *deadlines) Read([]byte) (int, error) { return 1, nil }

// A link's deadline is never sooner than its patience, and is not set for each read.
func TestLinkReader_Deadline(t *testing.T) {
	for _, tc := range []struct {
		name     string
		patience time.Duration
		least    int // deadlines set in a hundred reads
		most     int
	}{
		{"while the link is made it has none of its own", 0, 0, 0},
		{"seldom", 24 * time.Hour, 1, 1},
		{"with time", time.Nanosecond, 2, 100},
	} {
		conn := &deadlines{}
		r := gateway.NewLinkReader(conn, tc.patience)
		for range 100 {
			before := time.Now()
			if n, err := r.Read(make([]byte, 8)); n != 1 || err != nil {
				t.Fatalf("read = %d, %v", n, err)
			}
			if soonest := before.Add(tc.patience); tc.patience > 0 && conn.latest.Before(soonest) {
				t.Fatalf("%s: a read until %v began at %v", tc.name, conn.latest, before)
			}
		}
		if conn.reads < tc.least || conn.reads > tc.most {
			t.Errorf("%s: %d deadlines set in 100 reads, want %d to %d", tc.name, conn.reads, tc.least, tc.most)
		}
	}
}

// A manager that takes something within each patience is waited for; one that takes nothing
// does not hold the writer for ever.
func TestWritePatiently(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	read := make(chan int)
	go func() {
		n := 0
		for b := make([]byte, 1); n < 500; n++ {
			if _, err := theirs.Read(b); err != nil {
				break
			}
		}
		read <- n
	}()
	packets := net.Buffers{make([]byte, 300), make([]byte, 300)}
	err := gateway.WritePatiently(ours, &packets, 100*time.Millisecond)
	if n := <-read; n != 500 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes were read before %v, want 500 and the deadline", n, err)
	}
	left := 0
	for _, p := range packets {
		left += len(p)
	}
	if left != 100 {
		t.Errorf("%d bytes are left, want 100", left)
	}
}

// U4-11, U4-13: each broken link is redialled once with a new epoch and a whole
// snapshot, and pushes arrive again without any client's doing.
func TestU4_11_LinkLossHealsByItself(t *testing.T) {
	m := newStandIn(t)
	g := linked(t, m, nil)
	c := dial(t, g, protocol.SubprotocolV1)
	c.subscribe("room")
	const cuts = 30
	for n := range cuts {
		m.cut()
		eventually(t, "a new session with the topic", func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.epoch != 0 && m.counts["room"] == 1 && len(m.hellos) == n+2
		})
		eventually(t, "up", func() bool { return g.Stats().LinkUp })
		m.send(protocol.Packet{Type: protocol.PublishKey, MessageID: "m", Source: "platform", Topic: "room", Body: fmt.Appendf(nil, "%d", n)})
		if r := c.nextReply(); string(r.Data) != fmt.Sprint(n) {
			t.Fatalf("after cut %d: %+v", n, r)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := 1; i < len(m.hellos); i++ {
		if m.hellos[i].Epoch <= m.hellos[i-1].Epoch {
			t.Errorf("epoch %d after %d", m.hellos[i].Epoch, m.hellos[i-1].Epoch)
		}
		if m.hellos[i].PrevEpoch != m.hellos[i-1].Epoch {
			t.Errorf("hello %d names the previous epoch %d, not %d", i, m.hellos[i].PrevEpoch, m.hellos[i-1].Epoch)
		}
		if want := uint64(min(i-1, 1)); i > 1 && m.hellos[i].Received != want {
			t.Errorf("hello %d says that %d messages arrived", i, m.hellos[i].Received)
		}
	}
	if n := g.Stats().LinkReconnects; n < cuts {
		t.Errorf("reconnects = %d", n)
	}
}

// Publishes go over the link with the client as their source, and come back.
func TestPublishOverTheLink(t *testing.T) {
	m := newStandIn(t)
	g := linked(t, m, nil)
	c := dial(t, g, protocol.SubprotocolV1)
	c.subscribe("room")
	const n = 500
	for i := range n {
		c.sendText(fmt.Sprintf(`{"type":"publish","topic":"room","data":%d}`, i))
	}
	for i := range n {
		if r := c.nextReply(); string(r.Data) != fmt.Sprint(i) {
			t.Fatalf("message %d is %+v", i, r)
		}
	}
	if err := g.Publish("bad topic", nil); err == nil {
		t.Error("a topic with a space was accepted")
	}
}

// Orders come over the link.
func TestOfflineOrdersOverTheLink(t *testing.T) {
	m := newStandIn(t)
	g := linked(t, m, byHeader)
	c := dialAs(t, g, "ann")
	c.subscribe("x,y,z")
	order := func(typ protocol.MessageType, topic, body string) {
		m.send(protocol.Packet{Type: typ, MessageID: "0", Source: protocol.SourceSystem, Topic: topic, Body: []byte(body)})
	}
	order(protocol.OfflineTopicKey, "x", "")
	if r := c.nextReply(); r.Type != "unSubscribe" || r.Topics[0].Topic != "x" {
		t.Errorf("%+v", r)
	}
	order(protocol.OfflineTopicByUserIDKey, "y", "ann")
	if r := c.nextReply(); r.Type != "unSubscribe" || r.Topics[0].Topic != "y" {
		t.Errorf("%+v", r)
	}
	order("nonsense", "y", "")
	order(protocol.OfflineUserKey, "*", "ann")
	if code := c.closed(); code != protocol.CloseKicked {
		t.Errorf("closed with %d", code)
	}
	if n := g.Stats().Drops[gateway.DropBadPush]; n != 1 {
		t.Errorf("unknown packets = %d", n)
	}
}

// U4-12, U4-16: a manager that falls silent is given up after two heartbeats,
// garbage ends the link, and the gateway lives on.
func TestU4_16_SilentManagerIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var links sync.WaitGroup
	defer links.Wait()
	accepted := make(chan net.Conn, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	g := run(t, func(o *gateway.Options) {
		o.ManagerLink, o.ManagerGRPC = l.Addr().String(), "127.0.0.1:1"
		o.LinkHeartbeat = 30 * time.Millisecond
		o.RedialMin, o.RedialMax = time.Millisecond, 5*time.Millisecond
	})
	welcome := func(c net.Conn) {
		r := protocol.NewReader(c, 1<<20)
		for {
			p, err := r.Next()
			if err != nil {
				return
			}
			if p.Type == protocol.SnapshotKey {
				break
			}
		}
		body, _ := proto.Marshal(&topicpb.LinkWelcome{})
		b, _ := protocol.Enpack(protocol.Packet{Type: protocol.WelcomeKey, MessageID: "0", Source: "system", Topic: "*", Body: body})
		_, _ = c.Write(b)
	}
	for round := range 3 {
		c := <-accepted
		welcome(c)
		eventually(t, "up", func() bool { return g.Stats().LinkUp })
		switch round {
		case 0: // silence; the socket stays open until the end
			defer c.Close()
		case 1:
			_, _ = c.Write([]byte(strings.Repeat("garbage", 100)))
			defer c.Close()
		case 2:
			_ = c.Close()
		}
		eventually(t, "down", func() bool { return int(g.Stats().LinkReconnects) > round })
	}
}

// U4-14: waits before redials grow, never pass the bound, and differ.
func TestU4_14_BackoffIsJittered(t *testing.T) {
	const least, most = int64(time.Millisecond), int64(64 * time.Millisecond)
	seen := make(map[int64]bool)
	var early, late int64
	for range 200 {
		waits := gateway.Backoff(least, most, 12)
		for i, w := range waits {
			if w < least/2 || w > most {
				t.Fatalf("wait %d is %v", i, time.Duration(w))
			}
		}
		early += waits[0]
		late += waits[11]
		seen[waits[11]] = true
	}
	if late < 10*early {
		t.Errorf("late waits sum to %v, early ones to %v", time.Duration(late), time.Duration(early))
	}
	if len(seen) < 150 {
		t.Errorf("only %d different waits in 200", len(seen))
	}
}
