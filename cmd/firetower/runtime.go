package main

import (
	"log/slog"
	"math"
	"runtime/debug"
	"strings"

	"firetower/config"
)

// collectorSettings is how the garbage collector of this process is set.
type collectorSettings struct {
	// percent is GOGC, -1 for off; limit is GOMEMLIMIT in bytes, math.MaxInt64 for none.
	percent int
	limit   int64
}

// setCollector sets the garbage collector of this process. A nil pointer leaves the
// setting as it is.
func setCollector(percent *int, limit *int64) {
	if percent != nil {
		debug.SetGCPercent(*percent)
	}
	if limit != nil {
		debug.SetMemoryLimit(*limit)
	}
}

// applyRuntime sets the garbage collector as the configuration says. GOGC and GOMEMLIMIT
// are Go's own variables, which whoever deploys the process knows: each wins over the key
// that means the same.
func applyRuntime(g *globalState, log *slog.Logger, c config.Runtime) {
	s := collectorOf(c)
	percent, limit := &s.percent, &s.limit
	if v, ok := environmentValue(g.environ, "GOGC"); ok {
		percent = nil
		log.Info("runtime.gcPercent is left to the environment", "GOGC", v)
	}
	if v, ok := environmentValue(g.environ, "GOMEMLIMIT"); ok {
		limit = nil
		log.Info("runtime.memoryLimit is left to the environment", "GOMEMLIMIT", v)
	}
	g.setCollector(percent, limit)
}

// collectorOf is what the runtime takes for a configuration.
func collectorOf(c config.Runtime) collectorSettings {
	s := collectorSettings{percent: c.GCPercent, limit: int64(c.MemoryLimit)}
	if s.percent == 0 {
		s.percent = -1
	}
	if s.limit == 0 {
		s.limit = math.MaxInt64
	}
	return s
}

// environmentValue looks a variable up. An empty one is as good as none, as it is to Go's
// runtime.
func environmentValue(environ []string, name string) (string, bool) {
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok && v != "" {
			return v, true
		}
	}
	return "", false
}
