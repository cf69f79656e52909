package loadtest_test

import (
	"slices"
	"testing"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
	"firetower/simulator"
)

func TestFaultAccountTellsWhatIsTheFaults(t *testing.T) {
	t.Parallel()
	// A fault at 1,000 ms, ready again at 2,000, in a window that ends at 5,000.
	got := map[int]int64{100: 10, 900: 10, 950: 4, 1100: -1, 1900: -1, 2100: 0, 2200: 7, 2300: 10, 2400: 10}
	account := func() (reports.Fault, int64) {
		faults, unexplained := loadtest.FaultAccount([]loadtest.FaultTimes{{Killed: 1000, Ready: 2000, Hold: 1000, Recovery: 3000}}, 10, got)
		return faults[0], unexplained
	}
	f, unexplained := account()
	if f.Lost != 6+10+3 || f.Messages != 3 || f.Refused != 2 || unexplained != 0 {
		t.Errorf("%+v, %d unexplained", f, unexplained)
	}
	for name, v := range map[string]struct {
		got  *float64
		want float64
	}{
		"down":           {f.Down, 1000},
		"detected":       {f.Detected, 5},
		"republished":    {f.Republished, 1020},
		"first delivery": {f.FirstDelivery, 1201}, // of the message at 2,200, which some got
		"recovered":      {f.Recovered, 1302},     // when the message at 2,300 reached the last
	} {
		if v.got == nil || *v.got != v.want {
			t.Errorf("%s after %v, want %v", name, v.got, v.want)
		}
	}
	// A loss long before or after is not the fault's.
	got[-500], got[6000] = 9, 8
	f, unexplained = account()
	if f.Lost != 19 || unexplained != 3 {
		t.Errorf("%+v, %d unexplained, want 3", f, unexplained)
	}
	if f.Recovered != nil {
		t.Errorf("the last message was lost, and yet all deliver from %v on", *f.Recovered)
	}
}

// What was under way when it happened may be all that a fault takes: it showed at once, and
// not in some second after it that was slow.
func TestFaultThatTakesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	got := map[int]int64{100: 10, 900: 10, 950: 4, 1100: 10, 1200: 10}
	faults, unexplained := loadtest.FaultAccount([]loadtest.FaultTimes{{Killed: 1000, Ready: 1050, Hold: 50, Recovery: 3950, Unseen: true}}, 10, got)
	f := faults[0]
	if f.Lost != 6 || f.Refused != 0 || unexplained != 0 {
		t.Errorf("%+v, %d unexplained", f, unexplained)
	}
	if f.Detected == nil || *f.Detected != 0 {
		t.Errorf("detected after %v, want 0", f.Detected)
	}
}

// Each of two faults has the figures of its own messages: what is lost, refused or arrives
// around the other is not its.
func TestTwoFaultsAreToldApart(t *testing.T) {
	t.Parallel()
	times := []loadtest.FaultTimes{{Killed: 1000, Ready: 1500, Hold: 500, Recovery: 2500}, {Killed: 8000, Ready: 10_000, Hold: 2000, Recovery: 3000}}
	got := map[int]int64{
		500: 10, 950: 4, 1100: -1, 1600: 7, 1700: 10, 3000: 10, // the first loses 9
		6000: 10, 7950: 3, 8100: -1, 8200: -1, 9000: 0, 9500: 5, 12_000: 10, // the second loses 22
	}
	faults, unexplained := loadtest.FaultAccount(times, 10, got)
	if unexplained != 0 || len(faults) != 2 {
		t.Fatalf("%d unexplained, %d faults", unexplained, len(faults))
	}
	for i, want := range []struct {
		lost, messages, refused                         int64
		detected, republished, firstDelivery, recovered float64
	}{
		{9, 2, 1, 5, 520, 601, 702},
		{22, 3, 2, 5, 2020, 1501, 4002},
	} {
		f := faults[i]
		if f.Lost != want.lost || f.Messages != want.messages || f.Refused != want.refused {
			t.Errorf("fault %d: lost %d of %d messages, %d refused, want %+v", i, f.Lost, f.Messages, f.Refused, want)
		}
		for name, v := range map[string]struct {
			got  *float64
			want float64
		}{
			"detected": {f.Detected, want.detected}, "republished": {f.Republished, want.republished},
			"first delivery": {f.FirstDelivery, want.firstDelivery}, "recovered": {f.Recovered, want.recovered},
		} {
			if v.got == nil || *v.got != v.want {
				t.Errorf("fault %d: %s after %v, want %v", i, name, v.got, v.want)
			}
		}
	}
	// What is lost from the second on is no sign that the first did not recover, and the other way round.
	got[2000], got[12_500] = 0, 9
	faults, _ = loadtest.FaultAccount(times, 10, got)
	if f := faults[0]; f.Recovered == nil || *f.Recovered != 2002 || faults[1].Recovered != nil {
		t.Errorf("recovered after %v and %v", f.Recovered, faults[1].Recovered)
	}
}

func TestVictimsOfFaults(t *testing.T) {
	t.Parallel()
	restart := scenarios.Fault{Kind: scenarios.FaultManagerRestart}
	pause := func(gateway int) scenarios.Fault {
		return scenarios.Fault{Kind: scenarios.FaultGatewayPause, Victim: gateway}
	}
	for _, tt := range []struct {
		name               string
		managers, gateways int
		faults             []scenarios.Fault
		victims            []int
	}{
		{"a gateway of three", 1, 3, []scenarios.Fault{pause(1)}, []int{1}},
		{"the last gateway of three", 1, 3, []scenarios.Fault{pause(2)}, []int{2}},
		{"the only gateway", 1, 1, []scenarios.Fault{pause(0)}, []int{-1}},
		{"the only manager, then a gateway", 1, 2, []scenarios.Fault{restart, pause(1)}, []int{-1, 1}},
		{"a manager with one gateway of two", 2, 2, []scenarios.Fault{restart, pause(0)}, []int{0, 0}},
		{"two gateways", 1, 2, []scenarios.Fault{pause(0), pause(1)}, []int{0, 1}},
		{"three faults of a gateway", 1, 2, []scenarios.Fault{pause(0), pause(0), pause(0)}, []int{0, 0, 0}},
		{"four faults, of three gateways and of all", 1, 3, []scenarios.Fault{pause(2), restart, pause(0), pause(1)}, []int{2, -1, 0, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := scenarios.Scenario{Faults: tt.faults}
			s.Topology.Managers, s.Topology.Gateways = tt.managers, tt.gateways
			if got := loadtest.Victims(s); !slices.Equal(got, tt.victims) {
				t.Errorf("victims %v, want %v", got, tt.victims)
			}
		})
	}
}

// As many faults as a scenario may have do not share a stamp, and all stamps are of the run's figures.
func TestStampsAreOfOneFault(t *testing.T) {
	t.Parallel()
	seen := map[simulator.Phase]int{}
	for fault := range scenarios.MaxFaults {
		for _, p := range loadtest.StampsOf(fault) {
			seen[p]++
		}
	}
	seen[loadtest.StampsOf(scenarios.MaxFaults)[0]]++ // after the last
	for p, n := range seen {
		if n != 1 || p >= simulator.MaxPhases || !loadtest.Headline(p) {
			t.Errorf("stamp %d is of %d faults, headline %v", p, n, loadtest.Headline(p))
		}
	}
	for _, p := range []simulator.Phase{simulator.PhaseProbe, simulator.PhaseWarmup, simulator.PhaseTrial} {
		if seen[p] != 0 || loadtest.Headline(p) {
			t.Errorf("stamp %d is of a fault, or of the run's figures", p)
		}
	}
}

func TestMessagesForNobodyTellNothing(t *testing.T) {
	t.Parallel()
	faults, _ := loadtest.FaultAccount([]loadtest.FaultTimes{{Killed: 1000, Ready: 2000, Hold: 1000, Recovery: 3000}}, 0, map[int]int64{2100: 0})
	if f := faults[0]; f.Recovered == nil || *f.Recovered != 0 {
		t.Errorf("recovered after %v, by a message without a receiver", f.Recovered)
	}
	if n := loadtest.Completions([]int64{0, 10, 0}); n != 1 {
		t.Errorf("%d completions, want that of the one message that had receivers", n)
	}
}

func TestFaultTellsWhatTheInnocentLost(t *testing.T) {
	t.Parallel()
	for _, arrived := range []int64{0, 1000} {
		faults, err := loadtest.LostInnocent(0, loadtest.InnocentAccount{LostBefore: 10, LostHeld: 70, Arrived: arrived})
		if err != nil {
			t.Fatal(err)
		}
		if f := faults[0]; f.LostInnocent != 80 || (f.Innocent != nil) != (arrived > 0) {
			t.Errorf("%d arrived: lost %d, latency %v", arrived, f.LostInnocent, f.Innocent)
		}
	}
}

// What was under way to the innocent is each fault's own; when some of all losses are nobody's, it may be those.
func TestLossesUnderWayAreOfTheNextFault(t *testing.T) {
	t.Parallel()
	of := []loadtest.InnocentAccount{{LostBefore: 1, LostHeld: 10, Arrived: 5}, {LostBefore: 2}, {LostHeld: 30}}
	for unexplained, want := range map[int64][]int64{0: {11, 2, 30}, 1: {10, 0, 30}} {
		faults, err := loadtest.LostInnocent(unexplained, of...)
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range faults {
			if f.LostInnocent != want[i] || f.InnocentClients != 10 || f.InnocentNote != "" {
				t.Errorf("%d unexplained, fault %d: the innocent lost %d, want %d", unexplained, i, f.LostInnocent, want[i])
			}
		}
	}
}
