package reports

import (
	"fmt"
	"strings"
)

// HTML is the report as one page that needs no other file and no network: styles
// and drawings stand in it, and so does the document itself, as JSON.
func (r *Result) HTML() ([]byte, error) {
	return sheet{
		Title:   fmt.Sprintf("%s on %s: %s", r.Scenario, r.Target, r.Verdict),
		Verdict: string(r.Verdict), Name: r.Scenario, On: "on " + r.Target, Purpose: r.Purpose,
		Lines: []string{
			strings.TrimSpace(r.subject()),
			r.Started.UTC().Format("2006-01-02 15:04:05 UTC") + ", " + seconds(float64(r.Ended.Sub(r.Started).Milliseconds())),
		},
		Reasons: r.firstOfAll(), Tiles: r.tiles(), Sections: r.sections(),
		Footer:   r.ID + " · " + r.Schema + " · the whole document stands in this page as JSON",
		Document: r,
	}.html()
}

// firstOfAll is what a reader must know before any figure.
func (r *Result) firstOfAll() []string {
	var out []string
	if r.Interrupted {
		out = append(out, "The run was interrupted; the figures are of what had been measured until then.")
	}
	if r.Failure != "" {
		out = append(out, r.Failure)
	}
	out = append(out, r.Reasons...)
	if busy := r.busy(); busy != "" {
		out = append(out, busy)
	}
	return out
}

// sections are the chapters of the page, in the order in which they are read: does it
// hold, how fast, when, why, at what cost, and can it be believed.
func (r *Result) sections() []section {
	var latency, overTime, budget []block
	if r.Delivery.Count > 0 {
		latency = []block{r.percentiles(), plotBlock(r.percentileCurve())}
		if h := r.Heatmap; h != nil && len(h.T) > 0 && len(h.Edges) > 0 && len(h.Counts) == len(h.T) {
			overTime = append(overTime, plotBlock(r.heatmap()))
		}
		overTime = append(overTime, plotBlock(r.overTime()), plotBlock(r.throughput()), plotBlock(r.fan()))
	}
	if len(r.Budget) > 0 {
		budget = []block{r.budget()}
	}
	resources := make([]block, 0, 8)
	for _, p := range append(r.resources(), r.series()...) {
		resources = append(resources, plotBlock(p))
	}
	processes := r.processTable()
	resources = append(resources, block{Heading: "Processes, in the measured phase", Table: &processes})
	checks := append([]block{{Checks: r.Checks}}, r.generatorBlocks()...)
	return []section{
		{"Thresholds", r.thresholdBlocks()},
		{"Capacity", r.capacityBlocks()},
		{"Latency", latency},
		{"Over time", overTime},
		{"Faults", r.faultBlocks()},
		{"Where the time goes", budget},
		{"Clients", r.clientBlocks()},
		{"Ledger", []block{{Columns: []block{
			{Heading: "Deliveries", Facts: r.ledgerFacts()},
			{Heading: "Messages, by " + r.Publisher.Via, Facts: r.publisherFacts()},
		}}}},
		{"Resources", append(resources, r.leaveBlock()...)},
		{"Self-check of the load generator", checks},
		{"Environment", r.environmentBlocks()},
	}
}

func plotBlock(p plot) block { return block{Plot: &p} }

func (r *Result) thresholdBlocks() []block {
	if len(r.Thresholds) == 0 {
		return nil
	}
	t := table{Head: []string{"must hold", "is", ""}, Words: 3, Text: true}
	for _, th := range r.Thresholds {
		word := "failed"
		if th.OK {
			word = "held"
		}
		t.Rows = append(t.Rows, []string{th.Text, th.is(), word})
	}
	return []block{{Table: &t}}
}

func (r *Result) environmentBlocks() []block {
	out := []block{{Facts: r.environmentFacts()}}
	if len(r.Configuration.Overrides) > 0 {
		var facts []fact
		for _, o := range r.Configuration.Overrides {
			facts = append(facts, fact{o.Key, o.Value + " (" + o.Origin + ")"})
		}
		out = append(out, block{Heading: "Overrides", Facts: facts})
	}
	for _, p := range []struct{ fold, text string }{
		{"Scenario, resolved", r.Configuration.Scenario},
		{"Gateway configuration", r.Configuration.Gateway},
		{"Manager configuration", r.Configuration.Manager},
	} {
		out = append(out, block{Fold: p.fold, Pre: p.text})
	}
	return out
}
