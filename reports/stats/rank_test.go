package stats_test

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"firetower/reports/stats"
)

// The two examples of R's documentation of wilcox.test, from Hollander and Wolfe
// (1973): permeability of the chorioamnion at term and earlier (p. 69), and the
// Hamilton depression scale at two visits (p. 29).
var (
	term   = []float64{0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46}
	early  = []float64{1.15, 0.88, 0.90, 0.74, 1.21}
	first  = []float64{1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30}
	second = []float64{0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29}
)

func minus(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] - b[i]
	}
	return out
}

// bruteRankSum counts every way to pick the second sample out of both.
func bruteRankSum(a, b []float64) (u, p float64) {
	all := slices.Concat(a, b)
	statistic := func(chosen uint) float64 {
		u := 0.0
		for i := range all {
			for j := range all {
				if chosen&(1<<i) == 0 || chosen&(1<<j) != 0 {
					continue
				}
				switch {
				case all[i] > all[j]:
					u++
				case all[i] == all[j]:
					u += 0.5
				}
			}
		}
		return u
	}
	observed := uint(1<<len(all)-1) &^ (1<<len(a) - 1)
	u = statistic(observed)
	below, above, ways := 0, 0, 0
	for chosen := range uint(1 << len(all)) {
		if bits.OnesCount(chosen) != len(b) {
			continue
		}
		ways++
		s := statistic(chosen)
		if s <= u {
			below++
		}
		if s >= u {
			above++
		}
	}
	return u, math.Min(1, 2*float64(min(below, above))/float64(ways))
}

// bruteSignedRank counts every choice of signs.
func bruteSignedRank(d []float64) (v, p float64) {
	d = slices.DeleteFunc(slices.Clone(d), func(x float64) bool { return x == 0 })
	rank := func(i int) float64 {
		r := 0.5
		for j := range d {
			switch {
			case math.Abs(d[j]) < math.Abs(d[i]):
				r++
			case math.Abs(d[j]) == math.Abs(d[i]):
				r += 0.5
			}
		}
		return r
	}
	for i := range d {
		if d[i] > 0 {
			v += rank(i)
		}
	}
	below, above := 0, 0
	for signs := range uint(1 << len(d)) {
		s := 0.0
		for i := range d {
			if signs&(1<<i) != 0 {
				s += rank(i)
			}
		}
		if s <= v {
			below++
		}
		if s >= v {
			above++
		}
	}
	return v, math.Min(1, 2*float64(min(below, above))/float64(uint(1)<<len(d)))
}

func TestMannWhitneyAgreesWithPublishedExamples(t *testing.T) {
	t.Parallel()
	// R: wilcox.test(x, y, alternative = "g"): W = 35, p-value = 0.1272.
	got := stats.MannWhitney(early, term)
	near(t, "W", got.Statistic, 35, 0)
	near(t, "one-sided p", got.P/2, 0.1272, 0.00005)
	if !got.Exact {
		t.Error("fifteen values were approximated")
	}
	// The first rows of the table of Mann and Whitney (1947) for 5 and 5: the
	// probabilities of U <= 0, 1, 2, 3 and 4.
	for u, want := range []float64{0.004, 0.008, 0.016, 0.028, 0.048} {
		a, b := separated(5, u)
		got := stats.MannWhitney(a, b)
		near(t, "U", got.Statistic, float64(u), 0)
		near(t, "one-sided p", got.P/2, want, 0.0005)
	}
	// Two samples that do not overlap have twice one arrangement of C(2n, n).
	for n, want := range map[int]float64{3: 0.1, 4: 2.0 / 70, 5: 2.0 / 252, 6: 2.0 / 924} {
		a, b := separated(n, 0)
		near(t, "p of samples that do not overlap", stats.MannWhitney(a, b).P, want, 1e-12)
	}
}

// separated are two samples of n with U of the second as given, up to n.
func separated(n, u int) (a, b []float64) {
	for i := range n {
		a = append(a, 100+float64(i))
		b = append(b, float64(i))
	}
	if u > 0 {
		b[n-1] = 100 + float64(u) - 0.5
	}
	return a, b
}

func TestSignedRankAgreesWithPublishedExamples(t *testing.T) {
	t.Parallel()
	// R: wilcox.test(x, y, paired = TRUE, alternative = "greater"): V = 40, p-value = 0.01953.
	got := stats.SignedRank(minus(first, second))
	near(t, "V", got.Statistic, 40, 0)
	near(t, "one-sided p", got.P/2, 0.01953, 0.000005)
	// Wilcoxon's table: of 10 pairs, 8 or less has at most 2.5 % on a side, 9 has more.
	near(t, "V", stats.SignedRank(signs(10, 8)).Statistic, 8, 0)
	if p8, p9 := stats.SignedRank(signs(10, 8)).P, stats.SignedRank(signs(10, 9)).P; p8 > 0.05 || p9 <= 0.05 {
		t.Errorf("8 has p = %v, 9 has %v", p8, p9)
	}
	near(t, "p of six pairs of one sign", stats.SignedRank(signs(6, 0)).P, 2.0/64, 1e-12)
}

// signs are the differences 1 to n, of which that of the given size alone is positive.
func signs(n, positive int) []float64 {
	var d []float64
	for i := 1; i <= n; i++ {
		if i == positive {
			d = append(d, float64(i))
		} else {
			d = append(d, -float64(i))
		}
	}
	return d
}

// Every p-value is what counting all arrangements gives, ties and zeros included.
func TestTestsAgreeWithCountingEveryArrangement(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	draw := func(n, values int) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = float64(r.IntN(values))
		}
		return out
	}
	for range 60 {
		values := []int{2, 4, 1000}[r.IntN(3)]
		a, b := draw(1+r.IntN(5), values), draw(1+r.IntN(5), values)
		u, p := bruteRankSum(a, b)
		if got := stats.MannWhitney(a, b); math.Abs(got.P-p) > 1e-12 || got.Statistic != u {
			t.Fatalf("%v and %v: %+v, counting gives U %v, p %v", a, b, got, u, p)
		}
		d := minus(draw(8, values), draw(8, values))
		v, p := bruteSignedRank(d)
		if got := stats.SignedRank(d); math.Abs(got.P-p) > 1e-12 || got.Statistic != v {
			t.Fatalf("%v: %+v, counting gives V %v, p %v", d, got, v, p)
		}
	}
	u, p := bruteRankSum(term, early)
	near(t, "U of the example", stats.MannWhitney(term, early).Statistic, u, 0)
	near(t, "p of the example", stats.MannWhitney(term, early).P, p, 1e-12)
	v, p := bruteSignedRank(minus(first, second))
	near(t, "V of the example", v, 40, 0)
	near(t, "p of the example", stats.SignedRank(minus(first, second)).P, p, 1e-12)
}

// Beyond the exact limit the normal distribution takes over without a jump.
func TestApproximationMeetsTheExactTests(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(2, 2))
	for _, values := range []int{6, 100000} {
		var a, b []float64
		for range 25 {
			a, b = append(a, float64(r.IntN(values))), append(b, float64(r.IntN(values)))
		}
		for i := range b {
			b[i] += float64(values) / 6
		}
		exact, approximate := stats.MannWhitney(a, b), stats.NormalMannWhitney(a, b)
		if !exact.Exact || math.Abs(exact.P-approximate) > 0.15*exact.P+0.002 {
			t.Errorf("of %d values: exact %v, normal %v", values, exact.P, approximate)
		}
	}
	big := stats.MannWhitney(make([]float64, 40), make([]float64, 40))
	if big.P != 1 || big.Exact {
		t.Errorf("eighty equal values gave %+v", big)
	}
	if got := stats.SignedRank(signs(60, 7)); got.Exact || got.P > 1e-9 {
		t.Errorf("sixty pairs, all but one negative, gave %+v", got)
	}
}

// A few values against many are counted too: out in the tail, where a correction for many
// questions looks, the normal distribution is off by far.
func TestFewAgainstManyAreCounted(t *testing.T) {
	t.Parallel()
	many := func(m int, tied bool) (a []float64) {
		for i := range m {
			if tied {
				i /= 2
			}
			a = append(a, 100+float64(i))
		}
		return a
	}
	few := []float64{1, 2, 3}
	for _, m := range []int{52, 120, 197} {
		want := 12 / float64((m+3)*(m+2)*(m+1)) // 2 of C(m+3, 3)
		for _, tied := range []bool{false, true} {
			for name, got := range map[string]stats.Test{"few and many": stats.MannWhitney(few, many(m, tied)), "many and few": stats.MannWhitney(many(m, tied), few)} {
				if !got.Exact || math.Abs(got.P/want-1) > 1e-9 {
					t.Errorf("%s, %d, tied %v: %+v, want p %v", name, m, tied, got, want)
				}
			}
		}
		if e := stats.Shift(many(m, false), few, 0.95); !e.Bounded || e.Confidence < 0.95 {
			t.Errorf("3 and %d: %+v", m, e)
		}
	}
	// One of the few lies among the many: U is 1.
	among := []float64{1, 2, 100.5}
	if got, want := stats.MannWhitney(many(52, false), among).P, 2*2.0/26235; math.Abs(got/want-1) > 1e-9 {
		t.Errorf("p = %v, want %v", got, want)
	}
}

func TestLeastRankSumIsThatOfAPerfectOrder(t *testing.T) {
	t.Parallel()
	for _, n := range [][2]int{{0, 3}, {1, 1}, {3, 5}, {28, 28}, {29, 29}, {52, 3}, {198, 3}, {60, 60}} {
		var a, b []float64
		for i := range n[0] {
			a = append(a, float64(i))
		}
		for i := range n[1] {
			b = append(b, 1e6+float64(i))
		}
		if got, want := stats.LeastRankSum(n[0], n[1]), stats.MannWhitney(a, b).P; math.Abs(got-want) > 1e-9*want {
			t.Errorf("%v: %v, the test gives %v", n, got, want)
		}
	}
}

func TestNothingIsTestedWithoutValues(t *testing.T) {
	t.Parallel()
	if got := stats.MannWhitney(nil, []float64{1}); got.P != 1 {
		t.Errorf("an empty sample gave %+v", got)
	}
	if got := stats.SignedRank([]float64{0, 0}); got.P != 1 {
		t.Errorf("pairs without a difference gave %+v", got)
	}
}

func TestHolm(t *testing.T) {
	t.Parallel()
	// The example of the method's common descriptions: four hypotheses, of which the
	// fourth and the first are rejected at 5 %.
	want := []float64{0.03, 0.06, 0.06, 0.02}
	for i, got := range stats.Holm([]float64{0.01, 0.04, 0.03, 0.005}) {
		near(t, "adjusted p", got, want[i], 1e-12)
	}
	if got := stats.Holm([]float64{0.9, 0.8}); got[0] != 1 || got[1] != 1 {
		t.Errorf("adjusted above 1: %v", got)
	}
}
