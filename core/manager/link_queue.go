package manager

import "sync"

// keepRoom is the most slots of a drained queue that are kept for reuse; what a
// burst grew beyond goes back to the collector.
const keepRoom = 16 << 10

// linkQueue holds the packets that wait for one gateway, bounded in number and
// in bytes. What its writer has taken counts until it is written. Any number of
// goroutines put; one takes. put never blocks.
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
}

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
)

func newLinkQueue(maxMessages, maxBytes int) *linkQueue {
	return &linkQueue{maxMessages: maxMessages, maxBytes: maxBytes, wake: make(chan struct{}, 1)}
}

// put queues one packet, which nobody may change from then on; now is when, or untimed.
func (q *linkQueue) put(packet []byte, now int64) putResult {
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
	q.pending.packets = append(q.pending.packets, packet)
	q.pending.since = append(q.pending.since, now)
	q.messages++
	q.bytes += len(packet)
	if len(q.pending.packets) == 1 {
		q.signal()
	}
	return putQueued
}

func (q *linkQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns all that waits, in order. spare is the slice of an earlier take,
// for reuse. When last is true nothing will come after.
func (q *linkQueue) take(spare waiting) (taken waiting, last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken = q.pending
	if cap(spare.packets) > keepRoom {
		spare = waiting{}
	}
	q.pending = waiting{packets: spare.packets[:0], since: spare.since[:0]}
	return taken, q.shut == queueFlushing
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
