package loadtest_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"firetower/loadtest"
	"firetower/reports"
)

// Ctrl-C reaches a run, its servers and its workers at once, as a terminal sends it, in
// every phase that a run has: no process is left, and the report can be read.
func TestCtrlCInEveryPhase(t *testing.T) {
	t.Parallel()
	o, mark := options(t, plan(t, tiny(t), loadtest.Firetower))
	whole, _ := carryOut(t.Context(), t, o, mark)
	names := []string{"teardown"} // which is no part of what is measured
	for _, p := range whole.Phases {
		if !slices.Contains(names, p.Name) {
			names = append(names, p.Name)
		}
	}
	for _, want := range []string{"spawn", "connect", "probe", "warmup", "measure", "drain", "verify"} {
		if !slices.Contains(names, want) {
			t.Errorf("a run has the phases %v, without %s", names, want)
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := beginWith(t, name, "--duration", "1s", "--warmup", "300ms", "--set", "phases.settle=100ms")
			s.signal(t, syscall.SIGINT)
			code := s.end(t)
			nothingLeft(t, s.mark)
			r, err := reports.Read(filepath.Join(s.root, reports.LatestLink))
			if err != nil {
				t.Fatalf("exit code %d: %v", code, err)
			}
			if code != r.ExitCode {
				t.Errorf("exit code %d, the document says %d", code, r.ExitCode)
			}
			// At the very end there may be nothing left to interrupt.
			late := slices.Contains([]string{"verify", "leave", "teardown"}, name)
			if r.Failure != "" || r.Interrupted != (code == loadtest.ExitInterrupted) || !r.Interrupted && !late {
				t.Errorf("interrupted %v, exit code %d, failure %q", r.Interrupted, code, r.Failure)
			}
			if !strings.Contains(s.stdout.String(), "smoke on firetower") {
				t.Errorf("printed %q", s.stdout.String())
			}
			if r.Expected != r.Received+r.Lost {
				t.Errorf("ledger: %+v", r.Ledger)
			}
		})
	}
}

// descriptors lists what this process has open.
func descriptors(t *testing.T) map[string]string {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]string{}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && !strings.HasPrefix(to, "anon_inode:") && !strings.HasSuffix(to, "/fd") {
			open[link] = to
		}
	}
	return open
}

// A run gives all descriptors back, also one that ends early. The test runs alone, so
// that nobody else opens any meanwhile.
func TestRunLeavesNoDescriptor(t *testing.T) {
	for _, phase := range []string{"spawn", "connect", "measure", "none"} {
		t.Run(phase, func(t *testing.T) {
			before := descriptors(t)
			o, mark := options(t, plan(t, tiny(t), loadtest.Firetower))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o.Progress = hook{func(name string) {
				if name == phase {
					cancel()
				}
			}}
			carryOut(ctx, t, o, mark)
			for link, to := range descriptors(t) {
				if before[link] != to {
					t.Errorf("%s is open: %s", link, to)
				}
			}
		})
	}
}

// A disk that is full at the end: the summary is printed all the same, the error names
// the file, and no half document stands where a whole one should.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	full.Close()
	s := beginWith(t, "measure", "--duration", "1s")
	runs, err := filepath.Glob(filepath.Join(s.root, "*-smoke"))
	if err != nil || len(runs) != 1 {
		t.Fatalf("the runs are %v (%v)", runs, err)
	}
	// Every write to this device fails as on a full disk.
	for _, name := range []string{reports.ResultFile, reports.SummaryFile, reports.HTMLFile} {
		if err := os.Symlink("/dev/full", filepath.Join(runs[0], name+".part")); err != nil {
			t.Fatal(err)
		}
	}
	var stderr strings.Builder
	for s.phases.Scan() {
		stderr.WriteString(s.phases.Text() + "\n")
	}
	if code := s.end(t); code != loadtest.ExitError {
		t.Errorf("exit code %d", code)
	}
	nothingLeft(t, s.mark)
	if text := stderr.String(); !strings.Contains(text, reports.ResultFile) || !strings.Contains(text, "no space left on device") {
		t.Errorf("said %q", text)
	}
	if !strings.Contains(s.stdout.String(), "smoke on firetower") {
		t.Errorf("printed %q", s.stdout.String())
	}
	left, err := os.ReadDir(runs[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		if f.Name() == reports.ResultFile || strings.HasSuffix(f.Name(), ".part") {
			t.Errorf("%s was left", f.Name())
		}
	}
	if _, err := os.Stat(filepath.Join(runs[0], reports.ScenarioFile)); err != nil {
		t.Errorf("what could be written was not: %v", err)
	}
}
