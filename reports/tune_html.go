package reports

import (
	"fmt"
	"math"
)

// HTML is the search as one page that needs no other file and no network.
func (t *Tune) HTML() ([]byte, error) {
	p := t.Search.sheet()
	p.Title = t.Headline()
	p.On = "tuned for " + t.Objective.Name
	p.Footer = t.ID + " · " + TuneSchema + " · the whole document stands in this page as JSON"
	p.Document = t
	p.Tiles = t.tiles()
	answer := []block{{Text: t.Findings}}
	if len(t.Candidates) > 0 {
		table := t.candidates()
		answer = append(answer, t.forest(), block{Heading: "Finalists and the default, in runs of their own", Table: &table})
	}
	for _, f := range []struct{ fold, text string }{{TuneGateway, t.Gateway}, {TuneManager, t.Manager}} {
		if f.text != "" {
			answer = append(answer, block{Fold: f.fold, Pre: f.text})
		}
	}
	p.Sections = append([]section{{"Recommendation", answer}}, renamed(p.Sections)...)
	return p.html()
}

// renamed tells the search's finding from the recommendation.
func renamed(sections []section) []section {
	for i := range sections {
		if sections[i].Title == "Finding" {
			sections[i].Title = "What the search found"
		}
	}
	return sections
}

func (t *Tune) tiles() []tile {
	s := t.Search
	take := tile{"take", none, "", string(t.Verdict)}
	if t.Recommended >= 0 {
		c := s.Cells[t.Recommended]
		take.Value = "default"
		if !c.Default {
			take.Value = "other"
			take.Note = s.Label(t.Recommended)
		}
	}
	out := []tile{take}
	if t.Recommended >= 0 {
		for i, o := range s.Objectives[:min(len(s.Objectives), 2)] {
			f := s.Cells[t.Recommended].Figures[i]
			note := "median of " + plural(int64(len(f.Values)), "run")
			if f.Ratio != nil {
				note = fmt.Sprintf("%s the default's", times(f.Ratio))
			}
			unit := o.Unit
			if unit == "bytes" {
				unit = ""
			}
			out = append(out, tile{o.Name, cell(f.Median, o.Unit), unit, note})
		}
	}
	return append(out,
		tile{"not told from the best", fmt.Sprint(len(t.Tie)), "of " + fmt.Sprint(len(t.Candidates)), "finalists and default"},
		tile{"tried", fmt.Sprint(t.Tried), fmt.Sprintf("of %.0f", t.Space), "settings"},
		tile{"runs", fmt.Sprint(len(s.Runs)), "", seconds(s.Seconds*1000) + " of " + seconds(t.Budget*1000)},
	)
}

// forest is the finalists against the default.
func (t *Tune) forest() block {
	d := dots{label: t.Objective.Name + " of the finalists against the default", from: 1 / (1 + t.Objective.Delta), to: 1 + t.Objective.Delta, ref: 1}
	lo, hi := 1.0, 1.0
	for _, c := range t.Candidates {
		f := t.Search.Cells[c.Cell].Figures[0]
		if f.Ratio == nil || f.Low == nil || f.High == nil {
			continue
		}
		lo, hi = math.Min(lo, *f.Low), math.Max(hi, *f.High)
		d.rows = append(d.rows, dotRow{name: t.Search.brief(c.Cell), text: times(f.Ratio), word: f.Verdict, class: wordColour(f.Verdict), lo: *f.Low, mid: *f.Ratio, hi: *f.High, title: t.Search.tell(c.Cell, 0)})
	}
	if len(d.rows) == 0 {
		return block{}
	}
	d.x = ratioScale("ratio to the default", lo, hi)
	return block{Plot: &plot{Title: capital(t.Objective.Name) + " against the default", Caption: fmt.Sprintf("The band is what counts as no difference, %s. %s", percent(t.Objective.Delta), t.Search.keys()), SVG: d.svg()}}
}

// wordColour is the class of a verdict in a drawing.
func wordColour(verdict string) string {
	switch verdict {
	case "improved":
		return "ok"
	case "regressed":
		return "bad"
	case "same":
		return "quiet"
	default:
		return "warn"
	}
}
