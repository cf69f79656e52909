package simulator_test

import (
	"context"
	"errors"
	"net"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"firetower/simulator"
)

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

func TestSourceAddresses(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		if runtime.GOOS != "linux" {
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

// The loops that read raw sockets tell how they fared.
func TestLoad(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		if engine == simulator.EngineGoroutine {
			t.Skip("it has no loops")
		}
		config := testConfig(newStub(t, nil), engine, 10)
		config.Batch = 2
		f := startFleet(t, config)
		f.connect()
		load := f.finish().Load
		if load.Reads < 10 || load.Batches < 5 || load.Rests == 0 || load.FullBatches+load.Rests > load.Batches || load.Backlog != 0 {
			t.Errorf("load %+v for 10 handshakes in batches of 2", load)
		}
		if engine == simulator.EngineEpoll && load.FullBatches == 0 {
			t.Errorf("load %+v: no batch of 2 was full", load)
		}
	})
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
