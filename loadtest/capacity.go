package loadtest

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"firetower/reports"
	"firetower/scenarios"
	"firetower/simulator"
)

// bracket closes in on the highest rate that is sustained: it doubles from the first
// until one fails or the highest is reached, and then halves what lies between, by
// the logarithm.
type bracket struct {
	from, to, precision float64
	best, failed        float64 // 0 for none yet
}

// next is the rate to try, or that there is none left.
func (b *bracket) next() (rate float64, ok bool) {
	switch {
	case b.best == 0 && b.failed == 0:
		return b.from, true
	case b.best == 0, b.failed == 0 && b.best >= b.to:
		return 0, false
	case b.failed == 0:
		return min(2*b.best, b.to), true
	case b.failed-b.best <= b.precision*b.best:
		return 0, false
	}
	middle := roundTo(math.Sqrt(b.best*b.failed), 4)
	return middle, middle > b.best && middle < b.failed
}

// note takes what came of a trial.
func (b *bracket) note(rate float64, sustained bool) {
	if sustained {
		b.best = rate
	} else {
		b.failed = rate
	}
}

// mostTrials is how many trials a search may take.
func mostTrials(c scenarios.Capacity) int {
	doublings := math.Ceil(math.Log2(c.To.PerSecond/c.From.PerSecond)) + 1
	halvings := math.Ceil(math.Log2(math.Ln2 / math.Log1p(float64(c.Precision))))
	return int(doublings + max(halvings, 0))
}

// What a trial must keep beside the latency.
const (
	achievedShare = 0.99 // of the planned messages
	// trialPatience is how late a message of a trial may be until the trial ends early:
	// the rate is far too high then, and a plan in arrears would go on for minutes.
	trialPatience = time.Second
	// blockedSend is from when on a send counts as one that the server held up.
	blockedSend = time.Millisecond
)

// search looks for the highest rate that the servers sustain. It leaves what it
// found in r.capacity, and in r.load the rate of the measured phase: when no rate
// was sustained, that is the lowest that was tried.
func (r *run) search(ctx context.Context) error {
	c := r.s.Capacity
	b := &bracket{from: c.From.PerSecond, to: c.To.PerSecond, precision: float64(c.Precision)}
	r.capacity = &reports.Capacity{P99Limit: reports.MillisOf(c.P99.Duration), Trials: []reports.CapacityTrial{}}
	r.load.Load.Rate = c.From
	// The progress is shown by a goroutine of its own.
	var done atomic.Int64
	var detail atomic.Pointer[string]
	detail.Store(new(string))
	status := func() (int64, string) { return done.Load(), *detail.Load() }
	return r.phase(ctx, phaseName(simulator.PhaseTrial), int64(mostTrials(c)), status, func() error {
		for {
			rate, more := b.next()
			if !more {
				return nil
			}
			trying := fmt.Sprintf("%.4g messages/s", rate)
			detail.Store(&trying)
			t, err := r.trial(ctx, rate)
			if err != nil {
				return err
			}
			r.capacity.Trials = append(r.capacity.Trials, t.CapacityTrial)
			done.Add(1)
			b.note(rate, t.Sustained)
			if t.Sustained {
				r.capacity.MessagesPerSecond, r.capacity.DeliveriesPerSecond = rate, rate*deliveriesPerMessage(r.s)
				r.load.Load.Rate.PerSecond = rate
				continue
			}
			r.capacity.Failed, r.generatorBound = &t.Rate, t.generator
			if end := r.rest(ctx); end != "" {
				last := &r.capacity.Trials[len(r.capacity.Trials)-1]
				last.Reason += "; " + end
				return nil
			}
		}
	})
}

// trial is a rate that was tried.
type trial struct {
	reports.CapacityTrial
	generator bool // it failed by our own fault
}

// trial publishes at a rate for a while and judges what came of it.
func (r *run) trial(ctx context.Context, rate float64) (trial, error) {
	if _, err := r.fleet.mark(ctx); err != nil {
		return trial{}, err
	}
	if _, err := r.fleet.window(ctx); err != nil {
		return trial{}, err
	}
	due := r.due(simulator.PhaseTrial)
	base := r.fleet.received() - due
	sent, waited := r.pub.sent.Load(), r.pub.waited
	delete(r.pub.lags, simulator.PhaseTrial)
	s := r.load
	s.Load.Rate.PerSecond = rate
	length := r.s.Capacity.Trial.Duration
	r.pub.open(ctx, simulator.PhaseTrial, newSchedule(s, length, uint64(simulator.PhaseTrial)<<32|uint64(len(r.capacity.Trials))))
	took := tookOf(time.Duration(r.pub.last-r.pub.began), time.Duration(r.clock.Now()-r.pub.began), length, tolerated(r.s.Capacity.P99.Duration))
	r.arrive(ctx, base, r.s.Phases.Drain.Duration, simulator.PhaseTrial)
	window, err := r.fleet.window(ctx)
	if err != nil {
		return trial{}, err
	}
	loads, err := r.fleet.mark(ctx)
	if err != nil {
		return trial{}, err
	}
	if ctx.Err() != nil {
		return trial{}, context.Cause(ctx)
	}
	e := trialEvidence{
		rate: rate, achieved: float64(r.pub.sent.Load()-sent) / took.Seconds(), limit: r.s.Capacity.P99.Duration,
		lost: max(r.due(simulator.PhaseTrial)-due-window.Received, 0), p99: time.Duration(high(window.Intended)),
		lag: time.Duration(high(r.pub.lags[simulator.PhaseTrial])), waited: r.pub.waited - waited,
	}
	for _, l := range loads {
		e.sched = max(e.sched, l.SchedP99)
	}
	t := e.judge()
	d := reports.Summarise(window.Intended)
	t.P50, t.P99 = d.P50, d.P99
	return t, nil
}

// tookOf is the time that a trial's messages were published in, of a planned length:
// last is when the last one left, and end when the publisher was done, both from the
// trial's beginning. The last message's own lag takes nothing from the rate, and a
// trial that was given up has not lasted as long as it should.
func tookOf(last, end, length, tolerated time.Duration) time.Duration {
	if last < length+tolerated {
		return min(length, end)
	}
	return last
}

// trialEvidence is what a trial is judged by.
type trialEvidence struct {
	rate, achieved float64
	p99, limit     time.Duration // of the delivery
	lost           int64
	lag            time.Duration // p99 of the publisher
	waited         time.Duration // in sends that the server held up
	sched          time.Duration // p99 of the worst worker's scheduler delay
}

// tolerated is how late messages of a trial may leave.
func tolerated(limit time.Duration) time.Duration { return max(lagFloor, share(limit, lagShare)) }

// judge says whether a rate was sustained, and if not why, and by whose fault.
func (e trialEvidence) judge() trial {
	lag := reports.MillisOf(e.lag)
	t := trial{CapacityTrial: reports.CapacityTrial{Rate: e.rate, Achieved: math.Round(e.achieved*1e3) / 1e3, Lost: e.lost, LagP99: &lag}}
	late := e.lag > tolerated(e.limit)
	switch {
	case late && e.waited < e.lag/2:
		t.generator = true
		t.Reason = fmt.Sprintf("the load generator: messages left %s late (p99), and the server held none up", show(e.lag))
	case e.p99 > e.limit && e.sched > max(schedFloor, share(e.limit, schedShare)):
		t.generator = true
		t.Reason = fmt.Sprintf("the load generator: p99 %s, with workers that waited %s for a CPU (p99)", show(e.p99), show(e.sched))
	case e.lost > 0:
		t.Reason = plural(int(e.lost), "lost delivery")
		if e.lost > 1 {
			t.Reason = fmt.Sprintf("%d lost deliveries", e.lost)
		}
	case e.p99 > e.limit:
		t.Reason = fmt.Sprintf("p99 %s, limit %s", show(e.p99), show(e.limit))
	case late:
		t.Reason = fmt.Sprintf("the server held messages up: they left %s late (p99)", show(e.lag))
	case e.achieved < achievedShare*e.rate:
		t.Reason = fmt.Sprintf("%.4g of %.4g messages/s were taken", e.achieved, e.rate)
	default:
		t.Sustained = true
	}
	return t
}

// rest waits after a trial that failed until the system is as it was before; it says
// why the search cannot go on, empty when it can.
func (r *run) rest(ctx context.Context) string {
	limit := r.s.Phases.Drain.Duration
	if !r.quiet(ctx, 3*limit) {
		return fmt.Sprintf("deliveries still came %v later, so that the search ends here", 3*limit)
	}
	gone := r.fleet.counters().Disconnected
	if gone == 0 {
		return ""
	}
	if r.s.Reconnect.Mode == scenarios.ReconnectAlways {
		// An error says that ctx ended, which the caller sees.
		_ = r.poll(ctx, r.s.Connect.Timeout.Duration, func() bool { return r.fleet.counters().Disconnected == 0 })
		if r.fleet.counters().Disconnected == 0 {
			return ""
		}
	}
	return fmt.Sprintf("it cost %s their connection, so that the search ends here", plural(int(gone), "client"))
}
