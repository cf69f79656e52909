package loadtest

import (
	"context"
	"runtime"
	"sync"
	"time"

	"firetower/simulator/clock"
	"firetower/simulator/latency"
)

// The hiccup meter of a process: a thread of its own sleeps to a moment and notes how
// late it woke. What holds a process up as a whole (a signal, the host, a CPU quota)
// shows nowhere else: stamps taken before and after look as if the server had been slow.
// Every worker has one, and the coordinator, which does little else, one to compare
// with. It is told and never subtracted.
const (
	// hiccupEvery is how often the meter wakes up. On two virtual cores it cost 0.4 % of
	// one; every millisecond, as jHiccup does, 1.6 %, which is no longer nothing beside
	// what a worker uses.
	hiccupEvery = 5 * time.Millisecond
	// hiccupFloor is how late a waking may be on a machine that is merely busy.
	hiccupFloor = 50 * time.Millisecond
)

// hiccups is the account of a meter.
type hiccups struct {
	mu sync.Mutex // guards the following
	// since is the time of the last reading.
	since int64
	// stalled is the time in hiccups of more than the floor, longest the longest of them.
	stalled, longest int64
	late             *latency.Recorder
}

// hiccupLoad is how late a process woke up since the reading before.
type hiccupLoad struct {
	// StallShare is the share of time in which the whole process stood still, StallMax the
	// longest such time.
	StallShare float64       `json:"stall_share"`
	StallMax   time.Duration `json:"stall_max_ns"`
	// WakeP99 and WakeMax are of how late the meter woke up, Wakes how often it did.
	WakeP99 time.Duration `json:"wake_p99_ns"`
	WakeMax time.Duration `json:"wake_max_ns"`
	Wakes   int64         `json:"wakes"`
}

// run keeps the account until ctx ends. sleep is sleepUntil, or one that does the same.
func (h *hiccups) run(ctx context.Context, c *clock.Clock, sleep func(ns int64)) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	h.read(c.Now())
	for ctx.Err() == nil {
		due := c.Now() + int64(hiccupEvery)
		sleep(due)
		h.note(c.Now() - due)
	}
}

// note takes a waking that was late by so much.
func (h *hiccups) note(late int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.late == nil {
		h.late = latency.NewRecorder()
	}
	h.late.Record(late)
	if late > int64(hiccupFloor) {
		h.stalled += late
		h.longest = max(h.longest, late)
	}
}

// read is the account since the reading before.
func (h *hiccups) read(now int64) hiccupLoad {
	h.mu.Lock()
	defer h.mu.Unlock()
	var l hiccupLoad
	if took := now - h.since; h.since > 0 && took > 0 {
		l.StallShare = min(float64(h.stalled)/float64(took), 1)
	}
	l.StallMax = time.Duration(h.longest)
	if h.late != nil && h.late.Count() > 0 {
		l.WakeP99, l.WakeMax, l.Wakes = time.Duration(h.late.Percentile(99)), time.Duration(h.late.Max()), h.late.Count()
		h.late.Reset()
	}
	h.since, h.stalled, h.longest = now, 0, 0
	return l
}
