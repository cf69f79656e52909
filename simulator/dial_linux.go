package simulator

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// dialState is how far a shard has come in connecting.
type dialState struct {
	begun, active bool
	ramp          ramp
	maxInFlight   int
	inFlight      int // connections that have begun and not settled
	next          int // the next connection to begin
	oldest        int // no connection before this one is in flight
}

func newDialState(config *Config, index int) dialState {
	return dialState{
		ramp:        ramp{rate: config.ConnectRate / float64(config.Shards)},
		maxInFlight: max(share(config.HandshakesInFlight, config.Shards, index), 1),
	}
}

// handshake is what a connection needs until it has subscribed.
type handshake struct {
	begun  int64 // when connect(2) was called, ns
	asked  int64 // when the upgrade was answered and the subscription asked for, ns; 0 before
	accept string
	answer []byte // the head of the server's answer, as far as it came
}

func (s *shard) beginDialing() {
	s.dial.begun, s.dial.active = true, true
	s.dial.ramp.start = s.clock.Now()
}

// continueDialing begins what the ramp allows, and gives up on what takes too long.
func (s *shard) continueDialing() {
	now := s.clock.Now()
	for allowed := s.dial.ramp.allowed(now, len(s.conns)); s.dial.next < allowed && s.dial.inFlight < s.dial.maxInFlight; {
		index := s.dial.next
		s.dial.next++
		s.dial.inFlight++
		if reason := s.begin(index, now); reason != "" {
			s.refuse(index, reason)
		}
	}
	// Connections are begun in order, so that the oldest in flight is the first to time out.
	for ; s.dial.oldest < s.dial.next; s.dial.oldest++ {
		h := s.conns[s.dial.oldest].handshake
		if h == nil {
			continue
		}
		if now-h.begun < int64(s.config.HandshakeTimeout) {
			break
		}
		s.refuse(s.dial.oldest, timeoutReason(s.conns[s.dial.oldest].state))
	}
	if s.dial.next == len(s.conns) && s.dial.inFlight == 0 {
		s.dial.active = false
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

// begin makes the socket of a connection and sends its SYN. It returns why it could not.
func (s *shard) begin(index int, now int64) (reason string) {
	c := &s.conns[index]
	fleetIndex := s.account.first + index
	global := s.config.FirstIndex + fleetIndex
	c.target = uint16(global % len(s.targets))
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
	s.open++
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
	request, c.handshake.accept = upgradeRequest(s.targets[c.target], s.config.Subprotocol, nonce)
	c.state = connUpgrading
	s.send(index, request)
}

// upgraded reads the answer to the upgrade; what follows its head are frames. It returns those.
func (s *shard) upgraded(index int, data []byte, now int64) []byte {
	c := &s.conns[index]
	c.handshake.answer = append(c.handshake.answer, data...)
	n, refusal := parseUpgrade(c.handshake.answer, s.config.Subprotocol, c.handshake.accept)
	if refusal != "" {
		s.refuse(index, refusal)
		return nil
	}
	if n == 0 {
		return nil
	}
	rest := c.handshake.answer[n:]
	c.handshake.answer = nil
	s.account.connect.Record(now - c.handshake.begun)
	s.account.published.connected.Add(1)
	c.handshake.asked = now
	c.state = connSubscribing
	s.scratch = s.masks.appendFrame(s.scratch[:0], s.account.dialect.opcode(), s.account.opening(index))
	s.send(index, s.scratch)
	if s.account.dialect.replies(s.config) == 0 && c.state == connSubscribing {
		s.subscribed(index)
	}
	return rest
}

// subscribed ends the handshake of a connection.
func (s *shard) subscribed(index int) {
	c := &s.conns[index]
	c.handshake = nil
	c.state = connReceiving
	s.dial.inFlight--
	s.account.published.subscribed.Add(1)
	if index < s.account.healthy {
		return
	}
	s.account.slow.subscribed++
	c.state = connIgnoring
	s.listenFor(index, unix.EPOLLRDHUP|unix.EPOLLET)
}

// refuse ends a connection that has not subscribed.
func (s *shard) refuse(index int, reason string) {
	c := &s.conns[index]
	if c.state == connClosed {
		return
	}
	c.handshake = nil
	s.close(index)
	c.state = connClosed
	s.dial.inFlight--
	s.account.refuse(reason)
}

// listenFor changes what a connection is woken for.
func (s *shard) listenFor(index int, events uint32) {
	event := unix.EpollEvent{Events: events, Fd: int32(index)}
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_MOD, int(s.conns[index].fd), &event); err != nil {
		s.account.fail(err)
	}
}
