package stats

import (
	"cmp"
	"math"
	"slices"
)

// Test is the outcome of a two-sided test of "no difference".
type Test struct {
	// Statistic is U of the second sample for MannWhitney, the number of pairs in which
	// it is the greater (ties count half), and V for SignedRank, the sum of the ranks of
	// the positive differences.
	Statistic float64
	// P is the probability of a statistic at least as far out when there is no
	// difference: twice the smaller tail, at most 1.
	P float64
	// Exact tells that P was counted and not approximated.
	Exact bool
}

const (
	// exactPairs is up to how many pairs SignedRank counts every choice of signs, of which
	// there are 2^50.
	exactPairs = 50
	// exactTotal is up to how many observations of both samples together MannWhitney may
	// count every arrangement, which takes time and memory; exactCount is how many whole
	// numbers a float64 holds without a gap.
	exactTotal, exactCount = 400, 1 << 53
)

// countable tells whether every arrangement of two samples is counted. A small sample
// against a large one must be: far out in its tails, where a correction for many
// questions looks, the normal distribution is off by orders of magnitude.
func countable(m, n int) bool { return m+n <= exactTotal && arrangements(m, n) < exactCount }

// arrangements is the number of ways to choose which of m+n observations are the n,
// C(m+n, n).
func arrangements(m, n int) float64 {
	c := 1.0
	for i := 1; i <= min(m, n); i++ {
		c *= float64(max(m, n)+i) / float64(i)
	}
	return c
}

// LeastRankSum is the smallest P that MannWhitney gives to samples of m and n: that of a
// perfect order.
func LeastRankSum(m, n int) float64 {
	switch {
	case m == 0 || n == 0:
		return 1
	case countable(m, n):
		return math.Min(1, 2/arrangements(m, n))
	default:
		return normalRankSum(0, m, n, nil)
	}
}

// MannWhitney tests whether two independent samples come from one distribution
// (Wilcoxon's rank-sum test). P is exact, with ties too, while the arrangements of both
// samples can be counted: those of 56 observations or less, and of up to 400 when one
// sample is small. It is then the permutation distribution of the midranks as they are.
// Beyond, it is the normal approximation with the tie and continuity corrections. A
// sample without observations tests nothing: P is 1.
func MannWhitney(a, b []float64) Test {
	m, n := len(a), len(b)
	ranks, ties := midranks(slices.Concat(a, b))
	sum := 0
	for _, r := range ranks[m:] {
		sum += r
	}
	t := Test{Statistic: float64(sum)/2 - float64(n*(n+1))/2, P: 1, Exact: true}
	switch {
	case m == 0 || n == 0:
	case !countable(m, n):
		t.Exact = false
		t.P = normalRankSum(t.Statistic, m, n, ties)
	case len(ties) == m+n:
		t.P = twoSided(rankSumCounts(m, n), int(math.Round(t.Statistic)))
	case m < n: // the other sample's ranks are the rest, and its choices fewer to count
		t.P = twoSided(tiedRankSumCounts(ties, m), (m+n)*(m+n+1)-sum)
	default:
		t.P = twoSided(tiedRankSumCounts(ties, n), sum)
	}
	return t
}

// SignedRank tests whether the differences of pairs are symmetric around zero
// (Wilcoxon's signed-rank test). Differences of zero tell neither way and are left
// out, as Wilcoxon does. Up to 50 pairs P is exact, ties included; beyond, it is the
// normal approximation with the tie and continuity corrections.
func SignedRank(differences []float64) Test {
	var d, size []float64
	for _, v := range differences {
		if v != 0 {
			d, size = append(d, v), append(size, math.Abs(v))
		}
	}
	ranks, _ := midranks(size)
	sum := 0
	for i, r := range ranks {
		if d[i] > 0 {
			sum += r
		}
	}
	t := Test{Statistic: float64(sum) / 2, P: 1, Exact: true}
	if len(d) == 0 {
		return t
	}
	if len(d) > exactPairs {
		t.Exact = false
		mean, variance := 0.0, 0.0
		for _, r := range ranks {
			mean += float64(r) / 4
			variance += float64(r*r) / 16
		}
		t.P = normalTail(t.Statistic-mean, math.Sqrt(variance))
		return t
	}
	t.P = twoSided(signedRankCounts(ranks), sum)
	return t
}

// midranks ranks values from 1, doubled so that the mean rank of a tie is a whole
// number, and tells the size of each group of equal values in rising order.
func midranks(values []float64) (doubled, ties []int) {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(values[i], values[j]) })
	doubled = make([]int, len(values))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && values[order[j]] == values[order[i]] {
			j++
		}
		for _, o := range order[i:j] {
			doubled[o] = i + 1 + j // twice the mean of i+1 .. j
		}
		ties = append(ties, j-i)
		i = j
	}
	return doubled, ties
}

// rankSumCounts counts, for every U from 0 to mn, the arrangements of m and n
// observations without ties that have it: the coefficients of the Gaussian binomial
// C(m+n, n)_q, built as the product over i of (1-q^(m+i)) / (1-q^i). Both ways round it
// is the same.
func rankSumCounts(m, n int) []float64 {
	m, n = max(m, n), min(m, n)
	size := m*n + 1
	c := make([]float64, size)
	c[0] = 1
	for i := 1; i <= n; i++ {
		for u := size - 1; u >= m+i; u-- {
			c[u] -= c[u-m-i]
		}
		for u := i; u < size; u++ {
			c[u] += c[u-i]
		}
	}
	return c
}

// tiedRankSumCounts counts, for every doubled rank sum, the ways to choose n
// observations out of groups of equal ones.
func tiedRankSumCounts(ties []int, n int) []float64 {
	total := 0
	for _, t := range ties {
		total += t
	}
	size := 2*n*total + 1
	// ways[k][s] are the ways to have chosen k with the doubled rank sum s.
	ways := make([][]float64, n+1)
	for k := range ways {
		ways[k] = make([]float64, size)
	}
	ways[0][0] = 1
	before := 0
	for _, t := range ties {
		rank := 2*before + 1 + t
		before += t
		for k := n; k >= 1; k-- {
			choose := 1.0
			for j := 1; j <= min(t, k); j++ {
				choose = choose * float64(t-j+1) / float64(j)
				for s := j * rank; s < size; s++ {
					ways[k][s] += choose * ways[k-j][s-j*rank]
				}
			}
		}
	}
	return ways[n]
}

// signedRankCounts counts, for every sum, the choices of signs that have it.
func signedRankCounts(ranks []int) []float64 {
	size := 1
	for _, r := range ranks {
		size += r
	}
	c := make([]float64, size)
	c[0] = 1
	for _, r := range ranks {
		for s := size - 1; s >= r; s-- {
			c[s] += c[s-r]
		}
	}
	return c
}

// twoSided is twice the smaller of both tails of a distribution of counts, the
// observed value within each.
func twoSided(counts []float64, at int) float64 {
	var below, above, all float64
	for s, c := range counts {
		all += c
		if s <= at {
			below += c
		}
		if s >= at {
			above += c
		}
	}
	return math.Min(1, 2*math.Min(below, above)/all)
}

func normalRankSum(u float64, m, n int, ties []int) float64 {
	all := float64(m + n)
	correction := 0.0
	for _, t := range ties {
		f := float64(t)
		correction += f*f*f - f
	}
	variance := float64(m) * float64(n) / 12 * (all + 1 - correction/(all*(all-1)))
	return normalTail(u-float64(m)*float64(n)/2, math.Sqrt(variance))
}

// normalTail is the two-sided tail of a distance, half a step corrected.
func normalTail(distance, deviation float64) float64 {
	if deviation == 0 {
		return 1
	}
	z := math.Max(math.Abs(distance)-0.5, 0) / deviation
	return math.Min(1, math.Erfc(z/math.Sqrt2))
}
