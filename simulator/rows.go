package simulator

import (
	"math"
	"math/bits"
	"slices"
)

// MessageRow tells how one message reached its subscribers. Latencies count from its intended time.
type MessageRow struct {
	Phase     Phase  `json:"phase"`
	Topic     uint32 `json:"topic"`
	Publisher uint16 `json:"publisher"`
	Sequence  uint64 `json:"sequence"`
	// IntendedNS is the intended time, 0 when the message reached nobody.
	IntendedNS int64 `json:"intended_ns"`
	// Subscribers is how many healthy connections should have it, Count how many do.
	Subscribers int64 `json:"subscribers"`
	Count       int64 `json:"count"`
	// MinNS is the latency of the first and MaxNS of the last arrival, 0 when Count is.
	MinNS int64 `json:"min_ns"`
	MaxNS int64 `json:"max_ns"`
	// Spread counts arrivals by latency: entry i holds those in bucket FirstBucket+i. See [RowBucketBounds].
	FirstBucket int      `json:"first_bucket"`
	Spread      []uint32 `json:"spread"`
}

// Complete says that every subscriber has the message.
func (r *MessageRow) Complete() bool { return r.Count >= r.Subscribers }

// Reached is the latency in nanoseconds within which the given share of the subscribers (of those who should have
// the message, not of those who got it) had it, and whether so many ever had. The answer is exact for the first and
// for the last subscriber, and otherwise the upper edge of a bucket, 19 % wide.
func (r *MessageRow) Reached(share float64) (ns int64, ok bool) {
	need := int64(math.Ceil(share * float64(r.Subscribers)))
	need = max(need, 1)
	switch {
	case need > r.Count:
		return 0, false
	case need == 1:
		return r.MinNS, true
	case need == r.Count:
		return r.MaxNS, true
	}
	var seen int64
	for i, n := range r.Spread {
		if seen += int64(n); seen >= need {
			_, upper := RowBucketBounds(r.FirstBucket + i)
			return min(max(upper, r.MinNS), r.MaxNS), true
		}
	}
	return r.MaxNS, true
}

// Buckets of a row: four to each doubling, from 2^rowLowBits ns (32 us) up; the first takes everything below and the
// last everything above 2^rowHighBits (69 s).
const (
	rowLowBits  = 15
	rowHighBits = 36
	rowBuckets  = 1 + 4*(rowHighBits-rowLowBits) + 1
)

// rowBucket returns the bucket of a latency.
func rowBucket(ns int64) int {
	v := uint64(max(ns, 0))
	exp := bits.Len64(v) - 1
	switch {
	case exp < rowLowBits:
		return 0
	case exp >= rowHighBits:
		return rowBuckets - 1
	}
	return 1 + 4*(exp-rowLowBits) + int(v>>(exp-2)&3)
}

// RowBucketBounds returns the least and the greatest latency, in nanoseconds, of a bucket of [MessageRow.Spread].
func RowBucketBounds(bucket int) (lowest, highest int64) {
	edge := func(b int) int64 {
		exp, quarter := (b-1)/4, int64((b-1)%4)
		return (4 + quarter) << (exp + rowLowBits - 2)
	}
	switch {
	case bucket <= 0:
		return 0, 1<<rowLowBits - 1
	case bucket >= rowBuckets-1:
		return 1 << rowHighBits, math.MaxInt64
	}
	return edge(bucket), edge(bucket+1) - 1
}

// rowKey names a message within a run.
type rowKey struct {
	sequence  uint64
	topic     uint32
	publisher uint16
}

// hash spreads keys evenly, and equally in every process: rows are thinned by it.
func (k rowKey) hash() uint64 {
	// The finaliser of MurmurHash3, over a mix that keeps all fields.
	h := k.sequence*0x9e3779b97f4a7c15 ^ uint64(k.topic)<<16 ^ uint64(k.publisher)
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// row is a MessageRow while it is being counted.
type row struct {
	key      rowKey
	phase    Phase
	intended int64
	count    int64
	min, max int64
	spread   [rowBuckets]uint32
}

func (r *row) add(ns int64) {
	r.count++
	r.min = min(r.min, ns)
	r.max = max(r.max, ns)
	r.spread[rowBucket(ns)]++
}

// rowTable counts rows for one shard, within a bound: once full it keeps every second message only, chosen by hash,
// then every fourth, and so on.
type rowTable struct {
	rows   []row
	index  map[rowKey]int32
	limit  int
	stride uint64 // a power of two
	last   rowKey // of the row added to most recently: subscribers of one message are served together
	lastAt int32
}

func newRowTable(limit int) *rowTable {
	// All of the capacity at once: growing would copy megabytes in the receiving loop, and what is not used takes
	// address space only.
	return &rowTable{rows: make([]row, 0, limit), index: make(map[rowKey]int32), limit: limit, stride: 1, lastAt: -1}
}

// add counts one arrival; ns is not negative.
func (t *rowTable) add(phase Phase, key rowKey, intended, ns int64) {
	if t.lastAt >= 0 && t.last == key {
		t.rows[t.lastAt].add(ns)
		return
	}
	if key.hash()&(t.stride-1) != 0 {
		return
	}
	at, ok := t.index[key]
	if !ok {
		if len(t.rows) >= t.limit {
			t.thin(t.stride * 2)
			if key.hash()&(t.stride-1) != 0 {
				return
			}
		}
		at = int32(len(t.rows))
		t.rows = append(t.rows, row{key: key, phase: phase, intended: intended, min: math.MaxInt64})
		t.index[key] = at
	}
	t.last, t.lastAt = key, at
	t.rows[at].add(ns)
}

// thin keeps the rows of a wider stride. One halving may free nothing when the keys are few and unlucky, so it goes on
// until there is room.
func (t *rowTable) thin(stride uint64) {
	for t.stride < stride || len(t.rows) >= t.limit {
		t.stride *= 2
		t.rows = slices.DeleteFunc(t.rows, func(r row) bool { return r.key.hash()&(t.stride-1) != 0 })
	}
	clear(t.index)
	for i := range t.rows {
		t.index[t.rows[i].key] = int32(i)
	}
	t.lastAt = -1
}

// absorb adds all rows of another table.
func (t *rowTable) absorb(from *rowTable) {
	t.thin(from.stride)
	for i := range from.rows {
		r := &from.rows[i]
		if r.key.hash()&(t.stride-1) != 0 {
			continue
		}
		at, ok := t.index[r.key]
		if !ok {
			// No bound here: the parts are bounded, and their number is that of the shards.
			t.index[r.key] = int32(len(t.rows))
			t.rows = append(t.rows, *r)
			continue
		}
		sum := &t.rows[at]
		sum.count += r.count
		sum.min = min(sum.min, r.min)
		sum.max = max(sum.max, r.max)
		for b, n := range r.spread {
			sum.spread[b] += n
		}
	}
}
