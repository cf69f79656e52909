package client

import "sync"

// item is what waits for the dispatcher: a message, or an event when event is not nil.
type item struct {
	event *Event
	sub   *subscription
	msg   Message
}

// size is what an item counts for against QueueBytes.
func (i *item) size() int { return len(i.msg.Topic) + len(i.msg.Data) }

// queue is the bounded way from the connections to the dispatcher. There is one consumer; what is
// pushed by one goroutine comes out in its order.
type queue struct {
	maxMessages, maxBytes int
	policy                QueuePolicy

	// room and ready hold a token when there may be room for a waiting push, or something to pop.
	room, ready chan struct{}

	mu sync.Mutex // guards the following
	// items[head:] wait; messages and bytes count the messages among them.
	items           []item
	head            int
	messages, bytes int
	// droppedHead were dropped before items[head], droppedTail after the last item; neither has been
	// told to the application yet.
	droppedHead, droppedTail uint64
	dropped                  uint64
	closed                   bool
}

func newQueue(maxMessages, maxBytes int, policy QueuePolicy) *queue {
	return &queue{
		maxMessages: maxMessages, maxBytes: maxBytes, policy: policy,
		room: make(chan struct{}, 1), ready: make(chan struct{}, 1),
	}
}

// push puts an item at the end. A message follows the policy; an event always waits for room,
// since nobody reads from a connection meanwhile. push gives up when abort is closed.
func (q *queue) push(it item, abort <-chan struct{}) {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return
		}
		if q.fitsLocked(&it) {
			q.appendLocked(it)
			more := q.fitsLocked(&item{})
			q.mu.Unlock()
			signal(q.ready)
			if more { // another push may be waiting for the same token
				signal(q.room)
			}
			return
		}
		if it.event == nil && q.policy != QueueBlock {
			q.makeRoomLocked(it)
			q.mu.Unlock()
			signal(q.ready)
			return
		}
		q.mu.Unlock()
		select {
		case <-q.room:
		case <-abort:
			return
		}
	}
}

// fitsLocked tells whether the bounds allow it; one that is larger than they are goes in alone.
func (q *queue) fitsLocked(it *item) bool {
	waiting := len(q.items) - q.head
	return waiting == 0 || waiting < q.maxMessages && q.bytes+it.size() <= q.maxBytes
}

// makeRoomLocked applies a dropping policy to a message that does not fit.
func (q *queue) makeRoomLocked(it item) {
	if q.policy == QueueDropNewest {
		q.droppedTail++
		q.dropped++
		return
	}
	// Events keep their places; only messages are dropped.
	waiting := len(q.items) - q.head
	kept := q.items[q.head:q.head]
	for _, old := range q.items[q.head:] {
		if old.event == nil && (waiting >= q.maxMessages || q.bytes+it.size() > q.maxBytes) {
			waiting--
			q.dropLocked(&old)
			continue
		}
		kept = append(kept, old)
	}
	clear(q.items[q.head+len(kept):])
	q.items = q.items[:q.head+len(kept)]
	q.appendLocked(it)
}

// dropLocked counts a message that waited and is dropped in front of what is left.
func (q *queue) dropLocked(old *item) {
	q.messages--
	q.bytes -= old.size()
	q.droppedHead++
	q.dropped++
}

// appendLocked puts the item in, behind the news of what was dropped in front of it.
func (q *queue) appendLocked(it item) {
	if q.head > 0 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	if q.droppedTail > 0 {
		q.items = append(q.items, item{event: &Event{Kind: EventDropped, Dropped: q.droppedTail}})
		q.droppedTail = 0
	}
	q.items = append(q.items, it)
	if it.event == nil {
		q.messages++
		q.bytes += it.size()
	}
}

// pop waits for the next item. ok is false when the queue is closed and empty.
func (q *queue) pop() (it item, ok bool) {
	for {
		q.mu.Lock()
		it, ok = q.takeLocked()
		closed := q.closed
		q.mu.Unlock()
		if ok {
			signal(q.room)
			return it, true
		}
		if closed {
			return item{}, false
		}
		<-q.ready
	}
}

func (q *queue) takeLocked() (item, bool) {
	if n := q.droppedHead; n > 0 {
		q.droppedHead = 0
		return item{event: &Event{Kind: EventDropped, Dropped: n}}, true
	}
	if q.head == len(q.items) {
		if n := q.droppedTail; n > 0 {
			q.droppedTail = 0
			return item{event: &Event{Kind: EventDropped, Dropped: n}}, true
		}
		return item{}, false
	}
	it := q.items[q.head]
	q.items[q.head] = item{}
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	if it.event == nil {
		q.messages--
		q.bytes -= it.size()
	}
	return it, true
}

// close ends the queue with a last event, whatever the bounds: what waits is still popped, and
// nothing more goes in.
func (q *queue) close(last Event) {
	q.mu.Lock()
	if !q.closed {
		q.appendLocked(item{event: &last})
		q.closed = true
	}
	q.mu.Unlock()
	signal(q.ready)
	signal(q.room)
}

// discard drops the messages that wait, so that the consumer of a closed queue ends soon.
func (q *queue) discard() {
	q.mu.Lock()
	defer q.mu.Unlock()
	kept := q.items[q.head:q.head]
	for _, old := range q.items[q.head:] {
		if old.event != nil {
			kept = append(kept, old)
			continue
		}
		q.dropLocked(&old)
	}
	clear(q.items[q.head+len(kept):])
	q.items = q.items[:q.head+len(kept)]
}

func (q *queue) counts() (waiting int, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.messages, q.dropped
}

// signal leaves a token in a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
