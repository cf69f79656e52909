package loadtest_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

// throttle lets a process run for a third of the time, until ctx ends.
func throttle(ctx context.Context, t *testing.T, pid int) {
	t.Helper()
	signal := func(sig syscall.Signal) {
		if err := syscall.Kill(pid, sig); err != nil {
			t.Error(err)
		}
	}
	for ctx.Err() == nil {
		signal(syscall.SIGSTOP)
		<-time.After(200 * time.Millisecond)
		signal(syscall.SIGCONT)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// A worker that is kept from running reads late what came in time: all messages are
// there, the server did nothing wrong, and the latencies are the harness's own.
func TestThrottledWorkerTurnsTheVerdict(t *testing.T) {
	t.Parallel()
	o, mark := options(t, plan(t, tiny(t), loadtest.Firetower))
	ctx, stop := context.WithCancel(t.Context())
	var throttling sync.WaitGroup
	o.Progress = hook{func(name string) {
		switch name {
		case "measure":
			pid := pidOf(t, mark, "loadtest worker")
			throttling.Go(func() { throttle(ctx, t, pid) })
		case "drain":
			stop()
			throttling.Wait()
		}
	}}
	defer throttling.Wait()
	defer stop()
	r, _ := carryOut(t.Context(), t, o, mark)
	if r.Failure != "" || r.Received != r.Expected {
		t.Fatalf("failure %q, ledger %+v", r.Failure, r.Ledger)
	}
	if r.Verdict != reports.Invalid || r.ExitCode != loadtest.ExitInvalid || !strings.Contains(strings.Join(r.Reasons, "\n"), "worker standstill: ") {
		t.Errorf("verdict %s, exit code %d, reasons %q", r.Verdict, r.ExitCode, r.Reasons)
	}
}

// A coordinator that is kept from running publishes late, and says so.
func TestThrottledPublisherTurnsTheVerdict(t *testing.T) {
	t.Parallel()
	s := beginWith(t, "measure", "--duration", "2s", "--set", "load.give_up=30s")
	ctx, stop := context.WithCancel(t.Context())
	var throttling sync.WaitGroup
	throttling.Go(func() { throttle(ctx, t, s.cmd.Process.Pid) })
	<-time.After(1500 * time.Millisecond) // of the two seconds
	stop()
	throttling.Wait()
	code := s.end(t)
	nothingLeft(t, s.mark)
	r, err := reports.Read(filepath.Join(s.root, reports.LatestLink))
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict == reports.Valid || code == loadtest.ExitOK && r.Verdict == reports.Invalid || !strings.Contains(strings.Join(r.Reasons, "\n"), "publish lag p99: ") {
		t.Errorf("verdict %s, exit code %d, reasons %q", r.Verdict, code, r.Reasons)
	}
	if r.Received != r.Expected || r.PublishLag.Max == nil || *r.PublishLag.Max < 100 {
		t.Errorf("ledger %+v, publish lag %+v", r.Ledger, r.PublishLag)
	}
}

// One worker of several dies: the others are ended too, and the report names the one.
func TestDeathOfOneWorkerOfSeveral(t *testing.T) {
	t.Parallel()
	s := tiny(t, func(s *scenarios.Scenario) {
		s.Topology.Workers = 3
		s.Phases.Measure = scenarios.Seconds(60) // the death ends it
	})
	o, mark := options(t, plan(t, s, loadtest.Firetower))
	o.Progress = hook{func(name string) {
		if name == "measure" {
			if err := syscall.Kill(pidOf(t, mark, "loadtest worker"), syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}
	}}
	r, _ := carryOut(t.Context(), t, o, mark)
	if r.Verdict != reports.Invalid || !strings.Contains(r.Failure, "worker") || !strings.Contains(r.Failure, "signal: killed") {
		t.Errorf("verdict %s, failure %q", r.Verdict, r.Failure)
	}
}
