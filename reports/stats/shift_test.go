package stats_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"firetower/reports/stats"
)

func TestPairedShiftAgreesWithHollanderAndWolfe(t *testing.T) {
	t.Parallel()
	// Section 3.2 and 3.3: the estimate is -0.46, and the interval of 96.1 % reaches from
	// -0.786 to -0.010.
	got := stats.PairedShift(minus(second, first), 0.96)
	near(t, "estimate", got.Value, -0.46, 0.0005)
	near(t, "low", got.Low, -0.786, 0.0005)
	near(t, "high", got.High, -0.010, 0.0005)
	near(t, "confidence", got.Confidence, 0.961, 0.0005)
}

// An exact interval holds exactly those shifts that the exact test does not reject.
func TestIntervalsAreTestsTurnedRound(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 3))
	for range 40 {
		var base, next []float64
		for range 4 + r.IntN(4) {
			base = append(base, r.NormFloat64())
		}
		for range 4 + r.IntN(4) {
			next = append(next, r.NormFloat64()+1)
		}
		e := stats.Shift(base, next, 0.95)
		p := func(shift float64) float64 {
			moved := slices.Clone(next)
			for i := range moved {
				moved[i] -= shift
			}
			_, p := bruteRankSum(base, moved)
			return p
		}
		const step = 1e-9
		if p(e.Low+step) <= 0.05 || p(e.Low-step) > 0.05 || p(e.High-step) <= 0.05 || p(e.High+step) > 0.05 {
			t.Fatalf("%v to %v: p inside %v and %v, outside %v and %v", e.Low, e.High, p(e.Low+step), p(e.High-step), p(e.Low-step), p(e.High+step))
		}
		d := next[:4]
		for len(d) < 8 {
			d = append(d, r.NormFloat64()+1)
		}
		w := stats.PairedShift(d, 0.95)
		q := func(shift float64) float64 {
			moved := slices.Clone(d)
			for i := range moved {
				moved[i] -= shift
			}
			_, p := bruteSignedRank(moved)
			return p
		}
		if q(w.Low+step) <= 0.05 || q(w.Low-step) > 0.05 || q(w.High-step) <= 0.05 || q(w.High+step) > 0.05 {
			t.Fatalf("paired, %v to %v", w.Low, w.High)
		}
	}
}

func TestIntervalsOfFewRuns(t *testing.T) {
	t.Parallel()
	// 2 / C(2n, n) is missed by the widest interval there is.
	for _, tt := range []struct {
		name       string
		n          int
		confidence float64
		bounded    bool
	}{
		{"one run", 1, 0, false},
		{"two runs", 2, 1 - 2.0/6, false},
		{"three runs", 3, 0.9, false},
		{"four runs", 4, 1 - 2.0/70, true},
		// The next order statistics already: 2 * (1 + 1 + 2) / 252 is missed.
		{"five runs", 5, 1 - 8.0/252, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var base, next []float64
			for i := range tt.n {
				base, next = append(base, float64(i)), append(next, 100+1.7*float64(i))
			}
			e := stats.Shift(base, next, 0.95)
			near(t, "confidence", e.Confidence, tt.confidence, 1e-12)
			if e.Bounded != tt.bounded || e.Low > e.Value || e.High < e.Value {
				t.Errorf("%+v", e)
			}
		})
	}
}

// Intervals cover as often as they say, on both sides of the exact limit.
func TestIntervalsCover(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 4))
	for _, n := range []int{5, 10, 30} {
		const rounds = 2000
		shift, paired, stated := 0, 0, 0.0
		for range rounds {
			var base, next, d []float64
			for range n {
				base, next = append(base, r.ExpFloat64()), append(next, 3+r.ExpFloat64())
				d = append(d, 3+r.NormFloat64())
			}
			e := stats.Shift(base, next, 0.95)
			stated = e.Confidence
			if e.Low <= 3 && 3 <= e.High {
				shift++
			}
			if e := stats.PairedShift(d, 0.9); e.Low <= 3 && 3 <= e.High {
				paired++
			}
		}
		// Three standard errors of a share of 2,000 are 0.015.
		near(t, "coverage of the shift", float64(shift)/rounds, stated, 0.015)
		if got := float64(paired) / rounds; got < 0.9-0.02 || got > 0.97 {
			t.Errorf("%d pairs: covered in %v, asked for 0.9", n, got)
		}
	}
}

func TestRatio(t *testing.T) {
	t.Parallel()
	base, next := []float64{10, 11, 12, 13, 14}, []float64{20, 22, 24, 26, 28}
	e, err := stats.Ratio(base, next, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "ratio", e.Value, 2, 1e-12)
	p, err := stats.PairedRatio(base, next, 0.9)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "paired ratio", p.Value, 2, 1e-12)
	near(t, "low of pairs that agree", p.Low, 2, 1e-12)
	for name, bad := range map[string][]float64{"zero": {0, 1, 1, 1, 1}, "negative": {-1, 1, 1, 1, 1}, "not a number": {math.NaN(), 1, 1, 1, 1}, "infinite": {math.Inf(1), 1, 1, 1, 1}} {
		if _, err := stats.Ratio(bad, next, 0.95); !errors.Is(err, stats.ErrValues) {
			t.Errorf("%s gave %v", name, err)
		}
	}
	if _, err := stats.PairedRatio(base, next[:4], 0.95); !errors.Is(err, stats.ErrValues) {
		t.Errorf("five and four gave %v", err)
	}
}
