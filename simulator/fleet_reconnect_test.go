package simulator_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"firetower/simulator"
	"firetower/simulator/clock"
)

// quickReconnect comes back at once.
func quickReconnect() simulator.ReconnectPlan {
	return simulator.ReconnectPlan{Enabled: true, After: 5 * time.Millisecond, Most: 20 * time.Millisecond, Jitter: 0.5, Seed: 7}
}

// on returns the newest connections of the stub, one for each of its topics' names.
func (s *stub) on(topics string) *stubConn {
	var newest *stubConn
	for _, c := range s.all() {
		if c.topics == topics {
			newest = c
		}
	}
	return newest
}

// A connection that ends comes back to its topics, and its ledger goes on: what was sent meanwhile is lost, and what is
// sent after is neither reordered nor a repetition.
func TestReconnect(t *testing.T) {
	for _, subprotocol := range []string{simulator.SubprotocolV0, simulator.SubprotocolV1} {
		t.Run(subprotocol, func(t *testing.T) {
			engines(t, func(t *testing.T, engine simulator.Engine) { reconnect(t, engine, subprotocol) })
		})
	}
}

func reconnect(t *testing.T, engine simulator.Engine, subprotocol string) {
	const conns, messages = 4, 30
	s := newStub(t, nil)
	config := testConfig(s, engine, conns)
	config.Subprotocol, config.Shards, config.Reconnect = subprotocol, 2, quickReconnect()
	config.Topics = simulator.TopicPlan{Count: 4, PerConn: 2, Prefix: "t-"} // t-0,t-1 and t-2,t-3, twice each
	f := startFleet(t, config)
	f.connect()
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "all subscriptions", func() bool { return len(s.all()) == conns })
	first := s.all()
	alive := append([]*stubConn(nil), first...)
	lost := 0
	ends := map[string]func(c *stubConn){
		"1006 eof":   func(c *stubConn) { c.ws.NetConn().Close() },
		"1006 reset": func(c *stubConn) { reset(t, c.ws.NetConn()) },
		"1012":       func(c *stubConn) { c.raw(serverFrame(0x88, []byte{0x03, 0xf4})) },
	}
	want := int64(0)
	for seq := uint64(1); seq <= messages; seq++ {
		if seq == 10 {
			// A reset takes with it what has not been read.
			waitFor(t, "the messages so far", func() bool { return f.Counters().Received == want })
			i := 0
			for _, end := range ends {
				end(alive[i])
				alive[i] = nil
				i++
			}
		}
		if seq == 20 {
			waitFor(t, "all to be back", func() bool { return len(s.all()) == conns+3 && f.Counters().Reconnected == 3 })
			for _, c := range s.all()[conns:] {
				for i := range alive {
					if alive[i] == nil && first[i].topics == c.topics {
						alive[i] = c
						break
					}
				}
			}
		}
		for i, c := range alive {
			if c == nil {
				lost += 2
				continue
			}
			for topic := range uint32(4) {
				if strings.Contains(first[i].topics, string(rune('0'+topic))) {
					c.text(encode(message(clk, simulator.PhaseMeasure, topic, seq)))
					want++
				}
			}
		}
	}
	waitFor(t, "all messages", func() bool { return f.Counters().Received == want })
	sent := make([]simulator.TopicSent, 4)
	for i := range sent {
		sent[i] = simulator.TopicSent{Topic: uint32(i), Phase: simulator.PhaseMeasure, First: 1, Count: messages}
	}
	report := f.finish(sent...)
	p := phaseOf(report, simulator.PhaseMeasure)
	if p.Expected != conns*2*messages || p.Received != want || p.Lost != int64(lost) || p.Duplicated != 0 || p.Reordered != 0 || p.Foreign != 0 {
		t.Errorf("ledger %+v, want %d received and %d lost", p, want, lost)
	}
	if want := map[string]int64{"1006 eof": 1, "1006 reset": 1, "1012": 1}; !reflect.DeepEqual(report.Closed, want) {
		t.Errorf("closed %v, want %v", report.Closed, want)
	}
	if report.Reconnects != 3 || report.Reconnect.Count() != 3 || report.Down != 0 || report.Subscribed != conns ||
		report.LastReconnectNS == 0 || len(report.ReconnectRefused) != 0 || report.Connect.Count() != conns {
		t.Errorf("reconnects %d (%d in the histogram, last at %d, refused %v), down %d, subscribed %d, connected %d",
			report.Reconnects, report.Reconnect.Count(), report.LastReconnectNS, report.ReconnectRefused, report.Down,
			report.Subscribed, report.Connect.Count())
	}
	if report.Reconnect.Min() < int64(config.Reconnect.After)/2 {
		t.Errorf("back after %d ns, before the least wait", report.Reconnect.Min())
	}
}

// Attempts that fail are counted by reason and repeated, at the next server each time, until one succeeds.
func TestReconnectGoesOnToTheNextServer(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		const conns = 3
		down := newStub(t, nil)
		refusing := newStub(t, func(s *stub) {
			s.answer = func(c *stubConn, id, _ string) { c.text(`{"type":"error","code":"unavailable","id":"` + id + `"}`) }
		})
		good := newStub(t, nil)
		config := testConfig(down, engine, conns)
		config.URLs = []string{down.url(), refusing.url(), good.url()}
		config.Subprotocol, config.Reconnect, config.HandshakesInFlight = simulator.SubprotocolV1, quickReconnect(), 1
		config.Topics = simulator.TopicPlan{Count: conns, PerConn: 1, Prefix: "t-"}
		f := startFleet(t, config)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		var refused *simulator.ConnectError
		if err := f.Connect(ctx); !errors.As(err, &refused) || refused.Refused["server error unavailable"] != 1 {
			t.Fatalf("Connect: %v", err)
		}
		// Connection 0 loses its server, goes to the one that refuses, and from there to the good one.
		down.server.Close()
		down.on("t-0").ws.NetConn().Close()
		waitFor(t, "the connection to be back", func() bool { return f.Counters().Reconnected == 1 })
		if c := f.Counters(); c.Disconnected != 0 || c.Subscribed != 2 || c.Refused != 1 || c.LastReconnectNS == 0 {
			t.Errorf("counters %+v", c)
		}
		if good.on("t-0") == nil {
			t.Error("the good server has not seen the connection")
		}
		report := f.finish()
		if want := map[string]int64{"server error unavailable": 1}; !reflect.DeepEqual(report.ReconnectRefused, want) {
			t.Errorf("refused %v, want %v", report.ReconnectRefused, want)
		}
		if report.Down != 1 || report.Reconnects != 1 { // the one that never subscribed is not tried again
			t.Errorf("down %d, reconnects %d", report.Down, report.Reconnects)
		}
	})
}

// A server that accepts and says nothing is given up on, and Finish need not wait for who is on the way back.
func TestFinishWhileDown(t *testing.T) {
	tests := map[string]struct {
		answer func(*stubConn, string, string) // of the subscription of those that come back
		wait   time.Duration
	}{
		"waiting":   {nil, time.Hour},
		"answering": {func(*stubConn, string, string) {}, time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			engines(t, func(t *testing.T, engine simulator.Engine) {
				const conns = 3
				s := newStub(t, nil)
				config := testConfig(s, engine, conns)
				config.Subprotocol, config.Reconnect = simulator.SubprotocolV1, quickReconnect()
				config.Reconnect.After, config.Reconnect.Most = tt.wait, tt.wait
				config.Reconnect.Jitter, config.HandshakeTimeout = 0, 2*time.Second // which the busiest machine keeps
				f := startFleet(t, config)
				f.connect()
				if tt.answer != nil {
					s.setAnswer(tt.answer)
				}
				for _, c := range s.all()[:2] {
					c.ws.NetConn().Close()
				}
				waitFor(t, "the ends", func() bool { return f.Counters().Disconnected == 2 })
				if tt.answer != nil {
					waitFor(t, "attempts", func() bool { return len(s.all()) >= conns+4 })
				}
				report := f.finish()
				if report.Down != 2 || report.Reconnects != 0 || report.Closed["1006 eof"] != 2 || report.LastReconnectNS != 0 {
					t.Errorf("down %d, reconnects %d, closed %v", report.Down, report.Reconnects, report.Closed)
				}
				if got := report.ReconnectRefused["subscribe: timeout"]; (got >= 2) != (tt.answer != nil) {
					t.Errorf("refused %v", report.ReconnectRefused)
				}
			})
		})
	}
}

// Disconnect resets exactly its share, the same ones for the same seed, and those come back.
func TestDisconnect(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		const conns = 300 // more than a loop resets at once, in one of two shards
		s := newStub(t, nil)
		config := testConfig(s, engine, conns+1)
		config.Shards, config.Reconnect = 2, quickReconnect()
		config.Slow = []simulator.SlowSpec{{Count: 1}}
		f := startFleet(t, config)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if _, err := f.Disconnect(ctx, 1, 0); !errors.Is(err, simulator.ErrState) {
			t.Errorf("Disconnect before Connect: %v", err)
		}
		f.connect()
		for _, share := range []float64{-0.1, 1.1} {
			if _, err := f.Disconnect(ctx, share, 0); err == nil {
				t.Errorf("a share of %v is accepted", share)
			}
		}
		total := int64(0)
		for share, want := range map[float64]int{0: 0, 0.5: conns / 2, 1: conns} {
			n, err := f.Disconnect(ctx, share, 3)
			if err != nil || n != want {
				t.Errorf("share %v: %d connections, %v, want %d", share, n, err, want)
			}
			total += int64(n)
			waitFor(t, "all to be back", func() bool {
				c := f.Counters()
				return c.Reconnected == total && c.Disconnected == 0
			})
		}
		report := f.finish()
		if want := map[string]int64{"reset by plan": total}; !reflect.DeepEqual(report.Closed, want) {
			t.Errorf("closed %v, want %v", report.Closed, want)
		}
		if report.Slow.Open != 1 || report.Reconnects != total || report.Down != 0 {
			t.Errorf("slow %+v, %d reconnects, %d down", report.Slow, report.Reconnects, report.Down)
		}
		if _, err := f.Disconnect(ctx, 1, 0); !errors.Is(err, simulator.ErrState) {
			t.Errorf("Disconnect after Finish: %v", err)
		}
	})
}

// Without reconnection what was reset stays so, and the server is told RST.
func TestDisconnectForGood(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		s := newStub(t, nil)
		f := startFleet(t, testConfig(s, engine, 4))
		f.connect()
		waitFor(t, "all subscriptions", func() bool { return len(s.all()) == 4 })
		if n, err := f.Disconnect(context.Background(), 0.5, 1); n != 2 || err != nil {
			t.Errorf("%d connections, %v", n, err)
		}
		waitFor(t, "the server to see two resets", func() bool {
			n := 0
			for _, c := range s.all() {
				if c.sawReset() {
					n++
				}
			}
			return n == 2
		})
		if n, err := f.Disconnect(context.Background(), 0.5, 1); n != 0 || err != nil {
			t.Errorf("%d connections that were down already, %v", n, err)
		}
		if report := f.finish(); report.Down != 2 || report.Closed["reset by plan"] != 2 {
			t.Errorf("down %d, closed %v", report.Down, report.Closed)
		}
	})
}
