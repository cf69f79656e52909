package gateway

import (
	"syscall"
	"time"

	"firetower/core/rawio"
)

// flushPolled writes the backlog of a connection whose descriptor is the gateway's own
// until it is gone: all that the socket takes, under the connection's lock, and then it
// waits until the poller says that there is room again.
func (t *FireTower) flushPolled(b *backlog) {
	g := t.gateway
	defer g.flushers.Done()
	var scratch [flushEntries][]byte
	var limit *time.Timer
	watched := false // the poller tells of room
	progress := time.Now()
	for {
		t.mu.Lock()
		if t.backlog != b { // the connection is closed
			t.mu.Unlock()
			return
		}
		if t.emptiedLocked(b) {
			if watched {
				g.poller.watchRoom(t, false)
			}
			t.mu.Unlock()
			return
		}
		n, errno := rawio.Sendv(int(t.fd), b.front(scratch[:0], flushBytes))
		if n > 0 {
			t.flushedLocked(b, n)
			progress = time.Now()
		} else if errno == syscall.EAGAIN && !watched {
			// A descriptor that has room by now raises an event at once.
			watched = g.poller.watchRoom(t, true)
		}
		var deadline time.Time
		if n == 0 {
			deadline = t.flushDeadlineLocked(b, progress)
		}
		t.mu.Unlock()
		clear(scratch[:])
		switch {
		case n > 0:
			t.touch() // the client has taken something: it lives, though it gets no pings now
			continue
		case errno != syscall.EAGAIN:
			t.fail(errno)
			return
		case time.Until(deadline) <= 0:
			if !t.dropSlow() {
				t.closeConn()
				return
			}
			continue // the close frame has until its own deadline
		}
		if limit == nil {
			limit = time.NewTimer(time.Until(deadline))
			defer limit.Stop()
		} else {
			limit.Reset(time.Until(deadline))
		}
		select {
		case <-b.writable:
		case <-limit.C:
		}
	}
}
