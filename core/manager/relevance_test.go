package manager_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firetower/core/manager"
)

// roomy is a session whose queue no test fills.
func roomy(id string) *manager.Session { return manager.NewSession(id, 1<<20, 1<<30) }

func ids(sessions []*manager.Session) []string {
	out := make([]string, len(sessions))
	for i, s := range sessions {
		out[i] = s.ID()
	}
	slices.Sort(out)
	return out
}

// want compares the registry with what a plain map says of every session.
func want(t *testing.T, r manager.Registry, model map[*manager.Session]map[string]int64) {
	t.Helper()
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	holders := make(map[string][]string)
	totals := make(map[string]int64)
	for s, counts := range model {
		if got := r.Counts(s); !maps.Equal(got, counts) {
			t.Fatalf("%s has %v, want %v", s.ID(), got, counts)
		}
		for topic, n := range counts {
			holders[topic] = append(holders[topic], s.ID())
			totals[topic] += n
		}
	}
	for topic, who := range holders {
		slices.Sort(who)
		got, n := r.Lookup(topic, nil)
		if !slices.Equal(ids(got), who) || n != totals[topic] {
			t.Fatalf("%s: %v with %d subscribers, want %v with %d", topic, ids(got), n, who, totals[topic])
		}
	}
	if topics, _ := r.Totals(); topics != int64(len(holders)) {
		t.Fatalf("%d topics, want %d", topics, len(holders))
	}
}

func TestU4_18_TwoGatewaysOneTopic(t *testing.T) {
	r := manager.NewRegistry()
	a, b, c := roomy("a"), roomy("b"), roomy("c")
	for _, s := range []*manager.Session{a, b, c} {
		r.Add(s, 1, "room")
	}
	got, n := r.Lookup("room", nil)
	if !slices.Equal(ids(got), []string{"a", "b", "c"}) || n != 3 {
		t.Fatalf("room has %v with %d subscribers, want a, b, c with 3", ids(got), n)
	}
	if matched, queued := r.Publish("room", []byte("x")); matched != 3 || queued != 3 {
		t.Fatalf("matched %d, queued %d, want 3, 3", matched, queued)
	}
	for _, s := range []*manager.Session{a, b, c} {
		if s.Drain() != 1 {
			t.Errorf("%s did not get the message", s.ID())
		}
	}
}

func TestRelevance_Counts(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(r manager.Registry, s *manager.Session)
		want map[string]int64
	}{
		{"set", func(r manager.Registry, s *manager.Session) { r.Set(s, "t", 3) }, map[string]int64{"t": 3}},
		{"set again is no change", func(r manager.Registry, s *manager.Session) { r.Set(s, "t", 3); r.Set(s, "t", 3) }, map[string]int64{"t": 3}},
		{"set 0 removes", func(r manager.Registry, s *manager.Session) { r.Set(s, "t", 3); r.Set(s, "t", 0) }, map[string]int64{}},
		{"set 0 of nothing", func(r manager.Registry, s *manager.Session) { r.Set(s, "t", 0) }, map[string]int64{}},
		{"negative is 0", func(r manager.Registry, s *manager.Session) { r.Set(s, "t", 2); r.Set(s, "t", -5) }, map[string]int64{}},
		{"add", func(r manager.Registry, s *manager.Session) { r.Add(s, 1, "t", "t", "u") }, map[string]int64{"t": 2, "u": 1}},
		{"one unsubscribe too many", func(r manager.Registry, s *manager.Session) {
			r.Add(s, 1, "t")
			r.Add(s, -1, "t")
			r.Add(s, -1, "t")
			r.Add(s, 1, "t")
		}, map[string]int64{"t": 1}},
		{"dropped", func(r manager.Registry, s *manager.Session) { r.Set(s, "t", 3); r.Drop(s) }, map[string]int64{}},
		{"nothing after the drop", func(r manager.Registry, s *manager.Session) {
			r.Drop(s)
			if r.Set(s, "t", 3) || r.Add(s, 1, "t") {
				panic("a session that is gone took a topic")
			}
			r.Replace(nil, s, map[string]int64{"t": 1})
		}, map[string]int64{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := manager.NewRegistry()
			s, other := roomy("s"), roomy("other")
			r.SetAll(other, map[string]int64{"t": 7, "o": 1})
			tc.do(r, s)
			want(t, r, map[*manager.Session]map[string]int64{s: tc.want, other: {"t": 7, "o": 1}})
		})
	}
}

// TestRelevance_Model does the same random things to a registry and to plain maps.
func TestRelevance_Model(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	topics := numbered("t", 40)
	for range 40 {
		r := manager.NewRegistry()
		model := make(map[*manager.Session]map[string]int64)
		var live []*manager.Session
		join := func() *manager.Session {
			s := roomy(fmt.Sprintf("s%d", len(model)))
			model[s] = make(map[string]int64)
			live = append(live, s)
			return s
		}
		leave := func(s *manager.Session) {
			model[s] = make(map[string]int64)
			live = slices.DeleteFunc(live, func(o *manager.Session) bool { return o == s })
		}
		for range 4 {
			join()
		}
		for range 250 {
			s := live[rnd.IntN(len(live))]
			topic := topics[rnd.IntN(len(topics))]
			counts := model[s]
			put := func(n int64) {
				if counts[topic] = n; n <= 0 {
					delete(counts, topic)
				}
			}
			switch rnd.IntN(20) {
			case 0:
				leave(s)
				r.Drop(s)
				join()
			case 1:
				next := make(map[string]int64)
				for range rnd.IntN(30) {
					next[topics[rnd.IntN(len(topics))]] = rnd.Int64N(5) + 1
				}
				leave(s)
				to := join()
				r.Replace(s, to, next)
				model[to] = next
			case 2, 3, 4, 5, 6, 7:
				n := rnd.Int64N(4)
				r.Set(s, topic, n)
				put(n)
			default:
				d := int64(1)
				if rnd.IntN(2) == 0 {
					d = -1
				}
				r.Add(s, d, topic)
				put(counts[topic] + d)
			}
		}
		want(t, r, model)
	}
}

// TestU4_19_ConcurrentModel lets many gateways change, replace and drop at once,
// under lookups and publishes, and compares what is left with a map per gateway.
func TestU4_19_ConcurrentModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const gateways, steps = 8, 1500
	topics := numbered("t", 200)
	r := manager.NewRegistry()

	var mu sync.Mutex
	model := make(map[*manager.Session]map[string]int64)
	var owners, readers sync.WaitGroup
	var stop atomic.Bool
	for i := range gateways {
		owners.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			s, counts := roomy(fmt.Sprintf("g%d.0", i)), map[string]int64{}
			for step := range steps {
				topic := topics[rnd.IntN(len(topics))]
				switch rnd.IntN(100) {
				case 0: // the link is lost, and comes back
					r.Drop(s)
					s, counts = roomy(fmt.Sprintf("g%d.%d", i, step)), map[string]int64{}
				case 1: // a new link takes over
					next := map[string]int64{}
					for range rnd.IntN(100) {
						next[topics[rnd.IntN(len(topics))]] = 1 + rnd.Int64N(3)
					}
					to := roomy(fmt.Sprintf("g%d.%d", i, step))
					r.Replace(s, to, next)
					s, counts = to, next
				case 2:
					s.Drain()
				default:
					if rnd.IntN(2) == 0 {
						counts[topic]++
						r.Add(s, 1, topic)
					} else {
						r.Add(s, -1, topic)
						if counts[topic]--; counts[topic] <= 0 {
							delete(counts, topic)
						}
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			model[s] = counts
		})
	}
	for i := range 2 {
		readers.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(1000+i)))
			for !stop.Load() {
				topic := topics[rnd.IntN(len(topics))]
				got, _ := r.Lookup(topic, nil)
				who := ids(got)
				if len(slices.Compact(who)) != len(got) {
					t.Errorf("%s: a session twice: %v", topic, ids(got))
					return
				}
				r.Publish(topic, []byte("x"))
				r.Top(5, nil)
			}
		})
	}
	owners.Wait()
	stop.Store(true)
	readers.Wait()
	want(t, r, model)
}

// TestU4_19_ConcurrentCounts: no subscribe of many at once on one topic is lost,
// and the gateway is not removed while subscribers remain.
func TestU4_19_ConcurrentCounts(t *testing.T) {
	r := manager.NewRegistry()
	s := roomy("s")
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 500 {
				r.Add(s, 1, "room")
				r.Add(s, 1, "room")
				r.Add(s, -1, "room")
			}
		})
	}
	all.Wait()
	want(t, r, map[*manager.Session]map[string]int64{s: {"room": 16 * 500}})
}

// TestRelevance_DropLeavesNothing: whatever comes in while a session is dropped,
// nothing of it stays.
func TestRelevance_DropLeavesNothing(t *testing.T) {
	for range 200 {
		r := manager.NewRegistry()
		s := roomy("s")
		r.SetAll(s, countsOf(numbered("t", 300), 1))
		var all sync.WaitGroup
		all.Go(func() { r.Drop(s) })
		all.Go(func() { r.SetAll(s, countsOf(numbered("u", 300), 1)) })
		all.Go(func() { r.Replace(roomy("older"), s, countsOf(numbered("v", 300), 1)) })
		all.Wait()
		want(t, r, map[*manager.Session]map[string]int64{s: {}})
	}
}

// TestRelevance_ReplaceAtOnce: a topic that both sessions have is never found
// without a session or with both.
func TestRelevance_ReplaceAtOnce(t *testing.T) {
	r := manager.NewRegistry()
	topics := numbered("t", 500)
	old := roomy("s0")
	r.SetAll(old, countsOf(topics, 1))
	var stop atomic.Bool
	var lookups sync.WaitGroup
	for i := range 2 {
		lookups.Go(func() {
			for j := i; !stop.Load(); j++ {
				if got, n := r.Lookup(topics[j%len(topics)], nil); len(got) != 1 || n != 1 {
					t.Errorf("%s: %v with %d subscribers while replaced", topics[j%len(topics)], ids(got), n)
					return
				}
			}
		})
	}
	for i := range 50 {
		to := roomy(fmt.Sprintf("s%d", i+1))
		r.Replace(old, to, countsOf(topics, 1))
		old = to
	}
	stop.Store(true)
	lookups.Wait()
	want(t, r, map[*manager.Session]map[string]int64{old: countsOf(topics, 1)})
}

// TestRelevance_NothingOfferedAfterReplace: what a session has been offered is
// final once it is replaced, or the missed messages would be counted short.
func TestRelevance_NothingOfferedAfterReplace(t *testing.T) {
	r := manager.NewRegistry()
	old := roomy("s0")
	r.Set(old, "room", 1)
	var stop atomic.Bool
	var publishers sync.WaitGroup
	published := make([]uint64, 2)
	for i := range published {
		publishers.Go(func() {
			for !stop.Load() {
				r.Publish("room", []byte("x"))
				published[i]++
			}
		})
	}
	var total uint64
	for i := range 200 {
		to := roomy(fmt.Sprintf("s%d", i+1))
		r.Replace(old, to, map[string]int64{"room": 1})
		n := old.Offered()
		old.Drain()
		if again := old.Offered(); again != n {
			t.Errorf("%s: offered %d, and then %d after it was replaced", old.ID(), n, again)
		}
		total += n
		old = to
	}
	stop.Store(true)
	publishers.Wait()
	if total += old.Offered(); total != published[0]+published[1] {
		t.Fatalf("offered %d over all sessions, published %d", total, published[0]+published[1])
	}
}

// TestRelevance_DeadGatewayCostsItsOwnTopics: the index that a drop walks holds
// the session's topics and no other's, and the others' stay untouched.
func TestRelevance_DeadGatewayCostsItsOwnTopics(t *testing.T) {
	r := manager.NewRegistry()
	small, large := roomy("small"), roomy("large")
	own := numbered("t", 10)
	all := numbered("t", 20_000)
	r.SetAll(large, countsOf(all, 2))
	r.SetAll(small, countsOf(own, 1))
	if got := r.Counts(small); !maps.Equal(got, countsOf(own, 1)) {
		t.Fatalf("the index of small holds %d topics, want its own 10", len(got))
	}
	r.Drop(small)
	want(t, r, map[*manager.Session]map[string]int64{small: {}, large: countsOf(all, 2)})
}

func TestRelevance_Top(t *testing.T) {
	r := manager.NewRegistry()
	a, b := roomy("a"), roomy("b")
	counts := map[string]int64{}
	for i, topic := range numbered("t", 1000) {
		counts[topic] = int64(i%100) + 1
	}
	r.SetAll(a, counts)
	r.SetAll(b, map[string]int64{"t000003": 1000, "x": 100})
	for _, tc := range []struct {
		name  string
		limit int
		match func(string) bool
		want  []manager.Row
		total int64
	}{
		{"best three, ties by name", 3, nil, []manager.Row{{"t000003", 1004, 2}, {"t000099", 100, 1}, {"t000199", 100, 1}}, 1001},
		{"prefix", 5, func(s string) bool { return strings.HasPrefix(s, "x") }, []manager.Row{{"x", 100, 1}}, 1},
		{"none match", 5, func(string) bool { return false }, nil, 0},
		{"limit 0 only counts", 0, nil, nil, 1001},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rows, total := r.Top(tc.limit, tc.match)
			if !slices.Equal(rows, tc.want) || total != tc.total {
				t.Fatalf("got %v of %d, want %v of %d", rows, total, tc.want, tc.total)
			}
		})
	}
	rows, _ := r.Top(5000, nil)
	sorted := slices.SortedFunc(slices.Values(rows), func(a, b manager.Row) int {
		if a.Subscribers != b.Subscribers {
			return int(b.Subscribers - a.Subscribers)
		}
		return strings.Compare(a.Topic, b.Topic)
	})
	if len(rows) != 1001 || !slices.Equal(rows, sorted) {
		t.Fatalf("the whole list has %d rows or is not sorted", len(rows))
	}
}

func TestRelevance_LookupAllocatesNothing(t *testing.T) {
	r := manager.NewRegistry()
	for i := range 16 {
		r.Set(roomy(fmt.Sprint(i)), "room", 1)
	}
	buf := make([]*manager.Session, 0, 16)
	if n := testing.AllocsPerRun(100, func() { r.Lookup("room", buf) }); n != 0 {
		t.Fatalf("%v allocations in a lookup, want 0", n)
	}
}

func countsOf(topics []string, n int64) map[string]int64 {
	out := make(map[string]int64, len(topics))
	for _, topic := range topics {
		out[topic] = n
	}
	return out
}
