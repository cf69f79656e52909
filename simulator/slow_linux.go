package simulator

import (
	"math"

	"golang.org/x/sys/unix"
)

// slowDown makes a connection that has subscribed what its spec wants it to be.
func (s *shard) slowDown(index int, now int64) {
	c := &s.conns[index]
	spec := slowSpec(s.config, s.account.first+index)
	switch spec.kind() {
	case SlowReader:
		c.state = connSipping
		s.timers.set(now+int64(spec.readEvery()), index)
	case SlowWriter:
		s.send(index, trickleHeader)
		c.state = connMute
		s.timers.set(now+int64(trickleEvery), index)
	case SlowHalfOpen:
		c.state = connMute
	default:
		c.state = connIgnoring
	}
	if c.state != connMute {
		s.listenFor(index, unix.EPOLLRDHUP|unix.EPOLLET)
	}
}

// trickle sends the next byte of the frame that does not end. That it cannot be sent is told by the next read.
func (s *shard) trickle(index int, now int64) {
	_, _ = writeSocket(int(s.conns[index].fd), []byte{0})
	s.timers.set(now+int64(trickleEvery), index)
}

// sip reads one message, and no byte more than it has, and control frames on the way to it.
func (s *shard) sip(index int, now int64) {
	c := &s.conns[index]
	if c.partial == nil {
		c.partial = s.borrow()
	}
	s.sipMessage(index, now)
	if c.state == connSipping {
		s.timers.set(now+int64(slowSpec(s.config, s.account.first+index).readEvery()), index)
	}
}

func (s *shard) sipMessage(index int, now int64) {
	c := &s.conns[index]
	for c.state == connSipping {
		f, n, need, fail := parseFrame(c.partial, s.config.MaxFrame, c.deflate)
		switch {
		case fail != 0:
			s.violated(index, fail, now)
			return
		case n > 0:
			whole := c.partial
			c.partial = s.borrow()
			s.frame(index, f, n, now)
			s.giveBack(whole)
			if f.fin && f.op <= opBinary {
				return
			}
			continue
		}
		read, errno := readSocket(int(c.fd), s.buffer[:min(need-len(c.partial), len(s.buffer))])
		s.account.load.Reads++
		switch {
		case errno == unix.EAGAIN:
			return
		case errno == unix.EINTR:
		case errno != 0:
			s.lost(index, closeKey(closeAbnormal, socketReason(errno)), now)
		case read == 0:
			s.lost(index, closeKey(closeAbnormal, "eof"), now)
		default:
			c.partial = append(c.partial, s.buffer[:read]...)
		}
	}
}

// toldToEnd is a close frame of the server to a half-open connection: that is its end, and the connection stays.
func (s *shard) toldToEnd(index int, code string, now int64) {
	s.account.ended(index, code, now)
	s.conns[index].state = connOver
}

// hangUp ends a connection that cannot say goodbye, once it has read what is there.
func (s *shard) hangUp(index int) {
	c := &s.conns[index]
	s.receive(index, math.MaxUint32)
	if c.state == connMute {
		s.account.slow.of(index).Open++
	}
	s.close(index)
	c.state = connClosed
}
