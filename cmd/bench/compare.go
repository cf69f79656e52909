package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// notCompared are the lines of a file that say where it was measured: benchstat would make
// a table of its own for each value of them.
const notCompared = "date,commit,kernel,go,goos,goarch,cpu"

// do measures, and compares or writes.
func (s *settings) do(ctx context.Context, stdout io.Writer, now func() time.Time) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		return fmt.Errorf("run it in the root of the source tree: %w", err)
	}
	if !s.write && !s.smoke && s.base == "" {
		if _, err := os.Stat(s.baseline); err != nil { // before minutes of measuring
			return fmt.Errorf("baseline: %w; make bench-baseline writes one", err)
		}
	}
	if err := os.MkdirAll(s.tmp, 0o755); err != nil { //nolint:gosec // for everyone to read
		return err
	}
	dir, err := os.MkdirTemp(s.tmp, "bench.")
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what is left is in a folder for such things

	current := &revision{root: root, bin: filepath.Join(dir, "new"), current: true}
	revisions := []*revision{current}
	if s.base != "" {
		base, remove, err := checkout(ctx, root, dir, s.base)
		if err != nil {
			return err
		}
		defer remove()
		revisions = []*revision{base, current}
	}
	for _, r := range revisions {
		if err := r.build(ctx); err != nil {
			return err
		}
	}
	benchmarks, err := current.list(ctx, s)
	if err != nil {
		return err
	}
	if len(benchmarks) == 0 {
		return fmt.Errorf("no benchmark of %s matches %s", strings.Join(packages(), ", "), s.bench)
	}
	began := now()
	if err := measure(ctx, s, benchmarks, revisions, stdout, now); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d benchmarks ran %d times in %s\n", len(benchmarks), s.count, now().Sub(began).Round(time.Second))
	if s.smoke {
		return nil
	}
	files := make([]string, len(revisions))
	for i, r := range revisions {
		head, err := heading(ctx, r.root, now())
		if err != nil {
			return err
		}
		files[i] = filepath.Join(dir, filepath.Base(r.bin)+".txt")
		if s.write {
			files[i] = s.baseline
		}
		if err := os.MkdirAll(filepath.Dir(files[i]), 0o755); err != nil { //nolint:gosec // for everyone to read
			return err
		}
		if err := os.WriteFile(files[i], []byte(head+r.out.String()), 0o644); err != nil { //nolint:gosec // as above
			return err
		}
	}
	if s.write {
		fmt.Fprintf(stdout, "wrote %s\n", s.baseline)
		return nil
	}
	if s.base == "" {
		files = []string{s.baseline, files[0]}
	}
	return s.show(ctx, stdout, files[0], files[1])
}

// show prints how the runs of a file differ from those of its base, and what that means.
func (s *settings) show(ctx context.Context, stdout io.Writer, base, current string) error {
	table, err := command(ctx, ".", s.benchstat, "-ignore", notCompared, "-filter", ".unit:(sec/op OR allocs/op)", "base="+base, "new="+current)
	if err != nil {
		return err
	}
	from, err := readSet(base)
	if err != nil && (s.base == "" || !errors.Is(err, errNoBenchmark)) { // a revision may have none of them
		return err
	}
	to, err := readSet(current)
	if err != nil {
		return err
	}
	v := judge(from, to)
	if s.bench.String() != "." || s.base != "" {
		v.missing = nil // fewer were asked for, or the revision had others
	}
	fmt.Fprintf(stdout, "\n%s\n%s", table, v)
	if v.failed() {
		return errRegressed
	}
	return nil
}

// checkout puts a revision into a work tree of its own, which remove takes away again.
func checkout(ctx context.Context, root, dir, ref string) (r *revision, remove func(), err error) {
	tree := filepath.Join(dir, "tree")
	if _, err := command(ctx, root, "git", "worktree", "add", "--quiet", "--detach", tree, ref); err != nil {
		return nil, nil, err
	}
	remove = func() {
		// Also after an interruption: git would remember a work tree that is gone.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		_, _ = command(ctx, root, "git", "worktree", "remove", "--force", tree) // git worktree prune does it later
	}
	return &revision{root: tree, bin: filepath.Join(dir, "base")}, remove, nil
}

// heading are the lines of benchmark format that say what was measured where; the
// binaries add goos, goarch, pkg and cpu.
func heading(ctx context.Context, root string, at time.Time) (string, error) {
	commit, err := command(ctx, root, "git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
	if err != nil {
		commit = "unknown" // a source archive
	}
	version, err := command(ctx, root, "go", "env", "GOVERSION")
	if err != nil {
		return "", err
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	lines := [][2]string{
		{"date", at.UTC().Format(time.RFC3339)},
		{"commit", commit},
		{"go", version},
		{"kernel", strings.TrimSpace(runtime.GOOS + " " + strings.TrimSpace(string(kernel)))},
	}
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s: %s\n", l[0], strings.TrimSpace(l[1]))
	}
	return b.String(), nil
}
