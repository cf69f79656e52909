package loadtest

import (
	"errors"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sleepUntil sleeps until CLOCK_MONOTONIC reads ns. Go's own timers wake through
// epoll_wait, which an idle process does with a millisecond's grain; the kernel's
// timers have some 50 us. The calling goroutine should have a thread of its own.
func sleepUntil(ns int64) {
	ts := unix.NsecToTimespec(ns)
	for {
		// Go's preemption signals interrupt it.
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// holdUntil is sleepUntil without telling Go's scheduler, which keeps the goroutine's processor: the process needs one to
// spare (see workerSpare). When the runtime wants all goroutines stopped, its signal ends the sleep, and yielding lets it.
func holdUntil(ns int64) {
	ts := unix.NsecToTimespec(ns)
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
		if errno != unix.EINTR {
			return
		}
		runtime.Gosched()
	}
}

// shortSlice is the slice of the scheduler that the publishing thread asks for.
const shortSlice = 100 * time.Microsecond

// promptThread asks that the calling thread be run soon after it wakes, and returns
// what undoes it. Linux (6.12 and later) takes the wanted slice of an ordinary
// thread from sched_setattr(2); a short one has an early deadline, and so does not
// wait behind threads that compute. It takes no more CPU for it. Where the kernel
// refuses, messages go out a little later, which the lag then shows.
func promptThread() (undo func()) {
	old, err := unix.SchedGetAttr(0, 0)
	if err != nil || old.Policy != unix.SCHED_NORMAL {
		return func() {}
	}
	wanted := *old
	wanted.Runtime = uint64(shortSlice)
	if err := unix.SchedSetAttr(0, &wanted, 0); err != nil {
		return func() {}
	}
	return func() { _ = unix.SchedSetAttr(0, old, 0) } // it was so before
}
