package simulator_test

import (
	"fmt"
	"testing"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"

	"firetower/simulator"
)

func TestStreamArrivals(t *testing.T) {
	const (
		o = simulator.InOrder
		r = simulator.Reordered
		d = simulator.Duplicated
	)
	type step struct {
		seq  uint64
		want simulator.Arrival
	}
	tests := map[string][]step{
		"in order":                         {{1, o}, {2, o}, {3, o}},
		"repeated at once":                 {{1, o}, {1, d}, {1, d}, {2, o}},
		"swapped":                          {{2, o}, {1, r}, {1, d}, {2, d}, {3, o}},
		"a gap is filled later":            {{1, o}, {5, o}, {3, r}, {2, r}, {4, r}, {4, d}},
		"late joiner":                      {{1000, o}, {1001, o}, {999, r}, {1, r}, {1, d}, {500, r}, {500, d}},
		"jump of exactly a window":         {{1, o}, {65, o}, {1, d}, {2, r}, {64, r}, {2, d}},
		"jump of a window and one":         {{1, o}, {66, o}, {1, d}, {2, r}, {2, d}, {65, r}},
		"jump far":                         {{1, o}, {1 << 40, o}, {2, r}, {1<<40 - 1, r}, {1 << 39, r}, {1 << 39, d}},
		"a gap leaves the window":          {{1, o}, {3, o}, {100, o}, {2, r}, {2, d}, {3, d}, {1, d}},
		"both ends of a gap, then between": {{1, o}, {1000, o}, {2, r}, {936, r}, {935, r}, {3, r}, {500, r}, {2, d}, {936, d}, {500, d}, {501, r}},
		"the highest sequence":             {{1<<64 - 1, o}, {1<<64 - 2, r}, {1, r}, {1, d}},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			s := simulator.NewStream(100)
			for i, step := range steps {
				if got := s.Arrive(step.seq); got != step.want {
					t.Errorf("step %d: sequence %d is %d, want %d", i, step.seq, got, step.want)
				}
			}
		})
	}
}

// A stream agrees with a set of everything seen, whatever comes in whatever order.
func TestPropertyStreamAgainstSet(t *testing.T) {
	// Sequences near each other, far away, and at the window's edges.
	sequence := gen.OneGenOf(gen.UInt64Range(1, 20), gen.UInt64Range(1, 200), gen.UInt64Range(1, 5000),
		gen.OneConstOf(uint64(simulator.WindowBits-1), uint64(simulator.WindowBits), uint64(simulator.WindowBits+1),
			uint64(2*simulator.WindowBits), uint64(1<<63)))
	properties(t, 400, "arrivals are what a set says", prop.ForAll(
		func(sequences []uint64) string {
			s := simulator.NewStream(1 << 20)
			seen := make(map[uint64]bool)
			var high uint64
			for i, seq := range sequences {
				want := simulator.InOrder
				switch {
				case seen[seq]:
					want = simulator.Duplicated
				case seq < high:
					want = simulator.Reordered
				}
				seen[seq] = true
				high = max(high, seq)
				if got := s.Arrive(seq); got != want {
					return fmt.Sprintf("arrival %d, sequence %d: %d, want %d", i, seq, got, want)
				}
			}
			return ""
		},
		gen.IntRange(0, 400).FlatMap(func(n any) gopter.Gen {
			size, _ := n.(int)
			return gen.SliceOfN(size, sequence)
		}, nil),
	))
}

func TestGapsAreBounded(t *testing.T) {
	s := simulator.NewStream(3)
	for seq := uint64(1); seq < 1000; seq += 2 { // every second one is missing
		s.Arrive(seq)
	}
	if s.Gaps() != 3 || s.Forgotten() == 0 {
		t.Fatalf("%d gaps kept, %d forgotten", s.Gaps(), s.Forgotten())
	}
	if got := s.Arrive(2); got != simulator.Reordered {
		t.Errorf("a kept gap: %d", got)
	}
	if got := s.Arrive(500); got != simulator.Duplicated {
		t.Errorf("a forgotten gap: %d", got)
	}
	if got := s.Arrive(998); got != simulator.Reordered {
		t.Errorf("within the window: %d", got)
	}
	if got := s.Arrive(1001); got != simulator.InOrder {
		t.Errorf("the next one: %d", got)
	}
}

func TestArriveInOrderAllocatesNothing(t *testing.T) {
	s := simulator.NewStream(10)
	var seq uint64
	if got := testing.AllocsPerRun(1000, func() { seq++; s.Arrive(seq); s.Arrive(seq) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
