package reports

import (
	"fmt"
	"maps"
	"slices"
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

// sections are the chapters of the page, in the order in which they are read.
func (r *Result) sections() []section {
	var latency, overTime []block
	if r.Delivery.Count > 0 {
		latency = []block{plotBlock(r.percentileCurve())}
		overTime = []block{plotBlock(r.overTime()), plotBlock(r.throughput()), plotBlock(r.fan())}
	}
	var faults []string
	for _, f := range r.Faults {
		faults = append(faults, f.line())
	}
	resources := make([]block, 0, 3)
	for _, p := range r.resources() {
		resources = append(resources, plotBlock(p))
	}
	processes := r.processTable()
	resources = append(resources, block{Heading: "Processes, in the measured phase", Table: &processes})
	thresholds := r.thresholdBlocks()
	out := []section{{"Thresholds", thresholds}}
	if len(faults) > 0 {
		out = append(out, section{"Faults", []block{{Text: faults}}})
	}
	return append(out,
		section{"Latency", latency},
		section{"Over time", overTime},
		section{"Resources", resources},
		section{"Ledger", []block{{Columns: []block{
			{Heading: "Deliveries", Facts: r.ledgerFacts()},
			{Heading: "Messages, by " + r.Publisher.Via, Facts: r.publisherFacts()},
		}}}},
		section{"Self-check of the load generator", []block{{Checks: r.Checks}}},
		section{"Environment", r.environmentBlocks()},
	)
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

func (r *Result) tiles() []tile {
	count := func(d Distribution) string { return "of " + commas(d.Count) }
	lost := "of " + commas(r.Expected) + " expected"
	tiles := []tile{
		{"delivery p50", figureOr(r.Delivery.P50), "ms", count(r.Delivery)},
		{"delivery p99", figureOr(r.Delivery.P99), "ms", "max " + figureOr(r.Delivery.Max) + " ms"},
		{"completion p50", figureOr(r.Completion.P50), "ms", "p99 " + figureOr(r.Completion.P99) + " ms"},
		{"lost", commas(r.Lost), "", lost},
		{"throughput", short(roundTo(r.DeliveriesPerSecond, 3)), "/s", "deliveries"},
		{"server CPU", figureOr(r.Server.CPUMicrosPerDelivery), "µs", "per delivery"},
		{"server memory", byteSizeOr(r.Server.RSSBytesPerConnection), "", "per idle connection"},
		{"load CPU", figureOr(r.Generator.CPUMicrosPerMessage), "µs", "per message received"},
	}
	if r.Delivery.Count == 0 {
		return tiles[6:7]
	}
	return tiles
}

// roundTo keeps n significant digits.
func roundTo(v float64, n int) float64 {
	var out float64
	if _, err := fmt.Sscanf(fmt.Sprintf("%.*g", n, v), "%g", &out); err != nil {
		return v
	}
	return out
}

func (r *Result) ledgerFacts() []fact {
	facts := []fact{
		{"expected", commas(r.Expected)},
		{"received, each once", commas(r.Received)},
		{"lost", commas(r.Lost)},
		{"lost, not explained by a fault", commas(r.LostUnexplained)},
		{"duplicated", commas(r.Duplicated)},
		{"reordered", commas(r.Reordered)},
		{"late", commas(r.Late)},
		{"corrupt", commas(r.Corrupt)},
		{"foreign", commas(r.Foreign)},
		{"negative latency", commas(r.Negative)},
		{"messages that did not reach all", commas(r.Incomplete) + " of " + commas(r.Messages)},
		{"clients that lost their connection", commas(r.Disconnected)},
	}
	if r.Fairness != nil {
		facts = append(facts, fact{"fairness over connections (Jain)", fmt.Sprintf("%.6g", *r.Fairness)})
	}
	if r.Slow != nil {
		facts = append(facts, fact{"slow clients disconnected", fmt.Sprintf("%d of %d: %s", r.Slow.Disconnected, r.Slow.Connections, reasons(r.Slow.Closed))})
	}
	for _, group := range []struct {
		name   string
		values map[string]float64
	}{{"server drops", r.Server.Drops}, {"server disconnects", r.Server.Disconnects}} {
		for _, reason := range slices.Sorted(maps.Keys(group.values)) {
			if v := group.values[reason]; v != 0 {
				facts = append(facts, fact{group.name + ", " + reason, commas(int64(v))})
			}
		}
	}
	return facts
}

func (r *Result) publisherFacts() []fact {
	p := r.Publisher
	return []fact{
		{"planned", commas(p.Planned)},
		{"sent", commas(p.Sent)},
		{"refused by the server", commas(p.Refused)},
		{"dropped, too late to send", commas(p.Dropped)},
		{"never acknowledged", commas(p.Unacknowledged)},
		{"acknowledged, but not for every gateway", commas(p.Missed)},
	}
}

// reasons writes a count by reason in one line.
func reasons(m map[string]int64) string {
	parts := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, commas(m[k])+" with "+k)
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func (r *Result) processTable() table {
	t := table{Head: []string{"process", "pid", "CPU s", "cores", "waited s", "memory peak", "end"}}
	for _, p := range r.Processes {
		cores := none
		if r.MeasuredSeconds > 0 {
			cores = figure(p.CPUSeconds / r.MeasuredSeconds)
		}
		t.Rows = append(t.Rows, []string{p.Name, fmt.Sprint(p.PID), figure(p.CPUSeconds), cores, figure(p.WaitSeconds), byteSize(float64(p.RSSPeak)), p.Exit})
	}
	return t
}

func (r *Result) environmentFacts() []fact {
	e := r.Environment
	facts := []fact{
		{"machine", fmt.Sprintf("%s, %d CPUs, %s, %s", e.CPU, e.CPUs, byteSize(float64(e.Memory)), e.Hostname)},
		{"system", strings.TrimSpace(e.OS + "/" + e.Arch + " " + e.Kernel)},
		{"clock", e.Clock},
		{"governor", e.Governor},
		{"cgroup", "cpu " + e.CgroupCPU + ", memory " + e.CgroupMem},
		{"open files", commas(int64(min(e.OpenFiles, 1<<62))) + " for a process"},
		{"go", fmt.Sprintf("%s, GOMAXPROCS %d, GOGC %s, GOMEMLIMIT %s", e.GoVersion, e.GOMAXPROCS, e.GOGC, e.GOMEMLIMIT)},
	}
	if e.Commit != "" {
		commit := e.Commit
		if e.Modified {
			commit += " with changes"
		}
		facts = append(facts, fact{"commit", commit})
	}
	facts = append(facts, fact{"binary", clip(e.Binary, 16)}, fact{"CPU pressure before", e.PressureBefore})
	for _, k := range slices.Sorted(maps.Keys(e.Sysctl)) {
		facts = append(facts, fact{k, e.Sysctl[k]})
	}
	return facts
}
