package simulator

import (
	"golang.org/x/sys/unix"
)

// ringBatch is how many of the requests that are ready the kernel does in one [ring.enter]. More completions than that
// are of connections that had more than one buffer of data.
const ringBatch = 20

// User data of requests. That of a receive is the index of its connection, which is below maxConnections, and above
// these bits the number of the descriptor that the connection has: a completion of an earlier one is not taken for it.
const (
	userDataEpoll  = 1 << 24 // the poll of the epoll descriptor
	userDataCancel = 1 << 25
)

// ringReader reads the healthy connections of a shard once they have subscribed. Before that, and always when they are
// slow, epoll tells of them; the ring polls the epoll descriptor.
type ringReader struct {
	*ring
	arms    []int32  // connections to be received from as of the next enter
	cancels []uint64 // user data of requests to be ended by the next enter
	armed   int      // receives that the kernel has
	polling bool     // the kernel has the poll
}

// adopt leaves the reading of a connection to the ring. All that has come has been read, or the ring will read it.
func (s *shard) adopt(index int) {
	c := &s.conns[index]
	c.ringed = true
	if len(c.out) > 0 {
		s.listenFor(index, unix.EPOLLOUT|unix.EPOLLET)
	} else {
		s.epollControl(unix.EPOLL_CTL_DEL, index, 0)
	}
	s.reader.arms = append(s.reader.arms, int32(index))
}

// userData is that of a connection's receive.
func (c *conn) userData(index int) uint64 { return uint64(c.generation)<<32 | uint64(index) }

// disarm ends the receive of a connection whose descriptor is being closed. The socket lives until the kernel has done
// so, in the next enter.
func (s *shard) disarm(index int) {
	if c := &s.conns[index]; c.armed {
		s.reader.cancels = append(s.reader.cancels, c.userData(index))
		c.armed = false
	}
}

// submit fills the queue of submissions, and says whether some found no room.
func (s *shard) submit() (left bool) {
	r := s.reader
	n := min(len(r.cancels), r.room())
	for _, of := range r.cancels[:n] {
		r.cancel(of, userDataCancel)
	}
	r.cancels = r.cancels[:copy(r.cancels, r.cancels[n:])]
	if !r.polling && r.room() > 0 {
		r.poll(int32(s.epoll), userDataEpoll)
		r.polling = true
	}
	n = 0
	for ; n < len(r.arms) && r.room() > 0; n++ {
		index := int(r.arms[n])
		if c := &s.conns[index]; c.fd >= 0 && c.ringed && !c.armed {
			r.receive(c.fd, c.userData(index))
			c.armed = true
			r.armed++
		}
	}
	r.arms = r.arms[:copy(r.arms, r.arms[n:])]
	return len(r.cancels)+len(r.arms) > 0 || !r.polling
}

// ringTurn handles one batch of what the ring has, and waits for it when there is nothing. It says whether it left
// something waiting.
func (s *shard) ringTurn() (more bool, err error) {
	left := s.submit()
	if err := s.reader.enter(); err != nil {
		return false, err
	}
	n, err := s.reap()
	if n > 0 || left || err != nil {
		return left || n >= ringBatch, err
	}
	timeout := int64(s.timeout()) * millisecond
	if timeout == 0 {
		return false, nil
	}
	if err := s.reader.sleep(timeout); err != nil {
		return false, err
	}
	n, err = s.reap()
	return n >= ringBatch, err
}

// reap handles the completions that there are, and says how many. One reading of the clock serves all: it is taken
// after the last of them was read, so that a latency is too long by what the kernel took to read those that came after
// it in the batch, at most 19 messages of some 3 us each, and never too short.
func (s *shard) reap() (n int, err error) {
	var now int64
	ready := false
	for {
		c, ok := s.reader.next()
		if !ok {
			break
		}
		if n++; n == 1 {
			now = s.clock.Now()
		}
		switch uint32(c.userData) {
		case userDataCancel:
		case userDataEpoll:
			s.reader.polling = false
			ready = true
		default:
			s.received(c, now)
		}
	}
	if ready {
		got, err := s.poll()
		if err != nil {
			return n, err
		}
		s.handle(got)
	}
	return n, nil
}

// received handles a completion of a receive.
func (s *shard) received(done completion, now int64) {
	index := int(uint32(done.userData))
	c := &s.conns[index]
	current := c.armed && done.userData == c.userData(index)
	if !done.more() {
		s.reader.armed--
		if current {
			c.armed = false
			s.reader.arms = append(s.reader.arms, int32(index)) // unless it ends now
		}
	}
	id, holds := done.buffer()
	if current {
		switch {
		case done.result > 0 && holds:
			s.account.load.Reads++
			s.take(index, s.reader.buffer(id)[:done.result], now)
		case done.result == 0:
			s.account.load.Reads++
			s.lost(index, closeKey(closeAbnormal, "eof"), now)
		default:
			switch errno := unix.Errno(-done.result); errno {
			case unix.ENOBUFS, unix.EINTR, unix.EAGAIN, unix.ENOMEM: // try again
			default:
				s.lost(index, closeKey(closeAbnormal, socketReason(errno)), now)
			}
		}
	}
	if holds {
		s.reader.giveBack(id)
	}
}

// closeRing ends what the kernel still has to do, and frees the ring. The descriptors of the connections have been
// closed.
func (s *shard) closeRing() {
	r := s.reader
	s.reader = nil
	const patience = 1000 // times 10 ms at most, which only a broken kernel takes
	cancelled := false
	for try := 0; try < patience && (r.armed > 0 || r.polling); try++ {
		if !cancelled && r.room() > 0 {
			r.cancelAll(userDataCancel)
			cancelled = true
		}
		if r.sleep(10*millisecond) != nil {
			break
		}
		for done, ok := r.next(); ok; done, ok = r.next() {
			switch {
			case uint32(done.userData) == userDataEpoll:
				r.polling = false
			case uint32(done.userData) < userDataEpoll && !done.more():
				r.armed--
			}
		}
	}
	r.close()
}
