package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// revision is a source tree with the test binaries that were built of it.
type revision struct {
	root string // the tree
	bin  string // where the binaries are
	// current says that it is the tree that the tool runs in: all benchmarks have to be
	// there.
	current bool
	out     bytes.Buffer
}

// benchmark is one function of one package.
type benchmark struct{ pkg, name string }

// pattern is what -test.bench takes for the part of the benchmark that the suite runs. Its
// elements are matched one by one, so a choice has as many as the names of its sub-benchmarks.
func (b benchmark) pattern() string {
	p := "^" + b.name + "$"
	if choice := choices()[b.name]; choice != "" {
		p += "/" + choice
	}
	return p
}

// binary names the test binary of a package.
func (r *revision) binary(pkg string) string {
	return filepath.Join(r.bin, strings.ReplaceAll(pkg, "/", "_")+".test")
}

// build builds the test binaries. A package that has no tests yields none.
func (r *revision) build(ctx context.Context) error {
	if err := os.MkdirAll(r.bin, 0o755); err != nil { //nolint:gosec // for everyone to read
		return err
	}
	for _, pkg := range packages() {
		if _, err := os.Stat(filepath.Join(r.root, pkg)); errors.Is(err, os.ErrNotExist) && !r.current {
			continue // the older tree has no such package
		}
		if _, err := command(ctx, r.root, "go", "test", "-c", "-trimpath", "-o", r.binary(pkg), "./"+pkg); err != nil {
			return err
		}
	}
	return nil
}

// list tells which benchmarks the tree has, of those that were asked for.
func (r *revision) list(ctx context.Context, s *settings) ([]benchmark, error) {
	var all []benchmark
	for _, pkg := range packages() {
		if _, err := os.Stat(r.binary(pkg)); errors.Is(err, os.ErrNotExist) {
			continue
		}
		out, err := command(ctx, filepath.Join(r.root, pkg), r.binary(pkg), "-test.list", "^Benchmark")
		if err != nil {
			return nil, err
		}
		for name := range strings.Lines(out) {
			name = strings.TrimSpace(name)
			if short, ok := strings.CutPrefix(name, "Benchmark"); ok && s.bench.MatchString(short) {
				all = append(all, benchmark{pkg, name})
			}
		}
	}
	return all, nil
}

// once runs a benchmark once and keeps what it printed.
func (r *revision) once(ctx context.Context, b benchmark, benchtime string) error {
	if _, err := os.Stat(r.binary(b.pkg)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if benchtime == "" {
		benchtime = defaultBenchtime
	}
	out, err := command(ctx, filepath.Join(r.root, b.pkg), r.binary(b.pkg),
		"-test.run", "^$", "-test.bench", b.pattern(), "-test.benchtime", benchtime, "-test.benchmem", "-test.short", "-test.timeout", limitOf(benchtime).String())
	if err != nil {
		return err
	}
	if !strings.Contains(out, "\nBenchmark") {
		if r.current {
			return fmt.Errorf("%s: %s: nothing matches the suite's choice %s", b.pkg, b.name, b.pattern())
		}
		return nil
	}
	for line := range strings.Lines(out) {
		if line != "PASS\n" {
			r.out.WriteString(line)
		}
	}
	return nil
}

// leastLimit bounds a run of a benchmark at the suite's own benchtime, where the longest
// takes seconds: it ends what hangs.
const leastLimit = 5 * time.Minute

// mostSubs is more sub-benchmarks than any benchmark has, each of which may take twice its
// benchtime.
const mostSubs = 100

// limitOf is how long one run of a benchmark may take with all its sub-benchmarks. 0 is no
// limit: how long a number of iterations takes, nobody knows beforehand. How often
// benchmarks run does not matter, since each time is a process of its own.
func limitOf(benchtime string) time.Duration {
	d, err := time.ParseDuration(benchtime)
	switch {
	case err == nil:
		return leastLimit + 2*mostSubs*d
	case benchtime == "1x":
		return leastLimit
	default:
		return 0
	}
}

// measure runs every benchmark so often, each round with all revisions in turn, and the
// other one first in every other round: what the machine does meanwhile falls on all.
// After each round it says how long the rest takes, by those so far.
func measure(ctx context.Context, s *settings, benchmarks []benchmark, revisions []*revision, progress io.Writer, now func() time.Time) error {
	began := now()
	for round := range s.count {
		for _, b := range benchmarks {
			for i := range revisions {
				if err := revisions[(i+round)%len(revisions)].once(ctx, b, s.benchtime); err != nil {
					return err
				}
			}
		}
		if s.count > 1 {
			each := now().Sub(began) / time.Duration(round+1)
			left := time.Duration(s.count-round-1) * each
			fmt.Fprintf(progress, "round %d of %d, about %v left\n", round+1, s.count, left.Round(time.Second))
		}
	}
	return nil
}

// command runs a program in a folder and returns what it wrote to standard output; the
// error has the end of all that it wrote.
func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		text := strings.TrimSpace(stdout.String() + stderr.String())
		return "", fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, text[max(0, len(text)-2000):])
	}
	return stdout.String(), nil
}
