package loadtest

import (
	"math/rand/v2"
	"slices"

	"firetower/reports"
	"firetower/scenarios"
)

// step is one run of a round.
type step struct{ cell, block int }

// order is the runs of a round: blocks in which each cell runs once, shuffled by the
// seed. A question's default opens each block, and one comes again after every few
// cells, each question's in its turn; one more closes the round. A round that is there
// to confirm has the default in each block as often as the others.
func (p *SweepPlan) order(r reports.SweepRound, index int) []step {
	rng := rand.New(rand.NewPCG(p.Base.Scenario.Seed, 0x7377<<16|uint64(index))) // an order that can be repeated, not a secret
	var cells, defaults []int
	for _, c := range r.Cells {
		if p.Cells[c].Default && !r.Confirm {
			defaults = append(defaults, c)
		} else {
			cells = append(cells, c)
		}
	}
	var out []step
	turn := 0
	for block := range r.Repeat {
		rng.Shuffle(len(cells), func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
		if len(defaults) == 0 {
			for _, c := range cells {
				out = append(out, step{c, block})
			}
			continue
		}
		slots := max((len(cells)+p.Settings.BaselineEvery-1)/p.Settings.BaselineEvery, len(defaults)*p.defaultsPerBlock(r))
		at := 0
		for slot := range slots {
			out = append(out, step{defaults[turn%len(defaults)], block})
			turn++
			until := len(cells) * (slot + 1) / slots
			for ; at < until; at++ {
				out = append(out, step{cells[at], block})
			}
		}
	}
	if len(defaults) == 1 && len(cells) > 0 {
		out = append(out, step{defaults[0], r.Repeat - 1})
	}
	return out
}

// defaultsPerBlock is how often a question's default has to run in each block of a round
// so that a setting can be told from it at all, once the test is corrected for all
// settings; 1 when that would take more runs than the settings themselves do.
func (p *SweepPlan) defaultsPerBlock(r reports.SweepRound) int {
	settings := p.largest(r.Cells)
	if p.halving != nil && !p.isLast(r) {
		return 1 // it only ranks them
	}
	for n := 1; n <= settings; n++ {
		if reports.LeastP(n*r.Repeat, r.Repeat, settings) <= reports.SweepAlpha {
			return n
		}
	}
	return 1
}

// decides tells whether a round has the runs to tell a setting from the default.
func (p *SweepPlan) decides(r reports.SweepRound) bool {
	n := p.defaultsPerBlock(r)
	if r.Confirm {
		n = 1
	}
	base := n * r.Repeat
	if len(p.Questions) == 1 && !r.Confirm {
		defaults := 0
		for _, st := range p.order(r, 0) {
			if p.Cells[st.cell].Default {
				defaults++
			}
		}
		base = defaults
	}
	return reports.LeastP(base, r.Repeat, p.largest(r.Cells)) <= reports.SweepAlpha
}

// firstRound has all cells.
func (p *SweepPlan) firstRound() reports.SweepRound {
	r := reports.SweepRound{Repeat: p.Settings.Repeat, Measure: p.Base.Scenario.Phases.Measure.Seconds()}
	for i := range p.Cells {
		r.Cells = append(r.Cells, i)
	}
	if h := p.halving; h != nil {
		if p.largest(r.Cells) > h.Finalists {
			r.Repeat, r.Measure = 1, h.Short
		} else {
			r.Measure, r.Confirm = h.Full, h.Confirm
		}
	}
	return r
}

// largest is how many settings beside the default the largest question has among cells.
func (p *SweepPlan) largest(cells []int) int {
	n := make([]int, len(p.Questions))
	for _, c := range cells {
		if !p.Cells[c].Default {
			n[p.Cells[c].Question]++
		}
	}
	return slices.Max(n)
}

// nextRound is what follows a round that has ended, from the figures of its runs; false
// when nothing does.
func (p *SweepPlan) nextRound(s *reports.Sweep) (reports.SweepRound, bool) {
	last := s.Rounds[len(s.Rounds)-1]
	if p.halving == nil || p.isLast(last) {
		return reports.SweepRound{}, false
	}
	return p.halve(last, len(s.Rounds), func(q int, cells []int) []int { return p.rank(s, len(s.Rounds)-1, cells) }), true
}

// isLast tells whether a round is at full length, and so the last.
func (p *SweepPlan) isLast(r reports.SweepRound) bool {
	if p.halving.Confirm {
		return r.Confirm
	}
	return p.largest(r.Cells) <= p.halving.Finalists && r.Repeat == p.Settings.Repeat && r.Measure == p.halving.Full
}

// halve is the round after one of short runs. rank orders the settings of a question.
func (p *SweepPlan) halve(last reports.SweepRound, index int, rank func(question int, cells []int) []int) reports.SweepRound {
	h := p.halving
	next := reports.SweepRound{Repeat: index + 1, Measure: h.Short}
	for q := range p.Questions {
		var cells []int
		for _, c := range last.Cells {
			switch {
			case p.Cells[c].Question != q:
			case p.Cells[c].Default:
				next.Cells = append(next.Cells, c)
			default:
				cells = append(cells, c)
			}
		}
		keep := min(max((len(cells)+1)/2, h.Finalists), len(cells))
		next.Cells = append(next.Cells, rank(q, cells)[:keep]...)
	}
	slices.Sort(next.Cells)
	if p.largest(next.Cells) <= h.Finalists {
		next.Repeat, next.Measure, next.Confirm = p.Settings.Repeat, h.Full, h.Confirm
	}
	return next
}

// finals is the last round, made now of the best of what has been measured: for a
// search that has to come to its end.
func (p *SweepPlan) finals(s *reports.Sweep) reports.SweepRound {
	h := p.halving
	at := len(s.Rounds) - 1
	next := reports.SweepRound{Repeat: p.Settings.Repeat, Measure: h.Full, Confirm: h.Confirm}
	for q, question := range p.Questions {
		next.Cells = append(next.Cells, question.Baseline)
		var cells []int
		for _, c := range s.Rounds[at].Cells {
			if p.Cells[c].Question == q && !p.Cells[c].Default {
				cells = append(cells, c)
			}
		}
		ranked := p.rank(s, at, cells)
		next.Cells = append(next.Cells, ranked[:min(len(ranked), h.Finalists)]...)
	}
	slices.Sort(next.Cells)
	return next
}

// foreseen are the rounds to come, before anything is known of the cells.
func (p *SweepPlan) foreseen() []reports.SweepRound {
	rounds := []reports.SweepRound{p.firstRound()}
	for p.halving != nil && !p.isLast(rounds[len(rounds)-1]) {
		rounds = append(rounds, p.halve(rounds[len(rounds)-1], len(rounds), func(_ int, cells []int) []int { return cells }))
	}
	return rounds
}

// rank orders cells by the runs of a round, the best first: those that lost nothing and
// keep the constraints by their first objective, the others behind by how far they are off.
func (p *SweepPlan) rank(s *reports.Sweep, round int, cells []int) []int {
	out := slices.Clone(cells)
	type score struct {
		class int // 0: keeps all; 1: breaks a constraint; 2: missed a threshold; 3: has no figure
		value float64
	}
	of := map[int]score{}
	for _, c := range cells {
		of[c] = func() score {
			class, worst := 0, 0.0
			for _, t := range p.halving.Constraints {
				v := s.RoundMedian(round, c, t.Metric)
				if v == nil {
					return score{class: 3}
				}
				if off, ok := Breach(t, *v); !ok {
					class, worst = 1, max(worst, off)
				}
			}
			v := s.RoundMedian(round, c, p.Objectives[0].Metric)
			switch {
			case v == nil:
				return score{class: 3}
			case s.RoundMissed(round, c):
				class = 2
			case class == 1:
				return score{1, worst}
			}
			if p.Objectives[0].Higher {
				return score{class, -*v}
			}
			return score{class, *v}
		}()
	}
	slices.SortStableFunc(out, func(a, b int) int {
		switch x, y := of[a], of[b]; {
		case x.class != y.class:
			return x.class - y.class
		case x.value < y.value:
			return -1
		case x.value > y.value:
			return 1
		default:
			return a - b
		}
	})
	return out
}

// Breach tells whether a value keeps a constraint, and how far it is off when not.
func Breach(t scenarios.Threshold, value float64) (off float64, ok bool) {
	if t.Op.Holds(value, t.Limit) {
		return 0, true
	}
	off = value - t.Limit
	if off < 0 {
		off = -off
	}
	if t.Limit != 0 {
		off /= t.Limit
	}
	return off, false
}
