package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

// tuneSettings are the flags of a search beside those that override its scenario.
type tuneSettings struct {
	scenario  *loadtestSettings
	tune      loadtest.TuneSettings
	subjectTo []string
	out       string
	dryRun    bool
	quiet     bool
	asJSON    bool
}

func newTuneCommand(g *globalState) *cobra.Command {
	o := &tuneSettings{scenario: &loadtestSettings{g: g}}
	cmd := &cobra.Command{
		Use:   "tune SCENARIO",
		Short: "Search for the settings that do best under a scenario, and write them as a configuration",
		Long: `Search for the setting that is best in one figure and keeps limits of others, as least
CPU per delivery with a p99 below 50 ms:

  firetower tune 1k-group --objective server.cpu_us_per_delivery --subject-to 'delivery.p99<50ms'

or the highest rate that a scenario sustains under its capacity.p99:

  firetower tune capacity-search --objective capacity.messages_per_second

Settings out of the space, as many as the budget lets, run in rounds of ever fewer that
are repeated ever more often. Up to three finalists then run against the default,
interleaved, in runs that had no part in choosing them. Named are all that cannot be told
from the best; of these the nearest to the default is recommended (fewest keys changed,
then fewest doublings away, then least resources). When nothing beats the default beyond
noise, the default is recommended, and that is said.

The folder has the answer as text, page and document, and the recommended configuration
as ` + reports.TuneGateway + `, for firetower gateway --config.

The space is as --grid of sweep; without one it is bucket.Num (by this machine's CPUs),
BuffChanCount, ConsumerNum and joinBytes. The budget is kept: the plan says beforehand
what fits into it, a run that would go over it is not begun, and what is left over goes to
more runs of the finalists. Ctrl-C ends the run under way and reports; what had not been
confirmed by then is not, and the search cannot be resumed.

Exit code 99 says that no setting keeps the limits, 98 that nothing could be confirmed.

` + exitCodesText,
		Args: scenarioArgument,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, g, args[0]) },
	}
	o.scenario.scenarioFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.tune.Objective, "objective", "", "the `METRIC` to be best in (default: what the load asks for: delivery.p99, or capacity)")
	f.StringArrayVar(&o.subjectTo, "subject-to", nil, "a `LIMIT` that must hold, as 'delivery.p99<50ms'")
	f.StringVar(&o.tune.Space, "grid", "", "the space, as 'bucket.Num=1,2,4 bucket.ConsumerNum=1,32'")
	f.DurationVar(&o.tune.Budget, "budget", 10*time.Minute, "how long the search may take")
	f.StringVarP(&o.out, "out", "o", filepath.Join("reports", "runs"), "`FOLDER` that gets a folder for the search")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the plan and its time, and run nothing")
	f.BoolVar(&o.quiet, "quiet", false, "show no progress")
	f.BoolVar(&o.asJSON, "json", false, "print the document instead of its summary")
	return cmd
}

func (o *tuneSettings) run(cmd *cobra.Command, g *globalState, scenario string) error {
	s, overrides, err := o.scenario.resolve(cmd, scenario)
	if err != nil {
		return err
	}
	if s, err = withoutExtras(s, overrides); err != nil {
		return err
	}
	for _, text := range o.subjectTo {
		c, err := scenarios.ParseThreshold(text)
		if err != nil {
			return usagef("--subject-to: %w", err)
		}
		o.tune.Constraints = append(o.tune.Constraints, c)
	}
	plan, err := loadtest.NewTunePlan(s, o.tune, loadtest.ReadMachine())
	if err != nil {
		return &usageError{err}
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
	t, dir, err := loadtest.RunTune(cmd.Context(), loadtest.TuneOptions{
		Options: loadtest.Options{
			Executable: executable, Environ: g.environ, Root: o.out, Overrides: overrides,
			Build: loadtest.Build{Commit: build.Commit, Modified: build.Modified},
		},
		Plan: plan, Before: w.before, After: w.after,
	})
	switch {
	case err != nil:
		return err
	case o.asJSON:
		err = writeJSON(g.stdout, t)
	default:
		_, err = fmt.Fprint(g.stdout, t.Summary(dir))
	}
	if err == nil && t.ExitCode != exitOK {
		err = withExitCode(t.ExitCode, nil)
	}
	return err
}
