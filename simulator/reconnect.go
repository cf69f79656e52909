package simulator

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// ReconnectPlan says what a healthy connection does when it ends after it had subscribed: it dials again, subscribes to
// the same topics, and goes on with its ledger. What it missed meanwhile is lost. A connection that never got to its
// first subscription is not tried again.
type ReconnectPlan struct {
	// Enabled asks for it. Default false: a connection that has ended stays so.
	Enabled bool `json:"enabled"`
	// After is the wait before the first attempt; each further one waits twice as long as the one before it, from when
	// that failed. Default 100ms.
	After time.Duration `json:"after"`
	// Most bounds the wait. Default 5s.
	Most time.Duration `json:"most"`
	// Jitter is the share of a wait that is drawn: a wait w becomes one from w*(1-Jitter) to w. Clients that were lost
	// together must not come back together. Default 0.5.
	Jitter float64 `json:"jitter"`
	// Seed draws it, together with the connection's index and the number of the attempt. Default 0.
	Seed uint64 `json:"seed"`
}

func (p ReconnectPlan) validate() error {
	if !p.Enabled {
		return nil
	}
	var problems []error
	if p.After <= 0 {
		problems = append(problems, fmt.Errorf("reconnect.after: must be > 0, got %v", p.After))
	}
	if p.Most < p.After {
		problems = append(problems, fmt.Errorf("reconnect.most: must be >= reconnect.after (%v), got %v", p.After, p.Most))
	}
	if math.IsNaN(p.Jitter) || p.Jitter < 0 || p.Jitter > 1 {
		problems = append(problems, fmt.Errorf("reconnect.jitter: must be from 0 to 1, got %v", p.Jitter))
	}
	return errors.Join(problems...)
}

// wait is how long connection conn, counted over the whole run, waits before its n-th attempt, counted from 1.
func (p ReconnectPlan) wait(conn, n int) time.Duration {
	w := p.After
	for ; n > 1 && w < p.Most; n-- {
		w *= 2
	}
	w = min(w, p.Most)
	return w - time.Duration(p.Jitter*float64(w)*unitDraw(p.Seed, uint64(conn), uint64(n)))
}

// comeback is what a connection that has been lost needs until it is back.
type comeback struct {
	lostAt  int64 // when it ended, ns
	attempt int   // the newest one, counted from 1
}

// url is the index of the server that a connection, counted over the whole run, dials: its own, or when it has been
// lost one further with each attempt.
func (b *comeback) url(conn, urls int) int {
	if b == nil {
		return conn % urls
	}
	return (conn + b.attempt) % urls
}

// draw makes one number of several, spread evenly over 64 bits: the seeded choices of a plan must not depend on the
// order in which they are made.
func draw(seed uint64, of ...uint64) uint64 {
	// The finaliser of SplitMix64, once for each part.
	h := seed
	for _, v := range of {
		h += v*0x9e3779b97f4a7c15 + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// unitDraw is a draw from 0 up to, and without, 1.
func unitDraw(seed uint64, of ...uint64) float64 { return float64(draw(seed, of...)>>11) / (1 << 53) }
