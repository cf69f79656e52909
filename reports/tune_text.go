package reports

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Summary is the search for a terminal: the recommendation first.
func (t *Tune) Summary(dir string) string {
	var b strings.Builder
	s := t.Search
	fmt.Fprintf(&b, "%s\n", t.Headline())
	if s.Interrupted {
		fmt.Fprintf(&b, "  interrupted: go on with firetower tune --resume %s\n", or(dir))
	}
	for _, f := range t.Findings {
		for j, line := range wrap(f, 96) {
			lead := "  "
			if j > 0 {
				lead = "    "
			}
			fmt.Fprintf(&b, "%s%s\n", lead, line)
		}
	}
	if len(t.Candidates) > 0 {
		b.WriteString("\n")
		t.writeCandidates(&b)
	}
	fmt.Fprintf(&b, "\n  search     %s of %.0f combinations tried, %s in %s of a budget of %s\n", plural(int64(t.Tried), "setting"), t.Space,
		plural(int64(len(s.Runs)), "run"), seconds(s.Seconds*1000), seconds(t.Budget*1000))
	if s.Stopped != "" {
		fmt.Fprintf(&b, "  stopped    %s\n", s.Stopped)
	}
	for i, e := range s.Excluded {
		if i == 3 {
			fmt.Fprintf(&b, "  left out   and %d more\n", len(s.Excluded)-i)
			break
		}
		fmt.Fprintf(&b, "  left out   %s\n", clip(e, 110))
	}
	if dir != "" {
		if t.Gateway != "" {
			fmt.Fprintf(&b, "  apply it   firetower gateway --config %s\n", filepath.Join(dir, TuneGateway))
		}
		if t.Manager != "" {
			fmt.Fprintf(&b, "             firetower manager --config %s\n", filepath.Join(dir, TuneManager))
		}
		fmt.Fprintf(&b, "  report     %s\n", filepath.Join(dir, HTMLFile))
	}
	return b.String()
}

// Headline is what the search came to, in one line.
func (t *Tune) Headline() string {
	goal := "least " + t.Objective.Name
	if t.Objective.Higher {
		goal = "most " + t.Objective.Name
	}
	if len(t.Constraints) > 0 {
		var limits []string
		for _, c := range t.Constraints {
			limits = append(limits, c.Text)
		}
		goal += " at " + strings.Join(limits, ", ")
	}
	text := fmt.Sprintf("tune %s for %s: ", t.Search.Scenario, goal)
	switch t.Verdict {
	case TuneImproved, TuneKeeps:
		return text + "take " + t.Search.Label(t.Recommended)
	case TuneDefault:
		return text + "keep the default"
	case TuneNone:
		return text + "no setting keeps the limits"
	default:
		return text + "NOT CONFIRMED"
	}
}

func (t *Tune) writeCandidates(b *strings.Builder) {
	table := t.candidates()
	width := make([]int, len(table.Head))
	for _, row := range append([][]string{table.Head}, table.Rows...) {
		for i, c := range row {
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	for _, row := range append([][]string{table.Head}, table.Rows...) {
		var line strings.Builder
		for i, c := range row {
			gap := strings.Repeat(" ", width[i]-len([]rune(c)))
			if i == 0 {
				line.WriteString("  " + c + gap)
			} else {
				line.WriteString("  " + gap + c)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// candidates is the table of the finalists and the default.
func (t *Tune) candidates() table {
	s := t.Search
	out := table{Head: []string{"finalist", "runs"}}
	for i, o := range s.Objectives {
		out.Head = append(out.Head, unitName(o))
		if i == 0 {
			out.Head = append(out.Head, "/ default", "verdict", "not told from the best")
		}
	}
	for _, c := range t.Constraints {
		out.Head = append(out.Head, c.Text)
	}
	out.Words = 5
	for _, c := range t.Candidates {
		cl := s.Cells[c.Cell]
		name := s.Label(c.Cell)
		if cl.Default {
			name += " (default)"
		}
		if c.Cell == t.Recommended {
			name += " <- take this"
		}
		row := []string{name, fmt.Sprint(cl.Runs)}
		for i, o := range s.Objectives {
			f := cl.Figures[i]
			row = append(row, cell(f.Median, o.Unit))
			if i == 0 {
				ratio, tie := none, "no"
				if f.Ratio != nil {
					ratio = fmt.Sprintf("%s (%s to %s)", times(f.Ratio), times(f.Low), times(f.High))
				}
				if slices.Contains(t.Tie, c.Cell) {
					tie = "yes"
				}
				row = append(row, ratio, f.Verdict, tie)
			}
		}
		for i := range t.Constraints {
			row = append(row, fmt.Sprintf("held in %d of %d", c.Held[i], cl.Runs))
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}
