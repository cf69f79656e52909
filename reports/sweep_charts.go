package reports

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// spanAxis covers lo to hi and not zero: for points, whose place tells, and not for
// bars, whose length would deceive.
func spanAxis(title string, lo, hi float64, format func(float64) string) axis {
	if !(hi > lo) {
		lo, hi = lo*0.95, hi*1.05+1e-9
	}
	pad := (hi - lo) * 0.08
	a := axis{title: title, min: math.Max(lo-pad, 0), max: hi + pad}
	step := roundStep(a.max - a.min)
	for i, v := 0, math.Ceil(a.min/step-1e-9)*step; v <= a.max+step/1e6; i, v = i+1, v+step {
		a.ticks = append(a.ticks, tick{value: v, text: format(v), minor: i%2 == 1})
	}
	return a
}

// ratioScale is a logarithmic axis of ratios around 1, as wide as they need and no wider.
func ratioScale(title string, lo, hi float64) axis {
	reach := math.Max(math.Max(math.Log(hi), -math.Log(lo))*1.08, 0.06)
	if math.IsNaN(reach) || math.IsInf(reach, 0) {
		reach = 0.7
	}
	a := axis{title: title, log: true, min: math.Exp(-reach), max: math.Exp(reach)}
	steps := []float64{0.1, 0.2, 0.5, 0.8, 1, 1.25, 2, 5, 10}
	if reach < 0.16 {
		steps = []float64{0.86, 0.9, 0.95, 1, 1.05, 1.1, 1.16}
	} else if reach < 0.5 {
		steps = []float64{0.65, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.35, 1.5}
	} else if reach > 3 {
		steps = []float64{0.001, 0.01, 0.1, 1, 10, 100, 1000}
	}
	for i, v := range steps {
		if v >= a.min && v <= a.max {
			a.ticks = append(a.ticks, tick{value: v, text: plain(v) + "x", minor: (i+len(steps)/2)%2 == 1 && v != 1})
		}
	}
	return a
}

// mostFacets bounds how many maps of one objective a page shows.
const mostFacets = 12

// heatmaps are the cells over two axes at a time, one map for each setting of the others.
func (s *Sweep) heatmaps(question int) []block {
	axes := s.settingAxes()
	if len(axes) == 0 || s.Design == "ofat" && len(axes) > 1 {
		return nil
	}
	across, down := axes[0], -1
	if len(axes) > 1 {
		across, down = axes[1], axes[0]
	}
	facets := [][]string{nil} // values of the axes beyond the two, in their order
	for _, a := range axes[min(len(axes), 2):] {
		var next [][]string
		for _, f := range facets {
			for _, v := range s.measuredValues(question, a) {
				next = append(next, append(slices.Clone(f), v))
			}
		}
		facets = next
	}
	var out []block
	for o := range s.Objectives[:min(len(s.Objectives), 2)] {
		shown := 0
		for _, facet := range facets {
			p, filled := s.heatmap(question, o, across, down, axes[min(len(axes), 2):], facet)
			if !filled || shown >= mostFacets {
				continue
			}
			if shown > 0 {
				p.Caption, p.Ramp = "", nil
			}
			shown++
			out = append(out, block{Plot: &p})
		}
	}
	return out
}

func (s *Sweep) heatmap(question, objective, across, down int, others []int, facet []string) (plot, bool) {
	o := s.Objectives[objective]
	lo, hi := math.Inf(1), math.Inf(-1)
	least, most := 1.0, 1.0 // of the intervals of all cells: one scale for all maps
	for _, c := range s.cellsOf(question) {
		f := s.Cells[c].Figures[objective]
		if f.Median != nil && *f.Median > 0 {
			lo, hi = math.Min(lo, math.Log(*f.Median)), math.Max(hi, math.Log(*f.Median))
		}
		if f.Low != nil && f.High != nil && *f.Low > 0 {
			least, most = math.Min(least, *f.Low), math.Max(most, *f.High)
		}
	}
	// Shades of what is no difference would show noise as a pattern.
	span := math.Max(hi-lo, 4*math.Log1p(o.Delta))
	scale := ratioScale("", math.Max(least, 0.25), math.Min(most, 4))
	m := matrix{label: o.Name + " by setting", x: s.Axes[across].Name, cols: s.measuredValues(question, across), rows: []string{""}}
	title := capital(unitName(o)) + " by " + m.x
	if down >= 0 {
		m.y, m.rows = s.Axes[down].Name, s.measuredValues(question, down)
		title += " and " + m.y
	}
	var at []string
	for i, a := range others {
		at = append(at, s.Axes[a].Name+"="+facet[i])
	}
	if len(at) > 0 {
		title += ", at " + strings.Join(at, " ")
	}
	t := table{Head: append([]string{m.y + " \\ " + m.x}, m.cols...)}
	filled := 0
	for _, row := range m.rows {
		cells := make([]matrixCell, len(m.cols))
		line := []string{row}
		for i, col := range m.cols {
			c := s.cellAt(question, func(values []string) bool {
				if values[across] != col || down >= 0 && values[down] != row {
					return false
				}
				for k, a := range others {
					if values[a] != facet[k] {
						return false
					}
				}
				return true
			})
			if c < 0 || s.Cells[c].Figures[objective].Median == nil {
				line = append(line, none)
				continue
			}
			filled++
			f := s.Cells[c].Figures[objective]
			mc := matrixCell{text: cell(f.Median, o.Unit), best: f.Tie, title: s.tell(c, objective), note: "default"}
			if hi > lo && *f.Median > 0 {
				mc.level = (math.Log(*f.Median) - lo) / span
				if o.Higher {
					mc.level = (hi - math.Log(*f.Median)) / span
				}
			}
			if f.Ratio != nil {
				mc.note = times(f.Ratio) + " " + verdictSign(f.Verdict)
				if f.Low != nil && f.High != nil {
					mc.interval = &cellInterval{scale.position(*f.Low), scale.position(*f.Ratio), scale.position(*f.High), scale.position(1)}
				}
			}
			cells[i] = mc
			line = append(line, mc.text)
		}
		m.cells = append(m.cells, cells)
		t.Rows = append(t.Rows, line)
	}
	from, to := "best", "worst"
	caption := "Medians, and below them the ratio to the default with its interval around the tick of 1: + better, - worse, = the same, ? undecided. A frame marks what is not told from the best. A stronger shade is worse; shades span at least four times what counts as no difference."
	return plot{Title: title, Caption: caption, SVG: m.svg(), Table: t, Ramp: &ramp{from, to}}, filled > 1
}

// cellAt is the cell of a question whose values are as wanted, -1 when there is none.
func (s *Sweep) cellAt(question int, wanted func([]string) bool) int {
	for _, c := range s.cellsOf(question) {
		if wanted(s.Cells[c].Values) {
			return c
		}
	}
	return -1
}

// brief names a cell by its values alone, for drawings; keys names what they are of.
func (s *Sweep) brief(c int) string {
	var parts []string
	for _, a := range s.settingAxes() {
		parts = append(parts, s.Cells[c].Values[a])
	}
	return strings.Join(parts, " · ")
}

func (s *Sweep) keys() string {
	var parts []string
	for _, a := range s.settingAxes() {
		parts = append(parts, s.Axes[a].Name)
	}
	return "Settings are named by " + strings.Join(parts, " · ") + "."
}

// tell is what a pointer on a cell is told.
func (s *Sweep) tell(c, objective int) string {
	f := s.Cells[c].Figures[objective]
	text := fmt.Sprintf("%s: median %s of %s", s.Label(c), cell(f.Median, s.Objectives[objective].Unit), plural(int64(len(f.Values)), "run"))
	if f.Ratio != nil {
		text += fmt.Sprintf("; %s the default's, %s to %s, %s", times(f.Ratio), times(f.Low), times(f.High), f.Verdict)
	}
	return text
}

// effectBlocks are the main effects.
func (s *Sweep) effectBlocks(question int) []block {
	var out []block
	for o, objective := range s.Objectives[:min(len(s.Objectives), 2)] {
		result := s.Questions[question].Results[o]
		d := dots{label: "effects on " + objective.Name, from: 1 / (1 + objective.Delta), to: 1 + objective.Delta, ref: 1}
		t := table{Head: []string{"value", "cells", "mean", "/ mean of all", "from", "to", "share of variation"}}
		lo, hi := 1.0, 1.0
		for _, e := range result.Effects {
			a := s.Axes[e.Axis]
			share := none
			if e.Share != nil {
				share = percent2(*e.Share)
			}
			for _, l := range e.Levels {
				lo, hi = math.Min(lo, l.Low), math.Max(hi, l.High)
				name := a.Name + "=" + l.Value
				d.rows = append(d.rows, dotRow{
					name: name, text: cell(ptr(l.Mean), objective.Unit), class: []string{"s1", "s3"}[e.Axis%2], lo: l.Low, mid: l.Ratio, hi: l.High,
					title: fmt.Sprintf("%s: %.3f (%.3f to %.3f) of the mean over all, %s", name, l.Ratio, l.Low, l.High, plural(int64(l.Cells), "cell")),
				})
				t.Rows = append(t.Rows, []string{name, fmt.Sprint(l.Cells), cell(ptr(l.Mean), objective.Unit), fmt.Sprintf("%.3f", l.Ratio), fmt.Sprintf("%.3f", l.Low), fmt.Sprintf("%.3f", l.High), share})
			}
		}
		if len(d.rows) == 0 {
			continue
		}
		d.x = ratioScale("mean of the cells with the value, divided by the mean of all", lo, hi)
		caption := "Each value's geometric mean over the other keys, with 95 % of the resamples of runs; the band is what counts as no difference."
		if result.Noise != nil {
			var shares []string
			for _, e := range result.Effects {
				if e.Share != nil {
					shares = append(shares, s.Axes[e.Axis].Name+" "+percent2(*e.Share))
				}
			}
			caption += " Of the variation between runs, by itself: " + strings.Join(shares, ", ") + "; noise of single runs " + percent2(*result.Noise) + ", the rest is keys acting together."
		}
		p := plot{Title: "Main effects on " + objective.Name, Caption: caption, SVG: d.svg(), Table: t}
		out = append(out, block{Plot: &p})
	}
	return out
}

func percent2(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

// forestCells is how many settings a forest plot shows.
const forestCells = 30

// forestBlocks are the ratios to the default.
func (s *Sweep) forestBlocks(question int) []block {
	var out []block
	for o, objective := range s.Objectives[:min(len(s.Objectives), 2)] {
		d := dots{label: objective.Name + " against the default", from: 1 / (1 + objective.Delta), to: 1 + objective.Delta, ref: 1}
		lo, hi := 1.0, 1.0
		for _, c := range s.Ranked(question) {
			f := s.Cells[c].Figures[o]
			if f.Ratio == nil || f.Low == nil || f.High == nil || len(d.rows) >= forestCells {
				continue
			}
			lo, hi = math.Min(lo, *f.Low), math.Max(hi, *f.High)
			d.rows = append(d.rows, dotRow{name: s.brief(c), text: times(f.Ratio), word: f.Verdict, class: wordColour(f.Verdict), lo: *f.Low, mid: *f.Ratio, hi: *f.High, title: s.tell(c, o)})
		}
		if len(d.rows) == 0 {
			continue
		}
		d.x = ratioScale("ratio to the default", lo, hi)
		caption := fmt.Sprintf("Ratio of each setting's %s to the default's; the band is %s. %s", objective.Name, percent(objective.Delta), s.keys())
		if n := len(s.Ranked(question)) - 1; n > forestCells {
			caption += fmt.Sprintf(" The first %d of %d by the first objective.", forestCells, n)
		}
		p := plot{Title: capital(objective.Name) + " against the default", Caption: caption, SVG: d.svg()}
		out = append(out, block{Plot: &p})
	}
	return out
}

// parallelBlocks are all cells as lines across keys and figures.
func (s *Sweep) parallelBlocks(question int) []block {
	pc := parallel{label: "settings and their figures"}
	axes := s.settingAxes()
	values := map[int][]string{}
	for _, a := range axes {
		values[a] = s.measuredValues(question, a)
		pa := parallelAxis{name: s.Axes[a].Name}
		for i, v := range values[a] {
			pa.ticks = append(pa.ticks, tick{value: position(i, len(values[a])), text: v})
		}
		pc.axes = append(pc.axes, pa)
	}
	scales := make([][2]float64, len(s.Objectives))
	for o, objective := range s.Objectives {
		lo, hi := math.Inf(1), math.Inf(-1)
		for _, c := range s.Ranked(question) {
			if m := s.Cells[c].Figures[o].Median; m != nil {
				lo, hi = math.Min(lo, *m), math.Max(hi, *m)
			}
		}
		scales[o] = [2]float64{lo, hi}
		pa := parallelAxis{name: unitName(objective)}
		if hi > lo {
			for _, at := range []float64{0, 0.5, 1} {
				pa.ticks = append(pa.ticks, tick{value: at, text: cell(ptr(lo+at*(hi-lo)), objective.Unit)})
			}
		} else if hi == lo {
			pa.ticks = []tick{{value: 0.5, text: cell(&lo, objective.Unit)}}
		}
		pc.axes = append(pc.axes, pa)
	}
	ranked := s.Ranked(question)
	// What matters is drawn last.
	order := slices.Clone(ranked)
	slices.SortStableFunc(order, func(a, b int) int { return s.weight(a) - s.weight(b) })
	for _, c := range order {
		cl := s.Cells[c]
		l := parallelLine{class: []string{"quiet", "s1", "s3", "s2"}[s.weight(c)], title: s.tell(c, 0)}
		for _, a := range axes {
			l.at = append(l.at, position(slices.Index(values[a], cl.Values[a]), len(values[a])))
		}
		for o := range s.Objectives {
			m := cl.Figures[o].Median
			switch lo, hi := scales[o][0], scales[o][1]; {
			case m == nil:
				l.at = append(l.at, math.NaN())
			case hi <= lo:
				l.at = append(l.at, 0.5)
			default:
				l.at = append(l.at, (*m-lo)/(hi-lo))
			}
		}
		pc.lines = append(pc.lines, l)
	}
	p := plot{
		Title: "Keys and figures", Caption: "Each line is a setting. A pointer on a line names it.", SVG: pc.svg(),
		Legend: []legend{{"s2", "the default"}, {"s3", "on the Pareto front"}, {"s1", "not told from the best on " + s.Objectives[0].Name}, {"quiet", "others"}},
	}
	return []block{{Plot: &p}}
}

// position spreads n values over an axis.
func position(i, n int) float64 {
	if n < 2 {
		return 0.5
	}
	return float64(i) / float64(n-1)
}

// weight is how much a cell matters in a drawing of all.
func (s *Sweep) weight(c int) int {
	switch cl := s.Cells[c]; {
	case cl.Default:
		return 3
	case cl.Pareto:
		return 2
	case len(cl.Figures) > 0 && cl.Figures[0].Tie:
		return 1
	default:
		return 0
	}
}

// paretoBlocks are the first two objectives of all cells.
func (s *Sweep) paretoBlocks(question int) []block {
	if len(s.Objectives) < 2 {
		return nil
	}
	sc := scatter{label: s.Objectives[0].Name + " and " + s.Objectives[1].Name}
	t := table{Head: []string{"setting", unitName(s.Objectives[1]), unitName(s.Objectives[0]), "on the front", "share"}}
	lo, hi := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	order := slices.Clone(s.Ranked(question))
	slices.SortStableFunc(order, func(a, b int) int { return s.weight(a) - s.weight(b) })
	for _, c := range order {
		cl := s.Cells[c]
		y, x := cl.Figures[0], cl.Figures[1]
		if x.Median == nil || y.Median == nil {
			continue
		}
		lo[0], hi[0] = math.Min(lo[0], *x.Median), math.Max(hi[0], *x.Median)
		lo[1], hi[1] = math.Min(lo[1], *y.Median), math.Max(hi[1], *y.Median)
		share := 0.0
		if cl.ParetoShare != nil {
			share = *cl.ParetoShare
		}
		d := dot{x: *x.Median, y: *y.Median, class: "quiet", r: 3 + 4*share, title: fmt.Sprintf("%s: on the front in %s", s.Label(c), percent2(share))}
		switch {
		case cl.Default:
			d.class, d.name = "f2", "default ("+percent2(share)+")"
		case cl.Pareto:
			d.class, d.name = "f3", s.brief(c)+" ("+percent2(share)+")"
		case share >= 0.1:
			d.class = "f1"
		}
		if cl.Pareto {
			sc.front = append(sc.front, point{*x.Median, *y.Median})
			d.xr = [2]float64{slices.Min(x.Values), slices.Max(x.Values)}
			d.yr = [2]float64{slices.Min(y.Values), slices.Max(y.Values)}
			lo[0], hi[0] = math.Min(lo[0], d.xr[0]), math.Max(hi[0], d.xr[1])
			lo[1], hi[1] = math.Min(lo[1], d.yr[0]), math.Max(hi[1], d.yr[1])
		}
		sc.points = append(sc.points, d)
		on := "no"
		if cl.Pareto {
			on = "yes"
		}
		t.Rows = append(t.Rows, []string{s.Label(c), cell(x.Median, s.Objectives[1].Unit), cell(y.Median, s.Objectives[0].Unit), on, percent2(share)})
	}
	if len(sc.points) == 0 {
		return nil
	}
	slices.SortFunc(sc.front, func(a, b point) int { return cmp.Compare(a.x, b.x) })
	sc.x = spanAxis(unitName(s.Objectives[1]), lo[0], hi[0], s.ticks(1))
	sc.y = spanAxis(unitName(s.Objectives[0]), lo[1], hi[1], s.ticks(0))
	p := plot{
		Title:   fmt.Sprintf("%s against %s", capital(s.Objectives[0].Name), s.Objectives[1].Name),
		Caption: "The axes do not begin at zero. The larger a point, the more resamples of the runs have it on the front; whiskers are the least and the greatest run. " + s.keys(),
		SVG:     sc.svg(), Table: t,
		Legend: []legend{{"s2", "the default"}, {"s3", "on the front"}, {"s1", "on the front in 10 % of the resamples or more"}, {"quiet", "others"}},
	}
	return []block{{Plot: &p}}
}

// ticks writes the values of an objective's axis.
func (s *Sweep) ticks(objective int) func(float64) string {
	if s.Objectives[objective].Unit == "bytes" {
		return byteSize
	}
	return plain
}

// driftBlocks are the default's runs over time.
func (s *Sweep) driftBlocks() []block {
	var out []block
	for q, question := range s.Questions {
		c := chart{label: "the default over time", height: 210}
		t := table{Head: []string{"minute"}}
		lo, hi, last := 1.0, 1.0, 0.0
		var lines []string
		for o, objective := range s.Objectives[:min(len(s.Objectives), 3)] {
			points := s.driftPoints(q, o)
			var values []float64
			for _, p := range points {
				values = append(values, p.y)
			}
			median := Median(values)
			if median == nil || *median <= 0 {
				continue
			}
			l := line{name: objective.Name, class: fmt.Sprintf("s%d", o+1), dots: true}
			for i, p := range points {
				at := point{p.x / 60, p.y / *median}
				lo, hi, last = math.Min(lo, at.y), math.Max(hi, at.y), math.Max(last, at.x)
				l.points = append(l.points, at)
				if i >= len(t.Rows) {
					t.Rows = append(t.Rows, []string{figure(at.x)})
				}
				t.Rows[i] = append(t.Rows[i], cell(ptr(p.y), objective.Unit))
			}
			t.Head = append(t.Head, unitName(objective))
			c.lines = append(c.lines, l)
		}
		for _, d := range s.Drift {
			if d.Question == q {
				lines = append(lines, capital(s.DriftLine(d))+".")
			}
		}
		b := block{Text: lines}
		if len(c.lines) > 0 && len(t.Rows) > 1 {
			c.x = timeAxis(0, math.Max(last, 0.1))
			c.x.title = "minutes from the first run"
			c.y = ratioScale("ratio to the median", lo, hi)
			c.rules = []rule{{1, ""}}
			p := c.plot("The default over time", "Every point is a run of the default settings, divided by the median of all of them.", t)
			if question.Name != "" {
				p.Title += " at " + question.Name
			}
			out = append(out, block{Plot: &p})
		}
		out = append(out, b)
	}
	return out
}
