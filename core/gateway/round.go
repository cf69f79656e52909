package gateway

import "time"

// round is one turn of a consumer: it takes what is queued, and writes it. Its figures say
// whether the next turn should begin at once.
//
// A write to a socket costs nearly as much with one message as with twenty. A consumer
// that begins again the moment it is done, and always finds something, therefore spends the
// most CPU on a delivery exactly when there is none to spare: it takes the processors from
// those who read and publish, and so finds little that it could join. One that had
// work for some rounds in a row, and whose messages do join, hence rests after a round,
// the longer the more it would have to do without joining, and then writes more with each write; network cards
// moderate their interrupts in the same way.
type round struct {
	// ended is when the last write of the round before was done, by the gateway's clock.
	ended int64
	// spread is from when the first message of this round came until the last did.
	spread time.Duration
	// busy is for how many rounds in a row the load was at least restLoad.
	busy int
	// load is how many consumers it would take to write the messages of this round one by one: as
	// many rounds of its length, in the time from the end of the round before to the end of this one.
	load float64
	// writes are how many connections were written to in this round, for each topic, and deliveries the messages
	// to them.
	writes, deliveries int
	// full tells that with twice as many messages they would not all have been taken, or
	// joined in one write, or would not have left room for others: a rest saves nothing then.
	full bool
	// took is how long the writes of the round took, without what is done once for a message.
	took time.Duration
}

const (
	// restLeast is the shortest rest: a timer that nothing else wakes is late by up to 1 ms.
	// Messages that came within so little came together: in a window (flushInterval), or
	// from a publisher that sends some at a time. They would have been joined anyway.
	// restMost, and restRounds times the round, bound how much later a rest begins the next round, for those
	// of other topics that the consumer has too.
	restLeast, restMost = time.Millisecond, 5 * time.Millisecond
	restRounds          = 3
	// restAfter is how many busy rounds in a row are not a burst that will be over soon.
	restAfter = 3
	// restLoad is the load from which on a round is a busy one: that of a consumer which writes
	// each message by itself, and does so for half of the time.
	restLoad = 0.5
	// restJoined is from how many deliveries a write on there are messages to be joined.
	// From restEnough on a write costs little beside the bytes that it copies, and a rest
	// would save nothing.
	restJoined, restEnough = 2, 64
)

// begin starts the next round, whose first and last messages came at first and last.
func (r *round) begin(first, last int64) {
	r.spread = time.Duration(last - first)
	r.writes, r.deliveries, r.full = 0, 0, false
}

// end ends the round, whose writes took so long. A rest before it counts like any other time: what came meanwhile
// is in this round.
func (r *round) end(took time.Duration, now int64) {
	r.took = took
	r.load = 0
	if period := now - r.ended; r.writes > 0 && period > 0 {
		r.load = float64(r.deliveries) / float64(r.writes) * float64(r.took) / float64(period)
	}
	if r.load >= restLoad {
		r.busy++
	} else {
		r.busy = 0
	}
	r.ended = now
}

// rest is for how long the consumer should take nothing after the round.
func (r *round) rest() time.Duration {
	if r.busy < restAfter || r.full || r.spread < restLeast ||
		r.deliveries < restJoined*r.writes || r.deliveries >= restEnough*r.writes {
		return 0
	}
	d := min(time.Duration(min(r.load, restRounds)*float64(r.took)), restMost)
	if d < restLeast {
		return 0
	}
	return d
}
