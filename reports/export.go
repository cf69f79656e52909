package reports

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrFormat says that there is no such export.
var ErrFormat = errors.New("is no format of an export")

// Formats are the forms that results are exported in.
func Formats() []string { return []string{"csv", "benchfmt", "hlog"} }

// Export writes results in a format for other tools. A histogram log holds one run.
func Export(w io.Writer, format string, runs []*Result) error {
	switch format {
	case "csv":
		return writeCSV(w, runs)
	case "benchfmt":
		return writeBenchmarks(w, runs)
	case "hlog":
		if len(runs) != 1 {
			return fmt.Errorf("a histogram log holds one run, got %d", len(runs))
		}
		return WriteLog(w, runs[0], runs[0].Intervals())
	default:
		return fmt.Errorf("%q %w: %s", format, ErrFormat, strings.Join(Formats(), ", "))
	}
}

// csvHead are the columns: one figure a line, so that any tool groups as it likes and
// files of many runs join by appending.
var csvHead = []string{"run", "scenario", "target", "kind", "series", "statistic", "phase", "t_s", "value", "unit"}

// writeCSV writes every figure of the runs, one a line: kind is scalar (a figure of the
// whole run), distribution, second (of one second), process or server (samples).
func writeCSV(w io.Writer, runs []*Result) error {
	out := csv.NewWriter(w)
	if err := out.Write(csvHead); err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
	for _, r := range runs {
		put := func(kind, series, statistic, phase string, t, value float64, unit string) {
			at := ""
			if kind != "scalar" && kind != "distribution" {
				at = strconv.FormatFloat(t, 'f', -1, 64)
			}
			// An error stays with the writer, which tells it below.
			_ = out.Write([]string{r.ID, r.Scenario, r.Target, kind, series, statistic, phase, at, strconv.FormatFloat(value, 'f', -1, 64), unit})
		}
		r.scalars(func(name string, value float64, unit string) { put("scalar", name, "", phaseMeasure, 0, value, unit) })
		for _, name := range distributionNames {
			r.points(name, *r.distribution(name), put)
		}
		for _, share := range slices.Sorted(maps.Keys(r.CompletionAt)) {
			r.points("completion_at_"+share, r.CompletionAt[share], put)
		}
		r.overSeconds(put)
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
	return nil
}

// scalars are the single figures that a run has, by the names that thresholds use.
func (r *Result) scalars(put func(name string, value float64, unit string)) {
	for _, name := range slices.Sorted(maps.Keys(scalars)) {
		if value, reason := scalars[name](r); reason == "" {
			put(name, value, scalarUnit(name))
		}
	}
}

// scalarUnit is the unit of a single figure, which its name tells.
func scalarUnit(name string) string {
	switch {
	case strings.HasSuffix(name, "_per_second"):
		return "1/s"
	case strings.Contains(name, "_bytes"):
		return "bytes"
	case strings.Contains(name, "_us_"):
		return "us"
	case strings.HasSuffix(name, "_seconds"):
		return "s"
	case strings.HasPrefix(name, "fault.") && name != "fault.lost_innocent":
		return "ms"
	default:
		return ""
	}
}

type putFigure func(kind, series, statistic, phase string, t, value float64, unit string)

func (r *Result) points(name string, d Distribution, put putFigure) {
	if d.Count == 0 {
		return
	}
	put("distribution", name, "count", "", 0, float64(d.Count), "")
	for _, p := range []string{"min", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"} {
		if v, reason := d.Get(p); reason == "" {
			put("distribution", name, p, "", 0, v, "ms")
		}
	}
}

// overSeconds writes what has a place in time.
func (r *Result) overSeconds(put putFigure) {
	s := r.Seconds
	for i, t := range s.T {
		for _, c := range []struct {
			name   string
			values []int64
		}{{"planned_messages", s.Planned}, {"sent_messages", s.Sent}, {"delivered", s.Delivered}} {
			put("second", c.name, "", s.Phase[i], t, float64(c.values[i]), "")
		}
		for _, c := range []struct {
			name   string
			values []*float64
		}{{"p50", s.P50}, {"p90", s.P90}, {"p99", s.P99}, {"max", s.Max}} {
			if c.values[i] != nil {
				put("second", "delivery", c.name, s.Phase[i], t, *c.values[i], "ms")
			}
		}
	}
	for _, p := range r.Processes {
		for i, t := range p.T {
			put("process", p.Name, "cores", "", t, p.Cores[i], "")
			put("process", p.Name, "rss", "", t, float64(p.RSS[i]), "bytes")
			if i < len(p.FDs) {
				put("process", p.Name, "fds", "", t, float64(p.FDs[i]), "")
			}
		}
	}
	if r.Series == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(r.Series.Values)) {
		for i, v := range r.Series.Values[name] {
			if v != nil && i < len(r.Series.T) {
				put("server", name, "", "", r.Series.T[i], *v, "")
			}
		}
	}
}

// benchmarkFigures are the figures of a run as benchfmt knows them: the factor brings
// the document's unit to the one that is named.
var benchmarkFigures = []struct {
	metric, unit string
	factor       float64
}{
	{"delivery.p50", "ns/delivery-p50", 1e6},
	{"delivery.p90", "ns/delivery-p90", 1e6},
	{"delivery.p99", "ns/delivery-p99", 1e6},
	{"delivery.p99.9", "ns/delivery-p99.9", 1e6},
	{"first.p50", "ns/first-p50", 1e6},
	{"completion.p50", "ns/completion-p50", 1e6},
	{"completion.p99", "ns/completion-p99", 1e6},
	{"publish_ack.p99", "ns/publish-ack-p99", 1e6},
	{"connect.p99", "ns/connect-p99", 1e6},
	{"reconnect.p99", "ns/reconnect-p99", 1e6},
	{"server.cpu_us_per_delivery", "cpu-ns/delivery", 1e3},
	{"server.rss_bytes_per_connection", "B/connection", 1},
	{"deliveries_per_second", "deliveries/s", 1},
	{"capacity.messages_per_second", "capacity-messages/s", 1},
	{"lost", "lost", 1},
}

// notInName is what may not stand in the value of a benchmark's name.
var notInName = regexp.MustCompile(`[^A-Za-z0-9_.@+-]+`)

// writeBenchmarks writes the text format of Go benchmarks, which benchstat reads: one
// line a run, so that repeated runs are repeated measurements.
func writeBenchmarks(w io.Writer, runs []*Result) error {
	var b strings.Builder
	last := map[string]string{}
	for _, f := range benchmarkFigures {
		better := "lower"
		if strings.HasSuffix(f.unit, "/s") {
			better = "higher"
		}
		fmt.Fprintf(&b, "Unit %s better=%s\n", f.unit, better)
	}
	for _, r := range runs {
		if why := r.outOfFigures(); why != "" {
			// What means nothing must not be averaged by a tool that cannot know.
			fmt.Fprintf(&b, "# %s is left out: %s\n", r.ID, oneLine(why))
			continue
		}
		e := r.Environment
		// benchstat makes a table of its own for each combination of these, so what
		// differs between runs that are to be compared stands in a comment.
		for _, c := range []struct{ key, value string }{{"goos", e.OS}, {"goarch", e.Arch}, {"cpu", e.CPU}} {
			if c.value = oneLine(c.value); c.value != last[c.key] {
				last[c.key] = c.value
				fmt.Fprintf(&b, "%s: %s\n", c.key, c.value)
			}
		}
		fmt.Fprintf(&b, "# run %s, %s, seed %d, commit %s, scenario %s\n", r.ID, r.Verdict, r.Seed, e.Commit, r.Configuration.ScenarioHash)
		fmt.Fprintf(&b, "BenchmarkFanout/scenario=%s/target=%s-%d\t1", nameValue(r.Scenario), nameValue(r.Target), max(e.GOMAXPROCS, 1))
		for _, f := range benchmarkFigures {
			if v, reason := r.Metric(f.metric); reason == "" {
				fmt.Fprintf(&b, "\t%s %s", strconv.FormatFloat(v*f.factor, 'f', -1, 64), f.unit)
			}
		}
		b.WriteByte('\n')
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write benchmarks: %w", err)
	}
	return nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// nameValue is a text as a value in a benchmark's name.
func nameValue(s string) string { return notInName.ReplaceAllString(s, "_") }
