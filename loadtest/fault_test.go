package loadtest_test

import (
	"context"
	"strings"
	"testing"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

// faulty is a scenario of some seconds with two gateways and clients that come back.
func faulty(f scenarios.Fault, changes ...func(*scenarios.Scenario)) func(*scenarios.Scenario) {
	return func(s *scenarios.Scenario) {
		s.Phases.Measure, s.Phases.Drain = scenarios.Seconds(5), scenarios.Seconds(2)
		s.Topology.Gateways = 2
		s.Reconnect = scenarios.Reconnect{Mode: scenarios.ReconnectAlways, After: scenarios.Seconds(0.05), Most: scenarios.Seconds(0.5), Jitter: 0.5}
		s.Thresholds = nil
		f.At = scenarios.Seconds(1.5)
		f.Recover = scenarios.Seconds(30)
		s.Faults = []scenarios.Fault{f}
		for _, change := range changes {
			change(s)
		}
	}
}

// The window of a fault may last longer than the messages do: the rates are of the
// time in which there were some.
func TestWindowBeyondTheMessages(t *testing.T) {
	t.Parallel()
	s := tiny(t, faulty(scenarios.Fault{Kind: scenarios.FaultDisconnect, Share: 0.5}, func(s *scenarios.Scenario) {
		s.Phases.Measure = scenarios.Seconds(1)
		s.Faults[0].At, s.Faults[0].Recover = scenarios.Seconds(0.2), scenarios.Seconds(3)
	}))
	o, mark := options(t, plan(t, s, loadtest.Firetower))
	r, _ := carryOut(t.Context(), t, o, mark)
	if r.MeasuredSeconds > 2 || r.MessagesPerSecond < s.Load.Rate.PerSecond*0.7 {
		t.Errorf("%v messages/s of %v in %v s", r.MessagesPerSecond, s.Load.Rate, r.MeasuredSeconds)
	}
}

// Every kind of fault is carried out and undone, shows in the phases and in the
// account, and every loss is explained by it.
func TestFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*scenarios.Scenario)
		check  func(*testing.T, *reports.Result, reports.Fault)
	}{
		{
			"gateway-kill", faulty(scenarios.Fault{Kind: scenarios.FaultGatewayKill, Victim: 1, Hold: scenarios.Seconds(0.5)}),
			func(t *testing.T, r *reports.Result, f reports.Fault) {
				if f.Victim != "gateway-1" || f.Down == nil || *f.Down < 500 || f.Reconnected == nil || f.Recovered == nil || f.Detected == nil {
					t.Errorf("%+v", f)
				}
				if f.Innocent == nil || f.LostInnocent != 0 || f.Lost == 0 || r.Reconnects != 20 || r.Reconnect.Count != 20 || r.Disconnected != 0 {
					t.Errorf("innocent %+v, %d lost, %d came back, %d are away", f.Innocent, f.LostInnocent, r.Reconnects, r.Disconnected)
				}
				stagesOfTheKilled(t, r)
				names := map[string]int{}
				for _, p := range r.Processes {
					names[p.Name]++
					if strings.HasPrefix(p.Name, "gateway-1") && p.CPUSeconds <= 0 {
						t.Errorf("%s used %v s of CPU", p.Name, p.CPUSeconds)
					}
				}
				if names["gateway-1"] != 1 || names["gateway-1.2"] != 1 {
					t.Errorf("processes: %v", names)
				}
			},
		},
		{
			"gateway-pause", faulty(scenarios.Fault{Kind: scenarios.FaultGatewayPause, Hold: scenarios.Seconds(1)}),
			func(t *testing.T, r *reports.Result, f reports.Fault) {
				if f.Victim != "gateway-0" || f.Down == nil || *f.Down < 1000 || f.Recovered == nil || f.During == nil || f.Before == nil {
					t.Fatalf("%+v", f)
				}
				// What was sent right at the beginning waited for all of the pause.
				if f.During.Max == nil || *f.During.Max < 900 {
					t.Errorf("during the pause at most %v ms", f.During.Max)
				}
				if f.Innocent == nil || f.LostInnocent != 0 || f.Innocent.Count*2 != f.During.Count+f.Lost {
					t.Errorf("innocent %+v of %+v", f.Innocent, f.During)
				}
			},
		},
		{
			"link-blackhole", faulty(scenarios.Fault{Kind: scenarios.FaultLinkBlackhole, Hold: scenarios.Seconds(1)}),
			func(t *testing.T, _ *reports.Result, f reports.Fault) {
				if f.Victim != "gateway-0" || f.Down == nil || *f.Down < 1000 || f.Recovered == nil || f.During == nil || f.Innocent == nil || f.LostInnocent != 0 {
					t.Errorf("%+v", f)
				}
				if f.Lost == 0 && *f.During.Max < 900 {
					t.Errorf("nothing was lost, and nothing was late: %+v", f)
				}
			},
		},
		{
			"disconnect", faulty(scenarios.Fault{Kind: scenarios.FaultDisconnect, Share: 0.5}),
			func(t *testing.T, r *reports.Result, f reports.Fault) {
				if f.Victim != "20 clients" || f.Down != nil || f.Reconnected == nil || f.Recovered == nil || f.Innocent != nil {
					t.Errorf("%+v", f)
				}
				if r.Reconnects != 20 || r.Disconnected != 0 {
					t.Errorf("%d came back, %d are away", r.Reconnects, r.Disconnected)
				}
			},
		},
		{
			"manager-restart of one of two", faulty(scenarios.Fault{Kind: scenarios.FaultManagerRestart, Victim: 1, Hold: scenarios.Seconds(0.5)}, func(s *scenarios.Scenario) {
				s.Topology.Managers = 2
			}),
			func(t *testing.T, r *reports.Result, f reports.Fault) {
				if f.Victim != "manager-1" || f.Detected == nil || f.Republished == nil || f.Recovered == nil || f.Innocent == nil || f.LostInnocent != 0 {
					t.Errorf("%+v", f)
				}
				// The other cell goes on, so that no message is refused, and those of this one are lost.
				if r.Publisher.Refused != 0 || r.Publisher.Missed == 0 || f.Lost == 0 || f.Lost%20 != 0 {
					t.Errorf("lost %d; %+v", f.Lost, r.Publisher)
				}
			},
		},
		{
			"two faults", faulty(scenarios.Fault{Kind: scenarios.FaultDisconnect, Share: 1}, func(s *scenarios.Scenario) {
				// All have to be seen back within the window of the first, on a machine that is busy too.
				s.Phases.Measure, s.Faults[0].Recover = scenarios.Seconds(8), scenarios.Seconds(4)
				s.Faults = append(s.Faults, scenarios.Fault{Kind: scenarios.FaultGatewayPause, At: scenarios.Seconds(6), Hold: scenarios.Seconds(0.5), Recover: scenarios.Seconds(30)})
			}),
			func(t *testing.T, r *reports.Result, f reports.Fault) {
				if f.Victim != "40 clients" || f.Recovered == nil || f.Reconnected == nil || len(r.Faults) != 2 || r.Faults[1].Victim != "gateway-0" {
					t.Errorf("%+v", r.Faults)
				}
				pausedInnocents(t, r)
			},
		},
		{
			"manager-restart, then gateway-pause", faulty(scenarios.Fault{Kind: scenarios.FaultManagerRestart, Hold: scenarios.Seconds(0.5)}, func(s *scenarios.Scenario) {
				s.Phases.Measure, s.Faults[0].Recover = scenarios.Seconds(8), scenarios.Seconds(4)
				s.Faults = append(s.Faults, scenarios.Fault{Kind: scenarios.FaultGatewayPause, At: scenarios.Seconds(6), Hold: scenarios.Seconds(0.5), Recover: scenarios.Seconds(30)})
			}),
			func(t *testing.T, r *reports.Result, f reports.Fault) {
				if len(r.Faults) != 2 || f.Victim != "manager" || f.Detected == nil || f.Republished == nil || f.Recovered == nil || f.Refused+f.Lost == 0 {
					t.Errorf("%+v", r.Faults)
				}
				// Nobody publishes anew since a gateway stood still, and a message that waits is not lost.
				if g := r.Faults[1]; g.Victim != "gateway-0" || g.Republished != nil || g.Recovered == nil || g.Refused != 0 || g.Down == nil || *g.Down < 500 || g.During.Max == nil || *g.During.Max < 400 {
					t.Errorf("%+v", g)
				}
				if r.Publisher.Refused != f.Refused {
					t.Errorf("%d were refused, by faults %d", r.Publisher.Refused, f.Refused)
				}
				pausedInnocents(t, r)
			},
		},
		{
			"faults of three gateways", faulty(scenarios.Fault{Kind: scenarios.FaultGatewayKill, Victim: 1, Hold: scenarios.Seconds(0.5)}, func(s *scenarios.Scenario) {
				s.Topology.Gateways = 3
				s.Phases.Measure, s.Faults[0].Recover = scenarios.Seconds(9), scenarios.Seconds(4)
				s.Faults = append(s.Faults,
					scenarios.Fault{Kind: scenarios.FaultGatewayPause, At: scenarios.Seconds(6.2), Hold: scenarios.Seconds(0.3), Recover: scenarios.Seconds(0.5)},
					scenarios.Fault{Kind: scenarios.FaultGatewayKill, Victim: 2, At: scenarios.Seconds(7.2), Hold: scenarios.Seconds(0.5), Recover: scenarios.Seconds(30)})
			}),
			func(t *testing.T, r *reports.Result, _ reports.Fault) { innocentsOfEach(t, r) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o, mark := options(t, plan(t, tiny(t, tt.change), loadtest.Firetower))
			r, _ := carryOut(t.Context(), t, o, mark)
			if r.Failure != "" || len(r.Faults) == 0 {
				t.Fatalf("%s, faults %+v", r.Failure, r.Faults)
			}
			lost := int64(0)
			for _, f := range r.Faults {
				lost += f.Lost
			}
			if r.LostUnexplained != 0 || lost != r.Lost || r.Corrupt != 0 || r.Foreign != 0 || r.Expected != r.Received+r.Lost {
				t.Errorf("lost %d, by faults %d, unexplained %d; %+v", r.Lost, lost, r.LostUnexplained, r.Ledger)
			}
			if p := r.Publisher; p.Planned != p.Sent+p.Refused+p.Dropped || r.Messages != p.Sent {
				t.Errorf("publisher: %+v, %d messages", p, r.Messages)
			}
			phasesAddUp(t, r)
			for _, f := range r.Faults {
				// The end of the publishers' own streams, at the end of the run, is no sign of it.
				if f.Detected != nil && f.Recovered != nil && *f.Detected > *f.Recovered && f.Lost > 0 {
					t.Errorf("%s was detected at %v and recovered at %v", f.Kind, *f.Detected, *f.Recovered)
				}
			}
			tt.check(t, r, r.Faults[0])
		})
	}
}

// stagesOfTheKilled sees that the deliveries of gateway-1 before it was killed are in the
// stages, but for those of the time that is told to be missing.
func stagesOfTheKilled(t *testing.T, r *reports.Result) {
	t.Helper()
	if len(r.BudgetGaps) != 1 || r.BudgetGaps[0].Server != "gateway-1" {
		t.Fatalf("gaps %+v", r.BudgetGaps)
	}
	gap := r.BudgetGaps[0]
	// Of 50 messages a second to 20 clients; one may be under way at either end.
	missing := int64((gap.To-gap.From)/20+2) * 20
	for _, s := range r.Budget {
		if s.Name == "fan-out" && s.Count < r.Received-missing {
			t.Errorf("%d deliveries in the stages of %d, though %v ms are missing", s.Count, r.Received, gap.To-gap.From)
		}
	}
	if n := int64(r.Server.Metrics["firetower_gateway_deliveries_total"]); n < r.Received-missing {
		t.Errorf("the servers count %d deliveries of %d", n, r.Received)
	}
}

// pausedInnocents sees that of two faults the second, of gateway-0 of two, alone has clients
// that it did not happen to, and figures of them over its own messages.
func pausedInnocents(t *testing.T, r *reports.Result) {
	t.Helper()
	first, second := r.Faults[0], r.Faults[1]
	if first.InnocentClients != 0 || first.Innocent != nil || first.InnocentNote != "" || second.InnocentClients != 20 || second.InnocentNote != "" {
		t.Errorf("%d clients innocent of the first, %d of the second: %q, %q", first.InnocentClients, second.InnocentClients, first.InnocentNote, second.InnocentNote)
	}
	if second.Innocent == nil || second.LostInnocent != 0 || second.Innocent.Count*2 != second.During.Count+second.Lost {
		t.Errorf("innocent %+v of %+v", second.Innocent, second.During)
	}
	for _, p := range r.Phases {
		if kind, _, _ := strings.Cut(p.Name, " "); (kind == "hold" || kind == "recover") && p.Ledger != nil && p.Delivery == nil {
			t.Errorf("%s has no latency", p.Name)
		}
	}
}

// innocentsOfEach sees that every one of three faults has figures of the clients of other
// gateways: gateway-1 is killed, whose clients go to gateway-2; then gateway-0 stands still,
// and gateway-2 is killed, with those that have come to it.
func innocentsOfEach(t *testing.T, r *reports.Result) {
	t.Helper()
	victims, others := []string{"gateway-1", "gateway-0", "gateway-2"}, []int{27, 26, 14} // of 40
	if len(r.Faults) != len(victims) {
		t.Fatalf("faults %+v", r.Faults)
	}
	for i, f := range r.Faults {
		if f.Victim != victims[i] || f.InnocentClients != others[i] || f.InnocentNote != "" || f.LostInnocent != 0 {
			t.Errorf("fault %d of %s: the innocent are %d, %q, and lost %d", i, f.Victim, f.InnocentClients, f.InnocentNote, f.LostInnocent)
		}
		// A fault that follows at once on a slow machine has no time before it.
		if f.Innocent == nil || f.InnocentBefore == nil && i == 0 || f.During == nil {
			t.Fatalf("fault %d: innocent %+v, before %+v, during %+v", i, f.Innocent, f.InnocentBefore, f.During)
		}
		// The clients of the killed lose messages, of which some were under way: the others have their share of what
		// arrived, or more.
		killed := f.Kind == string(scenarios.FaultGatewayKill)
		n, of := f.Innocent.Count*40, int64(others[i])
		if killed != (f.Lost > 0) || n < f.During.Count*of || n > (f.During.Count+f.Lost)*of || n%of != 0 {
			t.Errorf("fault %d: %d at %d innocent of %d, and %d lost", i, f.Innocent.Count, of, f.During.Count, f.Lost)
		}
	}
}

// phasesAddUp says that the ledgers of the measured phase and of its faults are the
// run's together.
func phasesAddUp(t *testing.T, r *reports.Result) {
	t.Helper()
	var sum reports.Ledger
	held := 0
	for _, p := range r.Phases {
		kind, _, _ := strings.Cut(p.Name, " ")
		if kind != "measure" && kind != "hold" && kind != "recover" {
			continue
		}
		if kind != "measure" {
			held++
		}
		if p.Ledger != nil {
			sum.Expected += p.Ledger.Expected
			sum.Received += p.Ledger.Received
			sum.Lost += p.Ledger.Lost
		}
	}
	if held != 2*len(r.Faults) || sum.Expected != r.Expected || sum.Received != r.Received || sum.Lost != r.Lost {
		t.Errorf("%d phases of %d faults; they have %+v, the run %+v", held, len(r.Faults), sum, r.Ledger)
	}
}

// An interruption within a hold brings the victim back, or what is on its way could
// not arrive, and no process stays behind stopped.
func TestInterruptDuringAFault(t *testing.T) {
	t.Parallel()
	for _, kind := range []scenarios.FaultKind{scenarios.FaultGatewayKill, scenarios.FaultGatewayPause, scenarios.FaultLinkBlackhole, scenarios.FaultManagerRestart} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := tiny(t, faulty(scenarios.Fault{Kind: kind, Hold: scenarios.Seconds(60)}, func(s *scenarios.Scenario) {
				s.Faults[0].At = scenarios.Seconds(0.5)
				s.Phases.Measure = scenarios.Seconds(120)
			}))
			o, mark := options(t, plan(t, s, loadtest.Firetower))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			loadtest.OnFault(&o, cancel)
			r, _ := carryOut(ctx, t, o, mark)
			if !r.Interrupted || r.ExitCode != loadtest.ExitInterrupted || r.Failure != "" || len(r.Faults) != 1 {
				t.Fatalf("interrupted %v, exit %d, failure %q, faults %+v", r.Interrupted, r.ExitCode, r.Failure, r.Faults)
			}
			if f := r.Faults[0]; f.Down == nil || *f.Down > 60_000 {
				t.Errorf("the victim was not brought back at once: %+v", f)
			}
		})
	}
}
