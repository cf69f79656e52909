package reports

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"firetower/reports/stats"
)

// VersusSchema names the format of a comparison of targets.
const VersusSchema = "firetower.versus/v1"

// VersusFile is the file of a comparison of targets in its folder.
const VersusFile = "vs.json"

// Versus is what several targets made of the same work, in turn on one machine or two
// of them at the same time.
type Versus struct {
	Schema   string `json:"schema"`
	ID       string `json:"id"`
	Scenario string `json:"scenario"`
	Purpose  string `json:"purpose"`
	// Subprotocol is what the clients asked for, each word once: the work of Firetower and of
	// the reference servers is the same to the byte; servers of others speak a dialect of their own.
	Subprotocol string    `json:"subprotocol"`
	Loop        string    `json:"loop"`
	Started     time.Time `json:"started"`
	Ended       time.Time `json:"ended"`
	Seed        uint64    `json:"seed"`
	Repeat      int       `json:"repeat"`
	// Duet says that the two runs of a block ran at the same time, and that their messages
	// took turns.
	Duet        bool `json:"duet,omitempty" schema:"optional"`
	Interrupted bool `json:"interrupted,omitempty"`
	ExitCode    int  `json:"exit_code"`
	// Targets are what ran; the first is what the others are compared with.
	Targets []string    `json:"targets"`
	Runs    []VersusRun `json:"runs"`
	Table   []VersusRow `json:"table"`
	// Comparisons of the first target (new) with each other one (base), when both have
	// three runs that count or more. A verdict of regressed says that the first does worse.
	Comparisons []*Comparison `json:"comparisons,omitempty"`
	// Excluded runs stand in no figure, one line each.
	Excluded []string `json:"excluded,omitempty"`
}

// minVersusRuns is from how many runs of each target on there is an interval.
const minVersusRuns = 3

// VersusRun is one run, in the order in which they ran.
type VersusRun struct {
	Target string `json:"target"`
	// Folder is the run's, within the comparison's.
	Folder       string  `json:"folder"`
	Verdict      Verdict `json:"verdict"`
	ThresholdsOK bool    `json:"thresholds_ok"`
	ExitCode     int     `json:"exit_code"`
}

// VersusRow is one figure of all targets.
type VersusRow struct {
	Metric string       `json:"metric"`
	Name   string       `json:"name"`
	Unit   string       `json:"unit"`
	Cells  []VersusCell `json:"cells"`
}

// VersusCell is one figure of one target.
type VersusCell struct {
	Target string `json:"target"`
	// Values are those of the runs that count, in their order.
	Values []float64 `json:"values"`
	Median *float64  `json:"median"`
	// Ratio is the first target's median divided by this one's.
	Ratio *float64 `json:"ratio,omitempty"`
}

// versusMetric is a figure of the table.
type versusMetric struct{ metric, name, unit string }

// connectMetrics come first where nothing is published: connecting is all that happens. With
// messages the plan says how fast clients connect.
var connectMetrics = []versusMetric{
	{"connections_per_second", "connections made", "/s"},
	{"connect.p99", "connect p99", "ms"},
}

// versusMetrics are the figures of the table.
var versusMetrics = []versusMetric{
	{"server.cpu_us_per_delivery", "server CPU per delivery", "us"},
	{"delivery.p50", "delivery p50", "ms"},
	{"delivery.p99", "delivery p99", "ms"},
	{"completion.p50", "completion p50", "ms"},
	{"completion.p95", "completion p95", "ms"},
	{"completion.p99", "completion p99", "ms"},
	{"completion.max", "completion max", "ms"},
	{"server.rss_bytes_per_connection", "memory per idle connection", "bytes"},
	{"deliveries_per_second", "deliveries", "/s"},
	{"lost", "lost", ""},
	{"duplicated", "duplicated", ""},
	{"reordered", "reordered", ""},
}

// Fill works out the table from the runs' results, which are in the order of Runs.
// Runs that are invalid or were interrupted are left out of it, and listed; so are figures
// that no run has, unless there are none at all.
func (v *Versus) Fill(results []*Result) {
	values := func(target, metric string) []float64 {
		out := []float64{}
		for i, r := range results {
			if v.Runs[i].Target != target || r == nil || r.outOfFigures() != "" {
				continue
			}
			if x, reason := r.Metric(metric); reason == "" {
				out = append(out, x)
			}
		}
		return out
	}
	v.Table, v.Excluded = nil, nil
	metrics := versusMetrics
	if v.Loop == "idle" {
		metrics = slices.Concat(connectMetrics, versusMetrics)
	}
	var empty []VersusRow
	for _, m := range metrics {
		row := VersusRow{Metric: m.metric, Name: m.name, Unit: m.unit}
		for _, t := range v.Targets {
			c := VersusCell{Target: t, Values: values(t, m.metric)}
			c.Median = Median(c.Values)
			if len(row.Cells) > 0 {
				c.Ratio = ratio(row.Cells[0].Median, c.Median)
			}
			row.Cells = append(row.Cells, c)
		}
		if slices.ContainsFunc(row.Cells, func(c VersusCell) bool { return c.Median != nil }) {
			v.Table = append(v.Table, row)
		} else {
			empty = append(empty, row)
		}
	}
	if v.Table == nil {
		v.Table = empty
	}
	for i, r := range results {
		why := "it did not start"
		if r != nil {
			why = r.outOfFigures()
		}
		if why != "" {
			v.Excluded = append(v.Excluded, v.Runs[i].Folder+": "+why)
		}
	}
	v.compare(results)
}

// compare judges the first target against the others.
func (v *Versus) compare(results []*Result) {
	v.Comparisons = nil
	set := func(target string) Set {
		s := Set{Label: ShortTarget(target), Source: v.ID}
		for i, r := range results {
			if r != nil && v.Runs[i].Target == target {
				s.Runs, s.Blocks = append(s.Runs, r), append(s.Blocks, i/len(v.Targets))
			}
		}
		return s
	}
	for _, t := range v.Targets[1:] {
		o := DefaultCompareOptions()
		// They took turns on one machine. What differs all the same is told.
		o.Force = true
		c, err := Compare(set(t), set(v.Targets[0]), o)
		// The only error is that a side has no run, which the table shows.
		if err != nil || min(len(c.Base.Runs), len(c.New.Runs)) < minVersusRuns {
			continue
		}
		// The runs' own documents have the distributions.
		c.Curve = nil
		v.Comparisons = append(v.Comparisons, c)
	}
}

// Worse names the other targets that the first does worse than.
func (v *Versus) Worse() []string {
	var out []string
	for _, c := range v.Comparisons {
		if c.Verdict == stats.Regressed {
			out = append(out, c.Base.Label)
		}
	}
	return out
}

// GateRuns is the least number of runs of each side with which the exact test can
// reach 5 % in a family of six figures: 2/C(10,5) = 0.8 %.
const GateRuns = 5

// Decidable tells whether every other target was compared in runs enough to find the
// first one worse.
func (v *Versus) Decidable() bool {
	for _, c := range v.Comparisons {
		if min(len(c.Base.Runs), len(c.New.Runs)) < GateRuns {
			return false
		}
	}
	return len(v.Comparisons) == len(v.Targets)-1
}

// Median is the middle of some values, the mean of the middle two when their
// number is even, and nil when there are none.
func Median(values []float64) *float64 {
	if len(values) == 0 {
		return nil
	}
	s := slices.Sorted(slices.Values(values))
	m := s[len(s)/2]
	if len(s)%2 == 0 {
		m = (s[len(s)/2-1] + m) / 2
	}
	return &m
}

func ratio(a, b *float64) *float64 {
	if a == nil || b == nil || *b == 0 {
		return nil
	}
	return ptr(*a / *b)
}

// how says how the targets took turns.
func (v *Versus) how() string {
	if v.Duet {
		return "in duets"
	}
	return "in turn"
}

// Summary is the comparison for a terminal.
func (v *Versus) Summary(dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s %s, %s each, on the same work (%s, %s loop)\n", v.Scenario, strings.Join(shortTargets(v.Targets), ", "), v.how(),
		plural(int64(v.Repeat), "run"), v.Subprotocol, v.Loop)
	order := make([]string, len(v.Runs))
	for i, r := range v.Runs {
		order[i] = ShortTarget(r.Target)
		if r.Verdict != Valid {
			order[i] += " (" + string(r.Verdict) + ")"
		}
	}
	for i, line := range wrap("in this order: "+strings.Join(order, ", "), 96) {
		if i > 0 {
			line = "  " + line
		}
		fmt.Fprintf(&b, "  %s\n", line)
	}
	if v.Interrupted {
		b.WriteString("  interrupted: the table is of the runs that had ended\n")
	}
	for _, e := range v.Excluded {
		fmt.Fprintf(&b, "  left out: %s\n", clip(e, 110))
	}
	fmt.Fprintf(&b, "\n  %-27s", "medians")
	for i, t := range v.Targets {
		if i == 0 {
			fmt.Fprintf(&b, "%12s", clip(ShortTarget(t), 12))
			continue
		}
		fmt.Fprintf(&b, "%13s%9s", clip(ShortTarget(t), 12), "ratio")
	}
	b.WriteString("\n")
	for _, row := range v.Table {
		name := row.Name
		if row.Unit != "" && row.Unit != "bytes" {
			name += ", " + row.Unit
		}
		fmt.Fprintf(&b, "  %-27s", name)
		for i, c := range row.Cells {
			if i == 0 {
				fmt.Fprintf(&b, "%12s", cell(c.Median, row.Unit))
				continue
			}
			r := none
			if c.Ratio != nil {
				r = fmt.Sprintf("%.2fx", *c.Ratio)
			}
			fmt.Fprintf(&b, "%13s%9s", cell(c.Median, row.Unit), r)
		}
		b.WriteString("\n")
	}
	if len(v.Targets) > 1 {
		fmt.Fprintf(&b, "\n  ratio: what %s has, divided by what the other has\n", ShortTarget(v.Targets[0]))
	}
	for _, c := range v.Comparisons {
		fmt.Fprintf(&b, "\n  %s against %s: %s (Hodges-Lehmann ratios, intervals of %.4g %%)\n", c.New.Label, c.Base.Label, c.versusWords(), 100*(1-c.Alpha))
		for _, line := range c.byVerdict(versusWord, false) {
			b.WriteString("  " + line + "\n")
		}
		for _, line := range c.Losses {
			b.WriteString("    " + line + "\n")
		}
	}
	if dir != "" {
		fmt.Fprintf(&b, "\n  report: %s, and a folder for each run beside it\n", filepath.Join(dir, HTMLFile))
	}
	return b.String()
}

// versusWord is a verdict in words for two different servers, of which none is new.
func versusWord(v stats.Verdict) string {
	switch v {
	case stats.Regressed:
		return "worse"
	case stats.Improved:
		return "better"
	default:
		return string(v)
	}
}

// versusWords is the verdict over all primary figures; where some are worse and some
// better, it says how many, unless it is another for what was lost.
func (c *Comparison) versusWords() string {
	n := make(map[stats.Verdict]int)
	var verdicts []stats.Verdict
	for _, f := range c.Figures {
		if f.Primary {
			n[f.Verdict]++
			verdicts = append(verdicts, f.Verdict)
		}
	}
	worse, better := n[stats.Regressed], n[stats.Improved]
	if worse == 0 || better == 0 || stats.Overall(verdicts) != c.Verdict {
		return versusWord(c.Verdict)
	}
	return fmt.Sprintf("%s in %d, %s in %d", versusWord(stats.Improved), better, versusWord(stats.Regressed), worse)
}

func shortTargets(targets []string) []string {
	out := make([]string, len(targets))
	for i, t := range targets {
		out[i] = ShortTarget(t)
	}
	return out
}

func cell(v *float64, unit string) string {
	if v == nil {
		return none
	}
	if unit == "bytes" {
		return byteSize(*v)
	}
	return figure(*v)
}

// WriteVersus writes vs.json, report.html and summary.txt into dir.
func WriteVersus(dir string, v *Versus) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", VersusFile, err)
	}
	page, err := v.HTML()
	if err != nil {
		return fmt.Errorf("write %s: %w", HTMLFile, err)
	}
	return errors.Join(
		writeFile(filepath.Join(dir, VersusFile), append(data, '\n')),
		writeFile(filepath.Join(dir, HTMLFile), page),
		writeFile(filepath.Join(dir, SummaryFile), []byte(v.Summary(dir))),
	)
}

// ReadVersus loads a comparison of targets from its folder.
func ReadVersus(dir string) (*Versus, error) {
	v := &Versus{}
	if err := readDocument(dir, VersusFile, VersusSchema, v, func() string { return v.Schema }); err != nil {
		return nil, err
	}
	return v, nil
}
