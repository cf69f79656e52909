package simulator_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firetower/simulator"
	"firetower/simulator/clock"
)

// rooms is a stub that keeps members, and publishes to them: what it stamps and who is a member go together under one
// lock, so that a member misses nothing that is not dropped on purpose.
type rooms struct {
	*stub
	clock *clock.Clock
	// answer says what becomes of a request of churn: "" is granted, "-" is not answered, anything else is the code of
	// an error.
	verdict func(kind, topic string) string

	mu      sync.Mutex // guards the following
	members map[string]map[*stubConn]bool
	sent    map[uint32][]int64 // times, by sequence - 1
	written map[bool]int64     // messages, of churning topics or others
	refused int64
	ignored int64
}

func newRooms(t *testing.T, verdict func(kind, topic string) string) *rooms {
	t.Helper()
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	r := &rooms{
		clock: clk, verdict: verdict, members: map[string]map[*stubConn]bool{}, sent: map[uint32][]int64{},
		written: map[bool]int64{},
	}
	r.stub = newStub(t, func(s *stub) {
		grant := s.answer
		s.answer = func(c *stubConn, id, topics string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			for topic := range strings.SplitSeq(topics, ",") {
				r.enter(c, topic)
			}
			grant(c, id, topics)
		}
		s.change = r.request
	})
	return r
}

func (r *rooms) enter(c *stubConn, topic string) {
	if r.members[topic] == nil {
		r.members[topic] = map[*stubConn]bool{}
	}
	r.members[topic][c] = true
}

func (r *rooms) request(c *stubConn, kind, id, topic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch code := r.verdict(kind, topic); code {
	case "":
		if kind == "subscribe" {
			r.enter(c, topic)
		} else {
			delete(r.members[topic], c)
		}
		c.text(fmt.Sprintf(`{"type":%q,"id":%q,"ok":true,"topics":[{"topic":%q,"ok":true}]}`, kind, id, topic))
	case "-":
		r.ignored++
	default:
		r.refused++
		c.text(fmt.Sprintf(`{"type":"error","code":%q,"id":%q}`, code, id))
	}
}

// publish sends the next message of a topic to its members: to each as often as copies says.
func (r *rooms) publish(topic uint32, churning bool, copies func(c *stubConn) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := message(r.clock, simulator.PhaseMeasure, topic, uint64(len(r.sent[topic])+1))
	r.sent[topic] = append(r.sent[topic], m.Actual)
	name := fmt.Sprintf("t-%d", topic)
	for c := range r.members[name] {
		for range copies(c) {
			c.text(`{"type":"publish","topic":"` + name + `","data":` + encode(m) + `}`)
			r.written[churning]++
		}
	}
}

// told is what Finish must know.
func (r *rooms) told() []simulator.TopicSent {
	r.mu.Lock()
	defer r.mu.Unlock()
	var sent []simulator.TopicSent
	for _, topic := range slices.Sorted(maps.Keys(r.sent)) {
		times := r.sent[topic]
		sent = append(sent, simulator.TopicSent{
			Topic: topic, Phase: simulator.PhaseMeasure, First: 1, Count: uint64(len(times)), Times: times,
		})
	}
	return sent
}

// arrived says that all that was written has been counted.
func (r *rooms) arrived(f *fleet) bool {
	c := f.Counters()
	r.mu.Lock()
	defer r.mu.Unlock()
	return c.Received == r.written[false] && c.ChurnReceived == r.written[true]
}

func roomsConfig(r *rooms, engine simulator.Engine, conns int, rate float64) simulator.Config {
	config := testConfig(r.stub, engine, conns)
	config.Subprotocol, config.Shards = simulator.SubprotocolV1, 2
	config.Topics = simulator.TopicPlan{Count: 2, PerConn: 1, Prefix: "t-"}
	config.Churn = simulator.ChurnPlan{Topics: 4, Rate: rate, Seed: 3}
	return config
}

func granted(string, string) string { return "" }

func once(*stubConn) int { return 1 }

// Connections that change their topics all the time lose nothing that is due, and the base topics see nothing of it.
func TestChurn(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		const conns, changes = 8, 150
		r := newRooms(t, granted)
		config := roomsConfig(r, engine, conns+1, 500)
		config.Slow = []simulator.SlowSpec{{Count: 1}} // which changes nothing, and has no churning topic
		f := startFleet(t, config)
		f.connect()
		twice := int64(0)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for f.Counters().ChurnChanges < changes {
			<-tick.C
			r.publish(uint32(len(r.sent[0])%2), false, once)
			n := 0
			r.publish(uint32(2+len(r.sent[0])%4), true, func(*stubConn) int {
				if n++; n%3 == 0 {
					twice++
					return 2
				}
				return 1
			})
		}
		waitFor(t, "the messages", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return f.Counters().ChurnReceived == r.written[true]
		})
		report := f.finish(r.told()...)
		churn := report.Churn
		if churn == nil || churn.Lost != 0 || churn.Due == 0 || churn.Due != churn.Received || churn.Duplicated != twice || twice == 0 ||
			churn.Refused != 0 || churn.Changes < changes {
			t.Fatalf("churn %+v, %d sent twice", churn, twice)
		}
		if got := report.Join.Count(); got != churn.Changes-churn.Unanswered {
			t.Errorf("%d joins of %d changes, %d of them unanswered", got, churn.Changes, churn.Unanswered)
		}
		p := phaseOf(report, simulator.PhaseMeasure)
		if p.Lost != 0 || p.Expected == 0 || p.Duplicated != 0 || p.Foreign != 0 || p.Corrupt != 0 {
			t.Errorf("ledger of the base topics: %+v", p)
		}
		if len(report.Rows) != len(r.sent[0])+len(r.sent[1]) || report.Subscribed != conns+1 || len(report.Closed) != 0 {
			t.Errorf("%d rows, %d subscribed, closed %v", len(report.Rows), report.Subscribed, report.Closed)
		}
	})
}

// Without a change, what is due is known to the message: also to a connection that is lost and comes back.
func TestChurnCountsExactly(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		const conns, messages = 4, 20
		r := newRooms(t, granted)
		config := roomsConfig(r, engine, conns, 0)
		config.Reconnect = quickReconnect()
		f := startFleet(t, config)
		f.connect()
		all := func(copies func(*stubConn) int) {
			for range messages {
				for topic := range uint32(6) {
					r.publish(topic, topic >= 2, copies)
				}
			}
			waitFor(t, "the messages", func() bool { return r.arrived(f) })
		}
		all(once)
		victim := r.on("t-1,t-5")
		dropped := 0
		all(func(c *stubConn) int {
			if c != victim {
				return 1
			}
			dropped++
			return 0
		})
		r.mu.Lock()
		for _, members := range r.members {
			delete(members, victim)
		}
		r.mu.Unlock()
		victim.ws.NetConn().Close()
		waitFor(t, "the end", func() bool { return f.Counters().Closed["1006 eof"] == 1 })
		waitFor(t, "the connection to be back", func() bool { return f.Counters().Reconnected == 1 })
		all(once)
		report := f.finish(r.told()...)
		want := simulator.ChurnReport{Due: 3 * conns * messages, Lost: messages}
		want.Received = want.Due - want.Lost
		if *report.Churn != want || dropped != 2*messages {
			t.Errorf("churn %+v, want %+v, with %d dropped", *report.Churn, want, dropped)
		}
		p := phaseOf(report, simulator.PhaseMeasure)
		if p.Expected != 3*conns*messages || p.Lost != messages || p.Foreign != 0 {
			t.Errorf("base topics: %+v", p)
		}
		if got := r.on("t-1,t-5"); got == victim {
			t.Error("the connection has not come back to its churning topic")
		}
	})
}

// Answers that say no, and those that never come, are counted.
func TestChurnRefused(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		const conns = 6
		r := newRooms(t, func(kind, topic string) string {
			switch kind + " " + topic {
			case "subscribe t-2", "unSubscribe t-3":
				return "unavailable"
			case "subscribe t-4":
				return "-"
			}
			return ""
		})
		f := startFleet(t, roomsConfig(r, engine, conns, 500))
		f.connect()
		waitFor(t, "every connection to be stuck", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.ignored == conns
		})
		waitFor(t, "the refusals", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return f.Counters().ChurnRefused > 0
		})
		report := f.finish()
		churn := report.Churn
		// A change may be refused both ways and counts once.
		if churn.Refused == 0 || churn.Refused > r.refused || churn.Unanswered != conns || churn.Skipped == 0 {
			t.Errorf("churn %+v, with %d refusals and %d ignored", churn, r.refused, r.ignored)
		}
		if got := report.Join.Count(); got > churn.Changes-churn.Unanswered || len(report.Closed) != 0 {
			t.Errorf("%d joins of %+v, closed %v", got, churn, report.Closed)
		}
	})
}

// Finish wants to know when messages on churning topics were sent.
func TestFinishNeedsTimesOfChurn(t *testing.T) {
	tests := map[string][]int64{"none": nil, "too few": {1}, "out of order": {2, 1}}
	for name, times := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRooms(t, granted)
			f := startFleet(t, roomsConfig(r, simulator.DefaultConfig().Engine, 2, 0))
			f.connect()
			_, err := f.Finish(t.Context(), []simulator.TopicSent{{Topic: 2, Phase: simulator.PhaseMeasure, First: 1, Count: 2, Times: times}})
			if err == nil || !strings.Contains(err.Error(), "topic 2 churns") {
				t.Errorf("Finish: %v", err)
			}
		})
	}
}
