package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"firetower/loadtest"
	"firetower/loadtest/reference"
	"firetower/scenarios"
)

// newLoadtestCommand is `firetower loadtest`.
func newLoadtestCommand(g *globalState) *cobra.Command {
	return parent(
		&cobra.Command{Use: "loadtest", Short: "Run load tests against this binary's own servers, or others'"},
		newLoadtestRunCommand(g),
		newLoadtestPlanCommand(g),
		newLoadtestListCommand(g),
		newLoadtestValidateCommand(g),
		newLoadtestWorkerCommand(g),
		newLoadtestReferenceCommand(g),
	)
}

func newLoadtestPlanCommand(g *globalState) *cobra.Command {
	o := &loadtestSettings{g: g}
	asTOML := false
	cmd := &cobra.Command{
		Use:   "plan SCENARIO",
		Short: "Show what a run would do and what it needs of this machine",
		Long: `Show what a run would do, without doing it: the scenario with every override, and
the arithmetic of descriptors, ports and memory. A plan that does not fit is
refused with exit code 2, as it would be by run.`,
		Args: scenarioArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, overrides, err := o.resolve(cmd, args[0])
			if err != nil {
				return err
			}
			if asTOML {
				_, err := io.WriteString(g.stdout, s.Encode())
				return err
			}
			for _, v := range overrides {
				fmt.Fprintf(g.stdout, "override: %s = %s (%s)\n", v.Key, v.Value, v.Origin)
			}
			targets, err := o.targets()
			if err != nil {
				return err
			}
			for _, t := range targets {
				p, err := loadtest.NewPlan(o.fitted(s, targets), t, loadtest.ReadMachine())
				if p != nil {
					fmt.Fprint(g.stdout, p)
				}
				if err != nil {
					return &usageError{err}
				}
			}
			return nil
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&asTOML, "toml", false, "print the resolved scenario as a file that run takes")
	return cmd
}

// scenarioArgument wants one scenario, and names them all when there is none.
func scenarioArgument(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("name one scenario, or a scenario's .toml file; there are: %s", strings.Join(scenarios.Names(), ", "))
	}
	return nil
}

// newLoadtestWorkerCommand is the process that holds clients; a run starts it.
func newLoadtestWorkerCommand(g *globalState) *cobra.Command {
	return &cobra.Command{
		Use: "worker", Short: "Hold clients for a run, which speaks to it over standard input", Hidden: true, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := loadtest.RunWorker(cmd.Context(), g.stdin, g.stdout)
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
}

// newLoadtestReferenceCommand is a reference server; a run starts it.
func newLoadtestReferenceCommand(g *globalState) *cobra.Command {
	listen := ""
	cmd := &cobra.Command{
		Use: "reference KIND", Short: "Run a server to compare with: " + strings.Join(reference.Kinds(), ", "), Hidden: true, Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "`ADDRESS` for clients")
	withAnnouncement := announceFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var announceErr error
		err := reference.Run(cmd.Context(), args[0], listen, func(addr string) {
			if *withAnnouncement {
				announceErr = announce(g, announcement{Role: "reference", Listen: addr})
			}
		})
		if errors.Is(err, reference.ErrKind) {
			return &usageError{err}
		}
		return errors.Join(err, announceErr)
	}
	return cmd
}
