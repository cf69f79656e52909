package loadtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"firetower/scenarios"
	"firetower/simulator"
)

// prepare brings the run to where traffic can begin: everything started, every
// client subscribed and reached.
func (r *run) prepare(ctx context.Context) error {
	ready, err := r.o.part.turn(ctx)
	if err != nil {
		return err
	}
	defer ready()
	if err := r.calibrate(ctx); err != nil {
		return err
	}
	err = r.phase(ctx, "spawn", 0, nil, func() (err error) {
		if r.system, err = startSystem(ctx, r.nursery, r.o); err != nil {
			return err
		}
		r.servers.watch(r.system.scrapes)
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
		r.held[0] = r.holdings(ctx)
		r.rssEmpty = r.held[0].rss
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
		r.held[1] = r.holdings(ctx)
		r.rssIdle = r.held[1].rss
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

// quiet waits until nothing arrives any more, at most for a while, and tells whether
// it came to that.
func (r *run) quiet(ctx context.Context, limit time.Duration) bool {
	arrived := func() int64 { return r.fleet.received() + r.fleet.counters().ChurnReceived }
	last, since := arrived(), r.clock.Now()
	still := func() bool {
		if n := arrived(); n != last {
			last, since = n, r.clock.Now()
		}
		return r.clock.Now()-since >= int64(quietFor)
	}
	// An error says that ctx ended, which the caller sees.
	_ = r.poll(ctx, limit, still)
	return still()
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
	if r.s.Load.Mode == scenarios.ModeCapacity {
		if err := r.search(ctx); err != nil {
			return err
		}
	}
	if warm := r.s.Phases.Warmup.Duration; warms(r.s) {
		total, status := r.elapsed(warm, r.trafficDetail())
		err := r.phase(ctx, "warmup", total, status, func() error {
			if err := r.together(ctx, nil); err != nil {
				return err
			}
			base := r.fleet.received()
			r.warmUp(ctx, warm)
			r.arrive(ctx, base, r.s.Phases.Drain.Duration, simulator.PhaseWarmup)
			return nil
		})
		if err != nil {
			return err
		}
	}
	err := r.together(ctx, func() error {
		if _, err := r.fleet.mark(ctx); err != nil {
			return err
		}
		r.meter.read(r.clock.Now())
		r.edgeFrom = r.sampler.edge(scrape(ctx, r.system.scrapes))
		return nil
	})
	if err != nil {
		return err
	}
	r.churned = -r.fleet.counters().ChurnReceived
	r.measured = true
	base := r.fleet.received()
	length := r.s.Phases.Measure.Duration
	total, status := r.elapsed(length, r.trafficDetail())
	err = r.phase(ctx, "measure", total, status, func() error {
		start := r.clock.Now()
		injected := make(chan []faultRecord, 1) // one result
		in := &injector{clock: r.clock, sys: r.system, fleet: r.fleet, pub: r.pub, seed: r.s.Seed, done: r.o.onFault}
		go func() { injected <- in.run(ctx, hard, start, r.s.Faults) }()
		r.publish(ctx, simulator.PhaseMeasure, length)
		r.published = r.clock.Now()
		r.faults = <-injected
		r.faultPhases()
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
		r.arrive(hard, base, limit, headlinePhases...)
		return nil
	})
	r.edgeTo = r.sampler.edge(scrape(hard, r.system.scrapes))
	r.edgeFrom.servers, r.edgeTo.servers, r.gaps = r.system.whole(r.edgeFrom.servers, r.edgeTo.servers, r.phaseStart("measure"), r.edgeTo.at)
	r.edgeFrom.metrics, r.edgeTo.metrics = r.edgeFrom.servers.sum(), r.edgeTo.servers.sum()
	r.churned += r.fleet.counters().ChurnReceived
	// The end of one run of a duet is work for the machine: the other has been measured
	// by then. An error says that it will not come any more, or that ctx has ended.
	_, _ = r.o.part.meet(ctx, r.clock.Now)
	return errors.Join(err, drained)
}

// faultPhases lists what the faults were as phases of the run.
func (r *run) faultPhases() {
	for i, f := range r.faults {
		kind, stamps := " "+string(f.plan.Kind), stampsOf(i)
		r.phases = append(r.phases,
			phase{name: phaseName(stamps.hold) + kind, from: f.killed, to: f.held, stamp: stamps.hold},
			phase{name: phaseName(stamps.recover) + kind, from: f.held, to: f.over, stamp: stamps.recover})
	}
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
		r.pub.open(ctx, phase, newSchedule(r.load, length, uint64(phase)))
	}
}

// arrive waits until all that was sent in some phases has arrived since base was
// counted, and nothing more does; a straggler of an earlier phase must not make it
// look so too soon.
func (r *run) arrive(ctx context.Context, base int64, limit time.Duration, phases ...simulator.Phase) {
	want := base + r.due(phases...)
	from := r.clock.Now()
	// An error says that ctx ended, which the caller sees.
	_ = r.poll(ctx, limit, func() bool { return r.fleet.received() >= want })
	r.quiet(ctx, limit-time.Duration(r.clock.Now()-from))
}

// due is how many deliveries the messages sent in some phases should make.
func (r *run) due(phases ...simulator.Phase) int64 {
	n := int64(0)
	for _, sent := range r.pub.runs {
		if slices.Contains(phases, sent.Phase) && int(sent.Topic) < len(r.perTopic) {
			n += int64(sent.Count) * int64(r.perTopic[sent.Topic])
		}
	}
	return n
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

// verifyTimeout bounds the workers' accounts; those of 8,000 clients take a second or two.
const verifyTimeout = 2 * time.Minute

// finish takes the workers' reports and the publishers' accounts.
func (r *run) finish(hard context.Context) error {
	return r.phase(hard, "verify", 0, nil, func() error {
		// Interruptions have no effect here, so that a worker that lives and does not answer
		// must not hold the run for ever.
		ctx, cancel := context.WithTimeoutCause(hard, verifyTimeout, fmt.Errorf("a worker has not answered within %v", verifyTimeout))
		defer cancel()
		var errs []error
		if r.measured {
			loads, err := r.fleet.mark(ctx)
			r.loads, r.idle = loads, r.meter.read(r.clock.Now())
			errs = append(errs, err)
		}
		skew, err := r.fleet.skew(ctx, r.clock)
		r.skew = max(r.skew, skew)
		errs = append(errs, err)
		r.closed = true
		r.acks, err = r.pub.close()
		errs = append(errs, err)
		r.report, err = r.fleet.finish(ctx, r.pub.runs)
		errs = append(errs, err)
		return errors.Join(errs...)
	})
}
