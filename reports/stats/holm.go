package stats

import (
	"cmp"
	"math"
	"slices"
)

// Holm adjusts the p-values of a family of tests, so that calling those at or below
// alpha makes a single false call with at most that probability, whatever the tests
// have to do with each other. The order of the result is that of p.
func Holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(p[i], p[j]) })
	out := make([]float64, len(p))
	worst := 0.0
	for step, i := range order {
		worst = math.Max(worst, math.Min(1, float64(len(p)-step)*p[i]))
		out[i] = worst
	}
	return out
}
