package reports

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// shownCells is how many cells a summary lists of each question.
const shownCells = 12

// Summary is the sweep for a terminal: what it found first, then the best cells.
func (s *Sweep) Summary(dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", s.Headline())
	if s.Interrupted {
		fmt.Fprintf(&b, "  interrupted: go on with --resume %s\n", or(dir))
	}
	if s.Stopped != "" {
		fmt.Fprintf(&b, "  stopped: %s\n", s.Stopped)
	}
	for q := range s.Questions {
		s.writeQuestion(&b, q)
	}
	for _, d := range s.Drift {
		if d.Objective == 0 {
			lead := "drift"
			for _, line := range wrap(s.DriftLine(d), lineWidth-13) {
				fmt.Fprintf(&b, "  %-11s%s\n", lead, line)
				lead = ""
			}
		}
	}
	for i, e := range s.Excluded {
		if i == 5 {
			fmt.Fprintf(&b, "  left out   and %d more\n", len(s.Excluded)-i)
			break
		}
		fmt.Fprintf(&b, "  left out   %s\n", clip(e, 110))
	}
	if dir != "" {
		fmt.Fprintf(&b, "  report     %s\n", filepath.Join(dir, HTMLFile))
	}
	return b.String()
}

// Headline says what was swept, and how far it came.
func (s *Sweep) Headline() string {
	counted := 0
	for _, r := range s.Runs {
		if r.Counts() {
			counted++
		}
	}
	text := fmt.Sprintf("sweep of %s: %s, %s, %s that count, %s", s.Scenario, plural(int64(len(s.Cells)), "cell"), s.Design,
		plural(int64(counted), "run"), seconds(s.Seconds*1000))
	if !s.Complete {
		text += ", NOT COMPLETE"
	}
	return text
}

func (s *Sweep) writeQuestion(b *strings.Builder, q int) {
	question := s.Questions[q]
	b.WriteString("\n")
	if question.Name != "" {
		fmt.Fprintf(b, "%s\n", question.Name)
	}
	for i, f := range question.Findings {
		for j, line := range wrap(f, 96) {
			lead := "  "
			if i > 0 || j > 0 {
				lead = "    "
			}
			fmt.Fprintf(b, "%s%s\n", lead, line)
		}
	}
	if len(s.Objectives) == 0 {
		return
	}
	cells := s.Ranked(q)
	if len(cells) == 0 {
		return
	}
	t := s.columns(q)
	b.WriteString("\n")
	for _, line := range t.head() {
		fmt.Fprintf(b, "    %s\n", strings.TrimRight(line, " "))
	}
	shown := 0
	for i, c := range cells {
		if i >= shownCells && !s.Cells[c].Default {
			continue
		}
		shown++
		s.writeCell(b, c, t)
	}
	if shown < len(cells) {
		fmt.Fprintf(b, "    and %d more cells, see %s\n", len(cells)-shown, SweepCSVFile)
	}
	if left := len(s.Objectives) - t.objectives; left > 0 {
		fmt.Fprintf(b, "    and %s more of each, see %s\n", plural(int64(left), "figure"), SweepCSVFile)
	}
	b.WriteString("    = is not told from the best; * is on the Pareto front\n\n")
}

// cellTable is the columns of a question's cells in a terminal: their settings, how many
// runs they have, and as many of the objectives as there is room for.
type cellTable struct {
	names  []string // of all columns
	widths []int
	axes   []int // of the settings
	// objectives is how many are shown, from the first.
	objectives int
}

// The widths of an objective's column and of that of its ratio.
const (
	objectiveWidth = 14
	againstWidth   = 22
)

// columns lays out the table of a question.
func (s *Sweep) columns(question int) cellTable {
	var t cellTable
	total := 4
	add := func(name string, width int) {
		t.names, t.widths = append(t.names, name), append(t.widths, width)
		total += width
	}
	for i, a := range s.Axes {
		if a.Work {
			continue
		}
		width := len(a.Name)
		for _, c := range s.cellsOf(question) {
			width = max(width, len(s.Cells[c].Values[i]))
		}
		t.axes = append(t.axes, i)
		add(a.Name, width+2)
	}
	add("runs", 5)
	for i, o := range s.Objectives {
		if i > 0 && total+objectiveWidth > lineWidth {
			break
		}
		add(unitName(o), objectiveWidth)
		if i == 0 {
			add("against the default", againstWidth)
		}
		t.objectives++
	}
	return t
}

// head is the names of the columns, each over as many lines as it takes.
func (t cellTable) head() []string {
	columns, height := make([][]string, len(t.names)), 0
	for i, name := range t.names {
		columns[i] = wrap(name, t.widths[i]-1)
		height = max(height, len(columns[i]))
	}
	lines := make([]string, height)
	for i, column := range columns {
		for l := range lines {
			text := ""
			if at := l - (height - len(column)); at >= 0 {
				text = column[at]
			}
			lines[l] += t.pad(i, text)
		}
	}
	return lines
}

// pad fits a text into its column: settings stand on the left of theirs.
func (t cellTable) pad(column int, text string) string {
	if column < len(t.axes) {
		return fmt.Sprintf("%-*s", t.widths[column], text)
	}
	return fmt.Sprintf("%*s", t.widths[column], clip(text, t.widths[column]-1))
}

func (s *Sweep) writeCell(b *strings.Builder, index int, t cellTable) {
	c := s.Cells[index]
	mark := []byte("  ")
	if len(c.Figures) > 0 && c.Figures[0].Tie {
		mark[0] = '='
	}
	if c.Pareto {
		mark[1] = '*'
	}
	fmt.Fprintf(b, " %s ", mark)
	column := 0
	put := func(text string) {
		b.WriteString(t.pad(column, text))
		column++
	}
	for _, axis := range t.axes {
		put(c.Values[axis])
	}
	put(strconv.Itoa(c.Runs))
	for i, f := range c.Figures[:min(len(c.Figures), t.objectives)] {
		put(cell(f.Median, s.Objectives[i].Unit))
		if i == 0 {
			put(s.against(c, f))
		}
	}
	if c.Missed > 0 {
		fmt.Fprintf(b, "  missed a threshold in %d", c.Missed)
	}
	if c.Dropped {
		fmt.Fprintf(b, "  dropped in round %d", c.Round+1)
	}
	b.WriteString("\n")
}

// against is a cell's ratio to the default with its interval and verdict.
func (s *Sweep) against(cell SweepCell, f SweepFigure) string {
	switch {
	case cell.Default:
		return "the default"
	case f.Ratio == nil:
		return none
	default:
		return fmt.Sprintf("%s (%s-%s) %s", times(f.Ratio), strings.TrimSuffix(times(f.Low), "x"), strings.TrimSuffix(times(f.High), "x"), verdictSign(f.Verdict))
	}
}

// verdictSign is a verdict in one character.
func verdictSign(verdict string) string {
	switch verdict {
	case "improved":
		return "+"
	case "regressed":
		return "-"
	case "same":
		return "="
	default:
		return "?"
	}
}

func unitName(o SweepObjective) string {
	if o.Unit == "" || o.Unit == "bytes" {
		return o.Name
	}
	return o.Name + ", " + o.Unit
}

// Ranked are the cells of a question that have figures, by the first objective, those
// of later rounds before those that were dropped.
func (s *Sweep) Ranked(question int) []int {
	var cells []int
	for _, c := range s.cellsOf(question) {
		if s.Cells[c].Runs > 0 && len(s.Cells[c].Figures) > 0 && s.Cells[c].Figures[0].Median != nil {
			cells = append(cells, c)
		}
	}
	slices.SortStableFunc(cells, func(a, b int) int {
		x, y := s.Cells[a], s.Cells[b]
		switch {
		case x.Round != y.Round:
			return y.Round - x.Round
		case s.Objectives[0].better(*x.Figures[0].Median, *y.Figures[0].Median):
			return -1
		case s.Objectives[0].better(*y.Figures[0].Median, *x.Figures[0].Median):
			return 1
		default:
			return a - b
		}
	})
	return cells
}

// DriftLine says a drift in a sentence.
func (s *Sweep) DriftLine(d SweepDrift) string {
	o := s.Objectives[d.Objective]
	name := "the default's " + o.Name
	if q := s.Questions[d.Question].Name; q != "" {
		name += " at " + q
	}
	switch d.Verdict {
	case DriftUnknown:
		return fmt.Sprintf("%s: %s of it are too few to see a trend, %d are needed", name, plural(int64(d.Runs), "run"), minDrift)
	case DriftDrifted:
		return fmt.Sprintf("%s DRIFTED: the trend over %s is %s from start to end (p = %s); blocks share it among all cells", name, plural(int64(d.Runs), "run"), times(d.Change), pValue(d.P))
	default:
		return fmt.Sprintf("%s held steady over %s: trend %s from start to end (p = %s), spread of single runs %s", name, plural(int64(d.Runs), "run"), times(d.Change), pValue(d.P), percent(*d.Spread))
	}
}

func pValue(p *float64) string {
	if p == nil {
		return none
	}
	if *p < 0.001 {
		return "<0.001"
	}
	return strconv.FormatFloat(*p, 'g', 2, 64)
}

// CSV is a line for each run, with what it was made with and its figures.
func (s *Sweep) CSV() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	metrics := s.metricNames()
	head := []string{"run", "round", "block", "cell", "default"}
	for _, a := range s.Axes {
		head = append(head, a.Key)
	}
	head = append(head, "seed", "attempt", "started", "seconds", "verdict", "thresholds_ok", "counts")
	lines := [][]string{append(head, metrics...)}
	for _, r := range s.Runs {
		line := []string{r.Folder, strconv.Itoa(r.Round + 1), strconv.Itoa(r.Block + 1), strconv.Itoa(r.Cell), strconv.FormatBool(s.Cells[r.Cell].Default)}
		line = append(line, s.Cells[r.Cell].Values...)
		line = append(line, strconv.FormatUint(r.Seed, 10), strconv.Itoa(r.Attempt), r.Started.UTC().Format("2006-01-02T15:04:05.000Z"),
			strconv.FormatFloat(r.Seconds, 'f', 3, 64), string(r.Verdict), strconv.FormatBool(r.ThresholdsOK), strconv.FormatBool(r.Counts()))
		for _, m := range metrics {
			value := ""
			if v, ok := r.Metrics[m]; ok {
				value = strconv.FormatFloat(v, 'g', -1, 64)
			}
			line = append(line, value)
		}
		lines = append(lines, line)
	}
	// A buffer takes everything.
	_ = w.WriteAll(lines)
	return b.Bytes()
}

// metricNames are the metrics that runs of the sweep have, in a fixed order.
func (s *Sweep) metricNames() []string {
	var out []string
	add := func(name string) {
		if slices.Contains(out, name) {
			return
		}
		for _, r := range s.Runs {
			if _, ok := r.Metrics[name]; ok {
				out = append(out, name)
				return
			}
		}
	}
	for _, o := range s.Objectives {
		add(o.Metric)
	}
	for _, m := range sweepMetrics {
		add(m)
	}
	return out
}

// Bench is the sweep in the Go benchmark format, a line for each run that counts, the
// settings as /key=value of its name: benchstat -col /ConsumerNum compares by them.
// Format: golang.org/design/14313-benchmark-format.
func (s *Sweep) Bench() []byte {
	var b bytes.Buffer
	e := s.Environment
	for _, line := range [][2]string{{"goos", e.OS}, {"goarch", e.Arch}, {"cpu", e.CPU}, {"commit", e.Commit}} {
		if line[1] != "" {
			fmt.Fprintf(&b, "%s: %s\n", line[0], line[1])
		}
	}
	for _, r := range s.Runs {
		if !r.Counts() || len(r.Metrics) == 0 {
			continue
		}
		fmt.Fprintf(&b, "BenchmarkSweep/scenario=%s", benchWord(s.Scenario))
		for i, a := range s.Axes {
			fmt.Fprintf(&b, "/%s=%s", benchWord(a.Name), benchWord(s.Cells[r.Cell].Values[i]))
		}
		b.WriteString(" 1")
		for _, m := range s.metricNames() {
			if v, ok := r.Metrics[m]; ok {
				unit, value := benchUnit(m, Objective(m).Unit, v)
				fmt.Fprintf(&b, " %s %s", strconv.FormatFloat(value, 'g', -1, 64), unit)
			}
		}
		b.WriteString("\n")
	}
	return b.Bytes()
}

// benchWord has no character that would end a name or a part of it.
func benchWord(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == '=' || r <= ' ' {
			return '_'
		}
		return r
	}, s)
}

// benchUnit writes times as ns/NAME, which benchstat scales, and others as they are.
func benchUnit(metric, unit string, value float64) (string, float64) {
	name := strings.NewReplacer(".", "-", "_us", "").Replace(metric)
	switch unit {
	case "ms":
		return "ns/" + name, value * 1e6
	case "us":
		return "ns/" + name, value * 1e3
	case "bytes":
		return "B/" + strings.TrimSuffix(name, "_bytes"), value
	default:
		return name, value
	}
}
