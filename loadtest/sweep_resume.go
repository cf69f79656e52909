package loadtest

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"firetower/reports"
	"firetower/scenarios"
)

// ErrChanged is wrapped by the error for a sweep that cannot go on as it began.
var ErrChanged = errors.New("the sweep has changed")

// ErrOtherPlan is wrapped by the error for a sweep whose plan is not the one that it
// began with; the error names what differs.
var ErrOtherPlan = errors.New("the plan is another")

// ErrNoSearch is wrapped by the error for a document that is not of a search, or does not
// hold what a search needs to go on.
var ErrNoSearch = errors.New("is no search that can go on")

// SweepPlanOf is the plan that a sweep, or the sweep of a search, began with.
func SweepPlanOf(doc *reports.Sweep, m Machine) (*SweepPlan, error) {
	s, err := scenarios.Decode(doc.Scenario+".toml", []byte(doc.ScenarioTOML))
	if err != nil {
		return nil, err
	}
	var metrics []string
	for _, o := range doc.Objectives {
		metrics = append(metrics, o.Metric)
	}
	p, err := NewSweepPlan(s, SweepSettings{
		Grid: doc.Grid, Design: Design(doc.Design), Cells: doc.Drawn, Repeat: doc.Repeat, BaselineEvery: doc.BaselineEvery, Objectives: metrics,
	}, m)
	if err != nil || doc.Search == nil {
		return p, err
	}
	limits, err := thresholdsOf(doc.Search.Limits)
	if err != nil {
		return nil, err
	}
	p.search(*doc.Search, limits)
	return p, nil
}

// TunePlanOf is the plan that a search began with, from the document of its sweep.
func TunePlanOf(doc *reports.Sweep, m Machine) (*TunePlan, error) {
	if doc.Search == nil {
		return nil, fmt.Errorf("%s: %w", doc.ID, ErrNoSearch)
	}
	sweep, err := SweepPlanOf(doc, m)
	if err != nil {
		return nil, err
	}
	return &TunePlan{
		Settings: TuneSettings{
			Objective: sweep.Objectives[0].Metric, Constraints: sweep.halving.Constraints, Space: doc.Grid, Budget: sweep.budget,
		},
		Sweep: sweep, Space: combos(sweep.Axes),
	}, nil
}

func thresholdsOf(texts []string) ([]scenarios.Threshold, error) {
	var out []scenarios.Threshold
	for _, text := range texts {
		t, err := scenarios.ParseThreshold(text)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// search makes the sweep that of a search, whose confirming round is as long as the
// scenario's measured phase.
func (p *SweepPlan) search(of reports.SweepSearch, limits []scenarios.Threshold) {
	p.halving = &halving{
		Short: of.Short, Full: p.Base.Scenario.Phases.Measure.Seconds(), Finalists: of.Finalists, Confirm: true, Constraints: limits,
	}
	p.budget = time.Duration(of.Budget * float64(time.Second))
}

// openSweep makes the folder and the document of a sweep, or reads those of one to go on with.
func openSweep(o SweepOptions) (*reports.Sweep, string, error) {
	if o.Resume != "" {
		s, err := reports.ReadSweep(o.Resume)
		if err != nil {
			return nil, "", err
		}
		if differ := o.Plan.differences(s); len(differ) > 0 {
			return nil, o.Resume, fmt.Errorf("%s: %w: %s", o.Resume, ErrOtherPlan, strings.Join(differ, "; "))
		}
		if err := o.Plan.same(s, o.Options); err != nil && !o.Force {
			return nil, o.Resume, err
		}
		s.Stopped, s.Interrupted = "", false
		return s, o.Resume, nil
	}
	root := o.Options.Root
	if root == "" {
		root = filepath.Join("reports", "runs")
	}
	name := o.Name
	if name == "" {
		name = o.Plan.Base.Scenario.Name + "-sweep"
	}
	dir, err := reports.CreateFolder(root, name, time.Now())
	if err != nil {
		return nil, "", err
	}
	s := o.Plan.document()
	s.ID, s.Started, s.Overrides = filepath.Base(dir), time.Now(), o.Options.Overrides
	return s, dir, errors.Join(reports.WriteSweepState(dir, s), reports.PointLatest(root, dir))
}

// differences says in what the plan is not the one that a sweep began with, each as "what:
// was this, is that"; empty when it is the same.
func (p *SweepPlan) differences(s *reports.Sweep) []string {
	now := p.document()
	var out []string
	differ := func(what string, was, is any) {
		if a, b := fmt.Sprint(was), fmt.Sprint(is); a != b {
			out = append(out, fmt.Sprintf("%s: was %s, is %s", what, or(a), or(b)))
		}
	}
	kind := map[bool]string{true: "a search", false: "a sweep"}
	differ("kind", kind[s.Search != nil], kind[now.Search != nil])
	differ("scenario", s.Scenario, now.Scenario)
	differ("grid", s.Grid, now.Grid)
	differ("design", s.Design, now.Design)
	differ("objectives", metricsOf(s), metricsOf(now))
	if s.Search != nil && now.Search != nil {
		differ("limits", strings.Join(s.Search.Limits, ", "), strings.Join(now.Search.Limits, ", "))
		differ("budget", time.Duration(s.Search.Budget*float64(time.Second)), p.budget)
		differ("finalists", s.Search.Finalists, now.Search.Finalists)
		differ("measured phase of the search, seconds", s.Search.Short, now.Search.Short)
	}
	differ("cells", s.Drawn, now.Drawn)
	differ("repeats", s.Repeat, now.Repeat)
	differ("cells between defaults", s.BaselineEvery, now.BaselineEvery)
	was, is := flat(s.ScenarioTOML), flat(now.ScenarioTOML)
	for _, key := range slices.Sorted(maps.Keys(was)) {
		differ(key, was[key], is[key])
	}
	for _, key := range slices.Sorted(maps.Keys(is)) {
		if _, both := was[key]; !both {
			differ(key, "", is[key])
		}
	}
	if len(out) == 0 && s.PlanHash != now.PlanHash {
		out = append(out, "this build plans other cells, or the servers' defaults are others")
	}
	return out
}

// or shows an empty text as something that is there.
func or(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func metricsOf(s *reports.Sweep) string {
	var names []string
	for _, o := range s.Objectives {
		names = append(names, o.Metric)
	}
	return strings.Join(names, ", ")
}

// flat is a TOML document as its values by dotted key, tables in lists by their number.
func flat(text string) map[string]string {
	out := map[string]string{}
	var doc map[string]any
	if err := toml.Unmarshal([]byte(text), &doc); err != nil {
		return map[string]string{"scenario_toml": text}
	}
	var walk func(key string, v any)
	walk = func(key string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, below := range v {
				walk(strings.TrimPrefix(key+"."+name, "."), below)
			}
		case []any:
			for i, below := range v {
				walk(fmt.Sprintf("%s[%d]", key, i), below)
			}
		default:
			out[key] = fmt.Sprint(v)
		}
	}
	walk("", doc)
	return out
}

// same refuses to go on with a sweep on another machine, with another binary, or with
// other variables of Go's runtime, which the servers inherit.
func (p *SweepPlan) same(s *reports.Sweep, o Options) error {
	if s.Environment.CPU == "" {
		return nil // it has no run yet
	}
	o.Plan = p.Base
	now := readEnvironment(o, "")
	var problems []error
	for _, f := range []struct{ name, was, is string }{
		{"binary", short(s.Environment.Binary), short(now.Binary)},
		{"machine", s.Environment.CPU, now.CPU},
		{"CPUs", fmt.Sprint(s.Environment.CPUs), fmt.Sprint(now.CPUs)},
		{"kernel", s.Environment.Kernel, now.Kernel},
		{"host", s.Environment.Hostname, now.Hostname},
		{"CPU governor", s.Environment.Governor, now.Governor},
		{"GOMAXPROCS", fmt.Sprint(s.Environment.GOMAXPROCS), fmt.Sprint(now.GOMAXPROCS)},
		{"GOGC", s.Environment.GOGC, now.GOGC},
		{"GOMEMLIMIT", s.Environment.GOMEMLIMIT, now.GOMEMLIMIT},
	} {
		if f.was != f.is {
			problems = append(problems, fmt.Errorf("the %s is another: was %s, is %s", f.name, f.was, f.is))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	return nil
}

// short is the beginning of a hash.
func short(hash string) string { return hash[:min(len(hash), 12)] }
