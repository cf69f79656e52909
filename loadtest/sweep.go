package loadtest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"firetower/reports"
	"firetower/scenarios"
)

// SweepOptions are what a sweep needs beside its plan.
type SweepOptions struct {
	// Options are those of every run; Plan, Root, Name, Progress and KeepLatest are set for each.
	Options Options
	Plan    *SweepPlan
	// Resume is the folder of a sweep to go on with, empty for a new one. A sweep of
	// another machine, binary or environment of Go's runtime is refused (ErrChanged) unless Force is
	// set, and one of another plan always (ErrOtherPlan): its runs are not those of the plan.
	Resume string
	Force  bool
	// Name is the folder's, after the time. Default: the scenario's with -sweep.
	Name string
	// Before is called before each run, After with its result.
	Before func(SweepState) Progress
	After  func(result *reports.Result, dir string)
}

// SweepState is how far a sweep has come.
type SweepState struct {
	// Round and Rounds count from 1; Run and Runs are of all rounds, as far as foreseen.
	Round, Rounds, Run, Runs int
	// Cell is the settings of the run to come, Default tells that they are the defaults.
	Cell    string
	Default bool
	// Again says that the run repeats an invalid one.
	Again bool
	// Left is about how much time is left, most and least by the spread of the runs so far.
	Left Forecast
}

// maxAttempts is how often a run is made until it is valid.
const maxAttempts = 2

// RunSweep carries out a sweep. Its document is written after each run, so that a sweep
// that has ended early goes on from there. It returns the folder as well.
func RunSweep(ctx context.Context, o SweepOptions) (*reports.Sweep, string, error) {
	s, dir, err := openSweep(o)
	if err != nil {
		return nil, dir, err
	}
	failed := newSession(o, s, dir).carryOut(ctx)
	finish(ctx, s, failed)
	return s, dir, errors.Join(failed, reports.WriteSweep(dir, s))
}

// finish fills the document in.
func finish(ctx context.Context, s *reports.Sweep, failed error) {
	s.Interrupted = ctx.Err() != nil
	s.Ended = time.Now()
	s.Fill()
	s.ExitCode = ExitOK
	switch {
	case failed != nil:
		s.ExitCode = ExitError
	case s.Interrupted && !s.Complete:
		s.ExitCode = ExitInterrupted
	default:
		settings, compared := false, false
		for _, c := range s.Cells {
			switch {
			case !c.Default:
				settings = true
				compared = compared || c.Runs > 0
			case c.Runs == 0:
				s.ExitCode = ExitInvalid
			}
		}
		if settings && !compared {
			s.ExitCode = ExitInvalid // the default alone does not answer what was asked
		}
	}
}

// session is a sweep under way, from its start or from where it is resumed.
type session struct {
	plan    *SweepPlan
	options SweepOptions
	sweep   *reports.Sweep
	dir     string
	started time.Time
	before  time.Duration // spent in earlier sessions
}

func newSession(o SweepOptions, s *reports.Sweep, dir string) *session {
	before := s.Seconds
	if s.Search != nil {
		before = s.Search.Spent
	}
	return &session{plan: o.Plan, options: o, sweep: s, dir: dir, started: time.Now(), before: time.Duration(before * float64(time.Second))}
}

// spent is how long all sessions took so far, which a search keeps account of.
func (e *session) spent() time.Duration {
	d := e.before + time.Since(e.started)
	if e.sweep.Search != nil {
		e.sweep.Search.Spent = d.Seconds()
	}
	return d
}

// carryOut makes the runs that are still to be made. An interruption is no error.
func (e *session) carryOut(ctx context.Context) error {
	p, s := e.plan, e.sweep
	if len(s.Rounds) == 0 {
		s.Rounds = append(s.Rounds, p.firstRound())
	}
	for {
		at := len(s.Rounds) - 1
		steps := p.order(s.Rounds[at], at)
		s.Rounds[at].Steps = len(steps)
		cut := false
		for i, st := range steps {
			if p.overBudget(s, at, i, steps, e.spent()) {
				cut = true
				break
			}
			if err := e.step(ctx, at, i, st); err != nil {
				return err
			}
			if interrupted(ctx) {
				return nil
			}
		}
		switch next, more := p.nextRound(s); {
		case cut && p.isLast(s.Rounds[at]):
			s.Stopped, s.Complete = fmt.Sprintf("the budget of %v leaves no room for another block", p.budget), true
			return nil
		case cut:
			s.Rounds = append(s.Rounds, p.extended(s, p.finals(s), e.spent()))
		case !more:
			s.Complete = true
			return nil
		default:
			s.Rounds = append(s.Rounds, p.extended(s, next, e.spent()))
		}
	}
}

// step makes one run of the order, again when it is invalid; one that has been made is left.
func (e *session) step(ctx context.Context, round, index int, st step) error {
	p, o, s := e.plan, e.options, e.sweep
	for {
		attempt, done := attempts(s, round, index)
		if done || interrupted(ctx) {
			return nil
		}
		run := o.Options
		plan, err := p.runPlan(st, s.Rounds[round].Measure)
		if err != nil {
			return err
		}
		label := "default"
		if !p.Cells[st.cell].Default {
			label = fmt.Sprintf("cell-%d", st.cell)
		}
		run.Plan, run.Root, run.KeepLatest = plan, filepath.Join(e.dir, reports.SweepRuns), true
		run.Name = fmt.Sprintf("r%d-b%d-%s", round+1, st.block+1, label)
		e.spent()
		if o.Before != nil {
			run.Progress = o.Before(p.state(s, round, index, attempt))
		}
		result, folder, err := Run(ctx, run)
		if err != nil {
			return err
		}
		s.Note(reports.SweepRun{
			Round: round, Step: index, Block: st.block, Cell: st.cell, Attempt: attempt + 1, Seed: plan.Scenario.Seed,
			Folder: filepath.Join(reports.SweepRuns, filepath.Base(folder)),
		}, result)
		e.spent()
		s.Ended = time.Now()
		s.Fill()
		if err := reports.WriteSweepState(e.dir, s); err != nil {
			return err
		}
		if o.After != nil {
			o.After(result, folder)
		}
	}
}

// interrupted tells whether a signal has come: no failure, but the end.
func interrupted(ctx context.Context) bool { return ctx.Err() != nil }

// attempts is how many runs a step has had that came to their end, and whether no more
// is wanted of it.
func attempts(s *reports.Sweep, round, index int) (n int, done bool) {
	for _, r := range s.Runs {
		if r.Round != round || r.Step != index || r.Interrupted {
			continue
		}
		n++
		done = done || r.Counts() || n >= maxAttempts
	}
	return n, done
}

// runPlan is the plan of one run: the cell's, with the round's length and a seed that
// all cells of a block share and no two blocks.
func (p *SweepPlan) runPlan(st step, measure float64) (*Plan, error) {
	cell := p.Plans[st.cell]
	s := cell.Scenario.Clone()
	if measure != p.Base.Scenario.Phases.Measure.Seconds() {
		s.Phases.Measure = scenarios.Seconds(measure)
	}
	s.Seed += uint64(st.block)
	return NewPlan(s, cell.Target, cell.Machine)
}

// state is what a watcher is told before a run.
func (p *SweepPlan) state(s *reports.Sweep, round, index, attempt int) SweepState {
	rounds := p.roundsToCome(s, round, index)
	st := SweepState{Round: round + 1, Rounds: len(rounds), Again: attempt > 0}
	for i, r := range rounds {
		n := len(p.order(r, i))
		if i < round {
			st.Run += n
		}
		st.Runs += n
	}
	st.Run += index + 1
	cell := p.order(rounds[round], round)[index].cell
	st.Cell, st.Default = s.Label(cell), p.Cells[cell].Default
	if q := p.Questions[p.Cells[cell].Question].Name; q != "" {
		st.Cell += " at " + q
	}
	st.Left = p.forecast(s, round, index)
	return st
}
