package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"firetower/loadtest"
	"firetower/scenarios"
)

// scenarioGroup is what a scenario is mostly about; the list is sorted by it.
func scenarioGroup(s *scenarios.Scenario) int {
	const steady, limit, connections, misbehaves, breaks = 0, 1, 2, 3, 4
	switch {
	case len(s.Faults) > 0:
		return breaks
	case len(s.Slow) > 0:
		return misbehaves
	case s.Load.Mode == scenarios.ModeIdle:
		return connections
	case s.Load.Mode == scenarios.ModeOpen:
		return steady
	default:
		return limit
	}
}

func newLoadtestListCommand(g *globalState) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the scenarios, and what each needs of this machine",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			var plans []*loadtest.Plan
			for _, name := range scenarios.Names() {
				s, err := scenarios.Open(name)
				if err != nil {
					return err
				}
				// What does not fit this machine is listed all the same.
				p, err := loadtest.NewPlan(s, loadtest.Firetower, loadtest.ReadMachine())
				if err != nil && !errors.Is(err, loadtest.ErrImpossible) {
					return err
				}
				plans = append(plans, p)
			}
			if asJSON {
				return writeJSON(g.stdout, listedScenarios(plans))
			}
			return listScenarios(g, plans)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// listScenarios writes a line for each: a steady rate first, then the limit,
// connections alone, clients that misbehave and faults; small before large.
func listScenarios(g *globalState, plans []*loadtest.Plan) error {
	slices.SortStableFunc(plans, func(a, b *loadtest.Plan) int {
		return cmp.Or(cmp.Compare(scenarioGroup(&a.Scenario), scenarioGroup(&b.Scenario)), cmp.Compare(a.Connections, b.Connections))
	})
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "SCENARIO\tTIME\tFILES\tMEMORY\tASKS")
	for i, p := range plans {
		if i > 0 && scenarioGroup(&plans[i-1].Scenario) != scenarioGroup(&p.Scenario) {
			fmt.Fprintln(w, "\t\t\t\t")
		}
		fmt.Fprintf(w, "%s\t%v\t%d\t%s\t%s\n", p.Scenario.Name, shortDuration(p.Duration), descriptors(p), megabytes(p.Memory), p.Scenario.Purpose)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) { // an empty line has its columns all the same
		fmt.Fprintln(g.stdout, strings.TrimRight(line, " \n"))
	}
	_, err := fmt.Fprint(g.stdout, `
TIME is about how long a run takes; FILES are the descriptors of its largest process,
MEMORY is what all of them and the kernel's sockets take at most.
`)
	return err
}

// descriptors is the most that one process of a plan needs.
func descriptors(p *loadtest.Plan) int { return max(p.DescriptorsServer, p.DescriptorsWorker) }

// shortDuration is a length of time to the second, as "1m52s".
func shortDuration(d time.Duration) scenarios.Duration {
	return scenarios.Duration{Duration: d.Round(time.Second)}
}

// megabytes is a size in MiB.
func megabytes(n int64) string { return fmt.Sprintf("%dMiB", n>>20) }

// listedScenario is one of the catalogue for programs.
type listedScenario struct {
	Name            string  `json:"name"`
	Purpose         string  `json:"purpose"`
	Connections     int     `json:"connections"`
	DurationSeconds float64 `json:"duration_seconds"`
	Descriptors     int     `json:"descriptors"`
	MemoryBytes     int64   `json:"memory_bytes"`
}

func listedScenarios(plans []*loadtest.Plan) []listedScenario {
	out := make([]listedScenario, len(plans))
	for i, p := range plans {
		out[i] = listedScenario{
			Name: p.Scenario.Name, Purpose: p.Scenario.Purpose, Connections: p.Connections,
			DurationSeconds: p.Duration.Seconds(), Descriptors: descriptors(p), MemoryBytes: p.Memory,
		}
	}
	return out
}

func newLoadtestValidateCommand(g *globalState) *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE...",
		Short: "Say everything that is wrong with scenario files",
		Long: `Validate reads scenario files as run would, without the environment and flags. It
lists every problem with its file, line and key, and exits with 2. What this machine
cannot carry is told as well, as a note: another one may.`,
		Example: `  firetower loadtest validate mine.toml scenarios/catalogue/*.toml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("name one scenario file or more")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			var errs []error
			var b strings.Builder
			o := &loadtestSettings{g: g}
			for _, file := range args {
				s, err := o.open(file)
				if err == nil {
					err = o.checkServers(s, file, nil)
				}
				if err != nil {
					errs = append(errs, err)
					continue
				}
				p, err := loadtest.NewPlan(s, loadtest.Firetower, loadtest.ReadMachine())
				if err != nil && !errors.Is(err, loadtest.ErrImpossible) {
					errs = append(errs, fmt.Errorf("%s: %w", file, err))
					continue
				}
				fmt.Fprintf(&b, "%s: ok, %s: about %v, %s of memory\n", file, s.Name, shortDuration(p.Duration), megabytes(p.Memory))
				if err != nil {
					fmt.Fprintf(&b, "%s: note: %v\n", file, err)
				}
			}
			if _, err := fmt.Fprint(g.stdout, b.String()); err != nil {
				return err
			}
			if len(errs) > 0 {
				return &usageError{errors.Join(errs...)}
			}
			return nil
		},
	}
}
