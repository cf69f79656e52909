package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// run runs the command that g.args name and returns the exit code. The first
// signal cancels the command's context; the second makes run return at once,
// whatever the command still does: the caller is about to end the process.
func run(g *globalState) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)

	done := make(chan int, 1) // one result, and nobody may be left to take it
	go func() { done <- execute(ctx, g) }()

	interrupted := false
	for {
		select {
		case code := <-done:
			return code
		case sig := <-g.signals:
			if interrupted {
				return exitInterrupted
			}
			interrupted = true
			cancel(&interruptedError{signal: sig})
		}
	}
}

// interruptedError is the cause of a command's context after the first signal.
type interruptedError struct{ signal os.Signal }

// Error names the signal.
func (e *interruptedError) Error() string { return fmt.Sprintf("interrupted (%v)", e.signal) }

// Unwrap makes it a context.Canceled: for who asks the context for its cause, an
// interrupt is as good an end as any.
func (e *interruptedError) Unwrap() error { return context.Canceled }

// execute parses and runs the command line, and reports its error.
func execute(ctx context.Context, g *globalState) int {
	root := newRootCommand(g)
	entered := false
	walk(root, func(c *cobra.Command) {
		if body := c.RunE; body != nil {
			c.RunE = func(c *cobra.Command, args []string) error {
				entered = true
				return body(c, args)
			}
		}
	})
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !entered {
		// What fails before a command's body is a mistake in the call: cobra gives
		// plain errors for unknown commands, flags and counts of arguments.
		var usage *usageError
		if !errors.As(err, &usage) {
			err = &usageError{err: err}
		}
	}
	var interrupted *interruptedError
	return report(g, cmd, err, errors.As(context.Cause(ctx), &interrupted))
}

// newRootCommand builds the whole tree of commands.
func newRootCommand(g *globalState) *cobra.Command {
	root := &cobra.Command{
		Use:   "firetower",
		Short: "Push messages to very many WebSocket clients, and measure how well it goes",
		Long: `Firetower pushes messages to very many WebSocket clients. Clients subscribe to
topics; whoever publishes to a topic reaches every subscriber, on whichever
gateway it is connected.

  firetower serve                      a manager and a gateway, ready to use
  firetower subscribe room-1           print what is published to room-1
  firetower publish room-1 '"hello"'   publish to it

` + exitCodesText,
		Version:       readBuildInfo().String(),
		Args:          knownCommand,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetArgs(g.args)
	root.SetIn(g.stdin)
	root.SetOut(g.stdout)
	root.SetErr(g.stderr)
	root.SetFlagErrorFunc(explainFlag)
	root.SuggestionsMinimumDistance = suggestionDistance
	root.SetVersionTemplate("{{.Version}}\n")
	root.Flags().Bool("version", false, "print what this binary was built from") // cobra acts on it
	root.AddGroup(
		&cobra.Group{ID: groupServices, Title: "Services:"},
		&cobra.Group{ID: groupClients, Title: "Talking to a running Firetower:"},
		&cobra.Group{ID: groupHarness, Title: "Measuring:"},
	)
	for _, member := range []struct {
		group string
		cmd   *cobra.Command
	}{
		{groupServices, newServeCommand(g)},
		{groupServices, newManagerCommand(g)},
		{groupServices, newGatewayCommand(g)},
		{groupClients, newPublishCommand(g)},
		{groupClients, newSubscribeCommand(g)},
		{groupClients, newTopicsCommand(g)},
		{groupClients, newGatewaysCommand(g)},
		{groupClients, newKickCommand(g)},
		{groupClients, newTokenCommand(g)},
		{groupHarness, newLoadtestCommand(g)},
		{groupHarness, newSweepCommand(g)},
		{groupHarness, newTuneCommand(g)},
		{groupHarness, newReportCommand(g)},
		{"", newConfigCommand(g)},
		{"", newVersionCommand(g)},
		{"", newConfigurationTopic()},
		{"", newExitCodesTopic()},
	} {
		member.cmd.GroupID = member.group
		root.AddCommand(member.cmd)
	}
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Args = knownTopic
		}
	}
	return root
}

const (
	groupServices = "services"
	groupClients  = "clients"
	groupHarness  = "harness"
)

// parent makes cmd a command that only holds others: alone it shows its help,
// and a subcommand that it does not have is a mistake in the call.
func parent(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.Args = knownCommand
	cmd.SuggestionsMinimumDistance = suggestionDistance
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(children...)
	return cmd
}

// suggestionDistance is how many letters a command's name may be off to be
// suggested.
const suggestionDistance = 2

// knownCommand refuses the arguments of a command that only holds others: what
// comes here is none of them.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return unknown("command", cmd, args[0])
}

// knownTopic refuses help for what does not exist.
func knownTopic(cmd *cobra.Command, args []string) error {
	found, rest, err := cmd.Root().Find(args)
	if err != nil || len(rest) == 0 {
		return err
	}
	return unknown("help topic", found, rest[0])
}

// unknown is the error for a name that is not below cmd.
func unknown(what string, cmd *cobra.Command, name string) error {
	msg := fmt.Sprintf("unknown %s %q", what, name)
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		msg += ", did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(msg)
}

// explainFlag says what a flag takes in place of what the parser of its value
// had to say.
func explainFlag(_ *cobra.Command, err error) error {
	invalid, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	var want string
	switch kind := invalid.GetFlag().Value.Type(); {
	case errors.Is(err, strconv.ErrRange) && !strings.HasPrefix(invalid.GetValue(), "-"):
		want = "a smaller number"
	case strings.HasPrefix(kind, "uint"):
		want = "a whole number that is not negative"
	case strings.HasPrefix(kind, "int"):
		want = "a whole number"
	case kind == "duration":
		want = `a duration such as "30s", "250ms" or "1m30s"`
	default:
		return err
	}
	return fmt.Errorf("--%s: want %s, got %q", invalid.GetFlag().Name, want, invalid.GetValue())
}

// newExitCodesTopic is `firetower help exit-codes`.
func newExitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long:  exitCodesText,
	}
}

// walk calls visit with cmd and every command below it.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, child := range cmd.Commands() {
		walk(child, visit)
	}
}
