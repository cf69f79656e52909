// Package clock reads the machine's monotonic clock, which all processes of one machine share, at the price of
// time.Now: stamps that a publisher puts into a message and a simulated client takes when it arrives can be subtracted
// across processes. It owns nothing but that conversion, and knows nothing of messages.
//
// The wall clock would not do: it is stepped and slewed under a run. CLOCK_MONOTONIC is what Go's own monotonic
// readings are made of, but Go hides their value, and asking the kernel for it takes a system call each time. So [New]
// asks once: it brackets a clock_gettime with two readings of Go's clock, keeps the tightest of several brackets, and
// from then on adds Go's elapsed time to that base. The error is at most half the bracket, which stands in
// [Clock.Uncertainty].
package clock

import "time"

// attempts is how many brackets New tries. The first are cold; some are hit by an interrupt.
const attempts = 64

// Clock converts Go's monotonic readings to CLOCK_MONOTONIC nanoseconds. It is immutable, and safe for concurrent use.
type Clock struct {
	base        int64     // CLOCK_MONOTONIC at origin, ns
	origin      time.Time // with a monotonic reading
	uncertainty time.Duration
}

// New returns a clock. Clocks made in different processes of one machine agree within the sum of their uncertainties.
func New() (*Clock, error) {
	c := &Clock{origin: time.Now(), uncertainty: time.Hour}
	for range attempts {
		before := time.Since(c.origin)
		kernel, err := monotonic()
		after := time.Since(c.origin)
		if err != nil {
			return nil, err
		}
		if half := (after - before) / 2; half < c.uncertainty {
			c.uncertainty = half
			c.base = kernel - int64(before+half)
		}
	}
	return c, nil
}

// Now returns CLOCK_MONOTONIC in nanoseconds. It makes no system call and allocates nothing.
func (c *Clock) Now() int64 {
	return c.base + int64(time.Since(c.origin))
}

// Uncertainty bounds how far [Clock.Now] may be from the kernel's clock: about 100 ns on an idle machine.
func (c *Clock) Uncertainty() time.Duration { return c.uncertainty }

// Wall converts a reading of Now to wall time, for reports. It is as good as the wall clock was when c was made.
func (c *Clock) Wall(ns int64) time.Time {
	return c.origin.Add(time.Duration(ns - c.base)).Round(0)
}
