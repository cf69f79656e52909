package simulator_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"testing"
	"time"

	"firetower/simulator"
	"firetower/simulator/clock"
)

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
		if engine != simulator.EngineGoroutine { // the kernel tells of a reset, though nobody reads
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
	for _, kind := range []simulator.SlowKind{simulator.SlowNeverReads, simulator.SlowReader} {
		t.Run(string(kind), func(t *testing.T) { pushBack(t, kind) })
	}
}

func pushBack(t *testing.T, kind simulator.SlowKind) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		s := newStub(t, nil)
		config := testConfig(s, engine, 1)
		config.Slow = []simulator.SlowSpec{{Count: 1, Kind: kind, ReceiveBuffer: 4096, Rate: 10}}
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
		n, err := conn.Write(bytes.Repeat(serverFrame(0x81, make([]byte, 1<<10)), 1<<10))
		if !errors.Is(err, context.DeadlineExceeded) && err == nil || n > 64<<10 {
			t.Errorf("the server could write %d bytes, %v", n, err)
		}
	})
}

// A slow-reader takes its messages one by one, at its rate, and answers a ping when it has come to it.
func TestSlowReader(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		const messages, every = 5, 10 * time.Millisecond
		s := newStub(t, nil)
		config := testConfig(s, engine, 1)
		config.Slow = []simulator.SlowSpec{{Count: 1, Kind: simulator.SlowReader, Rate: float64(time.Second / every)}}
		f := startFleet(t, config)
		f.connect()
		clk, err := clock.New()
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the subscription", func() bool { return len(s.all()) == 1 })
		c := s.all()[0]
		from := time.Now()
		for seq := range uint64(messages) {
			c.text(encode(message(clk, simulator.PhaseMeasure, 0, seq+1)))
		}
		c.raw(serverFrame(0x89, []byte("late")))
		waitFor(t, "the pong", func() bool { return len(c.sawPongs()) == 1 })
		// The least: whatever else happens takes longer.
		if took := time.Since(from); took < (messages-1)*every {
			t.Errorf("%d messages and a ping in %v, at one in %v", messages, took, every)
		}
		for seq := range uint64(messages) {
			c.text(encode(message(clk, simulator.PhaseMeasure, 0, messages+seq+1)))
		}
		report := f.finish(simulator.TopicSent{Phase: simulator.PhaseMeasure, First: 1, Count: 2 * messages})
		// The goodbye has it read the rest.
		if slow := report.Slow; slow.Received != 2*messages || slow.Open != 1 || len(slow.Closed) != 0 {
			t.Errorf("slow %+v", slow)
		}
		if p := phaseOf(report, simulator.PhaseMeasure); p.Expected != 0 || p.Received != 0 {
			t.Errorf("ledger of the healthy: %+v", p)
		}
	})
}

// A slow-reader that the server ends sees it, by a close frame that it comes to or by the end of the stream.
func TestSlowReaderIsEnded(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		s := newStub(t, nil)
		config := testConfig(s, engine, 2)
		config.Slow = []simulator.SlowSpec{{Count: 2, Kind: simulator.SlowReader, Rate: 1000}}
		f := startFleet(t, config)
		f.connect()
		waitFor(t, "all subscriptions", func() bool { return len(s.all()) == 2 })
		s.all()[0].raw(serverFrame(0x88, []byte{0x0f, 0xa8}))
		s.all()[1].ws.NetConn().Close()
		want := map[string]int64{"4008": 1, "1006 eof": 1}
		waitFor(t, "the ends", func() bool { return reflect.DeepEqual(f.Counters().Closed, want) })
		slow := f.finish().Slow
		if !reflect.DeepEqual(slow.Closed, want) || slow.Open != 0 || slow.Kinds[simulator.SlowReader].Closed["4008"] != 1 {
			t.Errorf("slow %+v", slow)
		}
	})
}

// A half-open connection receives, and says nothing: no pong, no close frame, and it does not hang up.
func TestHalfOpen(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		s := newStub(t, nil)
		config := testConfig(s, engine, 3)
		config.Slow = []simulator.SlowSpec{{Count: 2, Kind: simulator.SlowHalfOpen}}
		config.Topics = simulator.TopicPlan{Count: 3, PerConn: 1, Prefix: "t-"}
		f := startFleet(t, config)
		f.connect()
		clk, err := clock.New()
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, "all subscriptions", func() bool { return len(s.all()) == 3 })
		healthy, told, left := s.on("t-0"), s.on("t-1"), s.on("t-2")
		for _, c := range []*stubConn{told, left} {
			c.raw(serverFrame(0x89, []byte("ping")))
			c.text(encode(message(clk, simulator.PhaseMeasure, 1, 1)))
		}
		told.raw(serverFrame(0x88, []byte{0x0f, 0xa8}))
		waitFor(t, "the end", func() bool { return f.Counters().Closed["4008"] == 1 })
		healthy.raw(serverFrame(0x89, []byte("ping")))
		waitFor(t, "the healthy one's pong", func() bool { return len(healthy.sawPongs()) == 1 })
		for _, c := range []*stubConn{told, left} {
			if len(c.sawPongs()) != 0 || c.sawEnd() {
				t.Errorf("%s: pongs %q, ended %v", c.topics, c.sawPongs(), c.sawEnd())
			}
		}
		told.ws.NetConn().Close() // the server gives up on it, which is no second end
		report := f.finish()
		want := simulator.SlowCount{Connections: 2, Subscribed: 2, Closed: map[string]int64{"4008": 1}, Open: 1, Received: 2}
		if !reflect.DeepEqual(report.Slow.SlowCount, want) || !reflect.DeepEqual(*report.Slow.Kinds[simulator.SlowHalfOpen], want) {
			t.Errorf("slow %+v, of its kind %+v, want %+v", report.Slow.SlowCount, report.Slow.Kinds[simulator.SlowHalfOpen], want)
		}
		// 1006 is the stub's word for an end without a close frame.
		if code := left.sawClose(); code != 0 && code != 1006 || report.Unattributed.Pings != 1 {
			t.Errorf("close code %d, %d pings answered", code, report.Unattributed.Pings)
		}
	})
}

// A slow-writer begins a frame and goes on with it a byte at a time, while it receives.
func TestSlowWriter(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		s := newStub(t, func(s *stub) { s.mute = make(chan struct{}) })
		config := testConfig(s, engine, 1)
		config.Subprotocol = simulator.SubprotocolV1
		config.Slow = []simulator.SlowSpec{{Count: 1, Kind: simulator.SlowWriter}}
		f := startFleet(t, config)
		f.connect()
		clk, err := clock.New()
		if err != nil {
			t.Fatal(err)
		}
		conn := s.all()[0].ws.NetConn()
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		got := make([]byte, 10)
		if _, err := io.ReadFull(conn, got); err != nil {
			t.Fatal(err)
		}
		if want := []byte{0x81, 0xfe, 0xff, 0xff, 0, 0, 0, 0, 0, 0}; !bytes.Equal(got, want) {
			t.Errorf("the client sent % x, want % x", got, want)
		}
		s.all()[0].raw(serverFrame(0x89, []byte("ping")))
		s.all()[0].text(encode(message(clk, simulator.PhaseMeasure, 0, 1)))
		s.all()[0].raw(serverFrame(0x88, []byte{0x03, 0xf2})) // 1010
		waitFor(t, "the end", func() bool { return f.Counters().Closed["1010"] == 1 })
		rest, err := io.ReadAll(conn)
		if err != nil || len(bytes.Trim(rest, "\x00")) != 0 {
			t.Errorf("the client sent % x, %v", rest, err)
		}
		slow := f.finish().Slow
		if slow.Received != 1 || slow.Open != 0 || slow.Closed["1010"] != 1 {
			t.Errorf("slow %+v", slow)
		}
	})
}

func TestSlowSpecsThatAreRefused(t *testing.T) {
	tests := map[string]struct {
		spec simulator.SlowSpec
		want string
	}{
		"kind": {
			simulator.SlowSpec{Kind: "lazy"},
			`slow[0].kind: must be "never-reads", "slow-reader", "slow-writer" or "half-open", got "lazy"`,
		},
		"count":          {simulator.SlowSpec{Count: -1}, "slow[0].count: must be >= 0, got -1"},
		"receive buffer": {simulator.SlowSpec{ReceiveBuffer: -1}, "slow[0].receive_buffer: must be >= 0, got -1"},
		"rate":           {simulator.SlowSpec{Rate: -1}, "slow[0].rate: must be from 0 to 1000000, got -1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			config := simulator.DefaultConfig()
			config.URLs, config.Connections = []string{"ws://127.0.0.1:1/"}, 1
			config.Slow = []simulator.SlowSpec{tt.spec}
			if err := config.Validate(); err == nil || err.Error() != tt.want {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
