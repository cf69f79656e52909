package reports

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// byProcess are the samples of every process, or of every role when there are more
// processes than colours, all at the same moments.
func (r *Result) byProcess(value func(Process, int) float64) []line {
	name := func(p Process) string { return p.Name }
	names := map[string]bool{}
	for _, p := range r.Processes {
		names[p.Name] = true
	}
	if len(names) > 8 {
		name = func(p Process) string { return p.Role }
	}
	// Samples of one moment are taken in one pass, so equal times are the rule; a
	// process that was restarted has fewer of them.
	moments := map[float64]bool{}
	for _, p := range r.Processes {
		for _, t := range p.T {
			moments[t] = true
		}
	}
	times := slices.Sorted(maps.Keys(moments))
	var lines []line
	for _, p := range r.Processes {
		at := slices.IndexFunc(lines, func(l line) bool { return l.name == name(p) })
		if at < 0 {
			at = len(lines)
			l := line{name: name(p), class: "s" + strconv.Itoa(at%8+1)}
			for _, t := range times {
				l.points = append(l.points, point{t, math.NaN()})
			}
			lines = append(lines, l)
		}
		for i, t := range p.T {
			j, _ := slices.BinarySearch(times, t)
			y := &lines[at].points[j].y
			if math.IsNaN(*y) {
				*y = 0
			}
			*y += value(p, i)
		}
	}
	return lines
}

// linesTable is lines with the same x side by side.
func linesTable(lines []line, unit string, show func(float64) string) table {
	t := table{Head: []string{"second"}}
	for _, l := range lines {
		head := l.name
		if unit != "" {
			head += ", " + unit
		}
		t.Head = append(t.Head, head)
	}
	if len(lines) == 0 {
		return t
	}
	for i, p := range lines[0].points {
		row := []string{second(p.x)}
		for _, l := range lines {
			if v := l.points[i].y; math.IsNaN(v) {
				row = append(row, none)
			} else {
				row = append(row, show(v))
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// together thins lines with the same x at the same places, which a stack needs; what
// decides is their sum.
func together(lines []line, n int) []line {
	if len(lines) == 0 || len(lines[0].points) <= n {
		return lines
	}
	sum := slices.Clone(lines[0].points)
	for i := range sum {
		sum[i].y = 0
		for _, l := range lines {
			if v := l.points[i].y; !math.IsNaN(v) {
				sum[i].y += v
			}
		}
	}
	kept := thinIndices(sum, n)
	out := slices.Clone(lines)
	for k := range out {
		points := make([]point, 0, n)
		for _, i := range kept {
			points = append(points, lines[k].points[i])
		}
		out[k].points = points
	}
	return out
}

// resourceChart is a chart over the whole run: the processes live longer than the
// traffic.
func (r *Result) resourceChart(title string) chart {
	c := r.timeChart(title)
	c.height = 190
	if n := len(r.Phases); n > 0 {
		c.x = timeAxis(0, r.Phases[n-1].End/1000)
	}
	return c
}

// resources are CPU and memory of the processes.
func (r *Result) resources() []plot {
	cpu := r.byProcess(func(p Process, i int) float64 { return p.Cores[i] })
	memory := r.byProcess(func(p Process, i int) float64 { return float64(p.RSS[i]) / (1 << 20) })
	if len(cpu) == 0 || len(cpu[0].points) == 0 {
		return nil
	}
	c := r.resourceChart("CPU by process")
	c.stacked, c.lines = true, together(cpu, maxDrawn)
	hi := 0.0
	for i := range cpu[0].points {
		sum := 0.0
		for _, l := range cpu {
			if v := l.points[i].y; !math.IsNaN(v) {
				sum += v
			}
		}
		hi = math.Max(hi, sum)
	}
	if n := float64(r.Environment.CPUs); n > 0 && n < 2*hi {
		c.rules = []rule{{n, plural(int64(n), "CPU") + " of the machine"}}
		hi = math.Max(hi, n)
	}
	c.y = linearAxis("cores", hi, plain)
	m := r.resourceChart("Resident memory by process")
	for _, l := range memory {
		l.points = thinSeries(l.points, maxDrawn)
		m.lines = append(m.lines, l)
	}
	m.y = linearAxis("MiB", slices.Max(append(finite(ys(m.lines)), 1)), plain)
	return []plot{
		c.plot("CPU", "Stacked: servers and load generator share the machine, and what one takes, the other has not.", linesTable(cpu, "cores", figure)),
		m.plot("Resident memory", "", linesTable(memory, "MiB", figure)),
	}
}

func finite(values []float64) []float64 {
	return slices.DeleteFunc(values, math.IsNaN)
}

// seriesGroups sort what the servers tell of themselves into charts, by words in the
// names; the last takes the rest.
var seriesGroups = []struct {
	title, unit string
	words       []string
}{
	// What has a unit of its own comes first: bytes and counts have no common axis.
	{"Heap and backlog in bytes", "bytes", []string{"bytes"}},
	{"Pauses", "ms", []string{", ms"}},
	{"Rates", "per second", []string{"/s"}},
	{"Goroutines", "goroutines", []string{"goroutine"}},
	{"Queue depths and backlogs", "waiting", []string{"queue", "depth", "backlog", "pending", "inflight", "in flight", "waiting", "chan"}},
	{"Connections and subscriptions", "", []string{"connection", "client", "subscription", "topic"}},
	{"Further figures of the servers", "", nil},
}

// series are the servers' own gauges and rates.
func (r *Result) series() []plot {
	if r.Series == nil || len(r.Series.T) == 0 {
		return nil
	}
	groups := make([][]string, len(seriesGroups))
	for _, name := range slices.Sorted(maps.Keys(r.Series.Values)) {
		at := slices.IndexFunc(seriesGroups, func(g struct {
			title, unit string
			words       []string
		},
		) bool {
			return g.words == nil || slices.ContainsFunc(g.words, func(w string) bool { return strings.Contains(strings.ToLower(name), w) })
		})
		groups[at] = append(groups[at], name)
	}
	var out []plot
	for i, names := range groups {
		if len(names) > 0 {
			out = append(out, r.seriesPlot(seriesGroups[i].title, seriesGroups[i].unit, names))
		}
	}
	return out
}

func (r *Result) seriesPlot(title, unit string, names []string) plot {
	c := r.resourceChart(title)
	full := make([]line, 0, len(names))
	for i, name := range names {
		full = append(full, line{name: name, class: "s" + strconv.Itoa(i%8+1), points: series(r.Series.T, r.Series.Values[name])})
	}
	for _, l := range full {
		l.points = thinSeries(l.points, maxDrawn)
		c.lines = append(c.lines, l)
	}
	c.y = linearAxis(unit, slices.Max(append(finite(ys(c.lines)), 1)), short)
	if unit == "bytes" {
		c.y = linearAxis("MiB", slices.Max(append(finite(ys(c.lines)), 1))/(1<<20), plain)
		for i := range c.lines {
			c.lines[i].points = scaled(c.lines[i].points, 1<<20)
		}
		return c.plot(title, "", linesTable(full, "bytes", func(v float64) string { return commas(int64(v)) }))
	}
	return c.plot(title, "", linesTable(full, "", figure))
}

func scaled(points []point, by float64) []point {
	out := slices.Clone(points)
	for i := range out {
		out[i].y /= by
	}
	return out
}
