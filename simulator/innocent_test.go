package simulator_test

import (
	"slices"
	"testing"

	"firetower/simulator"
	"firetower/simulator/stamp"
)

// Of three faults at two of three servers, each has the account of its own messages at the connections
// that it did not happen to, and fleets of parts of the connections add up to the same.
func TestInnocentOfEachFault(t *testing.T) {
	t.Parallel()
	const conns, per = 7, 4 // connections 0, 3 and 6 belong to server 0, 1 and 4 to server 1, 2 and 5 to server 2
	victims := []int{0, 1, 0}
	// What connection conn misses: one message of each fault's hold, where it belongs to the victim or is connection 2,
	// and of the time before it connection 5 does.
	misses := func(conn int, phase simulator.Phase, n int) bool {
		switch phase.Kind() {
		case simulator.PhaseHold:
			return n == 1 && (conn == 2 || conn%3 == victims[phase.Fault()])
		case simulator.PhaseMeasure:
			return n == per-1 && conn == 5
		default:
			return false
		}
	}
	var phases []simulator.Phase
	for fault := range victims {
		phases = append(phases, simulator.PhaseMeasure.Of(fault), simulator.PhaseHold.Of(fault), simulator.PhaseRecover.Of(fault))
	}
	phases = append(phases, simulator.PhaseMeasure.Of(len(victims)))
	var parts []*simulator.Report
	for _, part := range [][2]int{{0, 4}, {4, 3}} { // the first connection, and how many
		config := accountConfig(part[1])
		config.FirstIndex, config.URLs, config.Victims = part[0], []string{"a", "b", "c"}, victims
		a := simulator.NewAccount(config)
		var sent []simulator.TopicSent
		first := uint64(1)
		for _, phase := range phases {
			for n := range per {
				seq := first + uint64(n)
				data := stamp.Append(nil, stamp.Stamp{Run: runID, Phase: uint8(phase), Sequence: seq, Intended: 1e9, Actual: 1e9}, 128)
				for conn := range part[1] {
					if !misses(part[0]+conn, phase, n) {
						// A latency that tells the fault.
						a.Frame(conn, data, 1e9+int64(phase.Fault()+1)*1e6)
					}
				}
			}
			sent = append(sent, simulator.TopicSent{Phase: phase, First: first, Count: per})
			first += per
		}
		r, err := a.Report(sent)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, r)
	}
	whole, err := simulator.Merge(parts...)
	if err != nil {
		t.Fatal(err)
	}
	if len(whole.Phases) != len(phases) {
		t.Fatalf("%d phases, want %d", len(whole.Phases), len(phases))
	}
	// Connections 2 and 5, and those of the one other server; three of server 0 or two of server 1.
	innocent := []int64{4, 5, 4}
	for fault := range victims {
		for _, want := range []struct {
			kind         simulator.Phase
			lost, others int64 // all, and of the innocent
		}{
			{simulator.PhaseMeasure, 1, 1},
			{simulator.PhaseHold, conns - innocent[fault] + 1, 1},
			{simulator.PhaseRecover, 0, 0},
		} {
			p := phaseOf(whole, want.kind.Of(fault))
			if p.Lost != want.lost || p.LostInnocent != want.others {
				t.Errorf("fault %d, phase %d: %d lost, %d of the innocent, want %d and %d", fault, p.Phase, p.Lost, p.LostInnocent, want.lost, want.others)
			}
			if n, ns := p.Innocent.Count(), int64(fault+1)*1e6; n != innocent[fault]*per-want.others || p.Innocent.Min() != ns || p.Innocent.Max() != ns {
				t.Errorf("fault %d, phase %d: %d at the innocent, %d to %d ns, want %d", fault, p.Phase, n, p.Innocent.Min(), p.Innocent.Max(), innocent[fault]*per-want.others)
			}
		}
	}
	if !slices.Equal(whole.Innocents, innocent) {
		t.Errorf("%v connections are innocent, want %v", whole.Innocents, innocent)
	}
	after := phaseOf(whole, simulator.PhaseMeasure.Of(len(victims)))
	if after.Received != conns*per-1 || after.Innocent.Count() != 0 || after.LostInnocent != 0 {
		t.Errorf("after all faults: %+v", after)
	}
	// The figures of single connections are of all faults: connection 5 and those that a fault happened to miss something.
	if s := whole.Spread; s.Incomplete != conns || s.Connections != conns || s.MeanLatency.Count() != conns {
		t.Errorf("spread %+v", s)
	}
	delivered := float64(0)
	for _, p := range whole.Phases {
		delivered += float64(p.Received)
	}
	if whole.Spread.Delivered != delivered {
		t.Errorf("%v delivered, want %v", whole.Spread.Delivered, delivered)
	}
}

// A connection is innocent of a fault by where it is when that happens: one that has come back to another server is
// no longer at its own, and one that is away is nowhere.
func TestInnocentByPlace(t *testing.T) {
	t.Parallel()
	const conns = 4 // connections 0 and 3 belong to server 0, 1 to server 1, 2 to server 2
	config := accountConfig(conns)
	config.URLs, config.Victims = []string{"a", "b", "c"}, []int{1, 2, 0, -1}
	a := simulator.NewAccount(config)
	var sent []simulator.TopicSent
	seq := uint64(0)
	send := func(phase simulator.Phase, to ...int) {
		seq++
		data := stamp.Append(nil, stamp.Stamp{Run: runID, Phase: uint8(phase), Sequence: seq, Intended: 1e9, Actual: 1e9}, 128)
		for _, conn := range to {
			a.Frame(conn, data, 2e9)
		}
		sent = append(sent, simulator.TopicSent{Phase: phase, First: seq, Count: 1})
	}
	send(simulator.PhaseMeasure, 0, 1, 2, 3)
	a.Lost(1, 2e9) // fault 0, of server 1; no message of its hold has come
	a.Lost(3, 2e9) // innocent of it, and lost all the same
	send(simulator.PhaseHold, 0, 2)
	a.Back(1, 1, 2e9) // at server 2
	send(simulator.PhaseRecover, 0, 1, 2)
	send(simulator.PhaseMeasure.Of(1), 0, 1, 2)
	a.Back(3, 3, 2e9) // at server 0, before fault 1
	a.Lost(1, 2e9)    // fault 1, of server 2
	a.Lost(2, 2e9)
	send(simulator.PhaseHold.Of(1), 0, 3)
	send(simulator.PhaseMeasure.Of(2), 0, 3)
	a.Back(2, 2, 2e9) // at server 1, before fault 2
	send(simulator.PhaseHold.Of(2), 0, 2, 3)
	a.Back(1, 1, 2e9) // at server 2, while server 0 is what fault 2 happens to
	send(simulator.PhaseRecover.Of(2), 0, 1, 2, 3)
	send(simulator.PhaseHold.Of(3), 0, 1, 2, 3)
	r, err := a.Report(sent)
	if err != nil {
		t.Fatal(err)
	}
	// Of fault 0: 0, 2 and 3. Of fault 1: 0 and 3. Of fault 2: 2 alone, as 1 was away. Fault 3 has no victim.
	if want := []int64{3, 2, 1, 0}; !slices.Equal(r.Innocents, want) {
		t.Errorf("%v connections are innocent, want %v", r.Innocents, want)
	}
	for phase, want := range map[simulator.Phase][2]int64{ // received and lost
		simulator.PhaseMeasure: {3, 0}, simulator.PhaseHold: {2, 1}, simulator.PhaseRecover: {2, 1},
		simulator.PhaseMeasure.Of(1): {1, 1}, simulator.PhaseHold.Of(1): {2, 0},
		simulator.PhaseMeasure.Of(2): {0, 1}, simulator.PhaseHold.Of(2): {1, 0}, simulator.PhaseRecover.Of(2): {1, 0},
		simulator.PhaseHold.Of(3): {0, 0},
	} {
		if p := phaseOf(r, phase); p.Innocent.Count() != want[0] || p.LostInnocent != want[1] {
			t.Errorf("phase %d: the innocent have %d and lost %d, want %v", phase, p.Innocent.Count(), p.LostInnocent, want)
		}
	}
}

// A connection that moves, or goes away, before the measured phase is told by where it is then.
func TestInnocentByPlaceFromTheWarmup(t *testing.T) {
	t.Parallel()
	config := accountConfig(3) // connections 0 and 2 belong to server 0, 1 to server 1
	config.URLs, config.Victims = []string{"a", "b"}, []int{0}
	a := simulator.NewAccount(config)
	send := func(phase simulator.Phase, seq uint64, to ...int) {
		data := stamp.Append(nil, stamp.Stamp{Run: runID, Phase: uint8(phase), Sequence: seq, Intended: 1e9, Actual: 1e9}, 128)
		for _, conn := range to {
			a.Frame(conn, data, 2e9)
		}
	}
	send(simulator.PhaseWarmup, 1, 0, 1, 2)
	a.Lost(0, 2e9)
	a.Lost(1, 2e9)
	a.Back(0, 1, 2e9) // at server 1
	send(simulator.PhaseMeasure, 2, 0, 2)
	send(simulator.PhaseHold, 3, 0)
	r, err := a.Report([]simulator.TopicSent{
		{Phase: simulator.PhaseWarmup, First: 1, Count: 1}, {Phase: simulator.PhaseMeasure, First: 2, Count: 1}, {Phase: simulator.PhaseHold, First: 3, Count: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []int64{1}; !slices.Equal(r.Innocents, want) {
		t.Errorf("%v connections are innocent, want %v: that which came back at another server", r.Innocents, want)
	}
	for phase, want := range map[simulator.Phase]int64{simulator.PhaseMeasure: 1, simulator.PhaseHold: 1} {
		if p := phaseOf(r, phase); p.Innocent.Count() != want || p.LostInnocent != 0 {
			t.Errorf("phase %d: the innocent have %d and lost %d, want %d and 0", phase, p.Innocent.Count(), p.LostInnocent, want)
		}
	}
}

// A phase of a fault is told by kind and fault, and those of the first are the constants.
func TestPhasesOfFaults(t *testing.T) {
	t.Parallel()
	seen := map[simulator.Phase]bool{}
	for fault := range simulator.MaxFaults + 1 {
		for _, kind := range []simulator.Phase{simulator.PhaseMeasure, simulator.PhaseHold, simulator.PhaseRecover} {
			p := kind.Of(fault)
			if p.Kind() != kind || p.Fault() != fault || p >= simulator.MaxPhases || seen[p] || fault == 0 && p != kind {
				t.Errorf("phase %d is of kind %d and fault %d, want %d and %d", p, p.Kind(), p.Fault(), kind, fault)
			}
			seen[p] = true
		}
	}
}
