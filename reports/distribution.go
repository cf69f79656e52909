package reports

import (
	"fmt"
	"math"
	"time"

	"firetower/reports/stats"
	"firetower/simulator/latency"
)

// Distribution is the summary of a histogram, in milliseconds. A percentile that
// the count cannot support is null, and Suppressed says why.
type Distribution struct {
	Unit  string   `json:"unit"`
	Count int64    `json:"count"`
	Min   *float64 `json:"min"`
	Mean  *float64 `json:"mean"`
	P50   *float64 `json:"p50"`
	P90   *float64 `json:"p90"`
	P95   *float64 `json:"p95"`
	P99   *float64 `json:"p99"`
	P999  *float64 `json:"p99.9"`
	Max   *float64 `json:"max"`
	// Suppressed maps a percentile to the reason for its absence.
	Suppressed map[string]string `json:"suppressed,omitempty"`
}

// Point is a percentile that distributions report.
type Point struct {
	Name string
	P    float64 // per cent
}

// Points are the percentiles that distributions report, rising.
func Points() []Point {
	return []Point{{"p50", 50}, {"p90", 90}, {"p95", 95}, {"p99", 99}, {"p99.9", 99.9}}
}

// Support is how many independent values the percentile p (per cent) needs for
// an upper bound to exist at two-sided 95 % confidence: the least n with
// (p/100)^n <= 0.025, from the order statistics of a sample. p50 needs 6, p90 36,
// p95 72, p99 368 and p99.9 3,688.
func Support(p float64) int64 { return stats.Support(p/100, 0.95) }

// Millis converts nanoseconds to milliseconds, rounded to a microsecond, which is
// what the histograms can tell apart.
func Millis(ns int64) float64 { return math.Round(float64(ns)/1e3) / 1e3 }

// MillisOf converts a duration as Millis does.
func MillisOf(d time.Duration) float64 { return Millis(int64(d)) }

// Summarise makes the distribution of a recorder; a nil recorder is an empty one.
func Summarise(r *latency.Recorder) Distribution {
	d := Distribution{Unit: "ms"}
	if r == nil || r.Count() == 0 {
		return d
	}
	d.Count = r.Count()
	d.Min = ptr(Millis(r.Min()))
	d.Mean = ptr(Millis(int64(math.Round(r.Mean()))))
	d.Max = ptr(Millis(r.Max()))
	for _, p := range Points() {
		why := ""
		if need := Support(p.P); d.Count < need {
			why = fmt.Sprintf("needs %d values, has %d", need, d.Count)
		} else if float64(d.Count-r.Overflow()) < p.P/100*float64(d.Count) {
			why = fmt.Sprintf("is above %v, where the histogram ends", time.Duration(latency.Highest))
		}
		if why == "" {
			*d.slot(p.Name) = ptr(Millis(r.Percentile(p.P)))
			continue
		}
		if d.Suppressed == nil {
			d.Suppressed = map[string]string{}
		}
		d.Suppressed[p.Name] = why
	}
	return d
}

// slot is the field of a point by name.
func (d *Distribution) slot(name string) **float64 {
	switch name {
	case "min":
		return &d.Min
	case "mean":
		return &d.Mean
	case "p50":
		return &d.P50
	case "p90":
		return &d.P90
	case "p95":
		return &d.P95
	case "p99":
		return &d.P99
	case "p99.9":
		return &d.P999
	case "max":
		return &d.Max
	default:
		return nil
	}
}

// Get is the value of a point by name ("min", "p99.9", ...); when there is none,
// reason says why.
func (d Distribution) Get(name string) (value float64, reason string) {
	slot := d.slot(name)
	switch {
	case slot == nil:
		return 0, fmt.Sprintf("a distribution has no %q", name)
	case *slot != nil:
		return **slot, ""
	case d.Suppressed[name] != "":
		return 0, d.Suppressed[name]
	default:
		return 0, "nothing was recorded"
	}
}

func ptr[T any](v T) *T { return &v }
