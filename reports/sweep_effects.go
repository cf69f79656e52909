package reports

import (
	"math"
	"math/rand/v2"
	"slices"
)

// sweepDraws is how many resamples intervals and frequencies are made of: 2,000 settle
// a share to about one per cent.
const sweepDraws = 2000

// sample is the logarithms of the runs of one cell.
type sample struct {
	cell int
	logs []float64
}

func (s sample) mean() float64 {
	sum := 0.0
	for _, v := range s.logs {
		sum += v
	}
	return sum / float64(len(s.logs))
}

// redraw draws as many runs of the cell with replacement. Of n runs a resample scatters
// less than new runs would, by the root of (n-1)/n: a fifth too little of three. So the
// draws stand further from the mean by as much.
func (s sample) redraw(r *rand.Rand) sample {
	out := sample{s.cell, make([]float64, len(s.logs))}
	mean, wider := s.mean(), 1.0
	if n := float64(len(s.logs)); n > 1 {
		wider = math.Sqrt(n / (n - 1))
	}
	for i := range out.logs {
		out.logs[i] = mean + wider*(s.logs[r.IntN(len(s.logs))]-mean)
	}
	return out
}

// samples are the runs of a question's cells in the first round, which all cells were
// in; cells whose figures are not all positive have no logarithms and are left out.
func (s *Sweep) samples(question, objective int) []sample {
	var out []sample
	for _, c := range s.cellsOf(question) {
		values := s.values(0, c, s.Objectives[objective].Metric)
		if len(values) == 0 || slices.Min(values) <= 0 || !s.listed(c) {
			continue
		}
		smp := sample{cell: c}
		for _, v := range values {
			smp.logs = append(smp.logs, math.Log(v))
		}
		out = append(out, smp)
	}
	return out
}

// listed tells whether all of a cell's values stand in the axes: the default may have
// others, and then is no part of the grid.
func (s *Sweep) listed(cell int) bool {
	for i, a := range s.Axes {
		if s.Design != "ofat" && !slices.Contains(a.Values, s.Cells[cell].Values[i]) {
			return false
		}
	}
	return true
}

// effects are what each axis of settings does by itself.
func (s *Sweep) effects(question, objective int) (out []SweepEffect, noise *float64) {
	all := s.samples(question, objective)
	rng := rand.New(rand.NewPCG(s.Seed, uint64(question)<<16|uint64(objective))) // resampling that can be repeated, not a secret
	out = []SweepEffect{}
	total, within, full := s.variation(question, all)
	for a := range s.Axes {
		if s.Axes[a].Work {
			continue
		}
		part := slices.DeleteFunc(slices.Clone(all), func(smp sample) bool { return s.Design == "ofat" && !s.alone(smp.cell, a) })
		levels := s.levels(a)
		var draws [][]float64
		for range sweepDraws / 4 {
			drawn := make([]sample, len(part))
			for i, smp := range part {
				drawn[i] = smp.redraw(rng)
			}
			_, ratios, _ := s.level(drawn, a, levels)
			draws = append(draws, ratios)
		}
		means, ratios, counts := s.level(part, a, levels)
		effect := SweepEffect{Axis: a, Levels: []SweepLevel{}}
		share := 0.0
		present := 0
		for i, value := range levels {
			if counts[i] == 0 {
				continue
			}
			var column []float64
			for _, d := range draws {
				column = append(column, d[i])
			}
			slices.Sort(column)
			cut := len(column) / 40
			effect.Levels = append(effect.Levels, SweepLevel{
				Value: value, Cells: counts[i], Mean: math.Exp(means[i]), Ratio: math.Exp(ratios[i]),
				Low: math.Exp(column[cut]), High: math.Exp(column[len(column)-1-cut]),
			})
			share += ratios[i] * ratios[i]
			present++
		}
		if full && total > 0 && present > 0 {
			effect.Share = ptr(share / float64(present) / total)
		}
		out = append(out, effect)
	}
	if full && total > 0 {
		noise = ptr(within / total)
	}
	return out, noise
}

// levels are the values of an axis, the default's added where only it has it.
func (s *Sweep) levels(axis int) []string {
	a := s.Axes[axis]
	if slices.Contains(a.Values, a.Default) || s.Design != "ofat" {
		return a.Values
	}
	return append([]string{a.Default}, a.Values...)
}

// alone tells whether a cell differs from the default in one axis at most.
func (s *Sweep) alone(cell, axis int) bool {
	for i, a := range s.Axes {
		if i != axis && !a.Work && s.Cells[cell].Values[i] != a.Default {
			return false
		}
	}
	return true
}

// level is the mean of logarithms over the cells that have each value, and its distance
// from the mean over all. Cells count alike, however many runs they have.
func (s *Sweep) level(samples []sample, axis int, levels []string) (means, distances []float64, counts []int) {
	means, distances, counts = make([]float64, len(levels)), make([]float64, len(levels)), make([]int, len(levels))
	grand, present := 0.0, 0
	for _, smp := range samples {
		if i := slices.Index(levels, s.Cells[smp.cell].Values[axis]); i >= 0 {
			means[i] += smp.mean()
			counts[i]++
		}
	}
	for i := range levels {
		if counts[i] > 0 {
			means[i] /= float64(counts[i])
			grand += means[i]
			present++
		}
	}
	for i := range levels {
		distances[i] = means[i] - grand/float64(max(present, 1))
	}
	return means, distances, counts
}

// variation is the variance of a run's logarithm in a full grid, between cells and
// within them together, and the part within. full is false when the cells are no grid.
func (s *Sweep) variation(question int, samples []sample) (total, within float64, full bool) {
	want := 1
	for _, a := range s.Axes {
		if !a.Work {
			want *= len(a.Values)
		}
	}
	if s.Design != "grid" || len(samples) != want || question >= len(s.Questions) {
		return 0, 0, false
	}
	grand, squares, freedom := 0.0, 0.0, 0
	for _, smp := range samples {
		grand += smp.mean() / float64(len(samples))
		for _, v := range smp.logs {
			squares += (v - smp.mean()) * (v - smp.mean())
		}
		freedom += len(smp.logs) - 1
	}
	if freedom == 0 {
		return 0, 0, false
	}
	within = squares / float64(freedom)
	for _, smp := range samples {
		total += (smp.mean() - grand) * (smp.mean() - grand) / float64(len(samples))
	}
	return total + within, within, true
}
