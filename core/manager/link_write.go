package manager

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime/pprof"
	"time"

	"firetower/core/protocol"
	"firetower/core/rawio"
)

// One write takes at most this much, so that what was written leaves the queue's
// account in time; 1024 is also what one writev(2) takes (IOV_MAX).
const (
	writePackets = 1024
	writeBytes   = 1 << 20
)

// startWriter starts the one writer of the link, which carries s, and lets those who
// publish write when it has nothing to do. It may be called by anybody, at any time,
// and again.
func (l *link) startWriter(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writer != nil || l.stopping {
		return
	}
	l.writer = s
	if l.fd >= 0 {
		s.queue.allowDirect()
	}
	l.writers.Go(func() {
		pprof.Do(l.ctx, pprof.Labels("role", "link_writer"), func(context.Context) {
			l.end(l.writeLoop(s))
		})
	})
}

// writeLoop writes what is queued, all of it in as few system calls as it takes,
// and a heartbeat now and then. It ends with the link, or when a drained queue is
// empty.
func (l *link) writeLoop(s *session) error {
	heartbeat, err := protocol.Enpack(protocol.HeartbeatPacket())
	if err != nil {
		return err
	}
	beat := time.NewTicker(l.b.opt.Heartbeat)
	defer beat.Stop()
	var taken waiting
	beating := false // a heartbeat is due
	for {
		var last bool
		clear(taken.packets)
		taken, last = s.queue.take(taken)
		if len(taken.packets) > 0 {
			if err := l.writeQueued(s, taken); err != nil {
				return err
			}
			continue
		}
		if last {
			return evicted(EvictDraining, nil)
		}
		if beating && s.queue.takeTurn() {
			beating = false
			l.bufs = append(l.bufs[:0], heartbeat)
			if err := l.write(&l.bufs, time.Now()); err != nil {
				return err
			}
			continue
		}
		select {
		case <-s.queue.wake:
		case <-beat.C:
			beating = true
		case <-l.ctx.Done():
			return l.cause()
		}
	}
}

// writeDirect writes a packet that the session's queue gave to its putter to write,
// put at a reading of the counters' clock. It takes no part in the scheduler and never
// waits: what the socket does not take, the writer writes after it, with its patience
// and its errors, and so is what is for a link that has ended.
func (l *link) writeDirect(s *session, packet []byte, put int64) {
	n := 0
	if l.ctx.Err() == nil {
		n, _ = rawio.Send(l.fd, packet) // after an error the ordinary write meets it again
	}
	done := l.b.counter.now()
	if n == len(packet) {
		s.sent.Add(1)
		l.b.counter.direct.Add(1)
		l.b.counter.link.Observe(done-put, 1)
	} else if n > 0 {
		l.cut = true
	}
	l.b.counter.linkBytes.Add(uint64(n))
	s.queue.sent(packet, n, put, done)
}

// writeQueued writes packets of the session's queue and takes them off its account.
func (l *link) writeQueued(s *session, taken waiting) error {
	for packets, since := taken.packets, taken.since; len(packets) > 0; {
		n, bytes := 0, 0
		for n < len(packets) && n < writePackets && (n == 0 || bytes+len(packets[n]) <= writeBytes) {
			bytes += len(packets[n])
			n++
		}
		l.bufs = packets[:n:n]
		if err := l.write(&l.bufs, time.Now()); err != nil {
			return err
		}
		s.queue.written(n, bytes)
		s.sent.Add(uint64(n))
		done := l.b.counter.now()
		for _, at := range since[:n] {
			if at != untimed {
				l.b.counter.link.Observe(done-at, 1)
			}
		}
		packets, since = packets[n:], since[n:]
	}
	return nil
}

// write writes all of bufs, with writev(2) where the connection has it. It goes on
// for as long as the peer takes anything within each WriteTimeout.
func (l *link) write(bufs *net.Buffers, now time.Time) error {
	for {
		l.conn.SetWriteDeadline(now.Add(l.b.opt.WriteTimeout))
		if err := l.cause(); err != nil { // as in linkReader.Read
			return err
		}
		n, err := rawio.WriteBuffers(l.conn, bufs)
		l.b.counter.linkBytes.Add(uint64(n))
		if err == nil {
			l.cut = false
			return nil
		}
		l.cut = true // or at a packet's end, which makes no difference to anybody
		if cause := l.cause(); cause != nil {
			return cause
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if n == 0 {
			return evicted(EvictWriteTimeout, nil)
		}
		now = time.Now()
	}
}
