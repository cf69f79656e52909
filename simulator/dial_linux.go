package simulator

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// dialState is how far a shard has come in connecting.
type dialState struct {
	begun       bool
	ramp        ramp
	maxInFlight int
	inFlight    int       // connections that have begun and not settled
	next        int       // the next connection of the ramp
	unsettled   int       // connections of which is not known whether they get to their subscription
	again       []int     // connections that have waited long enough to come back, in that order
	attempts    []attempt // under way or settled since, in the order in which they began
}

// attempt is one try of one connection.
type attempt struct {
	conn  int
	begun int64 // ns
}

func newDialState(config *Config, index, conns int) dialState {
	return dialState{
		ramp:        ramp{rate: config.ConnectRate / float64(config.Shards)},
		maxInFlight: max(share(config.HandshakesInFlight, config.Shards, index), 1),
		unsettled:   conns,
	}
}

// active says that there is something to begin or to time out.
func (d *dialState) active() bool {
	return d.begun && (d.unsettled > 0 || d.inFlight > 0 || len(d.again) > 0)
}

// handshake is what a connection needs until it has subscribed.
type handshake struct {
	begun  int64 // when connect(2) was called, ns
	asked  int64 // when the upgrade was answered and the subscription asked for, ns; 0 before
	accept string
	answer []byte // the head of the server's answer, as far as it came
}

func (s *shard) beginDialing() {
	s.dial.begun = true
	s.dial.ramp.start = s.clock.Now()
	if len(s.conns) == 0 {
		close(s.settled)
	}
}

// continueDialing begins what the bound and the ramp allow, and gives up on what takes too long.
func (s *shard) continueDialing(now int64) {
	d := &s.dial
	for len(d.again) > 0 && d.inFlight < d.maxInFlight {
		index := d.again[0]
		d.again = d.again[1:]
		s.begin(index, now)
	}
	for allowed := d.ramp.allowed(now, len(s.conns)); d.next < allowed && d.inFlight < d.maxInFlight; {
		index := d.next
		d.next++
		s.begin(index, now)
	}
	// Attempts are begun in order, so that the oldest one under way is the first to time out.
	for ; len(d.attempts) > 0; d.attempts = d.attempts[1:] {
		oldest := d.attempts[0]
		h := s.conns[oldest.conn].handshake
		if h == nil || h.begun != oldest.begun {
			continue
		}
		if now-h.begun < int64(s.config.HandshakeTimeout) {
			break
		}
		s.refuse(oldest.conn, timeoutReason(s.conns[oldest.conn].state))
	}
}

// settle notes that a connection's first attempt has come to its end.
func (s *shard) settle() {
	if s.dial.unsettled--; s.dial.unsettled == 0 {
		s.pace.start = s.clock.Now()
		close(s.settled)
	}
}

func timeoutReason(state connState) string {
	switch state {
	case connConnecting:
		return "connect: timeout"
	case connUpgrading:
		return "upgrade: timeout"
	default:
		return "subscribe: timeout"
	}
}

// begin starts an attempt of a connection.
func (s *shard) begin(index int, now int64) {
	s.dial.inFlight++
	s.dial.attempts = append(s.dial.attempts, attempt{index, now})
	s.conns[index].state = connNew // no longer waiting: what fails before the SYN is refused as well
	if reason := s.open(index, now); reason != "" {
		s.refuse(index, reason)
	}
}

// open makes the socket of a connection and sends its SYN. It returns why it could not.
func (s *shard) open(index int, now int64) (reason string) {
	c := &s.conns[index]
	fleetIndex := s.account.first + index
	global := s.config.FirstIndex + fleetIndex
	c.target = uint16(c.back.url(global, len(s.targets)))
	addr := s.targets[c.target].addr
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "connect: " + socketReason(err)
	}
	c.fd = int32(fd)
	c.handshake = &handshake{begun: now}
	receiveBuffer := s.config.ReceiveBuffer
	if spec := slowSpec(s.config, fleetIndex); spec != nil && spec.ReceiveBuffer != 0 {
		receiveBuffer = spec.ReceiveBuffer
	}
	if err := tuneDescriptor(fd, receiveBuffer); err != nil {
		return "connect: " + socketReason(err)
	}
	// Our frames are few and small, and none should wait for the answer to another.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return "connect: " + socketReason(err)
	}
	if ip, ok := sourceIP(s.config, global); ok {
		if err := unix.Bind(fd, socketAddress(netip.AddrPortFrom(ip, 0))); err != nil {
			return "bind: " + socketReason(err)
		}
	}
	c.state = connConnecting
	if err := unix.Connect(fd, socketAddress(addr)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return "connect: " + socketReason(err)
	}
	// Registered once, for everything, edge-triggered: see the package comment.
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(index)}
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return "epoll_ctl: " + socketReason(err)
	}
	return ""
}

func socketAddress(addr netip.AddrPort) unix.Sockaddr {
	if addr.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
}

// connected sends the upgrade once the TCP connection is there.
func (s *shard) connected(index int) {
	c := &s.conns[index]
	if errno, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil || errno != 0 {
		s.refuse(index, "connect: "+socketReason(unix.Errno(errno)))
		return
	}
	var nonce [16]byte
	_, _ = s.masks.source.Read(nonce[:])
	var request []byte
	request, c.handshake.accept = upgradeRequest(s.targets[c.target], s.config.Subprotocol, s.config.Compression, nonce)
	c.state = connUpgrading
	s.send(index, request)
}

// upgraded reads the answer to the upgrade; what follows its head are frames. It returns those.
func (s *shard) upgraded(index int, data []byte, now int64) []byte {
	c := &s.conns[index]
	c.handshake.answer = append(c.handshake.answer, data...)
	c.deflate = s.config.Compression
	n, refusal := parseUpgrade(c.handshake.answer, s.config.Subprotocol, c.handshake.accept, &c.deflate)
	if refusal != "" {
		s.refuse(index, refusal)
		return nil
	}
	if n == 0 {
		return nil
	}
	rest := c.handshake.answer[n:]
	c.handshake.answer = nil
	if c.back == nil {
		s.account.connect.Record(now - c.handshake.begun)
		s.account.published.connected.Add(1)
	}
	c.handshake.asked = now
	c.state = connSubscribing
	s.scratch = s.masks.appendFrame(s.scratch[:0], s.account.dialect.opcode(), s.account.opening(index, now))
	s.send(index, s.scratch)
	if s.account.dialect.replies(s.config) == 0 && c.state == connSubscribing {
		s.subscribed(index, now)
	}
	return rest
}

// subscribed ends the handshake of a connection.
func (s *shard) subscribed(index int, now int64) {
	c := &s.conns[index]
	c.handshake = nil
	c.state = connReceiving
	s.dial.inFlight--
	s.account.subscribed(index, c.back, now)
	if c.back != nil {
		c.back = nil
		return
	}
	s.settle()
	if index >= s.account.healthy {
		s.slowDown(index, now)
	}
}

// refuse ends an attempt that has not got to its subscription.
func (s *shard) refuse(index int, reason string) {
	c := &s.conns[index]
	if c.state == connClosed || c.state == connWaiting {
		return
	}
	c.handshake = nil
	s.close(index)
	s.dial.inFlight--
	if c.back != nil {
		s.account.reconnectRefused[reason]++
		s.comeBack(index, s.clock.Now())
		return
	}
	c.state = connClosed
	s.account.refuse(reason)
	s.settle()
}

// comeBack has a connection wait for its next attempt.
func (s *shard) comeBack(index int, now int64) {
	c := &s.conns[index]
	c.back.attempt++
	c.state = connWaiting
	wait := s.config.Reconnect.wait(s.config.FirstIndex+s.account.first+index, c.back.attempt)
	s.timers.set(now+int64(wait), index)
}

// listenFor changes what a connection is woken for.
func (s *shard) listenFor(index int, events uint32) {
	event := unix.EpollEvent{Events: events, Fd: int32(index)}
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_MOD, int(s.conns[index].fd), &event); err != nil {
		s.account.fail(err)
	}
}
