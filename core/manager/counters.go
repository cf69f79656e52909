package manager

import (
	"sync/atomic"
	"time"

	"firetower/core/histogram"
)

// counters are what a manager has counted since it began. They are the one
// source of the metrics and of the dashboard.
type counters struct {
	publishes  map[Via]*atomic.Uint64 // complete and never changed, as the other maps
	queued     atomic.Uint64          // messages put into a link's queue
	deliveries atomic.Uint64          // subscribers that the publishes addressed
	direct     atomic.Uint64          // of queued, those that were written by who published them
	drops      map[DropReason]*atomic.Uint64
	evictions  map[EvictReason]*atomic.Uint64
	linkBytes  atomic.Uint64
	missed     atomic.Uint64

	// route is from a message's arrival until it was handed to the link queues of its
	// gateways, link from there until it was written to the gateway's socket. A message
	// counts once for each gateway in either, as long as it gets that far.
	route, link histogram.Histogram
	base        time.Time // of now
}

// now is a reading of the monotonic clock in nanoseconds; never 0.
func (c *counters) now() int64 { return int64(time.Since(c.base)) + 1 }

func newCounters() *counters {
	return &counters{
		base:      time.Now(),
		publishes: countersFor(vias()),
		drops:     countersFor(dropReasons()),
		evictions: countersFor(evictReasons()),
	}
}

func countersFor[K comparable](keys []K) map[K]*atomic.Uint64 {
	m := make(map[K]*atomic.Uint64, len(keys))
	for _, k := range keys {
		m[k] = new(atomic.Uint64)
	}
	return m
}
