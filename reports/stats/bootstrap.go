package stats

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// ErrBootstrap says that there is too little to resample.
var ErrBootstrap = errors.New("too little to resample")

// Bootstrap is how to resample. The same seed gives the same result.
type Bootstrap struct {
	// Draws is how many resamples are made; 2,000 settle the ends of a 95 % interval
	// well enough to draw.
	Draws      int
	Confidence float64
	Seed       uint64
}

// DefaultBootstrap is 2,000 draws at 95 %.
func DefaultBootstrap() Bootstrap { return Bootstrap{Draws: 2000, Confidence: 0.95, Seed: 1} }

// MinBandRuns is how many runs a side QuantileRatios needs for bands that are worth
// showing. Fewer runs have too few resamples that differ (5 runs: 126), and bands
// that are too narrow.
const MinBandRuns = 6

// RatioCurve are the quantiles at which the tails of two distributions are compared.
func RatioCurve() []float64 {
	return []float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999}
}

// QuantileRatios compares two sets of runs quantile by quantile, rising: the quantile
// of all runs of next merged, divided by that of base, with a band from resampling
// whole runs of each side with replacement (cluster bootstrap). Each quantile has a
// band of its own; together they are no test, and with few runs a band is too narrow:
// it is a picture of what moved, not a verdict.
func QuantileRatios(base, next []Histogram, quantiles []float64, o Bootstrap) ([]Estimate, error) {
	if len(base) == 0 || len(next) == 0 {
		return nil, fmt.Errorf("%w: a side has no run", ErrBootstrap)
	}
	if !slices.IsSorted(quantiles) {
		return nil, fmt.Errorf("%w: the quantiles are not in rising order", ErrBootstrap)
	}
	grids := []*grid{newGrid(base), newGrid(next)}
	values := [][]float64{make([]float64, len(quantiles)), make([]float64, len(quantiles))}
	out := make([]Estimate, len(quantiles))
	for side, g := range grids {
		once := make([]int, len(g.counts))
		for i := range once {
			once[i] = 1
		}
		g.quantiles(once, quantiles, values[side])
	}
	for i := range out {
		out[i] = Estimate{Value: values[1][i] / values[0][i], Confidence: o.Confidence, Bounded: o.Draws > 0}
	}
	r := rand.New(rand.NewPCG(o.Seed, 0x636c7573)) // resampling that can be repeated, not a secret
	draws := make([][]float64, len(quantiles))
	for range o.Draws {
		for side, g := range grids {
			times := make([]int, len(g.counts))
			for range times {
				times[r.IntN(len(times))]++
			}
			g.quantiles(times, quantiles, values[side])
		}
		for i := range draws {
			draws[i] = append(draws[i], values[1][i]/values[0][i])
		}
	}
	for i := range out {
		out[i].Low, out[i].High = percentileInterval(draws[i], o.Confidence)
	}
	return out, nil
}

// BlockQuantile is a quantile of one run with an interval that knows this run alone:
// intervals are its histograms second by second, and blocks of so many seconds in a
// row are resampled (moving-block bootstrap), since neighbouring seconds share what
// slowed them. How the next run will differ it does not know; commonly by more.
func BlockQuantile(intervals []Histogram, block int, q float64, o Bootstrap) (Estimate, error) {
	n := len(intervals)
	if block < 1 || n < 2*block {
		return Estimate{}, fmt.Errorf("%w: %d intervals are less than two blocks of %d", ErrBootstrap, n, block)
	}
	g := newGrid(intervals)
	times := make([]int, n)
	for i := range times {
		times[i] = 1
	}
	value := []float64{0}
	g.quantiles(times, []float64{q}, value)
	e := Estimate{Value: value[0], Confidence: o.Confidence, Bounded: o.Draws > 0}
	r := rand.New(rand.NewPCG(o.Seed, 0x626c6f63)) // as above
	draws := make([]float64, o.Draws)
	for d := range draws {
		clear(times)
		for taken := 0; taken < n; {
			from := r.IntN(n - block + 1)
			for i := from; i < from+block && taken < n; i++ {
				times[i]++
				taken++
			}
		}
		g.quantiles(times, []float64{q}, value)
		draws[d] = value[0]
	}
	e.Low, e.High = percentileInterval(draws, o.Confidence)
	return e, nil
}

// percentileInterval is the middle share of some draws. Draws of nothing are left out.
func percentileInterval(draws []float64, confidence float64) (low, high float64) {
	s := slices.DeleteFunc(draws, math.IsNaN)
	if len(s) == 0 {
		return math.NaN(), math.NaN()
	}
	slices.Sort(s)
	cut := int((1 - confidence) / 2 * float64(len(s)))
	return s[cut], s[len(s)-1-cut]
}
