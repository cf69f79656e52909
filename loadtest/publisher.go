package loadtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"firetower/scenarios"
	"firetower/simulator"
	"firetower/simulator/clock"
	"firetower/simulator/latency"
	"firetower/simulator/stamp"
)

// publisher carries out the plan of messages and keeps their account. One goroutine
// publishes, on a thread of its own; others may read the counters.
type publisher struct {
	clock *clock.Clock
	run   uint64
	size  int
	plan  simulator.TopicPlan
	names []string // of the topics
	sinks []sink

	// next is the sequence number of the next message, by publisher and topic.
	next []uint64
	// messages are all that were planned, in order; the probe's are left out.
	messages []message
	lags     map[simulator.Phase]*latency.Recorder
	giveUp   time.Duration
	buf      []byte

	planned, sent, refused, dropped atomic.Int64
}

// fate is what became of a planned message on its way to the server.
type fate uint8

const (
	fateSent fate = iota
	fateRefused
	fateDropped
)

// message is a planned message.
type message struct {
	intended, actual int64
	sequence         uint64
	topic            uint32
	publisher        uint16
	phase            simulator.Phase
	fate             fate
}

// sink is where the messages of one publisher go. It keeps their order.
type sink interface {
	// send hands a message over. It does not keep data. It waits while the window is
	// full, until the deadline (by clock) at most; then it returns errWindowFull.
	send(ctx context.Context, topic string, data []byte, p pendingAck, deadline int64) error
	// account tells of the answers, once no message is on its way any more.
	account() sinkAccount
	close() error
}

// pendingAck is what a sink must know of a message until it is answered.
type pendingAck struct {
	phase  simulator.Phase
	actual int64
}

var (
	// errWindowFull says that too many messages wait for their acknowledgement.
	errWindowFull = errors.New("window of unacknowledged messages is full")
	// errNotConnected says that there is no stream to the server at present.
	errNotConnected = errors.New("not connected")
)

// sinkAccount is what a sink knows of its messages.
type sinkAccount struct {
	// acks are the times from send to answer, by phase.
	acks map[simulator.Phase]*latency.Recorder
	// unacknowledged never had an answer, missed were answered with a no.
	unacknowledged, missed map[simulator.Phase]int64
	errors                 map[string]int64
	streams                []streamLife
}

// streamLife is one connection of a publisher, by clock; 0 is never.
type streamLife struct{ opened, firstAck, broken int64 }

func newPublisher(c *clock.Clock, s scenarios.Scenario, runID uint64, sinks []sink) *publisher {
	p := &publisher{
		clock: c, run: runID, size: int(s.Load.Payload), plan: topicPlan(s), sinks: sinks, giveUp: s.Load.GiveUp.Duration,
		next: make([]uint64, len(sinks)*s.Topics.Count), lags: map[simulator.Phase]*latency.Recorder{},
	}
	for i := range p.next {
		p.next[i] = 1
	}
	for i := range s.Topics.Count {
		p.names = append(p.names, p.plan.Name(i))
	}
	return p
}

// probe sends one message to each topic, for the ready probe.
func (p *publisher) probe(ctx context.Context) error {
	var failed error
	for topic := range p.names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		now := p.clock.Now()
		m := message{intended: now, topic: uint32(topic), phase: simulator.PhaseProbe}
		if err := p.send(ctx, &m); err != nil {
			failed = err
		}
	}
	return failed
}

// sliceOfSleep bounds a sleep, so that the end of a context is noticed.
const sliceOfSleep = 20 * time.Millisecond

// open publishes a phase by its plan, whatever becomes of the messages: a late one
// is sent at once with its intended time kept, and the plan is never moved.
func (p *publisher) open(ctx context.Context, phase simulator.Phase, plan schedule) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer promptThread()()
	lag := p.lag(phase)
	start := p.clock.Now() + int64(5*time.Millisecond)
	for n := 0; ; n++ {
		offset := plan.next()
		if offset >= plan.length {
			p.wait(ctx, start+int64(plan.length))
			return
		}
		due := start + int64(offset)
		if !p.wait(ctx, due) {
			return
		}
		p.planned.Add(1)
		m := message{intended: due, topic: uint32(n % len(p.names)), publisher: uint16(n % len(p.sinks)), phase: phase}
		p.publish(ctx, &m)
		if m.fate == fateSent {
			lag.Record(m.actual - m.intended)
		}
		p.messages = append(p.messages, m)
	}
}

// publish sends one message and notes its fate.
func (p *publisher) publish(ctx context.Context, m *message) {
	switch err := p.send(ctx, m); {
	case err == nil:
		p.sent.Add(1)
	case errors.Is(err, errWindowFull), ctx.Err() != nil:
		m.fate = fateDropped
		p.dropped.Add(1)
	default:
		m.fate = fateRefused
		p.refused.Add(1)
	}
}

// wait sleeps until due, and tells whether ctx lived on.
func (p *publisher) wait(ctx context.Context, due int64) bool {
	for {
		now := p.clock.Now()
		if ctx.Err() != nil {
			return false
		}
		if now >= due {
			return true
		}
		sleepUntil(min(due, now+int64(sliceOfSleep)))
	}
}

// send stamps a message and hands it over. The sequence number is used up by a
// message that went out alone, so that the account has no gaps.
func (p *publisher) send(ctx context.Context, m *message) error {
	slot := &p.next[int(m.publisher)*len(p.names)+int(m.topic)]
	m.sequence = *slot
	m.actual = p.clock.Now()
	deadline := m.intended + int64(p.giveUp)
	if m.actual > deadline {
		return errWindowFull
	}
	p.buf = stamp.Append(p.buf[:0], stamp.Stamp{
		Run: p.run, Publisher: m.publisher, Phase: uint8(m.phase), Topic: m.topic, Sequence: m.sequence, Intended: m.intended, Actual: m.actual,
	}, p.size)
	if err := p.sinks[m.publisher].send(ctx, p.names[m.topic], p.buf, pendingAck{m.phase, m.actual}, deadline); err != nil {
		return err
	}
	*slot++
	return nil
}

func (p *publisher) lag(phase simulator.Phase) *latency.Recorder {
	if p.lags[phase] == nil {
		p.lags[phase] = latency.NewRecorder()
	}
	return p.lags[phase]
}

const (
	// flowPoll is how often a closed loop looks for room.
	flowPoll = 100 * time.Microsecond
	// flowStall is how long a closed loop waits for a delivery before it takes what is
	// under way for lost; a single loss would stop it for ever.
	flowStall = 2 * time.Second
)

// closed keeps inflight messages under way for a while: the next is published
// when the clients have received as many messages as one delivery to all makes.
// received counts what all clients have received so far, and perMessage is how many
// of them receive one message.
func (p *publisher) closed(ctx context.Context, phase simulator.Phase, length time.Duration, inflight int, perMessage float64, received func() int64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer promptThread()()
	start := p.clock.Now()
	end := start + int64(length)
	base, count, written := received(), received(), 0
	progress := start
	for ctx.Err() == nil {
		now := p.clock.Now()
		if now >= end {
			return
		}
		if n := received(); n != count {
			count, progress = n, now
		}
		under := float64(written) - float64(count-base)/perMessage
		switch {
		case under < float64(inflight):
			p.planned.Add(1)
			m := message{intended: now, topic: uint32(written % len(p.names)), phase: phase}
			p.publish(ctx, &m)
			p.messages = append(p.messages, m)
			if m.fate == fateSent {
				written++
			}
		case now-progress > int64(flowStall):
			base, written, progress = count, 0, now
		default:
			sleepUntil(now + int64(flowPoll))
		}
	}
}

// sentRuns is the account of what was sent, in the form that fleets take.
func (p *publisher) sentRuns() []simulator.TopicSent {
	type run struct {
		topic     uint32
		publisher uint16
		phase     simulator.Phase
	}
	at := map[run]int{}
	var out []simulator.TopicSent
	for _, m := range p.messages {
		if m.fate != fateSent {
			continue
		}
		k := run{m.topic, m.publisher, m.phase}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, simulator.TopicSent{Topic: m.topic, Publisher: m.publisher, Phase: m.phase, First: m.sequence})
		}
		out[i].Count++
	}
	return out
}

// account closes the sinks and adds up their accounts.
func (p *publisher) account() (sinkAccount, error) {
	sum := sinkAccount{
		acks: map[simulator.Phase]*latency.Recorder{}, unacknowledged: map[simulator.Phase]int64{},
		missed: map[simulator.Phase]int64{}, errors: map[string]int64{},
	}
	var errs []error
	for _, s := range p.sinks {
		if err := s.close(); err != nil {
			errs = append(errs, err)
		}
		a := s.account()
		for phase, r := range a.acks {
			whole, err := latency.Merged(sum.acks[phase], r)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			sum.acks[phase] = whole
		}
		add(sum.unacknowledged, a.unacknowledged)
		add(sum.missed, a.missed)
		add(sum.errors, a.errors)
		sum.streams = append(sum.streams, a.streams...)
	}
	if err := errors.Join(errs...); err != nil {
		return sum, fmt.Errorf("publisher: %w", err)
	}
	return sum, nil
}

func add[K comparable](to, from map[K]int64) {
	for k, v := range from {
		to[k] += v
	}
}

// tally counts errors by what they say, within a bound.
type tally struct {
	mu     sync.Mutex // guards the following
	counts map[string]int64
}

const maxTally = 32

func (t *tally) add(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[string]int64{}
	}
	if _, known := t.counts[what]; !known && len(t.counts) >= maxTally {
		what = "other"
	}
	t.counts[what]++
}

func (t *tally) all() map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.counts)
}
