package loadtest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"firetower/config/suggest"
	"firetower/reports"
	"firetower/scenarios"
)

// SweepSettings are what a sweep is asked for, beside its scenario.
type SweepSettings struct {
	// Grid is the axes, as ParseGrid reads them.
	Grid string
	// Design chooses the cells, Cells is how many for DesignRandom, and for DesignHalving
	// unless it begins with all.
	Design Design
	Cells  int
	// Repeat is how often each cell runs, in the last round.
	Repeat int
	// BaselineEvery is after how many cells a default runs again.
	BaselineEvery int
	// Objectives are the metrics that cells are judged by, the first one first. Empty:
	// what the scenario's load asks for.
	Objectives []string
}

// SweepPlan is a sweep before it starts: every cell has been planned, and fits.
type SweepPlan struct {
	Settings   SweepSettings
	Base       *Plan
	Axes       []reports.SweepAxis
	Objectives []reports.SweepObjective
	// Plans are those of Cells, by index.
	Plans     []*Plan
	Cells     []reports.SweepCell
	Questions []reports.SweepQuestion

	// halving, of DesignHalving and of a search for the best setting.
	halving *halving
	budget  time.Duration
}

// halving is how cells are dropped.
type halving struct {
	// Short is the measured phase of the rounds before the last, in seconds, Full that of the last.
	Short, Full float64
	// Finalists are the cells of the last round, the default not counted.
	Finalists int
	// Confirm says that the last round's runs alone make the figures.
	Confirm bool
	// Constraints must hold, or a cell ranks behind all that hold them.
	Constraints []scenarios.Threshold
}

// ErrTwice is wrapped by the error for two cells that are the same setting.
var ErrTwice = errors.New("is the same setting")

// NewSweepPlan plans every cell, and refuses the sweep when one of them cannot be.
func NewSweepPlan(s scenarios.Scenario, o SweepSettings, m Machine) (*SweepPlan, error) {
	if o.Repeat < 1 || o.Repeat > 100 {
		return nil, fmt.Errorf("--repeat: must be 1 to 100, got %d", o.Repeat)
	}
	if o.BaselineEvery < 1 {
		return nil, fmt.Errorf("--baseline-every: must be at least 1, got %d", o.BaselineEvery)
	}
	if o.Cells != 0 && o.Design != DesignRandom && o.Design != DesignHalving {
		return nil, fmt.Errorf("--cells: is for --design %s and %s; %s takes all of its cells", DesignRandom, DesignHalving, o.Design)
	}
	base, err := NewPlan(s, Firetower, m)
	if err != nil {
		return nil, err
	}
	p := &SweepPlan{Settings: o, Base: base}
	if p.Axes, err = ParseGrid(o.Grid); err != nil {
		return nil, err
	}
	for i := range p.Axes {
		p.Axes[i].Default = valueIn(base, p.Axes[i].Key)
	}
	if p.Objectives, err = objectives(s, o.Objectives); err != nil {
		return nil, err
	}
	if o.Design == DesignHalving {
		full := s.Phases.Measure.Seconds()
		p.halving = &halving{Short: max(full/2, min(full, 2)), Full: full, Finalists: 4}
	}
	if err := supported(s, p.Objectives); err != nil {
		return nil, err
	}
	return p, p.plan(s, m)
}

// perMessage are the distributions that have a value for each message, and not for each delivery.
var perMessage = []string{"first", "completion", "spread", "publish_ack", "publish_lag"}

// messagesFor is how many messages a metric needs to have a value, 0 when it needs none.
func messagesFor(metric string) int64 {
	dist, point, _ := strings.Cut(metric, ".")
	if !slices.Contains(perMessage, dist) {
		return 0
	}
	for _, p := range reports.Points() {
		if p.Name == point {
			return reports.Support(p.P)
		}
	}
	return 1
}

// supported refuses objectives that runs of this length will have no figure of.
func supported(s scenarios.Scenario, objectives []reports.SweepObjective) error {
	var problems []error
	for _, o := range objectives {
		need, has := messagesFor(o.Metric), int64(s.MessagesPerSecond()*s.Phases.Measure.Seconds())
		if has > 0 && need > has {
			problems = append(problems, fmt.Errorf("%s: needs %d messages to have a value, a run publishes %d: raise --duration or --rate, or take another objective", o.Metric, need, has))
		}
	}
	return errors.Join(problems...)
}

// objectives describes the metrics, or those that the load asks for when there are none.
func objectives(s scenarios.Scenario, names []string) ([]reports.SweepObjective, error) {
	if len(names) == 0 {
		switch s.Load.Mode {
		case scenarios.ModeIdle:
			names = []string{"server.rss_bytes_per_connection", "connections_per_second"}
		case scenarios.ModeInflight:
			names = []string{"deliveries_per_second", "server.cpu_us_per_delivery", "server.rss_peak_bytes"}
		case scenarios.ModeCapacity:
			names = []string{"capacity.messages_per_second", "server.cpu_us_per_delivery", "server.rss_peak_bytes"}
		default:
			names = []string{"delivery.p99", "server.cpu_us_per_delivery", "completion.p50", "server.rss_peak_bytes"}
		}
	}
	var out []reports.SweepObjective
	known := map[string]bool{}
	for _, m := range scenarios.Metrics() {
		known[m] = true
	}
	for _, name := range names {
		if !known[name] {
			return nil, fmt.Errorf("no metric %q%s", name, suggest.DidYouMean(name, scenarios.Metrics()))
		}
		out = append(out, reports.Objective(name))
	}
	return out, nil
}

// plan makes the cells: each question's default first, then its settings.
func (p *SweepPlan) plan(s scenarios.Scenario, m Machine) error {
	works, err := combinations(p.Axes, isWork)
	if err != nil {
		return err
	}
	settings, err := settingsOf(p.Settings.Design, p.Axes, p.Settings.Cells, s.Seed)
	if err != nil {
		return err
	}
	if len(works)*(len(settings)+1) > maxCells {
		return fmt.Errorf("more than %d cells", maxCells)
	}
	var problems []error
	seen := map[string]string{}
	said := map[string]bool{} // a wrong value stands in many cells, and is told once
	for q, work := range works {
		question := reports.SweepQuestion{Baseline: len(p.Cells), Findings: []string{}, Results: []reports.SweepResult{}}
		var names []string
		for i, a := range p.Axes {
			value := ""
			if a.Work {
				value = a.Values[work[i]]
				names = append(names, a.Name+"="+value)
			}
			question.Values = append(question.Values, value)
		}
		question.Name = strings.Join(names, " ")
		asItStands := make(choice, len(p.Axes))
		for i := range asItStands {
			asItStands[i] = asIs
		}
		for n, c := range append([]choice{asItStands}, settings...) {
			cell, plan, err := p.cell(s, work, c, m)
			if err != nil {
				if !said[err.Error()] {
					said[err.Error()] = true
					problems = append(problems, err)
				}
				continue
			}
			cell.Question, cell.Default = q, n == 0
			what := strings.Join(cell.Values, " ")
			id := identity(plan)
			switch first, twice := seen[id]; {
			case !twice:
				seen[id] = what
			case c.isDefault(p.Axes, asItStands) || first == strings.Join(p.Cells[question.Baseline].Values, " "):
				continue // the default is there already
			default:
				problems = append(problems, fmt.Errorf("%s: %w as %s", what, ErrTwice, first))
				continue
			}
			p.Cells = append(p.Cells, cell)
			p.Plans = append(p.Plans, plan)
		}
		p.Questions = append(p.Questions, question)
	}
	return errors.Join(problems...)
}

func (c choice) isDefault(axes []reports.SweepAxis, asItStands choice) bool {
	for i := range axes {
		if c[i] != asItStands[i] {
			return false
		}
	}
	return true
}

// cell plans one cell.
func (p *SweepPlan) cell(s scenarios.Scenario, work, setting choice, m Machine) (reports.SweepCell, *Plan, error) {
	s = s.Clone()
	cell := reports.SweepCell{}
	var named []string
	for i, a := range p.Axes {
		at := setting[i]
		if a.Work {
			at = work[i]
		}
		if at == asIs {
			cell.Values = append(cell.Values, a.Default)
			continue
		}
		value := a.Values[at]
		cell.Values = append(cell.Values, value)
		named = append(named, a.Name+"="+value)
		if err := setAxis(&s, a.Key, value); err != nil {
			return cell, nil, err
		}
	}
	plan, err := NewPlan(s, Firetower, m)
	if err != nil {
		if errors.Is(err, ErrImpossible) {
			return cell, nil, fmt.Errorf("%s: %w", strings.Join(named, " "), err)
		}
		return cell, nil, err
	}
	return cell, plan, nil
}

// normalValue lets people write a bare number for a rate a second.
func normalValue(key, value string) string {
	if strings.HasSuffix(key, ".rate") && strings.Trim(value, "0123456789.") == "" {
		return value + "/s"
	}
	return value
}

// hash is of all that decides which runs are made, and in which order.
func (p *SweepPlan) hash() string {
	settings := p.Settings
	settings.Objectives = nil // those that are meant stand for themselves
	doc, err := json.Marshal(struct {
		Scenario   string
		Axes       []reports.SweepAxis
		Cells      []reports.SweepCell
		Objectives []reports.SweepObjective
		Settings   SweepSettings
		Halving    *halving
	}{p.Base.Scenario.Encode(), p.Axes, p.Cells, p.Objectives, settings, p.halving})
	if err != nil {
		panic(err) // plain values; a test sees to it
	}
	sum := sha256.Sum256(doc)
	return hex.EncodeToString(sum[:])
}

// document is the sweep's, before its first run.
func (p *SweepPlan) document() *reports.Sweep {
	s := p.Base.Scenario
	doc := &reports.Sweep{
		Schema: reports.SweepSchema, Scenario: s.Name, Purpose: s.Purpose, Loop: loop(s), Seed: s.Seed,
		Design: string(p.Settings.Design), Drawn: p.Settings.Cells, Repeat: p.Settings.Repeat, BaselineEvery: p.Settings.BaselineEvery,
		PlanHash: p.hash(), ScenarioTOML: s.Encode(), Grid: p.Settings.Grid, Axes: p.Axes, Objectives: p.Objectives,
		Cells: slices.Clone(p.Cells), Questions: slices.Clone(p.Questions), Rounds: []reports.SweepRound{}, Runs: []reports.SweepRun{}, Drift: []reports.SweepDrift{},
	}
	if h := p.halving; h != nil && h.Confirm {
		doc.Search = &reports.SweepSearch{Limits: []string{}, Budget: p.budget.Seconds(), Finalists: h.Finalists, Short: h.Short}
		for _, c := range h.Constraints {
			doc.Search.Limits = append(doc.Search.Limits, c.Text)
		}
	}
	return doc
}

// generous is what a plan's estimate has too much for many runs in a row: start, stop
// and drain are 6 s there, where 2.3 s were measured with a thousand clients on two CPUs
// that others kept busy.
const generous = 3 * time.Second

// runTime is about how long a run of a cell takes, by plan.
func (p *SweepPlan) runTime(cell int, measure float64) time.Duration {
	return overheadOf(p.Plans[cell]) + time.Duration(measure*float64(time.Second))
}

// overheadOf is about how long a run takes beside its measured phase.
func overheadOf(plan *Plan) time.Duration {
	return max(plan.Duration-plan.Scenario.Phases.Measure.Duration-generous, time.Second)
}

// Steps is how many runs the sweep makes when none has to be repeated, and Duration
// about how long they take.
func (p *SweepPlan) Steps() (runs int, length time.Duration) {
	for _, r := range p.foreseen() {
		for _, st := range p.order(r, 0) {
			runs++
			length += p.runTime(st.cell, r.Measure)
		}
	}
	return runs, length
}

// phasesOf says what of a run stands beside its measured phase.
func phasesOf(s scenarios.Scenario) string {
	return fmt.Sprintf("settle %v, warm-up %v, calibration %v, leave check %v", s.Phases.Settle, s.Phases.Warmup, s.Phases.Calibrate, s.Phases.Leave)
}

// String is the plan for people.
func (p *SweepPlan) String() string {
	var b strings.Builder
	runs, length := p.Steps()
	s := p.Base.Scenario
	fmt.Fprintf(&b, "sweep of %s: %s, %s\n", s.Name, plural(len(p.Cells), "cell"), p.Settings.Design)
	for _, a := range p.Axes {
		kind := ""
		if a.Work {
			kind = "; changes the load: cells are compared with the default under the same load"
		}
		fmt.Fprintf(&b, "  %-34s %s  (default %s%s)\n", a.Key, strings.Join(a.Values, " "), a.Default, kind)
	}
	for i, r := range p.foreseen() {
		fmt.Fprintf(&b, "  round %-28d %s, %s each, %gs measured\n", i+1, plural(len(r.Cells), "cell"), plural(r.Repeat, "run"), r.Measure)
	}
	fmt.Fprintf(&b, "  %-34s %d, the default after every %d cells or sooner; about %v in all\n", "runs", runs, p.Settings.BaselineEvery, length.Round(time.Second))
	rounds := p.foreseen()
	if last := rounds[len(rounds)-1]; !p.decides(last) {
		fmt.Fprintf(&b, "  %-34s %s of a setting cannot tell %s from the default once the test is corrected for all of them: repeat more often, or try fewer\n", "note",
			plural(last.Repeat, "run"), plural(p.largest(last.Cells), "setting"))
	}
	fmt.Fprintf(&b, "  %-34s %s\n", "each run", phasesOf(s))
	return b.String()
}
