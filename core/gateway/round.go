package gateway

import "time"

// round is one turn of a consumer: it takes what is queued, and writes it. Its figures say
// whether the next turn should begin at once.
//
// A write to a socket costs nearly as much with one message as with twenty. A consumer
// that begins again the moment it is done, and always finds something, therefore spends the
// most CPU on a delivery exactly when there is none to spare: it takes the processors from
// those who read and publish, and so finds little that it could join. One that had
// work for some rounds in a row, and whose messages do join, hence rests after a round
// for about as long as the round took, and then writes more with each write; network cards
// moderate their interrupts in the same way. The less it is busy the less it rests, and one
// that waits before each round for as long as the last one took does not at all.
type round struct {
	// ended is when the last write of the round before was done, by the gateway's clock.
	ended int64
	// waited is from then until the first message of this round came; 0 if it had come.
	waited time.Duration
	// spread is from when the first message came until the last did.
	spread time.Duration
	// busy is for how many rounds in a row the wait was shorter than the round before it.
	busy int
	// writes to connections there were in this round, with so many deliveries.
	writes, deliveries int
	// full tells that with twice as many messages they would not all have been taken, or
	// joined in one write, or would not have left room for others: a rest saves nothing then.
	full bool
	// took is how long the round was.
	took time.Duration
}

const (
	// restLeast is the shortest rest: a timer that nothing else wakes is late by up to 1 ms.
	// Messages that came within so little came together: in a window (flushInterval), or
	// from a publisher that sends some at a time. They would have been joined anyway.
	// restMost bounds how much later a rest begins the next round, for those of other topics that
	// the consumer has too.
	restLeast, restMost = time.Millisecond, 5 * time.Millisecond
	// restAfter is how many busy rounds in a row are not a burst that will be over soon.
	restAfter = 3
	// restJoined is from how many deliveries a write on there are messages to be joined.
	// From restEnough on a write costs little beside the bytes that it copies, and a rest
	// would save nothing.
	restJoined, restEnough = 2, 64
)

// begin starts the next round, whose first and last messages came at first and last.
func (r *round) begin(first, last int64) {
	r.waited, r.spread = max(time.Duration(first-r.ended), 0), time.Duration(last-first)
	if r.waited < r.took {
		r.busy++
	} else {
		r.busy = 0
	}
	r.writes, r.deliveries, r.full = 0, 0, false
}

// end ends the round, which began at began.
func (r *round) end(began, now int64) { r.took, r.ended = time.Duration(now-began), now }

// rest is for how long the consumer should take nothing after the round.
func (r *round) rest() time.Duration {
	if r.busy < restAfter || r.full || r.spread < restLeast ||
		r.deliveries < restJoined*r.writes || r.deliveries >= restEnough*r.writes {
		return 0
	}
	d := min(r.took-r.waited, restMost)
	if d < restLeast {
		return 0
	}
	return d
}
