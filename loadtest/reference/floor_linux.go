package reference

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// floor is the server without anything. One goroutine on one thread does everything, so that nothing in it is locked.
// Between the handshakes it allocates nothing, so that the garbage collector sleeps.
type floor struct {
	counters *counters
	joined   bool

	epoll, listener, wake int // descriptors
	events                []unix.EpollEvent
	buffer                []byte    // what every client is read into
	clients               []*client // by descriptor
	topics                map[string]*topic
	pending               []*topic // with messages that wait for the end of the batch; joined only
	doomed                []*client
	frame                 []byte // the frame that is being delivered
}

// client is one connection.
type client struct {
	fd     int
	open   bool   // upgraded
	doomed bool   // to be closed at the end of the batch
	in     []byte // what came of a request or frame whose end has not
	split  bool   // within a message that comes in fragments
	parts  []byte // those that came
	topics []membership
}

// membership tells where a client stands in a topic, so that leaving takes no search.
type membership struct {
	topic *topic
	at    int
}

// topic is who listens, and, between two batches, what they will be sent.
type topic struct {
	name    string
	members []int32 // descriptors, and nothing else: what delivering to them touches is compact
	joined  []byte  // frames that wait for the end of the batch
	count   int     // how many
}

const (
	floorBatch  = 256
	floorBuffer = 64 << 10
	// maxJoined is how many bytes are joined at most: sockets take that much at once.
	maxJoined = 64 << 10
	backlog   = 4096
)

func newFloor(listen string, joined bool, c *counters) (addr string, serve func(context.Context) error, err error) {
	f := &floor{
		counters: c, joined: joined, epoll: -1, listener: -1, wake: -1,
		events: make([]unix.EpollEvent, floorBatch), buffer: make([]byte, floorBuffer), topics: make(map[string]*topic),
	}
	if addr, err = f.listen(listen); err != nil {
		f.release()
		return "", nil, err
	}
	return addr, f.run, nil
}

func (f *floor) listen(listen string) (string, error) {
	want, err := netip.ParseAddrPort(listen)
	if err != nil {
		return "", err
	}
	if !want.Addr().Is4() {
		return "", fmt.Errorf("listen on %v: only IPv4 is spoken here", want)
	}
	if f.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return "", fmt.Errorf("socket: %w", err)
	}
	if err := unix.SetsockoptInt(f.listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return "", fmt.Errorf("SO_REUSEADDR: %w", err)
	}
	if err := unix.Bind(f.listener, &unix.SockaddrInet4{Port: int(want.Port()), Addr: want.Addr().As4()}); err != nil {
		return "", fmt.Errorf("listen on %v: %w", want, err)
	}
	if err := unix.Listen(f.listener, backlog); err != nil {
		return "", fmt.Errorf("listen on %v: %w", want, err)
	}
	if f.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return "", fmt.Errorf("epoll_create1: %w", err)
	}
	if f.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return "", fmt.Errorf("eventfd: %w", err)
	}
	for _, fd := range []int{f.listener, f.wake} {
		if err := f.watch(fd); err != nil {
			return "", err
		}
	}
	bound, err := unix.Getsockname(f.listener)
	if err != nil {
		return "", fmt.Errorf("getsockname: %w", err)
	}
	v4, ok := bound.(*unix.SockaddrInet4)
	if !ok {
		return "", fmt.Errorf("getsockname: %T", bound)
	}
	return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), uint16(v4.Port)).String(), nil
}

func (f *floor) watch(fd int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)}
	if err := unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

func (f *floor) release() {
	for _, c := range f.clients {
		if c != nil {
			unix.Close(c.fd)
		}
	}
	f.clients = nil
	for _, fd := range []int{f.epoll, f.listener, f.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (f *floor) run(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer f.release()
	// The eventfd must outlive whoever writes to it.
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		one := [8]byte{1, 1} // any number that is not 0 does
		_, _ = unix.Write(f.wake, one[:])
	})
	defer func() {
		if !stop() {
			<-woken
		}
	}()
	for {
		n, err := f.wait()
		if err != nil {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for i := range n {
			switch fd := int(f.events[i].Fd); fd {
			case f.wake:
				return nil
			case f.listener:
				if err := f.accept(); err != nil {
					return err
				}
			default:
				if c := f.clients[fd]; c != nil && !c.doomed {
					f.read(c)
				}
			}
		}
		f.flush()
		f.bury()
	}
}

// wait takes what is there without telling Go's scheduler, and otherwise sleeps.
func (f *floor) wait() (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(f.epoll),
		uintptr(unsafe.Pointer(&f.events[0])), uintptr(len(f.events)), 0, 0, 0)
	if errno == 0 && n > 0 {
		return int(n), nil
	}
	got, err := unix.EpollWait(f.epoll, f.events, -1)
	if errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	return got, err
}

func (f *floor) accept() error {
	for {
		fd, _, err := unix.Accept4(f.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
			continue
		case err != nil:
			return fmt.Errorf("accept: %w", err)
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			unix.Close(fd)
			continue
		}
		for len(f.clients) <= fd {
			f.clients = append(f.clients, nil)
		}
		f.clients[fd] = &client{fd: fd}
		if err := f.watch(fd); err != nil {
			return err
		}
	}
}

// read takes what a client has sent. What a message that came whole needs is used where it lies.
func (f *floor) read(c *client) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&f.buffer[0])), uintptr(len(f.buffer)))
	switch {
	case errno == unix.EAGAIN, errno == unix.EINTR:
		return
	case errno != 0, n == 0:
		f.doom(c)
		return
	}
	data := f.buffer[:n]
	if len(c.in) > 0 {
		c.in = append(c.in, data...)
		data = c.in
	}
	rest, err := f.take(c, data)
	if err != nil {
		f.counters.broken.Add(1)
		f.doom(c)
		return
	}
	if len(rest) == 0 {
		c.in = nil
		return
	}
	// rest may lie in c.in itself: append copies downward.
	c.in = append(c.in[:0], rest...)
}

// take handles what is complete in data and returns what is not.
func (f *floor) take(c *client, data []byte) (rest []byte, err error) {
	for len(data) > 0 && !c.doomed {
		if !c.open {
			n, answer, err := upgrade(data)
			if err != nil || n == 0 {
				return data, err
			}
			data = data[n:]
			if !f.write(c, answer) {
				return nil, nil
			}
			c.open = true
			f.counters.accepted.Add(1)
			continue
		}
		frame, n, err := parseClientFrame(data)
		if err != nil || n == 0 {
			return data, err
		}
		data = data[n:]
		if err := f.handle(c, frame); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// handle answers one frame of a client.
func (f *floor) handle(c *client, frame clientFrame) error {
	switch frame.op {
	case opPing:
		f.write(c, appendFrame(nil, opPong, frame.payload))
		return nil
	case opPong:
		return nil
	case opClose:
		f.write(c, appendFrame(nil, opClose, frame.payload[:min(len(frame.payload), 2)]))
		f.doom(c)
		f.leaveAll(c) // nothing may follow a close frame (RFC 6455 §5.5.1), not even from this batch
		return nil
	}
	if c.split != (frame.op == opContinuation) || len(c.parts)+len(frame.payload) > maxFrame {
		return fmt.Errorf("%w: opcode %d, %d bytes before it", errFrame, frame.op, len(c.parts))
	}
	if !frame.fin {
		c.split = true
		c.parts = append(c.parts, frame.payload...)
		return nil
	}
	payload := frame.payload
	if c.split {
		payload = append(c.parts, payload...)
		c.split, c.parts = false, nil
	}
	return f.request(c, payload)
}

// request answers one message of a client.
func (f *floor) request(c *client, payload []byte) error {
	r, err := parseRequest(payload)
	if err != nil {
		return err
	}
	switch r.kind {
	case requestPublish:
		f.counters.published.Add(1)
		if t := f.topics[string(r.topic)]; t != nil {
			f.publish(t, r.data)
		}
	case requestSubscribe:
		for name := range strings.SplitSeq(r.names, ",") {
			if err := f.join(c, name); err != nil {
				return err
			}
		}
	case requestUnsubscribe:
		for name := range strings.SplitSeq(r.names, ",") {
			f.leave(c, name)
		}
	case requestIgnored:
	}
	return nil
}

// publish writes a message to all members of a topic, or notes it for the end of the batch.
func (f *floor) publish(t *topic, data []byte) {
	if !f.joined {
		f.frame = appendFrame(f.frame[:0], opText, data)
		f.deliver(t, f.frame, 1)
		return
	}
	if len(t.joined) == 0 {
		f.pending = append(f.pending, t)
	}
	t.joined = appendFrame(t.joined, opText, data)
	t.count++
	if len(t.joined) >= maxJoined {
		f.deliverJoined(t)
	}
}

// flush delivers what was noted.
func (f *floor) flush() {
	for _, t := range f.pending {
		f.deliverJoined(t)
		if len(t.members) == 0 && f.topics[t.name] == t { // the last one left while messages waited
			delete(f.topics, t.name)
		}
	}
	clear(f.pending)
	f.pending = f.pending[:0]
}

func (f *floor) deliverJoined(t *topic) {
	if t.count > 0 {
		f.deliver(t, t.joined, t.count)
	}
	t.joined, t.count = t.joined[:0], 0
}

// deliver writes the same bytes, which hold count messages, to every member.
func (f *floor) deliver(t *topic, frames []byte, count int) {
	var delivered, writes int64
	for _, fd := range t.members {
		// A member that is doomed still has its descriptor until the end of the batch.
		writes++
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&frames[0])), uintptr(len(frames)))
		if errno != 0 || int(n) != len(frames) {
			f.refused(f.clients[fd], errno)
			continue
		}
		delivered += int64(count)
	}
	f.counters.delivered.Add(delivered)
	f.counters.writes.Add(writes)
}

// write sends b at once or ends the client.
func (f *floor) write(c *client, b []byte) bool {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno == 0 && int(n) == len(b) {
		return true
	}
	f.refused(c, errno)
	return false
}

// refused ends a client whose socket did not take all of a write: there are no queues here.
func (f *floor) refused(c *client, errno unix.Errno) {
	if c.doomed {
		return
	}
	if errno == 0 || errno == unix.EAGAIN {
		f.counters.slow.Add(1)
	}
	f.doom(c)
}

func (f *floor) doom(c *client) {
	if !c.doomed {
		c.doomed = true
		f.doomed = append(f.doomed, c)
	}
}

// bury closes the clients that were found wanting during a batch. Only then may their descriptors be used again.
func (f *floor) bury() {
	for _, c := range f.doomed {
		f.leaveAll(c)
		f.clients[c.fd] = nil
		unix.Close(c.fd)
	}
	clear(f.doomed)
	f.doomed = f.doomed[:0]
}

func (f *floor) join(c *client, name string) error {
	if name == "" || len(c.topics) >= maxTopics {
		return fmt.Errorf("%w: topic %q, %d topics", errRequest, name, len(c.topics))
	}
	t := f.topics[name]
	if t == nil {
		t = &topic{name: strings.Clone(name)}
		f.topics[t.name] = t
	}
	for _, m := range c.topics {
		if m.topic == t {
			return nil
		}
	}
	c.topics = append(c.topics, membership{topic: t, at: len(t.members)})
	t.members = append(t.members, int32(c.fd))
	return nil
}

func (f *floor) leaveAll(c *client) {
	for len(c.topics) > 0 {
		f.leave(c, c.topics[len(c.topics)-1].topic.name)
	}
}

// leave puts the last member of the topic in the place of the one that goes.
func (f *floor) leave(c *client, name string) {
	for i, m := range c.topics {
		if m.topic.name != name {
			continue
		}
		t := m.topic
		moved := t.members[len(t.members)-1]
		t.members[m.at] = moved
		if last := f.clients[moved]; last != c {
			for j := range last.topics {
				if last.topics[j].topic == t {
					last.topics[j].at = m.at
				}
			}
		}
		t.members = t.members[:len(t.members)-1]
		c.topics = append(c.topics[:i], c.topics[i+1:]...)
		if len(t.members) == 0 && t.count == 0 {
			delete(f.topics, name)
		}
		return
	}
}
