package simulator_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"

	"firetower/simulator"
	"firetower/simulator/stamp"
)

func churnConfig(conns, topics int, grace time.Duration) *simulator.Config {
	config := simulator.DefaultConfig()
	config.URLs = []string{"ws://127.0.0.1:1/"}
	config.MaxRows = 2 // a table of the usual size takes longer to make than a life to play
	config.Connections, config.RunID, config.Subprotocol = conns, runID, simulator.SubprotocolV1
	config.Churn = simulator.ChurnPlan{Topics: topics, Rate: 1, Seed: 5, Grace: grace}
	return &config
}

// oracleVisit is a visit as the definition in ChurnReport has it, with everything that arrived.
type oracleVisit struct {
	topic                    uint32
	asked, from, until, gone int64
	seen                     map[uint64]int
	high                     uint64
	reordered                int64
}

// churnOracle plays a random life of some connections, and counts by the definition, naively.
type churnOracle struct {
	ledger  simulator.ChurnLedger
	random  *rand.Rand
	grace   int64
	now     int64
	sent    map[uint32][]int64 // times by sequence - 1
	visits  [][]*oracleVisit   // of each connection
	never   []*oracleVisit     // that were refused
	up      []bool
	ids     []map[string]*oracleVisit // outstanding requests, and what they are about
	refused map[int]bool              // the change under way of a connection has been refused
	want    simulator.ChurnReport
	foreign int64
	got     int64 // foreign, as the ledger says
	changes uint64
}

func (o *churnOracle) tick() int64 { o.now += 1 + o.random.Int64N(20); return o.now }

func (o *churnOracle) open(conn int) {
	name := o.ledger.Open(conn, o.tick())
	var topic uint32
	_, _ = fmt.Sscanf(name, "loadtest-%d", &topic)
	v := &oracleVisit{topic: topic, asked: o.now, seen: map[uint64]int{}}
	o.visits[conn] = append(o.visits[conn], v)
	o.ledger.Opened(conn, o.tick())
	v.from, o.up[conn] = o.now, true
}

func (o *churnOracle) end(conn int) {
	all := o.visits[conn]
	if n := len(all); n > 0 && all[n-1].until == 0 {
		all[n-1].until = o.now
	}
}

func (o *churnOracle) step() {
	conn := o.random.IntN(len(o.visits))
	switch p := o.random.IntN(100); {
	case p < 40: // publish, and deliver to some
		topic := uint32(1 + o.random.IntN(3))
		if len(o.sent[topic]) < 60 {
			o.sent[topic] = append(o.sent[topic], o.tick())
		}
	case p < 75: // an arrival of any message at any connection
		topic := uint32(1 + o.random.IntN(3))
		if n := len(o.sent[topic]); n > 0 {
			o.arrive(conn, topic, uint64(1+o.random.IntN(n)))
		}
	case p < 85:
		o.changes++
		o.change()
	case p < 95:
		for id, v := range o.ids[conn] {
			o.reply(conn, id, v, o.random.IntN(10) > 0)
			break
		}
	case p < 97 && o.up[conn]:
		o.tick()
		if len(o.ids[conn]) > 0 {
			o.want.Unanswered++
		}
		o.end(conn)
		if all := o.visits[conn]; all[len(all)-1].gone == 0 && all[len(all)-1].until == o.now {
			all[len(all)-1].gone = o.now
		}
		clear(o.ids[conn])
		o.ledger.Lost(conn, o.now)
		o.up[conn] = false
	case !o.up[conn]:
		o.open(conn)
	}
}

func (o *churnOracle) change() {
	conn, leave, join, ok := o.ledger.Change(o.changes, o.tick(), func(conn int) bool { return o.up[conn] })
	if !ok {
		o.want.Skipped++
		return
	}
	if !o.up[conn] || len(o.ids[conn]) > 0 {
		panic("a connection that is down, or whose change is under way")
	}
	o.want.Changes++
	delete(o.refused, conn)
	if leave != nil {
		o.end(conn)
		all := o.visits[conn]
		o.ids[conn][o.id(leave, "unSubscribe", all[len(all)-1].topic)] = all[len(all)-1]
	}
	var request struct{ Topic string }
	_ = json.Unmarshal(join, &request)
	v := &oracleVisit{asked: o.now, seen: map[uint64]int{}}
	_, _ = fmt.Sscanf(request.Topic, "loadtest-%d", &v.topic)
	o.ids[conn][o.id(join, "subscribe", v.topic)] = v
	o.visits[conn] = append(o.visits[conn], v)
}

func (o *churnOracle) id(request []byte, kind string, topic uint32) string {
	var r struct{ Type, Topic, ID string }
	if err := json.Unmarshal(request, &r); err != nil || r.Type != kind || r.Topic != fmt.Sprintf("loadtest-%d", topic) {
		panic(fmt.Sprintf("request %s, want %s of %d", request, kind, topic))
	}
	return r.ID
}

func (o *churnOracle) reply(conn int, id string, v *oracleVisit, granted bool) {
	o.tick()
	delete(o.ids[conn], id)
	switch {
	case v.until != 0: // the answer to leaving
		if granted {
			v.gone = o.now
		}
	case granted:
		v.from = o.now
	default: // what arrived until now is extra, and what comes now is foreign
		o.never = append(o.never, v)
		o.visits[conn] = o.visits[conn][:len(o.visits[conn])-1]
	}
	if !granted && !o.refused[conn] {
		o.refused[conn] = true
		o.want.Refused++
	}
	if !o.ledger.Replied(conn, id, granted, o.now) {
		panic("an answer that nobody waits for")
	}
}

func (o *churnOracle) arrive(conn int, topic uint32, seq uint64) {
	at := o.sent[topic][seq-1]
	o.tick()
	if !o.ledger.Message(conn, stamp.Stamp{Topic: topic, Phase: 2, Sequence: seq, Actual: at}, o.now) {
		o.got++
	}
	var found *oracleVisit // the first that was not over when the message was sent
	for _, v := range o.visits[conn] {
		if v.topic == topic && (v.gone == 0 || at <= v.gone) {
			if next := o.following(conn, v); next != nil && at >= next.asked {
				continue // leaving this one has not been granted, and there is a newer one already
			}
			found = v
			break
		}
	}
	if found == nil {
		o.foreign++
		return
	}
	found.seen[seq]++
	if found.seen[seq] == 1 && seq < found.high {
		found.reordered++
	}
	found.high = max(found.high, seq)
}

// following is the next visit to the same topic.
func (o *churnOracle) following(conn int, of *oracleVisit) *oracleVisit {
	after := false
	for _, v := range o.visits[conn] {
		if after && v.topic == of.topic {
			return v
		}
		after = after || v == of
	}
	return nil
}

// finish ends the run and counts.
func (o *churnOracle) finish() string {
	o.tick()
	for conn := range o.visits {
		if len(o.ids[conn]) > 0 {
			o.want.Unanswered++
		}
		o.end(conn)
	}
	o.ledger.Stop(o.now)
	for _, visits := range append(o.visits, o.never) {
		for _, v := range visits {
			for i, at := range o.sent[v.topic] {
				due := v.from != 0 && at >= v.from && at <= v.until-o.grace
				n := v.seen[uint64(i+1)]
				switch {
				case due && n > 0:
					o.want.Due++
					o.want.Received++
				case due:
					o.want.Due++
					o.want.Lost++
				case n > 0:
					o.want.Extra++
				}
				o.want.Duplicated += int64(max(n-1, 0))
			}
			o.want.Reordered += v.reordered
		}
	}
	var sent []simulator.TopicSent
	for topic, times := range o.sent {
		half := uint64(len(times) / 2) // in two runs, as a fault in between makes of one
		sent = append(
			sent, simulator.TopicSent{Topic: topic, Phase: 2, First: 1, Count: half, Times: times[:half]},
			simulator.TopicSent{Topic: topic, Phase: 2, First: half + 1, Count: uint64(len(times)) - half, Times: times[half:]},
		)
	}
	if got := o.ledger.Report(sent); got != o.want {
		return fmt.Sprintf("%+v, want\n%+v", got, o.want)
	}
	if o.got != o.foreign {
		return fmt.Sprintf("%d foreign, want %d", o.got, o.foreign)
	}
	return ""
}

// However connections come and go, and whatever arrives when and how often, the ledger of churn is the definition's.
func TestPropertyChurnLedger(t *testing.T) {
	const conns = 3
	var total simulator.ChurnReport
	properties(t, 400, "the ledger agrees with the definition", prop.ForAll(
		func(seed uint64, steps int, grace int64) string {
			o := &churnOracle{
				ledger: simulator.NewChurnLedger(churnConfig(conns, 3, time.Duration(grace))), grace: grace, now: 1,
				random: rand.New(rand.NewPCG(seed, 0)), sent: map[uint32][]int64{}, visits: make([][]*oracleVisit, conns),
				up: make([]bool, conns), refused: map[int]bool{},
			}
			for conn := range conns {
				o.ids = append(o.ids, map[string]*oracleVisit{})
				o.open(conn)
			}
			for range steps {
				o.step()
			}
			problem := o.finish()
			total.Due, total.Lost, total.Received, total.Extra = total.Due+o.want.Due, total.Lost+o.want.Lost, total.Received+o.want.Received, total.Extra+o.want.Extra
			return problem
		},
		gen.UInt64(), gen.IntRange(0, 600), gen.Int64Range(0, 400),
	))
	if total.Lost == 0 || total.Received == 0 || total.Extra == 0 {
		t.Errorf("the lives hold too little: %+v", total)
	}
}

func TestChurnPlansThatAreRefused(t *testing.T) {
	tests := map[string]struct {
		change func(*simulator.Config)
		want   string
	}{
		"v0": {
			func(c *simulator.Config) { c.Subprotocol = simulator.SubprotocolV0 },
			`churn.topics: needs subprotocol "firetower.v1": any other leaves open when a subscription begins`,
		},
		"another dialect": {
			func(c *simulator.Config) { c.Subprotocol, c.Dialect = "", simulator.DialectNATS },
			`churn.topics: needs subprotocol "firetower.v1": any other leaves open when a subscription begins`,
		},
		"nowhere to go":   {func(c *simulator.Config) { c.Churn.Topics = 1 }, "churn.topics: must be >= 2, or there is no other topic to change to, got 1"},
		"negative topics": {func(c *simulator.Config) { c.Churn.Topics = -1 }, "churn.topics: must be from 0 to 2147483646, got -1"},
		"negative rate":   {func(c *simulator.Config) { c.Churn.Rate = -1 }, "churn.rate: must be >= 0 and finite, got -1"},
		"negative grace":  {func(c *simulator.Config) { c.Churn.Grace = -1 }, "churn.grace: must be >= 0, got -1ns"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			config := churnConfig(1, 2, time.Second)
			if err := config.Validate(); err != nil {
				t.Fatal(err)
			}
			tt.change(config)
			if err := config.Validate(); err == nil || err.Error() != tt.want {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
