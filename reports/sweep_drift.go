package reports

import (
	"math"
	"slices"
)

// minDrift is how many runs of the default a trend needs to be seen at all: with four,
// even a perfect order has a p of 0.08.
const minDrift = 5

// drift says whether a question's default changed over the sweep: Mann and Kendall's
// test for a trend over its runs in their order, with the Theil-Sen slope for its size.
// Runs of another length are left out.
func (s *Sweep) drift(question, objective int) SweepDrift {
	o := s.Objectives[objective]
	d := SweepDrift{Question: question, Objective: objective, Verdict: DriftUnknown}
	points := s.driftPoints(question, objective)
	values := make([]float64, len(points))
	for i, p := range points {
		values[i] = p.y
	}
	d.Runs = len(values)
	median := Median(values)
	if d.Runs < minDrift || *median <= 0 || slices.Min(values) <= 0 {
		return d
	}
	sorted := slices.Sorted(slices.Values(values))
	quartile := func(p float64) float64 {
		at := p * float64(len(sorted)-1)
		i := int(at)
		return sorted[i] + (at-float64(i))*(sorted[min(i+1, len(sorted)-1)]-sorted[i])
	}
	d.Spread = ptr((quartile(0.75) - quartile(0.25)) / *median)
	var slopes []float64
	inversions := 0
	for i, a := range points {
		for _, b := range points[i+1:] {
			slopes = append(slopes, (math.Log(b.y)-math.Log(a.y))/(b.x-a.x))
			if b.y < a.y {
				inversions++
			}
		}
	}
	d.Change = ptr(math.Exp(*Median(slopes) * (points[len(points)-1].x - points[0].x)))
	d.P = ptr(mannKendall(len(points), inversions))
	d.Verdict = DriftSteady
	if *d.P <= sweepAlpha && (*d.Change > 1+o.Delta || *d.Change < 1/(1+o.Delta)) {
		d.Verdict = DriftDrifted
	}
	return d
}

// driftPoints are the runs of a question's default, by seconds from the sweep's first
// run; of runs of several lengths those that are most.
func (s *Sweep) driftPoints(question, objective int) []point {
	byLength := map[float64][]point{}
	var best []point
	for _, r := range s.Runs {
		v, ok := r.Metrics[s.Objectives[objective].Metric]
		if !ok || !r.Counts() || r.Cell != s.Questions[question].Baseline || r.Round >= len(s.Rounds) {
			continue
		}
		length := s.Rounds[r.Round].Measure
		byLength[length] = append(byLength[length], point{r.Started.Sub(s.Runs[0].Started).Seconds(), v})
		if len(byLength[length]) > len(best) {
			best = byLength[length]
		}
	}
	return best
}

// mannKendall is the two-sided p of a number of inversions among n values in their
// order, when no order is likelier than another: the coefficients of the product of
// (1-q^i)/(1-q), Mann's distribution (Econometrica 13, 1945). Ties count as no
// inversion, which moves p but little.
func mannKendall(n, inversions int) float64 {
	counts := []float64{1}
	for i := 2; i <= n; i++ {
		next := make([]float64, len(counts)+i-1)
		for k, c := range counts {
			for j := range i {
				next[k+j] += c / float64(i)
			}
		}
		counts = next
	}
	below, above := 0.0, 0.0
	for k, c := range counts {
		if k <= inversions {
			below += c
		}
		if k >= inversions {
			above += c
		}
	}
	return math.Min(1, 2*math.Min(below, above))
}
