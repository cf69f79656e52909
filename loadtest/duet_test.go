package loadtest_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

// Two runs at once have everything of their own but the time, and their messages take
// turns in it.
func TestDuet(t *testing.T) {
	t.Parallel()
	const rate = 20
	s := tiny(t, func(s *scenarios.Scenario) {
		s.Subprotocol, s.Load.Rate.PerSecond = scenarios.V0, rate
		s.Phases.Warmup, s.Phases.Measure = scenarios.Seconds(0.3), scenarios.Seconds(1)
	})
	o, mark := options(t, plan(t, s, loadtest.Firetower))
	v, dir, err := loadtest.RunVersus(t.Context(), loadtest.VersusOptions{
		Options: o, Plans: []*loadtest.Plan{plan(t, s, loadtest.Firetower), plan(t, s, loadtest.Floor)}, Repeat: 2, Duet: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, mark)
	if !v.Duet || len(v.Runs) != 4 || v.Runs[0].Target == v.Runs[1].Target || v.Runs[2].Target == v.Runs[3].Target || !strings.Contains(v.Summary(""), "firetower, floor in duets, 2 runs each") {
		t.Fatalf("%+v", v)
	}
	var runs []*reports.Result
	for _, run := range v.Runs {
		r, err := reports.Read(filepath.Join(dir, run.Folder))
		if err != nil {
			t.Fatal(err)
		}
		everythingArrived(t, r)
		runs = append(runs, r)
	}
	for i := 0; i < len(runs); i += 2 {
		a, b := runs[i], runs[i+1]
		if a.Duet != b.Target || b.Duet != a.Target || a.RunID == b.RunID || a.Seed != b.Seed {
			t.Errorf("%s has %q and %s has %q, runs %s and %s, seeds %d and %d", a.Target, a.Duet, b.Target, b.Duet, a.RunID, b.RunID, a.Seed, b.Seed)
		}
		// The first messages are due half a gap from each other, as the plan has it: what is
		// late goes to the lag and leaves the plan alone.
		gap := math.Abs(b.Started.Sub(a.Started).Seconds() + b.Sample.T[0] - a.Sample.T[0])
		if want := 0.5 / rate; math.Abs(gap-want) > want {
			t.Errorf("the first messages are %.3f s from each other, want some %.3f", gap, want)
		}
	}
	if _, err := reports.Compare(reports.Set{Runs: runs[:1]}, reports.Set{Runs: []*reports.Result{alone(t, runs[0])}}, reports.DefaultCompareOptions()); !errors.Is(err, reports.ErrUnlike) {
		t.Errorf("a run of a duet and one by itself: %v", err)
	}
}

// alone is a run as if it had had the machine for itself.
func alone(t *testing.T, r *reports.Result) *reports.Result {
	t.Helper()
	out := *r
	out.Duet, out.RunID = "", "0"
	return &out
}

// When one of a duet fails, neither goes on, and nothing is left of either.
func TestDuetEndsTogether(t *testing.T) {
	t.Parallel()
	s := tiny(t, func(s *scenarios.Scenario) { s.Subprotocol, s.Phases.Measure = scenarios.V0, scenarios.Seconds(60) })
	o, mark := options(t, plan(t, s, loadtest.Firetower))
	// A build that tells what it is, and whose servers do not start.
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\ncase $1 in version) exec "+binary+" \"$@\";; esac\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	v, _, err := loadtest.RunVersus(t.Context(), loadtest.VersusOptions{
		Options: o, Plans: []*loadtest.Plan{plan(t, s, loadtest.Firetower), plan(t, s, loadtest.Target("firetower@"+broken))}, Repeat: 1, Duet: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, mark)
	if v.ExitCode != loadtest.ExitError || v.Interrupted || len(v.Excluded) != 2 {
		t.Errorf("exit code %d, interrupted %v, left out %q", v.ExitCode, v.Interrupted, v.Excluded)
	}
}

func TestDuetRefusesWhatCannotTakeTurns(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, want string
		change     func(*scenarios.Scenario)
	}{
		{"a closed loop", "even gaps", func(s *scenarios.Scenario) { s.Load.Mode, s.Load.Inflight = scenarios.ModeInflight, 8 }},
		{"gaps that are drawn", "even gaps", func(s *scenarios.Scenario) { s.Load.Arrivals = scenarios.ArrivalsPoisson }},
		{"a fault", "would disturb the other", func(s *scenarios.Scenario) {
			s.Faults = []scenarios.Fault{{Kind: scenarios.FaultManagerRestart, At: scenarios.Seconds(0.1), Hold: scenarios.Seconds(0.1), Recover: scenarios.Seconds(1)}}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := tiny(t, tt.change)
			o, _ := options(t, plan(t, s, loadtest.Firetower))
			_, _, err := loadtest.RunVersus(t.Context(), loadtest.VersusOptions{
				Options: o, Plans: []*loadtest.Plan{plan(t, s, loadtest.Firetower), plan(t, s, loadtest.Firetower)}, Repeat: 1, Duet: true,
			})
			if !errors.Is(err, loadtest.ErrImpossible) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}
