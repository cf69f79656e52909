package stats

import "slices"

// NormalMannWhitney is the p-value of the approximation, whatever the sizes.
func NormalMannWhitney(a, b []float64) float64 {
	_, ties := midranks(slices.Concat(a, b))
	return normalRankSum(MannWhitney(a, b).Statistic, len(a), len(b), ties)
}

// MinRuns and MinPairs are the least numbers that can reach a level at all.
var (
	MinRuns  = minRuns
	MinPairs = minPairs
)
