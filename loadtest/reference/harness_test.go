package reference_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"firetower/loadtest/reference"
	"firetower/simulator"
	"firetower/simulator/clock"
	"firetower/simulator/stamp"
)

const runID = 0x5eed

// startServer runs a reference server within the test.
func startServer(t testing.TB, kind string) *reference.Server {
	t.Helper()
	server, err := reference.New(kind, "127.0.0.1:0")
	if errors.Is(err, reference.ErrKind) {
		t.Skipf("%s: %v", kind, err)
	}
	if err != nil {
		t.Fatalf("New(%q): %v", kind, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: Run: %v", kind, err)
		}
	})
	return server
}

// startFleet runs a fleet, and ends it with the test.
func startFleet(t testing.TB, config simulator.Config) *simulator.Fleet {
	t.Helper()
	fleet, err := simulator.New(config)
	if err != nil {
		t.Fatalf("simulator.New: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := fleet.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("fleet.Run: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return fleet
}

// waitFor polls until the condition holds.
func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited 30s for %s", what)
		}
	}
}

// publisher is a client of its own that publishes stamped messages.
type publisher struct {
	t     testing.TB
	ws    *websocket.Conn
	clock *clock.Clock
	plan  simulator.TopicPlan
	size  int
	next  []uint64 // by topic
	sent  map[[2]int]*simulator.TopicSent
	frame []byte
}

func newPublisher(t testing.TB, addr string, plan simulator.TopicPlan) *publisher {
	t.Helper()
	ws, response, err := websocket.DefaultDialer.Dial("ws://"+addr+"/ws", nil)
	if err != nil {
		t.Fatalf("publisher: %v", err)
	}
	response.Body.Close()
	t.Cleanup(func() { ws.Close() })
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	return &publisher{
		t: t, ws: ws, clock: clk, plan: plan, size: 128, next: make([]uint64, plan.Count),
		sent: make(map[[2]int]*simulator.TopicSent),
	}
}

// publish sends one message that should have been sent at intended, or now when that is 0.
func (p *publisher) publish(phase simulator.Phase, topic int, intended int64) {
	p.t.Helper()
	now := p.clock.Now()
	if intended == 0 {
		intended = now
	}
	p.next[topic]++
	s := stamp.Stamp{
		Run: runID, Topic: uint32(topic), Phase: uint8(phase), Sequence: p.next[topic], Intended: intended, Actual: now,
	}
	p.frame = fmt.Appendf(p.frame[:0], `{"type":"publish","topic":%q,"data":`, p.plan.Name(topic))
	p.frame = append(stamp.Append(p.frame, s, p.size), '}')
	if err := p.ws.WriteMessage(websocket.TextMessage, p.frame); err != nil {
		p.t.Fatalf("publish: %v", err)
	}
	key := [2]int{int(phase), topic}
	if p.sent[key] == nil {
		p.sent[key] = &simulator.TopicSent{Topic: uint32(topic), Phase: phase, First: s.Sequence}
	}
	p.sent[key].Count++
}

// told is what was sent in all phases but the probe.
func (p *publisher) told() []simulator.TopicSent {
	var sent []simulator.TopicSent
	for _, s := range p.sent {
		if s.Phase != simulator.PhaseProbe {
			sent = append(sent, *s)
		}
	}
	return sent
}

// probe publishes to all topics until all of n connections have heard.
func (p *publisher) probe(fleet *simulator.Fleet, n int) {
	p.t.Helper()
	last := time.Time{}
	waitFor(p.t, "probes", func() bool {
		if time.Since(last) > 200*time.Millisecond {
			for topic := range p.plan.Count {
				p.publish(simulator.PhaseProbe, topic, 0)
			}
			last = time.Now()
		}
		return fleet.Probed() == n
	})
}

// total is how many messages were published.
func (p *publisher) total() int {
	var n uint64
	for _, next := range p.next {
		n += next
	}
	return int(n)
}
