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

// sweepSettings are the flags of a sweep beside those that override its scenario.
type sweepSettings struct {
	scenario *loadtestSettings
	sweep    loadtest.SweepSettings
	design   string
	out      string
	resume   string
	force    bool
	dryRun   bool
	quiet    bool
	asJSON   bool
}

func newSweepCommand(g *globalState) *cobra.Command {
	o := &sweepSettings{scenario: &loadtestSettings{g: g}}
	cmd := &cobra.Command{
		Use:   "sweep SCENARIO --grid 'KEY=VALUE,VALUE ...'",
		Short: "Run a scenario under many settings, and say which differ from the default",
		Long: `Run a scenario under many settings, each run with server processes of its own, and
compare every setting with the default.

An axis is any key of the scenario (connections=500,1000), of a server
(gateway.bucket.Num=1,2,4), or of the one server that has it (bucket.Num=1,2,4).
Keys of the scenario change the load: settings are then compared with the default
under the same load, and never across loads. Keys of the load change together when they
are tied: connections+load.rate=1000:50,5000:10. The one group of slow clients of a
scenario is a setting: slow.count=0,10 tells what it does to the others. Every cell is
planned before the first run; one that cannot be is refused.

Designs:
  grid     every combination
  ofat     one setting at a time, the others at their defaults
  random   --cells N of the combinations: a Latin hypercube drawn from the seed, each
           value of an axis in equally many cells
  halving  every combination in short runs; the worse half by the first objective is
           dropped after each round, and those left get more repeats, the last four
           at full length

Runs go in blocks of all cells, shuffled by the seed, with the default among them every
few cells: drift of the machine is shared by all, and seen. Calibration, the leave check
and all but 500ms of phases.settle are left out of the runs unless --set asks for them
(phases.calibrate, phases.leave, phases.settle). An invalid run is repeated once, then
left out and listed.

The document is written after each run. The first Ctrl-C ends the run under way and
reports; --resume FOLDER goes on, with that run again. It refuses another plan, and
another binary or machine unless --force is given. SCENARIO and --grid may be left out
then.

` + exitCodesText,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 && o.resume != "" {
				return nil
			}
			return scenarioArgument(nil, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, g, args) },
	}
	o.scenario.scenarioFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.sweep.Grid, "grid", "", "the axes, as 'bucket.Num=1,2,4 bucket.ConsumerNum=1,32'")
	f.StringVar(&o.design, "design", string(loadtest.DesignGrid), "grid, ofat, random or halving")
	f.IntVar(&o.sweep.Cells, "cells", 0, "`NUMBER` of cells of --design random, and of halving to begin with (default: all)")
	f.IntVarP(&o.sweep.Repeat, "repeat", "n", 3, "how often each cell runs")
	f.IntVar(&o.sweep.BaselineEvery, "baseline-every", 5, "after how many `CELLS` the default runs again")
	f.StringArrayVar(&o.sweep.Objectives, "objective", nil, "a `METRIC` to judge cells by, the first one first (default: what the load asks for)")
	f.StringVarP(&o.out, "out", "o", filepath.Join("reports", "runs"), "`FOLDER` that gets a folder for the sweep")
	f.StringVar(&o.resume, "resume", "", "go on with the sweep in `FOLDER`")
	f.BoolVar(&o.force, "force", false, "resume with another binary or on another machine all the same")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the plan and its time, and run nothing")
	f.BoolVar(&o.quiet, "quiet", false, "show no progress")
	f.BoolVar(&o.asJSON, "json", false, "print the document instead of its summary")
	return cmd
}

func (o *sweepSettings) run(cmd *cobra.Command, g *globalState, args []string) error {
	plan, overrides, err := o.plan(cmd, args)
	if err != nil {
		return err
	}
	if o.dryRun {
		_, err := fmt.Fprint(g.stdout, plan)
		return err
	}
	executable, err := g.executable()
	if err != nil {
		return err
	}
	build := readBuildInfo()
	w := watcher{g: g, off: o.quiet}
	if !o.quiet {
		fmt.Fprint(g.stderr, plan)
	}
	s, dir, err := loadtest.RunSweep(cmd.Context(), loadtest.SweepOptions{
		Options: loadtest.Options{
			Executable: executable, Environ: g.environ, Root: o.out, Overrides: overrides,
			Build: loadtest.Build{Commit: build.Commit, Modified: build.Modified},
		},
		Plan: plan, Resume: o.resume, Force: o.force, Before: w.before, After: w.after,
	})
	switch {
	case errors.Is(err, loadtest.ErrOtherPlan):
		return withHint(&usageError{err}, "Leave out all flags but --resume to go on as it began; a search of firetower tune cannot go on.")
	case errors.Is(err, loadtest.ErrChanged):
		return withHint(&usageError{err}, "--force goes on all the same.")
	case err != nil:
		return err
	case o.asJSON:
		err = writeJSON(g.stdout, s)
	default:
		_, err = fmt.Fprint(g.stdout, s.Summary(dir))
	}
	if err == nil && s.ExitCode != exitOK {
		err = withExitCode(s.ExitCode, nil)
	}
	return err
}

// plan plans the sweep that the call asks for, or the one that it goes on with.
func (o *sweepSettings) plan(cmd *cobra.Command, args []string) (*loadtest.SweepPlan, []reports.Override, error) {
	if o.resume != "" && !cmd.Flags().Changed("grid") {
		return o.resumed(cmd, args)
	}
	if len(args) == 0 {
		return nil, nil, usagef("--grid: name the scenario as well, or leave all of it to --resume")
	}
	s, overrides, err := o.scenario.resolve(cmd, args[0])
	if err != nil {
		return nil, nil, err
	}
	if s, err = withoutExtras(s, overrides); err != nil {
		return nil, nil, err
	}
	if o.sweep.Design, err = loadtest.ParseDesign(o.design); err != nil {
		return nil, nil, usagef("--design: %w", err)
	}
	plan, err := loadtest.NewSweepPlan(s, o.sweep, loadtest.ReadMachine())
	if err != nil {
		return nil, nil, &usageError{err}
	}
	return plan, overrides, nil
}

// resumed is the plan of the sweep in the folder to go on with.
func (o *sweepSettings) resumed(cmd *cobra.Command, args []string) (*loadtest.SweepPlan, []reports.Override, error) {
	for _, name := range []string{"grid", "design", "cells", "repeat", "baseline-every", "objective", "rate", "duration", "conns", "seed", "set", "warmup", "workers", "subprotocol", "threshold"} {
		if cmd.Flags().Changed(name) {
			return nil, nil, usagef("--%s: name the scenario and --grid as well, or leave all of it to --resume", name)
		}
	}
	doc, err := reports.ReadSweep(o.resume)
	if err != nil {
		return nil, nil, sweepReadError(err)
	}
	if len(args) == 1 && !scenarios.IsFile(args[0]) && args[0] != doc.Scenario {
		return nil, nil, usagef("%s: is a sweep of %s, not of %s", o.resume, doc.Scenario, args[0])
	}
	s, err := scenarios.Decode(doc.Scenario+".toml", []byte(doc.ScenarioTOML))
	if err != nil {
		return nil, nil, &usageError{err}
	}
	var metrics []string
	for _, objective := range doc.Objectives {
		metrics = append(metrics, objective.Metric)
	}
	plan, err := loadtest.NewSweepPlan(s, loadtest.SweepSettings{
		Grid: doc.Grid, Design: loadtest.Design(doc.Design), Cells: doc.Drawn, Repeat: doc.Repeat, BaselineEvery: doc.BaselineEvery, Objectives: metrics,
	}, loadtest.ReadMachine())
	if err != nil {
		return nil, nil, &usageError{err}
	}
	return plan, doc.Overrides, nil
}

// sweepReadError says what to do about a sweep that cannot be read.
func sweepReadError(err error) error {
	return withHint(&usageError{err}, "Name the folder of a sweep: it has a file %s.", reports.SweepFile)
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
