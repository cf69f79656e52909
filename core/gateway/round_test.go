package gateway_test

import (
	"testing"
	"testing/synctest"
	"time"

	"firetower/core/gateway"
)

// A consumer that is never without work, and whose messages join, rests for as long as it
// wrote; every other one begins its next round at once.
func TestRestsWhenSaturated(t *testing.T) {
	const ms = time.Millisecond
	saturated := gateway.Round{Waited: 0, Before: 3 * ms, Items: 8, Topics: 1, Writes: 500, Took: 2 * ms}
	for _, tt := range []struct {
		name    string
		change  func(r *gateway.Round)
		waiting int
		want    time.Duration
	}{
		{"saturated", func(*gateway.Round) {}, 8, 2 * ms},
		{"a long round", func(r *gateway.Round) { r.Took = 50 * ms }, 8, 5 * ms},
		{"nothing waits now", func(*gateway.Round) {}, 0, 2 * ms},
		{"it waited for less than it wrote", func(r *gateway.Round) { r.Waited = 3*ms - 1 }, 8, 2 * ms},
		{"it waited for as long as it wrote", func(r *gateway.Round) { r.Waited = 3 * ms }, 8, 0},
		{"the first round", func(r *gateway.Round) { r.Before = 0 }, 8, 0},
		{"two messages to each", func(r *gateway.Round) { r.Items, r.Topics = 20, 10 }, 8, 2 * ms},
		{"fewer than two to each", func(r *gateway.Round) { r.Items, r.Topics = 19, 10 }, 8, 0},
		{"many to each", func(r *gateway.Round) { r.Items = 63 }, 8, 2 * ms},
		{"so many that more save nothing", func(r *gateway.Round) { r.Items = 64 }, 8, 0},
		{"few writes", func(r *gateway.Round) { r.Writes = 63 }, 8, 0},
		{"half of what fits waits", func(*gateway.Round) {}, 50, 2 * ms},
		{"more than half of what fits waits", func(*gateway.Round) {}, 51, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				round := saturated
				tt.change(&round)
				if got := round.Rest(tt.waiting); got != tt.want {
					t.Errorf("it rests for %v, want %v", got, tt.want)
				}
			})
		})
	}
}
