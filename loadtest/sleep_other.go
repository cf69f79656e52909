//go:build !linux

package loadtest

import (
	"time"

	"firetower/simulator/clock"
)

// sleepUntil sleeps until the simulator's clock reads ns, as exactly as Go's timers do.
func sleepUntil(ns int64) {
	if c, err := clock.New(); err == nil {
		time.Sleep(time.Duration(ns - c.Now()))
	}
}

// holdUntil is sleepUntil here.
func holdUntil(ns int64) { sleepUntil(ns) }

// promptThread has nothing to ask for here.
func promptThread() (undo func()) { return func() {} }
