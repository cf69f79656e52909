package loadtest_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

// binary is the firetower binary, built once: servers and workers are processes of it.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "firetower-loadtest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "firetower")
	build := exec.Command("go", "build", "-o", binary, "firetower/cmd/firetower")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}))
}

// marker names a test's processes: they carry it in their environment.
var markers atomic.Int64

const markerVariable = "LOADTEST_TEST_MARK"

func newMarker() string {
	return fmt.Sprintf("%d-%d", os.Getpid(), markers.Add(1))
}

// marked lists the live processes that carry a mark: pid by command line.
func marked(t *testing.T, mark string) map[int]string {
	t.Helper()
	envs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]string{}
	for _, path := range envs {
		env, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(env), markerVariable+"="+mark+"\x00") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if err == nil && len(cmdline) > 0 {
			found[pid] = strings.ReplaceAll(string(cmdline), "\x00", " ")
		}
	}
	return found
}

// pidOf is the pid of the one marked process whose command line has text in it.
func pidOf(t *testing.T, mark, text string) int {
	t.Helper()
	for pid, cmd := range marked(t, mark) {
		if strings.Contains(cmd, text) {
			return pid
		}
	}
	t.Fatalf("no process %q among %v", text, marked(t, mark))
	return 0
}

// tiny is a scenario of some seconds.
func tiny(t *testing.T, changes ...func(*scenarios.Scenario)) scenarios.Scenario {
	t.Helper()
	s := scenarios.Default()
	s.Name, s.Purpose = "tiny", "a test"
	s.Connections = 40
	// What the gateway would have on any machine, so that a sweep has the same cells everywhere.
	s.Gateway = map[string]any{"bucket": map[string]any{"Num": int64(4), "ConsumerNum": int64(32)}}
	s.Load.Rate = scenarios.Rate{PerSecond: 50}
	s.Phases.Calibrate = scenarios.Duration{}
	s.Phases.Settle = scenarios.Seconds(0.1)
	s.Phases.Warmup = scenarios.Seconds(0.3)
	s.Phases.Leave = scenarios.Duration{}
	s.Phases.Measure = scenarios.Seconds(1.5)
	for _, text := range []string{"lost==0", "duplicated==0", "reordered==0", "corrupt==0", "foreign==0", "disconnected==0"} {
		th, err := scenarios.ParseThreshold(text)
		if err != nil {
			t.Fatal(err)
		}
		s.Thresholds = append(s.Thresholds, th)
	}
	for _, change := range changes {
		change(&s)
	}
	return s
}

func plan(t *testing.T, s scenarios.Scenario, target loadtest.Target) *loadtest.Plan {
	t.Helper()
	p, err := loadtest.NewPlan(s, target, loadtest.ReadMachine())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func options(t *testing.T, p *loadtest.Plan) (loadtest.Options, string) {
	t.Helper()
	mark := newMarker()
	return loadtest.Options{
		Plan: p, Executable: binary, Environ: append(os.Environ(), markerVariable+"="+mark), Root: t.TempDir(),
	}, mark
}

// carryOut runs a plan to its end, and sees that nothing is left of it.
func carryOut(ctx context.Context, t *testing.T, o loadtest.Options, mark string) (*reports.Result, string) {
	t.Helper()
	result, dir, err := loadtest.Run(ctx, o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	nothingLeft(t, mark)
	written, err := reports.Read(dir)
	if err != nil {
		t.Fatalf("the document cannot be read: %v", err)
	}
	if written.Verdict != result.Verdict || written.ExitCode != result.ExitCode {
		t.Errorf("the document says %s, %d, the run %s, %d", written.Verdict, written.ExitCode, result.Verdict, result.ExitCode)
	}
	return result, dir
}

func nothingLeft(t *testing.T, mark string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for len(marked(t, mark)) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("processes are left: %v", marked(t, mark))
		}
		<-time.After(20 * time.Millisecond)
	}
}

// everythingArrived says that the ledger of a run without faults is perfect.
func everythingArrived(t *testing.T, r *reports.Result) {
	t.Helper()
	if r.Failure != "" {
		t.Fatalf("the run failed: %s", r.Failure)
	}
	if r.Expected == 0 || r.Received != r.Expected || r.Lost != 0 || r.Duplicated != 0 || r.Reordered != 0 || r.Corrupt != 0 || r.Foreign != 0 {
		t.Errorf("ledger: %+v", r.Ledger)
	}
	if r.Connections != r.Planned || r.Disconnected != 0 || r.Incomplete != 0 {
		t.Errorf("%d of %d clients, %d lost their connection, %d messages are incomplete", r.Connections, r.Planned, r.Disconnected, r.Incomplete)
	}
	if !r.ThresholdsOK {
		t.Errorf("thresholds: %+v", r.Thresholds)
	}
}

// hook is a Progress that calls a function when a phase begins.
type hook struct{ phase func(name string) }

func (h hook) Phase(name string, _ int64) { h.phase(name) }
func (hook) Set(int64, string)            {}
func (hook) Close()                       {}
