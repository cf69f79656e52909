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
	// Peers is the binary that servers of others are started from, see FindPeers.
	// Needed for a plan whose target is one of them.
	Peers string
	// Environ is the environment for child processes; FIRETOWER_... is taken out of it.
	Environ []string
	// Root is the folder that gets the run's folder. Default reports/runs.
	Root string
	// Name is the run's name in its folder's, after the time. Default: the scenario's,
	// with the target's appended unless that is Firetower.
	Name string
	// Progress shows how it goes. Default: nothing.
	Progress Progress
	// Tags are the caller's own words for the run, for the result.
	Tags map[string]string
	// Overrides are the keys that did not come from the scenario's file, for the result.
	Overrides []reports.Override
	// Build names what is measured, for the result.
	Build Build
	// KeepLatest leaves the link "latest" as it is.
	KeepLatest bool

	// attach is a server that runs already and speaks Firetower's protocols; the
	// package's tests put a faulty one there. Nil starts the plan's target.
	attach *attached
	// servers is the build of the target firetower@PATH.
	servers *reports.ServerBuild
	// part is the run's place in a duet, nil of a run by itself.
	part *part
	// onFault is called when a fault has been injected, for the package's tests.
	onFault func()
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
			o.Name += "-" + reports.ShortTarget(string(o.Plan.Target))
		}
	}
	dir, err := reports.CreateFolder(o.Root, o.Name, time.Now())
	if err != nil {
		return nil, "", err
	}
	if path, ok := o.Plan.Target.Build(); ok {
		build, err := ReadBuild(ctx, path, o.Environ)
		if err != nil {
			return nil, dir, err
		}
		o.servers = &build
	}
	r, err := newRun(o, dir)
	if err != nil {
		return nil, dir, err
	}
	failure := r.execute(ctx)
	r.teardown()
	r.shared()
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
	servers *serverSeries
	system  *system
	fleet   fleet
	pub     *publisher
	// perTopic is how many healthy clients subscribe to each topic.
	perTopic []int

	phases   []phase
	settled  bool // every client is reached
	measured bool // the measured phase has begun
	// published is the end of its messages, by clock; the phase itself ends with the
	// window of its last fault, if that is later.
	published int64
	closed    bool // the publishers' streams have ended

	rssEmpty, rssIdle int64
	held              [2]holding     // by the servers, empty and with every client idle
	left              *reports.Leave // what they held once all had gone
	// load is the scenario with the rate that a search has found.
	load scenarios.Scenario
	// shared lets this process run on all CPUs again.
	shared   func()
	capacity *reports.Capacity
	// generatorBound says that the search met our own limit and not the servers'.
	generatorBound   bool
	churned          int64 // deliveries of churning topics in the measured phase
	edgeStart        edge  // before the first connection
	edgeFrom, edgeTo edge  // the measured phase, drain included
	// gaps are what no server's counters of the measured phase have.
	gaps        []reports.BudgetGap
	loads       []workerLoad
	skew        time.Duration
	calibration calibration
	warmup      steadiness
	meter       hiccups    // the coordinator's own
	idle        hiccupLoad // what it told of the measured phase
	faults      []faultRecord
	acks        sinkAccount
	report      *simulator.Report
	intervals   []reports.Interval
	failures    error // of the teardown
}

// phase is a part of the run, by clock.
type phase struct {
	name     string
	from, to int64
	// stamp is the number of its messages, of the hold and the recovery of a fault; 0 of
	// other phases.
	stamp simulator.Phase
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
	r.nursery.unset = o.Plan.unset
	if o.servers != nil {
		r.nursery.servers = o.servers.Path
	}
	r.load, r.shared = r.s, func() {}
	if p := o.Plan; len(p.LoadCPUs) > 0 {
		if r.shared, err = isolate(p.LoadCPUs); err != nil {
			r.nursery.close(stopGrace)
			return nil, err
		}
		r.nursery.serverCPUs, r.nursery.loadCPUs = p.ServerCPUs, p.LoadCPUs
	}
	r.pressure, _, _ = strings.Cut(readText("/proc/pressure/cpu"), "\n")
	r.begin = c.Now()
	r.started = c.Wall(r.begin)
	r.sampler = newSampler(c, r.begin, r.nursery.all)
	r.servers = newServerSeries(c, r.nursery.all)
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

	defer spareProcessors(coordinatorSpare)()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer fail(nil)
	wg.Go(func() { r.watch(hard, fail) })
	wg.Go(func() { r.sampler.run(hard) })
	wg.Go(func() { r.servers.run(hard) })
	wg.Go(func() { r.meter.run(hard, r.clock, holdUntil) })

	err := r.prepare(ctx)
	if err == nil {
		err = r.traffic(ctx, hard, fail)
	}
	if r.fleet == nil || !r.settled || hard.Err() != nil {
		return r.blame(hard, err)
	}
	// From here on an interruption has no effect: what was measured is accounted for.
	// That there was one, the caller's context says; it must not cover a failure.
	if errors.Is(err, ErrInterrupted) {
		err = nil
	}
	if err = errors.Join(err, r.finish(hard)); err == nil && soft.Err() == nil {
		if err = r.leave(ctx); errors.Is(err, ErrInterrupted) {
			err = nil // all that was measured is there
		}
	}
	return r.blame(hard, err)
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

// teardown ends every process, whatever the run came to.
func (r *run) teardown() {
	if r.pub != nil && !r.closed {
		// The account is of no use any more, but its streams must end.
		if _, err := r.pub.close(); err != nil {
			r.failures = err
		}
	}
	r.o.Progress.Phase("teardown", 0)
	r.nursery.close(stopGrace)
	if r.system != nil {
		r.failures = errors.Join(r.failures, r.system.close())
	}
}
