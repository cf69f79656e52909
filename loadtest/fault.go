package loadtest

import (
	"context"
	"fmt"
	"time"

	"firetower/scenarios"
	"firetower/simulator/clock"
)

// faultRecord is what was done to the servers, by clock; 0 is never.
type faultRecord struct {
	plan          scenarios.Fault
	killed, ready int64
	from, until   int64 // the window in which losses are this fault's
	err           error
}

// inFlight is how long before a fault a message may have been sent and still be
// lost to it, on its way through queues.
const inFlight = time.Second

// inject carries out the faults of a scenario, counted from start, until ctx ends.
// A victim is brought back also then, or what is still on its way could never
// arrive; that ends with hard alone.
func inject(ctx, hard context.Context, c *clock.Clock, start int64, faults []scenarios.Fault, sys *system) []faultRecord {
	var done []faultRecord
	for _, f := range faults {
		if !sleepCtx(ctx, time.Duration(start+int64(f.At.Duration)-c.Now())) {
			return done
		}
		r := faultRecord{plan: f, killed: c.Now()}
		r.from = r.killed - int64(inFlight)
		r.until = r.killed + int64(f.Hold.Duration+f.Recover.Duration)
		sys.manager.kill()
		sleepCtx(ctx, f.Hold.Duration)
		if err := sys.restartManager(hard); err != nil {
			r.err = fmt.Errorf("fault %s: %w", f.Kind, err)
		} else {
			r.ready = c.Now()
		}
		done = append(done, r)
		if r.err != nil {
			return done
		}
	}
	return done
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
