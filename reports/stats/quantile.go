package stats

import (
	"math"
	"slices"
)

// Support is how many independent values a quantile needs, so that an upper bound of
// it exists at the given two-sided confidence: the least n with
// q^n <= (1-confidence)/2, since the greatest of n values lies below the quantile with
// probability q^n. At 0.95 the median needs 6, p90 36, p95 72, p99 368 and p99.9 3,688.
func Support(q, confidence float64) int64 {
	switch {
	case q <= 0:
		return 1
	case q >= 1:
		return math.MaxInt64
	}
	return int64(math.Ceil(math.Log((1-confidence)/2) / math.Log(q)))
}

// Bin is a value of a histogram and how often it was seen.
type Bin struct {
	Value float64
	Count int64
}

// Histogram are bins in rising order of value.
type Histogram []Bin

// Quantile is the least value that at least the share q of the counts do not exceed;
// NaN of an empty histogram.
func (h Histogram) Quantile(q float64) float64 {
	var all int64
	for _, b := range h {
		all += b.Count
	}
	need, seen := wanted(q, all), int64(0)
	for _, b := range h {
		if seen += b.Count; b.Count > 0 && seen >= need {
			return b.Value
		}
	}
	return math.NaN()
}

func wanted(q float64, all int64) int64 {
	return max(int64(math.Ceil(q*float64(all)-1e-9)), 1)
}

// grid lays several histograms over one set of values, so that a sum of them is a sum
// of columns.
type grid struct {
	values []float64
	counts [][]int64 // by histogram, then value
	sum    []int64   // scratch
}

func newGrid(hs []Histogram) *grid {
	g := &grid{counts: make([][]int64, len(hs))}
	for _, h := range hs {
		for _, b := range h {
			g.values = append(g.values, b.Value)
		}
	}
	slices.Sort(g.values)
	g.values = slices.Compact(g.values)
	g.sum = make([]int64, len(g.values))
	for i, h := range hs {
		g.counts[i] = make([]int64, len(g.values))
		at := 0
		for _, b := range h {
			for g.values[at] != b.Value {
				at++
			}
			g.counts[i][at] += b.Count
		}
	}
	return g
}

// quantiles writes into out the quantiles, rising, of the histograms added up as
// often as times says.
func (g *grid) quantiles(times []int, quantiles, out []float64) {
	clear(g.sum)
	var all int64
	for i, t := range times {
		if t == 0 {
			continue
		}
		for j, c := range g.counts[i] {
			c *= int64(t)
			g.sum[j] += c
			all += c
		}
	}
	seen, at := int64(0), 0
	for i, q := range quantiles {
		out[i] = math.NaN()
		if all == 0 {
			continue
		}
		need := wanted(q, all)
		for at < len(g.sum) && seen+g.sum[at] < need {
			seen += g.sum[at]
			at++
		}
		if at < len(g.sum) {
			out[i] = g.values[at]
		}
	}
}
