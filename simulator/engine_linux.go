package simulator

import (
	"firetower/simulator/clock"
)

const defaultEngine = EngineGoroutine

func engineExists(e Engine) bool { return e == EngineGoroutine }

func newEngine(config Config, clk *clock.Clock) (engine, error) {
	return newGoroutineEngine(&config, clk), nil
}
