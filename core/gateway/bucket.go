package gateway

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"firetower/core/rawio"
)

// Bucket holds a share of the gateway's connections and writes to them. Its
// consumers are independent of every other Bucket's.
type Bucket struct {
	index int
	lanes []*lane

	mu    sync.Mutex // guards the following
	slots [heartbeatSlots][]*FireTower
	size  int
}

func newBucket(index int, m *TowerManager) *Bucket {
	b := &Bucket{index: index, lanes: make([]*lane, m.gateway.opts.Bucket.ConsumerNum)}
	for i := range b.lanes {
		b.lanes[i] = newLane(m)
	}
	return b
}

// add takes a connection into the Bucket's share.
func (b *Bucket) add(t *FireTower) {
	slot := t.id % heartbeatSlots
	b.mu.Lock()
	t.slotPos = int32(len(b.slots[slot]))
	b.slots[slot] = append(b.slots[slot], t)
	b.size++
	b.mu.Unlock()
}

func (b *Bucket) remove(t *FireTower) {
	slot := t.id % heartbeatSlots
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.slotPos < 0 {
		return
	}
	s := b.slots[slot]
	last := len(s) - 1
	s[t.slotPos] = s[last]
	s[t.slotPos].slotPos = t.slotPos
	s[last] = nil
	b.slots[slot] = s[:last]
	t.slotPos = -1
	b.size--
}

// appendSlot appends the connections of one heartbeat slot to dst.
func (b *Bucket) appendSlot(dst []*FireTower, slot int) []*FireTower {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append(dst, b.slots[slot]...)
}

// item is a push for the subscribers that one Bucket has of its topic.
type item struct {
	push *push
	list *subscriberList
}

// lane is one consumer of a Bucket with its buffChan: a first-in-first-out
// queue of items. The first take of them are the buffChan proper, which the
// consumer empties at once; what lies behind waits centrally, counted against
// CentralChanCount, so that one full lane delays no other.
//
// Whoever holds the lane writes: its consumer, from when it has taken something until it
// asks for more, or, while nothing waits, a dispatcher that has borrowed it.
type lane struct {
	central *centralChan
	metrics *metrics
	stages  *laneStages
	take    int
	depth   atomic.Int64 // items queued, for the metrics
	writer  batchWriter  // the holder's
	// lent are lanes that a dispatcher has borrowed together, this one first; the holder's.
	lent []*lane
	// lists are the subscribers that the holder writes to.
	lists []*subscriberList
	round round // the consumer's

	mu     sync.Mutex // guards the following
	filled sync.Cond
	items  []item
	head   int
	held   bool
	closed bool
}

func newLane(m *TowerManager) *lane {
	o := &m.gateway.opts
	l := &lane{central: &m.central, metrics: m.metrics, stages: new(laneStages), take: o.Bucket.BuffChanCount}
	l.writer = batchWriter{
		joinBytes: o.JoinBytes, joinMessages: o.JoinMessages, rings: &m.rings,
		metrics: m.metrics, clock: &m.gateway.clock, stages: l.stages, compressor: m.gateway.compressor,
	}
	l.filled.L = &l.mu
	return l
}

// push queues consecutive messages of a topic for its subscribers in the lane's Bucket. It
// reports false when the consumer takes nothing more.
func (l *lane) push(list *subscriberList, pushes []*push) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	wake := l.head == len(l.items) && !l.held
	for _, p := range pushes {
		l.items = append(l.items, item{push: p, list: list})
	}
	l.mu.Unlock()
	l.depth.Add(int64(len(pushes)))
	if wake {
		l.filled.Signal()
	}
	return true
}

// borrow gives the lane to a dispatcher that would write by itself: only when nothing
// waits and nobody writes, so that what it writes is in its order.
func (l *lane) borrow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held || l.closed || l.head < len(l.items) {
		return false
	}
	l.held = true
	return true
}

// giveBack ends a borrow.
func (l *lane) giveBack() {
	l.mu.Lock()
	l.held = false
	wake := l.head < len(l.items) || l.closed
	l.mu.Unlock()
	if wake {
		l.filled.Signal()
	}
}

// lend adds a lane that the dispatcher has borrowed too, or l itself, with its subscribers
// of the topic, to what writeLent writes. The dispatcher has borrowed l.
func (l *lane) lend(other *lane, list *subscriberList) {
	l.lent = append(l.lent, other)
	l.lists = append(l.lists, list)
}

// writeLent writes messages of a topic, of so many bytes in all, to the subscribers of all
// lanes that were lent to l, of which l is the first, and gives the lanes back. The
// dispatcher has counted the messages against CentralChanCount, once for each lane. streak is
// that of the dispatcher, where it knows one (see writing).
func (l *lane) writeLent(pushes []*push, size int, streak *int) {
	lent := l.lent
	l.writer.now = l.writer.clock.now()
	if streak != nil {
		l.writer.streak = *streak
	}
	l.writer.deliver(pushes, l.lists)
	if streak != nil {
		*streak = l.writer.streak
	}
	l.central.release(len(pushes)*len(lent), size*len(lent))
	clear(l.lists)
	l.lent, l.lists = lent[:0], l.lists[:0]
	for _, other := range slices.Backward(lent) { // l itself, whose lists these are, last
		other.giveBack()
	}
}

// next gives the lane back, waits for items and moves at most take of them into batch,
// which is what the last call returned. It returns an empty batch once the lane is closed
// and empty; otherwise the caller holds the lane.
func (l *lane) next(batch []item) []item {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(batch) > 0 { // it holds the lane since it took these
		l.held = false
	}
	waited := false
	for l.held || l.head == len(l.items) {
		if l.closed && !l.held {
			return batch[:0]
		}
		l.filled.Wait()
		waited = true
	}
	l.held = true
	if waited {
		l.writer.streak = 0
	}
	n := min(len(l.items)-l.head, l.take)
	batch = append(batch[:0], l.items[l.head:l.head+n]...)
	clear(l.items[l.head : l.head+n])
	l.head += n
	switch {
	case l.head == len(l.items):
		l.head = 0
		if cap(l.items) > maxIdleItems {
			l.items = nil
		}
		l.items = l.items[:0]
	case l.head > len(l.items)/2:
		rest := copy(l.items, l.items[l.head:])
		clear(l.items[rest:])
		l.items, l.head = l.items[:rest], 0
	}
	l.depth.Add(int64(-n))
	return batch
}

// maxIdleItems is how large a queue stays after a flood has passed.
const maxIdleItems = 4096

func (l *lane) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.filled.Broadcast()
}

// run is the consumer: it takes what is queued, and writes it.
func (l *lane) run() {
	var batch []item
	for {
		if batch = l.next(batch); len(batch) == 0 {
			return
		}
		l.write(batch)
		clear(batch)
		l.rest()
		if cap(batch) > maxIdleItems {
			batch = make([]item, 1) // its length tells next that the lane is held
		}
	}
}

// write gathers what the consumer took by topic, and writes each topic's messages to the
// subscribers of the Bucket.
func (l *lane) write(batch []item) {
	l.round.begin(batch[0].push.queued, batch[len(batch)-1].push.queued)
	l.writer.now, l.writer.packed, l.writer.writing = l.writer.clock.now(), false, 0
	size, lists := 0, l.lists
	for _, it := range batch {
		size += len(it.push.data)
		if len(it.list.pending) == 0 {
			lists = append(lists, it.list)
		}
		it.list.pending = append(it.list.pending, it.push)
	}
	for i, list := range lists {
		n := l.writer.deliver(list.pending, lists[i:i+1])
		l.round.writes += n
		l.round.deliveries += n * len(list.pending)
		list.clearPending()
		lists[i] = nil
	}
	l.lists = lists[:0]
	l.round.end(time.Duration(l.writer.writing), l.writer.now)
	crowded := l.central.release(len(batch), size)
	l.round.full = crowded || l.writer.packed || 2*len(batch) > l.take
}

// rest lets more messages come, for as long as the round says. The consumer holds the lane.
func (l *lane) rest() {
	if d := l.round.rest(); d > 0 {
		time.Sleep(d) //nolint:forbidigo // its length is what is wanted
		l.writer.streak = 0
	}
}

// clearPending forgets the messages that were written.
func (l *subscriberList) clearPending() {
	clear(l.pending)
	l.pending = l.pending[:0]
	if cap(l.pending) > maxIdlePending {
		l.pending = nil
	}
}

// maxIdlePending is how large a list's scratch stays between batches: with many
// topics it would otherwise hold the memory of the largest burst of each.
const maxIdlePending = 64

// batch is some consecutive messages of one topic: as frames of their own, and
// joined into one buffer. The buffer is the consumer's and is used again; the
// frames are immutable and may be kept.
type batch struct {
	topic  *topic
	joined []byte
	frames [][]byte
}

// batchWriter writes batches to many connections from one goroutine.
type batchWriter struct {
	// joinBytes and joinMessages bound a batch.
	joinBytes    int
	joinMessages int
	rings        *ringPool
	metrics      *metrics
	clock        *clock
	stages       *laneStages
	compressor   *compressor
	buf          []byte
	frames       [][]byte
	towers       []*FireTower // of several lists
	streak       int
	packed       bool  // a write had more than half of what it joins, since the lane's round began
	writing      int64 // how long writes took since then, in ns
	// now is when the clock was last read: the end of one topic's writes is the
	// beginning of the next one's.
	now int64
	// begun is when the list under way was begun.
	begun int64
}

// deliver writes messages to every subscriber of some lists of one topic, whose lanes the
// caller holds, and returns how many subscribers those are.
func (w *batchWriter) deliver(pushes []*push, lists []*subscriberList) int {
	w.begun = w.now
	subscribers := 0
	for v := range variants { // the plain ones first: they need not wait for compression
		towers := w.borrow(lists, v)
		if len(towers) == 0 {
			continue
		}
		subscribers += len(towers)
		for rest := pushes; len(rest) > 0; {
			var b batch
			b, rest = w.join(lists[0].topic, rest, v)
			w.packed = w.packed || 2*len(b.frames) > w.joinMessages || 2*len(b.joined) > w.joinBytes
			w.write(b, towers)
		}
		w.giveBack(lists, v)
	}
	w.stages.written(pushes, subscribers, w.begun, w.now)
	clear(w.frames)
	w.frames = w.frames[:0]
	if cap(w.buf) > 2*w.joinBytes {
		w.buf = nil
	}
	return subscribers
}

// borrow lends the connections of a group of the lists, until giveBack.
func (w *batchWriter) borrow(lists []*subscriberList, v variant) []*FireTower {
	if len(lists) == 1 {
		return lists[0].borrow(v)
	}
	for _, l := range lists {
		w.towers = append(w.towers, l.borrow(v)...)
	}
	return w.towers
}

func (w *batchWriter) giveBack(lists []*subscriberList, v variant) {
	for _, l := range lists {
		l.giveBack(v)
	}
	clear(w.towers)
	w.towers = w.towers[:0]
	if cap(w.towers) > maxIdleTowers {
		w.towers = nil
	}
}

// maxIdleTowers is how many connections of several Buckets a lane has room for at rest.
const maxIdleTowers = 1024

// join builds the batch of as many pushes as fit joinBytes and joinMessages, at least one.
func (w *batchWriter) join(t *topic, pushes []*push, v variant) (batch, []*push) {
	w.frames = append(w.frames[:0], pushes[0].frame(v, w.compressor))
	size := len(w.frames[0])
	n := 1
	for ; n < min(len(pushes), w.joinMessages); n++ {
		f := pushes[n].frame(v, w.compressor)
		if size+len(f) > w.joinBytes {
			break
		}
		size += len(f)
		w.frames = append(w.frames, f)
	}
	b := batch{topic: t, joined: w.frames[0], frames: w.frames}
	if n > 1 {
		w.buf = w.buf[:0]
		for _, f := range w.frames {
			w.buf = append(w.buf, f...)
		}
		b.joined = w.buf
	}
	return b, pushes[n:]
}

// yieldEvery is after how many raw writes without a wait the consumer lets the scheduler look
// at others: about a quarter of a millisecond's worth. It wakes another thread for that, which is
// for nothing after a wait: others could run then.
const yieldEvery = 64

func (w *batchWriter) write(b batch, towers []*FireTower) {
	var o outcome
	began := w.clock.now()
	timed := 0 // how many of towers have been accounted for
	var ring *rawio.Ring
	share := ringShare(len(b.joined))
	for done := 0; done < len(towers); {
		if ring == nil {
			ring = w.rings.get(len(towers) - done)
		}
		if ring != nil {
			some := towers[done:min(done+share, len(towers))]
			w.deliverMany(ring, b, some, &o)
			done += len(some)
			w.streak += len(some)
		} else {
			o.add(towers[done].deliver(b))
			done++
			w.streak++
		}
		if w.streak >= yieldEvery {
			w.streak = 0
			w.rings.put(ring) // for whoever runs now
			ring = nil
			runtime.Gosched()
		}
		if n := done - timed; n > grain(timed) || done == len(towers) {
			now := w.clock.now()
			w.stages.fanned(w.begun, w.now, now, n, len(b.frames))
			w.now, timed = now, done
		}
	}
	w.writing += w.now - began
	w.rings.put(ring)
	w.metrics.drop(DropClosed, o.gone*len(b.frames))
	if o.written > 0 {
		w.metrics.deliveries.Add(int64(o.written * len(b.frames)))
		w.metrics.deliveredBytes.Add(int64(o.written * len(b.joined)))
		w.metrics.writes.Add(int64(o.written))
	}
}

// outcome counts what became of a batch at many connections.
type outcome struct{ written, gone int }

func (o *outcome) add(d delivered) {
	switch d {
	case deliveredWhole:
		o.written++
	case deliveredNowhere:
		o.gone++
	case deliveredLater:
	}
}
