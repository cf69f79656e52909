package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// set is the benchmarks of a file.
type set struct {
	// allocs is the least allocs/op that each benchmark had in any of its runs, by package
	// and name. The least, since what another goroutine allocates now and then adds to some
	// runs, and what the code allocates adds to all.
	allocs map[string]float64
	// where says what the runs were made on, by the name of the line.
	where map[string]string
}

// whereKeys are the lines that tell where a file was measured, in the order in which a
// difference is told.
func whereKeys() []string { return []string{"cpu", "threads", "goos", "goarch", "go", "kernel"} }

// readSet reads a file of benchmark format. With errNoBenchmark the set is empty.
func readSet(name string) (*set, error) {
	f, err := os.Open(filepath.Clean(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseSet(f, name)
}

func parseSet(from io.Reader, name string) (*set, error) {
	s := &set{allocs: map[string]float64{}, where: map[string]string{}}
	r := benchfmt.NewReader(from, name)
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.SyntaxError:
			return nil, rec
		case *benchfmt.Result:
			key, threads := splitThreads(rec.Name.String())
			if pkg := rec.GetConfig("pkg"); pkg != "" {
				key = pkg + " " + key
			}
			for _, k := range whereKeys() {
				if v := rec.GetConfig(k); v != "" {
					s.where[k] = v
				}
			}
			s.where["threads"] = threads
			n, ok := rec.Value("allocs/op")
			if !ok {
				return nil, fmt.Errorf("%s: %s has no allocs/op", name, key)
			}
			if least, seen := s.allocs[key]; !seen || n < least {
				s.allocs[key] = n
			}
		}
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	if len(s.allocs) == 0 {
		return s, fmt.Errorf("%s: %w", name, errNoBenchmark)
	}
	return s, nil
}

// errNoBenchmark is a file without a result.
var errNoBenchmark = errors.New("no benchmark in it")

// splitThreads cuts GOMAXPROCS off a benchmark's name, where package testing appends it
// when it is not 1.
func splitThreads(name string) (base, threads string) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 || strings.Trim(name[i+1:], "0123456789") != "" || i+1 == len(name) {
		return name, "1"
	}
	return name[:i], name[i+1:]
}

// change is a benchmark that allocates more or less than it did.
type change struct {
	name     string
	from, to float64
}

// verdict is what a comparison came to.
type verdict struct {
	more, less     []change
	missing, added []string
	// elsewhere are the differences between the two machines, a line each.
	elsewhere []string
	otherCPU  bool
	compared  int
}

// slack is the share of an operation's allocations that is no difference: below a thousand
// the comparison is exact, above it the growth of maps falls now on this operation and now
// on the next one.
const slack = 1e-3

// judge compares two sets.
func judge(from, to *set) *verdict {
	v := &verdict{}
	for _, name := range slices.Sorted(maps.Keys(to.allocs)) {
		was, ok := from.allocs[name]
		now := to.allocs[name]
		switch {
		case !ok:
			v.added = append(v.added, name)
			continue
		case now-was > slack*was:
			v.more = append(v.more, change{name, was, now})
		case was-now > slack*was:
			v.less = append(v.less, change{name, was, now})
		}
		v.compared++
	}
	for _, name := range slices.Sorted(maps.Keys(from.allocs)) {
		if _, ok := to.allocs[name]; !ok {
			v.missing = append(v.missing, name)
		}
	}
	for _, k := range whereKeys() {
		if a, b := from.where[k], to.where[k]; a != b {
			v.elsewhere = append(v.elsewhere, fmt.Sprintf("%s: %q, here %q", k, a, b))
			v.otherCPU = v.otherCPU || k == "cpu" || k == "threads" || k == "goarch"
		}
	}
	return v
}

// failed tells whether the comparison is a regression. Time never is.
func (v *verdict) failed() bool { return len(v.more) > 0 || len(v.missing) > 0 }

// String is the verdict in lines.
func (v *verdict) String() string {
	var b strings.Builder
	if v.otherCPU {
		b.WriteString("ANOTHER MACHINE: the times above compare two machines and say nothing of the code; allocations are judged all the same.\n" +
			"  For times, compare two revisions on this one: make bench BASE_REF=REVISION\n")
	}
	for _, line := range v.elsewhere {
		fmt.Fprintf(&b, "  the base was measured with %s\n", line)
	}
	for _, c := range v.more {
		fmt.Fprintf(&b, "REGRESSED: %s: %v allocations an operation, were %v\n", c.name, c.to, c.from)
	}
	for _, name := range v.missing {
		fmt.Fprintf(&b, "MISSING: %s is in the baseline and did not run; if it is meant to be gone: make bench-baseline\n", name)
	}
	for _, c := range v.less {
		fmt.Fprintf(&b, "fewer allocations: %s: %v, were %v; make bench-baseline holds it\n", c.name, c.to, c.from)
	}
	for _, name := range v.added {
		fmt.Fprintf(&b, "not in the base: %s\n", name)
	}
	if !v.failed() {
		fmt.Fprintf(&b, "no allocation more in %d benchmarks\n", v.compared)
	}
	return b.String()
}
