//go:build !linux

package simulator

import (
	"errors"
	"syscall"

	"firetower/simulator/clock"
)

// rawSockets says that the engines exist which do without Go's network poller.
const rawSockets = false

// ringFault is why there is no io_uring.
func ringFault() error { return errors.ErrUnsupported }

func newEngine(config Config, clk *clock.Clock) (engine, error) {
	return newGoroutineEngine(&config, clk)
}

// tuneSocket leaves the socket as it is: what it does on Linux has no equal here.
func tuneSocket(syscall.RawConn, int) error { return nil }
