package loadtest

import (
	"context"
	"errors"
	"maps"
	"sync"

	"firetower/simulator"
	"firetower/simulator/latency"
)

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
	joint  *joint // nil unless it goes to several managers
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
	// misses are when those answers came, by clock.
	misses  []int64
	errors  map[string]int64
	streams []streamLife
}

func newSinkAccount() sinkAccount {
	return sinkAccount{
		acks: map[simulator.Phase]*latency.Recorder{}, unacknowledged: map[simulator.Phase]int64{},
		missed: map[simulator.Phase]int64{}, errors: map[string]int64{},
	}
}

// note accounts for what became of a message: answered now, with the word that not
// all of its gateways could be reached (missed), or lost without an answer. Of a
// message to several managers, the last word of any of them counts.
func (a *sinkAccount) note(p pendingAck, now int64, missed, lost bool) {
	if missed {
		a.misses = append(a.misses, now)
	}
	if p.joint != nil {
		var last bool
		if last, missed, lost = p.joint.settle(missed, lost); !last {
			return
		}
	}
	if lost {
		a.unacknowledged[p.phase]++
		return
	}
	if a.acks[p.phase] == nil {
		a.acks[p.phase] = latency.NewRecorder()
	}
	a.acks[p.phase].Record(now - p.actual)
	if missed {
		a.missed[p.phase]++
	}
}

// add adds the account of another sink or stream.
func (a *sinkAccount) add(b sinkAccount) {
	for phase, r := range b.acks {
		// The geometry is the package's own, so that a merge cannot fail.
		if whole, err := latency.Merged(a.acks[phase], r); err == nil {
			a.acks[phase] = whole
		}
	}
	add(a.unacknowledged, b.unacknowledged)
	add(a.missed, b.missed)
	add(a.errors, b.errors)
	a.misses = append(a.misses, b.misses...)
	a.streams = append(a.streams, b.streams...)
}

// streamLife is one connection of a publisher, by clock; 0 is never.
type streamLife struct{ opened, firstAck, broken int64 }

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
