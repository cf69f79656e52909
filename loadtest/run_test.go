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
	"firetower/scenarios"
)

// TLS is for Firetower and for an engine that has it: nothing else is started.
func TestTLSIsRefusedBeforeTheStart(t *testing.T) {
	t.Parallel()
	over := func(engine scenarios.Engine) func(*scenarios.Scenario) {
		return func(s *scenarios.Scenario) {
			s.Clients = scenarios.Clients{Transport: scenarios.TransportTLS, Engine: engine}
			s.Subprotocol = scenarios.V0
		}
	}
	for _, target := range []loadtest.Target{loadtest.Floor, loadtest.Classic, loadtest.NATS} {
		if _, err := loadtest.NewPlan(tiny(t, over(scenarios.EngineAuto)), target, loadtest.ReadMachine()); err == nil || !strings.Contains(err.Error(), "clients.transport: ") {
			t.Errorf("%s: %v", target, err)
		}
	}
	s := tiny(t)
	over(scenarios.EngineEpoll)(&s)
	if _, err := loadtest.NewPlan(s, loadtest.Firetower, loadtest.ReadMachine()); err == nil || !strings.Contains(err.Error(), "clients.engine") {
		t.Errorf("epoll: %v", err)
	}
	p := plan(t, tiny(t, over(scenarios.EngineAuto)), loadtest.Firetower)
	if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, "goroutine engine") {
		t.Errorf("notes: %s", notes)
	}
}

func TestRunOfEveryTarget(t *testing.T) {
	t.Parallel()
	v0 := func(s *scenarios.Scenario) { s.Subprotocol = scenarios.V0 }
	compressed := func(s *scenarios.Scenario) {
		s.Clients.Compression, s.Load.Padding, s.Load.Payload = true, scenarios.PaddingRecords, 1024
	}
	tests := []struct {
		name   string
		target loadtest.Target
		change func(*scenarios.Scenario)
	}{
		{"firetower v1", loadtest.Firetower, func(*scenarios.Scenario) {}},
		{"firetower v0, two gateways, two workers, topics shared out", loadtest.Firetower, func(s *scenarios.Scenario) {
			v0(s)
			s.Topology.Gateways, s.Topology.Workers = 2, 2
			s.Topics = scenarios.Topics{Count: 8, PerConnection: 3}
			s.Load.Publishers = 2
			s.Load.Arrivals = scenarios.ArrivalsPoisson
		}},
		{"firetower with a configuration of its own", loadtest.Firetower, func(s *scenarios.Scenario) {
			s.Gateway = map[string]any{"bucket": map[string]any{"Num": int64(2)}}
		}},
		{"firetower over TLS", loadtest.Firetower, func(s *scenarios.Scenario) {
			s.Clients.Transport = scenarios.TransportTLS
			s.Topology.Gateways = 2
		}},
		{"firetower with compression", loadtest.Firetower, func(s *scenarios.Scenario) {
			compressed(s)
			s.Gateway = map[string]any{"compression": map[string]any{"enabled": true}}
		}},
		{"firetower v0 with compression declined", loadtest.Firetower, func(s *scenarios.Scenario) { v0(s); compressed(s) }},
		{"floor with compression declined", loadtest.Floor, func(s *scenarios.Scenario) { v0(s); compressed(s) }},
		{"classic with compression declined", loadtest.Classic, func(s *scenarios.Scenario) { v0(s); compressed(s) }},
		{"floor", loadtest.Floor, v0},
		{"floor-joined", loadtest.FloorJoined, v0},
		{"classic", loadtest.Classic, v0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := plan(t, tiny(t, tt.change), tt.target)
			o, mark := options(t, p)
			r, dir := carryOut(t.Context(), t, o, mark)
			everythingArrived(t, r)
			if r.Target != string(tt.target) || r.Server.RSSBytesPerConnection == nil || r.Server.RSSEmpty == 0 {
				t.Errorf("target %s, server %+v", r.Target, r.Server)
			}
			payload := int64(p.Scenario.Load.Payload)
			if shrunk := r.ReceivedBytes < r.Received*payload/2; shrunk != strings.HasSuffix(tt.name, "with compression") || !shrunk && r.ReceivedBytes < r.Received*payload {
				t.Errorf("%d bytes for %d deliveries of %d", r.ReceivedBytes, r.Received, payload)
			}
			if noted := strings.Contains(strings.Join(p.Notes, "\n"), "compression"); noted != (tt.target == loadtest.Firetower && strings.HasSuffix(tt.name, "declined")) {
				t.Errorf("notes of the plan: %q", p.Notes)
			}
			if r.Delivery.Count != r.Received || r.Completion.Count != r.Messages || r.PublishLag.Count != r.Messages {
				t.Errorf("%d deliveries in the histogram of %d, %d completions and %d lags of %d messages", r.Delivery.Count, r.Received, r.Completion.Count, r.PublishLag.Count, r.Messages)
			}
			if tt.target == loadtest.Firetower && r.PublishAck.Count != r.Messages {
				t.Errorf("%d acknowledgements of %d messages", r.PublishAck.Count, r.Messages)
			}
			for _, name := range []string{reports.ResultFile, reports.SummaryFile, reports.HTMLFile, reports.LogFile, reports.ScenarioFile} {
				if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
					t.Error(err)
				}
			}
			if to, err := os.Readlink(filepath.Join(o.Root, reports.LatestLink)); err != nil || to != filepath.Base(dir) {
				t.Errorf("latest points to %q (%v)", to, err)
			}
			if strings.Contains(tt.name, "configuration") && !strings.Contains(r.Configuration.Gateway, "Num = 2") && !strings.Contains(r.Configuration.Gateway, "num = 2") {
				t.Errorf("the resolved configuration is\n%s", r.Configuration.Gateway)
			}
			if over := strings.Contains(tt.name, "TLS"); over != (r.Generator.Engine == "goroutine") {
				t.Errorf("engine %s", r.Generator.Engine)
			}
			roles := map[string]int{}
			for _, proc := range r.Processes {
				roles[proc.Role]++
				if len(proc.T) == 0 {
					t.Errorf("%s was never sampled", proc.Name)
				}
			}
			if roles["worker"] == 0 || roles["coordinator"] != 1 || (tt.target == loadtest.Firetower) != (roles["manager"] == 1) {
				t.Errorf("processes: %v", roles)
			}
		})
	}
}

func TestRunOfEveryMode(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*scenarios.Scenario)
		check  func(*testing.T, *reports.Result)
	}{
		{"burst", func(s *scenarios.Scenario) {
			s.Load.Mode, s.Load.Burst, s.Load.Every = scenarios.ModeBurst, 50, scenarios.Seconds(0.5)
		}, func(t *testing.T, r *reports.Result) {
			everythingArrived(t, r)
			if r.Messages != 150 || r.Loop != "open" {
				t.Errorf("%d messages in a %s loop, want 3 bursts of 50", r.Messages, r.Loop)
			}
		}},
		{"inflight", func(s *scenarios.Scenario) {
			s.Load.Mode, s.Load.Inflight = scenarios.ModeInflight, 8
		}, func(t *testing.T, r *reports.Result) {
			everythingArrived(t, r)
			if r.Loop != "closed" || r.Messages < 16 || r.PublishLag.Count != 0 {
				t.Errorf("%d messages in a %s loop, %d lags", r.Messages, r.Loop, r.PublishLag.Count)
			}
		}},
		{"idle", func(s *scenarios.Scenario) {
			s.Load.Mode = scenarios.ModeIdle
		}, func(t *testing.T, r *reports.Result) {
			if r.Failure != "" || r.Messages != 0 || r.Connections != 40 || r.Reach != nil || r.Server.RSSBytesPerConnection == nil {
				t.Errorf("%+v", r)
			}
		}},
		{"never reads", func(s *scenarios.Scenario) {
			// A client that reads must never be the slow one, however busy the machine: there are
			// few of them, and the bound is more than half a second of messages. Yet what one client
			// is sent is more than the bound and all that the kernel takes for a socket (4 MiB).
			s.Connections = 10
			s.Load.Payload = 64 << 10
			s.Load.Rate.PerSecond = 25
			s.Phases.Measure = scenarios.Seconds(6)
			s.Slow = []scenarios.Slow{{Kind: scenarios.SlowNeverReads, Count: 1, ReceiveBuffer: 4096}}
			s.Gateway = map[string]any{"slowConsumer": map[string]any{"pendingBytes": "1MiB"}}
		}, func(t *testing.T, r *reports.Result) {
			everythingArrived(t, r)
			if r.Slow == nil || r.Slow.Disconnected != 1 {
				t.Errorf("the slow client: %+v", r.Slow)
			}
			if r.Expected != r.Messages*9 {
				t.Errorf("%d deliveries expected of %d messages to 9 clients", r.Expected, r.Messages)
			}
			if r.Server.Disconnects["slow_consumer"] != 1 {
				t.Errorf("the gateway counted %v", r.Server.Disconnects)
			}
		}},
		{"manager restart", func(s *scenarios.Scenario) {
			s.Phases.Measure = scenarios.Seconds(5)
			s.Faults = []scenarios.Fault{{Kind: scenarios.FaultManagerRestart, At: scenarios.Seconds(1), Hold: scenarios.Seconds(0.3), Recover: scenarios.Seconds(30)}}
			s.Thresholds = nil
		}, func(t *testing.T, r *reports.Result) {
			if r.Failure != "" || len(r.Faults) != 1 {
				t.Fatalf("%s, faults %+v", r.Failure, r.Faults)
			}
			f := r.Faults[0]
			if f.Down == nil || *f.Down < 300 || f.Detected == nil || f.Republished == nil || f.FirstDelivery == nil || f.Recovered == nil {
				t.Errorf("%+v", f)
			}
			if r.LostUnexplained != 0 || f.Lost != r.Lost || r.Duplicated != 0 || r.Reordered != 0 || r.Disconnected != 0 {
				t.Errorf("lost %d, by the fault %d, unexplained %d; %+v, disconnected %d", r.Lost, f.Lost, r.LostUnexplained, r.Ledger, r.Disconnected)
			}
			if p := r.Publisher; p.Refused == 0 || p.Planned != p.Sent+p.Refused+p.Dropped {
				t.Errorf("publisher: %+v", p)
			}
			if n := strings.Count(r.Summary(""), "fault      manager-restart of manager at"); n != 1 {
				t.Errorf("the summary tells of the fault %d times", n)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o, mark := options(t, plan(t, tiny(t, tt.change), loadtest.Firetower))
			r, _ := carryOut(t.Context(), t, o, mark)
			tt.check(t, r)
		})
	}
}

// An interruption in any phase leaves no process and a readable report.
func TestInterruptInEveryPhase(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"spawn", "settle", "connect", "idle", "probe", "warmup", "measure", "drain", "verify", "teardown"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			o, mark := options(t, plan(t, tiny(t), loadtest.Firetower))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o.Progress = hook{func(name string) {
				if name == phase {
					cancel()
				}
			}}
			r, _ := carryOut(ctx, t, o, mark)
			if !r.Interrupted || r.ExitCode != loadtest.ExitInterrupted || r.Failure != "" {
				t.Errorf("interrupted %v, exit %d, failure %q", r.Interrupted, r.ExitCode, r.Failure)
			}
			early := slices.Contains([]string{"spawn", "settle", "connect", "idle", "probe", "warmup"}, phase)
			if early && r.Verdict != reports.Invalid {
				t.Errorf("a run without a measured phase is %s", r.Verdict)
			}
			if !early && r.Expected != r.Received {
				t.Errorf("what was sent was not drained: %+v", r.Ledger)
			}
		})
	}
}

// A process that dies ends the run, which says which one and why.
func TestDeathOfAProcessEndsTheRun(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, phase, victim string }{
		{"gateway while measuring", "measure", " gateway "},
		{"manager while measuring", "measure", " manager "},
		{"worker while measuring", "measure", "loadtest worker"},
		{"worker while connecting", "connect", "loadtest worker"},
		{"gateway while draining", "drain", " gateway "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := tiny(t)
			s.Phases.Measure = scenarios.Seconds(30) // the death ends it
			if tt.phase == "drain" {
				s.Phases.Measure = scenarios.Seconds(0.5)
			}
			o, mark := options(t, plan(t, s, loadtest.Firetower))
			o.Progress = hook{func(name string) {
				if name == tt.phase {
					if err := syscall.Kill(pidOf(t, mark, tt.victim), syscall.SIGKILL); err != nil {
						t.Error(err)
					}
				}
			}}
			r, _ := carryOut(t.Context(), t, o, mark)
			if r.Verdict != reports.Invalid || r.ExitCode != loadtest.ExitError || !strings.Contains(r.Failure, "ended by itself: signal: killed") {
				t.Errorf("verdict %s, exit %d, failure %q", r.Verdict, r.ExitCode, r.Failure)
			}
		})
	}
}

// A folder that vanishes under the run is an error, and leaves nothing running.
func TestReportThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	s := tiny(t)
	s.Phases.Measure = scenarios.Seconds(0.3)
	o, mark := options(t, plan(t, s, loadtest.Firetower))
	o.Progress = hook{func(name string) {
		if name == "verify" {
			if err := os.RemoveAll(o.Root); err != nil {
				t.Error(err)
			}
		}
	}}
	r, _, err := loadtest.Run(t.Context(), o)
	if err == nil || r == nil || r.Expected == 0 {
		t.Errorf("error %v, result %v", err, r)
	}
	nothingLeft(t, mark)
}

func TestRootThatIsAFile(t *testing.T) {
	t.Parallel()
	o, mark := options(t, plan(t, tiny(t), loadtest.Firetower))
	o.Root = filepath.Join(o.Root, "file")
	if err := os.WriteFile(o.Root, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := loadtest.Run(t.Context(), o); err == nil {
		t.Error("a root that is a file was taken")
	}
	nothingLeft(t, mark)
}

func TestBinaryThatDoesNotStart(t *testing.T) {
	t.Parallel()
	o, mark := options(t, plan(t, tiny(t), loadtest.Firetower))
	o.Executable = "/bin/false"
	r, _ := carryOut(t.Context(), t, o, mark)
	if !strings.Contains(r.Failure, "manager") || !strings.Contains(r.Failure, "exit status 1") {
		t.Errorf("failure %q", r.Failure)
	}
}

func TestVersusRunsInTurn(t *testing.T) {
	t.Parallel()
	s := tiny(t, func(s *scenarios.Scenario) { s.Subprotocol, s.Phases.Measure = scenarios.V0, scenarios.Seconds(1) })
	o, mark := options(t, plan(t, s, loadtest.Firetower))
	var seen []string
	v, dir, err := loadtest.RunVersus(t.Context(), loadtest.VersusOptions{
		Options: o, Plans: []*loadtest.Plan{plan(t, s, loadtest.Firetower), plan(t, s, loadtest.Floor)}, Repeat: 2,
		After: func(r *reports.Result, _ string) { seen = append(seen, r.Target) },
	})
	if err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, mark)
	if len(seen) != 4 || seen[0] == seen[1] || seen[0] != seen[3] || seen[1] != seen[2] {
		t.Errorf("ran %v, want a block and the same backwards", seen)
	}
	again, err := reports.ReadVersus(dir)
	if err != nil || len(again.Runs) != 4 || len(again.Targets) != 2 {
		t.Fatalf("%+v (%v)", again, err)
	}
	for _, run := range again.Runs {
		r, err := reports.Read(filepath.Join(dir, run.Folder))
		if err != nil {
			t.Fatal(err)
		}
		everythingArrived(t, r)
	}
	if v.Table[0].Metric != "server.cpu_us_per_delivery" {
		t.Errorf("%+v", v.Table[0])
	}
	if to, err := os.Readlink(filepath.Join(o.Root, reports.LatestLink)); err != nil || to != filepath.Base(dir) {
		t.Errorf("latest points to %q (%v)", to, err)
	}
}
