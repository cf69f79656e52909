package simulator

import (
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// connState is where a connection stands.
type connState uint8

const (
	connNew         connState = iota
	connConnecting            // SYN sent
	connUpgrading             // upgrade sent
	connSubscribing           // subscription sent
	connReceiving             // subscribed
	connIgnoring              // subscribed, slow by plan: its socket is left alone
	connSipping               // subscribed, slow by plan: its socket is read one message at a time
	connMute                  // subscribed, slow by plan: it reads and sends nothing that it is asked for
	connOver                  // mute, and the server has said goodbye
	connLeaving               // our close frame sent, the server's outstanding
	connWaiting               // lost, and to come back: no descriptor until then
	connClosed                // no descriptor any more
)

// conn is one connection. There are thousands: what only a few need stands behind pointers.
type conn struct {
	fd        int32
	target    uint16
	state     connState
	deflate   bool       // compression was negotiated
	deflated  bool       // the message in fragments is compressed
	fragments opcode     // of the message that came in fragments so far; 0 is none
	partial   []byte     // the beginning of a frame whose end has not come
	message   []byte     // the fragments so far
	wire      int        // their size with headers
	out       []byte     // what the socket did not take
	handshake *handshake // nil once subscribed
	back      *comeback  // nil unless lost and on its way back
}

// ready answers an event of a connection.
func (s *shard) ready(index int, events uint32) {
	c := &s.conns[index]
	if c.fd < 0 { // closed earlier in this batch
		return
	}
	if c.state == connConnecting {
		if events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) == 0 {
			return
		}
		s.connected(index)
		return
	}
	if events&unix.EPOLLOUT != 0 && len(c.out) > 0 {
		s.flush(index)
	}
	if c.fd >= 0 && events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		s.receive(index, events)
	}
}

// receive reads a connection until nothing is left. A read that does not fill the buffer has emptied the socket: what
// comes later is another edge (epoll(7)). That does not hold for the end of the stream when it was reported together
// with the data.
func (s *shard) receive(index int, events uint32) {
	c := &s.conns[index]
	ending := events&(unix.EPOLLRDHUP|unix.EPOLLERR|unix.EPOLLHUP) != 0
	for c.fd >= 0 {
		n, errno := readSocket(int(c.fd), s.buffer)
		s.account.load.Reads++
		now := s.clock.Now()
		switch {
		case errno == unix.EAGAIN:
			return
		case errno == unix.EINTR:
			continue
		case errno != 0:
			s.lost(index, closeKey(closeAbnormal, socketReason(errno)), now)
			return
		case n == 0:
			s.lost(index, closeKey(closeAbnormal, "eof"), now)
			return
		}
		s.take(index, s.buffer[:n], now)
		if n < len(s.buffer) && !ending {
			return
		}
	}
}

// readSocket reads without telling Go's scheduler, which is safe because the socket never blocks. recvfrom skips some
// layers that read has to pass.
func readSocket(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
	return int(n), errno
}

// take handles what was read from a connection. data is valid until it returns.
func (s *shard) take(index int, data []byte, now int64) {
	c := &s.conns[index]
	if c.state == connUpgrading {
		data = s.upgraded(index, data, now)
	}
	if len(c.partial) > 0 {
		data = s.completePartial(index, data, now)
	}
	for len(data) > 0 && c.fd >= 0 && c.state != connOver {
		f, n, _, fail := parseFrame(data, s.config.MaxFrame, c.deflate)
		switch {
		case fail != 0:
			s.violated(index, fail, now)
			return
		case n == 0:
			c.partial = append(s.borrow(), data...)
			return
		}
		data = data[n:]
		s.frame(index, f, n, now)
	}
}

// completePartial adds to the frame that began in an earlier read no more than what it lacks, and returns the rest.
func (s *shard) completePartial(index int, data []byte, now int64) []byte {
	c := &s.conns[index]
	for len(data) > 0 {
		f, n, need, fail := parseFrame(c.partial, s.config.MaxFrame, c.deflate)
		if fail != 0 {
			s.violated(index, fail, now)
			return nil
		}
		if n == 0 {
			lack := min(need-len(c.partial), len(data))
			c.partial = append(c.partial, data[:lack]...)
			data = data[lack:]
			if f, n, _, fail = parseFrame(c.partial, s.config.MaxFrame, c.deflate); fail != 0 {
				s.violated(index, fail, now)
				return nil
			}
		}
		if n > 0 {
			whole := c.partial
			c.partial = nil
			s.frame(index, f, n, now)
			s.giveBack(whole)
			return data
		}
	}
	return nil
}

// maxPooled bounds the buffers that a shard keeps for frames that come in pieces.
const maxPooled = 64

func (s *shard) borrow() []byte {
	if n := len(s.pool); n > 0 {
		b := s.pool[n-1]
		s.pool = s.pool[:n-1]
		return b[:0]
	}
	return make([]byte, 0, 512)
}

func (s *shard) giveBack(b []byte) {
	if len(s.pool) < maxPooled && cap(b) <= 64<<10 {
		s.pool = append(s.pool, b)
	}
}

// frame handles one frame of size n, headers included.
func (s *shard) frame(index int, f wsFrame, n int, now int64) {
	c := &s.conns[index]
	switch f.op {
	case opPing:
		if c.state == connMute {
			return
		}
		s.account.unattributed.Pings++
		s.scratch = s.masks.appendFrame(s.scratch[:0], opPong, f.payload)
		s.send(index, s.scratch)
	case opPong: // §5.5.3: unsolicited ones are allowed and mean nothing
	case opClose:
		code, fail := parseClose(f.payload)
		if fail != 0 {
			s.violated(index, fail, now)
			return
		}
		if c.state == connMute && slowSpec(s.config, s.account.first+index).kind() == SlowHalfOpen {
			s.toldToEnd(index, closeKey(code, ""), now)
			return
		}
		if c.state != connLeaving { // §5.5.1: echo it, then it is the server's turn to close the connection
			s.scratch = s.masks.appendFrame(s.scratch[:0], opClose, f.payload[:min(len(f.payload), 2)])
			s.send(index, s.scratch)
		}
		s.lost(index, closeKey(code, ""), now)
	case opContinuation:
		switch {
		case c.fragments == 0:
			s.violated(index, closeProtocol, now)
			return
		case len(c.message)+len(f.payload) > s.config.MaxFrame:
			s.violated(index, closeTooBig, now)
			return
		}
		c.message = append(c.message, f.payload...)
		c.wire += n
		if f.fin {
			message, wire := c.message, c.wire
			c.fragments, c.message, c.wire = 0, nil, 0
			s.message(index, message, wire, c.deflated, now)
		}
	default:
		switch {
		case c.fragments != 0:
			s.violated(index, closeProtocol, now)
		case f.fin:
			s.message(index, f.payload, n, f.deflated, now)
		default:
			c.fragments, c.message, c.wire, c.deflated = f.op, append([]byte(nil), f.payload...), n, f.deflated
		}
	}
}

// message handles one whole message, whose size on the wire is that of its frames.
func (s *shard) message(index int, payload []byte, wire int, deflated bool, now int64) {
	c := &s.conns[index]
	if deflated {
		var fail protocolError
		if payload, fail = s.inflater.inflate(payload, s.config.MaxFrame); fail != 0 {
			s.violated(index, fail, now)
			return
		}
		s.account.load.Inflated++
	}
	v, reason := s.account.dialect.frame(s.account, index, payload, wire, now)
	pings := s.account.takePings()
	for ; pings > 0 && c.state != connLeaving; pings-- { // after a close frame no other may follow
		s.scratch = s.masks.appendFrame(s.scratch[:0], s.account.dialect.opcode(), s.account.dialect.pong())
		s.send(index, s.scratch)
	}
	if v == verdictNone || c.state != connSubscribing {
		return
	}
	if v == verdictRefused {
		s.refuse(index, reason)
		return
	}
	if c.back == nil {
		s.account.subscribe.Record(now - c.handshake.asked)
	}
	s.subscribed(index, now)
}

// violated ends a connection whose server broke the protocol.
func (s *shard) violated(index int, code protocolError, now int64) {
	if s.conns[index].state != connLeaving {
		s.scratch = s.masks.appendClose(s.scratch[:0], int(code))
		s.send(index, s.scratch)
	}
	s.lost(index, closeKey(int(code), "sent"), now)
}

// lost ends a connection, for the given reason, in whatever state it is.
func (s *shard) lost(index int, code string, now int64) {
	c := &s.conns[index]
	switch c.state {
	case connClosed, connWaiting:
		return
	case connConnecting, connUpgrading, connSubscribing, connNew:
		s.refuse(index, "closed before subscribed: "+code)
		return
	case connReceiving, connIgnoring, connSipping, connMute:
		s.account.ended(index, code, now)
		if s.config.Reconnect.Enabled && index < s.account.healthy {
			s.close(index)
			c.back = &comeback{lostAt: now}
			s.comeBack(index, now)
			return
		}
	case connOver: // its end has been counted
	case connLeaving:
		s.closing--
		if index >= s.account.healthy {
			if code == closeKey(closeNormal, "") {
				s.account.slow.of(index).Open++ // it answered our goodbye: it had not ended the connection
			} else {
				s.account.ended(index, code, 0)
			}
		}
	}
	s.close(index)
	c.state = connClosed
}

// close gives the descriptor back. epoll forgets a descriptor that is closed.
func (s *shard) close(index int) {
	c := &s.conns[index]
	if c.fd < 0 {
		return
	}
	unix.Close(int(c.fd))
	c.fd = -1
	c.fragments, c.wire = 0, 0
	c.partial, c.message, c.out = nil, nil, nil
}

// reset ends a healthy connection with RST, as a client does that has crashed. It says whether there was one.
func (s *shard) reset(index int, now int64) bool {
	c := &s.conns[index]
	if c.state != connReceiving {
		return false
	}
	// Without the option it is an ordinary end; that it cannot be set on a socket of ours is not to be expected.
	if err := unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		s.account.fail(err)
	}
	s.lost(index, resetByPlan, now)
	return true
}

// maxOut bounds what a connection keeps for a socket that does not take it: answers to pings that the server does not
// read. Past it pongs are not sent.
const maxOut = 64 << 10

// send writes, and keeps what the socket does not take.
func (s *shard) send(index int, data []byte) {
	c := &s.conns[index]
	if c.fd < 0 || c.state == connMute || c.state == connOver {
		return
	}
	if len(c.out) == 0 {
		n, errno := writeSocket(int(c.fd), data)
		if errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
			return // the socket's end is reported by the next read
		}
		if errno != 0 {
			n = 0
		}
		data = data[n:]
	}
	if len(data) > 0 && len(c.out)+len(data) <= maxOut {
		c.out = append(c.out, data...)
	}
}

func (s *shard) flush(index int) {
	c := &s.conns[index]
	n, errno := writeSocket(int(c.fd), c.out)
	if errno != 0 {
		return
	}
	c.out = c.out[n:]
	if len(c.out) == 0 {
		c.out = nil
	}
}

func writeSocket(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

// sayGoodbye sends a close frame on every connection, and lets slow ones read what they have left.
func (s *shard) sayGoodbye() {
	for index := range s.account.healthy {
		if c := &s.conns[index]; c.fd >= 0 {
			// Best effort: a socket that cannot say has nothing waiting that we could count.
			if waiting, err := unix.IoctlGetInt(int(c.fd), unix.SIOCINQ); err == nil {
				s.account.load.Backlog += int64(waiting)
			}
		}
	}
	goodbye := s.masks.appendClose(nil, closeNormal)
	if s.account.churn != nil {
		s.account.churn.stop(s.clock.Now())
	}
	s.timers, s.dial.again, s.dial.attempts, s.dial.inFlight = nil, nil, nil, 0
	for index := range s.conns {
		c := &s.conns[index]
		if c.state == connMute || c.state == connOver {
			s.hangUp(index)
			continue
		}
		slow := c.state == connIgnoring || c.state == connSipping
		if !slow && c.state != connReceiving {
			if index < s.account.healthy {
				s.account.down++
			}
			s.close(index) // what is on its way back does not get there
			c.state, c.handshake = connClosed, nil
			continue
		}
		c.state = connLeaving
		s.closing++
		s.send(index, goodbye)
		if slow {
			s.listenFor(index, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET)
			s.receive(index, math.MaxUint32)
		}
	}
}

// abandon closes what the servers did not.
func (s *shard) abandon() {
	for index := range s.conns {
		c := &s.conns[index]
		if c.state == connLeaving && index >= s.account.healthy {
			s.account.slow.of(index).Open++
		}
		s.close(index)
		c.state = connClosed
	}
	s.closing = 0
}
