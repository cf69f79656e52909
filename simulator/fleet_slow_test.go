package simulator_test

import (
	"context"
	"errors"
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
