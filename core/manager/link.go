package manager

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"firetower/core/protocol"
	"firetower/core/rawio"
	"firetower/core/topicpb"
)

const (
	// controlID is the message id of the packets that are about the link itself.
	controlID = "0"
	// helloBudget is how many bytes a link may send before its hello is accepted:
	// what has shown no token holds no more of the manager's memory than that. It
	// is above the Reader's buffer, which is filled without regard to packets.
	helloBudget = 128 << 10
	// farewellTimeout bounds what is done for a peer whose link is given up.
	farewellTimeout = time.Second
	// farewellBytes bounds what is read from it meanwhile.
	farewellBytes = 1 << 20
)

// link is one gateway's TCP connection: a goroutine that reads, and a child of it
// that writes. The reader's goroutine owns the connection and is the only one to
// close it; everybody else ends a link through end.
type link struct {
	b      *connectBucket
	conn   net.Conn
	remote string
	fd     int // of conn, for writeDirect; -1 without one
	in     *linkReader
	frames *protocol.Reader

	ctx         context.Context // its cause is why the link ends
	cancel      context.CancelCauseFunc
	interrupted chan struct{} // closed when both deadlines have been put in the past

	// legacy is the session under the remote address, nil where a token is asked
	// for. It is set before the link is listed.
	legacy *session
	// session is that of our gateway, and heard says whether any packet came and
	// whether the first was a hello. They are the reader goroutine's.
	session *session
	heard   heard

	// cut says that a packet was written in part: nothing can follow. It is whose
	// turn it is to write, and the reader goroutine's once nobody writes any more.
	cut  bool
	bufs net.Buffers // the writer's, a field to save its allocation

	mu sync.Mutex // guards the following
	// writer is the session whose queue is written, nil until there is one.
	writer   *session
	stopping bool
	writers  sync.WaitGroup
}

// heard is what the peer has said.
type heard uint8

const (
	heardNothing heard = iota
	heardOther
	heardHello
)

func newLink(ctx context.Context, b *connectBucket, conn net.Conn) *link {
	l := &link{
		b: b, conn: conn, fd: rawio.Descriptor(conn), remote: normalAddr(conn.RemoteAddr().String()),
		interrupted: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	context.AfterFunc(l.ctx, func() {
		past := time.Unix(1, 0)
		conn.SetReadDeadline(past)
		conn.SetWriteDeadline(past)
		close(l.interrupted)
	})
	l.in = &linkReader{link: l, deadline: time.Now().Add(b.opt.HandshakeTimeout), budget: helloBudget}
	l.frames = protocol.NewReader(l.in, b.opt.MaxPacketBytes)
	tuneConn(conn, b.opt)
	return l
}

// end ends the link; the first reason counts. It does not wait and may be called
// under any lock.
func (l *link) end(reason error) { l.cancel(reason) }

// cause is why the link ended, nil while it is up.
func (l *link) cause() error { return context.Cause(l.ctx) }

// converse speaks with the peer until the link ends, and says why it did.
func (l *link) converse() error {
	p, raw, err := l.frames.NextRaw()
	if err != nil {
		return readError(err)
	}
	l.heard = heardOther
	switch {
	case p.Type == protocol.HelloKey:
		l.heard = heardHello
		if err := l.handshake(p); err != nil {
			return err
		}
	case l.legacy == nil:
		return evicted(EvictUnauthenticated, errors.New("the first packet is no hello"))
	default:
		l.beLegacy()
		if err := l.receive(p, raw); err != nil {
			return err
		}
	}
	for {
		p, raw, err := l.frames.NextRaw()
		if err != nil {
			return readError(err)
		}
		if err := l.receive(p, raw); err != nil {
			return err
		}
	}
}

// readError makes an eviction of what is the peer's fault.
func readError(err error) error {
	if errors.Is(err, protocol.ErrBadMagic) || errors.Is(err, protocol.ErrBadHeader) || errors.Is(err, protocol.ErrPacketTooLarge) {
		return evicted(EvictBadFrame, err)
	}
	return err
}

// beLegacy takes the peer for a gateway that says no hello. Such gateways send
// heartbeats only from some versions on: until one has been seen, silence is no
// sign of death, and the kernel's keepalive has to find a dead peer.
func (l *link) beLegacy() {
	l.b.becomeLegacy(l.legacy)
	l.in.establish(0)
	l.startWriter(l.legacy)
}

// receive does what one packet of an established link asks for.
func (l *link) receive(p protocol.Packet, raw []byte) error {
	switch p.Type {
	case protocol.PublishKey:
		if !validTopic(p.Topic, l.b.opt) {
			l.b.counter.drops[DropBadTopic].Add(1) // its gateway's peers are not to suffer for it
			break
		}
		l.b.bus.publish(p.Topic, raw, ViaLink, l.b.counter.now())
	case protocol.HeartbeatKey:
		l.in.idle = 2 * l.b.opt.Heartbeat
	case protocol.OfflineTopicKey, protocol.OfflineTopicByUserIDKey, protocol.OfflineUserKey:
		if p.Type == protocol.OfflineTopicKey && len(p.Body) == 0 {
			p.Body = []byte(p.Topic) // as in Offline: the order is for legacy gateways too
			var err error
			if raw, err = protocol.Enpack(p); err != nil {
				return err
			}
		}
		l.b.broadcast(raw)
	case protocol.HelloKey, protocol.SnapshotKey:
		return evicted(EvictBadFrame, errors.New("a second hello or snapshot"))
	default:
		// A newer peer may know types that this manager does not.
		l.b.counter.drops[DropUnknownType].Add(1)
	}
	return nil
}

// finish lets what is queued out and then ends the link.
func (l *link) finish() {
	l.mu.Lock()
	s := l.writer
	l.mu.Unlock()
	if s == nil {
		l.end(evicted(EvictDraining, nil))
		return
	}
	s.queue.flush()
}

// stop waits until nobody uses the connection any more, the caller excepted. The
// link has been ended.
func (l *link) stop() {
	<-l.interrupted
	l.mu.Lock()
	l.stopping = true
	s := l.writer
	l.mu.Unlock()
	l.writers.Wait()
	if s != nil {
		s.queue.forbidDirect()
	}
}

// tcpConn is what a link uses of TCP, be the connection the net package's or rawio's.
type tcpConn interface {
	CloseWrite() error
	SetLinger(seconds int) error
	SetKeepAliveConfig(net.KeepAliveConfig) error
	SyscallConn() (syscall.RawConn, error)
}

// farewell tells the peer why its link was ended, if that helps it, and closes
// the connection.
func (l *link) farewell() {
	defer l.conn.Close()
	var ev *evictError
	if !errors.As(l.cause(), &ev) {
		return
	}
	tcp, isTCP := l.conn.(tcpConn)
	code := ev.reason.refuseCode()
	if l.cut || code == "" {
		if isTCP {
			_ = tcp.SetLinger(0) // what the kernel still holds would not be read either
		}
		return
	}
	if l.b.opt.Token == "" && l.heard != heardHello {
		return // an older gateway, perhaps, which is not to see what it does not know
	}
	packet, err := controlPacket(protocol.RefuseKey, &topicpb.LinkRefuse{Code: code, Reason: ev.Error()})
	if err != nil {
		return
	}
	l.conn.SetDeadline(time.Now().Add(farewellTimeout))
	if _, err := l.conn.Write(packet); err != nil || !isTCP {
		return
	}
	// Closing with bytes unread makes TCP reset the connection, and the peer
	// would lose what it has not read yet, the reason with it (RFC 1122 4.2.2.13).
	if tcp.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(l.conn, farewellBytes)) // whatever ends it ends the link
	}
}

// controlPacket packs a packet that is about the link itself.
func controlPacket(typ protocol.MessageType, body proto.Message) ([]byte, error) {
	b, err := proto.Marshal(body)
	if err != nil {
		return nil, err
	}
	return protocol.Enpack(protocol.Packet{
		Type: typ, MessageID: controlID, Source: protocol.SourceSystem, Topic: protocol.HeartbeatTopic, Body: b,
	})
}

// log tells once how the link ended.
func (l *link) log() {
	name, log := "", l.b.log
	if l.session != nil {
		name = l.session.id
	}
	var ev *evictError
	switch err := l.cause(); {
	case !errors.As(err, &ev) && l.heard == heardNothing:
		log.Debug("connection ended that had said nothing", "remote", l.remote, "err", err) // a probe of the port
	case !errors.As(err, &ev):
		log.Info("gateway link lost", "gateway", name, "remote", l.remote, "err", err)
	case ev.reason == EvictDraining:
		log.Info("gateway link drained", "gateway", name, "remote", l.remote)
	default:
		log.Warn("gateway evicted", "gateway", name, "remote", l.remote, "reason", string(ev.reason), "err", ev.cause)
	}
}

// linkReader puts the deadlines of a link under every read, so that the peer is
// found dead also in the middle of a packet. It is the reader goroutine's.
type linkReader struct {
	link *link
	// deadline is when the handshake must be over; zero after it.
	deadline time.Time
	// idle is how long an established peer may say nothing; 0 for ever.
	idle time.Duration
	// budget is how many bytes may still come before the hello is accepted; after
	// that -1, no limit.
	budget int
}

// establish ends the handshake's limits.
func (r *linkReader) establish(idle time.Duration) {
	r.deadline, r.idle, r.budget = time.Time{}, idle, -1
}

func (r *linkReader) Read(p []byte) (int, error) {
	l := r.link
	for {
		switch {
		case r.budget == 0:
			return 0, evicted(EvictBadHello, errors.New("too many bytes before a hello"))
		case r.budget > 0:
			p = p[:min(len(p), r.budget)]
		}
		deadline := r.deadline
		if deadline.IsZero() && r.idle > 0 {
			deadline = time.Now().Add(r.idle)
		}
		l.conn.SetReadDeadline(deadline)
		// The link may have been ended before the deadline was set: then the one
		// in the past that ending sets is overwritten, but this sees it.
		if err := l.cause(); err != nil {
			return 0, err
		}
		n, err := l.conn.Read(p)
		if r.budget > 0 {
			r.budget -= n
		}
		if n > 0 || err == nil {
			return n, nil
		}
		if cause := l.cause(); cause != nil {
			return 0, cause
		}
		if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
			return 0, err
		}
		switch {
		case r.deadline.IsZero():
			return 0, evicted(EvictHeartbeat, nil)
		case l.session == nil && l.legacy != nil:
			l.beLegacy() // nothing said, and no token asked for: an older gateway may be silent
		default:
			return 0, evicted(EvictHandshakeTimeout, nil)
		}
	}
}
