package simulator

import "golang.org/x/sys/unix"

// batches says that the ring may read a connection: an event tells of data and of nothing else, and the connection is
// read as it comes.
func (s *shard) batches(index int, events uint32) bool {
	const others = unix.EPOLLRDHUP | unix.EPOLLERR | unix.EPOLLHUP
	c := &s.conns[index]
	return s.reader != nil && events&(unix.EPOLLIN|others) == unix.EPOLLIN && c.state == connReceiving && len(c.out) == 0
}

// readBatch reads the connections of the batch. One reading of the clock serves all: it is taken after the last of them was
// read, so that a latency is too long by what the kernel took to read those behind it, at most ringBatch-1 reads of some
// 3 us each, and never too short.
func (s *shard) readBatch() error {
	results, err := s.reader.read()
	if err != nil {
		return err
	}
	now := s.clock.Now()
	s.account.load.Reads += int64(len(results))
	for i, n := range results {
		index := s.batch[i]
		switch errno := unix.Errno(-n); {
		case n > 0:
			s.take(index, s.reader.buffer(i)[:n], now)
			if int(n) == s.reader.size {
				s.receive(index, 0) // what found no room
			}
		case n == 0:
			s.lost(index, closeKey(closeAbnormal, "eof"), now)
		case errno == unix.EAGAIN:
		case errno == unix.EINTR || errno == unix.ENOMEM || errno == unix.ENOBUFS:
			s.receive(index, 0) // there is no other edge for what is waiting
		default:
			s.lost(index, closeKey(closeAbnormal, socketReason(errno)), now)
		}
	}
	s.batch = s.batch[:0]
	return nil
}
