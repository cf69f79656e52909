package loadtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"firetower/reports"
	"firetower/scenarios"
)

// TuneSettings are what a search for the best setting is asked for, beside its scenario.
type TuneSettings struct {
	// Objective is the metric to be best in; empty is what the load asks for first.
	Objective string
	// Constraints must hold of a setting's medians.
	Constraints []scenarios.Threshold
	// Space is the axes as ParseGrid reads them; empty is DefaultSpace.
	Space string
	// Budget is how long the search may take in all.
	Budget time.Duration
}

// TunePlan is a search before it starts.
type TunePlan struct {
	Settings TuneSettings
	// Sweep is the search itself: halving rounds, and a last one that confirms.
	Sweep *SweepPlan
	// Space is how many combinations there are.
	Space float64
}

// ErrBudget is wrapped by the error for a budget that no search fits in.
var ErrBudget = errors.New("the budget is too short")

// DefaultSpace is the settings that are tried when none are named: the keys of the
// fan-out, the number of Buckets by the machine's CPUs.
func DefaultSpace(m Machine) string {
	nums := []int{1, max(m.CPUs, 1), 4, 4 * max(m.CPUs, 1)}
	slices.Sort(nums)
	nums = slices.Compact(nums)
	var texts []string
	for _, n := range nums {
		texts = append(texts, fmt.Sprint(n))
	}
	return "bucket.Num=" + strings.Join(texts, ",") +
		" bucket.BuffChanCount=100,1000 bucket.ConsumerNum=1,8,32 bucket.joinBytes=16KiB,64KiB,256KiB"
}

// NewTunePlan fits a search into its budget, or refuses it.
//
// At most 60 % of the budget go to the last round, in which up to three finalists and
// the default run interleaved, often enough that the exact test can tell them apart:
// five times with two or three finalists, four times with one. What is left goes to
// rounds of shorter runs, each of which drops the worse half. The runs are as long, and
// the cells to begin with as many, as the plan's own estimate lets fit.
func NewTunePlan(s scenarios.Scenario, o TuneSettings, m Machine) (*TunePlan, error) {
	if o.Space == "" {
		o.Space = DefaultSpace(m)
	}
	axes, err := ParseGrid(o.Space)
	if err != nil {
		return nil, err
	}
	for _, a := range axes {
		if a.Work || strings.HasPrefix(a.Key, "slow.") {
			return nil, fmt.Errorf("%s: changes the load, and no setting of a server: tune looks for settings under one load", a.Key)
		}
	}
	metrics, err := tuneMetrics(s, o)
	if err != nil {
		return nil, err
	}
	p := &TunePlan{Settings: o, Space: combos(axes)}
	probe, err := NewPlan(s, Firetower, m)
	if err != nil {
		return nil, err
	}
	full := s.Phases.Measure.Seconds()
	overhead := overheadOf(probe).Seconds()
	shortest := min(leastMeasure(s, metrics), full)
	shape, ok := fitBudget(o.Budget.Seconds(), overhead, full, shortest, p.Space)
	if !ok {
		return nil, fmt.Errorf("%w: --budget %v: a search needs at least %v for runs of %v", ErrBudget, o.Budget,
			leastBudget(overhead, full, shortest, p.Space).Round(time.Second), time.Duration((overhead+shortest)*float64(time.Second)).Round(time.Second))
	}
	s.Phases.Measure = scenarios.Seconds(shape.confirm)
	cells := shape.cells
	if float64(cells) >= p.Space {
		cells = 0
	}
	sweep, err := NewSweepPlan(s, SweepSettings{
		Grid: o.Space, Design: DesignHalving, Cells: cells, Repeat: shape.repeat, BaselineEvery: maxCells, Objectives: metrics,
	}, m)
	if err != nil {
		return nil, err
	}
	sweep.search(reports.SweepSearch{Budget: o.Budget.Seconds(), Finalists: shape.finalists, Short: shape.search}, o.Constraints)
	p.Sweep = sweep
	return p, nil
}

// tuneMetrics are the objective, what stands beside it on the Pareto front, and the
// metrics of the constraints.
func tuneMetrics(s scenarios.Scenario, o TuneSettings) ([]string, error) {
	usual, err := objectives(s, nil)
	if err != nil {
		return nil, err
	}
	if o.Objective == "" {
		o.Objective = usual[0].Metric
	}
	if strings.HasPrefix(o.Objective, "capacity.") && s.Load.Mode != scenarios.ModeCapacity {
		return nil, fmt.Errorf("%s: needs a scenario that searches for its capacity (load.mode = %q), %s has %q", o.Objective, scenarios.ModeCapacity, s.Name, s.Load.Mode)
	}
	out := []string{o.Objective}
	add := func(metric string) {
		if !slices.Contains(out, metric) {
			out = append(out, metric)
		}
	}
	for _, u := range usual[:2] {
		add(u.Metric)
	}
	for _, c := range o.Constraints {
		add(c.Metric)
	}
	_, err = objectives(s, out)
	return out, err
}

// shape is how a search fits its budget. Lengths are of the measured phase, in seconds.
type shape struct {
	finalists, repeat, cells int
	search, confirm          float64
}

// tuneForms are finalists with the repeats that can tell them from the default: with
// fewer, the exact test cannot reach its level whatever the runs are.
var tuneForms = []struct{ finalists, repeat int }{{3, 5}, {2, 5}, {1, 4}}

// wantedCells is how many settings a search would like to begin with.
const wantedCells = 16

// leastCells is how many settings a search begins with at least, when there are as many.
const leastCells = 4

// fitBudget finds the longest runs that leave room for the wanted cells, or else the
// most cells; false when not even the least fits.
func fitBudget(budget, overhead, full, shortest, space float64) (shape, bool) {
	wanted := int(min(space, wantedCells))
	best, found := shape{}, false
	for _, form := range tuneForms {
		for length := full; ; length = max(length/2, shortest) {
			sh := shape{finalists: form.finalists, repeat: form.repeat, confirm: length, search: max(length/2, min(shortest, length))}
			left := 0.95*budget - sh.confirmTime(overhead)
			if sh.confirmTime(overhead) <= 0.6*budget {
				for n := int(min(space, 256)); n >= min(leastCells, int(space)); n-- {
					sh.cells = n
					if sh.searchTime(overhead) <= left {
						if n >= wanted {
							return sh, true
						}
						if !found || n > best.cells {
							best, found = sh, true
						}
						break
					}
				}
			}
			if length <= shortest {
				break
			}
		}
	}
	return best, found
}

func (s shape) confirmTime(overhead float64) float64 {
	return float64((s.finalists+1)*s.repeat) * (overhead + s.confirm)
}

// searchTime is of the rounds before the last: in round i each cell runs i times, and so
// does the default, which closes the round once more.
func (s shape) searchTime(overhead float64) float64 {
	runs := 0
	for n, i := s.cells, 1; n > s.finalists; n, i = max((n+1)/2, s.finalists), i+1 {
		runs += (n+1)*i + 1
	}
	return float64(runs) * (overhead + s.search)
}

// leastBudget is what the smallest search takes.
func leastBudget(overhead, full, shortest, space float64) time.Duration {
	for budget := 10.0; ; budget += 10 {
		if _, ok := fitBudget(budget, overhead, full, shortest, space); ok {
			return time.Duration(budget * float64(time.Second))
		}
	}
}

// minMeasure is the shortest measured phase of a search, in seconds: in less, a garbage
// collection more or less decides.
const minMeasure = 3

// leastMeasure is the shortest measured phase in which all metrics have a value.
func leastMeasure(s scenarios.Scenario, metrics []string) float64 {
	least := float64(minMeasure)
	rate := s.MessagesPerSecond()
	for _, m := range metrics {
		if need := messagesFor(m); need > 0 && rate > 0 {
			least = max(least, float64(need+1)/rate)
		}
	}
	return least
}

// Length is about how long the search takes, and never more than its budget.
func (p *TunePlan) Length() time.Duration {
	_, length := p.Sweep.Steps()
	return min(length, p.Settings.Budget)
}

// String is the plan for people.
func (p *TunePlan) String() string {
	var b strings.Builder
	s := p.Sweep.Base.Scenario
	o := p.Sweep.Objectives[0]
	goal := "least"
	if o.Higher {
		goal = "most"
	}
	fmt.Fprintf(&b, "tune %s: %s %s", s.Name, goal, o.Name)
	for i, c := range p.Settings.Constraints {
		word := ", at "
		if i > 0 {
			word = " and "
		}
		b.WriteString(word + c.Text)
	}
	b.WriteString("\n")
	for _, a := range p.Sweep.Axes {
		fmt.Fprintf(&b, "  %-34s %s  (default %s)\n", a.Key, strings.Join(a.Values, " "), a.Default)
	}
	fmt.Fprintf(&b, "  %-34s %.0f combinations, %d of them are tried\n", "space", p.Space, len(p.Sweep.Cells)-1)
	for i, r := range p.Sweep.foreseen() {
		name := fmt.Sprintf("round %d", i+1)
		if r.Confirm {
			name = "confirmation"
		}
		fmt.Fprintf(&b, "  %-34s %s, %s each, %.3gs measured\n", name, plural(len(r.Cells), "setting"), plural(r.Repeat, "run"), r.Measure)
	}
	fmt.Fprintf(&b, "  %-34s %s\n", "each run", phasesOf(s))
	fmt.Fprintf(&b, "  %-34s about %v by plan, and no more than %v: what is left over goes to more runs of the confirmation\n", "time", p.Length().Round(time.Second), p.Settings.Budget)
	return b.String()
}
