package loadtest

import (
	"fmt"
	"math"
	"slices"
	"time"

	"firetower/reports"
)

// Forecast is how long something is likely to take.
type Forecast struct {
	Likely, Least, Most time.Duration
	// Measured is how many runs it rests on; 0 is by plan alone, which knows no spread.
	Measured int
}

// String is "about 12m0s (11m0s to 13m30s, by 7 runs)".
func (f Forecast) String() string {
	likely := f.Likely.Round(time.Second)
	if f.Measured < 2 {
		return fmt.Sprintf("about %v by plan", likely)
	}
	return fmt.Sprintf("about %v (%v to %v, by the %d runs so far)", likely, f.Least.Round(time.Second), f.Most.Round(time.Second), f.Measured)
}

// overhead is what measured runs took beside their measured phase, or by plan when none
// has been made: its mean and its deviation, in seconds.
func (p *SweepPlan) overhead(s *reports.Sweep) (mean, deviation float64, n int) {
	var sum, squares float64
	for _, r := range s.Runs {
		if r.Interrupted {
			continue
		}
		v := r.Seconds - s.Rounds[r.Round].Measure
		sum += v
		squares += v * v
		n++
	}
	if n == 0 {
		return p.runTime(0, 0).Seconds(), 0, 0
	}
	mean = sum / float64(n)
	if n > 1 {
		deviation = math.Sqrt(max(squares-sum*mean, 0) / float64(n-1))
	}
	return mean, deviation, n
}

// again is the share of steps that needed a second run so far.
func again(s *reports.Sweep) float64 {
	second, steps := 0, 0
	for _, r := range s.Runs {
		switch {
		case r.Interrupted:
		case r.Attempt > 1:
			second++
		default:
			steps++
		}
	}
	if steps == 0 {
		return 0
	}
	return float64(second) / float64(steps)
}

// roundsToCome are the rounds of a sweep so far and those that are foreseen after them,
// from a step of a round on. The confirming round of a search is foreseen with the repeats
// that it will be given if all runs until then take as long as those so far.
func (p *SweepPlan) roundsToCome(s *reports.Sweep, round, index int) []reports.SweepRound {
	rounds := slices.Clone(s.Rounds)
	for p.halving != nil && !p.isLast(rounds[len(rounds)-1]) {
		rounds = append(rounds, p.halve(rounds[len(rounds)-1], len(rounds), func(_ int, cells []int) []int { return cells }))
	}
	last := len(rounds) - 1
	if p.budget == 0 || last < len(s.Rounds) || s.Search == nil {
		return rounds
	}
	mean, _, _ := p.overhead(s)
	then := s.Search.Spent
	for i := round; i < last; i++ {
		steps := len(p.order(rounds[i], i))
		if i == round {
			steps -= index
		}
		then += float64(steps) * (1 + again(s)) * (rounds[i].Measure + mean)
	}
	rounds[last] = p.extended(s, rounds[last], time.Duration(then*float64(time.Second)))
	return rounds
}

// forecast is about how long the rest takes, from a step of a round on: what runs took
// so far beside their measured phase, their share that had to be repeated, and the
// spread of both. The range is of two deviations of the sum, and of the mean's own error.
// A search ends with its budget, whatever its rounds would take.
func (p *SweepPlan) forecast(s *reports.Sweep, round, index int) Forecast {
	mean, deviation, n := p.overhead(s)
	repeats := 1 + again(s)
	runs, measured := 0.0, 0.0
	for i, r := range p.roundsToCome(s, round, index) {
		steps := len(p.order(r, i))
		switch {
		case i < round:
			continue
		case i == round:
			steps -= index
		}
		runs += float64(steps) * repeats
		measured += float64(steps) * repeats * r.Measure
	}
	likely := measured + runs*mean
	width := 0.0
	if n > 1 {
		width = 2 * deviation * math.Sqrt(runs+runs*runs/float64(n))
	}
	most := math.Inf(1)
	if p.budget != 0 && s.Search != nil {
		most = p.budget.Seconds() - s.Search.Spent
	}
	length := func(seconds float64) time.Duration {
		return time.Duration(max(min(seconds, most), 0) * float64(time.Second))
	}
	return Forecast{Likely: length(likely), Least: length(likely - width), Most: length(likely + width), Measured: n}
}

// overBudget tells whether a step of a round may not begin any more. The last round ends
// with a whole block where it can, and any before it leaves room for the last one.
func (p *SweepPlan) overBudget(s *reports.Sweep, round, index int, steps []step, spent time.Duration) bool {
	if p.budget == 0 {
		return false
	}
	if _, done := attempts(s, round, index); done {
		return false
	}
	mean, deviation, _ := p.overhead(s)
	run := func(r reports.SweepRound) float64 { return r.Measure + mean + deviation }
	left := (p.budget - spent).Seconds()
	r := s.Rounds[round]
	if p.isLast(r) {
		// Within a block go on while a run fits; begin a block only when all of it does.
		need := run(r)
		if index > 0 && steps[index].block != steps[index-1].block {
			for _, st := range steps[index+1:] {
				if st.block == steps[index].block {
					need += run(r)
				}
			}
		}
		return left < need
	}
	last := p.finals(s)
	return left < run(r)+float64(len(p.order(last, round+1)))*run(last)
}

// mostConfirm bounds the repeats of a round that is there to confirm.
const mostConfirm = 12

// extended gives the confirming round of a search the repeats that its budget has room
// for: what the search left over makes the answer surer.
func (p *SweepPlan) extended(s *reports.Sweep, r reports.SweepRound, spent time.Duration) reports.SweepRound {
	if p.budget == 0 || !r.Confirm {
		return r
	}
	mean, deviation, _ := p.overhead(s)
	block := float64(len(r.Cells)) * (r.Measure + mean + deviation)
	r.Repeat = min(max(r.Repeat, int((p.budget-spent).Seconds()/block)), mostConfirm)
	return r
}
