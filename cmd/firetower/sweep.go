package main

import (
	"github.com/spf13/cobra"

	"firetower/loadtest"
	"firetower/reports"
)

// sweepSettings are the flags of a sweep beside those that override its scenario.
type sweepSettings struct {
	manyRuns
	sweep  loadtest.SweepSettings
	design string
}

func newSweepCommand(g *globalState) *cobra.Command {
	o := &sweepSettings{manyRuns: newManyRuns(g)}
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
reports; --resume FOLDER goes on, with that run again. It refuses another plan and says
what differs, and another binary or machine unless --force is given. SCENARIO and --grid
may be left out then.

` + exitCodesText,
		Args: o.arguments,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.flags(cmd, "sweep")
	f := cmd.Flags()
	f.StringVar(&o.sweep.Grid, "grid", "", "the axes, as 'bucket.Num=1,2,4 bucket.ConsumerNum=1,32'")
	f.StringVar(&o.design, "design", string(loadtest.DesignGrid), "grid, ofat, random or halving")
	f.IntVar(&o.sweep.Cells, "cells", 0, "`NUMBER` of cells of --design random, and of halving to begin with (default: all)")
	f.IntVarP(&o.sweep.Repeat, "repeat", "n", 3, "how often each cell runs")
	f.IntVar(&o.sweep.BaselineEvery, "baseline-every", 5, "after how many `CELLS` the default runs again")
	f.StringArrayVar(&o.sweep.Objectives, "objective", nil, "a `METRIC` to judge cells by, the first one first (default: what the load asks for)")
	return cmd
}

func (o *sweepSettings) run(cmd *cobra.Command, args []string) error {
	plan, overrides, err := o.plan(cmd, args)
	if err != nil {
		return err
	}
	return o.carryOut(plan, overrides, func(so loadtest.SweepOptions) (reports.Document, string, int, error) {
		so.Plan = plan
		s, dir, err := loadtest.RunSweep(cmd.Context(), so)
		if err != nil {
			return nil, dir, 0, err
		}
		return s, dir, s.ExitCode, nil
	})
}

// plan plans the sweep that the call asks for, or the one that it goes on with.
func (o *sweepSettings) plan(cmd *cobra.Command, args []string) (*loadtest.SweepPlan, []reports.Override, error) {
	if o.resume != "" && !cmd.Flags().Changed("grid") {
		if name := o.changed(cmd, "design", "cells", "repeat", "baseline-every", "objective"); name != "" {
			return nil, nil, usagef("--%s: name the scenario and --grid as well, or leave all of it to --resume", name)
		}
		doc, err := o.begun(args, reports.KindSweep)
		if err != nil {
			return nil, nil, err
		}
		plan, err := loadtest.SweepPlanOf(doc, loadtest.ReadMachine())
		if err != nil {
			return nil, nil, &usageError{err}
		}
		return plan, doc.Overrides, nil
	}
	if len(args) == 0 {
		return nil, nil, usagef("--grid: name the scenario as well, or leave all of it to --resume")
	}
	s, overrides, err := o.resolved(cmd, args[0])
	if err != nil {
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
