package loadtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"firetower/reports"
	"firetower/reports/stats"
	"firetower/scenarios"
)

// RunTune carries out a search, and returns its answer and the folder that it was
// written to. An interrupted search has an answer as well: that nothing is confirmed; it
// goes on from there when o names its folder in Resume, as a sweep does. The Plan of o is
// that of the search, and its Name by default the scenario's with -tune.
func RunTune(ctx context.Context, p *TunePlan, o SweepOptions) (*reports.Tune, string, error) {
	o.Plan = p.Sweep
	if o.Name == "" {
		o.Name = p.Sweep.Base.Scenario.Name + "-tune"
	}
	s, dir, err := openSweep(o)
	if err != nil {
		return nil, dir, err
	}
	failed := newSession(o, s, dir).carryOut(ctx)
	finish(ctx, s, failed)
	t, err := p.answer(s)
	if err != nil {
		return nil, dir, errors.Join(failed, err, reports.WriteSweepState(dir, s))
	}
	return t, dir, errors.Join(failed, reports.WriteTune(dir, t))
}

// answer works out what a search says.
func (p *TunePlan) answer(s *reports.Sweep) (*reports.Tune, error) {
	t := &reports.Tune{
		Schema: reports.TuneSchema, ID: s.ID, Objective: s.Objectives[0], Constraints: []reports.TuneConstraint{}, Budget: p.Settings.Budget.Seconds(),
		Space: p.Space, Tried: tried(s), Recommended: -1, Best: -1, Tie: []int{}, Candidates: []reports.TuneCandidate{}, Search: s,
	}
	for _, c := range p.Settings.Constraints {
		t.Constraints = append(t.Constraints, reports.TuneConstraint{Text: c.Text, Metric: c.Metric})
	}
	last := len(s.Rounds) - 1
	if last >= 0 && s.Rounds[last].Confirm {
		for _, c := range s.Rounds[last].Cells {
			if s.Cells[c].Runs > 0 && s.Cells[c].Figures[0].Median != nil {
				t.Candidates = append(t.Candidates, p.candidate(s, last, c))
			}
		}
	}
	p.decide(t)
	t.Findings = p.say(t)
	p.exit(t)
	if t.Recommended < 0 {
		return t, nil
	}
	var err error
	t.Gateway, t.Manager, err = p.configurations(t)
	return t, err
}

// tried is how many of the space's combinations were run; the default may be one of them.
func tried(s *reports.Sweep) int {
	n := 0
	for _, c := range s.Cells {
		listed := true
		for i, a := range s.Axes {
			listed = listed && slices.Contains(a.Values, c.Values[i])
		}
		if listed {
			n++
		}
	}
	return n
}

// candidate looks at one setting of the last round.
func (p *TunePlan) candidate(s *reports.Sweep, round, cell int) reports.TuneCandidate {
	c := reports.TuneCandidate{Cell: cell, Held: []int{}, Keeps: !s.RoundMissed(round, cell)}
	for _, t := range p.Settings.Constraints {
		held := 0
		for _, r := range s.Runs {
			if v, ok := r.Metrics[t.Metric]; ok && r.Round == round && r.Cell == cell && r.Counts() && t.Op.Holds(v, t.Limit) {
				held++
			}
		}
		c.Held = append(c.Held, held)
		median := s.RoundMedian(round, cell, t.Metric)
		c.Keeps = c.Keeps && median != nil && t.Op.Holds(*median, t.Limit)
	}
	for i, a := range s.Axes {
		value := s.Cells[cell].Values[i]
		steps := 0.0
		v, okV := quantity(value)
		d, okD := quantity(a.Default)
		switch {
		case value == a.Default:
		case okV && okD:
			steps = math.Abs(math.Log2(v / d))
		default:
			steps = 1
		}
		if value != a.Default {
			c.Changed++
		}
		c.Steps += steps
		if okV {
			c.Resources += math.Log2(v)
		}
	}
	return c
}

// quantity is a value as a positive number: a size in bytes, a duration in seconds, or
// a plain number.
func quantity(text string) (float64, bool) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		if size, sizeErr := scenarios.ParseSize(text); sizeErr == nil {
			v, err = float64(size), nil
		} else if d, durationErr := scenarios.ParseDuration(text); durationErr == nil {
			v, err = d.Seconds(), nil
		}
	}
	return v, err == nil && v > 0
}

// decide finds the best, the tie set and the recommendation. A default that keeps the
// constraints stays, unless a setting that keeps them is shown to be better: then it is the
// cheapest of those, of the tie set if there are any in it. A best that scatters has
// the default in its tie set too, and must not hide them. Where the default does not keep the
// constraints it is the cheapest of the tie set. The cheapest is the one that is nearest to
// the default, then takes the fewest resources.
func (p *TunePlan) decide(t *reports.Tune) {
	s := t.Search
	slices.SortStableFunc(t.Candidates, func(a, b reports.TuneCandidate) int {
		if a.Keeps != b.Keeps {
			if a.Keeps {
				return -1
			}
			return 1
		}
		x, y := *s.Cells[a.Cell].Figures[0].Median, *s.Cells[b.Cell].Figures[0].Median
		if t.Objective.Higher {
			x, y = y, x
		}
		return cmp.Compare(x, y)
	})
	var keeping []int
	defaultThere, defaultKeeps := false, false
	for _, c := range t.Candidates {
		if s.Cells[c.Cell].Default {
			defaultThere, defaultKeeps = true, c.Keeps
		}
		if c.Keeps {
			keeping = append(keeping, c.Cell)
		}
	}
	t.Best, t.Tie = s.TieAmong(0, keeping)
	switch {
	case !defaultThere || len(t.Candidates) < 2 || !s.Complete:
		t.Verdict = reports.TuneUnconfirmed
	case len(keeping) == 0:
		t.Verdict = reports.TuneNone
	default:
		better := improved(s, keeping)
		switch {
		case !defaultKeeps:
			t.Recommended, t.Verdict = cheapest(t, t.Tie), reports.TuneKeeps
		case len(better) > 0:
			t.Recommended, t.Verdict = cheapest(t, better), reports.TuneImproved
			if c := cheapest(t, improved(s, t.Tie)); c >= 0 {
				t.Recommended = c
			}
		case p.least(t) > reports.SweepAlpha:
			t.Recommended, t.Verdict = -1, reports.TuneUnconfirmed
		default:
			t.Recommended, t.Verdict = s.Questions[0].Baseline, reports.TuneDefault
		}
	}
}

// least is the smallest p with which any finalist could have been told from the default:
// runs may be missing, since they were invalid or the budget ended.
func (p *TunePlan) least(t *reports.Tune) float64 {
	s := t.Search
	runs, finalists := 0, 0
	for _, c := range t.Candidates {
		if !s.Cells[c.Cell].Default {
			finalists++
			runs = max(runs, s.Cells[c.Cell].Runs)
		}
	}
	return reports.LeastP(s.Cells[s.Questions[0].Baseline].Runs, runs, finalists)
}

// improved are those of some cells that are shown to beat the default in the objective.
func improved(s *reports.Sweep, cells []int) []int {
	var out []int
	for _, c := range cells {
		if s.Cells[c].Figures[0].Verdict == string(stats.Improved) {
			out = append(out, c)
		}
	}
	return out
}

// cheapest is the one of some candidates that is nearest to the default, then takes the
// fewest resources; -1 of none.
func cheapest(t *reports.Tune, cells []int) int {
	best := -1
	var of reports.TuneCandidate
	for _, c := range t.Candidates {
		if !slices.Contains(cells, c.Cell) {
			continue
		}
		if best < 0 || cmp.Or(cmp.Compare(c.Changed, of.Changed), cmp.Compare(c.Steps, of.Steps), cmp.Compare(c.Resources, of.Resources)) < 0 {
			best, of = c.Cell, c
		}
	}
	return best
}

// say puts the answer into words, the recommendation first.
func (p *TunePlan) say(t *reports.Tune) []string {
	s := t.Search
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	base := s.Questions[0].Baseline
	switch t.Verdict {
	case reports.TuneUnconfirmed:
		if s.Complete && len(t.Candidates) > 1 {
			say("Nothing is confirmed: too few runs of the finalists and the default count (%s) to tell any of them apart. Nothing is recommended.", confirming(t))
		} else {
			say("Nothing is confirmed: the search ended before its finalists and the default had been compared. Nothing is recommended.")
		}
		return out
	case reports.TuneNone:
		c := candidateOf(t, p.nearest(t))
		say("No setting keeps the limits. The nearest is %s: %s.", s.Label(c.Cell), p.limits(t, c))
		say("%s", coverage(t))
		return out
	case reports.TuneDefault:
		say("Keep the default (%s): no setting beats it beyond noise here.", s.Label(base))
		if !slices.Contains(t.Tie, base) && t.Best >= 0 {
			say("%s looked better, but the runs do not confirm it: %s.", s.Label(t.Best), against(s.Cells[t.Best].Figures[0]))
		}
	case reports.TuneKeeps:
		say("Take %s: the default does not keep the limits (%s), this does (%s).", s.Label(t.Recommended), p.limits(t, candidateOf(t, base)), p.limits(t, candidateOf(t, t.Recommended)))
		say("%s: %s.", t.Objective.Name, against(s.Cells[t.Recommended].Figures[0]))
	default:
		say("Take %s: its %s is %s.", s.Label(t.Recommended), t.Objective.Name, against(s.Cells[t.Recommended].Figures[0]))
		if f := s.Cells[t.Best].Figures[0]; f.Verdict != string(stats.Improved) && t.Best != base {
			say("%s has the better median, but is not shown to beat the default: %s.", s.Label(t.Best), against(f))
		}
	}
	var tie []string
	for _, c := range t.Tie {
		name := s.Label(c)
		if c == base {
			name += " (the default)"
		}
		tie = append(tie, name)
	}
	if len(tie) > 1 {
		which := "these"
		if t.Verdict == reports.TuneImproved {
			which = "those that are shown to beat the default"
		}
		say("Not told from the best within %.3g %%: %s. Of %s the nearest to the default is taken, then the one with the least resources.", 100*t.Objective.Delta, strings.Join(tie, "; "), which)
	}
	say("How sure: %s of each finalist and the default, interleaved, new processes each, none of them used to choose the finalists. %s",
		confirming(t), coverage(t))
	for _, a := range s.Axes {
		if slices.Contains(deployment, a.Key) && t.Recommended >= 0 {
			say("%s is how many processes there are, and in no file: %s.", a.Key, s.Cells[t.Recommended].Values[slices.IndexFunc(s.Axes, func(b reports.SweepAxis) bool { return b.Key == a.Key })])
		}
	}
	return out
}

// nearest is the candidate that is least off the limits.
func (p *TunePlan) nearest(t *reports.Tune) int {
	cells := make([]int, len(t.Candidates))
	for i, c := range t.Candidates {
		cells[i] = c.Cell
	}
	return p.Sweep.rank(t.Search, len(t.Search.Rounds)-1, cells)[0]
}

// confirming is how many runs of each candidate count, "5 runs" or "3 to 5 runs".
func confirming(t *reports.Tune) string {
	least, most := math.MaxInt, 0
	for _, c := range t.Candidates {
		n := t.Search.Cells[c.Cell].Runs
		least, most = min(least, n), max(most, n)
	}
	if least < most {
		return fmt.Sprintf("%d to %s", least, plural(most, "run"))
	}
	return plural(most, "run")
}

// coverage says how much of the space was tried.
func coverage(t *reports.Tune) string {
	if float64(t.Tried) >= t.Space {
		return fmt.Sprintf("All %.0f combinations were tried.", t.Space)
	}
	return fmt.Sprintf("%d of %.0f combinations were tried: a better one may be among the others.", t.Tried, t.Space)
}

// against says a ratio to the default with its interval and verdict.
func against(f reports.SweepFigure) string {
	if f.Ratio == nil || f.Low == nil || f.High == nil || f.Confidence == nil || f.PHolm == nil {
		return "not to be compared with the default's"
	}
	return fmt.Sprintf("%.2f times the default's (%.2f to %.2f with %.0f %%, p = %.2g after the correction for all finalists): %s", *f.Ratio, *f.Low, *f.High, 100**f.Confidence, *f.PHolm, f.Verdict)
}

func candidateOf(t *reports.Tune, cell int) reports.TuneCandidate {
	i := slices.IndexFunc(t.Candidates, func(c reports.TuneCandidate) bool { return c.Cell == cell })
	return t.Candidates[i]
}

// limits says how a candidate keeps the constraints.
func (p *TunePlan) limits(t *reports.Tune, c reports.TuneCandidate) string {
	s := t.Search
	var parts []string
	for i, k := range t.Constraints {
		if m := s.RoundMedian(s.Cells[c.Cell].Round, c.Cell, k.Metric); m != nil {
			parts = append(parts, fmt.Sprintf("%s held in %d of %d, median %.4g", k.Text, c.Held[i], s.Cells[c.Cell].Runs, *m))
		}
	}
	if s.RoundMissed(s.Cells[c.Cell].Round, c.Cell) {
		parts = append(parts, fmt.Sprintf("the scenario's thresholds missed in %d of %d", s.Cells[c.Cell].Missed, s.Cells[c.Cell].Runs))
	}
	return strings.Join(parts, "; ")
}

// exit is the search's exit code: 99 when no setting keeps the limits.
func (p *TunePlan) exit(t *reports.Tune) {
	t.ExitCode = t.Search.ExitCode
	switch {
	case t.ExitCode != ExitOK:
	case t.Verdict == reports.TuneNone:
		t.ExitCode = ExitThreshold
	case t.Verdict == reports.TuneUnconfirmed:
		t.ExitCode = ExitInvalid
	}
}
