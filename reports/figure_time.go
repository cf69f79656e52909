package reports

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxDrawn is how many points of a series are drawn: more than a chart has pixels are
// not seen.
const maxDrawn = 400

// The names of phases that the charts know.
const (
	phaseMeasure = "measure"
	phaseHold    = "hold"
	phaseRecover = "recover"
)

// kind is a phase's name without the fault that it belongs to, which a mark tells.
func (p Phase) kind() string {
	kind, _, _ := strings.Cut(p.Name, " ")
	return kind
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
		name := p.kind()
		if slices.Contains([]string{phaseMeasure, phaseHold, phaseRecover}, name) {
			class = name
		}
		c.bands = append(c.bands, band{from: from, to: to, name: name, class: class})
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
	r.markFaults(&c)
	c.x = timeAxis(lo, hi)
	return c
}

// markFaults adds a mark for each fault and its recovery, and a band for as long as it
// was held and recovered from.
func (r *Result) markFaults(c *chart) {
	from, to := r.measured()
	for _, f := range r.Faults {
		at := from + f.At/1000
		c.marks = append(c.marks, mark{x: at, name: f.Kind, class: "fault"})
		if f.Recovered != nil {
			c.marks = append(c.marks, mark{x: at + *f.Recovered/1000, name: "recovered"})
		}
	}
	if slices.ContainsFunc(r.Phases, func(p Phase) bool { return p.kind() == phaseHold || p.kind() == phaseRecover }) {
		return // their bands are there
	}
	held := r.spans(phaseHold, phaseRecover)
	for _, f := range r.Faults {
		if len(held) == 0 && f.Window > 0 {
			c.bands = append(c.bands, band{from: from + f.At/1000, to: math.Min(from+(f.At+f.Window)/1000, to), class: phaseHold})
		}
	}
	c.bands = append(c.bands, held...)
}

// spans are the bands of seconds that belong to the named phases.
func (r *Result) spans(names ...string) []band {
	var out []band
	for i, t := range r.Seconds.T {
		name := r.Seconds.Phase[i]
		if !slices.Contains(names, name) {
			continue
		}
		if n := len(out); n > 0 && out[n-1].class == name && t-out[n-1].to < 0.5 {
			out[n-1].to = t + 1
			continue
		}
		out = append(out, band{from: t, to: t + 1, class: name, name: name})
	}
	return out
}

// measured is the span of the measured phase, in seconds from the run's start.
func (r *Result) measured() (from, to float64) {
	for _, p := range r.Phases {
		if p.Name == phaseMeasure {
			return p.Start / 1000, p.End / 1000
		}
	}
	return 0, 0
}

// overTime is latency by second.
func (r *Result) overTime() plot {
	s := r.Seconds
	c := r.timeChart("Latency over time")
	for _, l := range []struct {
		name, class string
		values      []*float64
	}{{"max", "s4", s.Max}, {"p99", "s3", s.P99}, {"p90", "s2", s.P90}, {"p50", "s1", s.P50}} {
		c.lines = append(c.lines, line{name: l.name, class: l.class, points: thinSeries(series(s.T, l.values), maxDrawn)})
	}
	c.y = timeScale(ys(c.lines))
	t := table{Head: []string{"second", "phase", "delivered", "p50, ms", "p90, ms", "p99, ms", "max, ms"}}
	for i := range s.T {
		t.Rows = append(t.Rows, []string{second(s.T[i]), s.Phase[i], commas(s.Delivered[i]), figureOr(s.P50[i]), figureOr(s.P90[i]), figureOr(s.P99[i]), figureOr(s.Max[i])})
	}
	return c.plot("Percentiles over time", "Deliveries of each second, by their arrival, from the intended send. A line breaks where a second has too few deliveries for its percentile.", t)
}

// second writes a moment of the run.
func second(t float64) string { return strconv.FormatFloat(t, 'f', 1, 64) }

// heatColumns is how many columns a heat map is drawn with at most.
const heatColumns = 200

// heatmap is latency over time as counts: it shows the modes and stalls that lines of
// percentiles hide.
func (r *Result) heatmap() plot {
	h := r.Heatmap
	c := r.timeChart("Deliveries by time and latency")
	c.cells = h.cells(heatColumns)
	c.y = logAxis("ms", c.cells.edges[0], c.cells.edges[len(c.cells.edges)-1], plain)
	c.height = 280
	// The columns are wholes, and the first may begin before its phase.
	n := len(c.cells.xs)
	c.x = timeAxis(math.Min(c.x.min, c.cells.xs[0]), math.Max(c.x.max, c.cells.xs[n-1]+c.cells.width))
	most := int64(0)
	for _, col := range c.cells.counts {
		most = max(most, slices.Max(col))
	}
	caption := "Each cell is the deliveries of a span of time that took so long; its shade is the logarithm of their number."
	if c.cells.width > h.Step*1.01 {
		caption += fmt.Sprintf(" A column is %s s.", plain(c.cells.width))
	}
	p := c.plot("Latency heat map", caption, c.cells.table())
	p.Ramp = &ramp{From: "1", To: commas(most) + " deliveries"}
	return p
}

// cells are the map's columns, joined until they are at most n, and its rows from the
// first to the last that holds anything.
func (h *Heatmap) cells(n int) *cells {
	join := (len(h.T) + n - 1) / n
	join = max(join, 1)
	rows := len(h.Edges)
	first, last := rows, 0
	out := &cells{width: h.Step * float64(join)}
	for i, col := range h.Counts {
		if i%join == 0 {
			out.xs = append(out.xs, h.T[i])
			out.counts = append(out.counts, make([]int64, rows))
		}
		sum := out.counts[len(out.counts)-1]
		for j := range min(len(col), rows) {
			if col[j] > 0 {
				first, last = min(first, j), max(last, j)
			}
			sum[j] += col[j]
		}
	}
	if first > last {
		first = 0
	}
	// The rows' ratio gives the first row its lower edge.
	lower := h.Edges[first] / 2
	if first > 0 {
		lower = h.Edges[first-1]
	} else if rows > 1 && h.Edges[1] > h.Edges[0] {
		lower = h.Edges[0] * h.Edges[0] / h.Edges[1]
	}
	out.edges = append([]float64{lower}, h.Edges[first:last+1]...)
	for i := range out.counts {
		out.counts[i] = out.counts[i][first : last+1]
	}
	return out
}

// table has the map with its rows joined up to round latencies.
func (c *cells) table() table {
	hi := c.edges[len(c.edges)-1]
	var edges []float64
	for e := ceilTo125(c.edges[1]); ; e = ceilTo125(e * 1.01) {
		edges = append(edges, e)
		if e >= hi {
			break
		}
	}
	t := table{Head: []string{"second"}}
	for _, e := range edges {
		t.Head = append(t.Head, "up to "+plain(e)+" ms")
	}
	for i, at := range c.xs {
		row := []string{second(at)}
		j := 0
		for _, e := range edges {
			sum := int64(0)
			for ; j < len(c.counts[i]) && c.edges[j+1] <= e*1.0001; j++ {
				sum += c.counts[i][j]
			}
			text := ""
			if sum > 0 {
				text = commas(sum)
			}
			row = append(row, text)
		}
		t.Rows = append(t.Rows, row)
		t.X = append(t.X, at+c.width/2)
	}
	return t
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
		return thin(out, maxDrawn)
	}
	c.lines = []line{
		{name: "delivered", class: "s1", points: pick(0), area: true},
		{name: "sent, times subscribers", class: "s2", points: pick(1)},
	}
	if r.Loop == "open" {
		c.lines = append(c.lines, line{name: "planned, times subscribers", class: "s3", points: pick(2)})
	}
	c.y = linearAxis("deliveries/s", slices.Max(append(ys(c.lines), 1)), short)
	t := table{Head: []string{"second", "phase", "planned messages", "sent messages", "delivered"}}
	for i := range s.T {
		t.Rows = append(t.Rows, []string{second(s.T[i]), s.Phase[i], commas(s.Planned[i]), commas(s.Sent[i]), commas(s.Delivered[i])})
	}
	caption := fmt.Sprintf("What lies between planned and sent is the load generator's fault; between sent and delivered, the server's. In all %s planned, %s sent; %s of %s received, %s lost.",
		plural(r.Publisher.Planned, "message"), commas(r.Publisher.Sent), commas(r.Received), plural(r.Expected, "delivery"), commas(r.Lost))
	return c.plot("Throughput", caption, t)
}

// fan is how single messages reached their subscribers.
func (r *Result) fan() plot {
	s := r.Sample
	c := r.timeChart("Completion of single messages")
	for _, l := range []struct {
		name, class string
		values      []*float64
	}{{"100 %", "s4", s.Last}, {"99 %", "s3", s.At99}, {"90 %", "s2", s.At90}, {"50 %", "s1", s.At50}} {
		c.lines = append(c.lines, line{name: "until " + l.name, class: l.class, points: thinSeries(series(s.T, l.values), maxDrawn)})
	}
	c.y = timeScale(ys(c.lines))
	t := table{Head: []string{"intended at, s", "50 %, ms", "90 %, ms", "99 %, ms", "100 %, ms"}}
	for i := range s.T {
		t.Rows = append(t.Rows, []string{strconv.FormatFloat(s.T[i], 'f', 3, 64), figureOr(s.At50[i]), figureOr(s.At90[i]), figureOr(s.At99[i]), neverOr(s.Last[i])})
	}
	caption := fmt.Sprintf("Milliseconds from the intended send until that share of the subscribers had the message; %s shown of %s.",
		plural(int64(len(s.T)), "message"), commas(r.Messages))
	if r.Incomplete > 0 {
		caption += fmt.Sprintf(" A gap is a message that never reached that share; %s did not reach all.", commas(r.Incomplete))
	}
	return c.plot("Completion fan", caption, t)
}

// neverOr is a time, or the word for what did not happen.
func neverOr(v *float64) string {
	if v == nil {
		return "never"
	}
	return figure(*v)
}

func series(t []float64, values []*float64) []point {
	out := make([]point, len(t))
	for i := range t {
		out[i] = point{t[i], math.NaN()}
		if i < len(values) && values[i] != nil {
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
