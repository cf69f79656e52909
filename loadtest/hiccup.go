package loadtest

import (
	"context"
	"sync"
	"time"

	"firetower/simulator/clock"
)

// The hiccup meter of a worker: it wakes up often and notes how late it was. What holds
// a process up as a whole (a signal, the host, a CPU quota) shows nowhere else: stamps
// taken before and after look as if the server had been slow.
const (
	// hiccupEvery is how often the meter wakes up.
	hiccupEvery = 5 * time.Millisecond
	// hiccupFloor is how late a waking may be on a machine that is merely busy.
	hiccupFloor = 50 * time.Millisecond
)

// hiccups is the account of the meter.
type hiccups struct {
	mu sync.Mutex // guards the following
	// since is the time of the last reading.
	since int64
	// stalled is the time in hiccups of more than the floor, longest the longest of them.
	stalled, longest int64
}

// run keeps the account until ctx ends.
func (h *hiccups) run(ctx context.Context, c *clock.Clock) {
	h.read(c.Now())
	timer := time.NewTimer(hiccupEvery)
	defer timer.Stop()
	for {
		due := c.Now() + int64(hiccupEvery)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			h.note(c.Now() - due)
			timer.Reset(hiccupEvery)
		}
	}
}

// note takes a waking that was late by so much.
func (h *hiccups) note(late int64) {
	if late <= int64(hiccupFloor) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stalled += late
	h.longest = max(h.longest, late)
}

// read is the share of time in hiccups since the reading before, and the longest.
func (h *hiccups) read(now int64) (share float64, longest time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if took := now - h.since; h.since > 0 && took > 0 {
		share = min(float64(h.stalled)/float64(took), 1)
	}
	longest = time.Duration(h.longest)
	h.since, h.stalled, h.longest = now, 0, 0
	return share, longest
}
