package main

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// Each service sets the collector as its keys say, and leaves to Go's own variables what
// they set.
func TestRuntimeKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		command string
		env     []string
		set     []string
		want    collectorSettings // zero is left alone
	}{
		{"defaults", "manager", nil, nil, collectorSettings{100, math.MaxInt64}},
		{"both", "manager", nil, []string{"runtime.gcPercent=200", "runtime.memoryLimit=1GiB"}, collectorSettings{200, 1 << 30}},
		{"off", "serve", nil, []string{"runtime.gcPercent=0", "runtime.memoryLimit=64MiB"}, collectorSettings{-1, 64 << 20}},
		{"by our variables", "serve", []string{"FIRETOWER_RUNTIME_GC_PERCENT=50"}, nil, collectorSettings{50, math.MaxInt64}},
		{"GOGC wins", "manager", []string{"GOGC=400"}, []string{"runtime.gcPercent=200"}, collectorSettings{0, math.MaxInt64}},
		{"an empty GOGC is none", "manager", []string{"GOGC="}, []string{"runtime.gcPercent=200"}, collectorSettings{200, math.MaxInt64}},
		{"GOMEMLIMIT wins", "serve", []string{"GOMEMLIMIT=1GiB"}, []string{"runtime.memoryLimit=2GiB"}, collectorSettings{100, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{tt.command}, anyPorts(tt.command)...)
			for _, pair := range tt.set {
				args = append(args, "--set", pair)
			}
			p := newProcess(args...).withEnv(tt.env...)
			startService(t, p)
			if got := p.collector.Load(); got == nil || *got != tt.want {
				t.Errorf("collector %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestRuntimeKeysThatCannotWork(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ set, want string }{
		{"runtime.memoryLimit=1MiB", "runtime.memoryLimit: must be at least 16MiB, or 0B for none; got 1MiB"},
		{"runtime.gcPercent=0", "runtime.memoryLimit: must be at least 16MiB when runtime.gcPercent is 0, or garbage is never collected; got 0B"},
		{"runtime.gcPercent=-1", "runtime.gcPercent: "},
	} {
		for _, command := range []string{"manager", "gateway", "serve"} {
			if code, _, stderr := cli(t, command, "--set", tt.set); code != exitUsage || !strings.Contains(stderr, tt.want) {
				t.Errorf("%s --set %s: exit code %d: %s", command, tt.set, code, stderr)
			}
		}
	}
}

// In a process of its own the runtime tells what is in force.
func TestProcessRuntimeKeys(t *testing.T) {
	t.Parallel()
	args := []string{"--announce", "--set", "runtime.gcPercent=250", "--set", "runtime.memoryLimit=512MiB"}
	for _, tt := range []struct {
		env           []string
		percent, most string
	}{
		{nil, "250", fmt.Sprintf("%v", float64(512<<20))},
		{[]string{"GOGC=50", "GOMEMLIMIT=1GiB"}, "50", fmt.Sprintf("%v", float64(1<<30))},
	} {
		t.Run(fmt.Sprint(tt.env), func(t *testing.T) {
			t.Parallel()
			c := startChildWith(t, tt.env, append(append([]string{"manager"}, args...), anyPorts("manager")...)...)
			at := parseAnnouncement(t, c.line(t))
			status, metrics := get(t, "http://"+at.HTTP+"/metrics")
			for _, want := range []string{
				"go_gc_gogc_percent " + tt.percent, "go_gc_gomemlimit_bytes " + tt.most,
				"go_cpu_classes_gc_total_cpu_seconds_total ", "go_sched_latencies_seconds_count ", "go_sched_pauses_total_gc_seconds_count ",
			} {
				if status != http.StatusOK || !strings.Contains(metrics, "\n"+want) {
					t.Errorf("/metrics does not say %q", want)
				}
			}
			c.signal(t, syscall.SIGTERM)
			if code := c.wait(t); code != exitOK {
				t.Errorf("exit code %d: %s", code, c.stderr)
			}
		})
	}
}
