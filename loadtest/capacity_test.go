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
	"firetower/simulator/stamp"
)

func TestBracketClosesIn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                string
		from, to, precision float64
		limit               float64 // the highest rate that is sustained
		best, failed        float64 // bounds of what is found; 0 for none
	}{
		{"in between", 10, 10_000, 0.1, 437, 437, 437},
		{"the highest is sustained", 10, 100, 0.1, 1000, 100, 0},
		{"not even the first", 10, 100, 0.1, 5, 0, 10},
		{"the first alone", 10, 100, 0.05, 10, 10, 10.5},
		{"wide", 10, 100, 1, 25, 20, 40},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tried, best, failed := loadtest.Bracket(tt.from, tt.to, tt.precision, tt.limit)
			if best > tt.limit || failed != 0 && failed <= tt.limit {
				t.Errorf("found %v, and that %v fails, by %v", best, failed, tried)
			}
			if best != 0 && failed != 0 && failed-best > tt.precision*best {
				t.Errorf("%v to %v is wider than %v", best, failed, tt.precision)
			}
			if (best == 0) != (tt.best == 0) || (failed == 0) != (tt.failed == 0) || best > tt.best {
				t.Errorf("found %v and %v, want about %v and %v", best, failed, tt.best, tt.failed)
			}
			c := scenarios.Capacity{From: scenarios.Rate{PerSecond: tt.from}, To: scenarios.Rate{PerSecond: tt.to}, Precision: scenarios.Ratio(tt.precision)}
			if most := loadtest.MostTrials(c); len(tried) > most {
				t.Errorf("%d trials, at most %d were planned: %v", len(tried), most, tried)
			}
			sorted := slices.Clone(tried)
			slices.Sort(sorted)
			if len(slices.Compact(sorted)) != len(tried) {
				t.Errorf("a rate was tried twice: %v", tried)
			}
		})
	}
}

func TestTrialIsJudged(t *testing.T) {
	t.Parallel()
	good := loadtest.TrialEvidence{Rate: 100, Achieved: 100, P99: 50 * time.Millisecond, Limit: 100 * time.Millisecond, Lag: time.Millisecond}
	tests := []struct {
		name      string
		change    func(*loadtest.TrialEvidence)
		want      string // of the reason; empty is sustained
		generator bool
	}{
		{"sustained", func(*loadtest.TrialEvidence) {}, "", false},
		{"slow", func(e *loadtest.TrialEvidence) { e.P99 = 143 * time.Millisecond }, "p99 143.00 ms, limit 100.00 ms", false},
		{"lossy", func(e *loadtest.TrialEvidence) { e.Lost = 3 }, "3 lost deliveries", false},
		{"not taken", func(e *loadtest.TrialEvidence) { e.Achieved = 80 }, "80 of 100 messages/s were taken", false},
		{"held up by the server", func(e *loadtest.TrialEvidence) { e.Lag, e.Waited = 80*time.Millisecond, time.Second }, "the server held messages up", false},
		{"our own lateness", func(e *loadtest.TrialEvidence) { e.Lag = 80 * time.Millisecond }, "the load generator: messages left 80.00 ms late", true},
		{"our own workers", func(e *loadtest.TrialEvidence) { e.P99, e.Sched = time.Second, 40*time.Millisecond }, "waited 40.00 ms for a CPU", true},
		{"busy workers that kept up", func(e *loadtest.TrialEvidence) { e.Sched = 40 * time.Millisecond }, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := good
			tt.change(&e)
			got, generator := loadtest.Judge(e)
			if got.Sustained != (tt.want == "") || !strings.Contains(got.Reason, tt.want) || generator != tt.generator {
				t.Errorf("%+v, the generator's fault %v", got, generator)
			}
		})
	}
}

func TestTrialsRateIsOverItsOwnTime(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	tests := []struct {
		name                    string
		last, end, length, want time.Duration
	}{
		{"to its end", 4990 * ms, 5000 * ms, 5000 * ms, 5000 * ms},
		{"the last message late by little", 5001 * ms, 5001 * ms, 5000 * ms, 5000 * ms},
		{"in arrears", 5800 * ms, 5800 * ms, 5000 * ms, 5800 * ms},
		{"given up", 2000 * ms, 2010 * ms, 5000 * ms, 2010 * ms},
		{"given up with nothing sent", 0, 1000 * ms, 5000 * ms, 1000 * ms},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := loadtest.Took(tt.last, tt.end, tt.length, 5*ms); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// A search tries rates on servers that are started once, and measures what it found.
func TestCapacitySearch(t *testing.T) {
	t.Parallel()
	search := func(p99 float64) func(*scenarios.Scenario) {
		return func(s *scenarios.Scenario) {
			s.Load.Mode = scenarios.ModeCapacity
			s.Load.Rate = scenarios.Default().Load.Rate
			s.Capacity = scenarios.Capacity{
				From: scenarios.Rate{PerSecond: 40}, To: scenarios.Rate{PerSecond: 100}, Trial: scenarios.Seconds(0.5),
				P99: scenarios.Seconds(p99), Precision: 0.1,
			}
			s.Phases.Measure = scenarios.Seconds(1)
		}
	}
	t.Run("all that were tried", func(t *testing.T) {
		t.Parallel()
		o, mark := options(t, plan(t, tiny(t, search(30)), loadtest.Firetower))
		r, _ := carryOut(t.Context(), t, o, mark)
		everythingArrived(t, r)
		c := r.Capacity
		if c == nil || len(c.Trials) != 3 || c.MessagesPerSecond != 100 || c.DeliveriesPerSecond != 4000 || c.Failed != nil || r.Messages != 100 {
			t.Fatalf("%+v, %d messages", c, r.Messages)
		}
		for i, rate := range []float64{40, 80, 100} {
			if got := c.Trials[i]; got.Rate != rate || !got.Sustained || got.Reason != "" || got.P99 == nil || got.LagP99 == nil {
				t.Errorf("trial %d: %+v", i, got)
			}
		}
		for _, p := range r.Phases {
			if p.Name == "trials" && (p.Ledger == nil || p.Ledger.Received != 40*(20+40+50)) {
				t.Errorf("the trials' ledger is %+v", p.Ledger)
			}
		}
	})
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		o, mark := options(t, plan(t, tiny(t, search(0.000001)), loadtest.Firetower))
		r, _ := carryOut(t.Context(), t, o, mark)
		everythingArrived(t, r)
		c := r.Capacity
		if c == nil || len(c.Trials) != 1 || c.MessagesPerSecond != 0 || c.Failed == nil || *c.Failed != 40 || c.Trials[0].Sustained || c.Trials[0].Reason == "" || r.Messages != 40 {
			t.Fatalf("%+v, %d messages", c, r.Messages)
		}
	})
}

func TestInterruptDuringTrials(t *testing.T) {
	t.Parallel()
	s := tiny(t, func(s *scenarios.Scenario) {
		s.Load.Mode, s.Load.Rate = scenarios.ModeCapacity, scenarios.Default().Load.Rate
		s.Capacity.Trial = scenarios.Seconds(60)
	})
	o, mark := options(t, plan(t, s, loadtest.Firetower))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Progress = hook{func(name string) {
		if name == "trials" {
			cancel()
		}
	}}
	r, _ := carryOut(ctx, t, o, mark)
	if !r.Interrupted || r.ExitCode != loadtest.ExitInterrupted || r.Failure != "" || r.Verdict != reports.Invalid {
		t.Errorf("interrupted %v, exit %d, failure %q", r.Interrupted, r.ExitCode, r.Failure)
	}
}

// An interruption while the servers are watched giving back leaves all that was
// measured as it is.
func TestInterruptWhileClientsLeave(t *testing.T) {
	t.Parallel()
	o, mark := options(t, plan(t, tiny(t, func(s *scenarios.Scenario) { s.Phases.Leave = scenarios.Seconds(60) }), loadtest.Firetower))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Progress = hook{func(name string) {
		if name == "leave" {
			cancel()
		}
	}}
	r, _ := carryOut(ctx, t, o, mark)
	everythingArrived(t, r)
	if !r.Interrupted || r.ExitCode != loadtest.ExitInterrupted || r.Leave != nil {
		t.Errorf("interrupted %v, exit %d, %+v", r.Interrupted, r.ExitCode, r.Leave)
	}
}

// Topics that clients come to and leave have an account of their own, which balances.
func TestChurnIsAccountedFor(t *testing.T) {
	t.Parallel()
	o, mark := options(t, plan(t, tiny(t, func(s *scenarios.Scenario) {
		s.Churn = scenarios.Churn{Topics: 10, Rate: scenarios.Rate{PerSecond: 40}}
		s.Load.Rate.PerSecond = 110
		s.Phases.Measure = scenarios.Seconds(3)
		s.Topology.Workers, s.Topology.Gateways = 2, 2
	}), loadtest.Firetower))
	r, _ := carryOut(t.Context(), t, o, mark)
	everythingArrived(t, r)
	c := r.Churn
	if c == nil || c.Changes == 0 || c.Refused != 0 || c.Due == 0 || c.Due != c.Received+c.Lost || c.Lost != 0 || c.Duplicated != 0 || r.Join.Count == 0 {
		t.Errorf("%+v, %d joins", c, r.Join.Count)
	}
}

// Once all clients have gone, the servers hold what they held before.
func TestServersGiveBackWhatClientsHeld(t *testing.T) {
	t.Parallel()
	for _, target := range []loadtest.Target{loadtest.Firetower, loadtest.Classic} {
		t.Run(string(target), func(t *testing.T) {
			t.Parallel()
			o, mark := options(t, plan(t, tiny(t, func(s *scenarios.Scenario) {
				s.Connections = 100
				s.Phases.Leave = scenarios.Seconds(20)
				s.Topology.Gateways = 2
				if target.Reference() {
					s.Subprotocol = scenarios.V0
				}
			}), target))
			r, _ := carryOut(t.Context(), t, o, mark)
			everythingArrived(t, r)
			l := r.Leave
			if l == nil || l.Descriptors[1] < l.Descriptors[0]+100 || l.LeakedDescriptors != 0 || l.LeakedGoroutines != 0 {
				t.Fatalf("%+v", l)
			}
			if target == loadtest.Firetower && l.Goroutines[0] == 0 {
				t.Errorf("%+v", l)
			}
		})
	}
}

func TestLeaksAreTold(t *testing.T) {
	t.Parallel()
	l := loadtest.Left([2]int{10, 20}, [2]int{110, 220}, [2]int{17, 36}, 2, 1)
	if l.LeakedDescriptors != 7 || l.LeakedGoroutines != 0 || l.Descriptors != [3]int{10, 110, 17} || l.Goroutines != [3]int{20, 220, 36} {
		t.Errorf("%+v", l)
	}
}

// Sizes are drawn by their weights, and the same ones for the same seed.
func TestSizesAreDrawnFromTheSeed(t *testing.T) {
	t.Parallel()
	draw := func(seed uint64) (lengths []int) {
		s := tiny(t, func(s *scenarios.Scenario) {
			s.Seed = seed
			s.Load.Rate.PerSecond = 10_000
			s.Load.Mix = []scenarios.Mix{{Size: 128, Weight: 3}, {Size: 1024, Weight: 1}}
		})
		sink := &loadtest.FakeSink{Send: func(_ string, data []byte) error {
			if _, err := stamp.Parse(data); err != nil {
				t.Error(err)
			}
			lengths = append(lengths, len(data))
			return nil
		}}
		if _, _, _, _, _, err := loadtest.PublisherFates(t.Context(), s, 100*time.Millisecond, []*loadtest.FakeSink{sink}); err != nil {
			t.Fatal(err)
		}
		return lengths
	}
	first := draw(7)
	small := 0
	for _, n := range first {
		if n == 128 {
			small++
		}
	}
	if len(first) != 1000 || math.Abs(float64(small)-750) > 60 {
		t.Errorf("%d of %d are small", small, len(first))
	}
	if !slices.Equal(first, draw(7)) || slices.Equal(first, draw(8)) {
		t.Error("the seed does not decide")
	}
}
