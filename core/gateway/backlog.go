package gateway

import "slices"

// entry is one frame that waits, or the rest of one.
type entry struct {
	data []byte
	// topic is nil for a frame that is no push: those are never dropped.
	topic *topic
	// since is when it began to wait, in nanoseconds of the gateway's clock.
	since int64
	// begun: some of the frame is written, so the rest has to follow.
	begun bool
}

// backlog is what a connection's socket did not take: a first-in-first-out queue
// of frames, bounded by the slow-consumer policy. It is guarded by the
// connection's lock.
type backlog struct {
	entries []entry
	head    int
	// inFlight is how many entries from head on the flusher is writing now.
	inFlight int
	// bytes and messages are of all entries; messages counts pushes alone.
	bytes    int
	messages int
	// pong answers the latest ping that came meanwhile.
	pong []byte
	// writable has an entry when a polled connection's flusher should look again.
	writable chan struct{}
	// done is closed when the connection has this backlog no more; nil while nobody waits
	// for that.
	done chan struct{}
}

// end is called when the connection has the backlog no more.
func (b *backlog) end() {
	if b.done != nil {
		close(b.done)
	}
}

func (b *backlog) len() int { return len(b.entries) - b.head }

func (b *backlog) append(e entry) {
	b.entries = append(b.entries, e)
	b.bytes += len(e.data)
	if e.topic != nil {
		b.messages++
	}
}

// front appends to bufs the data of what goes out with one write: at least one entry, at
// most flushEntries and, beyond the first, so many bytes.
func (b *backlog) front(bufs [][]byte, most int) [][]byte {
	size := 0
	for _, e := range b.entries[b.head:] {
		if len(bufs) > 0 && (size+len(e.data) > most || len(bufs) == flushEntries) {
			break
		}
		bufs = append(bufs, e.data)
		size += len(e.data)
	}
	return bufs
}

// oldest is since when the first entry waits.
func (b *backlog) oldest() int64 { return b.entries[b.head].since }

// advance takes n written bytes off the front and returns how many pushes are
// written whole with it. Each of those is passed to waited with since when it waited.
func (b *backlog) advance(n int, waited func(since int64)) (done int) {
	b.bytes -= n
	for n > 0 {
		e := &b.entries[b.head]
		if n < len(e.data) {
			e.data, e.begun = e.data[n:], true
			break
		}
		n -= len(e.data)
		if e.topic != nil {
			done++
			b.messages--
			waited(e.since)
		}
		b.pop()
	}
	return done
}

func (b *backlog) pop() {
	b.entries[b.head] = entry{}
	b.head++
	if b.head > 32 && b.head > len(b.entries)/2 {
		n := copy(b.entries, b.entries[b.head:])
		clear(b.entries[n:])
		b.entries, b.head = b.entries[:n], 0
	}
}

// insertNext puts a frame that is no push before all that has not begun. Nothing is in flight.
func (b *backlog) insertNext(e entry) {
	at := b.head
	if b.len() > 0 && b.entries[at].begun {
		at++
	}
	b.entries = slices.Insert(b.entries, at, e)
	b.bytes += len(e.data)
}

// removeAt drops a push that is neither begun nor in flight. It moves the shorter
// part in front of it, since it is mostly the oldest that goes.
func (b *backlog) removeAt(i int) {
	b.bytes -= len(b.entries[i].data)
	b.messages--
	copy(b.entries[b.head+1:i+1], b.entries[b.head:i])
	b.pop()
}

// firstDroppable is the index of the oldest push that may be dropped, or -1.
func (b *backlog) firstDroppable() int {
	for i := b.head + b.inFlight; i < len(b.entries); i++ {
		if e := &b.entries[i]; e.topic != nil && !e.begun {
			return i
		}
	}
	return -1
}

// dropOldest drops pushes until one of size more bytes fits the bounds, and
// returns how many it dropped and whether it now fits.
func (b *backlog) dropOldest(size, maxBytes, maxMessages int) (dropped int, fits bool) {
	for b.bytes+size > maxBytes || b.messages+1 > maxMessages {
		i := b.firstDroppable()
		if i < 0 {
			return dropped, false
		}
		b.removeAt(i)
		dropped++
	}
	return dropped, true
}

// dropTopic drops the waiting pushes of a topic and returns how many.
func (b *backlog) dropTopic(t *topic) (dropped int) {
	for i := b.head + b.inFlight; i < len(b.entries); {
		if e := &b.entries[i]; e.topic != t || e.begun {
			i++
			continue
		}
		before := b.head
		b.removeAt(i)
		dropped++
		// What was in front of it has moved back by one place; pop may have moved all.
		i += b.head - before
	}
	return dropped
}

// truncate drops every push that has not begun and returns how many.
func (b *backlog) truncate() (dropped int) {
	kept := b.entries[:b.head]
	for _, e := range b.entries[b.head:] {
		if e.topic != nil && !e.begun {
			b.bytes -= len(e.data)
			b.messages--
			dropped++
			continue
		}
		kept = append(kept, e)
	}
	clear(b.entries[len(kept):])
	b.entries, b.inFlight = kept, 0
	return dropped
}
