package loadtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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
	clock   *clock.Clock
	run     uint64
	sizes   sizes
	size    int // of the message under way
	padding stamp.Padding
	plan    simulator.TopicPlan
	names   []string // of the topics
	sinks   []sink

	// next is the sequence number of the next message, by publisher and topic.
	next []uint64
	// messages are all that were planned, in order; those of probes and of trials are
	// left out.
	messages []message
	// runs is what was sent, as fleets take it; lastRun finds the newest of a slot of next.
	runs    []simulator.TopicSent
	lastRun map[int]int
	lags    map[simulator.Phase]*latency.Recorder
	// ownLags are lags without what the server had held up.
	ownLags map[simulator.Phase]*latency.Recorder
	giveUp  time.Duration
	// churn is the first of the topics that clients come to and leave.
	churn int
	// began is the start of the newest plan, and last when a message of it was sent.
	began, last int64
	// waited is the time spent in sends that the server held up, whatever became of them, and
	// held what of it lies after the last time that the plan was caught up with: messages since
	// are late for it, and not by our fault.
	waited, held time.Duration
	buf          []byte

	// stage is the simulator.Phase that messages of the measured phase are stamped with
	// just now.
	stage atomic.Uint32

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

func newPublisher(c *clock.Clock, s scenarios.Scenario, runID uint64, sinks []sink) *publisher {
	p := &publisher{
		clock: c, run: runID, sizes: newSizes(s), plan: topicPlan(s), sinks: sinks, giveUp: s.Load.GiveUp.Duration, padding: paddingOf(s),
		next: make([]uint64, len(sinks)*(s.Topics.Count+s.Churn.Topics)), churn: s.Topics.Count, lastRun: map[int]int{},
		lags: map[simulator.Phase]*latency.Recorder{}, ownLags: map[simulator.Phase]*latency.Recorder{},
	}
	p.stage.Store(uint32(simulator.PhaseMeasure))
	for i := range p.next {
		p.next[i] = 1
	}
	for i := range s.Topics.Count + s.Churn.Topics {
		p.names = append(p.names, p.plan.Name(i))
	}
	return p
}

// paddingOf is the stamp's form of the scenario's padding.
func paddingOf(s scenarios.Scenario) stamp.Padding {
	switch s.Load.Padding {
	case scenarios.PaddingRecords:
		return stamp.Records
	case scenarios.PaddingNoise:
		return stamp.Noise
	default:
		return stamp.Dots
	}
}

// probe sends one message to each topic, for the ready probe. It waits for those of
// the plan alone: who is at one that churns, nobody knows beforehand, and so the
// first probe goes there only to have all of them known to the servers.
func (p *publisher) probe(ctx context.Context) error {
	var failed error
	p.size = p.sizes.fixed
	topics := p.churn
	if p.next[0] == 1 {
		topics = len(p.names)
	}
	for topic := range topics {
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
	start := p.clock.Now() + int64(5*time.Millisecond)
	p.began, p.last = start, start
	for n := 0; ; n++ {
		offset := plan.next()
		if offset >= plan.length {
			p.wait(ctx, start+int64(plan.length))
			return
		}
		due := start + int64(offset)
		if p.clock.Now() < due {
			p.held = 0 // it has caught up: what is late from here on is our own doing
		}
		if !p.wait(ctx, due) {
			return
		}
		p.planned.Add(1)
		m := message{intended: due, topic: uint32(n % len(p.names)), publisher: uint16(n % len(p.sinks))}
		m.phase = p.staged(phase)
		held := p.held
		p.publish(ctx, &m)
		if m.fate == fateSent {
			late := m.actual - m.intended
			recorder(p.lags, m.phase).Record(late)
			recorder(p.ownLags, m.phase).Record(max(late-int64(held), 0))
		}
		if phase == simulator.PhaseTrial {
			if p.clock.Now()-due > int64(trialPatience) {
				return
			}
			continue
		}
		p.messages = append(p.messages, m)
	}
}

// staged is what a message of a phase is stamped with just now: in the measured phase
// that is what the faults make of it.
func (p *publisher) staged(phase simulator.Phase) simulator.Phase {
	if phase != simulator.PhaseMeasure {
		return phase
	}
	return simulator.Phase(p.stage.Load())
}

// publish sends one message and notes its fate.
func (p *publisher) publish(ctx context.Context, m *message) {
	p.size = p.sizes.next()
	err := p.send(ctx, m)
	if took := time.Duration(p.clock.Now() - m.actual); took > blockedSend {
		p.waited += took
		p.held += took
	}
	switch {
	case err == nil:
		p.sent.Add(1)
		p.last = m.actual
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
		holdUntil(min(due, now+int64(sliceOfSleep)))
	}
}

// send stamps a message and hands it over. The sequence number is used up by a
// message that went out alone, so that the account has no gaps.
func (p *publisher) send(ctx context.Context, m *message) error {
	slot := int(m.publisher)*len(p.names) + int(m.topic)
	m.sequence = p.next[slot]
	m.actual = p.clock.Now()
	deadline := m.intended + int64(p.giveUp)
	if m.actual > deadline {
		return errWindowFull
	}
	p.buf = stamp.AppendPadded(p.buf[:0], stamp.Stamp{
		Run: p.run, Publisher: m.publisher, Phase: uint8(m.phase), Topic: m.topic, Sequence: m.sequence, Intended: m.intended, Actual: m.actual,
	}, p.size, p.padding)
	if err := p.sinks[m.publisher].send(ctx, p.names[m.topic], p.buf, pendingAck{phase: m.phase, actual: m.actual}, deadline); err != nil {
		return err
	}
	p.next[slot]++
	if m.phase != simulator.PhaseProbe {
		p.account(slot, m)
	}
	return nil
}

// account adds a message that was sent to what fleets are told. A phase that comes
// again after another leaves a run of sequences each time.
func (p *publisher) account(slot int, m *message) {
	at, ok := p.lastRun[slot]
	if !ok || p.runs[at].Phase != m.phase || p.runs[at].First+p.runs[at].Count != m.sequence {
		at = len(p.runs)
		p.lastRun[slot] = at
		p.runs = append(p.runs, simulator.TopicSent{Topic: m.topic, Publisher: m.publisher, Phase: m.phase, First: m.sequence})
	}
	r := &p.runs[at]
	r.Count++
	if int(m.topic) >= p.churn {
		r.Times = append(r.Times, m.actual)
	}
}

// recorder is that of a phase.
func recorder(by map[simulator.Phase]*latency.Recorder, phase simulator.Phase) *latency.Recorder {
	if by[phase] == nil {
		by[phase] = latency.NewRecorder()
	}
	return by[phase]
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
			holdUntil(now + int64(flowPoll))
		}
	}
}

// close closes the sinks and adds up their accounts.
func (p *publisher) close() (sinkAccount, error) {
	sum := newSinkAccount()
	var errs []error
	for _, s := range p.sinks {
		if err := s.close(); err != nil {
			errs = append(errs, err)
		}
		sum.add(s.account())
	}
	if err := errors.Join(errs...); err != nil {
		return sum, fmt.Errorf("publisher: %w", err)
	}
	return sum, nil
}
