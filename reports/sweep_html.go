package reports

import (
	"fmt"
	"slices"
	"strings"
)

// HTML is the sweep as one page that needs no other file and no network.
func (s *Sweep) HTML() ([]byte, error) { return s.sheet().html() }

func (s *Sweep) sheet() sheet {
	return sheet{
		Title: fmt.Sprintf("Sweep of %s: %s", s.Scenario, plural(int64(len(s.Cells)), "setting")),
		Name:  s.Scenario, On: "swept over " + plural(int64(len(s.Cells)), "setting"), Purpose: s.Purpose,
		Lines: s.subjectLines(), Reasons: s.firstOfAll(), Tiles: s.tiles(0), Sections: s.sections(),
		Footer:   s.ID + " · " + s.Schema + " · the whole document stands in this page as JSON",
		Document: s,
	}
}

func (s *Sweep) subjectLines() []string {
	var axes []string
	for _, a := range s.Axes {
		axes = append(axes, a.Key+" "+strings.Join(a.Values, ", "))
	}
	return []string{
		strings.Join(axes, "; "),
		fmt.Sprintf("%s in %s of runs, design %s, seed %d; %s", plural(int64(len(s.Runs)), "run"), seconds(s.Seconds*1000), s.Design, s.Seed,
			s.Started.UTC().Format("2006-01-02 15:04:05 UTC")),
	}
}

// firstOfAll is what a reader must know before any figure.
func (s *Sweep) firstOfAll() []string {
	var out []string
	if !s.Complete {
		out = append(out, "The sweep is not complete: the figures are of the runs that had ended.")
	}
	if s.Stopped != "" {
		out = append(out, "It stopped early: "+s.Stopped+".")
	}
	for _, d := range s.Drift {
		if d.Verdict == DriftDrifted {
			out = append(out, capital(s.DriftLine(d))+".")
		}
	}
	if n := len(s.Excluded); n > 0 {
		out = append(out, fmt.Sprintf("%s left out; they are listed below.", pluralWas(int64(n), "run")))
	}
	return out
}

func pluralWas(n int64, one string) string {
	if n == 1 {
		return "1 " + one + " was"
	}
	return plural(n, one) + " were"
}

// tiles are the key figures of a question.
func (s *Sweep) tiles(question int) []tile {
	q := s.Questions[question]
	if len(q.Results) == 0 || q.Results[0].Best < 0 {
		return nil
	}
	out := []tile{}
	base := s.Cells[q.Baseline]
	for i, o := range s.Objectives[:min(len(s.Objectives), 2)] {
		value, unit := cell(base.Figures[i].Median, o.Unit), o.Unit
		if unit == "bytes" {
			unit = ""
		}
		out = append(out, tile{o.Name, value, unit, "the default, median of " + plural(int64(len(base.Figures[i].Values)), "run")})
	}
	others := int64(len(s.cellsOf(question)) - 1)
	for i, o := range s.Objectives[:min(len(s.Objectives), 2)] {
		counts := q.Results[i].Counts
		out = append(out, tile{
			"better than the default", fmt.Sprint(counts["improved"]), "of " + commas(others),
			fmt.Sprintf("%s; %d worse", o.Name, counts["regressed"]),
		})
	}
	tie := fmt.Sprint(len(q.Results[0].Tie))
	out = append(out, tile{"not told from the best", tie, "of " + fmt.Sprint(len(s.eligible(question))), s.Objectives[0].Name + ", within " + percent(s.Objectives[0].Delta)})
	if n := q.Results[0].Noise; n != nil {
		out = append(out, tile{"noise", fmt.Sprintf("%.0f", 100**n), "%", "of the variation between runs"})
	}
	for _, d := range s.Drift {
		if d.Question == question && d.Objective == 0 {
			note := "too few runs to see a trend"
			if d.Change != nil {
				note = "trend " + times(d.Change) + ", p " + pValue(d.P)
			}
			out = append(out, tile{"drift", d.Verdict, "", note})
		}
	}
	worst := 0
	for _, c := range s.cellsOf(question) {
		if s.Cells[c].Missed > 0 {
			worst++
		}
	}
	return append(out, tile{"missed a threshold", fmt.Sprint(worst), "of " + fmt.Sprint(len(s.cellsOf(question))), "settings, in at least one run"})
}

// sections are the chapters of the page.
func (s *Sweep) sections() []section {
	var out []section
	for q, question := range s.Questions {
		title := func(text string) string {
			if question.Name == "" {
				return text
			}
			return text + " at " + question.Name
		}
		out = append(out, section{title("Finding"), []block{{Text: question.Findings}}})
		if len(question.Results) == 0 || question.Results[0].Best < 0 {
			continue
		}
		out = append(out,
			section{title("Settings"), s.heatmaps(q)},
			section{title("What each key does"), s.effectBlocks(q)},
			section{title("All settings at once"), s.parallelBlocks(q)},
			section{title("Latency against cost"), s.paretoBlocks(q)},
			section{title("Against the default"), s.forestBlocks(q)},
			section{title("Every setting"), s.cellTable(q)},
		)
	}
	out = append(out, section{"Drift of the default", s.driftBlocks()})
	if len(s.Excluded) > 0 {
		out = append(out, section{"Left out", []block{{Text: s.Excluded}}})
	}
	return append(out, section{"How to read this", []block{{Text: s.method()}}}, section{"Environment", s.environmentBlocks()})
}

// method says what the words of the page mean.
func (s *Sweep) method() []string {
	return []string{
		"A run is one observation: servers and workers are new processes in each. Runs went in blocks, shuffled by the seed, with the default among them every few cells.",
		fmt.Sprintf("A ratio is the Hodges-Lehmann estimate of a setting's runs against the default's, its interval holds the true ratio with %.0f %% where the runs are enough for that. Better and worse need the whole interval beyond the band (%s) and an exact Mann-Whitney test that still holds after Holm's correction for all settings, for each figure by itself; same needs the whole interval within the band.", 100*(1-sweepAlpha), s.bands()),
		"A setting is not told from the best unless the whole interval of its ratio to the best lies beyond the band. The best by median is the luckiest of several: take the set, not the winner.",
		"The share at a point of the Pareto front is how often it is there when each setting's runs are drawn again. A point that is there in half of the draws is there by half by chance.",
	}
}

func (s *Sweep) bands() string {
	var parts []string
	for _, o := range s.Objectives {
		parts = append(parts, percent(o.Delta)+" for "+o.Name)
	}
	return strings.Join(parts, ", ")
}

// cellTable is every setting with all its figures.
func (s *Sweep) cellTable(question int) []block {
	t := table{Head: []string{"setting"}}
	for _, a := range s.Axes {
		if !a.Work {
			t.Head = append(t.Head, a.Name)
		}
	}
	t.Head = append(t.Head, "runs")
	for i, o := range s.Objectives {
		t.Head = append(t.Head, unitName(o), "/ default", "from", "to", "verdict")
		if i == 0 {
			t.Head = append(t.Head, "p", "not told from the best")
		}
	}
	t.Head = append(t.Head, "Pareto share", "missed")
	for n, c := range s.Ranked(question) {
		cl := s.Cells[c]
		row := []string{fmt.Sprint(n + 1)}
		if cl.Default {
			row[0] += " default"
		}
		for i, a := range s.Axes {
			if !a.Work {
				row = append(row, cl.Values[i])
			}
		}
		row = append(row, fmt.Sprint(cl.Runs))
		for i, f := range cl.Figures {
			row = append(row, cell(f.Median, s.Objectives[i].Unit), times(f.Ratio), times(f.Low), times(f.High), f.Verdict)
			if i == 0 {
				tie := "no"
				if f.Tie {
					tie = "yes"
				}
				row = append(row, pValue(f.PHolm), tie)
			}
		}
		share := none
		if cl.ParetoShare != nil {
			share = fmt.Sprintf("%.0f %%", 100**cl.ParetoShare)
		}
		t.Rows = append(t.Rows, append(row, share, fmt.Sprint(cl.Missed)))
	}
	return []block{{Text: []string{"By the first objective; a click on a head sorts. Medians of the runs that count; ratios with their intervals, p after Holm's correction."}, Table: &t}}
}

func (s *Sweep) environmentBlocks() []block {
	e := s.Environment
	facts := []fact{
		{"machine", fmt.Sprintf("%s, %d CPUs, %s, %s", e.CPU, e.CPUs, byteSize(float64(e.Memory)), e.Hostname)},
		{"system", strings.TrimSpace(e.OS + "/" + e.Arch + " " + e.Kernel)},
		{"go", e.GoVersion},
		{"commit", or((&Result{Environment: e}).commit())},
		{"binary", clip(e.Binary, 16)},
		{"grid", s.Grid},
		{"default again after", plural(int64(s.BaselineEvery), "cell")},
	}
	for i, r := range s.Rounds {
		facts = append(facts, fact{fmt.Sprintf("round %d", i+1), fmt.Sprintf("%s, %s each, %s measured", plural(int64(len(r.Cells)), "setting"), plural(int64(r.Repeat), "run"), seconds(r.Measure*1000))})
	}
	out := []block{{Facts: facts}}
	if len(s.Overrides) > 0 {
		var over []fact
		for _, o := range s.Overrides {
			over = append(over, fact{o.Key, o.Value + " (" + o.Origin + ")"})
		}
		out = append(out, block{Heading: "Overrides", Facts: over})
	}
	return append(out, block{Fold: "Scenario, before any axis", Pre: s.ScenarioTOML})
}

// settingAxes are the indices of the axes that are settings.
func (s *Sweep) settingAxes() []int {
	var out []int
	for i, a := range s.Axes {
		if !a.Work {
			out = append(out, i)
		}
	}
	return out
}

// measuredValues are the values of an axis that cells of the question have, in the order
// of the axis, the default's first where no listed one is it.
func (s *Sweep) measuredValues(question, axis int) []string {
	a := s.Axes[axis]
	values := a.Values
	if !slices.Contains(values, a.Default) {
		values = append([]string{a.Default}, values...)
	}
	return slices.DeleteFunc(slices.Clone(values), func(v string) bool {
		return !slices.ContainsFunc(s.cellsOf(question), func(c int) bool {
			return s.Cells[c].Values[axis] == v && s.Cells[c].Runs > 0
		})
	})
}
