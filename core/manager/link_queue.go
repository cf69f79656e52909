package manager

import (
	"slices"
	"sync"
)

// keepRoom is the most slots of a drained queue that are kept for reuse; what a
// burst grew beyond goes back to the collector.
const keepRoom = 16 << 10

// linkQueue holds the packets that wait for one gateway, bounded in number and
// in bytes. What has been taken to be written counts until it is written. Any number
// of goroutines put; one takes. put never blocks.
//
// Who writes to the socket holds the turn, so that packets leave in the order of
// their puts. The writer's goroutine has it from a take that found something until
// one that finds nothing; a put that finds nobody at work may hand it to its caller,
// who then writes that packet itself and ends the turn with sent.
type linkQueue struct {
	maxMessages int
	maxBytes    int
	// wake has a token when there may be something new for the writer: it is
	// buffered by one, so that a put between the writer's look and its wait is seen.
	wake chan struct{}

	mu       sync.Mutex // guards the following
	pending  waiting
	messages int // pending, and taken but not written
	bytes    int
	shut     queueState
	turn     turn
	// direct says that packets may be written by who puts them.
	direct bool
	// wanted says that the writer found the turn with such a one, and wants to be woken.
	wanted bool
	// last is when a packet was put or sent last, by the counters' clock, or untimed.
	last int64
	// settled tells that a turn of a putter has ended.
	settled *sync.Cond
}

// turn says who writes to the socket.
type turn uint8

const (
	turnFree   turn = iota
	turnWriter      // the link's writer goroutine
	turnPutter      // the goroutine whose put was answered with putDirect
)

// waiting are packets in their order. The packets stand alone, since that is what
// writev(2) takes.
type waiting struct {
	packets [][]byte
	// since is when each was queued, by the counters' clock, or untimed.
	since []int64
}

// untimed is when a packet was queued whose wait is not counted.
const untimed = 0

type queueState uint8

const (
	queueOpen     queueState = iota
	queueFlushing            // takes nothing more, what is in it is still written
	queueClosed              // takes nothing more, what is in it will be given up
)

// putResult is what became of a packet.
type putResult uint8

const (
	putQueued putResult = iota
	putShut             // the queue takes nothing more
	putFull             // this packet was one too many; the queue takes nothing more
	putDirect           // counted, and the caller has the turn to write it: sent must follow
)

// directGap is for how long a link must have been quiet before a packet, in
// nanoseconds and for each link that the packet goes to, for its publisher to write
// it. A write takes some 10 us of the publisher's time and waking the writer rather
// more; but a publisher that is never done with writing leaves nothing to be joined.
const directGap = 25_000

// directBytes is the largest packet that its publisher writes: the kernel copies it
// meanwhile, and a larger one would not fit into a socket's buffer at rest.
const directBytes = 32 << 10

func newLinkQueue(maxMessages, maxBytes int) *linkQueue {
	q := &linkQueue{maxMessages: maxMessages, maxBytes: maxBytes, wake: make(chan struct{}, 1)}
	q.settled = sync.NewCond(&q.mu)
	return q
}

// put queues one packet, which nobody may change from then on; now is when, or
// untimed. The packet is one to so many links that the caller puts it to; 0 says that
// the caller does not write. After putDirect the caller writes it, under no lock.
func (q *linkQueue) put(packet []byte, now int64, links int) putResult {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shut != queueOpen {
		return putShut
	}
	if q.messages >= q.maxMessages || q.bytes+len(packet) > q.maxBytes {
		// No further put may succeed: the link would have a gap with messages
		// after it.
		q.shut = queueClosed
		return putFull
	}
	q.messages++
	q.bytes += len(packet)
	if q.direct && q.turn == turnFree && len(q.pending.packets) == 0 && links > 0 &&
		len(packet) <= directBytes && now-q.last >= directGap*int64(links) {
		q.turn = turnPutter
		return putDirect
	}
	q.last = max(q.last, now)
	q.pending.packets = append(q.pending.packets, packet)
	q.pending.since = append(q.pending.since, now)
	if len(q.pending.packets) == 1 && q.turn == turnFree {
		q.signal()
	}
	return putQueued
}

// sent ends the turn of putDirect: n bytes of the packet have left, at done by the
// counters' clock. The rest, if any, is the first that the writer takes.
func (q *linkQueue) sent(packet []byte, n int, put, done int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.turn = turnFree
	q.last = max(q.last, done)
	q.bytes -= n
	if n == len(packet) {
		q.messages--
	} else {
		q.pending.packets = slices.Insert(q.pending.packets, 0, packet[n:])
		q.pending.since = slices.Insert(q.pending.since, 0, put)
	}
	if q.wanted || len(q.pending.packets) > 0 || q.shut == queueFlushing {
		q.wanted = false
		q.signal()
	}
	q.settled.Broadcast()
}

// allowDirect lets those who put write from now on.
func (q *linkQueue) allowDirect() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.direct = true
}

// forbidDirect lets nobody who puts write any more, and returns when nobody does.
func (q *linkQueue) forbidDirect() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.direct = false
	for q.turn == turnPutter {
		q.settled.Wait()
	}
}

func (q *linkQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns all that waits, in order, and with it the turn; with nothing it ends
// the writer's turn. spare is the slice of an earlier take, for reuse. When last is
// true nothing will come after.
func (q *linkQueue) take(spare waiting) (taken waiting, last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if cap(spare.packets) > keepRoom {
		spare = waiting{}
	}
	spare = waiting{packets: spare.packets[:0], since: spare.since[:0]}
	if q.turn == turnPutter {
		q.wanted = true
		return spare, false
	}
	q.turn = turnFree
	if len(q.pending.packets) > 0 {
		q.turn = turnWriter
	}
	taken, q.pending = q.pending, spare
	return taken, q.shut == queueFlushing
}

// takeTurn gets the turn for the writer, for a packet that is not in the queue. It
// does not when somebody else has it, or when something waits, which may be the rest
// of a packet that was cut: the writer is woken for either.
func (q *linkQueue) takeTurn() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.turn == turnPutter {
		q.wanted = true
		return false
	}
	if len(q.pending.packets) > 0 {
		return false
	}
	q.turn = turnWriter
	return true
}

// written tells that some of what was taken has left.
func (q *linkQueue) written(messages, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages -= messages
	q.bytes -= bytes
}

// flush lets no more in; the writer still writes what is there.
func (q *linkQueue) flush() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shut == queueOpen {
		q.shut = queueFlushing
	}
	q.signal()
}

// close gives up what has not been written and tells how many packets that were.
func (q *linkQueue) close() (lost int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lost = q.messages
	q.pending, q.messages, q.bytes, q.shut = waiting{}, 0, 0, queueClosed
	return lost
}

// size tells what waits.
func (q *linkQueue) size() (messages, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.messages, q.bytes
}
