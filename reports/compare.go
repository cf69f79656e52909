package reports

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrUnlike says that results do not answer the same question, so that their
// figures cannot be compared.
var ErrUnlike = errors.New("the results are not of the same question")

// Comparison is two groups of runs beside each other.
type Comparison struct {
	Base, New Side
	// Unlike are the reasons for which a comparison would be refused, had it not been forced.
	Unlike []string
	// Differences are what differs between the machines and builds, one line each.
	Differences []string
	Rows        []ComparisonRow
}

// Side is one group of runs.
type Side struct {
	IDs []string
	// Excluded runs are invalid, and stand in no figure.
	Excluded []string
	Target   string
	Scenario string
	Commit   string
}

// ComparisonRow is one figure of both sides.
type ComparisonRow struct {
	Name, Unit string
	Base, New  []float64
	// Ratio is the median of New divided by that of Base.
	Ratio *float64
}

// ReadGroup reads the results that a path stands for: a run's folder, its
// result.json, or the folder of a comparison of targets, which stands for the runs
// of its first target. Paths may be joined by commas.
func ReadGroup(paths string) ([]*Result, error) {
	var out []*Result
	for _, path := range strings.Split(paths, ",") {
		path = strings.TrimSpace(path)
		if _, err := os.Stat(filepath.Join(path, VersusFile)); err == nil {
			v, err := ReadVersus(path)
			if err != nil {
				return nil, err
			}
			for _, run := range v.Runs {
				if run.Target != v.Targets[0] {
					continue
				}
				r, err := Read(filepath.Join(path, run.Folder))
				if err != nil {
					return nil, err
				}
				out = append(out, r)
			}
			continue
		}
		r, err := Read(path)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Compare puts two groups of runs beside each other. Runs of different questions
// are refused unless forced; invalid runs are left out and listed.
func Compare(base, next []*Result, force bool) (*Comparison, error) {
	c := &Comparison{}
	var baseRuns, newRuns []*Result
	c.Base, baseRuns = side(base)
	c.New, newRuns = side(next)
	if len(baseRuns) == 0 || len(newRuns) == 0 {
		return nil, fmt.Errorf("%w: no run of a side is valid or degraded (left out: %s)", ErrUnlike, strings.Join(slices.Concat(c.Base.Excluded, c.New.Excluded), ", "))
	}
	c.Unlike = unlike(slices.Concat(baseRuns, newRuns))
	if len(c.Unlike) > 0 && !force {
		return nil, fmt.Errorf("%w: %s", ErrUnlike, strings.Join(c.Unlike, "; "))
	}
	c.Differences = differences(baseRuns, newRuns)
	for _, m := range versusMetrics {
		row := ComparisonRow{Name: m.name, Unit: m.unit, Base: figures(baseRuns, m.metric), New: figures(newRuns, m.metric)}
		row.Ratio = ratio(Median(row.New), Median(row.Base))
		c.Rows = append(c.Rows, row)
	}
	return c, nil
}

func side(runs []*Result) (Side, []*Result) {
	var s Side
	var counted []*Result
	for _, r := range runs {
		if r.Verdict == Invalid {
			s.Excluded = append(s.Excluded, r.ID)
			continue
		}
		s.IDs = append(s.IDs, r.ID)
		s.Target, s.Scenario, s.Commit = r.Target, r.Scenario, r.commit()
		counted = append(counted, r)
	}
	return s, counted
}

// unlike says how the questions of some runs differ from that of the first.
func unlike(runs []*Result) []string {
	var out []string
	first := runs[0]
	for _, r := range runs[1:] {
		switch {
		case r.Scenario != first.Scenario:
			out = append(out, fmt.Sprintf("%s asks %s, %s asks %s", first.ID, first.Scenario, r.ID, r.Scenario))
		case r.Configuration.ScenarioHash != first.Configuration.ScenarioHash:
			out = append(out, fmt.Sprintf("%s and %s differ in %s", first.ID, r.ID, strings.Join(changed(first.Configuration.Scenario, r.Configuration.Scenario, noQuestion), ", ")))
		}
	}
	return out
}

// changed lists the keys of two printed scenarios or configurations that differ,
// with both values, leaving out those that skip names.
func changed(a, b string, skip func(key string) bool) []string {
	la, lb := scenarioLines(a), scenarioLines(b)
	var out []string
	for _, k := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(la.keys, lb.keys)))) {
		if la.values[k] != lb.values[k] && !skip(k) {
			out = append(out, fmt.Sprintf("%s (%s | %s)", k, or(la.values[k]), or(lb.values[k])))
		}
	}
	return out
}

// noQuestion are the keys of a scenario that are no part of its question: the seed,
// and how the servers are set.
func noQuestion(key string) bool {
	return key == "seed" || strings.HasPrefix(key, "gateway.") || strings.HasPrefix(key, "manager.")
}

func or(s string) string {
	if s == "" {
		return none
	}
	return s
}

type keyed struct {
	keys   []string
	values map[string]string
}

// scenarioLines maps the whole keys of a printed scenario or configuration to their
// values. It is a document that we printed: one key a line.
func scenarioLines(text string) keyed {
	k := keyed{values: map[string]string{}}
	table, entries := "", map[string]int{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch name, value, ok := strings.Cut(line, " = "); {
		case strings.HasPrefix(line, "[["):
			name := strings.Trim(line, "[]")
			table = fmt.Sprintf("%s[%d].", name, entries[name])
			entries[name]++
		case strings.HasPrefix(line, "["):
			table = strings.Trim(line, "[]") + "."
		case ok:
			// A server's configuration tells the origin of each value after it.
			value, _, _ = strings.Cut(value, "  #")
			k.keys = append(k.keys, table+name)
			k.values[table+name] = value
		}
	}
	return k
}

// differences lists what differs in machine, build and target.
func differences(base, next []*Result) []string {
	fields := []struct {
		name string
		get  func(*Result) string
	}{
		{"target", func(r *Result) string { return r.Target }},
		{"machine", func(r *Result) string {
			return fmt.Sprintf("%s, %d CPUs, %s", r.Environment.CPU, r.Environment.CPUs, byteSize(float64(r.Environment.Memory)))
		}},
		{"host", func(r *Result) string { return r.Environment.Hostname }},
		{"kernel", func(r *Result) string { return r.Environment.Kernel }},
		{"governor", func(r *Result) string { return r.Environment.Governor }},
		{"cgroup", func(r *Result) string { return r.Environment.CgroupCPU }},
		{"go", func(r *Result) string { return r.Environment.GoVersion }},
		{"GOMAXPROCS", func(r *Result) string { return fmt.Sprint(r.Environment.GOMAXPROCS) }},
		{"GOGC", func(r *Result) string { return r.Environment.GOGC }},
		{"commit", (*Result).commit},
		{"binary", func(r *Result) string { return clip(r.Environment.Binary, 13) }},
		{"gateway configuration", func(r *Result) string { return r.Configuration.Gateway }},
		{"manager configuration", func(r *Result) string { return r.Configuration.Manager }},
	}
	var out []string
	for _, f := range fields {
		a, b := distinct(base, f.get), distinct(next, f.get)
		if slices.Equal(a, b) {
			continue
		}
		if strings.HasSuffix(f.name, "configuration") {
			out = append(out, f.name+": "+strings.Join(changed(a[0], b[0], func(string) bool { return false }), ", "))
			continue
		}
		out = append(out, fmt.Sprintf("%s: %s | %s", f.name, or(strings.Join(a, " and ")), or(strings.Join(b, " and "))))
	}
	return out
}

func distinct(runs []*Result, get func(*Result) string) []string {
	var out []string
	for _, r := range runs {
		out = append(out, get(r))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (r *Result) commit() string {
	c := clip(r.Environment.Commit, 13)
	if r.Environment.Modified {
		c += " with changes"
	}
	return c
}

func figures(runs []*Result, metric string) []float64 {
	var out []float64
	for _, r := range runs {
		if v, reason := r.Metric(metric); reason == "" {
			out = append(out, v)
		}
	}
	return out
}

// String is the comparison for people, with what it cannot say.
func (c *Comparison) String() string {
	var b strings.Builder
	for _, s := range []struct {
		name string
		side Side
	}{{"base", c.Base}, {"new", c.New}} {
		fmt.Fprintf(&b, "%-5s %s on %s, %s: %s\n", s.name, s.side.Scenario, s.side.Target, plural(int64(len(s.side.IDs)), "run"), strings.Join(s.side.IDs, ", "))
		if len(s.side.Excluded) > 0 {
			fmt.Fprintf(&b, "      left out, invalid: %s\n", strings.Join(s.side.Excluded, ", "))
		}
	}
	for _, u := range c.Unlike {
		fmt.Fprintf(&b, "FORCED, not the same question: %s\n", u)
	}
	for _, d := range c.Differences {
		fmt.Fprintf(&b, "differs in %s\n", d)
	}
	fmt.Fprintf(&b, "\n  %-31s%12s%12s%10s%20s%20s\n", "", "base median", "new median", "new/base", "base range", "new range")
	for _, row := range c.Rows {
		name := row.Name
		if row.Unit != "" && row.Unit != "bytes" {
			name += ", " + row.Unit
		}
		r := none
		if row.Ratio != nil {
			r = fmt.Sprintf("%.3f", *row.Ratio)
		}
		fmt.Fprintf(&b, "  %-31s%12s%12s%10s%20s%20s\n", name, cell(Median(row.Base), row.Unit), cell(Median(row.New), row.Unit), r, span(row.Base, row.Unit), span(row.New, row.Unit))
	}
	n := min(len(c.Base.IDs), len(c.New.IDs))
	switch n {
	case 1:
		b.WriteString("\nA single run on a side: nothing here tells a change from noise. Two runs of one build\noften differ by 10 % and more; repeat both sides (loadtest run --repeat 5), in turn.\n")
	default:
		fmt.Fprintf(&b, "\nRatios of medians of at least %d runs a side. Where the ranges overlap, the ratio is no\nevidence of a change; no test of significance has been made.\n", n)
	}
	return b.String()
}

// span is the least and the greatest of some values.
func span(values []float64, unit string) string {
	if len(values) < 2 {
		return none
	}
	return cell(ptr(slices.Min(values)), unit) + " to " + cell(ptr(slices.Max(values)), unit)
}
