package simulator_test

import (
	"testing"

	"go.uber.org/goleak"

	"firetower/simulator"
	"firetower/simulator/latency"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// emptyReport is a report of nothing that can be merged.
func emptyReport() *simulator.Report {
	return &simulator.Report{
		RowStride: 1, Connect: latency.NewRecorder(), Subscribe: latency.NewRecorder(), Reconnect: latency.NewRecorder(), Join: latency.NewRecorder(),
		Spread: simulator.Spread{MeanLatency: latency.NewRecorder()},
	}
}
