package loadtest_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

func checkNamed(t *testing.T, r *reports.Result, name string) reports.Check {
	t.Helper()
	at := slices.IndexFunc(r.Checks, func(c reports.Check) bool { return c.Name == name })
	if at < 0 {
		t.Fatalf("no check %q among %+v", name, r.Checks)
	}
	return r.Checks[at]
}

// The generator is measured by itself before the servers start, and its processes are
// gone by then.
func TestCalibrationComesFirst(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*scenarios.Scenario)
		open   bool
	}{
		{"open, several topics, two workers", func(s *scenarios.Scenario) {
			s.Topics = scenarios.Topics{Count: 8, PerConnection: 3}
			s.Topology.Workers = 2
		}, true},
		{"closed", func(s *scenarios.Scenario) { s.Load.Mode, s.Load.Inflight = scenarios.ModeInflight, 8 }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := tiny(t, tt.change)
			s.Phases.Calibrate = scenarios.Seconds(0.6)
			o, mark := options(t, plan(t, s, loadtest.Firetower))
			atSpawn := map[int]string{}
			o.Progress = hook{func(name string) {
				if name == "spawn" {
					atSpawn = marked(t, mark)
				}
			}}
			r, _ := carryOut(t.Context(), t, o, mark)
			everythingArrived(t, r)
			if len(atSpawn) != 0 {
				t.Errorf("when the servers started these ran: %v", atSpawn)
			}
			own := r.Calibration
			if own == nil || own.DeliveriesPerSecond <= 0 || own.CPUMicrosPerMessage < 0 || own.Share == nil || *own.Share <= 0 || own.Seconds != 0.6 {
				t.Fatalf("%+v, %+v", own, checkNamed(t, r, "share of the generator's ceiling"))
			}
			if tt.open != (own.P50 != nil) {
				t.Errorf("its own p50 is %v", own.P50)
			}
			if c := checkNamed(t, r, "share of the generator's ceiling"); c.Status == reports.CheckSkipped {
				t.Errorf("%+v", c)
			}
			if slices.ContainsFunc(r.Processes, func(p reports.Process) bool { return p.Role == "reference" }) {
				t.Error("the server of the calibration is among those of the run")
			}
		})
	}
}

func TestHeadroom(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name             string
		busiest, sharing time.Duration
		processors       int
		want             float64
	}{
		{"the worker is at its end", 2 * time.Second, 3 * time.Second, 8, 1},
		{"the worker wanted more than there was", 3 * time.Second, 4 * time.Second, 2, 1},
		{"the server is at its end, the worker is not", 500 * time.Millisecond, 2500 * time.Millisecond, 8, 4},
		{"and the machine bounds both", 500 * time.Millisecond, 3200 * time.Millisecond, 2, 1.25},
		{"nothing was measured", 0, 0, 2, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := loadtest.Headroom(tt.busiest, tt.sharing, 2, tt.processors); math.Abs(got-tt.want) > 1e-9 {
				t.Errorf("%v of the workers' pace, want %v", got, tt.want)
			}
		})
	}
}

// What a run used says what its workers could have done: until one of them, or the machine, has no more time.
func TestHeadroomOfARun(t *testing.T) {
	t.Parallel()
	second := time.Second
	for _, tt := range []struct {
		name       string
		workers    []time.Duration
		servers    time.Duration
		isolated   bool
		processors int
		want       float64
	}{
		{"the machine bounds it", []time.Duration{second, second}, 6 * second, false, 2, 2.5},
		{"a worker does", []time.Duration{5 * second, second}, 2 * second, false, 8, 2},
		{"servers elsewhere", []time.Duration{second, second}, 15 * second, true, 1, 5},
		{"no time is left", []time.Duration{10 * second}, 10 * second, false, 2, 1},
		{"no worker used any", []time.Duration{0}, second, false, 2, 1},
		{"no worker", nil, second, false, 2, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := loadtest.HeadroomOfRun(tt.workers, tt.servers, tt.isolated, 10, tt.processors); math.Abs(got-tt.want) > 1e-9 {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestShareOfTheCeilingDecides(t *testing.T) {
	tests := []struct {
		name, loop, note string
		share            float64
		want             reports.CheckStatus
	}{
		{"half of it", "open", "", 0.5, reports.CheckOK},
		{"more than half", "open", "on 10000 connections", 0.51, reports.CheckDegraded},
		{"nearly all", "open", "", 0.91, reports.CheckInvalid},
		{"all in a closed loop", "closed", "", 1.2, reports.CheckNote},
		{"left out", "open", "phases.calibrate is 0s", 0, reports.CheckSkipped},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := loadtest.CeilingCheck(tt.loop, tt.share, tt.note)
			if c.Status != tt.want || !strings.Contains(c.Note, tt.note) {
				t.Errorf("%+v, want %s", c, tt.want)
			}
		})
	}
}

// An interruption of the calibration ends the run as one of any other phase does.
func TestInterruptedCalibration(t *testing.T) {
	t.Parallel()
	s := tiny(t)
	s.Phases.Calibrate = scenarios.Seconds(60)
	o, mark := options(t, plan(t, s, loadtest.Firetower))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Progress = hook{func(name string) {
		if name == "calibrate" {
			cancel()
		}
	}}
	r, _ := carryOut(ctx, t, o, mark)
	if !r.Interrupted || r.ExitCode != loadtest.ExitInterrupted || r.Failure != "" {
		t.Errorf("interrupted %v, exit %d, failure %q", r.Interrupted, r.ExitCode, r.Failure)
	}
}
