package simulator_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"firetower/simulator"
	"firetower/simulator/clock"
	"firetower/simulator/stamp"
)

// Everything that can be wrong with deliveries is injected, and must be counted exactly (HARNESS §7.12).
func TestLedgerCountsInjectedFaultsExactly(t *testing.T) {
	for _, subprotocol := range []string{simulator.SubprotocolV0, simulator.SubprotocolV1} {
		t.Run(subprotocol, func(t *testing.T) {
			engines(t, func(t *testing.T, engine simulator.Engine) { injectFaults(t, engine, subprotocol) })
		})
	}
}

func injectFaults(t *testing.T, engine simulator.Engine, subprotocol string) {
	const conns, messages = 6, 40
	s := newStub(t, nil)
	config := testConfig(s, engine, conns)
	config.Subprotocol = subprotocol
	config.Shards = 2
	config.Topics = simulator.TopicPlan{Count: 3, PerConn: 1, Prefix: "t-"} // two connections each
	f := startFleet(t, config)
	f.connect()
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "all subscriptions", func() bool { return len(s.all()) == conns })

	wrap := func(topic, data string) string {
		if subprotocol == simulator.SubprotocolV1 {
			return `{"type":"publish","topic":"` + topic + `","data":` + data + `}`
		}
		return data
	}
	want := simulator.PhaseReport{Phase: simulator.PhaseMeasure, Expected: conns * messages}
	frames := 0
	for _, c := range s.all() {
		topic := uint32(c.topics[2] - '0')
		send := func(data string) { c.text(wrap(c.topics, data)); frames++ }
		for seq := uint64(1); seq <= messages; seq++ {
			m := message(clk, simulator.PhaseMeasure, topic, seq)
			switch seq {
			case 5, 6, 30: // dropped
				want.Lost++
			case 10: // twice
				send(encode(m))
				send(encode(m))
				want.Duplicated++
			case 15: // after the next
				next := message(clk, simulator.PhaseMeasure, topic, seq+1)
				send(encode(next))
				send(encode(m))
				want.Reordered++
			case 16: // sent above
			case 20: // damaged on the way, and so lost
				text := []byte(encode(m))
				text[90] ^= 4
				send(string(text))
				want.Corrupt++
				want.Lost++
			case 25: // late
				m.Intended -= int64(config.MessageDeadline)
				send(encode(m))
				want.Late++
			case 26: // before it was sent
				m.Intended, m.Actual = m.Intended+int64(time.Hour), m.Actual+int64(time.Hour)
				send(encode(m))
				want.Negative++
			default:
				send(encode(m))
			}
		}
		// An old duplicate, a long way back.
		send(encode(message(clk, simulator.PhaseMeasure, topic, 2)))
		want.Duplicated++
		// What is not ours: another run, another topic, another publisher, a phase and a sequence that do not exist.
		foreign := message(clk, simulator.PhaseMeasure, topic, messages+1)
		foreign.Run++
		send(encode(foreign))
		foreign = message(clk, simulator.PhaseMeasure, (topic+1)%3, 1)
		send(encode(foreign))
		foreign = message(clk, simulator.PhaseMeasure, 99, 1)
		send(encode(foreign))
		foreign = message(clk, simulator.PhaseMeasure, topic, messages+1)
		foreign.Publisher = 1
		send(encode(foreign))
		foreign = message(clk, simulator.MaxPhases, topic, messages+1)
		send(encode(foreign))
		foreign = message(clk, simulator.PhaseMeasure, topic, 0)
		send(encode(foreign))
		want.Foreign += 6
		if subprotocol == simulator.SubprotocolV1 { // an envelope that names another topic than the stamp
			c.text(wrap("t-other", encode(message(clk, simulator.PhaseMeasure, topic, messages+1))))
			c.text(wrap(c.topics, `"somebody else's"`)) // a push without a stamp
			frames += 2
			want.Foreign += 2
		}
		// What is nothing at all.
		c.text("garbage")
		c.text(`{"type":"unheard of"}`)
		frames += 2
		want.Corrupt += 2
	}
	want.Received = want.Expected - want.Lost
	waitFor(t, "everything to arrive", func() bool {
		c := f.Counters()
		return c.Received+c.Corrupt+c.Foreign == int64(frames)
	})
	sent := make([]simulator.TopicSent, 3)
	for i := range sent {
		sent[i] = simulator.TopicSent{Topic: uint32(i), Phase: simulator.PhaseMeasure, First: 1, Count: messages}
	}
	report := f.finish(sent...)
	got := phaseOf(report, simulator.PhaseMeasure)
	if n := got.Intended.Count(); n != want.Received-want.Negative {
		t.Errorf("%d latencies, want %d", n, want.Received-want.Negative)
	}
	if got.Intended.Count() != got.Actual.Count() {
		t.Errorf("%d intended and %d actual latencies", got.Intended.Count(), got.Actual.Count())
	}
	if got.Bytes == 0 {
		t.Error("no bytes")
	}
	if got.Innocent.Count() != 0 {
		t.Errorf("%d innocent latencies without a victim", got.Innocent.Count())
	}
	got.Intended, got.Actual, got.Innocent, got.Bytes = nil, nil, nil, 0
	if !reflect.DeepEqual(got, want) {
		t.Errorf("ledger\n%+v, want\n%+v", got, want)
	}
	if report.Spread.Incomplete != conns {
		t.Errorf("%d connections are incomplete, want all %d", report.Spread.Incomplete, conns)
	}
	if len(report.Rows) != 3*messages {
		t.Fatalf("%d rows, want %d", len(report.Rows), 3*messages)
	}
	for _, row := range report.Rows {
		wantCount := int64(2)
		switch row.Sequence {
		case 5, 6, 30, 20, 26: // negative latencies are not in rows
			wantCount = 0
		}
		if row.Subscribers != 2 || row.Count != wantCount || row.Complete() != (wantCount == 2) {
			t.Errorf("row %+v, want %d of 2", row, wantCount)
		}
	}
}

// A server that stalls shows in the latency from the intended time. What shows in the latency from the actual time is
// what happened after the publisher got to send.
func TestStallShowsInIntendedTime(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		const messages, stall = 50, 100 * time.Millisecond
		s := newStub(t, nil)
		f := startFleet(t, testConfig(s, engine, 2))
		f.connect()
		clk, err := clock.New()
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, "all subscriptions", func() bool { return len(s.all()) == 2 })
		for seq := uint64(1); seq <= messages; seq++ {
			m := message(clk, simulator.PhaseMeasure, 0, seq)
			m.Intended -= int64(stall) // the publisher was held up
			for _, c := range s.all() {
				c.text(encode(m))
			}
		}
		waitFor(t, "all messages", func() bool { return f.Counters().Received == 2*messages })
		p := phaseOf(f.finish(simulator.TopicSent{Phase: simulator.PhaseMeasure, First: 1, Count: messages}), simulator.PhaseMeasure)
		if got := p.Intended.Min(); got < int64(stall) {
			t.Errorf("least latency from the intended time is %d ns, below the stall", got)
		}
		if intended, actual := p.Intended.Mean(), p.Actual.Mean(); int64(intended-actual) != int64(stall) {
			t.Errorf("the means differ by %v, want exactly the stall", intended-actual)
		}
		if p.Lost != 0 || p.Received != 2*messages {
			t.Errorf("received %d, lost %d", p.Received, p.Lost)
		}
	})
}

// However a server's bytes are cut and fragmented, the messages are the same.
func TestBytesInPieces(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		s := newStub(t, nil)
		config := testConfig(s, engine, 1)
		config.ReadBuffer = 4096 // large messages pass it several times
		f := startFleet(t, config)
		f.connect()
		clk, err := clock.New()
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the subscription", func() bool { return len(s.all()) == 1 })
		c := s.all()[0]
		var seq uint64
		next := func(size int) []byte {
			seq++
			return stamp.Append(nil, message(clk, simulator.PhaseMeasure, 0, seq), size)
		}
		// Whole frames of all kinds of lengths, also beyond the read buffer.
		for _, size := range []int{91, 125, 126, 127, 4096, 5000, 65535, 65536, 200_000} {
			c.raw(serverFrame(0x81, next(size)))
		}
		// Byte by byte.
		for _, b := range serverFrame(0x81, next(128)) {
			c.raw([]byte{b})
		}
		// Three fragments with control frames between them (§5.4).
		m := next(300)
		c.raw(serverFrame(0x01, m[:100]))
		c.raw(serverFrame(0x89, []byte("between")))
		c.raw(serverFrame(0x00, m[100:150]))
		c.raw(serverFrame(0x8a, nil)) // an unsolicited pong
		c.raw(serverFrame(0x80, m[150:]))
		// Empty fragments.
		m = next(200)
		c.raw(append(append(serverFrame(0x01, nil), serverFrame(0x00, m)...), serverFrame(0x80, nil)...))
		// Many in one write, the last of them cut.
		var many []byte
		for range 100 {
			many = append(many, serverFrame(0x81, next(128))...)
		}
		c.raw(many[:len(many)-50])
		c.raw(many[len(many)-50:])
		// A ping is answered with its data, masked; gorilla refuses it otherwise (§5.1, §5.5.3).
		c.raw(serverFrame(0x89, nil))
		waitFor(t, "all messages", func() bool { return f.Counters().Received == int64(seq) })
		waitFor(t, "the pongs", func() bool { return len(c.sawPongs()) == 2 })
		if got := c.sawPongs(); got[0] != "between" || got[1] != "" {
			t.Errorf("pongs %q", got)
		}
		report := f.finish(simulator.TopicSent{Phase: simulator.PhaseMeasure, First: 1, Count: seq})
		p := phaseOf(report, simulator.PhaseMeasure)
		if p.Received != int64(seq) || p.Lost+p.Reordered+p.Duplicated+p.Corrupt+p.Foreign != 0 {
			t.Errorf("ledger %+v", p)
		}
		if report.Unattributed.Pings != 2 {
			t.Errorf("%d pings", report.Unattributed.Pings)
		}
		if len(report.Closed) != 0 {
			t.Errorf("closed %v", report.Closed)
		}
		waitFor(t, "the close frame", func() bool { return c.sawClose() == 1000 })
	})
}

// A connection is probed once it has heard of each of its topics.
func TestProbed(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		s := newStub(t, nil)
		config := testConfig(s, engine, 2)
		config.Topics = simulator.TopicPlan{Count: 2, PerConn: 2, Prefix: "t-"}
		f := startFleet(t, config)
		f.connect()
		clk, err := clock.New()
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, "all subscriptions", func() bool { return len(s.all()) == 2 })
		both, one := s.all()[0], s.all()[1]
		for _, m := range []stamp.Stamp{
			message(clk, simulator.PhaseProbe, 0, 1), message(clk, simulator.PhaseProbe, 0, 2), message(clk, simulator.PhaseProbe, 1, 1),
		} {
			both.text(encode(m))
			if m.Topic == 0 {
				one.text(encode(m))
			}
		}
		waitFor(t, "the probes", func() bool { return f.Counters().Received == 5 })
		if got := f.Probed(); got != 1 {
			t.Errorf("Probed() = %d, want 1", got)
		}
		one.text(encode(message(clk, simulator.PhaseProbe, 1, 2)))
		waitFor(t, "the last probe", func() bool { return f.Probed() == 2 })
		report := f.finish()
		if p := phaseOf(report, simulator.PhaseProbe); p.Received != 6 || p.Expected != 0 || p.Lost != 0 {
			t.Errorf("probe phase %+v", p)
		}
	})
}

// Two workers, each with a part of the connections, merge into what one would have said.
func TestMergeOfWorkers(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		const messages = 30
		s := newStub(t, nil)
		var reports []*simulator.Report
		var fleets []*fleet
		for worker := range 2 {
			config := testConfig(s, engine, 3)
			config.FirstIndex = worker * 3
			config.Topics = simulator.TopicPlan{Count: 4, PerConn: 2, Prefix: "t-"}
			f := startFleet(t, config)
			f.connect()
			fleets = append(fleets, f)
		}
		clk, err := clock.New()
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, "all subscriptions", func() bool { return len(s.all()) == 6 })
		total := 0
		for seq := uint64(1); seq <= messages; seq++ {
			for topic := range uint32(4) {
				m := message(clk, simulator.PhaseMeasure, topic, seq)
				for _, c := range s.all() {
					if !strings.Contains(c.topics+",", "t-"+string(rune('0'+topic))+",") {
						continue
					}
					if seq == 7 && topic == 1 && c == s.all()[0] {
						continue // one loss
					}
					c.text(encode(m))
					total++
				}
			}
		}
		waitFor(t, "all messages", func() bool {
			return fleets[0].Counters().Received+fleets[1].Counters().Received == int64(total)
		})
		sent := make([]simulator.TopicSent, 4)
		for i := range sent {
			sent[i] = simulator.TopicSent{Topic: uint32(i), Phase: simulator.PhaseMeasure, First: 1, Count: messages}
		}
		for _, f := range fleets {
			// Reports travel as JSON.
			text, err := json.Marshal(f.finish(sent...))
			if err != nil {
				t.Fatal(err)
			}
			var back simulator.Report
			if err := json.Unmarshal(text, &back); err != nil {
				t.Fatal(err)
			}
			reports = append(reports, &back)
		}
		merged, err := simulator.Merge(reports...)
		if err != nil {
			t.Fatal(err)
		}
		if merged.Connections != 6 || merged.Subscribed != 6 || merged.Spread.Connections != 6 {
			t.Errorf("connections %d, subscribed %d, spread over %d", merged.Connections, merged.Subscribed, merged.Spread.Connections)
		}
		p := phaseOf(merged, simulator.PhaseMeasure)
		lost := p.Expected - int64(total)
		if p.Expected != 6*2*messages || p.Received != int64(total) || p.Lost != lost || p.Intended.Count() != int64(total) {
			t.Errorf("ledger %+v with %d latencies, want %d received", p, p.Intended.Count(), total)
		}
		var subscribers, complete int64
		for _, row := range merged.Rows {
			subscribers += row.Subscribers
			if row.Complete() {
				complete++
			}
		}
		if subscribers != p.Expected || complete != int64(len(merged.Rows))-lost || len(merged.Rows) != 4*messages {
			t.Errorf("%d rows with %d subscribers, %d complete; %d lost", len(merged.Rows), subscribers, complete, lost)
		}
		var inIntervals int64
		for _, interval := range merged.Intervals {
			inIntervals += interval.Intended.Count()
			if interval.StartNS%int64(time.Second) != 0 {
				t.Errorf("interval begins at %d", interval.StartNS)
			}
		}
		if inIntervals != int64(total) {
			t.Errorf("%d latencies in the intervals, want %d", inIntervals, total)
		}
	})
}

func TestMergeRefuses(t *testing.T) {
	if _, err := simulator.Merge(); err == nil {
		t.Error("a merge of nothing succeeds")
	}
	if _, err := simulator.Merge(&simulator.Report{}); err == nil {
		t.Error("a report without histograms merges")
	}
	bad := emptyReport()
	bad.Phases = []simulator.PhaseReport{{Phase: simulator.MaxPhases}}
	if _, err := simulator.Merge(bad); err == nil {
		t.Error("a phase that does not exist merges")
	}
}
