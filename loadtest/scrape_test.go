package loadtest_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"firetower/loadtest"
)

// What a server selects for the series has every metric of Go's runtime that they show.
func TestSeriesGetWhatTheyAskFor(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector())
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer server.Close()
	got := loadtest.ScrapeSeries(t.Context(), strings.TrimPrefix(server.URL, "http://"))
	for _, name := range []string{"go_goroutines", "go_memstats_heap_inuse_bytes", "go_gc_duration_seconds_sum", "go_gc_duration_seconds_count"} {
		if _, there := got[name]; !there {
			t.Errorf("%s is missing", name)
		}
	}
	if len(got) != 4 {
		t.Errorf("kept %v", got)
	}
}

// What is sampled every second is asked for by name, so that servers need not write the
// rest; one that cannot select answers with all, of which only that is kept.
func TestSeriesAskForTheirMetricsByName(t *testing.T) {
	const kept, other = `firetower_gateway_bucket_queue{bucket="0"}`, `firetower_gateway_stage_seconds_bucket{stage="bucket",le="1"}`
	for _, selects := range []bool{true, false} {
		t.Run(fmt.Sprintf("selects=%v", selects), func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				names := r.URL.Query()["name[]"]
				if r.URL.Path != "/metrics" || !slices.Contains(names, "firetower_gateway_bucket_queue") || slices.Contains(names, "firetower_gateway_stage_seconds") {
					t.Errorf("asked for %s", r.URL)
				}
				fmt.Fprintln(w, kept, 3)
				if !selects {
					fmt.Fprintln(w, other, 5)
				}
			}))
			defer server.Close()
			got := loadtest.ScrapeSeries(t.Context(), strings.TrimPrefix(server.URL, "http://"))
			if want := map[string]float64{kept: 3}; !maps.Equal(got, want) {
				t.Errorf("kept %v, want %v", got, want)
			}
		})
	}
}
