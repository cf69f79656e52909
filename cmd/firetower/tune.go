package main

import (
	"time"

	"github.com/spf13/cobra"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

// tuneSettings are the flags of a search beside those that override its scenario.
type tuneSettings struct {
	manyRuns
	tune      loadtest.TuneSettings
	subjectTo []string
}

func newTuneCommand(g *globalState) *cobra.Command {
	o := &tuneSettings{manyRuns: newManyRuns(g)}
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
more runs of the finalists.

The document is written after each run. The first Ctrl-C ends the run under way and
reports, with nothing confirmed that was not yet; --resume FOLDER goes on with what is left
of the budget, with that run again and no other. It refuses another plan and says what
differs, and another binary or machine unless --force is given. SCENARIO may be left out
then.

Exit code 99 says that no setting keeps the limits, 98 that nothing could be confirmed.

` + exitCodesText,
		Args: o.arguments,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.flags(cmd, "search")
	f := cmd.Flags()
	f.StringVar(&o.tune.Objective, "objective", "", "the `METRIC` to be best in (default: what the load asks for: delivery.p99, or capacity)")
	f.StringArrayVar(&o.subjectTo, "subject-to", nil, "a `LIMIT` that must hold, as 'delivery.p99<50ms'")
	f.StringVar(&o.tune.Space, "grid", "", "the space, as 'bucket.Num=1,2,4 bucket.ConsumerNum=1,32'")
	f.DurationVar(&o.tune.Budget, "budget", 10*time.Minute, "how long the search may take")
	return cmd
}

func (o *tuneSettings) run(cmd *cobra.Command, args []string) error {
	plan, overrides, err := o.plan(cmd, args)
	if err != nil {
		return err
	}
	return o.carryOut(plan, overrides, func(so loadtest.SweepOptions) (reports.Document, string, int, error) {
		t, dir, err := loadtest.RunTune(cmd.Context(), plan, so)
		if err != nil {
			return nil, dir, 0, err
		}
		return t, dir, t.ExitCode, nil
	})
}

// plan plans the search that the call asks for, or the one that it goes on with.
func (o *tuneSettings) plan(cmd *cobra.Command, args []string) (*loadtest.TunePlan, []reports.Override, error) {
	named := o.changed(cmd, "objective", "subject-to", "grid", "budget")
	switch {
	case o.resume != "" && named == "":
		doc, err := o.begun(args, reports.KindTune)
		if err != nil {
			return nil, nil, err
		}
		plan, err := loadtest.TunePlanOf(doc, loadtest.ReadMachine())
		if err != nil {
			return nil, nil, &usageError{err}
		}
		return plan, doc.Overrides, nil
	case len(args) == 0:
		return nil, nil, usagef("--%s: name the scenario as well, or leave all of it to --resume", named)
	}
	s, overrides, err := o.resolved(cmd, args[0])
	if err != nil {
		return nil, nil, err
	}
	for _, text := range o.subjectTo {
		c, err := scenarios.ParseThreshold(text)
		if err != nil {
			return nil, nil, usagef("--subject-to: %w", err)
		}
		o.tune.Constraints = append(o.tune.Constraints, c)
	}
	plan, err := loadtest.NewTunePlan(s, o.tune, loadtest.ReadMachine())
	if err != nil {
		return nil, nil, &usageError{err}
	}
	return plan, overrides, nil
}
