package main

import (
	"bytes"
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Each choice of the suite is of a benchmark that is there: a renamed one would run whole.
func TestChoicesAreOfBenchmarks(t *testing.T) {
	there := map[string]bool{}
	for _, pkg := range packages() {
		before := len(there)
		files, err := filepath.Glob(filepath.Join("..", "..", pkg, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Benchmark") {
					there[fn.Name.Name] = true
				}
			}
		}
		if len(there) == before {
			t.Errorf("%s has no benchmark", pkg)
		}
	}
	for name := range choices() {
		if !there[name] {
			t.Errorf("the suite narrows %s, which is not there", name)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-count 0", "-count: must be from 1 to 100, got 0"},
		{"-bench (", "-bench: "},
		{"-write -base HEAD", "-write goes with neither"},
		{"-write -bench FanOut", "a baseline holds all benchmarks"},
		{"-smoke -base HEAD", "-smoke compares nothing"},
		{"x", `unexpected argument "x"`},
		{"-nonsense", "not defined"},
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(tt.args), &stderr, &stderr, time.Now); code != exitFailed || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("%s: exit code %d: %s", tt.args, code, &stderr)
		}
	}
}

// A run may take longer when its benchtime is, and how long iterations take is not known.
func TestLimitScales(t *testing.T) {
	for _, tt := range []struct {
		benchtime string
		want      time.Duration
	}{
		{"1x", 5 * time.Minute},
		{defaultBenchtime, 5*time.Minute + 12*time.Second},
		{"10s", 5*time.Minute + 2000*time.Second},
		{"100000x", 0},
	} {
		if got := limitOf(tt.benchtime); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.benchtime, got, tt.want)
		}
	}
}

// Each round says how long the rest takes, by the clock of the tool.
func TestProgressTellsTheTimeLeft(t *testing.T) {
	at := time.Unix(0, 0)
	clock := func() time.Time { // each look is ten seconds after the one before
		at = at.Add(10 * time.Second)
		return at
	}
	var out bytes.Buffer
	if err := measure(t.Context(), &settings{count: 3}, nil, nil, &out, clock); err != nil {
		t.Fatal(err)
	}
	if want := "round 1 of 3, about 20s left\nround 2 of 3, about 10s left\nround 3 of 3, about 0s left\n"; out.String() != want {
		t.Errorf("printed %q, want %q", &out, want)
	}
}

// benchmarkFile is a benchmark that allocates so often per operation.
func benchmarkFile(allocations string) string {
	return `package histogram

import "testing"

var kept []*int

func BenchmarkThing(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		kept = kept[:0]
		for range ` + allocations + ` {
			kept = append(kept, new(int))
		}
	}
}
`
}

// A tree of its own, from the writing of a baseline to the regressions that it finds, and
// the comparison with a revision.
func TestBench(t *testing.T) {
	root := t.TempDir()
	t.Chdir(root)
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=x", "-c", "user.email=x@example.org"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	// benchstat is the reader's business alone; `true` prints nothing.
	bench := func(args ...string) (code int, text string) {
		t.Helper()
		var out bytes.Buffer
		code = run(context.Background(), append([]string{"-benchstat", "true", "-benchtime", "100x", "-count", "2", "-baseline", "base.txt"}, args...), &out, &out, time.Now)
		return code, out.String()
	}
	want := func(name string, wantCode int, wantText string, args ...string) {
		t.Helper()
		if code, text := bench(args...); code != wantCode || !strings.Contains(text, wantText) {
			t.Errorf("%s: exit code %d, want %d with %q:\n%s", name, code, wantCode, wantText, text)
		}
	}
	write("go.mod", "module x\n\ngo 1.26\n")
	write(".gitignore", "/.tmp/\n")
	for _, pkg := range packages() {
		write(filepath.Join(pkg, "doc.go"), "package "+filepath.Base(pkg)+"\n")
	}
	const file = "core/histogram/bench_test.go"
	want("no baseline", exitFailed, "make bench-baseline writes one")
	want("no benchmark", exitFailed, "no benchmark of", "-smoke")
	write(file, benchmarkFile("3"))
	git("init", "--quiet")
	git("add", ".")
	git("commit", "--quiet", "-m", "x")

	want("smoke", exitOK, "1 benchmarks ran 1 times", "-smoke")
	want("baseline", exitOK, "wrote base.txt", "-write")
	baseline, err := os.ReadFile("base.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"date: ", "commit: ", "go: go", "kernel: ", "pkg: x/core/histogram\n", "BenchmarkThing"} {
		if !strings.Contains("\n"+string(baseline), "\n"+line) {
			t.Errorf("the baseline has no line %q:\n%s", line, baseline)
		}
	}
	want("unchanged", exitOK, "no allocation more in 1 benchmarks")

	write(file, benchmarkFile("4"))
	want("against the baseline", exitRegressed, "REGRESSED: x/core/histogram Thing: 4 allocations an operation, were 3")
	want("against a revision", exitRegressed, "REGRESSED", "-base", "HEAD")
	write(file, benchmarkFile("2"))
	want("fewer", exitOK, "fewer allocations: x/core/histogram Thing: 2, were 3", "-base", "HEAD")
	write(file, strings.ReplaceAll(benchmarkFile("3"), "BenchmarkThing", "BenchmarkOther"))
	want("renamed", exitRegressed, "MISSING: x/core/histogram Thing")
	want("renamed since a revision", exitOK, "not in the base: x/core/histogram Other", "-base", "HEAD")
	want("no such revision", exitFailed, "git worktree add", "-base", "nonsense")
	write(file, strings.ReplaceAll(benchmarkFile("3"), "kept = kept[:0]", `b.Fatal("broken")`))
	want("a benchmark that fails", exitFailed, "broken", "-smoke")

	if left, err := os.ReadDir(".tmp"); err != nil || len(left) != 0 {
		t.Errorf("%d entries are left in .tmp: %v", len(left), err)
	}
	out, err := exec.Command("git", "worktree", "list").Output()
	if err != nil || bytes.Count(out, []byte("\n")) != 1 {
		t.Errorf("work trees: %v\n%s", err, out)
	}
}
