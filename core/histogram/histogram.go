// Package histogram counts times in buckets that are fixed for all: fine enough for a
// p50 or p99 within some 10 %, cheap enough for the path of every message, and in the
// form that Prometheus takes. It owns the buckets, and knows nothing of what is timed.
//
// A value is put into a bucket by its leading bits, as HdrHistogram does: each doubling
// from 1.024 us to 68.7 s has four buckets of equal width, so that no bucket is wider
// than a quarter of its lower edge. The edges are the same in every process, so
// histograms of several servers can be added.
package histogram

import (
	"math/bits"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// split is the buckets of a doubling, as a power of two.
	split = 2
	// least and most are the powers of two, in nanoseconds, that the finite edges span.
	least, most = 10, 36
	// edges is how many finite upper edges there are; one more bucket is without end.
	edges = (most-least)<<split + 1
)

// Histogram counts times. The zero value is empty. It may be used by any number of
// goroutines; those that share one share its cache lines too.
type Histogram struct {
	counts [edges + 1]atomic.Uint64
	sum    atomic.Int64 // in units of 1<<sumUnit nanoseconds
}

// sumUnit makes the sum last: a hundred thousand values a second of 100 ms each would
// fill 63 bits of nanoseconds in eleven days, and these in nearly two years.
const sumUnit = 6

func units(ns int64) int64 { return (ns + 1<<(sumUnit-1)) >> sumUnit }

// Observe counts a time, in nanoseconds, as n values; below 0 it counts as 0.
func (h *Histogram) Observe(ns int64, n uint64) {
	ns = max(ns, 0)
	h.counts[index(ns)].Add(n)
	h.sum.Add(units(ns * int64(n)))
}

// ObserveSum counts n values of which the sum is known, in nanoseconds, and puts them
// all at their mean: for values so close together that one bucket is theirs.
func (h *Histogram) ObserveSum(sum int64, n uint64) {
	switch n {
	case 0:
		return
	case 1:
		h.Observe(sum, 1)
		return
	}
	sum = max(sum, 0)
	h.counts[index(sum/int64(n))].Add(n)
	h.sum.Add(units(sum))
}

// Run counts times one after another, and touches the histogram once for those in a
// row that one bucket takes. It belongs to one goroutine.
type Run struct {
	h      *Histogram
	bucket int
	n      uint64
	sum    int64
}

// Run begins one.
func (h *Histogram) Run() Run { return Run{h: h} }

// Observe counts a time as Histogram.Observe does, at End at the latest.
func (r *Run) Observe(ns int64, n uint64) {
	ns = max(ns, 0)
	if i := index(ns); i != r.bucket {
		r.End()
		r.bucket = i
	}
	r.n += n
	r.sum += ns * int64(n)
}

// End counts what is left.
func (r *Run) End() {
	if r.n > 0 {
		r.h.counts[r.bucket].Add(r.n)
		r.h.sum.Add(units(r.sum))
		r.n, r.sum = 0, 0
	}
}

// index is the bucket of a time: the first whose upper edge is not below it.
func index(ns int64) int {
	if ns <= 1<<least {
		return 0
	}
	v := uint64(ns) - 1 // an edge belongs to the bucket below it, as Prometheus has it
	e := bits.Len64(v) - 1
	if e >= most {
		return edges
	}
	// The split bits behind the leading one tell the quarter.
	return (e-least)<<split + int(v>>(e-split)&(1<<split-1)) + 1
}

// edge is the upper edge of a bucket in nanoseconds.
func edge(i int) int64 {
	e, quarter := i>>split, int64(i&(1<<split-1))
	return 1<<(least+e) + quarter<<(least+e-split)
}

// Counts are what a histogram, or several together, had counted at one moment.
type Counts struct {
	buckets [edges + 1]uint64
	sum     int64
}

// Add adds what a histogram has counted.
func (c *Counts) Add(h *Histogram) {
	for i := range h.counts {
		c.buckets[i] += h.counts[i].Load()
	}
	c.sum += h.sum.Load()
}

// Count is the number of values.
func (c *Counts) Count() (n uint64) {
	for _, b := range c.buckets {
		n += b
	}
	return n
}

// Seconds is the sum of the values.
func (c *Counts) Seconds() float64 { return float64(c.sum) * (1 << sumUnit) / 1e9 }

// Metric is the classic Prometheus histogram, in seconds.
func (c *Counts) Metric(desc *prometheus.Desc, labels ...string) prometheus.Metric {
	cumulative := make(map[float64]uint64, edges)
	n := uint64(0)
	for i := range edges {
		n += c.buckets[i]
		cumulative[float64(edge(i))/1e9] = n
	}
	return prometheus.MustNewConstHistogram(desc, n+c.buckets[edges], c.Seconds(), cumulative, labels...)
}
