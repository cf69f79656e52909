package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// processCPU is what the threads of this process have used of the processors, in user and
// kernel mode, and whether the system tells.
func processCPU() (used time.Duration, ok bool) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
