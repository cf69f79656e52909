package manager_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"firetower/core/manager"
)

// A message counts once in each stage for each gateway that it went to; what is no
// message does not.
func TestStagesCountMessagesByGateway(t *testing.T) {
	registry := prometheus.NewRegistry()
	h := startHub(t, func(o *manager.Options) { o.Registry = registry })
	a := joinHub(t, h, "a", map[string]int64{"room": 1})
	b := joinHub(t, h, "b", map[string]int64{"room": 5, "own": 1})
	const messages = 20
	for range messages {
		h.publish("room", "x")
	}
	h.publish("own", "x")
	h.publish("nobody", "x")
	eventually(t, "the messages", func() bool { return len(a.packets()) == messages && len(b.packets()) == messages+1 })
	stages := func() map[string]*dto.Histogram {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		found := make(map[string]*dto.Histogram)
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "firetower_manager_stage_seconds" {
					found[m.GetLabel()[0].GetValue()] = m.GetHistogram()
				}
			}
		}
		return found
	}
	// A packet may have come before its writer has counted it.
	eventually(t, "the counts", func() bool {
		s := stages()
		return s["route"].GetSampleCount() == 2*messages+1 && s["link"].GetSampleCount() == 2*messages+1
	})
	for stage, m := range stages() {
		if m.GetSampleSum() <= 0 {
			t.Errorf("%s takes %v s", stage, m.GetSampleSum())
		}
	}
}
