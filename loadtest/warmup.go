package loadtest

import (
	"context"
	"fmt"
	"time"

	"firetower/reports"
	"firetower/scenarios"
	"firetower/simulator"
)

const (
	// steadyWindows is how many windows in a row must agree for the warm-up to be over,
	// and steadyWithin by how much: their largest p99 is at most so much above the least.
	steadyWindows = 3
	steadyWithin  = 0.10
	// warmupMost is how many times its time a warm-up may take to become steady.
	warmupMost = 3
	// steadySupport is how many deliveries a window needs for its p99 to tell anything.
	steadySupport = 368
)

// steadiness is what a warm-up came to.
type steadiness struct {
	p99s   []time.Duration // of the windows, in order
	steady bool
	took   time.Duration
	// why says that there was nothing to look at.
	why string
}

// steady tells whether the last windows agree.
func steady(p99s []time.Duration) bool {
	if len(p99s) < steadyWindows {
		return false
	}
	last := p99s[len(p99s)-steadyWindows:]
	least, most := last[0], last[0]
	for _, p := range last {
		least, most = min(least, p), max(most, p)
	}
	return least > 0 && float64(most) <= float64(least)*(1+steadyWithin)
}

// warmUp publishes until the warm-up's time is over and the p99 of its last windows
// agree, or it has taken warmupMost times as long. A window is a third of its time. A
// closed loop has no latency of that kind: it warms up for its time.
func (r *run) warmUp(ctx context.Context, length time.Duration) {
	begun := r.clock.Now()
	w := &r.warmup
	defer func() { w.took = time.Duration(r.clock.Now() - begun) }()
	if r.s.Closed() {
		w.why = "a closed loop"
		r.publish(ctx, simulator.PhaseWarmup, length)
		return
	}
	window := length / steadyWindows
	// A call that is given up would leave its answer to the next one: these are not.
	asking := context.WithoutCancel(ctx)
	if _, err := r.fleet.window(asking); err != nil { // what came before is no part of it
		w.why = err.Error()
		r.publish(ctx, simulator.PhaseWarmup, length)
		return
	}
	looking, stop := context.WithCancel(ctx)
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		defer stop()
		for due := begun + int64(window); sleepCtx(looking, time.Duration(due-r.clock.Now())); due += int64(window) {
			got, err := r.fleet.window(asking)
			if err != nil {
				w.why = err.Error() // a worker is gone, which ends the run
				return
			}
			if got.Received < steadySupport {
				w.why = fmt.Sprintf("%d deliveries in a window of %v", got.Received, window.Round(time.Millisecond))
				w.p99s = nil
			} else {
				w.p99s = append(w.p99s, time.Duration(got.Intended.Percentile(99)))
			}
			w.steady = steady(w.p99s)
			over := r.clock.Now()-begun >= int64(length)
			if over && (w.steady || len(w.p99s) == 0) {
				return
			}
		}
	}()
	r.publish(looking, simulator.PhaseWarmup, warmupMost*length)
	stop()
	<-looked
}

// steadyCheck says whether the servers had come to rest before they were measured.
func (e evidence) steadyCheck() reports.Check {
	w := e.warmup
	c := reports.Check{
		Name: "steady after the warm-up", Status: reports.CheckSkipped, Value: "not looked at",
		Limit: fmt.Sprintf("p99 of %d windows within %.0f %%", steadyWindows, steadyWithin*100),
		Note:  fmt.Sprintf("the warm-up goes on until then, to at most %d times its time", warmupMost),
	}
	if len(w.p99s) < steadyWindows {
		if w.why != "" {
			c.Note += "; " + w.why
		}
		return c
	}
	c.Status = when(!w.steady, reports.CheckNote)
	last := w.p99s[len(w.p99s)-steadyWindows:]
	c.Value = fmt.Sprintf("%s, %s, %s after %s", show(last[0]), show(last[1]), show(last[2]), show(w.took))
	return c
}

// hiccupCheck tells how late threads woke up that had nothing else to do.
func (e evidence) hiccupCheck() reports.Check {
	c := reports.Check{
		Name: "thread wake-ups", Status: reports.CheckSkipped, Value: "none", Limit: "shown",
		Note: fmt.Sprintf("how late a thread woke that sleeps %v at a time, in the worst worker and in the coordinator; it is in no figure", hiccupEvery),
	}
	var worst hiccupLoad
	for _, l := range e.loads {
		worst.WakeP99, worst.WakeMax, worst.Wakes = max(worst.WakeP99, l.WakeP99), max(worst.WakeMax, l.WakeMax), worst.Wakes+l.Wakes
	}
	if worst.Wakes > 0 && e.idle.Wakes > 0 {
		c.Status = reports.CheckOK
		c.Value = fmt.Sprintf("p99 %s, at most %s; coordinator %s, %s", show(worst.WakeP99), show(worst.WakeMax), show(e.idle.WakeP99), show(e.idle.WakeMax))
	}
	return c
}

// warms tells whether a run has a warm-up.
func warms(s scenarios.Scenario) bool {
	return s.Phases.Warmup.Duration > 0 && s.Load.Mode != scenarios.ModeIdle
}
