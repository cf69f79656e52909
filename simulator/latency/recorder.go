// Package latency records durations into HDR histograms of one fixed geometry, merges them without loss and encodes
// them for result files. It owns the geometry, the bookkeeping around it and the two encodings (JSON and .hlog); it
// knows nothing of clients, messages, phases or files, and imports no package of this project.
//
// A [Recorder] has exactly one writer: it has no lock and no atomics, because it stands in the receiving loop of the
// simulator. Each shard owns its recorders, and whoever wants the whole merges them after the shards have ended.
//
// What is not a latency is never hidden in the histogram:
//
//   - a negative duration is counted ([Recorder.Negative]) and recorded nowhere, since it is a fault of a clock;
//   - a duration above [Highest] is recorded as [Highest] and counted ([Recorder.Overflow]), so that the tail keeps its
//     weight, while [Recorder.Max] keeps the true value;
//   - minimum, maximum and sum are kept beside the buckets, exactly: a histogram knows only the edges of its buckets.
package latency

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The one geometry of this project. All recorders share it, so that a merge moves counts from bucket to equal bucket.
// A recorder of it takes 144 KiB.
const (
	// Lowest is the lowest discernible value, in nanoseconds: values below are told apart no better than this.
	Lowest int64 = 1_000
	// Highest is the highest value that is recorded as itself, in nanoseconds (60 s).
	Highest int64 = 60_000_000_000
	// Digits is the number of significant decimal digits that every recorded value keeps.
	Digits = 3
)

// ErrGeometry says that a histogram was made with bounds or digits other than this package's.
var ErrGeometry = errors.New("histogram geometry differs")

// ErrDropped says that a merge could not place every count. It cannot happen between recorders of equal geometry; it
// is checked all the same, since the library reports it only in a return value.
var ErrDropped = errors.New("histogram merge dropped counts")

// Recorder counts durations in nanoseconds. One goroutine writes it; reading it needs that the writer has stopped.
// The zero value is not usable; see [NewRecorder].
type Recorder struct {
	hist     *hdrhistogram.Histogram
	min, max int64  // exact, of what was recorded; meaningful when count() > 0
	sumHi    uint64 // the sum is 128 bits wide: 10^9 values of 60 s do not fit into 64
	sumLo    uint64
	overflow int64
	negative int64
}

// NewRecorder returns an empty recorder.
func NewRecorder() *Recorder {
	return &Recorder{hist: hdrhistogram.New(Lowest, Highest, Digits), min: math.MaxInt64}
}

// Record counts one duration of ns nanoseconds. It allocates nothing.
func (r *Recorder) Record(ns int64) {
	r.RecordN(ns, 1)
}

// RecordN counts n durations of ns nanoseconds each; n below 1 counts nothing. It allocates nothing.
func (r *Recorder) RecordN(ns, n int64) {
	if n < 1 {
		return
	}
	if ns < 0 {
		r.negative += n
		return
	}
	clamped := ns
	if ns > Highest {
		clamped = Highest
		r.overflow += n
	}
	if err := r.hist.RecordValues(clamped, n); err != nil {
		// Only reachable once the total would pass 2^63 counts.
		r.overflow += n
		return
	}
	r.min = min(r.min, ns)
	r.max = max(r.max, ns)
	hi, lo := bits.Mul64(uint64(ns), uint64(n))
	var carry uint64
	r.sumLo, carry = bits.Add64(r.sumLo, lo, 0)
	r.sumHi, _ = bits.Add64(r.sumHi, hi, carry)
}

// Count is the number of durations recorded, those clamped to [Highest] included and negative ones not.
func (r *Recorder) Count() int64 { return r.hist.TotalCount() }

// Overflow is the number of durations that were above [Highest].
func (r *Recorder) Overflow() int64 { return r.overflow }

// Negative is the number of durations below zero, which are in no other figure.
func (r *Recorder) Negative() int64 { return r.negative }

// Min is the exact least duration in nanoseconds, 0 when nothing was recorded.
func (r *Recorder) Min() int64 {
	if r.Count() == 0 {
		return 0
	}
	return r.min
}

// Max is the exact greatest duration in nanoseconds, beyond [Highest] too; 0 when nothing was recorded.
func (r *Recorder) Max() int64 { return r.max }

// Sum is the exact sum of the durations, in nanoseconds.
func (r *Recorder) Sum() *big.Int {
	sum := new(big.Int).SetUint64(r.sumHi)
	return sum.Lsh(sum, 64).Or(sum, new(big.Int).SetUint64(r.sumLo))
}

// Mean is the exact mean in nanoseconds, 0 when nothing was recorded.
func (r *Recorder) Mean() float64 {
	n := r.Count()
	if n == 0 {
		return 0
	}
	return (math.Ldexp(float64(r.sumHi), 64) + float64(r.sumLo)) / float64(n)
}

// Percentile returns the value in nanoseconds that p per cent of the durations do not exceed, by nearest rank, within
// three digits: the upper edge of the bucket, but never outside the exact minimum and maximum. p is from 0 to 100;
// Percentile(100) is [Recorder.Max]. An empty recorder answers 0.
func (r *Recorder) Percentile(p float64) int64 {
	n := r.Count()
	if n == 0 {
		return 0
	}
	if p >= 100 {
		return r.max
	}
	return min(max(r.hist.ValueAtPercentile(p), r.min), r.max)
}

// CountAtOrBelow returns how many durations fell into buckets that do not lie above that of ns.
func (r *Recorder) CountAtOrBelow(ns int64) int64 {
	var n int64
	for _, bar := range r.hist.Distribution() {
		if bar.From > ns {
			break
		}
		n += bar.Count
	}
	return n
}

// Merge adds all of from, its negative and overflow counts included, to r. Both must have this package's geometry
// ([ErrGeometry]), and every count must find its bucket ([ErrDropped]).
func (r *Recorder) Merge(from *Recorder) error {
	if err := checkGeometry(from.hist); err != nil {
		return err
	}
	if dropped := r.hist.Merge(from.hist); dropped != 0 {
		return fmt.Errorf("%w: %d of %d", ErrDropped, dropped, from.Count())
	}
	r.overflow += from.overflow
	r.negative += from.negative
	if from.Count() == 0 {
		return nil
	}
	r.min = min(r.min, from.min)
	r.max = max(r.max, from.max)
	var carry uint64
	r.sumLo, carry = bits.Add64(r.sumLo, from.sumLo, 0)
	r.sumHi, _ = bits.Add64(r.sumHi, from.sumHi, carry)
	return nil
}

// Merged returns the sum of several recorders as a new one. Nil entries are skipped.
func Merged(parts ...*Recorder) (*Recorder, error) {
	whole := NewRecorder()
	for i, part := range parts {
		if part == nil {
			continue
		}
		if err := whole.Merge(part); err != nil {
			return nil, fmt.Errorf("merge recorder %d: %w", i, err)
		}
	}
	return whole, nil
}

// Clone returns a copy that shares nothing with r.
func (r *Recorder) Clone() *Recorder {
	clone := *r
	clone.hist = r.hist.Clone()
	return &clone
}

// Reset forgets everything recorded.
func (r *Recorder) Reset() {
	r.hist.Reset()
	*r = Recorder{hist: r.hist, min: math.MaxInt64}
}

// Bucket is one bucket of a histogram that is not empty.
type Bucket struct {
	// FromNS and ToNS are the least and the greatest value of the bucket, in nanoseconds.
	FromNS, ToNS int64
	// Count is how many durations fell into it.
	Count int64
}

// Buckets returns the buckets that hold anything, in rising order: what a chart or a significance test works on.
func (r *Recorder) Buckets() []Bucket {
	var out []Bucket
	for _, bar := range r.hist.Distribution() {
		if bar.Count > 0 {
			out = append(out, Bucket{FromNS: bar.From, ToNS: bar.To, Count: bar.Count})
		}
	}
	return out
}

func checkGeometry(h *hdrhistogram.Histogram) error {
	lowest, highest, digits := h.LowestTrackableValue(), h.HighestTrackableValue(), h.SignificantFigures()
	if lowest != Lowest || highest != Highest || digits != Digits {
		return fmt.Errorf("%w: %d..%d ns with %d digits, want %d..%d with %d", ErrGeometry,
			lowest, highest, digits, Lowest, Highest, Digits)
	}
	return nil
}
