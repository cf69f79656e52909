package simulator_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"firetower/simulator"
	"firetower/simulator/clock"
)

// foreignStub is a server that speaks another dialect, as a test tells it to.
type foreignStub struct {
	addr string
	// greeting is what it says first, answer what it says to the opening.
	greeting, answer string

	mu    sync.Mutex // guards the following
	conns []*foreignConn
}

// foreignConn is one client of a foreignStub.
type foreignConn struct {
	ws *websocket.Conn

	mu   sync.Mutex // guards the following
	said []string
}

func newForeignStub(t *testing.T, greeting, answer string) *foreignStub {
	t.Helper()
	s := &foreignStub{greeting: greeting, answer: answer}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		server.Close()
		for _, c := range s.all() {
			c.ws.Close()
		}
		wg.Wait()
	})
	return s
}

func (s *foreignStub) all() []*foreignConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.conns)
}

func (s *foreignStub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	c := &foreignConn{ws: ws}
	if s.greeting != "" {
		c.frames(s.greeting)
	}
	for first := true; ; first = false {
		_, frame, err := ws.ReadMessage()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.said = append(c.said, string(frame))
		c.mu.Unlock()
		if first {
			c.frames(s.answer)
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
		}
	}
}

// frames sends one message, in as many frames as there are parts.
func (c *foreignConn) frames(parts ...string) {
	var b []byte
	for i, part := range parts {
		first := byte(0x02) // binary, more frames follow
		if i > 0 {
			first = 0x00
		}
		if i == len(parts)-1 {
			first |= 0x80
		}
		b = append(b, serverFrame(first, []byte(part))...)
	}
	_, _ = c.ws.NetConn().Write(b) // the client may be gone, as the test wants it
}

func (c *foreignConn) heard(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.said, text)
}

// foreignDialect is what a test of a fleet needs to know of a dialect.
type foreignDialect struct {
	dialect          simulator.Dialect
	greeting, answer string
	line             func(topic string, data []byte) []byte
	separator        string
	ping, pong       string
	refusal, reason  string
}

func foreignDialects() []foreignDialect {
	return []foreignDialect{
		{
			dialect: simulator.DialectCentrifugo,
			answer: `{"id":1,"connect":{"client":"x","ping":25,"pong":true}}` + "\n" +
				`{"id":2,"subscribe":{}}` + "\n" + `{"id":3,"subscribe":{}}`,
			line: centrifugoLine, separator: "\n", ping: "{}", pong: "{}",
			refusal: `{"id":1,"connect":{}}` + "\n" + `{"id":2,"error":{"code":103,"message":"permission denied"}}`,
			reason:  "command refused 103 permission denied",
		},
		{
			dialect: simulator.DialectNATS, greeting: "INFO {}\r\n", answer: "PONG\r\n",
			line: natsLine, ping: "PING\r\n", pong: "PONG\r\n",
			refusal: "-ERR 'Authorization Violation'\r\n", reason: "server error Authorization Violation",
		},
	}
}

// eachDialect runs a test with every dialect and engine.
func eachDialect(t *testing.T, test func(t *testing.T, d foreignDialect, engine simulator.Engine)) {
	t.Helper()
	for _, d := range foreignDialects() {
		t.Run(string(d.dialect), func(t *testing.T) {
			engines(t, func(t *testing.T, engine simulator.Engine) { test(t, d, engine) })
		})
	}
}

func (d foreignDialect) config(s *foreignStub, engine simulator.Engine, conns int) simulator.Config {
	config := simulator.DefaultConfig()
	config.URLs, config.Connections, config.Engine, config.RunID = []string{"ws://" + s.addr + "/ws"}, conns, engine, runID
	config.ConnectRate, config.Dialect = 0, d.dialect
	config.Topics = simulator.TopicPlan{Count: 2, PerConn: 2, Prefix: "t-"}
	return config
}

// A fleet subscribes, answers pings, and counts what comes joined in one message, cut over frames and among pings.
func TestFleetSpeaksDialects(t *testing.T) {
	eachDialect(t, func(t *testing.T, d foreignDialect, engine simulator.Engine) {
		const conns = 3
		s := newForeignStub(t, d.greeting, d.answer)
		config := d.config(s, engine, conns)
		f := startFleet(t, config)
		f.connect()
		clk, err := clock.New()
		if err != nil {
			t.Fatal(err)
		}
		line := func(topic uint32, seq uint64) string {
			return string(d.line(config.Topics.Name(int(topic)), []byte(encode(message(clk, simulator.PhaseMeasure, topic, seq)))))
		}
		waitFor(t, "all subscriptions", func() bool { return len(s.all()) == conns })
		for _, c := range s.all() {
			c.frames(line(0, 1))
			c.frames(line(0, 2) + d.separator + line(1, 1) + d.separator + line(0, 3)) // joined
			joined := line(1, 2) + d.separator + d.ping + d.separator + line(1, 3)
			c.frames(joined[:50], joined[50:200], joined[200:]) // fragments of one message
		}
		waitFor(t, "the messages", func() bool { return f.Counters().Received == 6*conns })
		for _, c := range s.all() {
			waitFor(t, "the answers to the pings", func() bool { return c.heard(d.pong) })
		}
		report := f.finish(
			simulator.TopicSent{Topic: 0, Phase: simulator.PhaseMeasure, First: 1, Count: 3},
			simulator.TopicSent{Topic: 1, Phase: simulator.PhaseMeasure, First: 1, Count: 3},
		)
		p := phaseOf(report, simulator.PhaseMeasure)
		if p.Expected != 6*conns || p.Received != 6*conns || p.Lost != 0 || p.Duplicated != 0 || p.Reordered != 0 || p.Corrupt != 0 || p.Foreign != 0 {
			t.Errorf("ledger %+v", p)
		}
		if report.Subscribed != conns || report.Subscribe.Count() != conns || report.Unattributed.Heartbeats != conns || len(report.Closed) != 0 {
			t.Errorf("%d subscribed, %d times in the histogram, %+v, closed %v", report.Subscribed, report.Subscribe.Count(), report.Unattributed, report.Closed)
		}
	})
}

func TestFleetIsRefusedInDialects(t *testing.T) {
	eachDialect(t, func(t *testing.T, d foreignDialect, engine simulator.Engine) {
		s := newForeignStub(t, d.greeting, d.refusal)
		f := startFleet(t, d.config(s, engine, 2))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var refused *simulator.ConnectError
		if err := f.Connect(ctx); !errors.As(err, &refused) || refused.Refused[d.reason] != 2 {
			t.Errorf("Connect: %v, want two refused for %q", err, d.reason)
		}
	})
}

// What a client must not send any more, it does not send as a pong of the dialect either.
func TestMuteConnectionsSendNoPongs(t *testing.T) {
	for _, kind := range []simulator.SlowKind{simulator.SlowHalfOpen, simulator.SlowWriter} {
		t.Run(string(kind), func(t *testing.T) {
			eachDialect(t, func(t *testing.T, d foreignDialect, engine simulator.Engine) {
				s := newForeignStub(t, d.greeting, d.answer)
				config := d.config(s, engine, 2)
				config.Slow = []simulator.SlowSpec{{Kind: kind, Count: 1}}
				config.SourceIPs = []string{"127.0.3.1", "127.0.3.2"} // tells them apart: the second is the slow one
				f := startFleet(t, config)
				f.connect()
				clk, err := clock.New()
				if err != nil {
					t.Fatal(err)
				}
				waitFor(t, "both subscriptions", func() bool { return len(s.all()) == 2 })
				for _, c := range s.all() {
					c.frames(d.ping + d.separator + string(d.line("t-0", []byte(encode(message(clk, simulator.PhaseMeasure, 0, 1))))))
					// Counted while the fleet runs, it tells that what came before has been seen.
					c.frames(string(d.line("t-0", []byte(`"hello"`))))
				}
				waitFor(t, "what was sent to both", func() bool { return f.Counters().Foreign == 2 })
				for _, c := range s.all() {
					if strings.HasPrefix(c.ws.RemoteAddr().String(), "127.0.3.1:") {
						waitFor(t, "the healthy one's pong", func() bool { return c.heard(d.pong) })
					}
				}
				report := f.finish(simulator.TopicSent{Topic: 0, Phase: simulator.PhaseMeasure, First: 1, Count: 1})
				if report.Slow == nil || report.Slow.Received != 1 || phaseOf(report, simulator.PhaseMeasure).Received != 1 {
					t.Errorf("slow ones %+v, ledger %+v", report.Slow, phaseOf(report, simulator.PhaseMeasure))
				}
				for _, c := range s.all() {
					if strings.HasPrefix(c.ws.RemoteAddr().String(), "127.0.3.2:") && c.heard(d.pong) {
						t.Error("the slow one sent a pong")
					}
				}
			})
		})
	}
}

// A connection that ends within a message comes back without its beginning.
func TestReconnectInDialects(t *testing.T) {
	eachDialect(t, func(t *testing.T, d foreignDialect, engine simulator.Engine) {
		s := newForeignStub(t, d.greeting, d.answer)
		config := d.config(s, engine, 1)
		config.Reconnect = quickReconnect()
		f := startFleet(t, config)
		f.connect()
		clk, err := clock.New()
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the subscription", func() bool { return len(s.all()) == 1 })
		line := func(seq uint64) string {
			return string(d.line("t-0", []byte(encode(message(clk, simulator.PhaseMeasure, 0, seq)))))
		}
		first := s.all()[0]
		first.frames(line(1))
		waitFor(t, "the first message", func() bool { return f.Counters().Received == 1 })
		if d.dialect == simulator.DialectNATS { // only there a message may end within a frame
			first.frames(line(2)[:60])
		}
		first.ws.Close()
		waitFor(t, "the connection to be back", func() bool { return len(s.all()) == 2 && f.Counters().Reconnected == 1 })
		s.all()[1].frames(line(3))
		waitFor(t, "the message after", func() bool { return f.Counters().Received == 2 })
		p := phaseOf(f.finish(simulator.TopicSent{Topic: 0, Phase: simulator.PhaseMeasure, First: 1, Count: 3}), simulator.PhaseMeasure)
		if p.Expected != 3 || p.Received != 2 || p.Lost != 1 || p.Corrupt != 0 || p.Foreign != 0 || p.Reordered != 0 {
			t.Errorf("ledger %+v", p)
		}
		if !strings.HasPrefix(s.all()[1].said[0], s.all()[0].said[0]) {
			t.Errorf("the second opening is %q, the first was %q", s.all()[1].said[0], s.all()[0].said[0])
		}
	})
}
