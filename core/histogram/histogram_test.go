package histogram_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"firetower/core/histogram"
)

func metric(t *testing.T, c *histogram.Counts) *dto.Histogram {
	t.Helper()
	m := c.Metric(prometheus.NewDesc("x_seconds", "X.", []string{"stage"}, nil), "a")
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.GetHistogram()
}

// Every value lies within the edges of the one bucket that counts it, and no bucket
// but the first is wider than a quarter of its lower edge.
func TestValueLiesWithinItsBucket(t *testing.T) {
	values := []int64{0, 1, 1023, 1024, 1025, 1279, 1280, 1281, 1 << 20, 1<<20 + 1, 1<<36 - 1, 1 << 36, 1<<36 + 1, math.MaxInt64}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		values = append(values, rng.Int64()>>rng.IntN(63))
	}
	for _, v := range values {
		var h histogram.Histogram
		h.Observe(v, 1)
		var c histogram.Counts
		c.Add(&h)
		lower, found := 0.0, false
		for _, b := range metric(t, &c).GetBucket() {
			upper := math.Round(b.GetUpperBound() * 1e9)
			if lower > 0 && upper > lower*1.25 {
				t.Fatalf("a bucket from %v to %v ns", lower, upper)
			}
			if b.GetCumulativeCount() == 1 {
				found = true
				if float64(v) > upper || (lower > 0 && float64(v) <= lower) {
					t.Fatalf("%d ns is counted from %v to %v", v, lower, upper)
				}
				break
			}
			lower = upper
		}
		if !found && v <= 1<<36 {
			t.Fatalf("%d ns is above all edges", v)
		}
	}
}

func TestCountsAndSums(t *testing.T) {
	var a, b histogram.Histogram
	a.Observe(5_000, 3)
	a.Observe(-7, 1)
	b.ObserveSum(90_000, 30)
	b.ObserveSum(1_000, 0)
	var c histogram.Counts
	c.Add(&a)
	c.Add(&b)
	// Each observation's share of the sum is rounded to 64 ns.
	if c.Count() != 34 || math.Abs(c.Seconds()-105e-6) > 64e-9 {
		t.Errorf("%d values, sum %v", c.Count(), c.Seconds())
	}
	m := metric(t, &c)
	if m.GetSampleCount() != 34 || m.GetSampleSum() != c.Seconds() {
		t.Errorf("the metric has %d values, sum %v", m.GetSampleCount(), m.GetSampleSum())
	}
}

// A run counts what single observations would.
func TestRunCountsTheSame(t *testing.T) {
	var single, joined histogram.Histogram
	run := joined.Run()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		v, n := 64*(1000+rng.Int64N(40_000)), uint64(1+rng.IntN(9)) // multiples of the sum's unit: nothing is rounded
		single.Observe(v, n)
		run.Observe(v, n)
	}
	run.Observe(-1, 2)
	single.Observe(-1, 2)
	run.End()
	run.End()
	var a, b histogram.Counts
	a.Add(&single)
	b.Add(&joined)
	if a != b {
		t.Errorf("%d values of %v s one by one, %d of %v s in a run", a.Count(), a.Seconds(), b.Count(), b.Seconds())
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	var h histogram.Histogram
	if n := testing.AllocsPerRun(100, func() { h.Observe(12_345, 7); h.ObserveSum(12_345, 7) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h histogram.Histogram
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i += 977 {
		h.Observe(i&(1<<24-1), 3)
	}
}
