package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"
)

func main() {
	// Two places: the second signal must not be lost while the first is handled.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	os.Exit(run(&globalState{
		args:             os.Args[1:],
		environ:          os.Environ(),
		stdin:            os.Stdin,
		stdout:           os.Stdout,
		stderr:           os.Stderr,
		stdinIsTerminal:  term.IsTerminal(int(os.Stdin.Fd())),
		stdoutIsTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		stderrIsTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		pid:              os.Getpid(),
		now:              time.Now,
		after:            time.After,
		readFile:         readFile,
		executable:       os.Executable,
		setCollector:     setCollector,
		setProcessors:    setProcessors,
		signals:          signals,
		hangups: func() (<-chan os.Signal, func()) {
			c := make(chan os.Signal, 1) // several at once ask for one thing
			signal.Notify(c, syscall.SIGHUP)
			return c, func() { signal.Stop(c) }
		},
	}))
}
