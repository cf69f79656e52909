package reports

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"firetower/simulator/latency"
)

func (c chart) plot(title, caption string, t table) plot {
	p := plot{Title: title, Caption: caption, SVG: c.svg(), Table: t, Cursor: c.cursor, X0: c.x.min, X1: c.x.max, Log: c.x.log}
	for _, l := range c.lines {
		p.Legend = append(p.Legend, legend{l.class, l.name})
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

// percentileCurve is the classical HDR chart: latency over 1/(1-p), so that each
// nine gets the same width. A curve ends where its count cannot support it.
func (r *Result) percentileCurve() plot {
	names := []struct{ key, name, class string }{
		{"delivery", "delivery, from the intended send", "s1"},
		{"delivery_actual", "delivery, from the actual send", "s2"},
		{"completion", "completion (last subscriber of a message)", "s3"},
	}
	c := chart{label: "Latency by percentile", cursor: "percentile"}
	right := 10.0
	for _, n := range names {
		l := line{name: n.name, class: n.class, points: curve(r.Histograms[n.key])}
		if len(l.points) == 0 {
			continue
		}
		right = math.Max(right, l.points[len(l.points)-1].x)
		c.lines = append(c.lines, l)
	}
	c.y = timeScale(ys(c.lines))
	c.x = axis{title: "percentile", min: 1, max: right, log: true}
	for _, t := range []tick{{1, "0 %", false}, {2, "50 %", true}, {10, "90 %", false}, {100, "99 %", false}, {1e3, "99.9 %", false}, {1e4, "99.99 %", true}, {1e5, "99.999 %", true}, {1e6, "99.9999 %", true}} {
		if t.value <= right*1.001 {
			c.x.ticks = append(c.x.ticks, t)
		}
	}
	t := table{Head: []string{"ms", "count", "min", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"}}
	for _, name := range distributionNames {
		d := r.distribution(name)
		t.Rows = append(t.Rows, append([]string{label(name), commas(d.Count)}, d.cells()...))
	}
	for _, share := range []string{"50", "90", "99"} {
		if d, ok := r.CompletionAt[share]; ok {
			t.Rows = append(t.Rows, append([]string{share + " % of subscribers", commas(d.Count)}, d.cells()...))
		}
	}
	caption := "Each nine has the same width. A curve ends where its count no longer supports an upper bound at 95 % confidence."
	if r.Loop == "closed" {
		caption += " This is a closed loop: messages wait for each other, and no user would see these latencies."
	}
	return c.plot("Latency by percentile", caption, t)
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
		"delivery": "delivery", "delivery_actual": "delivery, actual send", "first": "first arrival",
		"completion": "completion", "spread": "spread (last - first)", "publish_ack": "publish acknowledged",
		"publish_lag": "publish lag", "connect": "connect",
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

// overTime is latency by second.
func (r *Result) overTime() plot {
	s := r.Seconds
	c := r.timeChart("Latency over time")
	for _, l := range []struct {
		name, class string
		values      []*float64
	}{{"max", "s4", s.Max}, {"p99", "s3", s.P99}, {"p90", "s2", s.P90}, {"p50", "s1", s.P50}} {
		c.lines = append(c.lines, line{name: l.name, class: l.class, points: thin(series(s.T, l.values), 600)})
	}
	c.y = timeScale(ys(c.lines))
	t := table{Head: []string{"second", "phase", "delivered", "p50", "p90", "p99", "max"}}
	for i := range s.T {
		t.Rows = append(t.Rows, []string{figure(s.T[i]), s.Phase[i], commas(s.Delivered[i]), figureOr(s.P50[i]), figureOr(s.P90[i]), figureOr(s.P99[i]), figureOr(s.Max[i])})
	}
	return c.plot("Latency over time", "Deliveries of each second, by their arrival, from the intended send.", t)
}

// throughput is what was planned, sent and delivered by second, all as deliveries.
// It shows the seconds that lie within the measured phase as a whole: the counts of
// others are of a part.
func (r *Result) throughput() plot {
	s := r.Seconds
	perMessage := 1.0
	if r.Messages > 0 {
		perMessage = float64(r.Expected) / float64(r.Messages)
	}
	c := r.timeChart("Deliveries in a second: planned, sent and delivered")
	sums := map[float64]*[3]float64{}
	var times []float64
	for i, t := range s.T {
		if sums[t] == nil {
			sums[t] = &[3]float64{}
			if from, to := r.measured(); t >= from && t+1 <= to {
				times = append(times, t)
			}
		}
		sums[t][0] += float64(s.Delivered[i])
		sums[t][1] += float64(s.Sent[i]) * perMessage
		sums[t][2] += float64(s.Planned[i]) * perMessage
	}
	pick := func(n int) []point {
		var out []point
		for _, t := range times {
			out = append(out, point{t + 0.5, sums[t][n]})
		}
		return thin(out, 600)
	}
	c.lines = []line{
		{name: "delivered", class: "s1", points: pick(0), area: true},
		{name: "sent, times subscribers", class: "s2", points: pick(1)},
	}
	if r.Loop == "open" {
		c.lines = append(c.lines, line{name: "planned, times subscribers", class: "s3", points: pick(2)})
	}
	hi := 1.0
	for _, v := range ys(c.lines) {
		hi = math.Max(hi, v)
	}
	c.y = linearAxis("deliveries/s", hi, short)
	t := table{Head: []string{"second", "phase", "planned messages", "sent messages", "delivered"}}
	for i := range s.T {
		t.Rows = append(t.Rows, []string{figure(s.T[i]), s.Phase[i], commas(s.Planned[i]), commas(s.Sent[i]), commas(s.Delivered[i])})
	}
	return c.plot("Throughput", "What lies between planned and sent is the load generator's fault; between sent and delivered, the server's.", t)
}

// measured is the span of the measured phase, in seconds from the run's start.
func (r *Result) measured() (from, to float64) {
	for _, p := range r.Phases {
		if p.Name == "measure" {
			return p.Start / 1000, p.End / 1000
		}
	}
	return 0, 0
}

// byRole adds up processes of one role, sample by sample.
func (r *Result) byRole(value func(Process, int) float64) (roles []string, lines map[string][]point) {
	lines = map[string][]point{}
	for _, p := range r.Processes {
		sum, seen := lines[p.Role]
		if !seen {
			roles = append(roles, p.Role)
		}
		for i, t := range p.T {
			// Samples of one moment are taken in one pass, so equal times are the rule; a
			// process that was restarted has fewer of them.
			at, ok := slices.BinarySearchFunc(sum, t, func(q point, t float64) int { return cmp(q.x, t) })
			if ok {
				sum[at].y += value(p, i)
				continue
			}
			sum = slices.Insert(sum, at, point{t, value(p, i)})
		}
		lines[p.Role] = sum
	}
	return roles, lines
}

func cmp(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (r *Result) resources() []plot {
	table := func(unit string, roles []string, lines map[string][]point, show func(float64) string) table {
		t := table{Head: []string{"second"}}
		rows := map[float64][]string{}
		var times []float64
		for i, role := range roles {
			t.Head = append(t.Head, role+unit)
			for _, p := range lines[role] {
				if rows[p.x] == nil {
					times = append(times, p.x)
					rows[p.x] = slices.Repeat([]string{none}, len(roles))
				}
				rows[p.x][i] = show(p.y)
			}
		}
		slices.Sort(times)
		for _, at := range times {
			t.Rows = append(t.Rows, append([]string{figure(at)}, rows[at]...))
		}
		return t
	}
	build := func(title, unit string, value func(Process, int) float64, show func(float64) string) plot {
		roles, lines := r.byRole(value)
		c := r.timeChart(title)
		hi := 0.0
		for i, role := range roles {
			c.lines = append(c.lines, line{name: role, class: "s" + strconv.Itoa(i%5+1), points: thin(lines[role], 600)})
		}
		for _, v := range ys(c.lines) {
			hi = math.Max(hi, v)
		}
		c.y = linearAxis(unit, hi, show)
		c.height = 190
		// The processes live longer than the traffic.
		if n := len(r.Phases); n > 0 {
			c.x = timeAxis(0, r.Phases[n-1].End/1000)
		}
		return c.plot(title, "", table(", "+unit, roles, lines, figure))
	}
	return []plot{
		build("CPU", "cores", func(p Process, i int) float64 { return p.Cores[i] }, plain),
		build("Resident memory", "MiB", func(p Process, i int) float64 { return float64(p.RSS[i]) / (1 << 20) }, plain),
	}
}

// fan is how single messages reached their subscribers.
func (r *Result) fan() plot {
	s := r.Sample
	c := r.timeChart("Completion of single messages")
	for _, l := range []struct {
		name, class string
		values      []*float64
	}{{"100 %", "s4", s.Last}, {"99 %", "s3", s.At99}, {"90 %", "s2", s.At90}, {"50 %", "s1", s.At50}} {
		c.lines = append(c.lines, line{name: "until " + l.name, class: l.class, points: thin(series(s.T, l.values), 600)})
	}
	c.y = timeScale(ys(c.lines))
	t := table{Head: []string{"intended at, s", "50 %", "90 %", "99 %", "100 %"}}
	for i := range s.T {
		t.Rows = append(t.Rows, []string{strconv.FormatFloat(s.T[i], 'f', 3, 64), figureOr(s.At50[i]), figureOr(s.At90[i]), figureOr(s.At99[i]), figureOr(s.Last[i])})
	}
	caption := fmt.Sprintf("Milliseconds from the intended send until that share of the subscribers had the message; %s shown of %s.",
		plural(int64(len(s.T)), "message"), commas(r.Messages))
	return c.plot("Completion fan", caption, t)
}

// timeChart is a chart over the seconds of the run in which messages flowed.
func (r *Result) timeChart(label string) chart {
	c := chart{label: label, cursor: "time"}
	lo, hi := math.Inf(1), 0.0
	for i, p := range r.Phases {
		from, to := p.Start/1000, p.End/1000
		class := "odd"
		if i%2 == 0 {
			class = "even"
		}
		if p.Name == "measure" {
			class = "measure"
		}
		c.bands = append(c.bands, band{from: from, to: to, name: p.Name, class: class})
		if p.Ledger != nil {
			lo, hi = math.Min(lo, from), math.Max(hi, to)
		}
	}
	if hi <= lo {
		lo, hi = 0, 1
		if n := len(r.Phases); n > 0 {
			hi = math.Max(r.Phases[n-1].End/1000, 1)
		}
	}
	// A second's row stands at its beginning, which may lie before its phase's.
	if n := len(r.Seconds.T); n > 0 && len(c.bands) > 0 {
		lo, hi = math.Min(lo, r.Seconds.T[0]), math.Max(hi, r.Seconds.T[n-1])
	}
	for _, p := range r.Phases {
		if p.Name == "measure" {
			for _, f := range r.Faults {
				c.marks = append(c.marks, mark{x: (p.Start + f.At) / 1000, name: f.Kind})
			}
		}
	}
	c.x = timeAxis(lo, hi)
	return c
}

func series(t []float64, values []*float64) []point {
	out := make([]point, len(t))
	for i := range t {
		out[i] = point{t[i], math.NaN()}
		if values[i] != nil {
			out[i].y = *values[i]
		}
	}
	return out
}

// short writes large axis values as 50k and 1.5M.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + "M"
	case v >= 1e3:
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	default:
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
}
