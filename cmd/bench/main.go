// Command bench runs the benchmarks of core and compares them with those of a baseline,
// a file or another revision whose runs alternate with these. Times are shown by
// benchstat and decide nothing, since machines differ and are shared; one allocation more
// is a regression. It is a tool of the source tree: run it there, by `make bench`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// The exit codes.
const (
	exitOK        = 0
	exitRegressed = 1 // an allocation more, or a benchmark of the baseline that is gone
	exitFailed    = 2 // bad arguments, or a benchmark that does not run
)

// settings are what the command line says.
type settings struct {
	// count is how often each benchmark runs, benchtime how long each time; empty is the
	// suite's own.
	count     int
	benchtime string
	// bench chooses benchmarks by the name of their function.
	bench *regexp.Regexp
	// baseline is the file to compare with, or with write to make.
	baseline string
	// base is the git revision to compare with in place of the baseline.
	base string
	// benchstat is the tool that prints the comparison.
	benchstat string
	// tmp is the folder for all that is built.
	tmp string
	// write makes the baseline anew; smoke runs everything once and compares nothing.
	write, smoke bool
}

// errRegressed is what a comparison found; its lines are printed.
var errRegressed = errors.New("regressed")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr, time.Now)
	stop()
	os.Exit(code)
}

// run is main with all that it takes from the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, now func() time.Time) int {
	s, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return exitFailed
	}
	switch err := s.do(ctx, stdout, now); {
	case errors.Is(err, errRegressed):
		return exitRegressed
	case err != nil:
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return exitFailed
	}
	return exitOK
}

func parse(args []string, stderr io.Writer) (*settings, error) {
	s := &settings{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&s.count, "count", 6, "how often each benchmark runs")
	f.StringVar(&s.benchtime, "benchtime", "", "how long each run of a benchmark takes, as 100ms or 1x (default: the suite's)")
	bench := f.String("bench", ".", "`REGEXP` of the benchmarks to run, without Benchmark in front")
	f.StringVar(&s.baseline, "baseline", filepath.Join("reports", "baselines", "bench", "core.txt"), "`FILE` to compare with")
	f.StringVar(&s.base, "base", "", "git `REVISION` to compare with, its runs in turn with these, in place of the file")
	f.StringVar(&s.benchstat, "benchstat", "benchstat", "the benchstat `TOOL`")
	f.StringVar(&s.tmp, "tmp", ".tmp", "`FOLDER` for what is built")
	f.BoolVar(&s.write, "write", false, "write the baseline anew")
	f.BoolVar(&s.smoke, "smoke", false, "run every benchmark once and compare nothing")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	var err error
	if s.bench, err = regexp.Compile(*bench); err != nil {
		return nil, fmt.Errorf("-bench: %w", err)
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case s.count < 1 || s.count > 100:
		return nil, fmt.Errorf("-count: must be from 1 to 100, got %d", s.count)
	case s.write && (s.smoke || s.base != ""):
		return nil, errors.New("-write goes with neither -smoke nor -base")
	case s.write && *bench != ".":
		return nil, errors.New("-write goes with no -bench: a baseline holds all benchmarks")
	case s.smoke && s.base != "":
		return nil, errors.New("-smoke compares nothing, so it goes with no -base")
	}
	if s.smoke {
		s.count, s.benchtime = 1, "1x"
	}
	return s, nil
}
