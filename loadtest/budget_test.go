package loadtest_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"firetower/loadtest"
	"firetower/reports"
)

// metricsOf is a server's text of a stage histogram with the given cumulative counts at
// 1 ms, 2 ms and above.
func metricsOf(metric, stage string, at1, at2, all int, sum float64) string {
	var b strings.Builder
	for _, l := range []struct {
		le string
		n  int
	}{{"0.001", at1}, {"0.002", at2}, {"+Inf", all}} {
		fmt.Fprintf(&b, "%s_bucket{stage=%q,le=%q} %d\n", metric, stage, l.le, l.n)
	}
	fmt.Fprintf(&b, "%s_sum{stage=%q} %v\n%s_count{stage=%q} %d\n", metric, stage, sum, metric, stage, all)
	return b.String()
}

func TestQuantilesOfScrapedHistograms(t *testing.T) {
	const m = "firetower_gateway_stage_seconds"
	tests := []struct {
		name     string
		from, to []string
		q        float64
		want     float64 // seconds; below 0 is none
		count    float64
	}{
		{"nothing", nil, []string{metricsOf(m, "fanout", 0, 0, 0, 0)}, 0.5, -1, 0},
		{"within the first bucket", nil, []string{metricsOf(m, "fanout", 10, 10, 10, 1)}, 0.5, 0.0005, 10},
		{"within the second", nil, []string{metricsOf(m, "fanout", 0, 10, 10, 1)}, 0.5, 0.0015, 10},
		{"above all edges", nil, []string{metricsOf(m, "fanout", 0, 0, 10, 1)}, 0.5, 0.002, 10},
		{"growth alone counts", []string{metricsOf(m, "fanout", 90, 90, 90, 1)}, []string{metricsOf(m, "fanout", 90, 100, 100, 2)}, 0.99, 0.00199, 10},
		{
			"two servers",
			[]string{metricsOf(m, "fanout", 5, 5, 5, 1), metricsOf(m, "fanout", 7, 7, 7, 1)},
			[]string{metricsOf(m, "fanout", 15, 15, 15, 1), metricsOf(m, "fanout", 7, 17, 17, 1)},
			0.75, 0.0015, 20,
		},
		{"a server that was started again", []string{metricsOf(m, "fanout", 90, 90, 90, 1)}, []string{metricsOf(m, "fanout", 0, 4, 4, 1)}, 0.5, 0.0015, 4},
		{"another stage", nil, []string{metricsOf(m, "bucket", 9, 9, 9, 1)}, 0.5, -1, 0},
		{"a server that did not answer", []string{metricsOf(m, "fanout", 1, 1, 1, 1)}, []string{""}, 0.5, -1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, count := loadtest.GrownQuantile(tt.from, tt.to, m, "fanout", tt.q)
			if math.Abs(got-tt.want) > 1e-9 || count != tt.count {
				t.Errorf("the quantile of %v values is %v, want %v of %v", count, got, tt.want, tt.count)
			}
		})
	}
}

// The means of a budget add up to the mean of the delivery, whatever the servers say;
// and a rest below nothing is shown and noted.
func TestBudgetAddsUp(t *testing.T) {
	mean := func(v float64) reports.Distribution { return reports.Distribution{Unit: "ms", Count: 1000, Mean: &v} }
	const gateway, manager = "firetower_gateway_stage_seconds", "firetower_manager_stage_seconds"
	servers := func(fanout float64) []string {
		return []string{
			metricsOf(manager, "route", 1, 1, 1, 0.0001) + metricsOf(manager, "link", 1, 1, 1, 0.0002),
			metricsOf(gateway, "central", 1000, 1000, 1000, 0.1) + metricsOf(gateway, "bucket", 1000, 1000, 1000, 0.3) +
				metricsOf(gateway, "fanout", 1000, 1000, 1000, fanout) + metricsOf(gateway, "backlog", 0, 0, 10, 0.5),
		}
	}
	tests := []struct {
		name   string
		to     []string
		stages []string
		rest   float64
		status reports.CheckStatus
	}{
		{"all stages", servers(2), []string{"publish lag", "manager", "link", "central wait", "bucket wait", "fan-out", "backlog", "network and reader"}, 5 - 1 - 0.1 - 0.2 - 0.1 - 0.3 - 2 - 0.5, reports.CheckOK},
		{"more than there was", servers(4), []string{"publish lag", "manager", "link", "central wait", "bucket wait", "fan-out", "backlog", "network and reader"}, 5 - 1 - 0.1 - 0.2 - 0.1 - 0.3 - 4 - 0.5, reports.CheckNote},
		{"a server that tells nothing", nil, []string{"publish lag", "server, network and reader"}, 4, reports.CheckOK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &reports.Result{Delivery: mean(5), DeliveryActual: mean(4)}
			loadtest.FillBudget(r, nil, tt.to)
			var names []string
			sum := 0.0
			for _, s := range r.Budget {
				names = append(names, s.Name)
				sum += s.Mean
			}
			if !slices.Equal(names, tt.stages) {
				t.Fatalf("stages %q, want %q", names, tt.stages)
			}
			if math.Abs(sum-5) > 1e-9 || math.Abs(r.Budget[len(names)-1].Mean-tt.rest) > 1e-9 {
				t.Errorf("the means add up to %v, the rest is %v, want 5 and %v", sum, r.Budget[len(names)-1].Mean, tt.rest)
			}
			checks, _ := loadtest.SelfCheck(r, nil)
			at := slices.IndexFunc(checks, func(c reports.Check) bool { return c.Name == "latency budget" })
			if at < 0 || checks[at].Status != tt.status {
				t.Errorf("checks: %+v", checks)
			}
		})
	}
}

func TestHeatmap(t *testing.T) {
	const ms = 1_000_000
	h, err := loadtest.Heatmap([]loadtest.Beat{
		{Second: 100, Phase: 1, NS: 1 * ms, N: 7},
		{Second: 101, Phase: 1, NS: 1 * ms, N: 5},
		{Second: 101, Phase: 2, NS: 9 * ms, N: 6},
		{Second: 103, Phase: 2, NS: 90 * ms, N: 1},
		{Second: 99, Phase: 0, NS: 1 * ms, N: 1}, // the probe is no traffic
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(h.T) != 4 || h.Step != 1 || !slices.Equal(h.Phase, []string{"warmup", "measure", "", "measure"}) {
		t.Errorf("columns %v of %v s, phases %q", h.T, h.Step, h.Phase)
	}
	total := int64(0)
	for at, column := range h.Counts {
		if len(column) != len(h.Edges) {
			t.Fatalf("column %d has %d rows of %d", at, len(column), len(h.Edges))
		}
		for row, n := range column {
			total += n
			// The recorder's buckets are within 0.1 %.
			inside := func(v float64) bool { return v*0.999 <= h.Edges[row] && v*1.001 > h.Edges[row]/1.34 }
			if n > 0 && !inside(1) && !inside(9) && !inside(90) {
				t.Errorf("%d deliveries up to %v ms", n, h.Edges[row])
			}
		}
	}
	if total != 19 {
		t.Errorf("%d deliveries of 19", total)
	}
	var long []loadtest.Beat
	for s := range 1000 {
		long = append(long, loadtest.Beat{Second: s, Phase: 2, NS: ms, N: 1})
	}
	if h, err = loadtest.Heatmap(long); err != nil || len(h.T) > 240 || h.Step != 5 {
		t.Errorf("%d columns of %v s, %v", len(h.T), h.Step, err)
	}
	if h, err = loadtest.Heatmap(nil); h != nil || err != nil {
		t.Errorf("of nothing: %+v, %v", h, err)
	}
}

func TestThinnedSeries(t *testing.T) {
	v := func(x float64) *float64 { return &x }
	s := &reports.Series{T: []float64{1, 2, 3, 4, 5}, Values: map[string][]*float64{
		"rate": {v(2), v(4), nil, v(8), nil}, "queue, longest": {v(2), v(4), nil, v(8), nil},
	}}
	loadtest.Thinned(s, 5)
	if len(s.T) != 5 {
		t.Fatalf("%d points", len(s.T))
	}
	loadtest.Thinned(s, 3)
	rate, longest := s.Values["rate"], s.Values["queue, longest"]
	if !slices.Equal(s.T, []float64{1, 3, 5}) || *rate[0] != 3 || *rate[1] != 8 || rate[2] != nil || *longest[0] != 4 || *longest[1] != 8 || longest[2] != nil {
		t.Errorf("at %v: %v, %v", s.T, rate, longest)
	}
}

// Over real processes every stage is there, the means add up, the servers' series stand
// beside the samples of their processes, and the heatmap holds every delivery.
func TestBudgetOverProcesses(t *testing.T) {
	t.Parallel()
	s := tiny(t)
	s.Topology.Gateways = 2
	o, mark := options(t, plan(t, s, loadtest.Firetower))
	r, _ := carryOut(t.Context(), t, o, mark)
	everythingArrived(t, r)
	found := map[string]reports.Stage{}
	sum := 0.0
	for _, stage := range r.Budget {
		found[stage.Name] = stage
		sum += stage.Mean
	}
	if r.Delivery.Mean == nil || math.Abs(sum-*r.Delivery.Mean) > 1e-6 {
		t.Errorf("the means add up to %v of %v", sum, r.Delivery.Mean)
	}
	for _, name := range []string{"central wait", "bucket wait", "fan-out"} {
		if got := found[name]; got.Count != r.Received || got.P50 == nil || got.P99 == nil || got.Mean < 0 {
			t.Errorf("%s counts %d deliveries of %d: %+v", name, got.Count, r.Received, got)
		}
	}
	for _, name := range []string{"manager", "link"} {
		if got := found[name]; got.Count != 2*r.Messages || got.Mean <= 0 {
			t.Errorf("%s counts %d of %d messages to 2 gateways: %+v", name, got.Count, r.Messages, got)
		}
	}
	for _, name := range []string{"publish lag", "network and reader"} {
		if _, ok := found[name]; !ok {
			t.Errorf("no %s in %v", name, found)
		}
	}
	if r.Series == nil || len(r.Series.T) == 0 {
		t.Fatal("no series of the servers")
	}
	for _, name := range []string{"gateway goroutines", "gateway-1 connections", "gateway deliveries/s", "gateway bucket queue, longest", "manager link queue", "manager heap in use, bytes", "gateway context switches/s"} {
		if n := len(r.Series.Values[name]); n != len(r.Series.T) {
			t.Errorf("%q has %d values of %d", name, n, len(r.Series.T))
		}
	}
	deliveries := int64(0)
	for _, column := range r.Heatmap.Counts {
		for _, n := range column {
			deliveries += n
		}
	}
	warm := int64(0)
	for _, p := range r.Phases {
		if p.Name == "warmup" {
			warm = p.Ledger.Received
		}
	}
	if deliveries != r.Received+warm {
		t.Errorf("%d deliveries in the heatmap of %d", deliveries, r.Received+warm)
	}
}
