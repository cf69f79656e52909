package loadtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"firetower/reports"
	"firetower/scenarios"
)

// A duet is two runs of the same work at the same time, each with servers, workers and
// a publisher of its own, whose messages take turns: those of the second are due in the
// middle between those of the first. What the machine does meanwhile (other tenants of
// its caches, its clock rate) changes within seconds, so that it falls on two runs that
// follow each other differently, and on the two of a duet alike: their ratio is without
// it. Bulej and others, Duet Benchmarking, ICPE 2020. A duet is one observation,
// however many messages took turns in it.
//
// The two make their servers ready one after the other, and begin warm-up and measured
// phase together.
type duet struct {
	// prepared has a channel for each part, closed when the one before it is ready.
	prepared []chan struct{}

	mu      sync.Mutex // guards the following
	waiting int
	gate    chan struct{} // closed when all have come
	begin   int64         // of what they came for, by clock
}

// duetSize is how many runs a duet has.
const duetSize = 2

// duetLead is how long after both have come a phase of a duet begins: enough for both to
// read what their processes have used.
const duetLead = 500 * time.Millisecond

// part is one run's place in a duet; nil is a run by itself.
type part struct {
	duet  *duet
	index int
	with  string // the target of the other
}

func newDuet(targets []string) []*part {
	d := &duet{gate: make(chan struct{})}
	parts := make([]*part, duetSize)
	for i := range parts {
		d.prepared = append(d.prepared, make(chan struct{}))
		parts[i] = &part{duet: d, index: i, with: targets[duetSize-1-i]}
	}
	close(d.prepared[0])
	return parts
}

// fitsDuet refuses what cannot take turns message by message.
func fitsDuet(plans []*Plan) error {
	var problems []error
	if len(plans) != duetSize {
		problems = append(problems, fmt.Errorf("duet: is of two targets, got %d", len(plans)))
	}
	s := plans[0].Scenario
	if s.Load.Mode != scenarios.ModeOpen || s.Load.Arrivals != scenarios.ArrivalsConstant {
		problems = append(problems, fmt.Errorf("duet: needs messages at even gaps to take turns in: load.mode %q and load.arrivals %q", scenarios.ModeOpen, scenarios.ArrivalsConstant))
	}
	if len(s.Faults) > 0 {
		problems = append(problems, errors.New("duet: a fault of one would disturb the other: use a scenario without"))
	}
	if s.Topology.CPUs == scenarios.CPUsIsolated {
		problems = append(problems, fmt.Errorf("duet: topology.cpus must be %q, two coordinators are one process", scenarios.CPUsShared))
	}
	var memory int64
	for _, p := range plans {
		memory += p.Memory
	}
	if available := plans[0].Machine.MemoryAvailable; available > 0 && memory > available*9/10 {
		problems = append(problems, fmt.Errorf("duet: two at once need about %s of memory, %s are available", scenarios.Size(memory>>20<<20), scenarios.Size(available>>20<<20)))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w: %w", ErrImpossible, err)
	}
	return nil
}

// turn waits until the run before this one is ready, and returns what tells the next
// that this one is.
func (p *part) turn(ctx context.Context) (done func(), err error) {
	if p == nil {
		return func() {}, nil
	}
	select {
	case <-p.duet.prepared[p.index]:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return func() {
		if next := p.index + 1; next < len(p.duet.prepared) {
			close(p.duet.prepared[next])
		}
	}, nil
}

// meet waits until both runs have come, and returns when what they came for begins, by
// clock; 0 is at once, of a run by itself.
func (p *part) meet(ctx context.Context, now func() int64) (begin int64, err error) {
	if p == nil {
		return 0, nil
	}
	d := p.duet
	d.mu.Lock()
	gate := d.gate
	if d.waiting++; d.waiting == duetSize {
		d.waiting, d.gate = 0, make(chan struct{})
		d.begin = now() + int64(duetLead)
		close(gate)
	}
	d.mu.Unlock()
	select {
	case <-gate:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.begin, nil // it stands until both have come again
}

// together waits for the other run of a duet, does what is to be done last, and then
// waits for this one's turn of the time between two messages.
func (r *run) together(ctx context.Context, last func() error) error {
	p := r.o.part
	begin, err := p.meet(ctx, r.clock.Now)
	if err == nil && last != nil {
		err = last()
	}
	if err != nil || begin == 0 {
		return err
	}
	gap := float64(time.Second) / r.s.Load.Rate.PerSecond
	sleepUntil(begin + int64(gap*float64(p.index)/duetSize))
	return nil
}

// errPartner is why a run of a duet ends whose other run has.
var errPartner = errors.New("the other run of the duet has ended")

// runDuet carries out both runs of a block at once. Results are in the order of plans; that
// of a run that did not get to one is nil. When one fails, so does the other.
func runDuet(ctx context.Context, options []Options) ([]*reports.Result, []string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	targets := make([]string, len(options))
	for i, o := range options {
		targets[i] = string(o.Plan.Target)
	}
	parts := newDuet(targets)
	results, dirs, errs := make([]*reports.Result, len(options)), make([]string, len(options)), make([]error, len(options))
	var wg sync.WaitGroup
	for i, o := range options {
		o.part = parts[i]
		wg.Go(func() {
			results[i], dirs[i], errs[i] = Run(ctx, o)
			if errs[i] != nil || results[i].Failure != "" || results[i].Interrupted {
				cancel(errPartner)
			}
		})
	}
	wg.Wait()
	if slices.Contains(results, nil) {
		return nil, nil, errors.Join(errs...)
	}
	return results, dirs, errors.Join(errs...)
}
