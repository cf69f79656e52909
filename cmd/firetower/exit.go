package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// Exit codes, listed for people in exitCodesText. Scripts depend on them: a code
// never changes its meaning.
const (
	exitOK = 0
	// exitError is an error while running: nothing was wrong with the call.
	exitError = 1
	// exitUsage is a wrong argument, flag, configuration or scenario.
	exitUsage = 2
	// exitRegression is a comparison that found the new run to be worse.
	exitRegression = 97
	// exitInvalidRun is a load test that cannot be trusted.
	exitInvalidRun = 98
	// exitThreshold is a valid or degraded load test that missed a threshold.
	exitThreshold = 99
	// exitInterrupted is a command that a signal ended before its work was done,
	// or a service that a second signal ended before it had drained.
	exitInterrupted = 105
)

const exitCodesText = `Exit codes:
    0  success; for a service: stopped in good order by the first signal;
       loadtest: the run is valid or degraded, and held every threshold
    1  an error while running
    2  a wrong argument, flag, configuration, scenario or result document
   97  report compare, loadtest run --gate: a primary figure is worse, or
       surely more deliveries were lost
   98  loadtest: the run is invalid, its figures mean nothing;
       sweep, tune: the default, or all else, has no run that counts
   99  loadtest: the run is valid or degraded, and missed a threshold;
       tune: no setting keeps the limits
  105  interrupted by a signal before the work was done, or by a second signal
`

// exitCodeError is an error that decides the exit code of the process.
type exitCodeError struct {
	code int
	// err says what happened; nil ends the command with the code and no message,
	// for a command that has already said all there is to say.
	err error
}

// Error says what happened.
func (e *exitCodeError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// Unwrap returns what happened.
func (e *exitCodeError) Unwrap() error { return e.err }

// withExitCode makes err end the process with code; err may be nil when the
// command has said all there is to say.
func withExitCode(code int, err error) error {
	return &exitCodeError{code: code, err: err}
}

// usageError is a mistake in the call: exit code 2, and a pointer to --help.
type usageError struct{ err error }

// Error says what is wrong with the call.
func (e *usageError) Error() string { return e.err.Error() }

// Unwrap returns the mistake.
func (e *usageError) Unwrap() error { return e.err }

// usagef makes a usageError.
func usagef(format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...)}
}

// hintError carries what to do about an error, for people. Hints live in this
// package alone: a library's error names what failed.
type hintError struct {
	err  error
	hint string
}

// Error is the error without its hint.
func (e *hintError) Error() string { return e.err.Error() }

// Unwrap returns the error.
func (e *hintError) Unwrap() error { return e.err }

// withHint adds to err what to do about it.
func withHint(err error, format string, args ...any) error {
	return &hintError{err: err, hint: fmt.Sprintf(format, args...)}
}

// report writes what a person must know of err and returns the exit code.
func report(g *globalState, cmd *cobra.Command, err error, interrupted bool) int {
	if err == nil {
		return exitOK
	}
	code := exitError
	var usage *usageError
	var coded *exitCodeError
	switch {
	case errors.As(err, &coded):
		code = coded.code
		if coded.err == nil {
			return code
		}
	case errors.As(err, &usage):
		code = exitUsage
	case interrupted && errors.Is(err, context.Canceled):
		code = exitInterrupted
	}
	text := fmt.Sprintf("%s: %v\n", cmd.CommandPath(), err)
	var hint *hintError
	if errors.As(err, &hint) {
		text += hint.hint + "\n"
	}
	if usage != nil {
		text += fmt.Sprintf("Run '%s --help' for usage.\n", cmd.CommandPath())
	}
	// There is nobody left to tell when standard error is gone; the code remains.
	_, _ = g.stderr.Write([]byte(text))
	return code
}
