package reports

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"firetower/reports/stats"
)

// sweepAlpha is the level of the intervals and of the tests after Holm's correction.
const sweepAlpha = 0.05

// Fill works out all that the document says of its runs: the figures of cells, the
// comparison with the default, tie sets, effects, the Pareto set and the drift. It
// depends on nothing but the document, so that it can be done again.
func (s *Sweep) Fill() {
	s.Excluded = nil
	for i := range s.Cells {
		c := &s.Cells[i]
		c.Round, c.Dropped, c.Pareto, c.ParetoShare = s.lastRound(i), false, false, nil
		c.Runs, c.Missed = 0, 0
		for _, r := range s.runsOf(c.Round, i) {
			c.Runs++
			if !r.ThresholdsOK {
				c.Missed++
			}
		}
		c.Figures = make([]SweepFigure, len(s.Objectives))
		for o, objective := range s.Objectives {
			values := s.values(c.Round, i, objective.Metric)
			c.Figures[o] = SweepFigure{Values: values, Median: Median(values)}
		}
	}
	last := len(s.Rounds) - 1
	for i := range s.Cells {
		s.Cells[i].Dropped = s.Cells[i].Round < last
	}
	for _, r := range s.Runs {
		if !r.Counts() {
			s.Excluded = append(s.Excluded, fmt.Sprintf("%s: %s: %s", r.Folder, or(s.Label(r.Cell)), r.why()))
		}
	}
	s.Drift = []SweepDrift{}
	for q := range s.Questions {
		question := &s.Questions[q]
		question.Results = []SweepResult{}
		for o := range s.Objectives {
			s.compare(q, o)
			result := SweepResult{Best: -1, Tie: []int{}, Counts: map[string]int{}}
			result.Best, result.Tie = s.tie(q, o)
			for _, c := range s.cellsOf(q) {
				s.Cells[c].Figures[o].Tie = slices.Contains(result.Tie, c)
				if v := s.Cells[c].Figures[o].Verdict; v != "" {
					result.Counts[v]++
				}
			}
			result.Effects, result.Noise = s.effects(q, o)
			question.Results = append(question.Results, result)
			s.Drift = append(s.Drift, s.drift(q, o))
		}
		s.pareto(q)
		question.Findings = s.findings(q)
	}
}

// why says why a run stands in no figure.
func (r SweepRun) why() string {
	switch {
	case r.Failure != "":
		return "failed: " + firstLine(r.Failure)
	case r.Interrupted:
		return "interrupted"
	default:
		return "invalid: " + strings.Join(r.Reasons, "; ")
	}
}

// lastRound is the last round that a cell is in.
func (s *Sweep) lastRound(cell int) int {
	last := 0
	for i, r := range s.Rounds {
		if slices.Contains(r.Cells, cell) {
			last = i
		}
	}
	return last
}

// runsOf are the runs of a cell in a round that count.
func (s *Sweep) runsOf(round, cell int) []SweepRun {
	var out []SweepRun
	for _, r := range s.Runs {
		if r.Round == round && r.Cell == cell && r.Counts() {
			out = append(out, r)
		}
	}
	return out
}

// values are a metric's of the runs of a cell in a round.
func (s *Sweep) values(round, cell int, metric string) []float64 {
	out := []float64{}
	for _, r := range s.runsOf(round, cell) {
		if v, ok := r.Metrics[metric]; ok {
			out = append(out, v)
		}
	}
	return out
}

// RoundMedian is the median of a metric over the runs of a cell in a round, nil when
// there is none.
func (s *Sweep) RoundMedian(round, cell int, metric string) *float64 {
	return Median(s.values(round, cell, metric))
}

// RoundMissed tells whether at least half of the runs of a cell in a round missed a threshold.
func (s *Sweep) RoundMissed(round, cell int) bool {
	runs, missed := s.runsOf(round, cell), 0
	for _, r := range runs {
		if !r.ThresholdsOK {
			missed++
		}
	}
	return missed > 0 && 2*missed >= len(runs)
}

// cellsOf are the cells of a question.
func (s *Sweep) cellsOf(question int) []int {
	var out []int
	for i, c := range s.Cells {
		if c.Question == question {
			out = append(out, i)
		}
	}
	return out
}

// eligible are the cells of a question that may be recommended: they are in the last
// round, have runs that count, and not half of those missed a threshold.
func (s *Sweep) eligible(question int) []int {
	var out []int
	for _, c := range s.cellsOf(question) {
		if cell := s.Cells[c]; !cell.Dropped && cell.Runs > 0 && !s.RoundMissed(cell.Round, c) {
			out = append(out, c)
		}
	}
	return out
}

// compare compares each cell of a question with the question's default, in the runs of
// the cell's last round. It corrects for all cells of the last round together, and for
// those that were dropped before together: who was dropped has no part in the answer.
func (s *Sweep) compare(question, objective int) {
	o := s.Objectives[objective]
	for _, dropped := range []bool{false, true} {
		var cells []int
		var asked []stats.Question
		for _, c := range s.cellsOf(question) {
			cell := s.Cells[c]
			if cell.Default || cell.Dropped != dropped || len(cell.Figures[objective].Values) == 0 {
				continue
			}
			base := s.values(cell.Round, s.Questions[question].Baseline, o.Metric)
			cells = append(cells, c)
			asked = append(asked, stats.Question{Base: base, Next: cell.Figures[objective].Values, Band: o.Delta, HigherIsBetter: o.Higher})
		}
		for i, a := range stats.Decide(asked, sweepAlpha) {
			f := &s.Cells[cells[i]].Figures[objective]
			f.Ratio, f.Low, f.High = finiteOrNil(a.Ratio.Value), finiteOrNil(a.Ratio.Low), finiteOrNil(a.Ratio.High)
			if f.Ratio != nil {
				f.Confidence = ptr(a.Ratio.Confidence)
				f.P, f.PHolm = ptr(a.P), ptr(a.Holm)
			}
			f.Verdict = string(a.Verdict)
		}
	}
}

// LeastP is the smallest p that the rank-sum test can give for so many runs of the
// default and of a cell, after Holm's correction for so many cells: that of a perfect
// order. Above sweepAlpha no cell can be called better, whatever its runs are.
func LeastP(base, runs, cells int) float64 {
	return math.Min(1, stats.LeastRankSum(base, runs)*float64(max(cells, 1)))
}

// SweepAlpha is the level that LeastP is to reach.
const SweepAlpha = sweepAlpha

// finiteOrNil is nil for what JSON cannot write.
func finiteOrNil(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// tie is the tie set of a question's cells.
func (s *Sweep) tie(question, objective int) (best int, tie []int) {
	return s.TieAmong(objective, s.eligible(question))
}

// TieAmong is the best of some cells by its median, -1 when none has one, and all that
// are not shown to be worse than it by more than the objective's band: the interval of
// their ratio to it reaches into the band. With three runs a cell, a cell is out when
// every run of it is worse than every run of the best by more than the band.
func (s *Sweep) TieAmong(objective int, cells []int) (best int, tie []int) {
	o := s.Objectives[objective]
	best, tie = -1, []int{}
	median := func(c int) *float64 { return s.Cells[c].Figures[objective].Median }
	cells = slices.DeleteFunc(slices.Clone(cells), func(c int) bool { return median(c) == nil })
	for _, c := range cells {
		if best < 0 || o.better(*median(c), *median(best)) {
			best = c
		}
	}
	for _, c := range cells {
		if c == best || !o.worse(s.Cells[best].Figures[objective].Values, s.Cells[c].Figures[objective].Values) {
			tie = append(tie, c)
		}
	}
	return best, tie
}

func (o SweepObjective) better(a, b float64) bool {
	if o.Higher {
		return a > b
	}
	return a < b
}

// worse tells whether next is shown to be worse than base by more than the band.
func (o SweepObjective) worse(base, next []float64) bool {
	e, err := stats.Ratio(base, next, 1-sweepAlpha)
	if err != nil || math.IsNaN(e.Value) {
		return false
	}
	if o.Higher {
		return e.High < 1/(1+o.Delta)
	}
	return e.Low > 1+o.Delta
}

// findings are what a question's cells say, in words, the verdict first.
func (s *Sweep) findings(question int) []string {
	q := s.Questions[question]
	settings, others, finals, most := 0, 0, 0, 0
	for _, c := range s.cellsOf(question) {
		if s.Cells[c].Default {
			continue
		}
		settings++
		if s.Cells[c].Runs == 0 {
			continue
		}
		others++
		if !s.Cells[c].Dropped {
			finals++
			most = max(most, s.Cells[c].Runs)
		}
	}
	switch {
	case settings == 0 && s.Cells[q.Baseline].Runs > 0:
		return []string{"The default is the only setting here: its figures stand for themselves."}
	case others == 0:
		return []string{"Nothing has been measured that can be compared."}
	}
	if s.Cells[q.Baseline].Runs == 0 {
		return []string{"The default has no run that counts: there is nothing to compare with."}
	}
	var out []string
	improved := 0
	for o := range s.Objectives {
		improved += len(s.improved(question, o))
	}
	least := LeastP(s.Cells[q.Baseline].Runs, most, finals)
	switch {
	case improved == 0 && least > sweepAlpha:
		out = append(out, fmt.Sprintf("The runs are too few to call any setting better or worse: with %s of a setting and %d of the default, even a perfect order has p = %s after the correction for %s. More repeats are needed.",
			plural(int64(most), "run"), s.Cells[q.Baseline].Runs, pValue(&least), plural(int64(finals), "setting")))
	case improved == 0:
		out = append(out, fmt.Sprintf("No setting beats the default beyond noise here: none of %s, on none of %s.",
			plural(int64(others), "setting"), plural(int64(len(s.Objectives)), "objective")))
	}
	for o, objective := range s.Objectives {
		out = append(out, s.finding(question, o, objective))
	}
	if r := q.Results[0]; r.Best >= 0 {
		text := fmt.Sprintf("On %s, %d of %d cannot be told from the best within %s", s.Objectives[0].Name, len(r.Tie), len(s.eligible(question)), percent(s.Objectives[0].Delta))
		if slices.Contains(r.Tie, q.Baseline) {
			text += ", the default among them."
		} else {
			text += "; the default is not among them."
		}
		out = append(out, text)
	}
	return out
}

// improved are the cells of a question that beat the default in an objective, of those
// that may be recommended and never missed a threshold: one that loses messages is soon
// done with the rest.
func (s *Sweep) improved(question, objective int) []int {
	return slices.DeleteFunc(s.eligible(question), func(c int) bool {
		return s.Cells[c].Missed > 0 || s.Cells[c].Figures[objective].Verdict != string(stats.Improved)
	})
}

// finding is the sentence of one objective.
func (s *Sweep) finding(question, objective int, o SweepObjective) string {
	counts := s.Questions[question].Results[objective].Counts
	var parts []string
	for _, v := range []struct {
		verdict stats.Verdict
		word    string
	}{{stats.Improved, "better"}, {stats.Regressed, "worse"}, {stats.Same, "the same within " + percent(o.Delta)}, {stats.Inconclusive, "undecided"}} {
		if n := counts[string(v.verdict)]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v.word))
		}
	}
	text := fmt.Sprintf("%s against the default: %s.", capital(o.Name), or(strings.Join(parts, ", ")))
	ahead := s.improved(question, objective)
	if missed := counts[string(stats.Improved)] - len(ahead); missed > 0 {
		text += fmt.Sprintf(" Of the better ones %d missed a threshold or did not reach the last round.", missed)
	}
	best := -1
	for _, c := range ahead {
		if best < 0 || o.better(*s.Cells[c].Figures[objective].Ratio, *s.Cells[best].Figures[objective].Ratio) {
			best = c
		}
	}
	if best >= 0 {
		f := s.Cells[best].Figures[objective]
		text += fmt.Sprintf(" The furthest ahead is %s: %s the default's (%s to %s).", s.Label(best), times(f.Ratio), times(f.Low), times(f.High))
	}
	return text
}

// times writes a ratio as "0.82x".
func times(v *float64) string {
	if v == nil {
		return none
	}
	if *v >= 9.995 {
		return figure(*v) + "x"
	}
	return fmt.Sprintf("%.2fx", *v)
}

func percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }

// capital makes the first letter a capital one.
func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
