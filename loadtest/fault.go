package loadtest

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"firetower/scenarios"
	"firetower/simulator"
	"firetower/simulator/clock"
)

// faultRecord is what was done to the servers, by clock; 0 is never.
type faultRecord struct {
	plan   scenarios.Fault
	victim string
	// killed is when it happened, held when what was done was undone, and ready when the
	// victim was back.
	killed, held, ready int64
	from, until         int64 // the window in which losses are this fault's
	over                int64 // when messages were no longer stamped as this fault's
	// duplicated and reconnected are what the fleets had counted when it happened, and whole
	// when all clients were connected again, as the workers' ticks tell.
	duplicated, reconnected int64
	whole                   int64
	away                    bool // some were seen to be without a connection
	err                     error
}

// faultStamps are the numbers of phases that messages are stamped with before a fault,
// since the one before it, in its hold and in its recovery. No other fault has the same.
type faultStamps struct{ before, hold, recover simulator.Phase }

// stampsOf are those of a fault. Of the one after the last, before is the time after all.
func stampsOf(fault int) faultStamps {
	return faultStamps{simulator.PhaseMeasure.Of(fault), simulator.PhaseHold.Of(fault), simulator.PhaseRecover.Of(fault)}
}

// inFlight is how long before a fault a message may have been sent and still be
// lost to it, on its way through queues.
const inFlight = time.Second

// injector does to the servers what a scenario plans.
type injector struct {
	clock *clock.Clock
	sys   *system
	fleet fleet
	pub   *publisher
	seed  uint64
	done  func() // called when a fault has been injected; nil for nothing
}

// run carries out the faults, counted from start, until ctx ends. What was done is
// undone also then, or what is still on its way could never arrive; that ends with
// hard alone.
func (in *injector) run(ctx, hard context.Context, start int64, faults []scenarios.Fault) []faultRecord {
	var done []faultRecord
	for i, f := range faults {
		at := start + int64(f.At.Duration)
		if i > 0 { // its clients may come back after its window
			in.watch(ctx, &done[i-1], at)
		}
		if !in.sleepUntil(ctx, at) {
			return done
		}
		r := in.one(ctx, hard, f, i)
		if r.err == nil {
			in.watch(ctx, &r, r.until)
		}
		r.over = in.clock.Now()
		in.stage(stampsOf(i + 1).before)
		done = append(done, r)
		if r.err != nil {
			return done
		}
	}
	return done
}

// one carries out one fault and undoes it.
func (in *injector) one(ctx, hard context.Context, f scenarios.Fault, index int) faultRecord {
	last := in.sys.lastWords(ctx, in.clock, f)
	before := in.fleet.counters()
	r := faultRecord{plan: f, duplicated: before.Duplicated, reconnected: before.Reconnected}
	in.stage(stampsOf(index).hold)
	r.killed = in.clock.Now()
	r.from = r.killed - int64(inFlight)
	r.until = r.killed + int64(f.Hold.Duration+f.Recover.Duration)
	undo, err := in.do(hard, f, &r, index)
	if last != nil {
		last.killed = in.clock.Now()
		in.sys.ended = append(in.sys.ended, *last)
	}
	if in.done != nil {
		in.done()
	}
	if err == nil {
		in.sleepUntil(ctx, r.killed+int64(f.Hold.Duration))
		err = undo()
		if f.Kind != scenarios.FaultDisconnect {
			r.ready = in.clock.Now()
		}
	}
	r.held = in.clock.Now()
	in.stage(stampsOf(index).recover)
	if err != nil {
		r.err = fmt.Errorf("fault %s of %s: %w", f.Kind, r.victim, err)
	}
	return r
}

// do begins a fault, and returns what ends it.
func (in *injector) do(hard context.Context, f scenarios.Fault, r *faultRecord, index int) (undo func() error, err error) {
	if f.Kind == scenarios.FaultDisconnect {
		r.victim = "clients"
		n, err := in.fleet.disconnect(hard, float64(f.Share), in.seed+uint64(index))
		r.victim = plural(n, "client")
		return func() error { return nil }, err
	}
	places := in.sys.gateways
	if f.Kind == scenarios.FaultManagerRestart {
		places = in.sys.managers
	}
	if f.Victim < 0 || f.Victim >= len(places) {
		return nil, fmt.Errorf("there are %d", len(places))
	}
	v := places[f.Victim]
	r.victim = v.name
	switch f.Kind {
	case scenarios.FaultManagerRestart, scenarios.FaultGatewayKill:
		v.child.kill()
		return func() error {
			v.began = in.clock.Now()
			return in.sys.start(hard, v)
		}, nil
	case scenarios.FaultGatewayPause:
		return func() error { return v.child.send(syscall.SIGCONT) }, v.child.send(syscall.SIGSTOP)
	case scenarios.FaultLinkBlackhole:
		v.hold(true)
		return func() error { v.hold(false); return nil }, nil
	default:
		return nil, errors.New("is unknown")
	}
}

// hold cuts a gateway off from its manager, or ends that.
func (v *server) hold(on bool) {
	for _, r := range []*relay{v.link, v.rpc} {
		r.hold(on)
	}
}

// watch waits until a time by clock, and notes when every client was connected again
// after a fault.
func (in *injector) watch(ctx context.Context, r *faultRecord, until int64) {
	for {
		now := in.clock.Now()
		c := in.fleet.counters()
		switch {
		case c.Disconnected > 0:
			r.away, r.whole = true, 0
		case (r.away || c.Reconnected > r.reconnected) && r.whole == 0:
			// They may all have gone and come back from one tick to the next.
			r.whole = now
		}
		if now >= until || !in.sleepUntil(ctx, min(until, now+int64(watchEvery))) {
			return
		}
	}
}

// watchEvery is how often the clients' connections are looked at after a fault; the
// workers tell of them as often.
const watchEvery = tickEvery / 2

// stage has the messages from now on stamped with a phase.
func (in *injector) stage(phase simulator.Phase) { in.pub.stage.Store(uint32(phase)) }

// sleepUntil sleeps until the clock reads at, and tells whether ctx lived on.
func (in *injector) sleepUntil(ctx context.Context, at int64) bool {
	return sleepCtx(ctx, time.Duration(at-in.clock.Now()))
}

// sleepCtx sleeps, and tells whether ctx lived on.
func sleepCtx(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
