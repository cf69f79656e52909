package main

import (
	"fmt"
	"strings"
	"testing"
)

const here = "date: 2026-11-29T00:00:00Z\ncommit: abc\ngo: go1.26.8\nkernel: linux 6.1\ngoos: linux\ngoarch: amd64\npkg: firetower/core/gateway\ncpu: One\n"

func parsed(t *testing.T, text string) *set {
	t.Helper()
	s, err := parseSet(strings.NewReader(text), "file")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func results(name string, allocs ...int) string {
	var b strings.Builder
	for i, n := range allocs {
		fmt.Fprintf(&b, "Benchmark%s-2 \t %d\t %d.5 ns/op\t 64 B/op\t %d allocs/op\n", name, 1000+i, 100+50*i, n)
	}
	return b.String()
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name          string
		base, now     string
		failed        bool
		want, mustNot []string
	}{
		{
			name: "the same", base: results("Lane/queued=1", 0, 0), now: results("Lane/queued=1", 0, 0),
			want: []string{"no allocation more in 1 benchmarks"}, mustNot: []string{"base was measured with", "ANOTHER"},
		},
		{
			name: "one allocation more", base: results("Lane/queued=1", 0, 0), now: results("Lane/queued=1", 1, 1), failed: true,
			want: []string{"REGRESSED: firetower/core/gateway Lane/queued=1: 1 allocations an operation, were 0"}, mustNot: []string{"no allocation more"},
		},
		{
			name: "one of a thousand", base: results("A", 999), now: results("A", 1000), failed: true, want: []string{"REGRESSED"},
		},
		{
			name: "one of ten thousand is the growth of a map", base: results("A", 10_000), now: results("A", 10_001),
			want: []string{"no allocation more"},
		},
		{
			name: "some runs have others' allocations", base: results("A", 3, 3, 3), now: results("A", 4, 3, 9),
			want: []string{"no allocation more"},
		},
		{
			name: "and so had the base", base: results("A", 9, 2, 4), now: results("A", 3, 3, 3), failed: true, want: []string{"REGRESSED"},
		},
		{
			name: "fewer", base: results("A", 3), now: results("A", 2), want: []string{"fewer allocations: firetower/core/gateway A: 2, were 3"},
		},
		{
			name: "gone", base: results("A", 0) + results("B", 0), now: results("A", 0), failed: true, want: []string{"MISSING: firetower/core/gateway B"},
		},
		{
			name: "new", base: results("A", 0), now: results("A", 0) + results("B", 7), want: []string{"not in the base: firetower/core/gateway B"},
		},
		{
			name: "the same name in two packages", base: results("A", 0) + "pkg: firetower/core/manager\n" + results("A", 5),
			now:  "pkg: firetower/core/manager\n" + results("A", 5) + "pkg: firetower/core/gateway\n" + results("A", 0),
			want: []string{"no allocation more in 2 benchmarks"},
		},
		{
			name: "another CPU", base: results("A", 0), now: "cpu: Two\n" + results("A", 0),
			want: []string{"ANOTHER MACHINE: the times above", `measured with cpu: "One", here "Two"`, "no allocation more"},
		},
		{
			name: "another CPU and an allocation", base: results("A", 0), now: "cpu: Two\n" + results("A", 1), failed: true,
			want: []string{"ANOTHER MACHINE", "REGRESSED"},
		},
		{
			name: "another number of threads", base: results("A", 0), now: strings.ReplaceAll(results("A", 0), "-2 ", "-16 "),
			want: []string{"ANOTHER MACHINE", `measured with threads: "2", here "16"`, "no allocation more in 1 benchmarks"},
		},
		{
			name: "another Go", base: results("A", 0), now: "go: go1.27\n" + results("A", 0),
			want: []string{`measured with go: "go1.26.8", here "go1.27"`}, mustNot: []string{"ANOTHER"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := judge(parsed(t, here+tt.base), parsed(t, here+tt.now))
			if v.failed() != tt.failed {
				t.Errorf("failed: %v, want %v", v.failed(), tt.failed)
			}
			for _, want := range tt.want {
				if !strings.Contains(v.String(), want) {
					t.Errorf("does not say %q:\n%s", want, v)
				}
			}
			for _, not := range tt.mustNot {
				if strings.Contains(v.String(), not) {
					t.Errorf("says %q:\n%s", not, v)
				}
			}
		})
	}
}

// Time decides nothing, however much of it.
func TestTimeIsNoRegression(t *testing.T) {
	v := judge(parsed(t, here+results("A", 0)), parsed(t, here+strings.ReplaceAll(results("A", 0), "100.5 ns/op", "900000 ns/op")))
	if v.failed() {
		t.Errorf("failed: %s", v)
	}
}

func TestFilesThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		here:                           "no benchmark in it",
		here + "BenchmarkA-2 x\n":      "file:9: ",
		"BenchmarkA-2 100 5.0 ns/op\n": "has no allocs/op",
	} {
		if _, err := parseSet(strings.NewReader(text), "file"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestSplitThreads(t *testing.T) {
	for name, want := range map[string][2]string{
		"A-2": {"A", "2"}, "A": {"A", "1"}, "A/op=add-remove": {"A/op=add-remove", "1"}, "A/op=add-remove-16": {"A/op=add-remove", "16"},
		"A-": {"A-", "1"},
	} {
		if base, threads := splitThreads(name); base != want[0] || threads != want[1] {
			t.Errorf("%s is %q with %s threads, want %q", name, base, threads, want)
		}
	}
}
