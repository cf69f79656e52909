package main

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"firetower/core/schedstat"
)

// callLog holds the numbers that a function was called with.
type callLog struct {
	mu  sync.Mutex // guards the following
	got []int
}

func (l *callLog) add(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, n)
}

func (l *callLog) list() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

func TestGovernor(t *testing.T) {
	t.Parallel()
	times := func(n int, share float64) []float64 { return slices.Repeat([]float64{share}, n) }
	for _, tt := range []struct {
		name   string
		shares []float64
		want   bool
	}{
		{"at rest", times(100, 0), false},
		{"busy, but not enough", times(100, busyShare-0.01), false},
		{"busy once", []float64{0, busyShare}, true},
		{"busy on many", []float64{1.9}, true},
		{"not calm for long enough", append([]float64{1}, times(calmLooks-1, 0)...), true},
		{"calm", append([]float64{1}, times(calmLooks, calmShare-0.01)...), false},
		{"calm on average", slices.Concat([]float64{1, 1, 1}, times(calmLooks-2, 0.2)), false},
		{"busy on average", slices.Concat([]float64{1}, times(calmLooks/2, 1), times(calmLooks/2, 0)), true},
		{"calm after it was busy on average", slices.Concat([]float64{1}, times(calmLooks/2, 1), times(calmLooks/2, 0), times(calmLooks, 0)), false},
		{"busy again after it", slices.Concat([]float64{1}, times(calmLooks, 0), []float64{1}), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var g governor
			got := false
			for _, share := range tt.shares {
				got = g.look(share)
			}
			if got != tt.want {
				t.Errorf("all processors: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestWanted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ran, waited float64
		busy        bool
	}{
		{0.59, 0, false},
		{0.6, 0, true},
		{0.17, 0.3, false}, // beside neighbours
		{0.5, 0.39, false},
		{0.5, 0.41, true}, // never sleeps
		{0.1, 0.9, true},
	} {
		if got := wanted(tt.ran, tt.waited); (got >= busyShare) != tt.busy {
			t.Errorf("ran %v, waited %v: wanted %v", tt.ran, tt.waited, got)
		}
	}
}

// A manager by itself has one processor at rest and all when it ends; a gateway has what it
// finds; the key and GOMAXPROCS win over both.
func TestProcessors(t *testing.T) {
	t.Parallel()
	governed := []int{1, 0}
	if _, ok := schedstat.Self(); !ok || runtime.NumCPU() == 1 {
		governed = nil
	}
	for _, tt := range []struct {
		name, command string
		env, set      []string
		want          []int
	}{
		{"manager", "manager", nil, nil, governed},
		{"gateway", "gateway", nil, nil, nil},
		{"serve", "serve", nil, nil, nil},
		{"the key", "manager", nil, []string{"runtime.maxProcs=3"}, []int{3}},
		{"the key of a gateway", "gateway", nil, []string{"runtime.maxProcs=2"}, []int{2}},
		{"by our variables", "serve", []string{"FIRETOWER_RUNTIME_MAX_PROCS=5"}, nil, []int{5}},
		{"GOMAXPROCS wins", "manager", []string{"GOMAXPROCS=2"}, []string{"runtime.maxProcs=3"}, nil},
		{"an empty GOMAXPROCS is none", "manager", []string{"GOMAXPROCS="}, []string{"runtime.maxProcs=3"}, []int{3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{tt.command}, anyPorts(tt.command)...)
			for _, pair := range tt.set {
				args = append(args, "--set", pair)
			}
			if tt.command == "gateway" {
				at := startService(t, newProcess(append([]string{"manager"}, anyPorts("manager")...)...))
				args = append(args, "--manager-link", at.Link, "--manager-grpc", at.GRPC)
			}
			p := newProcess(args...).withEnv(tt.env...)
			t.Cleanup(func() { // after the service has ended
				if got := p.processors.list(); !slices.Equal(got, tt.want) {
					t.Errorf("processors set to %v, want %v", got, tt.want)
				}
			})
			startService(t, p)
		})
	}
}

// In a process of its own the runtime tells what is in force.
func TestProcessProcessors(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]string{"runtime.maxProcs=3": "3", "runtime.maxProcs=0": "1"} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			if _, ok := schedstat.Self(); !ok && want == "1" {
				t.Skip("the system does not tell what a process uses")
			}
			c := startChildWith(t, nil, append([]string{"manager", "--announce", "--set", set}, anyPorts("manager")...)...)
			at := parseAnnouncement(t, c.line(t))
			said := fmt.Sprintf("\ngo_sched_gomaxprocs_threads %s\n", want)
			for deadline := time.Now().Add(patience); ; pause() {
				status, metrics := get(t, "http://"+at.HTTP+"/metrics")
				if status == http.StatusOK && strings.Contains(metrics, said) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("/metrics does not say %q", said)
				}
			}
			c.signal(t, syscall.SIGTERM)
			if code := c.wait(t); code != exitOK {
				t.Errorf("exit code %d: %s", code, c.stderr)
			}
		})
	}
}
