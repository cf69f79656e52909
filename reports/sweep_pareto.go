package reports

import (
	"math/rand/v2"
)

// pareto marks the cells of a question that no other beats in both of the first two
// objectives, by medians, and counts in how many resamples of each cell's runs they are
// among them: a place on the front that a few runs decide is worth little.
func (s *Sweep) pareto(question int) {
	if len(s.Objectives) < 2 {
		return
	}
	var cells []int
	var runs [][][2]float64
	for _, c := range s.eligible(question) {
		var pairs [][2]float64
		for _, r := range s.runsOf(s.Cells[c].Round, c) {
			x, okX := r.Metrics[s.Objectives[0].Metric]
			y, okY := r.Metrics[s.Objectives[1].Metric]
			if okX && okY {
				pairs = append(pairs, [2]float64{x, y})
			}
		}
		if len(pairs) > 0 {
			cells, runs = append(cells, c), append(runs, pairs)
		}
	}
	front := func(of [][][2]float64) []bool {
		points := make([][2]float64, len(of))
		for i, pairs := range of {
			for k := range 2 {
				column := make([]float64, len(pairs))
				for j, p := range pairs {
					column[j] = p[k]
				}
				points[i][k] = *Median(column)
			}
		}
		out := make([]bool, len(points))
		for i, a := range points {
			out[i] = true
			for j, b := range points {
				if i != j && s.dominates(b, a) {
					out[i] = false
				}
			}
		}
		return out
	}
	for i, on := range front(runs) {
		s.Cells[cells[i]].Pareto = on
	}
	rng := rand.New(rand.NewPCG(s.Seed, 0x70617265)) // resampling that can be repeated, not a secret
	hits := make([]int, len(cells))
	drawn := make([][][2]float64, len(runs))
	for range sweepDraws {
		for i, pairs := range runs {
			drawn[i] = make([][2]float64, len(pairs))
			for j := range pairs {
				drawn[i][j] = pairs[rng.IntN(len(pairs))]
			}
		}
		for i, on := range front(drawn) {
			if on {
				hits[i]++
			}
		}
	}
	for i, c := range cells {
		s.Cells[c].ParetoShare = ptr(float64(hits[i]) / sweepDraws)
	}
}

// dominates tells whether a is at least as good as b in both objectives, and better in one.
func (s *Sweep) dominates(a, b [2]float64) bool {
	strictly := false
	for k := range 2 {
		if s.Objectives[k].better(b[k], a[k]) {
			return false
		}
		strictly = strictly || s.Objectives[k].better(a[k], b[k])
	}
	return strictly
}
