package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// globalState is what a command may take from the process that it runs in.
// Nothing in this package reads os.Args, os.Environ, the standard streams, the
// clock or signals in any other way.
type globalState struct {
	// args are the arguments without the program's name.
	args []string
	// environ holds KEY=value pairs, as os.Environ gives them.
	environ []string
	stdin   io.Reader
	// stdout takes results and nothing else.
	stdout io.Writer
	// stderr takes logs, progress, hints and errors.
	stderr io.Writer
	// stdinIsTerminal tells whether a person would have to type the input.
	stdinIsTerminal bool
	// stdoutIsTerminal and stderrIsTerminal tell whether a person looks on.
	stdoutIsTerminal, stderrIsTerminal bool
	// pid is the process id, for the announcement of a service.
	pid int
	now func() time.Time
	// after is time.After.
	after func(time.Duration) <-chan time.Time
	// readFile reads a whole file of bounded size.
	readFile func(name string) ([]byte, error)
	// executable names this binary, for commands that start child processes.
	executable func() (string, error)
	// setCollector sets the garbage collector of the process; nil leaves a setting alone.
	setCollector func(percent *int, limit *int64)
	// setProcessors sets on how many processors Go code runs; 0 is all there are.
	setProcessors func(n int)
	// signals delivers SIGINT and SIGTERM: the first asks a command to end, the
	// second ends it at once.
	signals <-chan os.Signal
	// hangups delivers SIGHUP from when it is called until stop is: before and after,
	// the signal ends the process.
	hangups func() (c <-chan os.Signal, stop func())
}

// maxFileBytes bounds the files that a command reads whole.
const maxFileBytes = 16 << 20

// readFile is os.ReadFile with a bound, so that a wrong path such as /dev/zero
// is an error and not the end of the machine's memory.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFileBytes {
		return nil, fmt.Errorf("%s: %w (%d MiB)", name, errFileTooLarge, maxFileBytes>>20)
	}
	return b, nil
}

// errFileTooLarge is returned for a file over maxFileBytes.
var errFileTooLarge = errors.New("file is larger than this command reads")
