package loadtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"firetower/reports"
)

// VersusOptions are what a comparison of targets needs.
type VersusOptions struct {
	// Options are those of every run; Plan, Root and Name are set for each.
	Options Options
	// Plans has one plan for each target. The first is what the others are compared with.
	Plans []*Plan
	// Repeat is how often each target runs.
	Repeat int
	// Duet runs two targets at the same time, with messages that take turns.
	Duet bool
	// Gate makes a first target that does worse than another one exit with ExitRegression.
	Gate bool
	// Before is called before each run, After with its result.
	Before func(n, of int, plan *Plan) Progress
	After  func(result *reports.Result, dir string)
}

// RunVersus runs several targets in turn on the same work and compares them. Runs
// go in blocks, in which each target runs once; the order within the first block is
// drawn from the seed, and every second block is the one before it backwards, so
// that a machine that slowly changes favours none. The two runs of a duet are a block.
func RunVersus(ctx context.Context, o VersusOptions) (*reports.Versus, string, error) {
	root := o.Options.Root
	if root == "" {
		root = filepath.Join("reports", "runs")
	}
	s := o.Plans[0].Scenario
	suffix := "-vs"
	if len(o.Plans) == 1 {
		suffix = "-repeat"
	}
	if o.Duet {
		suffix = "-duet"
		if err := fitsDuet(o.Plans); err != nil {
			return nil, "", err
		}
	}
	dir, err := reports.CreateFolder(root, s.Name+suffix, time.Now())
	if err != nil {
		return nil, "", err
	}
	v := &reports.Versus{
		Schema: reports.VersusSchema, ID: filepath.Base(dir), Scenario: s.Name, Purpose: s.Purpose, Subprotocol: spokenBy(o.Plans),
		Loop: loop(s), Started: time.Now(), Seed: s.Seed, Repeat: o.Repeat, Duet: o.Duet,
	}
	for _, p := range o.Plans {
		v.Targets = append(v.Targets, string(p.Target))
	}
	order := blocks(o.Plans, o.Repeat, s.Seed)
	atOnce := 1
	if o.Duet {
		atOnce = duetSize
	}
	var results []*reports.Result
	var failed error
	for i := 0; i < len(order) && ctx.Err() == nil; i += atOnce {
		options := make([]Options, atOnce)
		for j := range options {
			options[j] = o.options(order[i+j], dir, i/len(o.Plans))
		}
		if o.Before != nil {
			options[0].Progress = o.Before(i+1, len(order), options[0].Plan)
		}
		done, dirs, err := runAtOnce(ctx, options)
		if err != nil {
			failed = err
			break
		}
		for j, result := range done {
			results = append(results, result)
			v.Runs = append(v.Runs, reports.VersusRun{
				Target: result.Target, Folder: filepath.Base(dirs[j]), Verdict: result.Verdict, ThresholdsOK: result.ThresholdsOK, ExitCode: result.ExitCode,
			})
			if o.After != nil {
				o.After(result, dirs[j])
			}
		}
	}
	v.Interrupted = ctx.Err() != nil
	v.Ended = time.Now()
	v.Fill(results)
	v.ExitCode = versusExit(v, results)
	// Worse by the runs that count is worse, whatever became of single runs.
	if o.Gate && !v.Interrupted {
		switch {
		case len(v.Worse()) > 0:
			v.ExitCode = ExitRegression
		case v.ExitCode == ExitOK && !v.Decidable():
			v.ExitCode = ExitInvalid // the gate could not have closed
		}
	}
	return v, dir, errors.Join(failed, reports.WriteVersus(dir, v), reports.PointLatest(root, dir))
}

// options are those of one run of a block.
func (o VersusOptions) options(plan *Plan, dir string, block int) Options {
	run, p := o.Options, *plan
	// Repeats differ in their seed, and the targets of a block have the same.
	p.Scenario.Seed += uint64(block)
	run.Plan, run.Root, run.Name, run.KeepLatest = &p, dir, reports.ShortTarget(string(plan.Target)), true
	return run
}

// runAtOnce carries out one run, or the two of a duet.
func runAtOnce(ctx context.Context, options []Options) ([]*reports.Result, []string, error) {
	if len(options) > 1 {
		return runDuet(ctx, options)
	}
	result, dir, err := Run(ctx, options[0])
	return []*reports.Result{result}, []string{dir}, err
}

// blocks is the order of the runs.
func blocks(plans []*Plan, repeat int, seed uint64) []*Plan {
	block := slices.Clone(plans)
	r := rand.New(rand.NewPCG(seed, 0x7673)) // an order that can be repeated, not a secret
	var out []*Plan
	for n := range repeat {
		if n%2 == 0 {
			r.Shuffle(len(block), func(i, j int) { block[i], block[j] = block[j], block[i] })
		} else {
			slices.Reverse(block)
		}
		out = append(out, block...)
	}
	return out
}

// versusExit is the exit code: a target without a single run that counts leaves
// nothing to compare, and thresholds bind the first target alone.
func versusExit(v *reports.Versus, results []*reports.Result) int {
	if v.Interrupted {
		return ExitInterrupted
	}
	code := ExitOK
	for _, t := range v.Targets {
		counts := false
		for _, r := range results {
			if r.Target != t {
				continue
			}
			counts = counts || r.Verdict != reports.Invalid
			if t == v.Targets[0] && code == ExitOK && r.ExitCode != ExitOK {
				code = r.ExitCode
				if code == ExitInterrupted { // not by a signal: the other run of its duet has failed
					code = ExitError
				}
			}
		}
		if !counts && code == ExitOK {
			code = ExitInvalid
		}
	}
	return code
}
