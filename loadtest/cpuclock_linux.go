package loadtest

import (
	"time"

	"golang.org/x/sys/unix"
)

// readCPU is the CPU time of a process by its own clock, in nanoseconds and with the
// threads that have ended; false when the process is gone. /proc/PID/stat has the same
// account in ticks of 10 ms, user and system each rounded down, which is up to 1 % of
// what two servers use in a short measured phase.
func readCPU(pid int) (time.Duration, bool) {
	// The clock of another process: ~pid << 3 | CPUCLOCK_SCHED (linux/posix-timers.h).
	const schedClock = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|schedClock, &ts); err != nil {
		return 0, false
	}
	return time.Duration(ts.Nano()), true
}
