package reports

import (
	"fmt"
	"slices"
	"strings"
)

// fingerprintField is something that figures depend on beside what is compared.
type fingerprintField struct {
	name string
	get  func(*Result) string
}

// fingerprint is what both sides must have alike: with another machine, kernel or
// toolchain a ratio says nothing of the server.
var fingerprint = []fingerprintField{
	{"CPU model", func(r *Result) string { return r.Environment.CPU }},
	{"CPUs", func(r *Result) string { return fmt.Sprint(r.Environment.CPUs) }},
	{"kernel", func(r *Result) string { return r.Environment.Kernel }},
	{"go", func(r *Result) string { return r.Environment.GoVersion }},
	{"governor", func(r *Result) string { return r.Environment.Governor }},
	{"GOMAXPROCS", func(r *Result) string { return fmt.Sprint(r.Environment.GOMAXPROCS) }},
	// Clients that cost less leave more of a machine to the servers that share it.
	{"clients' engine", func(r *Result) string { return r.Generator.Engine }},
}

// differing are told, and commonly are what is compared.
var differing = []fingerprintField{
	{"target", func(r *Result) string { return r.Target }},
	{"memory", func(r *Result) string { return byteSize(float64(r.Environment.Memory)) }},
	{"host", func(r *Result) string { return r.Environment.Hostname }},
	{"cgroup", func(r *Result) string { return r.Environment.CgroupCPU }},
	{"GOGC", func(r *Result) string { return r.Environment.GOGC }},
	{"commit", (*Result).commit},
	{"binary", func(r *Result) string { return clip(r.build().Binary, 13) }},
	{"servers' go", func(r *Result) string { return r.build().Go }},
	{"gateway configuration", func(r *Result) string { return r.Configuration.Gateway }},
	{"manager configuration", func(r *Result) string { return r.Configuration.Manager }},
}

// build is what the servers were built from.
func (r *Result) build() ServerBuild {
	if r.Environment.Server != nil {
		return *r.Environment.Server
	}
	return ServerBuild{Binary: r.Environment.Binary, Commit: r.Environment.Commit, Modified: r.Environment.Modified, Go: r.Environment.GoVersion}
}

func (r *Result) commit() string {
	b := r.build()
	c := clip(b.Commit, 13)
	if b.Modified {
		c += " with changes"
	}
	return c
}

// unlike says why the runs of two sets cannot be compared: other questions, other
// machines, or two builds of which one is of code that no commit holds, unless they
// took turns and so were both at hand.
func unlike(base, next []*Result, turns bool) []string {
	var out []string
	all := slices.Concat(base, next)
	first := all[0]
	for _, r := range all[1:] {
		switch {
		case r.Scenario != first.Scenario:
			out = append(out, fmt.Sprintf("scenario: %s | %s", first.Scenario, r.Scenario))
		case r.Configuration.ScenarioHash != first.Configuration.ScenarioHash:
			keys := strings.Join(changed(first.Configuration.Scenario, r.Configuration.Scenario, noQuestion), ", ")
			if keys == "" {
				keys = fmt.Sprintf("sha256 %s | %s", clip(first.Configuration.ScenarioHash, 13), clip(r.Configuration.ScenarioHash, 13))
			}
			out = append(out, "scenario's keys: "+keys)
		case (r.Duet == "") != (first.Duet == ""):
			out = append(out, "the machine: one had it for itself, the other shared it with the other run of its duet")
		}
	}
	for _, f := range fingerprint {
		if len(distinct(all, f.get)) > 1 {
			out = append(out, f.name+": "+sides(base, next, f.get))
		}
	}
	if !turns && len(distinct(all, func(r *Result) string { return r.build().Binary })) > 1 {
		for _, r := range all {
			if r.build().Modified {
				out = append(out, fmt.Sprintf("commit: %s of %s, which nobody can build again", r.commit(), r.ID))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// differences lists what else differs in machine, build, target and settings.
func differences(base, next []*Result) []string {
	var out []string
	for _, f := range differing {
		a, b := distinct(base, f.get), distinct(next, f.get)
		if slices.Equal(a, b) {
			continue
		}
		if strings.HasSuffix(f.name, "configuration") {
			if a[0] == "" || b[0] == "" {
				continue // a server of another kind, as its target tells
			}
			if keys := changed(a[0], b[0], func(string) bool { return false }); len(keys) > 0 {
				out = append(out, f.name+": "+strings.Join(keys, ", "))
			}
			continue
		}
		out = append(out, f.name+": "+sides(base, next, f.get))
	}
	return out
}

// distinct are the different values of a field.
func distinct(runs []*Result, get func(*Result) string) []string {
	var out []string
	for _, r := range runs {
		out = append(out, get(r))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// sides writes a field's values of both sides.
func sides(base, next []*Result, get func(*Result) string) string {
	side := func(runs []*Result) string { return or(strings.Join(distinct(runs, get), " and ")) }
	return side(base) + " | " + side(next)
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
			k.values[table+name] = strings.TrimSpace(value)
		}
	}
	return k
}
