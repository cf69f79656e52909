package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"firetower/loadtest"
	"firetower/reports"
)

func newLoadtestRunCommand(g *globalState) *cobra.Command {
	o := &loadtestSettings{g: g}
	out, repeat := "", 0
	noProgress, asJSON, gate, duet := false, false, false, false
	cmd := &cobra.Command{
		Use:   "run SCENARIO",
		Short: "Run a scenario and report",
		Long: `Run a scenario: start its servers and workers as child processes, connect the
clients, warm up, measure, drain, account for every delivery, and report.

SCENARIO is a name of 'firetower loadtest list' or a .toml file. What it says is
overridden by variables of the environment, and these by flags: of a key as
load.payload the variable is FIRETOWER_LOADTEST_LOAD_PAYLOAD, and _RATE, _DURATION,
_CONNS and _SEED are short for the most common. The first Ctrl-C ends the run early and still reports; the
second ends it at once.

With --vs the target and each server named there run in turn on the same work, in
an order drawn from the seed, as often as --repeat says, and a table of ratios
follows; with three runs of each or more, verdicts as of 'firetower report compare'.
With --duet the two targets run at the same time, and their messages take turns: what
the machine does meanwhile falls on both alike. It tells smaller differences than
runs one after another, at the price of latencies on a machine that is shared.
A target firetower@PATH is another build of Firetower: its servers are started from
PATH, everything else from this binary.

` + exitCodesText,
		Args: scenarioArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, overrides, err := o.resolve(cmd, args[0])
			if err != nil {
				return err
			}
			targets, err := o.targets()
			if err != nil {
				return err
			}
			if repeat < 1 || repeat > 100 {
				return usagef("--repeat: must be 1 to 100, got %d", repeat)
			}
			if gate && len(targets) == 1 {
				return usagef("--gate: needs --vs, with what the target must not do worse than")
			}
			if duet && len(targets) != 2 {
				return usagef("--duet: needs --vs with one target, which runs at the same time")
			}
			if gate && repeat < reports.GateRuns {
				return usagef("--gate: needs --repeat %d or more: with %d it could never find the target worse", reports.GateRuns, repeat)
			}
			plans, err := o.planned(s, targets)
			if err != nil {
				return err
			}
			if fitted := plans[0].Scenario.Subprotocol; fitted != s.Subprotocol {
				overrides = append(overrides, reports.Override{Key: "subprotocol", Value: string(fitted), Origin: "what reference servers speak"})
			}
			executable, err := g.executable()
			if err != nil {
				return err
			}
			peers, err := o.peersBinary(targets)
			if err != nil {
				return err
			}
			build := readBuildInfo()
			tags, err := o.tagged()
			if err != nil {
				return err
			}
			options := loadtest.Options{
				Tags:       tags,
				Executable: executable, Peers: peers, Environ: g.environ, Root: out, Overrides: overrides,
				Build: loadtest.Build{Commit: build.Commit, Modified: build.Modified},
			}
			r := runner{g: g, options: options, noProgress: noProgress, asJSON: asJSON, gate: gate, duet: duet}
			if len(plans) == 1 && repeat == 1 {
				return r.one(cmd, plans[0])
			}
			return r.versus(cmd, plans, repeat)
		},
	}
	o.flags(cmd)
	cmd.Flags().StringArrayVar(&o.tags, "tag", nil, "a word of your own for the result, as `KEY=VALUE`: branch=main")
	cmd.Flags().StringVarP(&out, "out", "o", filepath.Join("reports", "runs"), "`FOLDER` that gets a folder for the run")
	cmd.Flags().IntVarP(&repeat, "repeat", "n", 1, "how often each target runs")
	cmd.Flags().BoolVar(&gate, "gate", false, "exit with code 97 when the target does worse than one of --vs in a primary figure; needs --repeat 5 or more")
	cmd.Flags().BoolVar(&duet, "duet", false, "run the target and the one of --vs at the same time, with messages that take turns")
	cmd.Flags().BoolVar(&noProgress, "quiet", false, "show no progress")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result document instead of its summary")
	return cmd
}

// runner carries out runs and says what came of them.
type runner struct {
	g                  *globalState
	options            loadtest.Options
	noProgress, asJSON bool
	gate, duet         bool
}

// one is a single run.
func (r runner) one(cmd *cobra.Command, plan *loadtest.Plan) error {
	if !r.noProgress {
		fmt.Fprint(r.g.stderr, plan)
	}
	o := r.options
	o.Plan, o.Progress = plan, newProgress(r.g, r.noProgress)
	result, dir, err := loadtest.Run(cmd.Context(), o)
	if result != nil {
		if printErr := r.print(result, dir); printErr != nil {
			return printErr
		}
	}
	if err != nil {
		return err
	}
	if result.ExitCode != exitOK {
		return withExitCode(result.ExitCode, nil)
	}
	return nil
}

func (r runner) print(result *reports.Result, dir string) error {
	if r.asJSON {
		b, err := result.Encode()
		if err != nil {
			return err
		}
		_, err = r.g.stdout.Write(b)
		return err
	}
	_, err := fmt.Fprint(r.g.stdout, result.Summary(dir))
	return err
}

// versus runs several targets, or one several times.
func (r runner) versus(cmd *cobra.Command, plans []*loadtest.Plan, repeat int) error {
	if !r.noProgress {
		fmt.Fprint(r.g.stderr, plans[0])
	}
	v, dir, err := loadtest.RunVersus(cmd.Context(), loadtest.VersusOptions{
		Options: r.options, Plans: plans, Repeat: repeat, Gate: r.gate, Duet: r.duet,
		Before: func(n, of int, plan *loadtest.Plan) loadtest.Progress {
			if !r.noProgress {
				fmt.Fprintf(r.g.stderr, "run %d of %d: %s on %s\n", n, of, plan.Scenario.Name, plan.Target)
			}
			return newProgress(r.g, r.noProgress)
		},
		After: func(result *reports.Result, _ string) {
			if !r.noProgress {
				fmt.Fprintf(r.g.stderr, "%s\n", result.VerdictLine())
			}
		},
	})
	if err != nil {
		return err
	}
	if r.asJSON {
		err = writeJSON(r.g.stdout, v)
	} else {
		_, err = fmt.Fprint(r.g.stdout, v.Summary(dir))
	}
	if err != nil {
		return err
	}
	if v.ExitCode != exitOK {
		return withExitCode(v.ExitCode, nil)
	}
	return nil
}
