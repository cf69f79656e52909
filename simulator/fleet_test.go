package simulator_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net"
	"os"
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
	got.Intended, got.Actual, got.Bytes = nil, nil, 0
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

// What a server may not send ends the connection with the right code, and is counted.
func TestProtocolViolations(t *testing.T) {
	tests := map[string]struct {
		bytes []byte
		code  int
		key   string
	}{
		"masked frame":                 {[]byte{0x81, 0x81, 1, 2, 3, 4, 'x'}, 1002, "1002 sent"},
		"reserved bit":                 {[]byte{0xc1, 0}, 1002, "1002 sent"},
		"reserved opcode":              {[]byte{0x83, 0}, 1002, "1002 sent"},
		"continuation of nothing":      {serverFrame(0x80, []byte("x")), 1002, "1002 sent"},
		"message within a message":     {append(serverFrame(0x01, []byte("x")), serverFrame(0x81, []byte("y"))...), 1002, "1002 sent"},
		"fragmented ping":              {serverFrame(0x09, nil), 1002, "1002 sent"},
		"close of one byte":            {serverFrame(0x88, []byte{3}), 1002, "1002 sent"},
		"close with a code never sent": {serverFrame(0x88, []byte{0x03, 0xee}), 1002, "1002 sent"},
		"a message beyond the bound":   {binary.BigEndian.AppendUint64([]byte{0x81, 127}, 1<<20+1), 1009, "1009 sent"},
		"fragments beyond the bound":   {append(serverFrame(0x01, make([]byte, 1<<19)), serverFrame(0x00, make([]byte, 1<<19+1))...), 1009, "1009 sent"},
		"the server says goodbye":      {serverFrame(0x88, []byte{0x03, 0xf4}), 1012, "1012"},
		"goodbye without a code":       {serverFrame(0x88, nil), 1005, "1005"},
		"slow consumer, with a reason": {serverFrame(0x88, append([]byte{0x0f, 0xa8}, "too slow"...)), 4008, "4008"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStub(t, nil)
			f := startFleet(t, testConfig(s, simulator.DefaultConfig().Engine, 2))
			f.connect()
			waitFor(t, "all subscriptions", func() bool { return len(s.all()) == 2 })
			victim, witness := s.all()[0], s.all()[1]
			victim.raw(tt.bytes)
			waitFor(t, "the end of the connection", func() bool { return len(f.Counters().Closed) == 1 })
			waitFor(t, "the client's close frame", func() bool { return victim.sawClose() != 0 })
			if got := victim.sawClose(); got != tt.code {
				t.Errorf("the client sent close code %d, want %d", got, tt.code)
			}
			if witness.sawClose() != 0 {
				t.Error("another connection was closed too")
			}
			report := f.finish()
			if want := map[string]int64{tt.key: 1}; !reflect.DeepEqual(report.Closed, want) {
				t.Errorf("closed %v, want %v", report.Closed, want)
			}
		})
	}
}

// A connection that the server ends without a word is told apart, and what it misses is lost.
func TestConnectionsThatEnd(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		const conns, messages = 3, 10
		s := newStub(t, nil)
		f := startFleet(t, testConfig(s, engine, conns))
		f.connect()
		clk, err := clock.New()
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, "all subscriptions", func() bool { return len(s.all()) == conns })
		for seq := uint64(1); seq <= messages; seq++ {
			if seq == 5 {
				s.all()[0].ws.NetConn().Close()
				reset(t, s.all()[1].ws.NetConn())
				waitFor(t, "two ends", func() bool { return len(f.Counters().Closed) == 2 })
			}
			for _, c := range s.all() {
				c.text(encode(message(clk, simulator.PhaseMeasure, 0, seq)))
			}
		}
		waitFor(t, "all messages", func() bool { return f.Counters().Received == 4*3+6 })
		report := f.finish(simulator.TopicSent{Phase: simulator.PhaseMeasure, First: 1, Count: messages})
		if want := map[string]int64{"1006 eof": 1, "1006 reset": 1}; !reflect.DeepEqual(report.Closed, want) {
			t.Errorf("closed %v, want %v", report.Closed, want)
		}
		p := phaseOf(report, simulator.PhaseMeasure)
		if p.Expected != 30 || p.Received != 18 || p.Lost != 12 {
			t.Errorf("expected %d, received %d, lost %d, want 30, 18, 12", p.Expected, p.Received, p.Lost)
		}
		if report.Spread.Incomplete != 2 {
			t.Errorf("%d incomplete connections, want 2", report.Spread.Incomplete)
		}
		if got := report.Spread.Jain(); got < 0.8 || got > 0.9 { // 18^2 / (3 * (16+16+100))
			t.Errorf("Jain's index %v", got)
		}
	})
}

// reset closes a connection so that the other side is told RST instead of FIN.
func reset(t *testing.T, conn net.Conn) {
	t.Helper()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		t.Fatalf("%T", conn)
	}
	if err := tcp.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	tcp.Close()
}

// Connections that do not get to their subscription are counted by reason, and the others stay.
func TestConnectSaysWhatWasRefused(t *testing.T) {
	refuseSecond := func(text string) func(*stub) {
		return func(s *stub) {
			acknowledge := s.answer
			s.answer = func(c *stubConn, id, topics string) {
				if topics != "loadtest-1" {
					acknowledge(c, id, topics)
					return
				}
				if text == "" {
					c.ws.NetConn().Close()
					return
				}
				c.text(strings.ReplaceAll(text, "ID", id))
			}
		}
	}
	tests := map[string]struct {
		change func(*stub)
		reason string
	}{
		"error frame":        {refuseSecond(`{"type":"error","code":"forbidden","id":"ID"}`), "server error forbidden"},
		"reply that says no": {refuseSecond(`{"type":"subscribe","id":"ID","ok":false,"code":"unavailable"}`), "subscribe refused unavailable"},
		"topic that says no": {refuseSecond(`{"type":"subscribe","id":"ID","ok":true,"topics":[{"topic":"loadtest-1","ok":false,"code":"bad_topic"}]}`), "topic refused bad_topic"},
		"closed":             {refuseSecond(""), "closed before subscribed: 1006 eof"},
		"no answer":          {refuseSecond("heartbeat"), "subscribe: timeout"},
		"answer to another":  {refuseSecond(`{"type":"subscribe","id":"other","ok":true}`), "subscribe: timeout"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			engines(t, func(t *testing.T, engine simulator.Engine) {
				s := newStub(t, tt.change)
				config := testConfig(s, engine, 3)
				config.Subprotocol = simulator.SubprotocolV1
				config.Topics = simulator.TopicPlan{Count: 3, PerConn: 1, Prefix: "loadtest-"}
				config.HandshakeTimeout = 500 * time.Millisecond
				f := startFleet(t, config)
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				err := f.Connect(ctx)
				var refused *simulator.ConnectError
				if !errors.As(err, &refused) {
					t.Fatalf("Connect: %v", err)
				}
				if want := map[string]int64{tt.reason: 1}; !reflect.DeepEqual(refused.Refused, want) || refused.Planned != 3 {
					t.Errorf("refused %v of %d, want %v of 3", refused.Refused, refused.Planned, want)
				}
				if c := f.Counters(); c.Subscribed != 2 || c.Refused != 1 {
					t.Errorf("counters %+v", c)
				}
				report := f.finish()
				if report.Subscribed != 2 || len(report.Closed) != 0 {
					t.Errorf("subscribed %d, closed %v", report.Subscribed, report.Closed)
				}
			})
		})
	}
}

func TestConnectToNothing(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := listener.Addr().String()
		listener.Close()
		config := simulator.DefaultConfig()
		config.URLs, config.Connections, config.Engine = []string{"ws://" + addr + "/"}, 5, engine
		f := startFleet(t, config)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		err = f.Connect(ctx)
		var refused *simulator.ConnectError
		if !errors.As(err, &refused) || refused.Refused["connect: connection refused"] != 5 {
			t.Errorf("Connect: %v", err)
		}
	})
}

// A server that accepts and says nothing is given up on.
func TestConnectTimesOut(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		config := simulator.DefaultConfig()
		config.URLs, config.Connections, config.Engine = []string{"ws://" + listener.Addr().String() + "/"}, 3, engine
		config.HandshakeTimeout = 200 * time.Millisecond
		f := startFleet(t, config)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		err = f.Connect(ctx)
		var refused *simulator.ConnectError
		if !errors.As(err, &refused) || refused.Refused["upgrade: timeout"]+refused.Refused["connect: timeout"] != 3 {
			t.Errorf("Connect: %v", err)
		}
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

// Connections that never read take nothing from the others' ledger, and are told of apart.
func TestSlowConnections(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		const messages = 20
		s := newStub(t, nil)
		config := testConfig(s, engine, 5)
		config.Slow = []simulator.SlowSpec{{Count: 3, Kind: simulator.SlowNeverReads, ReceiveBuffer: 4096}}
		config.Topics = simulator.TopicPlan{Count: 5, PerConn: 1, Prefix: "t-"}
		f := startFleet(t, config)
		f.connect()
		clk, err := clock.New()
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, "all subscriptions", func() bool { return len(s.all()) == 5 })
		byTopic := make(map[string]*stubConn)
		for _, c := range s.all() {
			byTopic[c.topics] = c
		}
		for seq := uint64(1); seq <= messages; seq++ {
			for topic, c := range byTopic {
				c.text(encode(message(clk, simulator.PhaseMeasure, uint32(topic[2]-'0'), seq)))
			}
		}
		waitFor(t, "the healthy ones", func() bool { return f.Counters().Received == 2*messages })
		byTopic["t-2"].raw(serverFrame(0x88, []byte{0x0f, 0xa8})) // 4008, behind what the client does not read
		reset(t, byTopic["t-3"].ws.NetConn())
		if engine == simulator.EngineEpoll { // the kernel tells of a reset, though nobody reads
			waitFor(t, "the reset", func() bool { return len(f.Counters().Closed) == 1 })
		}
		sent := make([]simulator.TopicSent, 5)
		for i := range sent {
			sent[i] = simulator.TopicSent{Topic: uint32(i), Phase: simulator.PhaseMeasure, First: 1, Count: messages}
		}
		report := f.finish(sent...)
		if p := phaseOf(report, simulator.PhaseMeasure); p.Expected != 2*messages || p.Received != 2*messages || p.Lost != 0 {
			t.Errorf("ledger of the healthy: %+v", p)
		}
		slow := report.Slow
		if slow == nil {
			t.Fatal("no report of the slow")
		}
		if slow.Connections != 3 || slow.Subscribed != 3 || slow.Open != 1 {
			t.Errorf("slow: %+v", slow)
		}
		want := map[string]int64{"4008": 1, "1006 reset": 1}
		if engine == simulator.EngineGoroutine { // its goodbye is what is told of the reset; the read after finds the end
			want = map[string]int64{"4008": 1, "1006 eof": 1}
		}
		if !reflect.DeepEqual(slow.Closed, want) {
			t.Errorf("slow ones closed %v, want %v", slow.Closed, want)
		}
		if slow.Received < 2*messages || slow.Received > 3*messages { // what stood behind the reset may be gone
			t.Errorf("slow ones had %d messages", slow.Received)
		}
		if len(report.Closed) != 0 {
			t.Errorf("healthy ones closed: %v", report.Closed)
		}
	})
}

// A slow connection's small buffer is what makes the server's socket full.
func TestSlowConnectionPushesBack(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		s := newStub(t, nil)
		config := testConfig(s, engine, 1)
		config.Slow = []simulator.SlowSpec{{Count: 1, ReceiveBuffer: 4096}}
		f := startFleet(t, config)
		f.connect()
		waitFor(t, "the subscription", func() bool { return len(s.all()) == 1 })
		conn, ok := s.all()[0].ws.NetConn().(*net.TCPConn)
		if !ok {
			t.Fatal("no TCP connection")
		}
		if err := conn.SetWriteBuffer(4096); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Write(make([]byte, 1<<20))
		if !errors.Is(err, context.DeadlineExceeded) && err == nil || n > 64<<10 {
			t.Errorf("the server could write %d bytes, %v", n, err)
		}
	})
}

func TestSourceAddresses(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		if simulator.DefaultConfig().Engine != simulator.EngineEpoll {
			t.Skip("only Linux has all of 127.0.0.0/8")
		}
		s := newStub(t, nil)
		config := testConfig(s, engine, 6)
		config.SourceIPs = []string{"127.0.1.1", "127.0.1.2"}
		f := startFleet(t, config)
		f.connect()
		waitFor(t, "all subscriptions", func() bool { return len(s.all()) == 6 })
		count := make(map[string]int)
		for _, c := range s.all() {
			host, _, err := net.SplitHostPort(c.remote)
			if err != nil {
				t.Fatal(err)
			}
			count[host]++
		}
		if want := map[string]int{"127.0.1.1": 3, "127.0.1.2": 3}; !reflect.DeepEqual(count, want) {
			t.Errorf("connections came from %v, want %v", count, want)
		}
		f.finish()
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

func TestFleetStates(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		s := newStub(t, nil)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		f := startFleet(t, testConfig(s, engine, 1))
		if _, err := f.Finish(ctx, nil); !errors.Is(err, simulator.ErrState) {
			t.Errorf("Finish before Connect: %v", err)
		}
		f.connect()
		if err := f.Connect(ctx); !errors.Is(err, simulator.ErrState) {
			t.Errorf("Connect twice: %v", err)
		}
		if err := f.Run(ctx); !errors.Is(err, simulator.ErrState) {
			t.Errorf("Run twice: %v", err)
		}
		f.finish()
		if err := <-f.ran; err != nil {
			t.Errorf("Run after Finish: %v", err)
		}
		f.ran <- nil
		if _, err := f.Finish(ctx, nil); !errors.Is(err, simulator.ErrState) {
			t.Errorf("Finish twice: %v", err)
		}
	})
}

func TestFinishRefusesWhatIsOutsideThePlan(t *testing.T) {
	tests := map[string]simulator.TopicSent{
		"topic":     {Topic: 1, First: 1, Count: 1},
		"publisher": {Publisher: 1, First: 1, Count: 1},
		"phase":     {Phase: simulator.MaxPhases, First: 1, Count: 1},
		"sequence":  {First: 0, Count: 1},
	}
	for name, sent := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStub(t, nil)
			f := startFleet(t, testConfig(s, simulator.DefaultConfig().Engine, 1))
			f.connect()
			if _, err := f.Finish(context.Background(), []simulator.TopicSent{sent}); err == nil {
				t.Errorf("%+v is accepted", sent)
			}
		})
	}
}

// The context ends everything at once, in every state.
func TestContextEndsTheFleet(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		t.Run("before connecting", func(t *testing.T) {
			f := startFleet(t, testConfig(newStub(t, nil), engine, 3))
			f.cancel()
			if err := <-f.ran; !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
			f.ran <- nil
			if err := f.Connect(context.Background()); err == nil {
				t.Error("Connect succeeds")
			}
		})
		t.Run("while connecting", func(t *testing.T) {
			config := testConfig(newStub(t, nil), engine, 1000)
			config.ConnectRate = 100
			f := startFleet(t, config)
			connected := make(chan error, 1)
			go func() { connected <- f.Connect(context.Background()) }()
			waitFor(t, "a connection", func() bool { return f.Counters().Connected > 0 })
			f.cancel()
			if err := <-connected; err == nil {
				t.Error("Connect succeeds")
			}
		})
		t.Run("while receiving", func(t *testing.T) {
			f := startFleet(t, testConfig(newStub(t, nil), engine, 3))
			f.connect()
			f.cancel()
			<-f.ran
			f.ran <- nil
			if _, err := f.Finish(context.Background(), nil); !errors.Is(err, simulator.ErrStopped) {
				t.Errorf("Finish: %v", err)
			}
		})
		t.Run("Connect's own context", func(t *testing.T) {
			config := testConfig(newStub(t, nil), engine, 1000)
			config.ConnectRate = 100
			f := startFleet(t, config)
			ctx, cancel := context.WithCancel(context.Background())
			connected := make(chan error, 1)
			go func() { connected <- f.Connect(ctx) }()
			waitFor(t, "a connection", func() bool { return f.Counters().Connected > 0 })
			cancel()
			if err := <-connected; !errors.Is(err, context.Canceled) {
				t.Errorf("Connect: %v", err)
			}
		})
	})
}

// A server that does not answer the goodbye holds up nobody for long, and has not closed anything.
func TestFinishGivesUpOnTheServer(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		s := newStub(t, func(s *stub) { s.mute = make(chan struct{}) })
		config := testConfig(s, engine, 3)
		config.Slow = []simulator.SlowSpec{{Count: 1, ReceiveBuffer: 4096}}
		f := startFleet(t, config)
		f.connect()
		waitFor(t, "all subscriptions", func() bool { return len(s.all()) == 3 })
		report := f.finish()
		if len(report.Closed) != 0 || report.Slow.Open != 1 || len(report.Slow.Closed) != 0 {
			t.Errorf("closed %v, slow %+v", report.Closed, report.Slow)
		}
	})
}

// The loops of the epoll engine tell how they fared.
func TestLoad(t *testing.T) {
	config := testConfig(newStub(t, nil), simulator.EngineEpoll, 10)
	if config.Validate() != nil {
		t.Skip("no epoll here")
	}
	config.Batch = 2
	f := startFleet(t, config)
	f.connect()
	load := f.finish().Load
	if load.Reads < 10 || load.Batches < 10 || load.FullBatches == 0 || load.FullBatches+load.Rests > load.Batches || load.Backlog != 0 {
		t.Errorf("load %+v for 10 handshakes in batches of 2", load)
	}
}

// A fleet that is never run holds nothing.
func TestNewHoldsNoDescriptor(t *testing.T) {
	config := testConfig(newStub(t, nil), simulator.DefaultConfig().Engine, 1000)
	before := descriptors(t)
	for range 20 {
		if _, err := simulator.New(config); err != nil {
			t.Fatal(err)
		}
	}
	if after := descriptors(t); after > before+10 {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc/self/fd")
	}
	return len(entries)
}
