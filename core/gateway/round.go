package gateway

import "time"

// round is one turn of a consumer: it takes what is queued, and writes it. Its figures say
// whether the next turn should begin at once.
//
// A write to a socket costs nearly as much with one message as with twenty. A consumer
// that begins again the moment it is done, and always finds something, therefore spends the
// most CPU on a delivery exactly when there is none to spare: it takes the processors from
// those who read and publish, and so finds little that it could join. One that is busy
// most of the time, and whose messages do join, hence rests after a round for as long as
// the round took, and then writes more with each write; network cards moderate their
// interrupts in the same way. One that waits for work at least as long as it works never
// rests: below saturation no message is later for it.
type round struct {
	busy   bool          // the wait for work before it was shorter than the round before
	items  int           // messages taken
	topics int           // how many topics they are of
	writes int           // connections written to
	took   time.Duration // from the first write to the last
}

const (
	// maxRest bounds what a rest adds to the latency of a message.
	maxRest = 5 * time.Millisecond
	// restWrites is how many writes are worth a rest, which costs a timer and a wake-up.
	restWrites = 64
	// restJoined is how many messages of a topic there must have been in a round, by the
	// mean, for a rest to let more of them join. Where there are restEnough a write costs
	// little beside the bytes that it copies, and a rest would save nothing.
	restJoined, restEnough = 2, 64
)

// begin starts the next round, before which the consumer waited for so long.
func (r *round) begin(waited time.Duration) { *r = round{busy: waited < r.took} }

// rest is for how long the consumer should take nothing after the round.
func (r *round) rest() time.Duration {
	if !r.busy || r.writes < restWrites || r.items < restJoined*r.topics || r.items >= restEnough*r.topics {
		return 0
	}
	return min(r.took, maxRest)
}
