package simulator_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"reflect"
	"testing"
	"time"

	"firetower/simulator"
	"firetower/simulator/clock"
)

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
