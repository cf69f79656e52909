package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
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

// newRegistrar makes a registrar whose calls the test answers.
func newRegistrar(t testing.TB, o gateway.Options) *gateway.Registrar {
	t.Helper()
	r, err := gateway.NewRegistrar(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// tell makes a call, which is answered at once, and returns the counts that it told; nil when
// there was nothing to tell.
func tell(t *testing.T, r *gateway.Registrar) (told map[string]int64) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- r.Sync(t.Context()) }()
	for {
		select {
		case call := <-r.Calls:
			told = counts(call)
			r.Answers <- nil
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			return told
		}
	}
}

func counts(call *topicpb.SyncTopicsRequest) map[string]int64 {
	m := make(map[string]int64, len(call.Topics))
	for _, tc := range call.Topics {
		m[tc.Topic] = tc.Count
	}
	return m
}

// Topics whose last subscriber left are forgotten also when the session ends before
// their call does, whatever the call's end is.
func TestTopicsOfALateCallAreForgotten(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before bool // they left before the call
		answer error
	}{
		{"left before a call that fails", true, status.Error(codes.Unavailable, "gone")},
		{"left before a call that was given up", true, status.Error(codes.Canceled, "ended")},
		{"left before a call that is answered", true, nil},
		{"left during a call that fails", false, status.Error(codes.Unavailable, "gone")},
		{"left during a call that is answered", false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRegistrar(t, gateway.DefaultOptions())
			r.Snapshot(1)
			r.Begin(1)
			var leave []func()
			for i := range 100 {
				leave = append(leave, r.Join(fmt.Sprintf("t-%d", i)))
			}
			leaveAll := func() {
				for _, f := range leave {
					f()
				}
			}
			if tt.before {
				tell(t, r)
				leaveAll()
			}
			ended := make(chan error, 1)
			go func() { ended <- r.Sync(t.Context()) }()
			if call := <-r.Calls; len(call.Topics) != len(leave) {
				t.Fatalf("told of %d topics", len(call.Topics))
			}
			if !tt.before {
				leaveAll()
			}
			r.Begin(0)
			r.Answers <- tt.answer
			<-ended
			if n := r.Topics(); n != 0 {
				t.Errorf("%d topics are left", n)
			}
		})
	}
}

// A batch that was cut in one session and comes to be sent in the next is not sent, and the
// next session is told what changed since its snapshot.
func TestBatchOfAnEndedSession(t *testing.T) {
	for _, tt := range []struct {
		name string
		// before and after are what happens on either side of the next session's snapshot.
		before, after func(join, leave func())
		snapshot      int64
		want          map[string]int64
		topics        int64
	}{
		{"one more", nil, func(join, _ func()) { join() }, 1, map[string]int64{"x": 2}, 1},
		{"the last left", nil, func(_, leave func()) { leave() }, 1, map[string]int64{"x": 0}, 0},
		{"the first came", func(_, leave func()) { leave() }, func(join, _ func()) { join() }, 0, map[string]int64{"x": 1}, 1},
		{"nothing", nil, nil, 1, nil, 1},
		{"gone before", func(_, leave func()) { leave() }, nil, 0, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRegistrar(t, gateway.DefaultOptions())
			leave := r.Join("x") // before there is a session
			do := func(f func(join, leave func())) {
				if f != nil {
					f(func() { r.Join("x") }, leave)
				}
			}
			r.Snapshot(1)
			r.Begin(1)
			r.Join("x")()
			late := r.Cut()
			r.Begin(0)
			do(tt.before)
			if s := r.Snapshot(2); len(s) > 1 || len(s) == 1 && s[0].Count != tt.snapshot || len(s) == 0 && tt.snapshot > 0 {
				t.Fatalf("snapshot %v", s)
			}
			r.Begin(2)
			do(tt.after)
			ended := make(chan error, 1)
			go func() { ended <- late(t.Context()) }()
			select {
			case call := <-r.Calls:
				t.Errorf("session %d was told %v", call.Epoch, call.Topics)
				r.Answers <- status.Error(codes.FailedPrecondition, "no such session")
				<-ended
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			}
			if told := tell(t, r); !maps.Equal(told, tt.want) {
				t.Errorf("told %v, want %v", told, tt.want)
			}
			if n := r.Topics(); n != tt.topics {
				t.Errorf("%d topics are in the index, want %d", n, tt.topics)
			}
		})
	}
}

// A topic that the manager counts is not forgotten between the removal of its last subscriber and
// the mark that has the manager told.
func TestTopicIsNotForgottenUntold(t *testing.T) {
	t.Run("while a call succeeds", func(t *testing.T) {
		r := newRegistrar(t, gateway.DefaultOptions())
		r.Snapshot(1)
		r.Begin(1)
		leave := r.JoinSlowly("x")
		ended := make(chan error, 1)
		go func() { ended <- r.Sync(t.Context()) }()
		<-r.Calls
		mark := leave()
		r.Answers <- nil
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		mark()
		if told := tell(t, r); !maps.Equal(told, map[string]int64{"x": 0}) || r.Topics() != 0 {
			t.Errorf("told %v, %d topics are left", told, r.Topics())
		}
	})
	t.Run("while one who waited gives up", func(t *testing.T) {
		r := newRegistrar(t, gateway.DefaultOptions())
		leave := r.JoinSlowly("x")
		r.Snapshot(1)
		mark := leave()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.WaitKnown(ctx, "x"); !errors.Is(err, gateway.ErrNotRegistered) {
			t.Fatal(err)
		}
		mark()
		r.Begin(1)
		if told := tell(t, r); !maps.Equal(told, map[string]int64{"x": 0}) || r.Topics() != 0 {
			t.Errorf("told %v, %d topics are left", told, r.Topics())
		}
	})
}

// Whatever the order in which subscribers come and go, sessions begin and end, and calls are made
// and answered or not, the manager's counts end up right and nothing is left in the index.
func TestCountsConvergeInAnyOrder(t *testing.T) {
	m := registrarModel{t: t, r: newRegistrar(t, gateway.DefaultOptions())}
	for seed := range uint64(500) {
		m.rng = rand.New(rand.NewPCG(seed, 1))
		for range 200 {
			m.step()
		}
		m.settle()
		want := make(map[string]int64)
		for _, s := range m.subs {
			want[s.topic]++
		}
		if !maps.Equal(m.counts, want) {
			t.Fatalf("seed %d: the manager has %v, want %v", seed, m.counts, want)
		}
		for _, s := range m.subs {
			s.leave()()
		}
		m.subs = nil
		m.settle()
		if n := m.r.Topics(); len(m.counts) != 0 || n != 0 {
			t.Fatalf("seed %d: all have left, the manager has %v and the index %d topics", seed, m.counts, n)
		}
	}
}

// registrarModel drives a registrar in a random order, with a manager that keeps one session.
type registrarModel struct {
	t   *testing.T
	r   *gateway.Registrar
	rng *rand.Rand

	subs []struct {
		topic string
		leave func() (told func())
	}
	marks []func() // of subscriptions that are out of the index

	// epoch is the last session's, counts what the manager has in it; snapshot and stands tell
	// how far the gateway has come in it.
	epoch            int64
	counts           map[string]int64
	snapshot, stands bool

	tell  func(context.Context) error // of a batch that was cut
	call  *topicpb.SyncTopicsRequest  // that waits for its answer
	ended chan error                  // of a call
}

func (m *registrarModel) step() {
	switch m.rng.IntN(11) {
	case 0, 1, 2:
		topic := fmt.Sprintf("t%d", m.rng.IntN(4))
		m.subs = append(m.subs, struct {
			topic string
			leave func() (told func())
		}{topic, m.r.JoinSlowly(topic)})
	case 3, 4, 5:
		if len(m.subs) > 0 {
			i := m.rng.IntN(len(m.subs))
			m.marks = append(m.marks, m.subs[i].leave())
			m.subs = slices.Delete(m.subs, i, i+1)
		}
	case 6:
		m.mark()
	case 7:
		m.session()
	case 8, 9:
		m.sync(m.rng.IntN(3))
	case 10:
		ctx, cancel := context.WithCancel(m.t.Context())
		cancel()
		_ = m.r.WaitKnown(ctx, fmt.Sprintf("t%d", m.rng.IntN(4)))
	}
}

func (m *registrarModel) mark() {
	for _, f := range m.marks {
		f()
	}
	m.marks = nil
}

// session takes the session one step on: snapshot, begin, end.
func (m *registrarModel) session() {
	switch {
	case !m.snapshot:
		m.epoch++
		m.snapshot, m.counts = true, make(map[string]int64)
		for _, tc := range m.r.Snapshot(m.epoch) {
			m.counts[tc.Topic] = tc.Count
		}
	case !m.stands:
		m.stands = true
		m.r.Begin(m.epoch)
	default:
		m.snapshot, m.stands = false, false
		m.r.Begin(0)
	}
}

// sync takes a call one step on: cut, call, answer. An outcome of 0 is success; 1 and 2 are
// failures of which the manager has seen the call, and has not.
func (m *registrarModel) sync(outcome int) {
	switch {
	case m.tell == nil && m.ended == nil:
		m.tell = m.r.Cut()
	case m.ended == nil:
		tell := m.tell
		m.tell, m.ended = nil, make(chan error, 1)
		go func() { m.ended <- tell(m.t.Context()) }()
		select {
		case m.call = <-m.r.Calls:
		case <-m.ended:
			m.ended = nil
		}
	default:
		if outcome < 2 && m.call.Epoch == m.epoch {
			m.keep(counts(m.call))
		}
		if outcome == 0 {
			m.r.Answers <- nil
		} else {
			m.r.Answers <- status.Error(codes.Unavailable, "gone")
		}
		<-m.ended
		m.ended = nil
	}
}

func (m *registrarModel) keep(counts map[string]int64) {
	for topic, n := range counts {
		if m.counts[topic] = n; n == 0 {
			delete(m.counts, topic)
		}
	}
}

// settle ends what is on its way, and tells a session that stands all that is marked.
func (m *registrarModel) settle() {
	m.mark()
	for m.tell != nil || m.ended != nil {
		m.sync(0)
	}
	for !m.stands {
		m.session()
	}
	for told := tell(m.t, m.r); told != nil; told = tell(m.t, m.r) {
		m.keep(told)
	}
}
