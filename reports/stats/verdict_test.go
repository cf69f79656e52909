package stats_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"firetower/reports/stats"
)

// runs are n figures around a level, with noise that is normal on logarithms.
func runs(r *rand.Rand, n int, level, spread float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = level * math.Exp(spread*r.NormFloat64())
	}
	return out
}

func TestDecide(t *testing.T) {
	t.Parallel()
	ten := []float64{10, 10.1, 10.2, 9.9, 9.8}
	times := func(f float64) []float64 {
		out := make([]float64, len(ten))
		for i := range ten {
			out[i] = ten[i] * f
		}
		return out
	}
	for _, tt := range []struct {
		name   string
		q      stats.Question
		want   stats.Verdict
		reason string
	}{
		{"a fifth more", stats.Question{Base: ten, Next: times(1.2), Band: 0.05}, stats.Regressed, ""},
		{"a fifth less", stats.Question{Base: ten, Next: times(0.8), Band: 0.05}, stats.Improved, ""},
		{"a fifth more of what is good", stats.Question{Base: ten, Next: times(1.2), Band: 0.05, HigherIsBetter: true}, stats.Improved, ""},
		{"a fifth less of what is good", stats.Question{Base: ten, Next: times(0.8), Band: 0.05, HigherIsBetter: true}, stats.Regressed, ""},
		{"nothing", stats.Question{Base: ten, Next: ten, Band: 0.05}, stats.Same, ""},
		{"a change within the band", stats.Question{Base: ten, Next: times(1.01), Band: 0.05}, stats.Same, ""},
		{"a change at the band's edge", stats.Question{Base: ten, Next: times(1.05), Band: 0.05}, stats.Inconclusive, "reaches over the edge of the ±5 % band"},
		{"single runs", stats.Question{Base: ten[:1], Next: times(2)[:1], Band: 0.05}, stats.Inconclusive, "1 and 1 runs have no interval of 95 %"},
		{"three runs", stats.Question{Base: ten[:3], Next: times(2)[:3], Band: 0.05}, stats.Inconclusive, "3 and 3 runs have no interval"},
		{"no runs", stats.Question{Next: ten, Band: 0.05}, stats.Inconclusive, "a side has no value"},
		{"a zero", stats.Question{Base: []float64{0}, Next: ten, Band: 0.05}, stats.Inconclusive, "not a positive number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := stats.Decide([]stats.Question{tt.q}, 0.05)[0]
			if a.Verdict != tt.want || !strings.Contains(a.Reason, tt.reason) || (tt.reason == "") != (a.Reason == "") {
				t.Errorf("%+v", a)
			}
		})
	}
}

// Six figures of five runs a side can be decided, seven cannot: 7 * 2/252 > 0.05.
func TestFamilyIsPaidFor(t *testing.T) {
	t.Parallel()
	q := stats.Question{Base: []float64{1, 2, 3, 4, 5}, Next: []float64{10, 20, 30, 40, 50}, Band: 0.05}
	for family, want := range map[int]stats.Verdict{1: stats.Regressed, 6: stats.Regressed, 7: stats.Inconclusive} {
		var qs []stats.Question
		for range family {
			qs = append(qs, q)
		}
		a := stats.Decide(qs, 0.05)[0]
		if a.Verdict != want {
			t.Errorf("of %d figures: %+v", family, a)
		}
		if want == stats.Inconclusive && (a.Runs != 6 || !strings.Contains(a.Reason, "over all 7 figures")) {
			t.Errorf("asks for %d runs: %s", a.Runs, a.Reason)
		}
	}
	if n := stats.MinRuns(0.05); n != 4 {
		t.Errorf("0.05 needs %d runs", n)
	}
	if n := stats.MinPairs(0.05); n != 6 {
		t.Errorf("0.05 needs %d pairs", n)
	}
}

// A machine that drifts from block to block by far more than the change: pairs see
// through it, and what is too few for pairs is answered without them.
func TestPairsSeeThroughDrift(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 5))
	var base, next []float64
	for block := range 8 {
		level := 10 * math.Exp(0.5*float64(block))
		base = append(base, runs(r, 1, level, 0.01)...)
		next = append(next, runs(r, 1, level*1.2, 0.01)...)
	}
	a := stats.Decide([]stats.Question{{Base: base, Next: next, Band: 0.05, Paired: true}}, 0.05)[0]
	if a.Verdict != stats.Regressed || a.Test != "signed rank" {
		t.Errorf("paired: %+v", a)
	}
	a = stats.Decide([]stats.Question{{Base: base, Next: next, Band: 0.05}}, 0.05)[0]
	if a.Verdict != stats.Inconclusive || a.Runs <= 8 {
		t.Errorf("not paired: %+v", a)
	}
	a = stats.Decide([]stats.Question{{Base: base[:5], Next: next[:5], Band: 0.05, Paired: true}}, 0.05)[0]
	if a.Test != "Mann-Whitney" {
		t.Errorf("five pairs, which cannot reach 5 %%, were tested by %s", a.Test)
	}
}

func TestOverall(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		of   []stats.Verdict
		want stats.Verdict
	}{
		{"one regression is enough", []stats.Verdict{stats.Same, stats.Improved, stats.Regressed}, stats.Regressed},
		{"an improvement", []stats.Verdict{stats.Inconclusive, stats.Improved}, stats.Improved},
		{"all the same", []stats.Verdict{stats.Same, stats.Same}, stats.Same},
		{"one open", []stats.Verdict{stats.Same, stats.Inconclusive}, stats.Inconclusive},
		{"nothing", nil, stats.Inconclusive},
	} {
		if got := stats.Overall(tt.of); got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

// The promise of every comparison: when nothing has changed, at most one in twenty
// calls a change in any of its six figures.
func TestNoDifferenceGivesAtMostTheStatedFalseAlarms(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		n      int
		paired bool
		band   float64
	}{
		{"five runs", 5, false, 0.05},
		{"ten runs", 10, false, 0.03},
		{"ten runs and no band", 10, false, 0},
		{"ten blocks and no band", 10, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(6, uint64(tt.n)))
			const rounds = 2000
			alarms := 0
			for range rounds {
				qs := make([]stats.Question, 6)
				for i := range qs {
					qs[i] = stats.Question{Base: runs(r, tt.n, 10, 0.1), Next: runs(r, tt.n, 10, 0.1), Band: tt.band, Paired: tt.paired}
				}
				for _, a := range stats.Decide(qs, 0.05) {
					if a.Verdict == stats.Regressed || a.Verdict == stats.Improved {
						alarms++
						break
					}
				}
			}
			// Three standard errors of 5 % of 2,000 are 1.5 %.
			if share := float64(alarms) / rounds; share > 0.05+0.015 {
				t.Errorf("%.2f %% false alarms", 100*share)
			}
		})
	}
}

// The promise of RunsNeeded: with that many runs, a planted change of 10 % is found
// with the stated power, and one of nothing is called the same.
func TestPlantedRegressionIsFoundAtTheStatedPower(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		ratio, band  float64
		spread       float64
		family       int
		want         stats.Verdict
		paired, high bool
	}{
		{name: "latency", ratio: 1.1, band: 0.05, spread: 0.04, family: 1, want: stats.Regressed},
		{name: "CPU in a family of six", ratio: 1.1, band: 0.03, spread: 0.05, family: 6, want: stats.Regressed},
		{name: "throughput", ratio: 1 / 1.1, band: 0.05, spread: 0.03, family: 3, want: stats.Regressed, high: true},
		{name: "paired blocks", ratio: 1.1, band: 0.05, spread: 0.04, family: 1, want: stats.Regressed, paired: true},
		{name: "no change", ratio: 1, band: 0.05, spread: 0.04, family: 1, want: stats.Same},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := stats.RunsNeeded(stats.Plan{Ratio: tt.ratio, Spread: tt.spread, Band: tt.band, Alpha: 0.05, Family: tt.family, Power: 0.8})
			r := rand.New(rand.NewPCG(7, 7))
			const rounds = 1000
			found := 0
			for range rounds {
				qs := make([]stats.Question, tt.family)
				for i := range qs {
					ratio := 1.0
					if i == 0 {
						ratio = tt.ratio
					}
					qs[i] = stats.Question{Base: runs(r, n, 10, tt.spread), Next: runs(r, n, 10*ratio, tt.spread), Band: tt.band, Paired: tt.paired, HigherIsBetter: tt.high}
				}
				if stats.Decide(qs, 0.05)[0].Verdict == tt.want {
					found++
				}
			}
			// Three standard errors of 80 % of 1,000 are 3.8 %.
			share := float64(found) / rounds
			if share < 0.8-0.038 {
				t.Errorf("%d runs found it in %.1f %%", n, 100*share)
			}
			t.Logf("%d runs a side: %s in %.1f %%", n, tt.want, 100*share)
		})
	}
}

func TestRunsNeeded(t *testing.T) {
	t.Parallel()
	p := stats.Plan{Ratio: 1.1, Spread: 0.04, Band: 0.05, Alpha: 0.05, Family: 1, Power: 0.8}
	few := stats.RunsNeeded(p)
	more := p
	more.Spread = 0.08
	if n := stats.RunsNeeded(more); n < 3*few {
		t.Errorf("twice the spread needs %d, once needs %d", n, few)
	}
	edge := p
	edge.Ratio = 1.05
	if n := stats.RunsNeeded(edge); n != stats.MostRuns {
		t.Errorf("at the edge of the band %d would do", n)
	}
	still := p
	still.Spread = 0
	if n := stats.RunsNeeded(still); n != 4 {
		t.Errorf("without noise it needs %d", n)
	}
}
