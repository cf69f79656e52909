package reports

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

// page is parsed once; a template is safe for concurrent use.
var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"plot": func(p plot) template.HTML {
		// chart.draw escapes every text that it writes.
		return template.HTML(p.SVG) // see above
	},
}).Parse(pageText))

// tile is one key figure.
type tile struct{ Name, Value, Unit, Note string }

// fact is a line of a two-column list.
type fact struct{ Name, Value string }

// pageData is what the template takes.
type pageData struct {
	R           *Result
	Style       template.CSS
	Subject     string
	Busy        string
	Headline    string
	When        string
	Tiles       []tile
	Latency     []plot
	Time        []plot
	Resources   []plot
	Ledger      []fact
	Publisher   []fact
	Processes   table
	Thresholds  []thresholdRow
	Faults      []string
	Environment []fact
	JSON        template.JS
}

type thresholdRow struct {
	Text, Is string
	OK       bool
}

// HTML is the report as one page that needs no other file and no network: styles
// and drawings stand in it, and so does the document itself, as JSON.
func (r *Result) HTML() ([]byte, error) {
	// Marshal writes <, > and & as escapes, so that no text of a run can end the
	// script element that the document stands in.
	doc, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	d := pageData{
		R: r, Style: template.CSS(pageStyle), // our own file
		Subject: strings.TrimSpace(r.subject()), Busy: r.busy(), Headline: r.Headline(),
		When:      r.Started.UTC().Format("2006-01-02 15:04:05 UTC") + ", " + seconds(float64(r.Ended.Sub(r.Started).Milliseconds())),
		Tiles:     r.tiles(),
		Resources: r.resources(),
		Ledger:    r.ledgerFacts(), Publisher: r.publisherFacts(), Processes: r.processTable(),
		Environment: r.environmentFacts(),
		JSON:        template.JS(doc), // escaped by Marshal, see above
	}
	if r.Delivery.Count > 0 {
		d.Latency = []plot{r.percentileCurve()}
		d.Time = []plot{r.overTime(), r.throughput(), r.fan()}
	}
	for _, t := range r.Thresholds {
		d.Thresholds = append(d.Thresholds, thresholdRow{t.Text, t.is(), t.OK})
	}
	for _, f := range r.Faults {
		d.Faults = append(d.Faults, f.line())
	}
	var b bytes.Buffer
	if err := page.Execute(&b, d); err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	return b.Bytes(), nil
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
