package stats_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"firetower/reports/stats"
)

// latencies is a run's histogram: n log-normal values around a level in steps of 1 %.
func latencies(r *rand.Rand, n int, level, spread float64) stats.Histogram {
	counts := map[int]int64{}
	low, high := math.MaxInt, math.MinInt
	for range n {
		step := int(math.Round(math.Log(level*math.Exp(spread*r.NormFloat64())) / math.Log(1.01)))
		counts[step]++
		low, high = min(low, step), max(high, step)
	}
	var h stats.Histogram
	for step := low; step <= high; step++ {
		if counts[step] > 0 {
			h = append(h, stats.Bin{Value: math.Pow(1.01, float64(step)), Count: counts[step]})
		}
	}
	return h
}

func TestSupport(t *testing.T) {
	t.Parallel()
	// The greatest of n values exceeds the quantile unless all lie below: q^n <= 2.5 %.
	for q, want := range map[float64]int64{0.5: 6, 0.9: 36, 0.95: 72, 0.99: 368, 0.999: 3688} {
		got := stats.Support(q, 0.95)
		if got != want || math.Pow(q, float64(got)) > 0.025 || math.Pow(q, float64(got-1)) <= 0.025 {
			t.Errorf("%v needs %d values, want %d", q, got, want)
		}
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	h := stats.Histogram{{Value: 1, Count: 90}, {Value: 2, Count: 9}, {Value: 5, Count: 1}}
	for q, want := range map[float64]float64{0.5: 1, 0.9: 1, 0.91: 2, 0.99: 2, 0.999: 5, 1: 5} {
		near(t, "quantile", h.Quantile(q), want, 0)
	}
	if q := (stats.Histogram{}).Quantile(0.5); !math.IsNaN(q) {
		t.Errorf("of nothing it is %v", q)
	}
}

func TestQuantileRatiosSeeTheTailAlone(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(8, 8))
	var base, next []stats.Histogram
	for range 8 {
		base = append(base, latencies(r, 20000, 10, 0.3))
		next = append(next, append(latencies(r, 19600, 10, 0.3), latencies(r, 400, 200, 0.05)...))
	}
	curve := stats.RatioCurve()
	got, err := stats.QuantileRatios(base, next, curve, stats.DefaultBootstrap())
	if err != nil {
		t.Fatal(err)
	}
	for i, q := range curve {
		e := got[i]
		switch {
		case q <= 0.9 && (e.Low > 1.05 || e.High < 0.99):
			t.Errorf("p%v, which has not moved, is %+v", 100*q, e)
		case q >= 0.99 && e.Low < 5:
			t.Errorf("p%v, which is ten times as long, is %+v", 100*q, e)
		}
		if e.Low > e.Value || e.High < e.Value {
			t.Errorf("p%v lies outside of its band: %+v", 100*q, e)
		}
	}
	again, err := stats.QuantileRatios(base, next, curve, stats.DefaultBootstrap())
	if err != nil || again[3] != got[3] {
		t.Errorf("the same seed gave %+v and %+v (%v)", got[3], again[3], err)
	}
}

// Whole runs are what is resampled: runs that settle at levels of their own give a
// wide band, however many deliveries each has.
func TestQuantileRatiosResampleRuns(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 9))
	covered := 0
	const rounds = 200
	for range rounds {
		var base, next []stats.Histogram
		for range 10 {
			base = append(base, latencies(r, 400, 10*math.Exp(0.1*r.NormFloat64()), 0.02))
			next = append(next, latencies(r, 400, 10*math.Exp(0.1*r.NormFloat64()), 0.02))
		}
		e, err := stats.QuantileRatios(base, next, []float64{0.5}, stats.Bootstrap{Draws: 400, Confidence: 0.95, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if e[0].Low <= 1 && 1 <= e[0].High {
			covered++
		}
	}
	// Too narrow by nature with ten runs; resampling deliveries would cover hardly ever.
	if share := float64(covered) / rounds; share < 0.85 {
		t.Errorf("covers in %.0f %%", 100*share)
	}
}

func TestBlockQuantile(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(10, 10))
	var steady, stalled []stats.Histogram
	for s := range 60 {
		h := latencies(r, 2000, 10, 0.2)
		steady = append(steady, h)
		if s >= 30 && s < 33 {
			h = latencies(r, 2000, 100, 0.2)
		}
		stalled = append(stalled, h)
	}
	solid, err := stats.BlockQuantile(steady, 5, 0.99, stats.DefaultBootstrap())
	if err != nil {
		t.Fatal(err)
	}
	if solid.Low > solid.Value || solid.High < solid.Value || solid.High/solid.Low > 1.1 {
		t.Errorf("the p99 of a steady run is %+v", solid)
	}
	shaky, err := stats.BlockQuantile(stalled, 5, 0.99, stats.DefaultBootstrap())
	if err != nil {
		t.Fatal(err)
	}
	if shaky.Low > 25 || shaky.High < 100 {
		t.Errorf("the p99 that hangs on one stall is %+v", shaky)
	}
}

func TestTooLittleToResample(t *testing.T) {
	t.Parallel()
	h := stats.Histogram{{Value: 1, Count: 1}}
	o := stats.DefaultBootstrap()
	if _, err := stats.QuantileRatios(nil, []stats.Histogram{h}, []float64{0.5}, o); !errors.Is(err, stats.ErrBootstrap) {
		t.Errorf("no run gave %v", err)
	}
	if _, err := stats.QuantileRatios([]stats.Histogram{h}, []stats.Histogram{h}, []float64{0.9, 0.5}, o); !errors.Is(err, stats.ErrBootstrap) {
		t.Errorf("falling quantiles gave %v", err)
	}
	if _, err := stats.BlockQuantile([]stats.Histogram{h, h, h}, 2, 0.99, o); !errors.Is(err, stats.ErrBootstrap) {
		t.Errorf("three intervals in blocks of two gave %v", err)
	}
}
