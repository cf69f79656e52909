package gateway

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff gives waits that grow exponentially, each drawn evenly from zero to the
// bound ("full jitter": gateways that lost their manager together do not
// come back together). A bit of the least wait is always there.
type backoff struct {
	least, most, bound time.Duration
}

func newBackoff(least, most time.Duration) *backoff {
	return &backoff{least: least, most: most, bound: least}
}

func (b *backoff) next() time.Duration {
	wait := b.least/2 + rand.N(b.bound)
	b.bound = min(2*b.bound, b.most)
	return min(wait, b.most)
}

func (b *backoff) reset() { b.bound = b.least }

// sleep waits and reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
