package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

// manyRuns are what the commands that make many runs of a scenario share, which are
// sweep and tune: their flags, how they go on after an interruption, and how they tell
// of themselves.
type manyRuns struct {
	g        *globalState
	scenario *loadtestSettings
	out      string
	resume   string
	force    bool
	dryRun   bool
	quiet    bool
	asJSON   bool
}

func newManyRuns(g *globalState) manyRuns {
	return manyRuns{g: g, scenario: &loadtestSettings{g: g}}
}

// flags are those that every such command has. what is its noun.
func (o *manyRuns) flags(cmd *cobra.Command, what string) {
	o.scenario.scenarioFlags(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.out, "out", "o", filepath.Join("reports", "runs"), "`FOLDER` that gets a folder for the "+what)
	f.StringVar(&o.resume, "resume", "", "go on with the "+what+" in `FOLDER`")
	f.BoolVar(&o.force, "force", false, "resume with another binary or on another machine all the same")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the plan and its time, and run nothing")
	f.BoolVar(&o.quiet, "quiet", false, "show no progress")
	f.BoolVar(&o.asJSON, "json", false, "print the document instead of its summary")
}

// arguments wants a scenario, which --resume may do without.
func (o *manyRuns) arguments(_ *cobra.Command, args []string) error {
	if len(args) == 0 && o.resume != "" {
		return nil
	}
	return scenarioArgument(nil, args)
}

// scenarioFlagNames are the flags that make a scenario another one.
var scenarioFlagNames = []string{"rate", "duration", "conns", "seed", "set", "warmup", "workers", "subprotocol", "threshold"}

// changed is the first flag in the call of those that plan: the given ones, and those
// that change the scenario; empty when there is none.
func (o *manyRuns) changed(cmd *cobra.Command, names ...string) string {
	for _, name := range slices.Concat(names, scenarioFlagNames) {
		if cmd.Flags().Changed(name) {
			return name
		}
	}
	return ""
}

// resolved is the scenario with what the call overrides, without what takes time in many
// runs and has no part in their figures.
func (o *manyRuns) resolved(cmd *cobra.Command, name string) (scenarios.Scenario, []reports.Override, error) {
	s, overrides, err := o.scenario.resolve(cmd, name)
	if err != nil {
		return s, nil, err
	}
	s, err = withoutExtras(s, overrides)
	return s, overrides, err
}

// begun is the document of what is to be resumed, a sweep or the sweep of a search.
func (o *manyRuns) begun(args []string, kind reports.Kind) (*reports.Sweep, error) {
	doc, err := reports.ReadSweep(o.resume)
	if err != nil {
		return nil, withHint(&usageError{err}, "Name the folder of a %s: it has a file %s.", kind, reports.SweepFile)
	}
	switch {
	case kind == reports.KindSweep && doc.Search != nil:
		return nil, withHint(usagef("%s: is a search for the best setting, not a sweep", o.resume), "Go on with it by firetower tune --resume %s", o.resume)
	case kind == reports.KindTune && doc.Search == nil && reports.KindOf(o.resume) == reports.KindTune:
		return nil, usagef("%s: was written by an older build, which did not keep what a search needs to go on", o.resume)
	case kind == reports.KindTune && doc.Search == nil:
		return nil, withHint(usagef("%s: is a sweep, not a search for the best setting", o.resume), "Go on with it by firetower sweep --resume %s", o.resume)
	case len(args) == 1 && scenarios.IsFile(args[0]): // it may have changed, and would have no part in what goes on
		return nil, usagef("%s: give the other arguments of the %s too, or leave the scenario to --resume", args[0], kind)
	case len(args) == 1 && args[0] != doc.Scenario:
		return nil, usagef("%s: is a %s of %s, not of %s", o.resume, kind, doc.Scenario, args[0])
	}
	return doc, nil
}

// carryOut shows the plan, makes the runs and prints what they came to. do is given the
// options but for the plan, and returns the document, its folder and its exit code.
func (o *manyRuns) carryOut(plan fmt.Stringer, overrides []reports.Override, do func(loadtest.SweepOptions) (reports.Document, string, int, error)) error {
	if o.dryRun {
		_, err := fmt.Fprint(o.g.stdout, plan)
		return err
	}
	executable, err := o.g.executable()
	if err != nil {
		return err
	}
	build := readBuildInfo()
	w := watcher{g: o.g, off: o.quiet}
	if !o.quiet {
		fmt.Fprint(o.g.stderr, plan)
	}
	doc, dir, code, err := do(loadtest.SweepOptions{
		Options: loadtest.Options{
			Executable: executable, Environ: o.g.environ, Root: o.out, Overrides: overrides,
			Build: loadtest.Build{Commit: build.Commit, Modified: build.Modified},
		},
		Resume: o.resume, Force: o.force, Before: w.before, After: w.after,
	})
	switch {
	case errors.Is(err, loadtest.ErrOtherPlan):
		return withHint(&usageError{err}, "Leave out all flags but --resume to go on as it began.")
	case errors.Is(err, loadtest.ErrChanged):
		return withHint(&usageError{err}, "--force goes on all the same.")
	case err != nil:
		return err
	case o.asJSON:
		err = writeJSON(o.g.stdout, doc)
	default:
		_, err = fmt.Fprint(o.g.stdout, doc.Summary(dir))
	}
	if err == nil && code != exitOK {
		err = withExitCode(code, nil)
	}
	return err
}

// withoutExtras leaves out of the many runs of a sweep what takes time and has no part in
// its figures, unless it was asked for: calibration, the leave check, and most of the rest
// before memory is read, where memory is not what the scenario is about.
func withoutExtras(s scenarios.Scenario, overrides []reports.Override) (scenarios.Scenario, error) {
	for _, v := range []struct {
		key, value string
		longer     bool
	}{
		{"phases.calibrate", "0s", true},
		{"phases.leave", "0s", true},
		{"phases.settle", "500ms", s.Load.Mode != scenarios.ModeIdle && s.Phases.Settle.Duration > 500*time.Millisecond},
	} {
		asked := slices.ContainsFunc(overrides, func(o reports.Override) bool { return o.Key == v.key })
		if asked || !v.longer {
			continue
		}
		if err := s.Set(v.key, v.value); err != nil {
			return s, err
		}
	}
	return s, nil
}

// watcher tells of the runs of a sweep.
type watcher struct {
	g   *globalState
	off bool
}

func (w watcher) before(st loadtest.SweepState) loadtest.Progress {
	if w.off {
		return newProgress(w.g, true)
	}
	cell := st.Cell
	if st.Default {
		cell += ", the default"
	}
	if st.Again {
		cell += ", again since the run was invalid"
	}
	round := ""
	if st.Rounds > 1 {
		round = fmt.Sprintf("round %d of %d, ", st.Round, st.Rounds)
	}
	fmt.Fprintf(w.g.stderr, "%srun %d of %d: %s; %s left\n", round, st.Run, st.Runs, cell, st.Left)
	return newProgress(w.g, !w.g.stderrIsTerminal)
}

func (w watcher) after(result *reports.Result, _ string) {
	if !w.off {
		fmt.Fprintf(w.g.stderr, "%s\n", result.VerdictLine())
	}
}
