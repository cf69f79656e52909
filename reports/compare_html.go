package reports

import (
	"fmt"
	"math"
	"strings"

	"firetower/reports/stats"
)

// HTML is the comparison as one page that needs no other file and no network.
func (d *Comparisons) HTML() ([]byte, error) {
	s := sheet{
		Verdict: string(d.Verdict), Footer: d.Schema + " · the whole document stands in this page as JSON", Document: d,
	}
	if len(d.Comparisons) == 1 {
		c := d.Comparisons[0]
		s.Name, s.On = c.Scenario, c.New.Label+" against "+c.Base.Label
		s.Lines, s.Reasons, s.Sections = c.subject(), c.reasons(), c.sections("")
	} else {
		for _, c := range d.Comparisons {
			s.Name, s.On = c.Scenario, c.New.Label+" against others"
			s.Lines = append(s.Lines, fmt.Sprintf("%s: %s", c.Base.Label, c.Verdict))
			s.Sections = append(s.Sections, section{"Against " + c.Base.Label + ": " + string(c.Verdict), c.intro()})
			s.Sections = append(s.Sections, c.sections(" against "+c.Base.Label)...)
		}
	}
	s.Title = fmt.Sprintf("%s, %s: %s", s.Name, s.On, d.Verdict)
	return s.html()
}

// subject says what was compared, in two lines or three.
func (c *Comparison) subject() []string {
	return []string{fmt.Sprintf("%s of %s (new), %s of %s (base)", plural(int64(len(c.New.Runs)), "run"), strings.TrimSpace(c.New.Label+" "+c.New.Commit),
		plural(int64(len(c.Base.Runs)), "run"), strings.TrimSpace(c.Base.Label+" "+c.Base.Commit))}
}

// sentence begins with a capital and ends with a full stop.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// reasons are what a reader must know first.
func (c *Comparison) reasons() []string {
	var out []string
	for _, u := range c.Unlike {
		out = append(out, "Forced although unlike in "+u)
	}
	for _, s := range []Side{c.Base, c.New} {
		for _, e := range s.Excluded {
			out = append(out, fmt.Sprintf("Left out: %s: %s", e.Run, e.Reason))
		}
	}
	out = append(append(out, c.Losses...), c.Notes...)
	for _, s := range []Side{c.Base, c.New} {
		if s.Within != nil {
			out = append(out, s.Label+": "+s.Within.String())
		}
	}
	if len(c.Base.Runs) == 1 || len(c.New.Runs) == 1 {
		out = append(out, "A single run of a side tells no change from noise: starts of one build often differ by 10 %.")
	}
	return out
}

func (c *Comparison) intro() []block { return []block{{Text: append(c.subject(), c.reasons()...)}} }

// sections are the chapters of one comparison.
func (c *Comparison) sections(of string) []section {
	out := []section{{"Ratios" + of, []block{plotBlock(c.forest(plainWord))}}}
	if c.Curve != nil && len(c.Curve.Quantiles) > 1 {
		out = append(out, section{"Delivery latency by quantile" + of, []block{plotBlock(c.curvePlot())}})
	}
	out = append(out, section{"The runs, one by one" + of, []block{plotBlock(c.runsPlot())}})
	var differing []block
	if len(c.Differences) > 0 {
		var facts []fact
		for _, d := range c.Differences {
			name, value, _ := strings.Cut(d, ": ")
			facts = append(facts, fact{name, value})
		}
		differing = append(differing, block{Heading: "base | new", Facts: facts})
	}
	out = append(out, section{"What differs" + of, differing})
	sides := block{}
	for _, s := range []struct {
		name string
		side Side
	}{{"Base", c.Base}, {"New", c.New}} {
		facts := []fact{{"target", s.side.Target}, {"commit", or(s.side.Commit)}, {"binary", or(clip(s.side.Binary, 16))}}
		for _, r := range s.side.Runs {
			facts = append(facts, fact{"run", r})
		}
		sides.Columns = append(sides.Columns, block{Heading: s.name + ": " + s.side.Label, Facts: facts})
	}
	return append(out, section{"Sides" + of, []block{sides}})
}

// plainWord is a verdict as it is.
func plainWord(v stats.Verdict) string { return string(v) }

// forest are the ratios with their intervals.
func (c *Comparison) forest(word func(stats.Verdict) string) plot {
	nan := math.NaN()
	d := dots{label: "Ratios new / base with their intervals", from: nan, to: nan, ref: 1}
	t := table{Head: []string{"figure", "base", "new", "ratio", "low", "high", "confidence", "p", "p, Holm", "band", "verdict", "runs to decide"}, Words: 11}
	var reach []float64
	for _, f := range c.Figures {
		verdict, band := "not judged", none
		if f.Primary {
			verdict, band = word(f.Verdict), fmt.Sprintf("±%.4g %%", 100*f.Band)
		}
		confidence, needed := none, none
		if f.Runs > 0 {
			needed = f.needed()
		}
		if f.Low != nil {
			confidence = fmt.Sprintf("%.1f %%", 100*f.Confidence)
		}
		t.Rows = append(t.Rows, []string{
			f.label(), cell(f.BaseMedian, f.Unit), cell(f.NewMedian, f.Unit), ratioText(f.Ratio), ratioText(f.Low), ratioText(f.High),
			confidence, ratioText(f.P), ratioText(f.Holm), band, verdict, needed,
		})
		if f.Ratio == nil || !f.Primary {
			continue
		}
		r := dotRow{name: f.short(), text: fmt.Sprintf("%.2f", *f.Ratio), word: verdict, class: verdictClass(f.Verdict), lo: nan, mid: *f.Ratio, hi: nan, title: f.Reason}
		r.same = [2]float64{1 / (1 + f.Band), 1 + f.Band}
		reach = append(reach, *f.Ratio)
		if f.hasInterval() {
			r.lo, r.hi = *f.Low, *f.High
			r.text += fmt.Sprintf(" (%.2f–%.2f)", r.lo, r.hi)
			reach = append(reach, *f.Low, *f.High)
		}
		d.rows = append(d.rows, r)
	}
	d.x = ratioAxis("new / base", reach)
	caption := sentence(c.method()) + " Shaded: what counts as no change."
	if c.Runs > 0 {
		caption += " The table says how many runs would decide what is inconclusive."
	}
	if !c.bounded() {
		caption += fmt.Sprintf(" There are too few runs for an interval of %.4g %%: those shown have less, and decide nothing.", 100*(1-c.Alpha))
	}
	return plot{Title: "New divided by base", Caption: caption, SVG: d.svg(), Table: t}
}

// short is the figure's name where there is little room.
func (f ComparedFigure) short() string {
	switch f.Metric {
	case metricCPU.metric:
		return "CPU per delivery"
	case metricRSS.metric:
		return "memory per client"
	default:
		return f.Name
	}
}

func (c *Comparison) bounded() bool {
	for _, f := range c.Figures {
		if f.Primary && f.Bounded {
			return true
		}
	}
	return false
}

func ratioText(v *float64) string {
	if v == nil {
		return none
	}
	return fmt.Sprintf("%.3f", *v)
}

// verdictClass is the colour of a verdict. That nothing changed is no achievement.
func verdictClass(v stats.Verdict) string {
	switch v {
	case stats.Improved:
		return "ok"
	case stats.Regressed:
		return "bad"
	case stats.Same:
		return "quiet"
	default:
		return "warn"
	}
}

// curvePlot is the ratio by quantile, with a band or, of few runs, with the runs.
func (c *Comparison) curvePlot() plot {
	q := c.Curve
	nines := func(p float64) float64 { return 1 / (1 - p) }
	xs := make([]float64, len(q.Quantiles))
	for i, p := range q.Quantiles {
		xs[i] = nines(p)
	}
	ch := chart{
		label: "Ratio of the delivery latency by quantile", cursor: "quantile",
		x: axis{title: "percentile of the deliveries", log: true, min: nines(q.Quantiles[0]), max: xs[len(xs)-1]},
	}
	for _, t := range []struct {
		p     float64
		text  string
		minor bool
	}{{0.1, "10 %", false}, {0.5, "50 %", false}, {0.7, "70 %", true}, {0.9, "90 %", false}, {0.95, "95 %", true}, {0.99, "99 %", false}, {0.995, "99.5 %", true}, {0.999, "99.9 %", false}} {
		if nines(t.p) <= ch.x.max*1.001 {
			ch.x.ticks = append(ch.x.ticks, tick{nines(t.p), t.text, t.minor})
		}
	}
	var reach []float64
	points := func(values []*float64) []point {
		var out []point
		for i, v := range values {
			y := math.NaN()
			if v != nil {
				y = *v
				reach = append(reach, y)
			}
			out = append(out, point{xs[i], y})
		}
		return out
	}
	floats := func(values []*float64) []float64 {
		out := make([]float64, len(values))
		for i, p := range points(values) {
			out[i] = p.y
		}
		return out
	}
	t := table{Head: []string{"percentile", "ratio", "low", "high"}, X: xs}
	for i, p := range q.Quantiles {
		t.Rows = append(t.Rows, []string{fmt.Sprintf("%.4g %%", 100*p), ratioText(q.Ratio[i]), ratioText(q.Low[i]), ratioText(q.High[i])})
	}
	caption := "All new runs together divided by all base runs together, a picture of what moved and no verdict. "
	legends := []legend{{"s1", "new / base"}}
	if len(q.Low) > 0 && q.Low[0] != nil {
		ch.ribbons = append(ch.ribbons, ribbon{class: "f1", x: xs, low: floats(q.Low), up: floats(q.High)})
		caption += "The ribbon is from resampling whole runs, 95 % at each point."
	} else {
		caption += fmt.Sprintf("With fewer than %d runs of a side there is no ribbon: the thin lines are the single runs, each divided by all base runs.", stats.MinBandRuns)
		for _, runs := range []struct {
			class string
			lines [][]*float64
		}{{"s5 faint", q.BaseRuns}, {"s2 faint", q.NewRuns}} {
			for _, l := range runs.lines {
				ch.lines = append(ch.lines, line{class: runs.class, points: points(l)})
			}
		}
		legends = append(legends, legend{"s2 faint", "a new run"}, legend{"s5 faint", "a base run"})
	}
	ch.lines = append(ch.lines, line{class: "s1", points: points(q.Ratio)})
	ch.y = ratioAxis("new / base", reach)
	band := 0.0
	for _, f := range c.Figures {
		if f.Metric == "delivery.p99" {
			band = f.Band
		}
	}
	if band > 0 {
		ch.zone = &[2]float64{1 / (1 + band), 1 + band}
	}
	p := ch.plot("Ratio by quantile", caption, t)
	p.Legend, p.X0, p.X1, p.Log, p.Cursor = legends, ch.x.min, ch.x.max, true, "quantile"
	return p
}

// runsPlot are the values of every run, divided by the base's median.
func (c *Comparison) runsPlot() plot {
	s := strips{label: "The figures of every run, divided by the base's median", ref: 1}
	t := table{Head: []string{"figure", "side"}}
	for i := range max(len(c.Base.Runs), len(c.New.Runs)) {
		t.Head = append(t.Head, fmt.Sprintf("run %d", i+1))
	}
	var reach []float64
	for _, f := range c.Figures {
		if f.BaseMedian == nil || *f.BaseMedian <= 0 || !f.Primary {
			continue
		}
		for i, side := range []struct {
			name, class string
			values      []float64
		}{{"base", "f5", f.Base}, {"new", "f1", f.New}} {
			name := ""
			if i == 0 {
				name = f.short()
			}
			row := stripRow{name: name, class: side.class, gap: i == 0, text: cell(Median(side.values), f.Unit)}
			if f.Unit != "bytes" && f.Unit != "" {
				row.text += " " + f.Unit
			}
			cells := []string{f.label(), side.name}
			for k, v := range side.values {
				relative := v / *f.BaseMedian
				row.values = append(row.values, relative)
				row.titles = append(row.titles, fmt.Sprintf("%s, run %d: %s", side.name, k+1, withUnit(v, f.Unit)))
				cells = append(cells, cell(ptr(v), f.Unit))
				reach = append(reach, relative)
			}
			for len(cells) < len(t.Head) {
				cells = append(cells, none)
			}
			s.rows = append(s.rows, row)
			t.Rows = append(t.Rows, cells)
		}
	}
	s.x = ratioAxis("divided by the base's median", reach)
	return plot{
		Title: "Every run", Caption: "A dot is a run, in the order of the runs from top to bottom; the stroke is the median. The upper row is the base, the lower one new.",
		SVG: s.svg(), Legend: []legend{{"s5 wide", "base"}, {"s1 wide", "new"}}, Table: t,
	}
}
