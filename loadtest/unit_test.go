package loadtest_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
	"firetower/simulator"
	"firetower/simulator/clock"
	"firetower/simulator/stamp"
)

func TestPlanRefusesWhatTheMachineCannotCarry(t *testing.T) {
	t.Parallel()
	roomy := loadtest.Machine{CPUs: 2, OpenFiles: 20_000, Ports: 28_232, MemoryAvailable: 16 << 30, ListenBacklog: 4096}
	tests := []struct {
		name    string
		target  loadtest.Target
		machine func(*loadtest.Machine)
		change  func(*scenarios.Scenario)
		want    string // empty: is accepted
	}{
		{"10,000 fit", loadtest.Firetower, nil, func(s *scenarios.Scenario) { s.Connections = 10_000 }, ""},
		{"30,000 in one gateway", loadtest.Firetower, nil, func(s *scenarios.Scenario) { s.Connections = 30_000 }, "topology.gateways: a server process needs 30512 descriptors, the hard limit is 20000"},
		{"30,000 in two gateways", loadtest.Firetower, nil, func(s *scenarios.Scenario) { s.Connections, s.Topology.Gateways = 30_000, 2 }, ""},
		{"30,000 in two gateways and one worker", loadtest.Firetower, nil, func(s *scenarios.Scenario) {
			s.Connections, s.Topology.Gateways, s.Topology.Workers = 30_000, 2, 1
		}, "topology.workers: a worker needs 30512 descriptors"},
		{"20,000 of which a gateway's death moves half to the other", loadtest.Firetower, nil, func(s *scenarios.Scenario) {
			s.Connections, s.Topology.Gateways, s.Reconnect.Mode = 20_000, 2, scenarios.ReconnectAlways
			s.Phases.Measure = scenarios.Seconds(30)
			s.Faults = []scenarios.Fault{{Kind: scenarios.FaultGatewayKill, At: scenarios.Seconds(1), Hold: scenarios.Seconds(1), Recover: scenarios.Seconds(5)}}
		}, "topology.gateways: a server process needs 20512 descriptors"},
		{"CPUs of its own on a machine with one", loadtest.Firetower, func(m *loadtest.Machine) { m.CPUList = []int{0} }, func(s *scenarios.Scenario) { s.Topology.CPUs = scenarios.CPUsIsolated }, "topology.cpus: \"isolated\" needs two CPUs to choose from, this process has 1"},
		{"CPUs of its own", loadtest.Firetower, func(m *loadtest.Machine) { m.CPUList = []int{0, 1, 2} }, func(s *scenarios.Scenario) { s.Topology.CPUs = scenarios.CPUsIsolated }, ""},
		{"more slow clients than a worker has clients", loadtest.Firetower, nil, func(s *scenarios.Scenario) {
			s.Connections, s.Topology.Workers = 1000, 4
			s.Slow = []scenarios.Slow{{Kind: scenarios.SlowNeverReads, Count: 251, ReceiveBuffer: 4 << 10}}
		}, "slow: one worker holds all 251 of them, and has 250 connections"},
		{"few ports", loadtest.Firetower, func(m *loadtest.Machine) { m.Ports = 4000 }, func(s *scenarios.Scenario) { s.Connections = 10_000 }, "each source address needs 5000 ports to one server, there are 4000"},
		{"little memory", loadtest.Firetower, func(m *loadtest.Machine) { m.MemoryAvailable = 400 << 20 }, func(s *scenarios.Scenario) { s.Connections = 10_000 }, "of memory are needed, 400MiB are available"},
		{"a short listen queue", loadtest.Firetower, func(m *loadtest.Machine) { m.ListenBacklog = 100 }, func(*scenarios.Scenario) {}, "connect.handshakes: 128 at once, the listen backlog is 100"},
		{"a ramp longer than its bound", loadtest.Firetower, nil, func(s *scenarios.Scenario) { s.Connect.Rate.PerSecond = 0.1 }, "take 400 s, connect.timeout is 2m"},
		{"a reference server with v1", loadtest.Floor, nil, func(*scenarios.Scenario) {}, "subprotocol: floor speaks firetower.v0 alone"},
		{"a reference server with a fault", loadtest.Classic, nil, func(s *scenarios.Scenario) {
			s.Subprotocol = scenarios.V0
			s.Faults = []scenarios.Fault{{Kind: scenarios.FaultManagerRestart, Recover: scenarios.Seconds(1)}}
		}, "fault: classic has no manager"},
		{"a machine of which nothing is known", loadtest.Firetower, func(m *loadtest.Machine) { *m = loadtest.Machine{CPUs: 1} }, func(s *scenarios.Scenario) { s.Connections = 100_000 }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := roomy
			if tt.machine != nil {
				tt.machine(&m)
			}
			_, err := loadtest.NewPlan(tiny(t, tt.change), tt.target, m)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("was refused: %v", err)
			case tt.want != "" && (!errors.Is(err, loadtest.ErrImpossible) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestPlanRefusesUnknownServerKeys(t *testing.T) {
	t.Parallel()
	for _, s := range []scenarios.Scenario{
		tiny(t, func(s *scenarios.Scenario) { s.Gateway = map[string]any{"bucket": map[string]any{"Nm": int64(4)}} }),
		tiny(t, func(s *scenarios.Scenario) { s.Manager = map[string]any{"heartbeet": "5s"} }),
		tiny(t, func(s *scenarios.Scenario) { s.Gateway = map[string]any{"bucket": map[string]any{"Num": int64(-1)}} }),
	} {
		if _, err := loadtest.NewPlan(s, loadtest.Firetower, loadtest.ReadMachine()); err == nil {
			t.Errorf("%v %v was accepted", s.Gateway, s.Manager)
		} else if !strings.Contains(err.Error(), "scenario tiny") {
			t.Errorf("the error does not say where: %v", err)
		}
	}
}

func TestEveryScenarioHasAPlan(t *testing.T) {
	t.Parallel()
	m := loadtest.Machine{CPUs: 2, OpenFiles: 20_000, Ports: 28_232, MemoryAvailable: 16 << 30, ListenBacklog: 4096}
	for _, name := range scenarios.Names() {
		s, err := scenarios.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := loadtest.NewPlan(s, loadtest.Firetower, m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if name == "10k-group" && (p.Duration > 3*time.Minute || p.Messages < reports.Support(99)) {
			t.Errorf("10k-group takes %v and sends %d messages", p.Duration, p.Messages)
		}
		for _, want := range []string{name, "descriptors", "ports", "memory", "must hold"} {
			if !strings.Contains(p.String(), want) {
				t.Errorf("%s: the plan does not tell of %s", name, want)
			}
		}
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	rows := []struct {
		n, k int
		want []int
	}{
		{8000, 0, []int{8000}},
		{8001, 0, []int{4001, 4000}},
		{10, 3, []int{4, 3, 3}},
		{2, 5, []int{1, 1}},
	}
	for _, r := range rows {
		if got := loadtest.Split(r.n, r.k); !reflect.DeepEqual(got, r.want) {
			t.Errorf("%d over %d: %v, want %v", r.n, r.k, got, r.want)
		}
	}
}

func TestScheduleNeverDrifts(t *testing.T) {
	t.Parallel()
	s := tiny(t, func(s *scenarios.Scenario) { s.Load.Rate.PerSecond = 3 })
	got := loadtest.Offsets(s, 2, 3_000_001)
	if got[1] != 333_333_333 || got[3] != time.Second || got[3_000_000] != 1_000_000*time.Second {
		t.Errorf("message 1 at %v, 3 at %v, 3,000,000 at %v", got[1], got[3], got[3_000_000])
	}
	burst := tiny(t, func(s *scenarios.Scenario) {
		s.Load.Mode, s.Load.Burst, s.Load.Every = scenarios.ModeBurst, 3, scenarios.Seconds(2)
	})
	if got := loadtest.Offsets(burst, 2, 7); !reflect.DeepEqual(got, []time.Duration{0, 0, 0, 2 * time.Second, 2 * time.Second, 2 * time.Second, 4 * time.Second}) {
		t.Errorf("bursts at %v", got)
	}
}

func TestPoissonPlanIsTheSeedsAndHasTheRate(t *testing.T) {
	t.Parallel()
	s := tiny(t, func(s *scenarios.Scenario) { s.Load.Arrivals, s.Load.Rate.PerSecond = scenarios.ArrivalsPoisson, 100 })
	const n = 100_000
	a, b, other := loadtest.Offsets(s, 2, n), loadtest.Offsets(s, 2, n), loadtest.Offsets(s, 1, n)
	if !reflect.DeepEqual(a, b) || reflect.DeepEqual(a, other) {
		t.Error("the plan is not the seed's and the phase's")
	}
	// The mean of n exponential gaps of 10 ms deviates by 10 ms / sqrt(n); five times
	// that is 1.6 %. The seed is fixed, so that the test cannot fail by chance.
	if mean := a[n-1].Seconds() / n; math.Abs(mean-0.01) > 0.01*5/math.Sqrt(n) {
		t.Errorf("mean gap %v", mean)
	}
}

// A sequence has no gap, whatever is refused: a fleet takes a gap for a loss.
func TestRefusedMessagesLeaveNoGapInTheSequence(t *testing.T) {
	t.Parallel()
	s := tiny(t, func(s *scenarios.Scenario) {
		s.Load.Rate.PerSecond, s.Load.Publishers = 1000, 2
		s.Topics = scenarios.Topics{Count: 4, PerConnection: 1}
	})
	var sent []stamp.Stamp
	n := 0
	send := func(_ string, data []byte) error {
		n++
		switch {
		case n%3 == 0:
			return loadtest.ErrNotConnected
		case n%7 == 0:
			return loadtest.ErrWindowFull
		}
		st, err := stamp.Parse(data)
		if err != nil {
			return err
		}
		sent = append(sent, st)
		return nil
	}
	sinks := []*loadtest.FakeSink{{Send: send}, {Send: send}}
	ok, refused, dropped, runs, lag, err := loadtest.PublisherFates(t.Context(), s, 300*time.Millisecond, sinks)
	if err != nil {
		t.Fatal(err)
	}
	if ok+refused+dropped != 300 || ok != int64(len(sent)) || refused != 100 || dropped == 0 || lag.Count() != ok {
		t.Errorf("%d sent (%d seen), %d refused, %d dropped, %d lags", ok, len(sent), refused, dropped, lag.Count())
	}
	type of struct {
		publisher uint16
		topic     uint32
	}
	next := map[of]uint64{}
	for _, st := range sent {
		k := of{st.Publisher, st.Topic}
		next[k]++
		if st.Sequence != next[k] || simulator.Phase(st.Phase) != simulator.PhaseMeasure || st.Actual < st.Intended {
			t.Fatalf("%+v, want sequence %d", st, next[k])
		}
	}
	total := uint64(0)
	for _, r := range runs {
		if r.First != 1 || r.Count != next[of{r.Publisher, r.Topic}] {
			t.Errorf("the account says %+v", r)
		}
		total += r.Count
	}
	if total != uint64(ok) {
		t.Errorf("the account has %d messages of %d", total, ok)
	}
}

func TestSleepUntilDoesNotWakeEarly(t *testing.T) {
	t.Parallel()
	c, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		until := c.Now() + int64(time.Millisecond)
		loadtest.SleepUntil(until)
		if now := c.Now(); now < until-2*int64(c.Uncertainty())-1000 {
			t.Errorf("woke %d ns early", until-now)
		}
	}
}

func TestParseStatOfOddNames(t *testing.T) {
	t.Parallel()
	const rest = " S 1 2 3 0 -1 4194304 101 0 0 0 250 50 0 0 20 0 1 0 110339 3133440 389"
	for _, name := range []string{"(cat)", "(a b)", "(a) R 9 9 9 (b)", "())"} {
		got, err := loadtest.ParseStat("42 " + name + rest)
		if err != nil || got != 3*time.Second {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, bad := range []string{"", "42 (cat", "42 (cat) S 1", "42 (cat) S 1 2 3 0 -1 4194304 101 0 0 0 x 50 0"} {
		if _, err := loadtest.ParseStat(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestMetricsOfTheServers(t *testing.T) {
	t.Parallel()
	from := loadtest.ReadMetrics("# HELP x y\nfiretower_gateway_drops_total{reason=\"slow\"} 3\nfiretower_gateway_drops_total{reason=\"old\"} 5\ngo_goroutines 7\n")
	to := loadtest.ReadMetrics("firetower_gateway_drops_total{reason=\"slow\"} 10\nfiretower_gateway_drops_total{reason=\"old\"} 2\nfiretower_gateway_drops_total{reason=\"a } b\"} 1 1700000000\nfiretower_gateway_drops_total_other{reason=\"slow\"} 9\nfiretower_x\n")
	if len(from) != 2 {
		t.Errorf("read %v", from)
	}
	// "old" fell: its process was restarted, and 2 is what the new one counted.
	want := map[string]float64{"slow": 7, "old": 2, "a } b": 1}
	if got := loadtest.Grown(from, to, "firetower_gateway_drops_total", "reason"); !reflect.DeepEqual(got, want) {
		t.Errorf("grew by %v, want %v", got, want)
	}
}

func TestCountersOfAServerThatWasReplacedAreItsOwn(t *testing.T) {
	t.Parallel()
	from := []string{"firetower_manager_drops_total 5\n", "firetower_gateway_drops_total 7\n", "firetower_gateway_drops_total 9\n", "firetower_gateway_drops_total 3\n"}
	to := []string{"firetower_manager_drops_total 6\n", "firetower_gateway_drops_total 8\n", "firetower_gateway_drops_total 20\n", ""}
	got := loadtest.Survivors([]int{1}, []int{1, 2, 1}, from, to)
	want := []map[string]float64{{"firetower_manager_drops_total": 5}, {"firetower_gateway_drops_total": 7}, nil, nil}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// clean is a result without a blemish.
func clean() *reports.Result {
	return &reports.Result{
		Loop: "open", Planned: 10, Connections: 10, Ledger: reports.Ledger{Expected: 100_000, Received: 100_000}, Messages: 1000,
		Delivery:   reports.Distribution{Count: 100_000, P99: ms(40)},
		PublishLag: reports.Distribution{Count: 1000, P99: ms(0.2), Max: ms(1)},
		Publisher:  reports.Publisher{Planned: 1000, Sent: 1000},
		Generator:  reports.Generator{CPUMicrosPerMessage: ms(4)},
	}
}

func ms(v float64) *float64 { return &v }

func TestSelfCheckTurnsTheVerdict(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		result   func(*reports.Result)
		evidence func(*loadtest.Evidence)
		want     reports.Verdict
		check    string // that is not ok
	}{
		{"nothing wrong", nil, nil, reports.Valid, ""},
		{"the ledger does not balance", func(r *reports.Result) { r.Received-- }, nil, reports.Invalid, "ledger balances"},
		{"more came than was sent", func(r *reports.Result) { r.Received, r.Lost = r.Expected+1, -1 }, nil, reports.Invalid, "ledger balances"},
		{"arrivals before they were sent", func(r *reports.Result) { r.Negative = 1 }, nil, reports.Invalid, "ledger balances"},
		{"the ledger's bound was hit", nil, func(e *loadtest.Evidence) { e.Forgotten = 1 }, reports.Invalid, "ledger balances"},
		{"a loss", func(r *reports.Result) { r.Received, r.Lost, r.LostUnexplained = r.Expected-1, 1, 1 }, nil, reports.Degraded, "losses are explained"},
		{"a loss that a fault explains", func(r *reports.Result) { r.Received, r.Lost = r.Expected-1, 1 }, nil, reports.Valid, ""},
		{"a loss at a churning topic", func(r *reports.Result) { r.Churn = &reports.Churn{Due: 10, Received: 9, Lost: 1} }, nil, reports.Degraded, "losses are explained"},
		{"messages dropped", func(r *reports.Result) { r.Publisher.Sent, r.Publisher.Dropped = 999, 1 }, nil, reports.Degraded, "the plan was carried out"},
		{"a tenth dropped", func(r *reports.Result) { r.Publisher.Sent, r.Publisher.Dropped = 800, 200 }, nil, reports.Invalid, "the plan was carried out"},
		{"refused without a fault", func(r *reports.Result) { r.Publisher.Sent, r.Publisher.Refused = 999, 1 }, nil, reports.Degraded, "the plan was carried out"},
		{"refused in a fault", func(r *reports.Result) {
			r.Publisher.Sent, r.Publisher.Refused, r.Faults = 999, 1, []reports.Fault{{}}
		}, nil, reports.Valid, ""},
		{"a client missing", func(r *reports.Result) { r.Connections-- }, nil, reports.Invalid, "every client was there"},
		{"a fleet that failed", nil, func(e *loadtest.Evidence) { e.Faults = errors.New("boom") }, reports.Invalid, "every client was there"},
		{"publisher late", func(r *reports.Result) { r.PublishLag.P99 = ms(3) }, nil, reports.Degraded, "publish lag p99"},
		{"publisher far too late", func(r *reports.Result) { r.PublishLag.P99 = ms(15) }, nil, reports.Invalid, "publish lag p99"},
		{"late, but little beside the latency", func(r *reports.Result) { r.PublishLag.P99, r.Delivery.P99 = ms(15), ms(400) }, nil, reports.Valid, ""},
		{
			"late, since the server held messages up", func(r *reports.Result) { r.PublishLag.P99, r.Delivery.P99 = ms(1800), ms(2800) },
			func(e *loadtest.Evidence) { e.OwnLag.P99 = ms(1) }, reports.Degraded, "publish lag p99",
		},
		{
			"late by the server and by us", func(r *reports.Result) { r.PublishLag.P99, r.Delivery.P99 = ms(1800), ms(2800) },
			func(e *loadtest.Evidence) { e.OwnLag.P99 = ms(900) }, reports.Invalid, "publish lag p99",
		},
		{"few messages: the maximum counts", func(r *reports.Result) { r.PublishLag.P99, r.PublishLag.Max = nil, ms(3) }, nil, reports.Degraded, "publish lag p99"},
		{"a closed loop has no lag", func(r *reports.Result) { r.Loop, r.PublishLag = "closed", reports.Distribution{} }, nil, reports.Valid, ""},
		{"worker waits for a core", nil, func(e *loadtest.Evidence) { e.Loads[0] = loadtest.WorkerLoad(5*time.Millisecond, 0) }, reports.Degraded, "worker scheduler delay p99"},
		{"worker collects garbage", nil, func(e *loadtest.Evidence) { e.Loads[0] = loadtest.WorkerLoad(0, 0.2) }, reports.Degraded, "worker garbage collection"},
		{"worker stood still", nil, func(e *loadtest.Evidence) { e.Loads[0].StallShare = 0.05 }, reports.Degraded, "worker standstill"},
		{"worker hardly ran", nil, func(e *loadtest.Evidence) { e.Loads[0].StallShare = 0.5 }, reports.Invalid, "worker standstill"},
		{"clocks apart", nil, func(e *loadtest.Evidence) { e.Skew = time.Millisecond }, reports.Invalid, "clock skew between processes"},
		{"machine full", nil, func(e *loadtest.Evidence) { e.BusyShare = 0.99 }, reports.Degraded, "machine busy"},
		{"host takes the CPU", nil, func(e *loadtest.Evidence) { e.StealShare = 0.1 }, reports.Degraded, "steal"},
		{"clients did not read", func(r *reports.Result) { r.Generator.ReceiveBacklog = 2 }, nil, reports.Degraded, "receive backlog"},
		{"retransmits are noted", nil, func(e *loadtest.Evidence) { e.Kernel = map[string]int64{"RetransSegs": 3} }, reports.Valid, "TCP retransmits and drops"},
		{"full listen queue is noted", nil, func(e *loadtest.Evidence) { e.Kernel = map[string]int64{"ListenOverflows": 3} }, reports.Valid, "listen queue overflows"},
		{"expensive clients are noted", func(r *reports.Result) { r.Generator.CPUMicrosPerMessage = ms(9) }, nil, reports.Valid, "load CPU per message"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := clean()
			if tt.result != nil {
				tt.result(r)
			}
			checks, verdict := loadtest.SelfCheck(r, tt.evidence)
			if verdict != tt.want {
				t.Errorf("verdict %s, want %s: %+v", verdict, tt.want, checks)
			}
			for _, c := range checks {
				bad := c.Status != reports.CheckOK && c.Status != reports.CheckSkipped
				if bad != (c.Name == tt.check) {
					t.Errorf("%s is %s: %s, limit %s", c.Name, c.Status, c.Value, c.Limit)
				}
			}
		})
	}
}

func TestThresholdWithoutAFigureHasFailed(t *testing.T) {
	t.Parallel()
	var ths []scenarios.Threshold
	for _, text := range []string{"lost==0", "delivery.p99<50ms", "delivery.p99<30ms", "completion.p99<1s", "slow.disconnected==1"} {
		th, err := scenarios.ParseThreshold(text)
		if err != nil {
			t.Fatal(err)
		}
		ths = append(ths, th)
	}
	got, ok := loadtest.Evaluate(ths, clean())
	var held []bool
	for _, g := range got {
		held = append(held, g.OK)
		if g.Value == nil && g.Reason == "" {
			t.Errorf("%s has neither value nor reason", g.Text)
		}
	}
	if want := []bool{true, true, false, false, false}; ok || !reflect.DeepEqual(held, want) {
		t.Errorf("held %v, all %v", held, ok)
	}
}

// Every metric that a threshold may name can be looked up in a result: otherwise a
// scenario could ask for what no run can ever have.
func TestEveryMetricOfThresholdsIsOneOfResults(t *testing.T) {
	t.Parallel()
	r := clean()
	r.Slow, r.Faults, r.Churn = &reports.Slow{}, []reports.Fault{{Recovered: ms(1)}}, &reports.Churn{}
	for _, name := range scenarios.Metrics() {
		if _, reason := r.Metric(name); strings.Contains(reason, "has no") {
			t.Errorf("%s: %s", name, reason)
		}
	}
}

func ExamplePlan() {
	s, err := scenarios.Open("smoke")
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := loadtest.NewPlan(s, loadtest.Firetower, loadtest.Machine{CPUs: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Connections, p.Messages, p.Deliveries)
	// Output: 200 400 80000
}
