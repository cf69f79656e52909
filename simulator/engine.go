package simulator

import (
	"fmt"
	"slices"
	"strings"
)

// Engines are the engines that work on this machine, the cheapest first. It asks the kernel once for each process.
func Engines() []Engine { return enginesWith(ringFault()) }

// enginesWith are the engines where a ring has that fault.
func enginesWith(fault error) []Engine {
	switch {
	case !rawSockets:
		return []Engine{EngineGoroutine}
	case fault != nil:
		return []Engine{EngineEpoll, EngineGoroutine}
	}
	return []Engine{EngineRing, EngineEpoll, EngineGoroutine}
}

// chooseEngine is the engine of a valid configuration where a ring has that fault. An engine that was asked for by name
// is that one or an error.
func chooseEngine(config *Config, fault error) (Engine, error) {
	there := enginesWith(fault)
	switch {
	case config.Engine == EngineAuto && slices.ContainsFunc(config.URLs, func(url string) bool { return strings.HasPrefix(url, "wss:") }):
		return EngineGoroutine, nil
	case config.Engine == EngineAuto:
		return there[0], nil
	case !slices.Contains(there, config.Engine):
		return "", fmt.Errorf("engine %q: %w", config.Engine, fault)
	}
	return config.Engine, nil
}
