package loadtest

import (
	"context"
	"strings"
	"time"

	"firetower/reports"
	"firetower/simulator"
	"firetower/simulator/latency"
)

// scrapesOf reads texts of metrics; an empty one is of a server that did not answer.
func scrapesOf(texts []string) scrapes {
	var all scrapes
	for _, text := range texts {
		m := counterSet(nil)
		if text != "" {
			m = counterSet{}
			_ = m.read(strings.NewReader(text), ownMetric) // a reader that cannot fail
		}
		all = append(all, m)
	}
	return all
}

// GrownQuantile is a quantile, -1 for none, of what a stage's histogram grew by, and
// how many values that are.
func GrownQuantile(from, to []string, metric, stage string, q float64) (seconds, count float64) {
	h := grownHistogram(scrapesOf(from), scrapesOf(to), metric, stage)
	v, ok := h.quantile(q)
	if !ok {
		return -1, h.count
	}
	return v, h.count
}

// FillBudget is budget.
func FillBudget(r *reports.Result, from, to []string) {
	r.Budget = budget(r, scrapesOf(from), scrapesOf(to))
}

// Thinned is thinned.
var Thinned = thinned

// Beat is N deliveries of one latency in one second.
type Beat struct {
	Second int
	Phase  int
	NS, N  int64
}

// Heatmap is the heatmap of some deliveries.
func Heatmap(beats []Beat) (*reports.Heatmap, error) {
	var intervals []simulator.Interval
	for _, b := range beats {
		rec := latency.NewRecorder()
		rec.RecordN(b.NS, b.N)
		p, err := rec.Pack()
		if err != nil {
			return nil, err
		}
		intervals = append(intervals, simulator.Interval{StartNS: int64(b.Second) * int64(time.Second), Phase: simulator.Phase(b.Phase), Intended: p})
	}
	return new(run).heatmap(intervals)
}

// CeilingCheck is the check of a share of the generator's ceiling; 0 is no calibration.
func CeilingCheck(loop string, share float64, note string) reports.Check {
	e := evidence{result: &reports.Result{Loop: loop}, calibration: calibration{note: note}}
	if share > 0 {
		e.calibration.result = &reports.Calibration{DeliveriesPerSecond: 1000, Share: &share}
	}
	return e.ceilingCheck()
}

// Steady is steady.
var Steady = steady

// ScrapeSeries reads what the servers' series take of one server.
func ScrapeSeries(ctx context.Context, addr string) map[string]float64 {
	s := newSeriesScraper()
	defer s.close()
	return s.one(ctx, addr, seriesMetric)
}
