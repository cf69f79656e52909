package reports

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"firetower/reports/stats"
)

// The files of a comparison in the folder that is named for them.
const (
	CompareFile        = "compare.json"
	CompareHTMLFile    = "compare.html"
	CompareSummaryFile = "compare.txt"
)

// WriteComparisons writes compare.json, compare.html and compare.txt into dir, which
// may be a folder of runs that took turns.
func WriteComparisons(dir string, d *Comparisons) error {
	data, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", CompareFile, err)
	}
	page, err := d.HTML()
	if err != nil {
		return fmt.Errorf("write %s: %w", CompareHTMLFile, err)
	}
	return errors.Join(
		writeFile(filepath.Join(dir, CompareFile), append(data, '\n')),
		writeFile(filepath.Join(dir, CompareHTMLFile), page),
		writeFile(filepath.Join(dir, CompareSummaryFile), []byte(d.Summary(dir))),
	)
}

// Summary is the comparison for a terminal, the verdict first. A single comparison
// has its table, several have some lines each.
func (d *Comparisons) Summary(dir string) string {
	var lines []string
	if len(d.Comparisons) == 1 {
		lines = d.Comparisons[0].lines()
	} else {
		for _, c := range d.Comparisons {
			lines = append(lines, c.headline())
			lines = append(lines, c.byVerdict(plainWord, true)...)
			lines = append(lines, c.warnings()...)
		}
	}
	if dir != "" {
		lines = append(lines, "  report "+filepath.Join(dir, CompareHTMLFile))
	}
	return strings.Join(lines, "\n") + "\n"
}

// headline is the verdict in one line.
func (c *Comparison) headline() string {
	if c.Identical {
		return fmt.Sprintf("%s: %s, both sides are the same %s of %s", strings.ToUpper(string(c.Verdict)), c.Scenario,
			plural(int64(len(c.New.Runs)), "run"), c.New.Label)
	}
	return fmt.Sprintf("%s: %s, %s of %s against %s of %s", strings.ToUpper(string(c.Verdict)), c.Scenario,
		plural(int64(len(c.New.Runs)), "run"), c.New.Label, plural(int64(len(c.Base.Runs)), "run"), c.Base.Label)
}

// byVerdict lists the primary figures by what is said of them; what is open only
// with its ratio when asked for.
func (c *Comparison) byVerdict(word func(stats.Verdict) string, open bool) []string {
	var out []string
	for _, v := range []stats.Verdict{stats.Regressed, stats.Improved, stats.Same, stats.Inconclusive} {
		var parts []string
		for _, f := range c.Figures {
			if f.Primary && f.Verdict == v {
				part := f.Name
				if v != stats.Inconclusive || open {
					part += " " + f.ratio()
				}
				if v == stats.Inconclusive && f.Runs > 0 {
					part += " " + f.needed() + " runs"
				}
				parts = append(parts, part)
			}
		}
		if len(parts) == 0 {
			continue
		}
		line := fmt.Sprintf("  %-13s%s", word(v), parts[0])
		for _, part := range parts[1:] {
			if len(line)+len(part)+2 > lineWidth {
				out = append(out, line+",")
				line = fmt.Sprintf("  %-13s%s", "", part)
				continue
			}
			line += ", " + part
		}
		out = append(out, line)
	}
	return out
}

// shownConfidence is from where on an interval is worth showing that has less than the
// asked confidence: that of three runs a side has 90 %.
const shownConfidence = 0.8

// ratio is the ratio with its interval: 1.150 (1.090 to 1.220).
func (f ComparedFigure) ratio() string {
	switch i := f.interval(); {
	case f.Ratio == nil:
		return none
	case i == none:
		return fmt.Sprintf("%.3f", *f.Ratio)
	default:
		return fmt.Sprintf("%.3f (%s)", *f.Ratio, i)
	}
}

// hasInterval tells whether there is an interval worth showing.
func (f ComparedFigure) hasInterval() bool {
	return f.Low != nil && (f.Bounded || f.Confidence >= shownConfidence)
}

func (f ComparedFigure) interval() string {
	switch {
	case !f.hasInterval():
		return none
	case f.Bounded:
		return fmt.Sprintf("%.3f to %.3f", *f.Low, *f.High)
	default:
		return fmt.Sprintf("%.3f to %.3f at %.0f %%", *f.Low, *f.High, 100*f.Confidence)
	}
}

// word is the verdict, with how many runs of each side would decide what is open.
func (f ComparedFigure) word() string {
	if !f.Primary {
		return "not judged"
	}
	if f.Verdict != stats.Inconclusive || f.Runs == 0 {
		return string(f.Verdict)
	}
	return fmt.Sprintf("%s, %s runs", f.Verdict, f.needed())
}

// needed is how many runs of each side would decide.
func (f ComparedFigure) needed() string {
	switch {
	case f.Runs >= stats.MostRuns:
		return fmt.Sprintf(">%d", stats.MostRuns)
	case min(len(f.Base), len(f.New)) < 2:
		// Nothing is known of the noise: the least that the test needs to say anything.
		return fmt.Sprintf(">=%d", f.Runs)
	default:
		return fmt.Sprintf("~%d", f.Runs)
	}
}

// warnings are what was forced and left out, and what the figures cannot say.
func (c *Comparison) warnings() []string {
	var out []string
	add := func(format string, args ...any) {
		out = append(out, clip(fmt.Sprintf("  "+format, args...), lineWidth))
	}
	for _, s := range []Side{c.Base, c.New} {
		switch n := len(s.Excluded); {
		case n == 1:
			add("left out: %s: %s", s.Excluded[0].Run, s.Excluded[0].Reason)
		case n > 1:
			add("left out: %s and %d more of %s: %s", s.Excluded[0].Run, n-1, s.Label, s.Excluded[0].Reason)
		}
	}
	for i, u := range c.Unlike {
		if i == 2 && len(c.Unlike) > 3 {
			add("FORCED, unlike in %d more", len(c.Unlike)-i)
			break
		}
		add("FORCED, unlike in %s", u)
	}
	for _, n := range slices.Concat(c.Losses, c.Notes) {
		add("%s", n)
	}
	for _, s := range []Side{c.Base, c.New} {
		if s.Within != nil {
			add("%s: %s", s.Label, s.Within)
		}
	}
	if !c.Identical && (len(c.Base.Runs) == 1 || len(c.New.Runs) == 1) {
		add("A single run of a side tells no change from noise: starts of one build often differ by 10 %%.")
	}
	return out
}

// lines are a single comparison as a whole: at most 25.
func (c *Comparison) lines() []string {
	out := []string{c.headline()}
	for _, s := range []struct {
		name string
		side Side
	}{{"base", c.Base}, {"new", c.New}} {
		runs := s.side.Runs[0]
		if n := len(s.side.Runs); n > 1 {
			runs += fmt.Sprintf(" and %d more", n-1)
		}
		out = append(out, clip(fmt.Sprintf("  %-5s%s: %s", s.name, strings.TrimSpace(s.side.Label+" "+s.side.Commit), runs), lineWidth))
	}
	notes := c.warnings()
	for i, d := range c.Differences {
		if i == 2 && len(c.Differences) > 3 {
			notes = append(notes, fmt.Sprintf("  differs in %d more", len(c.Differences)-i))
			break
		}
		notes = append(notes, clip("  differs in "+d, lineWidth))
	}
	table := c.table()
	// What a terminal has no room for stands in the page.
	if room := summaryLines - 1 - len(out) - len(table); len(notes) > room {
		notes = append(notes[:room-1], fmt.Sprintf("  and %d notes more, see the page of --out", len(notes)-room+1))
	}
	return slices.Concat(out, notes, table)
}

// table is the figures, and how the verdicts came about.
func (c *Comparison) table() []string {
	out := []string{"", fmt.Sprintf("  %-27s%10s%10s%8s%25s%7s  %s", "", "base", "new", "ratio", "interval", "p", "verdict")}
	for _, f := range c.Figures {
		if !f.Primary && !shownBeside[f.Metric] {
			continue
		}
		p := none
		if f.Holm != nil {
			p = fmt.Sprintf("%.3f", *f.Holm)
		}
		out = append(out, fmt.Sprintf("  %-27s%10s%10s%8s%25s%7s  %s", f.label(), cell(f.BaseMedian, f.Unit), cell(f.NewMedian, f.Unit), ratioText(f.Ratio), f.interval(), p, f.word()))
	}
	out = append(out, "")
	text := c.method()
	if c.Runs > 0 {
		text += "; runs: of each side, in turn, to decide with a chance of 80 % by what is known"
	}
	for _, line := range wrap(text, lineWidth-2) {
		out = append(out, "  "+line)
	}
	return out
}

// shownBeside are the figures that a terminal shows without a verdict.
var shownBeside = map[string]bool{"delivery.p99.9": true, "completion.p99": true, "lost": true}

func (f ComparedFigure) label() string {
	if f.Unit == "" || f.Unit == "bytes" {
		return f.Name
	}
	return f.Name + ", " + f.Unit
}

// method says how the verdicts came about.
func (c *Comparison) method() string {
	if c.Identical {
		return "by the runs' own numbers; to learn how far two runs of one build differ, repeat them: firetower loadtest run SCENARIO --vs firetower@COPY --duet --repeat 12"
	}
	design := "independent runs, Hodges-Lehmann ratio new / base, Mann-Whitney p"
	if c.Paired {
		design = "runs in pairs by block, Hodges-Lehmann ratio new / base, signed-rank p"
	}
	primary, bands := 0, []string{}
	seen := map[string]bool{}
	for _, f := range c.Figures {
		if !f.Primary {
			continue
		}
		primary++
		band := fmt.Sprintf("%.4g %%", 100*f.Band)
		if f.Metric == metricCPU.metric {
			band += " for CPU"
		}
		if !seen[band] {
			bands = append(bands, band)
		}
		seen[band] = true
	}
	return fmt.Sprintf("%s by Holm over %s, intervals of %.4g %%; base and new are medians; less than %s is no change", design,
		plural(int64(primary), "figure"), 100*(1-c.Alpha), strings.Join(bands, ", "))
}
