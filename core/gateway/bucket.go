package gateway

import (
	"runtime"
	"sync"
	"sync/atomic"
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

func newBucket(index int, m *TowerManager, o BucketOptions, joinBytes int) *Bucket {
	b := &Bucket{index: index, lanes: make([]*lane, o.ConsumerNum)}
	for i := range b.lanes {
		l := &lane{central: &m.central, metrics: m.metrics, clock: &m.gateway.clock, stages: new(laneStages), take: o.BuffChanCount, joinBytes: joinBytes, compressor: m.gateway.compressor}
		l.filled.L = &l.mu
		b.lanes[i] = l
	}
	return b
}

// add takes a connection into the Bucket's share.
func (b *Bucket) add(t *FireTower) {
	slot := t.id % heartbeatSlots
	b.mu.Lock()
	t.slotPos = len(b.slots[slot])
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
type lane struct {
	central    *centralChan
	metrics    *metrics
	clock      *clock
	stages     *laneStages
	take       int
	joinBytes  int
	compressor *compressor
	depth      atomic.Int64 // items queued, for the metrics

	mu     sync.Mutex // guards the following
	filled sync.Cond
	items  []item
	head   int
	closed bool
}

func (l *lane) push(it item) {
	l.mu.Lock()
	l.items = append(l.items, it)
	wake := len(l.items)-l.head == 1
	l.mu.Unlock()
	l.depth.Add(1)
	if wake {
		l.filled.Signal()
	}
}

// next waits for items and moves at most take of them into batch. It returns an
// empty batch once the lane is closed and empty.
func (l *lane) next(batch []item) []item {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.head == len(l.items) {
		if l.closed {
			return batch[:0]
		}
		l.filled.Wait()
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

// run is the consumer: it takes what is queued, gathers it by topic, and writes
// each topic's messages to the subscribers of the Bucket.
func (l *lane) run() {
	var (
		batch  []item
		lists  []*subscriberList
		writer = batchWriter{joinBytes: l.joinBytes, metrics: l.metrics, clock: l.clock, stages: l.stages, compressor: l.compressor}
	)
	for {
		batch = l.next(batch)
		if len(batch) == 0 {
			return
		}
		size := 0
		writer.now = l.clock.now()
		for _, it := range batch {
			size += len(it.push.data)
			if len(it.list.pending) == 0 {
				lists = append(lists, it.list)
			}
			it.list.pending = append(it.list.pending, it.push)
		}
		for i, list := range lists {
			writer.deliver(list)
			clear(list.pending)
			list.pending = list.pending[:0]
			if cap(list.pending) > maxIdlePending {
				list.pending = nil
			}
			lists[i] = nil
		}
		lists = lists[:0]
		l.central.release(len(batch), size)
		clear(batch)
		if cap(batch) > maxIdleItems {
			batch = nil
		}
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
	joinBytes  int
	metrics    *metrics
	clock      *clock
	stages     *laneStages
	compressor *compressor
	buf        []byte
	frames     [][]byte
	streak     int
	// now is when the clock was last read: the end of one topic's writes is the
	// beginning of the next one's.
	now int64
	// begun is when the list under way was begun.
	begun int64
}

// deliver writes list.pending to every subscriber of the list.
func (w *batchWriter) deliver(list *subscriberList) {
	w.begun = w.now
	subscribers := 0
	for v := range variants { // the plain ones first: they need not wait for compression
		towers := list.borrow(v)
		if towers == nil {
			continue
		}
		subscribers += len(towers)
		for rest := list.pending; len(rest) > 0; {
			var b batch
			b, rest = w.join(list.topic, rest, v)
			w.write(b, towers)
		}
		list.giveBack(v)
	}
	w.stages.written(list.pending, subscribers, w.begun, w.now)
	clear(w.frames)
	w.frames = w.frames[:0]
	if cap(w.buf) > 2*w.joinBytes {
		w.buf = nil
	}
}

// join builds the batch of as many pushes as fit joinBytes, at least one.
func (w *batchWriter) join(t *topic, pushes []*push, v variant) (batch, []*push) {
	w.frames = append(w.frames[:0], pushes[0].frame(v, w.compressor))
	size := len(w.frames[0])
	n := 1
	for ; n < len(pushes); n++ {
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

// yieldEvery is after how many raw writes the consumer lets the scheduler look
// at others: about a quarter of a millisecond's worth.
const yieldEvery = 64

func (w *batchWriter) write(b batch, towers []*FireTower) {
	var written, gone int
	timed := 0 // how many of towers have been accounted for
	for i, t := range towers {
		switch t.deliver(b) {
		case deliveredWhole:
			written++
		case deliveredNowhere:
			gone++
		case deliveredLater:
		}
		if w.streak++; w.streak >= yieldEvery {
			w.streak = 0
			runtime.Gosched()
		}
		if n := i + 1 - timed; n > grain(timed) || i+1 == len(towers) {
			now := w.clock.now()
			w.stages.fanned(w.begun, w.now, now, n, len(b.frames))
			w.now, timed = now, i+1
		}
	}
	w.metrics.drop(DropClosed, gone*len(b.frames))
	if written > 0 {
		w.metrics.deliveries.Add(int64(written * len(b.frames)))
		w.metrics.deliveredBytes.Add(int64(written * len(b.joined)))
		w.metrics.writes.Add(int64(written))
	}
}
