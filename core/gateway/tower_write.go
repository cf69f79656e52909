package gateway

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"firetower/core/protocol"
	"firetower/core/rawio"
)

// delivered is what became of a batch at one connection.
type delivered uint8

const (
	deliveredWhole   delivered = iota // written
	deliveredLater                    // some of it is backlog, or dropped and counted
	deliveredNowhere                  // the connection has ended
)

// deliver writes a batch to the connection without waiting.
func (t *FireTower) deliver(b batch) delivered {
	t.mu.Lock()
	n, errno := 0, syscall.EAGAIN
	if t.directLocked() {
		n, errno = rawio.Send(int(t.fd), b.joined)
	}
	d, end := t.settleLocked(b, n, errno)
	t.mu.Unlock()
	t.carryOut(end)
	return d
}

// directLocked tells whether a batch may be written to the descriptor now.
func (t *FireTower) directLocked() bool {
	return t.state == stateOpen && t.backlog == nil && t.fd >= 0
}

// end is what a write has come to for its connection, to be carried out without its lock.
type end struct {
	errno syscall.Errno // not 0: writing has failed
	slow  bool          // it is too slow
}

// settleLocked accounts for a batch of which the socket took n bytes, or failed.
func (t *FireTower) settleLocked(b batch, n int, errno syscall.Errno) (delivered, end) {
	switch {
	case t.state != stateOpen:
		return deliveredNowhere, end{}
	case n == len(b.joined):
		return deliveredWhole, end{}
	case errno != 0 && errno != syscall.EAGAIN:
		return deliveredNowhere, end{errno: errno}
	}
	if n > 0 {
		t.gateway.metrics.deliveredBytes.Add(int64(n))
		t.gateway.metrics.writes.Add(1)
	}
	t.enqueueRestLocked(b, n)
	return deliveredLater, end{slow: t.overdueLocked()}
}

// carryOut ends a connection that a write has found wanting.
func (t *FireTower) carryOut(e end) {
	switch {
	case e.errno != 0:
		t.fail(e.errno)
	case e.slow:
		t.dropSlow()
	}
}

// enqueueRestLocked makes what follows the first n bytes of a batch wait. Whole
// frames before that are written; the one that n falls into has begun.
func (t *FireTower) enqueueRestLocked(b batch, n int) {
	whole := 0
	for _, f := range b.frames {
		if n >= len(f) {
			n -= len(f)
			whole++
			continue
		}
		t.enqueueLocked(entry{data: f[n:], topic: b.topic, since: t.gateway.clock.now(), begun: n > 0})
		n = 0
	}
	if whole > 0 {
		t.gateway.metrics.deliveries.Add(int64(whole))
	}
}

// enqueueLocked lets one entry wait under the slow-consumer policy, and sees to
// it that a flusher runs. A bound that the policy cannot keep marks the
// connection as overdue.
func (t *FireTower) enqueueLocked(e entry) {
	g := t.gateway
	if t.backlog == nil {
		t.backlog = &backlog{}
		g.metrics.backlogged.Add(1)
		g.flushers.Add(1)
		if t.stream != nil {
			go t.flush()
		} else {
			t.backlog.writable = make(chan struct{}, 1)
			go t.flushPolled(t.backlog)
		}
	}
	if t.overdue && e.topic != nil && !e.begun {
		g.metrics.drop(DropSlowDisconnect, 1)
		return
	}
	b := t.backlog
	before := b.bytes
	if e.topic != nil && !e.begun && g.opts.SlowPolicy == SlowLatest {
		g.metrics.drop(DropSlowLatest, b.dropTopic(e.topic))
	}
	if !e.begun && (b.bytes+len(e.data) > g.opts.Limits.PendingBytes || b.messages+1 > g.opts.ChanLens) && b.len() > 0 {
		keep := false
		if g.opts.SlowPolicy != SlowDisconnect {
			dropped, fits := b.dropOldest(len(e.data), g.opts.Limits.PendingBytes, g.opts.ChanLens)
			g.metrics.drop(DropSlowOldest, dropped)
			// With nothing left to drop the newest message stays: the bound is then
			// passed by what is being written and this one frame.
			keep = fits || e.topic != nil
		}
		if !keep {
			t.overdue = true
			if e.topic != nil {
				g.metrics.drop(DropSlowDisconnect, 1)
			}
			g.metrics.backlogBytes.Add(int64(b.bytes - before))
			return
		}
	}
	b.append(e)
	g.metrics.backlogBytes.Add(int64(b.bytes - before))
}

func (t *FireTower) overdueLocked() bool {
	return t.state == stateOpen && t.overdue
}

// send lets a frame that is no push go out: a reply, a ping, a close. It waits
// behind the backlog when there is one.
func (t *FireTower) send(frame []byte) error {
	t.mu.Lock()
	if t.state != stateOpen {
		t.mu.Unlock()
		return ErrClosed
	}
	err := t.sendLocked(frame)
	slow := t.overdueLocked()
	t.mu.Unlock()
	if err != nil {
		t.fail(err)
		return err
	}
	if slow {
		t.dropSlow()
		return ErrSlow
	}
	return nil
}

// sendLocked writes or queues a frame that is no push.
func (t *FireTower) sendLocked(frame []byte) error {
	e := entry{data: frame, since: t.gateway.clock.now()}
	if t.backlog == nil && t.fd >= 0 {
		n, errno := rawio.Send(int(t.fd), frame)
		if n == len(frame) {
			return nil
		}
		if errno != 0 && errno != syscall.EAGAIN {
			return errno
		}
		e.data, e.begun = frame[n:], n > 0
	}
	t.enqueueLocked(e)
	return nil
}

// flushBytes and flushEntries bound one write of a flusher, so that what it
// cannot drop any more stays small.
const (
	flushBytes   = 64 << 10
	flushEntries = rawio.MaxBuffers
)

// flush writes a stream's backlog until it is gone. While it runs nobody else writes to
// the connection.
func (t *FireTower) flush() {
	defer t.gateway.flushers.Done()
	var scratch [flushEntries][]byte
	for {
		t.mu.Lock()
		b := t.backlog
		if b == nil { // the connection is closed
			t.mu.Unlock()
			return
		}
		if t.emptiedLocked(b) {
			if t.state == stateOpen {
				// TLS answers a client's KeyUpdate by itself (RFC 8446 section 4.6.3), and a
				// write that a deadline of the past cuts short is its last.
				_ = t.stream.conn.SetWriteDeadline(time.Time{})
			}
			t.mu.Unlock()
			return
		}
		most := t.flushLimit()
		bufs := net.Buffers(b.front(scratch[:0], most))
		if most == tlsWriteBytes && len(bufs[0]) > most {
			bufs[0] = bufs[0][:most]
		}
		b.inFlight = len(bufs)
		// The deadline is set under the lock, so that it cannot undo the one by
		// which a closing interrupts this write.
		err := t.stream.conn.SetWriteDeadline(t.flushDeadlineLocked(b, time.Now()))
		t.mu.Unlock()

		var n int64
		if err == nil {
			n, err = t.writeOut(bufs)
		}

		if n > 0 {
			t.touch() // the client has taken something: it lives, though it gets no pings now
		}
		t.mu.Lock()
		if t.backlog == nil {
			t.mu.Unlock()
			return
		}
		b.inFlight = 0
		t.flushedLocked(b, int(n))
		if b.done != nil && !t.farewell { // see answerClose
			t.cutDownLocked()
		}
		again := err == nil || n > 0 && t.state == stateOpen && errors.Is(err, os.ErrDeadlineExceeded) &&
			t.gateway.opts.SlowPolicy != SlowDisconnect
		interrupted := err != nil && t.state == stateClosing && !t.farewell
		if interrupted {
			// The closing cut this write short; one more try carries the close frame.
			t.cutDownLocked()
		}
		t.mu.Unlock()
		switch {
		case again || interrupted:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if !t.dropSlow() {
				t.closeConn()
				return
			}
		default:
			t.fail(err)
			return
		}
	}
}

// emptiedLocked puts a pong that is due in front, and ends a backlog in which nothing is
// left.
func (t *FireTower) emptiedLocked(b *backlog) bool {
	if b.pong != nil && t.state == stateOpen {
		b.insertNext(entry{data: b.pong, since: t.gateway.clock.now()})
		t.gateway.metrics.backlogBytes.Add(int64(len(b.pong)))
	}
	b.pong = nil
	if b.len() > 0 {
		return false
	}
	t.backlog = nil
	t.gateway.metrics.backlogged.Add(-1)
	b.end()
	return true
}

// flushedLocked accounts for n bytes of the backlog that were written.
func (t *FireTower) flushedLocked(b *backlog, n int) {
	m := t.gateway.metrics
	now := t.gateway.clock.now()
	done := b.advance(n, func(since int64) { m.backlogWait.Observe(now-since, 1) })
	m.backlogBytes.Add(int64(-n))
	m.deliveries.Add(int64(done))
	m.deliveredBytes.Add(int64(n))
	m.writes.Add(1)
}

// flushDeadlineLocked is until when a flusher may go on: with the disconnect
// policy until the oldest message is too old; with the others, which tolerate
// slowness, as long as some bytes go out, which they did at progress; a closing
// connection has its own.
func (t *FireTower) flushDeadlineLocked(b *backlog, progress time.Time) time.Time {
	g := t.gateway
	switch {
	case t.state == stateClosing:
		return t.ending.closeBy
	case g.opts.SlowPolicy == SlowDisconnect:
		return g.clock.time(b.oldest() + int64(g.opts.Limits.PendingAge))
	default:
		return progress.Add(g.opts.Limits.PendingAge)
	}
}

// cutDownLocked leaves of the backlog what must precede the close frame, and the frame itself.
func (t *FireTower) cutDownLocked() {
	t.farewell = true
	t.gateway.metrics.drop(t.dropReasonLocked(), t.truncateLocked())
}

// truncateLocked drops what the backlog need not write before a close.
func (t *FireTower) truncateLocked() int {
	before := t.backlog.bytes
	n := t.backlog.truncate()
	t.gateway.metrics.backlogBytes.Add(int64(t.backlog.bytes - before))
	return n
}

func (t *FireTower) dropReasonLocked() DropReason {
	if t.ending != nil && t.ending.why == DisconnectSlow {
		return DropSlowDisconnect
	}
	return DropClosed
}

// dropSlow closes the connection as too slow.
func (t *FireTower) dropSlow() bool {
	return t.shut(protocol.CloseSlowConsumer, "slow consumer", DisconnectSlow)
}

// fail ends the connection after an I/O error: nothing more can be sent.
func (t *FireTower) fail(err error) {
	t.mu.Lock()
	if t.state == stateOpen {
		t.state = stateClosing
		t.endLocked(DisconnectWrite)
	}
	t.mu.Unlock()
	t.gateway.log.Debug("connection failed", "conn", t.id, "err", err)
	t.closeConn()
}
