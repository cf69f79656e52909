package gateway_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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

// A client is answered after the manager knows, and the manager is told of the
// first and of the last subscriber, and of counts in between.
func TestManagerKnowsBeforeTheClientIsAnswered(t *testing.T) {
	m := newStandIn(t)
	g := linked(t, m, nil)
	a, b := dial(t, g, protocol.SubprotocolV1), dial(t, g, protocol.SubprotocolV1)
	for n := range 50 {
		topic := fmt.Sprintf("room-%d", n)
		a.subscribe(topic)
		if m.count(topic) == 0 {
			t.Fatalf("%s was acknowledged before the manager knew", topic)
		}
	}
	b.subscribe("room-1")
	eventually(t, "the count", func() bool { return m.count("room-1") == 2 })
	if n, err := g.GetConnectNum(t.Context(), "room-1"); err != nil || n != 2 {
		t.Errorf("GetConnectNum = %d, %v", n, err)
	}
	_ = a.Close()
	eventually(t, "one left", func() bool { return m.count("room-1") == 1 && m.count("room-2") == 0 })
	_ = b.Close()
	eventually(t, "none left", func() bool { return m.count("room-1") == 0 })
	if ok, err := g.CheckTopicExist(t.Context(), "room-1"); err != nil || ok {
		t.Errorf("CheckTopicExist = %v, %v", ok, err)
	}
	eventually(t, "forgotten here too", func() bool { return g.Stats().Topics == 0 })
}

// U4-39: many who join one topic cost a handful of calls.
func TestU4_39_ManyJoinsFewCalls(t *testing.T) {
	m := newStandIn(t)
	g := linked(t, m, nil)
	const n = 300
	clients := make([]*wsClient, n)
	for i := range clients {
		clients[i] = dial(t, g, protocol.SubprotocolV1)
	}
	before := m.callsSoFar()
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c.subscribe(fmt.Sprintf("room,own-%d", i))
		}()
	}
	wg.Wait()
	eventually(t, "the count", func() bool { return m.count("room") == n })
	if calls := m.callsSoFar() - before; calls > n/3 {
		t.Errorf("%d calls for %d joins of %d topics", calls, n, n+1)
	}
}

// U4-38: subscribing before the manager is up waits, and then works.
func TestU4_38_SubscribeBeforeTheManagerIsUp(t *testing.T) {
	m := newStandIn(t)
	m.set(func() {
		m.welcome = func(*topicpb.LinkHello) (protocol.MessageType, proto.Message) {
			return protocol.RefuseKey, &topicpb.LinkRefuse{Code: "draining", Reason: "not yet"}
		}
	})
	g := run(t, func(o *gateway.Options) { m.options(o); o.SubscribeTimeout = patience })
	c := dial(t, g, protocol.SubprotocolV1)
	c.sendText(`{"type":"subscribe","topic":"room","id":"sub"}`)
	eventually(t, "it tries", func() bool { return g.Stats().LinkReconnects > 3 })
	m.set(func() {
		m.welcome = func(h *topicpb.LinkHello) (protocol.MessageType, proto.Message) {
			return protocol.WelcomeKey, &topicpb.LinkWelcome{Epoch: h.Epoch, HeartbeatMs: 1000}
		}
	})
	if r := c.nextReply(); !r.OK {
		t.Errorf("%+v", r)
	}
	if m.count("room") != 1 {
		t.Error("the manager does not know")
	}
}

// U4-38, U5-06: without a manager a subscription fails by name, in time, and
// leaves nothing; so does a publish.
func TestU4_38_NoManagerIsATypedError(t *testing.T) {
	g := run(t, func(o *gateway.Options) {
		o.ManagerLink, o.ManagerGRPC = "127.0.0.1:1", "127.0.0.1:1"
		o.SubscribeTimeout = 50 * time.Millisecond
	})
	c := dial(t, g, protocol.SubprotocolV1)
	c.sendText(`{"type":"subscribe","topic":"a,b","id":"1"}`)
	if r := c.nextReply(); r.OK || len(r.Topics) != 2 || r.Topics[1].Code != string(protocol.CodeUnavailable) {
		t.Errorf("%+v", r)
	}
	c.sendText(`{"type":"publish","topic":"a","data":1,"id":"2"}`)
	if r := c.nextReply(); r.OK || r.Topics[0].Code != string(protocol.CodeUnavailable) {
		t.Errorf("%+v", r)
	}
	if s := g.Stats(); s.Topics != 0 || s.Subscriptions != 0 || s.Drops[gateway.DropLinkDown] != 1 {
		t.Errorf("%+v", s)
	}
	// U4-31: and those who leave meanwhile leave nothing either.
	before := runtime.NumGoroutine()
	for range 50 {
		_ = dial(t, g, protocol.SubprotocolV1).Close()
	}
	eventually(t, "they are gone", func() bool { return g.Stats().Connections == 1 && runtime.NumGoroutine() <= before })
}

// A manager that fails calls is asked again; clients get an error in time and no
// half subscription.
func TestFailingCallsAreRepeated(t *testing.T) {
	m := newStandIn(t)
	g := linked(t, m, func(o *gateway.Options) { o.SubscribeTimeout = 50 * time.Millisecond })
	m.set(func() { m.refuse = status.Error(codes.Internal, "broken") })
	c := dial(t, g, protocol.SubprotocolV1)
	c.sendText(`{"type":"subscribe","topic":"room","id":"1"}`)
	if r := c.nextReply(); r.OK {
		t.Errorf("%+v", r)
	}
	m.set(func() { m.refuse = nil })
	c.subscribeSoon("room")
	if m.count("room") != 1 {
		t.Errorf("count = %d", m.count("room"))
	}
}

// A topic that the manager refuses costs its own subscribers the subscription,
// and nobody else.
func TestOneRefusedTopicHoldsUpNoOther(t *testing.T) {
	m := newStandIn(t)
	m.set(func() { m.refuseTopic = "bad" })
	g := linked(t, m, func(o *gateway.Options) { o.SubscribeTimeout = 200 * time.Millisecond })
	c := dial(t, g, protocol.SubprotocolV1)
	c.sendText(`{"type":"subscribe","topic":"a,bad,b","id":"1"}`)
	r := c.nextReply()
	if r.OK || len(r.Topics) != 3 || !r.Topics[0].OK || r.Topics[1].Code != string(protocol.CodeUnavailable) || !r.Topics[2].OK {
		t.Errorf("%+v", r)
	}
	c.subscribe("c")
	if m.count("a") != 1 || m.count("b") != 1 || m.count("c") != 1 {
		t.Errorf("the manager knows %v", m.counts)
	}
}

// A topic that the manager refuses is found by halves among those that were told of with it.
func TestRefusedTopicIsFoundByHalves(t *testing.T) {
	r, err := gateway.NewRegistrar(gateway.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Snapshot(1)
	r.Begin(1)
	const topics, bad = 4000, "t-1234"
	for i := range topics {
		r.Join(fmt.Sprintf("t-%d", i))
	}
	told := make(map[string]bool)
	calls, alone := 0, 0
	for len(told) < topics-1 || alone == 0 {
		if calls++; calls > 40 {
			t.Fatalf("%d of %d topics told in %d calls, the bad one refused by itself %d times", len(told), topics, calls, alone)
		}
		ended := make(chan error, 1)
		go func() { ended <- r.Sync(t.Context()) }()
		call := <-r.Calls
		if slices.ContainsFunc(call.Topics, func(tc *topicpb.TopicCount) bool { return tc.Topic == bad }) {
			if len(call.Topics) == 1 {
				alone++
			}
			r.Answers <- status.Error(codes.InvalidArgument, "not this one")
		} else {
			for _, tc := range call.Topics {
				told[tc.Topic] = true
			}
			r.Answers <- nil
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	if alone != 1 {
		t.Errorf("the bad topic was refused by itself %d times, want once", alone)
	}
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

// A call that fails after its session says nothing about a topic that another
// session's snapshot holds.
func TestLateFailureDoesNotSilenceATopic(t *testing.T) {
	r, err := gateway.NewRegistrar(gateway.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	leave := r.Join("x")
	r.Snapshot(1)
	r.Begin(1)
	leave()
	ended := make(chan error, 1)
	go func() { ended <- r.Sync(t.Context()) }()
	if call := <-r.Calls; len(call.Topics) != 1 || call.Topics[0].Count != 0 {
		t.Fatalf("told %v", call)
	}
	r.Begin(0)    // the link breaks while the call is on its way
	r.Join("x")() // the topic comes and goes
	r.Join("x")   // and comes
	if snapshot := r.Snapshot(2); len(snapshot) != 1 || snapshot[0].Count != 1 {
		t.Fatalf("snapshot %v", snapshot)
	}
	r.Answers <- status.Error(codes.Unavailable, "gone")
	if err := <-ended; err == nil {
		t.Error("the failure was not seen")
	}
	r.Begin(2)
	go func() { ended <- r.Sync(t.Context()) }()
	select {
	case call := <-r.Calls:
		t.Errorf("the new session was told %v", call.Topics)
		r.Answers <- nil
		<-ended
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	}
}

// subscribeSoon subscribes, again while the gateway says that it cannot now.
func (c *wsClient) subscribeSoon(topic string) {
	c.t.Helper()
	eventually(c.t, "subscribed", func() bool {
		c.sendText(fmt.Sprintf(`{"type":"subscribe","topic":%q,"id":"again"}`, topic))
		return c.nextReply().OK
	})
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

// U5-07: whatever clients do while links break and calls fail, the manager's
// counts end up right.
func TestU5_07_CountsConverge(t *testing.T) {
	m := newStandIn(t)
	g := linked(t, m, nil)
	rng := rand.New(rand.NewPCG(7, 7))
	var clients []*wsClient
	for range 8 {
		clients = append(clients, dial(t, g, ""))
	}
	subs := make([]map[string]bool, len(clients))
	for i := range subs {
		subs[i] = make(map[string]bool)
	}
	for step := range 400 {
		i, topic := rng.IntN(len(clients)), fmt.Sprintf("t%d", rng.IntN(5))
		if subs[i][topic] {
			clients[i].sendText(fmt.Sprintf(`{"type":"unSubscribe","topic":%q}`, topic))
			delete(subs[i], topic)
		} else {
			clients[i].sendText(fmt.Sprintf(`{"type":"subscribe","topic":%q}`, topic))
			subs[i][topic] = true
		}
		switch {
		case step%97 == 0:
			m.cut()
		case step%31 == 0:
			m.set(func() { m.refuse = status.Error(codes.Unavailable, "busy") })
		case step%31 == 5:
			m.set(func() { m.refuse = nil })
		}
	}
	m.set(func() { m.refuse = nil })
	want := make(map[string]int64)
	for _, s := range subs {
		for topic := range s {
			want[topic]++
		}
	}
	eventually(t, "the counts are right", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.counts) != len(want) {
			return false
		}
		for topic, n := range want {
			if m.counts[topic] != n {
				return false
			}
		}
		return true
	})
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
