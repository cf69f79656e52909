package simulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"firetower/simulator"
	"firetower/simulator/clock"
	"firetower/simulator/stamp"
)

const runID = 0xf1e70 // of every run in these tests

// stub is a server that does what a test tells it to, right or wrong. The handshake is gorilla's; frames are written
// as raw bytes.
type stub struct {
	t        testing.TB
	server   *http.Server
	addr     string
	upgrader websocket.Upgrader
	// change answers the requests of churn, which without it are errors of the client.
	change func(c *stubConn, kind, id, topic string)
	// mute makes the stub deaf once a client has subscribed, until it is closed.
	mute chan struct{}

	mu    sync.Mutex // guards the following
	conns []*stubConn
	// answer replies to a subscription; the default acknowledges it when the subprotocol is v1.
	answer func(c *stubConn, id, topics string)
	wg     sync.WaitGroup
}

// stubConn is one client of the stub.
type stubConn struct {
	ws     *websocket.Conn
	remote string
	topics string

	mu     sync.Mutex // guards the following, and writes
	pongs  []string
	closed int // the close code that the client sent; 0 before
	reset  bool
	ended  bool // reading has come to an end
}

func newStub(t testing.TB, change func(*stub)) *stub {
	t.Helper()
	s := &stub{t: t, upgrader: websocket.Upgrader{
		Subprotocols: []string{simulator.SubprotocolV1, simulator.SubprotocolV0}, CheckOrigin: func(*http.Request) bool { return true },
	}}
	s.answer = func(c *stubConn, id, topics string) {
		if c.ws.Subprotocol() != simulator.SubprotocolV1 {
			return
		}
		var results []map[string]any
		for topic := range strings.SplitSeq(topics, ",") {
			results = append(results, map[string]any{"topic": topic, "ok": true})
		}
		text, err := json.Marshal(map[string]any{"type": "subscribe", "id": id, "ok": true, "topics": results})
		if err != nil {
			t.Error(err)
		}
		c.text(string(text))
	}
	if change != nil {
		change(s)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	s.wg.Go(func() {
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		s.server.Close()
		if s.mute != nil {
			close(s.mute)
		}
		for _, c := range s.all() {
			c.ws.Close()
		}
		s.wg.Wait()
	})
	return s
}

func (s *stub) url() string { return "ws://" + s.addr + "/ws" }

func (s *stub) setAnswer(answer func(c *stubConn, id, topics string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *stub) all() []*stubConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*stubConn(nil), s.conns...)
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.wg.Add(1)
	defer s.wg.Done()
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	c := &stubConn{ws: ws, remote: r.RemoteAddr}
	ws.SetPongHandler(func(data string) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pongs = append(c.pongs, data)
		return nil
	})
	for {
		_, frame, err := ws.ReadMessage()
		if err != nil {
			var closed *websocket.CloseError
			c.mu.Lock()
			c.ended = true
			c.mu.Unlock()
			if errors.Is(err, syscall.ECONNRESET) {
				c.mu.Lock()
				c.reset = true
				c.mu.Unlock()
			}
			if errors.As(err, &closed) {
				c.mu.Lock()
				c.closed = closed.Code
				c.mu.Unlock()
			}
			return
		}
		var request struct{ Type, Topic, ID string }
		if err := json.Unmarshal(frame, &request); err != nil {
			s.t.Errorf("client sent %q", frame)
			return
		}
		if s.change != nil && (strings.HasPrefix(request.ID, "leave-") || strings.HasPrefix(request.ID, "join-")) {
			s.change(c, request.Type, request.ID, request.Topic)
			continue
		}
		if request.Type != "subscribe" {
			s.t.Errorf("client sent %q", frame)
			return
		}
		c.topics = request.Topic
		s.mu.Lock()
		s.conns = append(s.conns, c)
		answer := s.answer
		s.mu.Unlock()
		answer(c, request.ID, request.Topic)
		if s.mute != nil {
			<-s.mute
			return
		}
	}
}

// raw writes bytes as they are, in one write.
func (c *stubConn) raw(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.ws.NetConn().Write(b) // the client may be gone, as the test wants it
}

func (c *stubConn) text(payload string) { c.raw(serverFrame(0x81, []byte(payload))) }

func (c *stubConn) sawClose() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (c *stubConn) sawReset() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reset
}

func (c *stubConn) sawEnd() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

func (c *stubConn) sawPongs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.pongs...)
}

// message is a stamped message of these tests, sent now.
func message(clk *clock.Clock, phase simulator.Phase, topic uint32, seq uint64) stamp.Stamp {
	now := clk.Now()
	return stamp.Stamp{Run: runID, Topic: topic, Phase: uint8(phase), Sequence: seq, Intended: now, Actual: now}
}

func encode(s stamp.Stamp) string { return string(stamp.Append(nil, s, 128)) }

// engines runs a test with each engine that exists here.
func engines(t *testing.T, test func(t *testing.T, engine simulator.Engine)) {
	t.Helper()
	for _, engine := range simulator.Engines() {
		t.Run(string(engine), func(t *testing.T) { test(t, engine) })
	}
}

// fleet is a running fleet of a test.
type fleet struct {
	*simulator.Fleet
	t      *testing.T
	cancel context.CancelFunc
	ran    chan error
}

func startFleet(t *testing.T, config simulator.Config) *fleet {
	t.Helper()
	f, err := simulator.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	started := &fleet{Fleet: f, t: t, cancel: cancel, ran: make(chan error, 1)}
	go func() { started.ran <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		err := <-started.ran
		started.ran <- err
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	return started
}

func (f *fleet) connect() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := f.Connect(ctx); err != nil {
		f.t.Fatalf("Connect: %v", err)
	}
}

func (f *fleet) finish(sent ...simulator.TopicSent) *simulator.Report {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	report, err := f.Finish(ctx, sent)
	if err != nil {
		f.t.Fatalf("Finish: %v", err)
	}
	return report
}

// waitFor polls until the condition holds.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited 20s for %s", what)
		}
	}
}

// testConfig is a fleet of n connections to the stub.
func testConfig(s *stub, engine simulator.Engine, n int) simulator.Config {
	config := simulator.DefaultConfig()
	config.URLs, config.Connections, config.Engine, config.RunID = []string{s.url()}, n, engine, runID
	config.ConnectRate = 0
	return config
}

// phaseOf returns the ledger of a phase, empty when there is none.
func phaseOf(r *simulator.Report, phase simulator.Phase) simulator.PhaseReport {
	for _, p := range r.Phases {
		if p.Phase == phase {
			return p
		}
	}
	return simulator.PhaseReport{Phase: phase}
}
