package loadtest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"firetower/reports"
)

// The metrics in which servers tell of their stages.
const (
	managerStages = "firetower_manager_stage_seconds"
	gatewayStages = "firetower_gateway_stage_seconds"
)

// A budget is where the mean time of a delivery went. What the publishers were late is
// exact; what the servers tell of themselves is taken off; the rest is what nobody
// measured by itself. A stage's mean is over deliveries: a message takes the same way
// through manager and link for each of its deliveries at a gateway, and what only some
// deliveries pass counts for the others as nothing.

// histogram is a Prometheus histogram as it grew between two scrapes.
type histogram struct {
	edges  []float64 // upper, rising, in seconds; the last is infinite
	counts []float64 // of each bucket alone
	count  float64
	sum    float64 // seconds
}

// grownHistogram is how much a histogram grew over all servers that tell of it. A
// server that was started again in between counts from its start.
func grownHistogram(from, to scrapes, name, stage string) histogram {
	var h histogram
	cumulative := map[float64]float64{}
	for i, now := range to {
		var before counterSet
		if i < len(from) {
			before = from[i]
		}
		labels := `{stage="` + stage + `"}`
		if now[name+"_count"+labels] < before[name+"_count"+labels] {
			before = nil
		}
		h.count += now[name+"_count"+labels] - before[name+"_count"+labels]
		h.sum += now[name+"_sum"+labels] - before[name+"_sum"+labels]
		for key, v := range now {
			rest, ok := strings.CutPrefix(key, name+"_bucket")
			if !ok || labelValue(rest, "stage") != stage {
				continue
			}
			edge, err := strconv.ParseFloat(labelValue(rest, "le"), 64) // "+Inf" is one
			if err == nil {
				cumulative[edge] += v - before[key]
			}
		}
	}
	for edge := range cumulative {
		h.edges = append(h.edges, edge)
	}
	slices.SortFunc(h.edges, cmp.Compare[float64])
	last := 0.0
	for _, edge := range h.edges {
		h.counts = append(h.counts, cumulative[edge]-last)
		last = cumulative[edge]
	}
	return h
}

// quantile is the value, in seconds, below which the share q of a histogram lies,
// taking the values of a bucket as evenly spaced.
func (h histogram) quantile(q float64) (float64, bool) {
	total := 0.0
	for _, n := range h.counts {
		total += n
	}
	if total <= 0 {
		return 0, false
	}
	need, seen, lower := q*total, 0.0, 0.0
	for i, n := range h.counts {
		if n > 0 && seen+n >= need {
			if math.IsInf(h.edges[i], 1) {
				return lower, true
			}
			return lower + (h.edges[i]-lower)*(need-seen)/n, true
		}
		seen += n
		if !math.IsInf(h.edges[i], 1) {
			lower = h.edges[i]
		}
	}
	return lower, true
}

// stageOf is a stage that servers measured, with its mean over so many deliveries; 0
// takes those that it counts itself.
func stageOf(name, note string, h histogram, deliveries float64) reports.Stage {
	s := reports.Stage{Name: name, Note: note, Source: "servers", Count: int64(h.count)}
	if deliveries == 0 {
		deliveries = h.count
	}
	if deliveries > 0 {
		s.Mean = millis(h.sum / deliveries)
	}
	if v, ok := h.quantile(0.50); ok {
		s.P50 = pointer(millis(v))
	}
	// As few values as these have no p99 (see reports.Support).
	if v, ok := h.quantile(0.99); ok && int64(h.count) >= reports.Support(99) {
		s.P99 = pointer(millis(v))
	}
	return s
}

// millis converts seconds, and rounds to a microsecond.
func millis(seconds float64) float64 { return math.Round(seconds*1e6) / 1e3 }

func pointer[T any](v T) *T { return &v }

// budget works out where the mean time of the deliveries went, from what the servers
// counted in the measured phase. It is nil when nothing was delivered.
func budget(res *reports.Result, from, to scrapes) []reports.Stage {
	whole, sent := res.Delivery.Mean, res.DeliveryActual.Mean
	if whole == nil || sent == nil {
		return nil
	}
	stages := []reports.Stage{{
		Name: "publish lag", Source: "harness", Count: res.PublishLag.Count, Mean: roundMillis(*whole - *sent), P50: res.PublishLag.P50, P99: res.PublishLag.P99,
		Note: "from the intended to the actual send; the percentiles are over messages",
	}}
	fanout := grownHistogram(from, to, gatewayStages, "fanout")
	restName, restNote := "network and reader", "what is left: gRPC, both ends of the links, the clients' sockets and their reading"
	if fanout.count > 0 {
		manager := func(stage string) histogram { return grownHistogram(from, to, managerStages, stage) }
		gateway := func(stage string) histogram { return grownHistogram(from, to, gatewayStages, stage) }
		stages = append(stages,
			stageOf("manager", "from a message's arrival until it was queued to the links; over messages and gateways", manager("route"), 0),
			stageOf("link", "from there until it was written to the gateway's socket; over messages and gateways", manager("link"), 0),
			stageOf("central wait", "from its arrival at the gateway until it was handed to the buckets", gateway("central"), 0),
			stageOf("bucket wait", "from there until the bucket's consumer began with its topic", gateway("bucket"), 0),
			stageOf("fan-out", "from there until the one client was written to", fanout, 0),
		)
		if backlog := gateway("backlog"); backlog.count > 0 {
			stages = append(stages, stageOf("backlog", "until a socket had taken what it did not at once; percentiles over the deliveries that waited", backlog, fanout.count))
		}
	} else {
		restName, restNote = "server, network and reader", "what is left: this server tells nothing of its stages"
	}
	rest := *whole
	for _, s := range stages {
		rest -= s.Mean
	}
	return append(stages, reports.Stage{Name: restName, Note: restNote, Source: "rest", Count: res.Delivery.Count, Mean: roundMillis(rest)})
}

func roundMillis(v float64) float64 { return math.Round(v*1e3) / 1e3 }

// budgetCheck says whether the stages that servers told of fit into what the clients saw.
func (e evidence) budgetCheck() reports.Check {
	c := reports.Check{Name: "latency budget", Status: reports.CheckSkipped, Value: "none", Limit: "noted below 0", Note: "mean time of a delivery that is in no stage; below 0 the stages are of other deliveries than the clients counted"}
	for _, s := range e.result.Budget {
		if s.Source == "rest" {
			c.Status = when(s.Mean < 0, reports.CheckNote)
			c.Value = fmt.Sprintf("%.3f ms of %.3f ms", s.Mean, *e.result.Delivery.Mean)
			if n := len(e.result.BudgetGaps); n > 0 {
				c.Value += ", " + plural(n, "gap")
			}
		}
	}
	return c
}
