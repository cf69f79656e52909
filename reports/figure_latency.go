package reports

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"firetower/simulator/latency"
)

func (c chart) plot(title, caption string, t table) plot {
	p := plot{Title: title, Caption: caption, SVG: c.svg(), Table: t, Cursor: c.cursor, X0: c.x.min, X1: c.x.max, Log: c.x.log}
	for _, l := range c.lines {
		p.Legend = append(p.Legend, legend{l.class, l.name})
	}
	if c.stacked {
		for i := range p.Legend {
			p.Legend[i].Class += " wide"
		}
	}
	return p
}

// timeScale is a latency axis: linear, or logarithmic when the values span so much
// that the lower ones would lie on the floor.
func timeScale(values []float64) axis {
	lo, hi := math.Inf(1), 0.0
	for _, v := range values {
		if math.IsNaN(v) {
			continue
		}
		lo, hi = math.Min(lo, v), math.Max(hi, v)
	}
	if hi > 0 && hi > 20*math.Max(lo, 1e-3) {
		return logAxis("ms", lo, hi, plain)
	}
	return linearAxis("ms", math.Max(hi, 1e-3), plain)
}

func ys(lines []line) []float64 {
	var out []float64
	for _, l := range lines {
		for _, p := range l.points {
			out = append(out, p.y)
		}
	}
	return out
}

// named is a distribution with its histogram, as a figure shows it.
type named struct {
	name, class string
	key         string
}

// curves is the classical HDR chart: latency over 1/(1-p), so that each nine gets the
// same width. A curve ends where its count cannot support it.
func (r *Result) curves(title, caption string, series []named) plot {
	c := chart{label: title, cursor: title}
	right := 10.0
	var drawn []named
	for _, n := range series {
		l := line{name: n.name, class: n.class, points: curve(r.Histograms[n.key])}
		if len(l.points) == 0 {
			continue
		}
		right = math.Max(right, l.points[len(l.points)-1].x)
		c.lines = append(c.lines, l)
		drawn = append(drawn, n)
	}
	values := ys(c.lines)
	top := slices.Max(append(values, 0))
	above := ""
	for _, t := range r.Thresholds {
		if dist, _, _ := strings.Cut(t.Metric, "."); t.Unit != "ms" || !slices.ContainsFunc(drawn, func(n named) bool { return n.key == dist }) {
			continue
		}
		// A limit far above all curves would press them to the floor.
		if t.Limit > 4*top {
			above += " The threshold " + t.Text + " lies above."
			continue
		}
		values = append(values, t.Limit)
		c.rules = append(c.rules, rule{t.Limit, t.Text})
	}
	c.y = timeScale(values)
	c.x = axis{title: "percentile", min: 1, max: right, log: true}
	for _, t := range []tick{{1, "0 %", false}, {2, "50 %", true}, {10, "90 %", false}, {100, "99 %", false}, {1e3, "99.9 %", false}, {1e4, "99.99 %", true}, {1e5, "99.999 %", true}, {1e6, "99.9999 %", true}} {
		if t.value <= right*1.001 {
			c.x.ticks = append(c.x.ticks, t)
		}
	}
	return c.plot(title, caption+above, r.curveTable(drawn, right))
}

// curveTable has the drawn curves at the usual percentiles.
func (r *Result) curveTable(series []named, right float64) table {
	t := table{Head: []string{"percentile"}}
	for _, n := range series {
		t.Head = append(t.Head, n.name+", ms")
	}
	for _, p := range []float64{0, 10, 25, 50, 75, 80, 85, 90, 92.5, 95, 97, 98, 99, 99.5, 99.75, 99.9, 99.95, 99.99, 99.995, 99.999, 99.9999} {
		x := 100 / (100 - p)
		if x > right {
			break
		}
		row := []string{strconv.FormatFloat(p, 'f', -1, 64) + " %"}
		for _, n := range series {
			h := r.Histograms[n.key]
			if Support(p) > h.Count() {
				row = append(row, none)
				continue
			}
			row = append(row, figure(Millis(h.Percentile(p))))
		}
		t.Rows = append(t.Rows, row)
		t.X = append(t.X, x)
	}
	return t
}

// percentileCurve is the latency of deliveries and messages.
func (r *Result) percentileCurve() plot {
	caption := "Each nine has the same width. A curve ends where its count no longer supports an upper bound at 95 % confidence."
	if r.Loop == "closed" {
		caption += " This is a closed loop: messages wait for each other, and no user would see these latencies."
	} else {
		caption += " What lies between the two curves of delivery is the publisher's own lag."
	}
	return r.curves("Latency by percentile", caption, []named{
		{"delivery, from the intended send", "s1", "delivery"},
		{"delivery, from the actual send", "s2", "delivery_actual"},
		{"completion (last subscriber of a message)", "s3", "completion"},
		{"first arrival", "s4", "first"},
	})
}

// percentiles is every distribution of the run with its count.
func (r *Result) percentiles() block {
	t := distributionTable("ms")
	add := func(name string, d Distribution) {
		if d.Count > 0 {
			t.Rows = append(t.Rows, append([]string{name, commas(d.Count)}, d.cells()...))
		}
	}
	for _, name := range distributionNames[:4] {
		if name == "completion" {
			for _, share := range []string{"50", "90", "99"} {
				add(share+" % of subscribers", r.CompletionAt[share])
			}
		}
		add(label(name), *r.distribution(name))
	}
	if row, ok := r.censored(); ok {
		t.Rows = append(t.Rows, row)
	}
	for _, name := range distributionNames[4:7] {
		add(label(name), *r.distribution(name))
	}
	return block{Table: &t, Text: r.percentileNotes()}
}

// distributionTable is an empty table of distributions.
func distributionTable(unit string) table {
	return table{Head: []string{unit, "count", "min", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"}}
}

// percentileNotes are what a reader of the percentiles must know.
func (r *Result) percentileNotes() []string {
	out := []string{"Milliseconds. A dash stands where the count is too small: p90 needs 36 values, p95 72, p99 368 and p99.9 3,688."}
	if r.Incomplete > 0 {
		out = append(out, fmt.Sprintf("%s of %s did not reach all subscribers until the end of the drain. Their completion is censored: the row \"completion\" is of the others alone, the row below it counts them as never complete.",
			commas(r.Incomplete), plural(r.Messages, "message")))
	}
	return out
}

// censored is completion over all messages, those included that were never complete:
// they take the upper end, as "never".
func (r *Result) censored() ([]string, bool) {
	h := r.Histograms["completion"]
	if r.Incomplete <= 0 || h == nil || h.Count() == 0 {
		return nil, false
	}
	all := h.Count() + r.Incomplete
	row := []string{"completion, of all messages", commas(all), figure(Millis(h.Min())), "never"}
	for _, p := range Points() {
		at := p.P * float64(all) / float64(h.Count())
		switch {
		case Support(p.P) > all:
			row = append(row, none)
		case at > 100:
			row = append(row, "never")
		default:
			row = append(row, figure(Millis(h.Percentile(at))))
		}
	}
	return append(row, "never"), true
}

func (d Distribution) cells() []string {
	out := make([]string, 0, 8)
	for _, v := range []*float64{d.Min, d.Mean, d.P50, d.P90, d.P95, d.P99, d.P999, d.Max} {
		out = append(out, figureOr(v))
	}
	return out
}

func label(name string) string {
	return map[string]string{
		"delivery": "delivery", "delivery_actual": "delivery, from the actual send", "first": "first arrival",
		"completion": "completion", "spread": "spread, last minus first", "publish_ack": "publish acknowledged",
		"publish_lag": "publish lag", "connect": "connect", "subscribe": "subscribe", "reconnect": "reconnect",
		"join": "join of a topic",
	}[name]
}

// curve is the percentile curve of a recorder, thinned.
func curve(h *latency.Recorder) []point {
	if h == nil || h.Count() == 0 {
		return nil
	}
	total := float64(h.Count())
	points := []point{{1, Millis(h.Min())}}
	var seen int64
	for _, b := range h.Buckets() {
		seen += b.Count
		p := float64(seen) / total
		if p >= 1 || float64(Support(p*100)) > total {
			break
		}
		points = append(points, point{1 / (1 - p), Millis(min(b.ToNS, h.Max()))})
	}
	// Equal steps on the chart's own scale, or the many buckets of the body would
	// take the points that the tail needs.
	logged := make([]point, len(points))
	for i, p := range points {
		logged[i] = point{math.Log10(p.x), p.y}
	}
	out := thin(logged, 160)
	for i := range out {
		out[i].x = math.Pow(10, out[i].x)
	}
	return out
}
