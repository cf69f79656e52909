package loadtest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"firetower/reports"
	"firetower/scenarios"
	"firetower/simulator"
	"firetower/simulator/clock"
)

// Options are what a run needs beside its plan.
type Options struct {
	// Plan is what to do.
	Plan *Plan
	// Executable is this binary, which servers and workers are started from.
	Executable string
	// Environ is the environment for child processes; FIRETOWER_... is taken out of it.
	Environ []string
	// Root is the folder that gets the run's folder. Default reports/runs.
	Root string
	// Name is the run's name in its folder's, after the time. Default: the scenario's,
	// with the target's appended unless that is Firetower.
	Name string
	// Progress shows how it goes. Default: nothing.
	Progress Progress
	// Overrides are the keys that did not come from the scenario's file, for the result.
	Overrides []reports.Override
	// Build names what is measured, for the result.
	Build Build
	// KeepLatest leaves the link "latest" as it is.
	KeepLatest bool

	// attach is a server that runs already and speaks Firetower's protocols; the
	// package's tests put a faulty one there. Nil starts the plan's target.
	attach *attached
}

// attached is where a server listens that the run did not start.
type attached struct{ url, grpc string }

// Build is what the result says of the binary.
type Build struct {
	Commit   string
	Modified bool
}

// ErrInterrupted is wrapped by what a phase returns when a signal ended it.
var ErrInterrupted = errors.New("interrupted")

// Run carries out a plan. The end of ctx interrupts it: what is under way is
// drained, and what was measured until then is reported. Run returns the result
// and the folder that it was written to; both are there for a run that failed as
// well, as long as the folder could be made. No process is left when it returns.
func Run(ctx context.Context, o Options) (*reports.Result, string, error) {
	if o.Progress == nil {
		o.Progress = quiet{}
	}
	defer o.Progress.Close()
	if o.Root == "" {
		o.Root = filepath.Join("reports", "runs")
	}
	if o.Name == "" {
		o.Name = o.Plan.Scenario.Name
		if o.Plan.Target != Firetower {
			o.Name += "-" + string(o.Plan.Target)
		}
	}
	dir, err := reports.CreateFolder(o.Root, o.Name, time.Now())
	if err != nil {
		return nil, "", err
	}
	r, err := newRun(o, dir)
	if err != nil {
		return nil, dir, err
	}
	failure := r.execute(ctx)
	r.teardown()
	result := r.outcome(failure, context.Cause(ctx))
	if err := reports.Write(dir, result, r.intervals); err != nil {
		return result, dir, err
	}
	if !o.KeepLatest {
		if err := reports.PointLatest(o.Root, dir); err != nil {
			return result, dir, err
		}
	}
	return result, dir, nil
}

// run is the state of one run. Phases are carried out one after another, so that
// what they leave here needs no lock.
type run struct {
	o       Options
	s       scenarios.Scenario
	dir     string
	clock   *clock.Clock
	started time.Time
	begin   int64 // started, by clock
	// pressure is that of the CPUs before the start: other load on the machine.
	pressure string
	runID    uint64

	nursery *nursery
	sampler *sampler
	system  *system
	fleet   fleet
	pub     *publisher
	// perTopic is how many healthy clients subscribe to each topic.
	perTopic []int

	phases   []phase
	settled  bool // every client is reached
	measured bool // the measured phase has begun
	closed   bool // the publishers' streams have ended

	rssEmpty, rssIdle int64
	edgeStart         edge // before the first connection
	edgeFrom, edgeTo  edge // the measured phase, drain included
	loads             []workerLoad
	skew              time.Duration
	faults            []faultRecord
	acks              sinkAccount
	report            *simulator.Report
	intervals         []reports.Interval
	failures          error // of the teardown
}

// phase is a part of the run, by clock.
type phase struct {
	name     string
	from, to int64
}

func newRun(o Options, dir string) (*run, error) {
	logs := filepath.Join(dir, "logs")
	if err := os.Mkdir(logs, 0o755); err != nil { //nolint:gosec // for everyone to read
		return nil, fmt.Errorf("make folder for logs: %w", err)
	}
	c, err := clock.New()
	if err != nil {
		return nil, err
	}
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	r := &run{
		o: o, s: o.Plan.Scenario, dir: dir, clock: c, runID: binary.BigEndian.Uint64(id[:]),
		nursery: newNursery(logs, o.Executable, o.Environ),
	}
	r.pressure, _, _ = strings.Cut(readText("/proc/pressure/cpu"), "\n")
	r.begin = c.Now()
	r.started = c.Wall(r.begin)
	r.sampler = newSampler(c, r.begin, r.nursery.all)
	healthy := r.s.Connections - r.s.SlowClients()
	r.perTopic = topicPlan(r.s).Subscribers(0, healthy)
	return r, nil
}

// execute runs the phases. soft is the context that a signal ends; hard ends when
// a process has died, and with execute.
func (r *run) execute(soft context.Context) error {
	hard, fail := context.WithCancelCause(context.WithoutCancel(soft))
	defer fail(nil)
	ctx, interrupt := context.WithCancelCause(hard)
	defer interrupt(nil)
	defer context.AfterFunc(soft, func() { interrupt(fmt.Errorf("%w: %w", ErrInterrupted, context.Cause(soft))) })()

	var wg sync.WaitGroup
	defer wg.Wait()
	defer fail(nil)
	wg.Go(func() { r.watch(hard, fail) })
	wg.Go(func() { r.sampler.run(hard) })

	err := r.prepare(ctx)
	if err == nil {
		err = r.traffic(ctx, hard, fail)
	}
	if r.fleet == nil || !r.settled || hard.Err() != nil {
		return r.blame(hard, err)
	}
	// From here on an interruption has no effect: what was measured is accounted for.
	return r.blame(hard, errors.Join(err, r.finish(hard)))
}

// blame is the error that the run ended with: a process that died explains all
// that followed from it.
func (r *run) blame(hard context.Context, err error) error {
	if cause := context.Cause(hard); hard.Err() != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// watch ends the run when a process ends that was not told to.
func (r *run) watch(ctx context.Context, fail context.CancelCauseFunc) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			for _, c := range r.nursery.all() {
				if c.unexpected() {
					fail(c.died())
					return
				}
			}
		}
	}
}

// phase carries out a part of the run and shows how it goes.
func (r *run) phase(ctx context.Context, name string, total int64, status func() (int64, string), do func() error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.o.Progress.Phase(name, total)
	p := phase{name: name, from: r.clock.Now()}
	done := make(chan struct{})
	var wg sync.WaitGroup
	if status != nil {
		wg.Go(func() {
			ticker := time.NewTicker(150 * time.Millisecond)
			defer ticker.Stop()
			for {
				select {
				case <-done:
					return
				case <-ticker.C:
					r.o.Progress.Set(status())
				}
			}
		})
	}
	err := do()
	close(done)
	wg.Wait()
	if status != nil && err == nil {
		r.o.Progress.Set(status())
	}
	p.to = r.clock.Now()
	r.phases = append(r.phases, p)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil && !errors.Is(err, ErrInterrupted) {
		return fmt.Errorf("%s: %w", name, err)
	}
	return err
}

// elapsed shows a phase that takes a known time.
func (r *run) elapsed(length time.Duration, detail func() string) (int64, func() (int64, string)) {
	from := r.clock.Now()
	return int64(length / time.Millisecond), func() (int64, string) {
		d := ""
		if detail != nil {
			d = detail()
		}
		return min((r.clock.Now()-from)/int64(time.Millisecond), int64(length/time.Millisecond)), d
	}
}

// prepare brings the run to where traffic can begin: everything started, every
// client subscribed and reached.
func (r *run) prepare(ctx context.Context) error {
	err := r.phase(ctx, "spawn", 0, nil, func() (err error) {
		if r.system, err = startSystem(ctx, r.nursery, r.o); err != nil {
			return err
		}
		if r.fleet, err = startWorkers(ctx, r.nursery, r.o.Plan, r.system.urls, r.runID); err != nil {
			return err
		}
		r.skew, err = r.fleet.skew(ctx, r.clock)
		return err
	})
	if err != nil {
		return err
	}
	settle := r.s.Phases.Settle.Duration
	total, status := r.elapsed(settle, nil)
	err = r.phase(ctx, "settle", total, status, func() error {
		sleepCtx(ctx, settle)
		r.rssEmpty = memory(r.nursery.all())
		r.edgeStart = r.sampler.edge(nil)
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.connect(ctx); err != nil {
		return err
	}
	total, status = r.elapsed(settle, nil)
	err = r.phase(ctx, "idle", total, status, func() error {
		sleepCtx(ctx, settle)
		r.rssIdle = memory(r.nursery.all())
		return nil
	})
	if err != nil {
		return err
	}
	return r.ready(ctx)
}

func (r *run) connect(ctx context.Context) error {
	status := func() (int64, string) {
		c := r.fleet.counters()
		detail := ""
		if c.Refused > 0 {
			detail = fmt.Sprintf("%d refused", c.Refused)
		}
		return c.Subscribed, detail
	}
	return r.phase(ctx, "connect", int64(r.s.Connections), status, func() error {
		bounded, cancel := context.WithTimeoutCause(ctx, r.s.Connect.Timeout.Duration,
			fmt.Errorf("not all clients were connected within %v", r.s.Connect.Timeout))
		defer cancel()
		return r.fleet.each(bounded, func(ctx context.Context, _ int, w *workerHandle) error {
			_, err := w.call(ctx, request{Op: opConnect})
			return err
		})
	})
}

// probeEvery is how long a probe has to reach everybody before it is sent again.
const probeEvery = time.Second

// ready publishes probes until every client has seen one on each of its topics.
func (r *run) ready(ctx context.Context) error {
	healthy := r.fleet.healthy()
	status := func() (int64, string) { return r.fleet.counters().Probed, "" }
	return r.phase(ctx, "probe", int64(healthy), status, func() error {
		sinks, err := r.system.sinks(ctx, r.clock, r.o.Plan)
		if err != nil {
			return err
		}
		r.pub = newPublisher(r.clock, r.s, r.runID, sinks)
		deadline := time.Now().Add(r.s.Phases.Ready.Duration)
		all := func() bool { return int(r.fleet.counters().Probed) >= healthy }
		for !all() {
			if err := r.fleet.faults(); err != nil {
				return err
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("after %v, %d of %d clients had seen a probe on each of their topics", r.s.Phases.Ready, r.fleet.counters().Probed, healthy)
			}
			// A probe that cannot be published shows in those who do not see it.
			_ = r.pub.probe(ctx)
			if err := r.poll(ctx, probeEvery, all); err != nil {
				return err
			}
		}
		// What is left of the probes must not be counted with the traffic.
		r.quiet(ctx, 5*time.Second)
		r.settled = true
		return nil
	})
}

// poll waits until cond holds, at most for a while.
func (r *run) poll(ctx context.Context, limit time.Duration, cond func() bool) error {
	deadline := r.clock.Now() + int64(limit)
	for !cond() && r.clock.Now() < deadline {
		if !sleepCtx(ctx, 20*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
	return nil
}

// quietFor is how long no message must arrive for the fleet to count as quiet: two
// ticks of the workers.
const quietFor = 2*tickEvery + 50*time.Millisecond

// quiet waits until nothing arrives any more, at most for a while.
func (r *run) quiet(ctx context.Context, limit time.Duration) {
	last, since := r.fleet.received(), r.clock.Now()
	// An error says that ctx ended, which the caller sees.
	_ = r.poll(ctx, limit, func() bool {
		if n := r.fleet.received(); n != last {
			last, since = n, r.clock.Now()
		}
		return r.clock.Now()-since >= int64(quietFor)
	})
}

// traffic warms up, measures and drains.
func (r *run) traffic(ctx, hard context.Context, fail context.CancelCauseFunc) error {
	if r.s.Closed() {
		err := r.fleet.each(ctx, func(ctx context.Context, _ int, w *workerHandle) error {
			_, err := w.call(ctx, request{Op: opFlow})
			return err
		})
		if err != nil {
			return err
		}
	}
	if warm := r.s.Phases.Warmup.Duration; warm > 0 && r.s.Load.Mode != scenarios.ModeIdle {
		total, status := r.elapsed(warm, r.trafficDetail())
		err := r.phase(ctx, "warmup", total, status, func() error {
			base := r.fleet.received()
			r.publish(ctx, simulator.PhaseWarmup, warm)
			r.arrive(ctx, base, simulator.PhaseWarmup, r.s.Phases.Drain.Duration)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if _, err := r.fleet.mark(ctx); err != nil {
		return err
	}
	r.edgeFrom = r.sampler.edge(scrape(ctx, r.system.scrapes))
	r.measured = true
	base := r.fleet.received()
	length := r.s.Phases.Measure.Duration
	total, status := r.elapsed(length, r.trafficDetail())
	err := r.phase(ctx, "measure", total, status, func() error {
		start := r.clock.Now()
		injected := make(chan []faultRecord, 1) // one result
		go func() { injected <- inject(ctx, hard, r.clock, start, r.s.Faults, r.system) }()
		r.publish(ctx, simulator.PhaseMeasure, length)
		r.faults = <-injected
		for _, f := range r.faults {
			if f.err != nil {
				fail(f.err)
				return f.err
			}
		}
		return nil
	})
	if hard.Err() != nil {
		return err
	}
	limit := r.s.Phases.Drain.Duration
	total, status = r.elapsed(limit, r.trafficDetail())
	drained := r.phase(hard, "drain", total, status, func() error {
		r.arrive(hard, base, simulator.PhaseMeasure, limit)
		return nil
	})
	r.edgeTo = r.sampler.edge(scrape(hard, r.system.scrapes))
	return errors.Join(err, drained)
}

// publish carries out a phase of the load.
func (r *run) publish(ctx context.Context, phase simulator.Phase, length time.Duration) {
	switch r.s.Load.Mode {
	case scenarios.ModeIdle:
		sleepCtx(ctx, length)
	case scenarios.ModeInflight:
		subs := 0
		for _, n := range r.perTopic {
			subs += n
		}
		r.pub.closed(ctx, phase, length, r.s.Load.Inflight, float64(subs)/float64(len(r.perTopic)), r.fleet.received)
	default:
		r.pub.open(ctx, phase, newSchedule(r.s, length, uint64(phase)))
	}
}

// arrive waits until all that was sent in a phase has arrived, and nothing more
// does; a straggler of an earlier phase must not make it look so too soon.
func (r *run) arrive(ctx context.Context, base int64, phase simulator.Phase, limit time.Duration) {
	want := base
	for _, m := range r.pub.messages {
		if m.phase == phase && m.fate == fateSent {
			want += int64(r.perTopic[m.topic])
		}
	}
	from := r.clock.Now()
	// An error says that ctx ended, which the caller sees.
	_ = r.poll(ctx, limit, func() bool { return r.fleet.received() >= want })
	r.quiet(ctx, limit-time.Duration(r.clock.Now()-from))
}

// trafficDetail tells the rates since the call before.
func (r *run) trafficDetail() func() string {
	lastAt, last := r.clock.Now(), r.fleet.received()
	return func() string {
		at, n := r.clock.Now(), r.fleet.received()
		rate := float64(n-last) / (float64(at-lastAt)/1e9 + 1e-9)
		// Workers tell their counters in ticks: a shorter look would see none or two.
		if at-lastAt > int64(time.Second) {
			lastAt, last = at, n
		}
		return fmt.Sprintf("%d sent, %d received, %.0f/s", r.pub.sent.Load(), n, rate)
	}
}

// finish takes the workers' reports and the publishers' accounts.
func (r *run) finish(ctx context.Context) error {
	return r.phase(ctx, "verify", 0, nil, func() error {
		var errs []error
		if r.measured {
			loads, err := r.fleet.mark(ctx)
			r.loads = loads
			errs = append(errs, err)
		}
		skew, err := r.fleet.skew(ctx, r.clock)
		r.skew = max(r.skew, skew)
		errs = append(errs, err)
		r.closed = true
		r.acks, err = r.pub.account()
		errs = append(errs, err)
		r.report, err = r.fleet.finish(ctx, r.pub.sentRuns())
		errs = append(errs, err)
		return errors.Join(errs...)
	})
}

// teardown ends every process, whatever the run came to.
func (r *run) teardown() {
	if r.pub != nil && !r.closed {
		// The account is of no use any more, but its streams must end.
		if _, err := r.pub.account(); err != nil {
			r.failures = err
		}
	}
	r.o.Progress.Phase("teardown", 0)
	r.nursery.close(stopGrace)
}
