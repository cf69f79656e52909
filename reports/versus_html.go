package reports

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// HTML is the comparison of targets as one page that needs no other file.
func (v *Versus) HTML() ([]byte, error) {
	names := shortTargets(v.Targets)
	s := sheet{
		Title: fmt.Sprintf("%s: %s", v.Scenario, strings.Join(names, ", ")), Name: v.Scenario, On: "on " + strings.Join(names, ", "), Purpose: v.Purpose,
		Lines: []string{
			fmt.Sprintf("%s each, %s, on the same work: %s, %s loop", plural(int64(v.Repeat), "run"), v.how(), v.Subprotocol, v.Loop),
			v.Started.UTC().Format("2006-01-02 15:04:05 UTC") + ", " + seconds(float64(v.Ended.Sub(v.Started).Milliseconds())),
		},
		Footer: v.ID + " · " + v.Schema + " · the whole document stands in this page as JSON", Document: v,
	}
	if v.Interrupted {
		s.Reasons = append(s.Reasons, "Interrupted: the figures are of the runs that had ended.")
	}
	for _, e := range v.Excluded {
		s.Reasons = append(s.Reasons, "Left out: "+e)
	}
	all := v.medians()
	s.Sections = []section{{"Medians", []block{{Table: &all}}}}
	for _, c := range v.Comparisons {
		p := c.forest(versusWord)
		p.Title = fmt.Sprintf("%s divided by %s", c.New.Label, c.Base.Label)
		s.Sections = append(s.Sections, section{fmt.Sprintf("%s against %s: %s", c.New.Label, c.Base.Label, c.versusWords()), []block{plotBlock(p)}})
	}
	var figures []block
	for _, row := range v.Table {
		if p, ok := v.rowPlot(row); ok {
			figures = append(figures, plotBlock(p))
		}
	}
	runs := v.order()
	s.Sections = append(s.Sections, section{"The runs, one by one", figures}, section{"Order", []block{{Table: &runs}}})
	return s.html()
}

// medians is the table that the terminal shows as well.
func (v *Versus) medians() table {
	t := table{Head: []string{"medians"}}
	for i, target := range v.Targets {
		t.Head = append(t.Head, ShortTarget(target))
		if i > 0 {
			t.Head = append(t.Head, "ratio")
		}
	}
	for _, row := range v.Table {
		cells := []string{row.label()}
		for i, c := range row.Cells {
			cells = append(cells, cell(c.Median, row.Unit))
			if i > 0 {
				r := none
				if c.Ratio != nil {
					r = fmt.Sprintf("%.2fx", *c.Ratio)
				}
				cells = append(cells, r)
			}
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

func (r VersusRow) label() string {
	if r.Unit == "" || r.Unit == "bytes" {
		return r.Name
	}
	return r.Name + ", " + r.Unit
}

// rowPlot is one figure of all runs by target; ok is false when it is zero in all.
func (v *Versus) rowPlot(row VersusRow) (p plot, ok bool) {
	s := strips{label: row.Name + " of every run, by target", ref: math.NaN()}
	t := table{Head: []string{"target"}}
	most := 0.0
	for i, c := range row.Cells {
		r := stripRow{name: ShortTarget(c.Target), class: fmt.Sprintf("f%d", i%8+1), values: c.Values, text: cell(c.Median, row.Unit)}
		cells := []string{ShortTarget(c.Target)}
		for k, value := range c.Values {
			most = math.Max(most, value)
			r.titles = append(r.titles, fmt.Sprintf("%s, run %d: %s", r.name, k+1, withUnit(value, row.Unit)))
			cells = append(cells, cell(ptr(value), row.Unit))
		}
		s.rows = append(s.rows, r)
		t.Rows = append(t.Rows, cells)
	}
	if most <= 0 {
		return plot{}, false
	}
	columns := 0
	for _, r := range t.Rows {
		columns = max(columns, len(r))
	}
	for i := 1; i < columns; i++ {
		t.Head = append(t.Head, fmt.Sprintf("run %d", i))
	}
	for i := range t.Rows {
		for len(t.Rows[i]) < columns {
			t.Rows[i] = append(t.Rows[i], none)
		}
	}
	unit, divisor := row.Unit, 1.0
	if row.Unit == "bytes" {
		unit = "bytes"
		for _, u := range []string{"KiB", "MiB"} {
			if most/divisor >= 1024 {
				unit, divisor = u, divisor*1024
			}
		}
	}
	for i := range s.rows {
		s.rows[i].values = slices.Clone(s.rows[i].values)
		for k := range s.rows[i].values {
			s.rows[i].values[k] /= divisor
		}
	}
	s.x = linearAxis(unit, most/divisor, short)
	return plot{Title: row.Name, SVG: s.svg(), Table: t}, true
}

// order is the runs as they took turns.
func (v *Versus) order() table {
	t := table{Head: []string{"run", "target", "verdict", "thresholds", "folder"}, Words: 3, Text: true}
	for i, r := range v.Runs {
		held := "failed"
		if r.ThresholdsOK {
			held = "held"
		}
		t.Rows = append(t.Rows, []string{fmt.Sprint(i + 1), ShortTarget(r.Target), string(r.Verdict), held, r.Folder})
	}
	return t
}
