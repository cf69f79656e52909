package loadtest

import (
	"time"

	"golang.org/x/sys/unix"
)

// HoldFor is holdUntil for a length.
func HoldFor(d time.Duration) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err)
	}
	holdUntil(now.Nano() + int64(d))
}
