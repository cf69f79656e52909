//go:build !linux

package simulator

import (
	"syscall"

	"firetower/simulator/clock"
)

const defaultEngine = EngineGoroutine

func engineExists(e Engine) bool { return e == EngineGoroutine }

func newEngine(config Config, clk *clock.Clock) (engine, error) {
	return newGoroutineEngine(&config, clk)
}

// tuneSocket leaves the socket as it is: what it does on Linux has no equal here.
func tuneSocket(syscall.RawConn, int) error { return nil }
