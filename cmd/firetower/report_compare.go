package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"firetower/reports"
	"firetower/reports/stats"
)

const compareText = `Say whether NEW is better or worse than BASE, by how much, and how sure that is.
Exit code 97 when a primary figure has regressed: a gate for CI.

BASE and NEW are each
    a run's folder, or several joined by commas
    the folder of repeated runs (loadtest run --repeat 5)
    the folder of a comparison (loadtest run --vs ...), for its first target,
    or FOLDER:TARGET for another one of it
A single folder of a comparison compares its first target with each other one.

A run is one observation: 5 of each side can tell, 4 of one figure, single runs
cannot. Ratios have exact intervals (Hodges-Lehmann), p-values are exact
(Mann-Whitney; signed-rank where 8 blocks or more took turns) and adjusted over
the primary figures (Holm), which are declared by the kind of load:
    open loop      delivery p50 p99, completion p50 p95, CPU per delivery, memory
    closed loop    deliveries a second, CPU per delivery, memory
    idle           memory, connect p99
    capacity       sustained rate, CPU per delivery, memory
improved, regressed   the interval lies beyond the band, and p is at most alpha
same                  the interval lies within the band
inconclusive          anything else, with the number of runs that would decide

Runs compared with themselves (BASE and NEW name the same ones) are the same, by
their numbers and without statistics. Invalid runs are left out and listed. Runs of other questions, machines, kernels or
toolchains are refused, and so are two builds of which one is of uncommitted code,
unless they took turns; --force compares them and says so.

To compare two builds, let them take turns; then nothing else differs:
    go build -o /tmp/old ./cmd/firetower        (at the old commit)
    firetower loadtest run 1k-group --vs firetower@/tmp/old --repeat 10
    firetower report compare reports/runs/latest`

func newReportCompareCommand(g *globalState) *cobra.Command {
	o := reports.DefaultCompareOptions()
	band, bandCPU, out, asJSON := 100*o.Band, 100*o.BandCPU, "", false
	cmd := &cobra.Command{
		Use:   "compare BASE NEW | FOLDER",
		Short: "Judge one set of runs against another; exit code 97 on a regression",
		Long:  compareText,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return fmt.Errorf("want two sets of runs, BASE and NEW, or one folder of runs that took turns, got %d", len(args))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			o.Band, o.BandCPU = band/100, bandCPU/100
			if err := o.Validate(); err != nil {
				return &usageError{err}
			}
			pairs, err := comparedSets(args)
			if err != nil {
				return err
			}
			var cs []*reports.Comparison
			for _, p := range pairs {
				c, err := reports.Compare(p.base, p.next, o)
				if errors.Is(err, reports.ErrUnlike) {
					return withHint(&usageError{err}, "--force compares them all the same and says so.")
				}
				if errors.Is(err, reports.ErrNoRuns) {
					return &usageError{err}
				}
				if err != nil {
					return err
				}
				cs = append(cs, c)
			}
			d := reports.NewComparisons(cs...)
			if out != "" {
				if err := os.MkdirAll(out, 0o755); err != nil { //nolint:gosec // reports are for everyone to read
					return err
				}
				if err := reports.WriteComparisons(out, d); err != nil {
					return err
				}
			}
			if asJSON {
				err = writeJSON(g.stdout, d)
			} else {
				_, err = fmt.Fprint(g.stdout, d.Summary(out))
			}
			if err == nil && d.Verdict == stats.Regressed {
				err = withExitCode(exitRegression, nil)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.Force, "force", false, "compare what is unlike all the same")
	f.Float64Var(&o.Alpha, "alpha", o.Alpha, "chance of a false alarm over all primary figures")
	f.Float64Var(&band, "band", band, "change of latency, throughput and memory that does not matter, in `PERCENT`")
	f.Float64Var(&bandCPU, "band-cpu", bandCPU, "change of CPU per delivery that does not matter, in `PERCENT`")
	f.StringVarP(&out, "out", "o", "", "`FOLDER` that gets "+reports.CompareFile+", "+reports.CompareHTMLFile+" and "+reports.CompareSummaryFile)
	f.BoolVar(&asJSON, "json", false, "print the document instead of its summary")
	return cmd
}

type comparedPair struct{ base, next reports.Set }

// comparedSets are what the arguments stand for: BASE and NEW, or the first target of a
// folder against each other one.
func comparedSets(args []string) ([]comparedPair, error) {
	if len(args) == 2 {
		var p comparedPair
		var err error
		if p.base, err = reports.ReadSet(args[0]); err != nil {
			return nil, readError(err)
		}
		if p.next, err = reports.ReadSet(args[1]); err != nil {
			return nil, readError(err)
		}
		return []comparedPair{p}, nil
	}
	dir := reports.Locate(args[0])
	if reports.KindOf(dir) != reports.KindVersus {
		return nil, withHint(usagef("%s: one argument must be a folder of targets that took turns", args[0]),
			"Name two sets of runs, BASE and NEW, or make one: firetower loadtest run SCENARIO --vs TARGET --repeat 5")
	}
	v, err := reports.ReadVersus(dir)
	if err != nil {
		return nil, readError(err)
	}
	if len(v.Targets) < 2 {
		return nil, usagef("%s: holds one target alone, %s, and nothing to compare it with", args[0], v.Targets[0])
	}
	next, err := v.Set(dir, v.Targets[0])
	if err != nil {
		return nil, readError(err)
	}
	var out []comparedPair
	for _, t := range v.Targets[1:] {
		base, err := v.Set(dir, t)
		if err != nil {
			return nil, readError(err)
		}
		out = append(out, comparedPair{base, next})
	}
	return out, nil
}
