package loadtest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

// quick makes the tiny scenario quicker still.
func quick(s *scenarios.Scenario) {
	s.Connections = 10
	s.Phases.Settle = scenarios.Seconds(0.05)
	s.Phases.Warmup = scenarios.Seconds(0)
	s.Phases.Measure = scenarios.Seconds(0.6)
	s.Phases.Calibrate = scenarios.Seconds(0)
	s.Phases.Leave = scenarios.Seconds(0)
}

func quickSweep(t *testing.T) *loadtest.SweepPlan {
	t.Helper()
	p, err := loadtest.NewSweepPlan(tiny(t, quick), complete(loadtest.SweepSettings{Grid: "bucket.Num=1,4 bucket.ConsumerNum=1,32", Repeat: 1}), loadtest.ReadMachine())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A sweep that Ctrl-C ended goes on where it was: the run under way is made again, and
// no other.
func TestSweepIsInterruptedAndResumed(t *testing.T) {
	t.Parallel()
	mark := newMarker()
	o := loadtest.SweepOptions{
		Options: loadtest.Options{Executable: binary, Environ: append(os.Environ(), markerVariable+"="+mark), Root: t.TempDir()},
		Plan:    quickSweep(t),
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	o.Before = inThirdRun(interrupt)
	first, dir, err := loadtest.RunSweep(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, mark)
	if first.ExitCode != loadtest.ExitInterrupted || !first.Interrupted || first.Complete {
		t.Errorf("exit code %d, interrupted %v, complete %v", first.ExitCode, first.Interrupted, first.Complete)
	}
	if last := first.Runs[len(first.Runs)-1]; !last.Interrupted || last.Step != 2 || last.Counts() {
		t.Errorf("the run under way: %+v", last)
	}
	kept := slices.Clone(first.Runs)

	o.Plan, o.Before, o.Resume = quickSweep(t), nil, dir
	s, again, err := loadtest.RunSweep(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, mark)
	if again != dir || !s.Complete || s.PlanHash != first.PlanHash || s.ExitCode != loadtest.ExitOK && s.ExitCode != loadtest.ExitInvalid {
		t.Errorf("in %s: complete %v, exit code %d", again, s.Complete, s.ExitCode)
	}
	goneOn(t, kept, s, dir)
	for i, st := range o.Plan.Order(s.Rounds[0], 0) {
		if !slices.ContainsFunc(s.Runs, func(r reports.SweepRun) bool { return r.Step == i && r.Cell == st.Cell && r.Block == st.Block }) {
			t.Errorf("step %d, cell %d, has no run", i, st.Cell)
		}
	}
	for _, name := range []string{reports.SweepFile, reports.SummaryFile, reports.HTMLFile, reports.SweepCSVFile, reports.SweepBenchFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused(t, o, dir)
}

// inThirdRun calls do within the measured phase of the third run.
func inThirdRun(do func()) func(loadtest.SweepState) loadtest.Progress {
	return func(st loadtest.SweepState) loadtest.Progress {
		return hook{func(phase string) {
			if st.Run == 3 && !st.Again && phase == "measure" {
				do()
			}
		}}
	}
}

// goneOn sees that a resumed sweep in dir kept the runs that it had, and made none twice.
func goneOn(t *testing.T, kept []reports.SweepRun, s *reports.Sweep, dir string) {
	t.Helper()
	for i, r := range kept {
		if s.Runs[i].Folder != r.Folder {
			t.Errorf("run %d was %s and is %s", i, r.Folder, s.Runs[i].Folder)
		}
	}
	counted := map[[2]int]int{}
	for _, r := range s.Runs {
		if r.Counts() {
			counted[[2]int{r.Round, r.Step}]++
		}
		if _, err := reports.Read(filepath.Join(dir, r.Folder)); err != nil {
			t.Errorf("run %s: %v", r.Folder, err)
		}
	}
	for step, n := range counted {
		if n != 1 {
			t.Errorf("round and step %v have %d runs that count", step, n)
		}
	}
}

// refused sees that a sweep does not go on under another plan, unless it is told to.
func refused(t *testing.T, o loadtest.SweepOptions, dir string) {
	t.Helper()
	before, err := os.ReadFile(filepath.Join(dir, reports.SweepFile))
	if err != nil {
		t.Fatal(err)
	}
	if o.Plan, err = loadtest.NewSweepPlan(tiny(t, quick), complete(loadtest.SweepSettings{Grid: "bucket.Num=1,2"}), loadtest.ReadMachine()); err != nil {
		t.Fatal(err)
	}
	for _, o.Force = range []bool{true, false} {
		if _, _, err := loadtest.RunSweep(t.Context(), o); !errors.Is(err, loadtest.ErrOtherPlan) {
			t.Errorf("another plan, force %v: %v", o.Force, err)
		}
	}
	o.Plan = quickSweep(t)
	o.Options.Executable = os.Args[0]
	if _, _, err := loadtest.RunSweep(t.Context(), o); !errors.Is(err, loadtest.ErrChanged) {
		t.Errorf("another binary: %v", err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, reports.SweepFile)); err != nil || !slices.Equal(before, after) {
		t.Errorf("a refused sweep was written to: %v", err)
	}
}

// A sweep answers when its default has runs that count, and one of the other settings, if it has any.
func TestSweepExitCode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		runs    []int // that count, of each cell; the first is the default
		invalid bool
	}{
		{"all", []int{3, 3}, false},
		{"one setting of two", []int{3, 0, 1}, false},
		{"no setting", []int{3, 0, 0}, true},
		{"no default", []int{0, 3}, true},
		{"the default is all there is", []int{3}, false},
		{"nothing", []int{0}, true},
	} {
		s := &reports.Sweep{Complete: true, Questions: []reports.SweepQuestion{{Baseline: 0}}, Objectives: []reports.SweepObjective{reports.Objective("delivery.p99")}}
		for cell, n := range tt.runs {
			s.Cells = append(s.Cells, reports.SweepCell{Default: cell == 0})
			for range n {
				s.Runs = append(s.Runs, reports.SweepRun{Step: len(s.Runs), Cell: cell, Verdict: reports.Valid, Metrics: map[string]float64{"delivery.p99": 1}})
			}
		}
		loadtest.FinishSweep(t.Context(), s)
		if got := s.ExitCode == loadtest.ExitInvalid; got != tt.invalid || !got && s.ExitCode != loadtest.ExitOK {
			t.Errorf("%s: exit code %d", tt.name, s.ExitCode)
		}
	}
}
