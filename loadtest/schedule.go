package loadtest

import (
	"math/rand/v2"
	"time"

	"firetower/scenarios"
)

// schedule is the plan of a phase: when each message is due, from the phase's
// start. It never looks at what became of a message.
type schedule struct {
	length time.Duration
	next   func() time.Duration
}

// newSchedule makes the plan of a phase. The stream keeps phases of one seed apart.
func newSchedule(s scenarios.Scenario, length time.Duration, stream uint64) schedule {
	n := int64(-1)
	switch {
	case s.Load.Mode == scenarios.ModeBurst:
		return schedule{length, func() time.Duration {
			n++
			return time.Duration(n/int64(s.Load.Burst)) * s.Load.Every.Duration
		}}
	case s.Load.Arrivals == scenarios.ArrivalsPoisson:
		r := rand.New(rand.NewPCG(s.Seed, stream)) // a plan that can be repeated, not a secret
		at := 0.0
		return schedule{length, func() time.Duration {
			at += r.ExpFloat64() / s.Load.Rate.PerSecond
			return time.Duration(at * float64(time.Second))
		}}
	default:
		return schedule{length, func() time.Duration {
			n++
			// From the start each time: adding up gaps would add up their rounding.
			return time.Duration(float64(n) / s.Load.Rate.PerSecond * float64(time.Second))
		}}
	}
}
