package loadtest_test

import (
	"testing"
	"time"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

func TestSteady(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name string
		p99s []time.Duration
		want bool
	}{
		{"too few windows", []time.Duration{5 * ms, 5 * ms}, false},
		{"three alike", []time.Duration{5 * ms, 5 * ms, 5 * ms}, true},
		{"a tenth apart", []time.Duration{10 * ms, 11 * ms, 10 * ms}, true},
		{"more than a tenth apart", []time.Duration{10 * ms, 11 * ms, 9 * ms}, false},
		{"the last three count", []time.Duration{90 * ms, 5 * ms, 5 * ms, 5 * ms}, true},
		{"falling", []time.Duration{9 * ms, 7 * ms, 5 * ms}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := loadtest.Steady(tt.p99s); got != tt.want {
				t.Errorf("%v: %v", tt.p99s, got)
			}
		})
	}
}

// A warm-up with deliveries enough to tell lasts its time at the least and three times
// as long at most, and its check says what it saw.
func TestWarmUpLooksForSteadiness(t *testing.T) {
	t.Parallel()
	s := tiny(t, func(s *scenarios.Scenario) {
		s.Load.Rate.PerSecond = 100
		s.Phases.Warmup = scenarios.Seconds(0.9)
	})
	o, mark := options(t, plan(t, s, loadtest.Firetower))
	r, _ := carryOut(t.Context(), t, o, mark)
	everythingArrived(t, r)
	for _, p := range r.Phases {
		if p.Name != "warmup" {
			continue
		}
		if p.End-p.Start < 900 || p.Ledger == nil || p.Ledger.Expected < 40*80 || p.Ledger.Expected > 40*301 {
			t.Errorf("%+v, %+v", p, p.Ledger)
		}
	}
	if c := checkNamed(t, r, "steady after the warm-up"); c.Status != reports.CheckOK && c.Status != reports.CheckNote {
		t.Errorf("%+v", c)
	}
	if c := checkNamed(t, r, "thread wake-ups"); c.Status != reports.CheckOK {
		t.Errorf("%+v", c)
	}
}
