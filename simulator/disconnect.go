package simulator

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
)

// resetByPlan is how [Fleet.Disconnect] ends connections, among the reasons of [Report.Closed].
const resetByPlan = "reset by plan"

// Disconnect resets (RST) the given share of the healthy connections at once, as a network of clients does that has
// crashed; the seed chooses which. It returns how many those were: connections that are down already are left out.
// Their ends stand in [Report.Closed] under "reset by plan". It may be called from any goroutine after Connect and
// before Finish.
func (f *Fleet) Disconnect(ctx context.Context, share float64, seed uint64) (n int, err error) {
	if math.IsNaN(share) || share < 0 || share > 1 {
		return 0, fmt.Errorf("simulator: disconnect: share must be from 0 to 1, got %v", share)
	}
	if err := f.require(stateConnected); err != nil {
		return 0, err
	}
	return f.engine.disconnect(ctx, chooseShare(f.config.FirstIndex, f.config.Healthy(), share, seed))
}

// chooseShare draws a share of n connections, the first of which has the given index in the whole run. It returns their
// indexes within the fleet, in rising order.
func chooseShare(first, n int, share float64, seed uint64) []int {
	type ticket struct {
		lot  uint64
		conn int
	}
	tickets := make([]ticket, n)
	for i := range tickets {
		tickets[i] = ticket{draw(seed, uint64(first+i)), i}
	}
	slices.SortFunc(tickets, func(a, b ticket) int { return cmp.Or(cmp.Compare(a.lot, b.lot), cmp.Compare(a.conn, b.conn)) })
	chosen := make([]int, int(math.Round(share*float64(n))))
	for i := range chosen {
		chosen[i] = tickets[i].conn
	}
	slices.Sort(chosen)
	return chosen
}
