package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"firetower/core/protocol"
	"firetower/core/rawio"
	"firetower/core/topicpb"
)

// Errors of handing a message to the manager.
var (
	// ErrLinkDown: there is no link to the manager.
	ErrLinkDown = errors.New("gateway: no link to the manager")
	// ErrLinkFull: the link does not take messages as fast as clients publish.
	ErrLinkFull = errors.New("gateway: queue of the manager link is full")
)

// link is the gateway's TCP connection to the manager's ConnectBucket. It dials,
// says hello with a new epoch and a snapshot of all topics, and then passes
// pushes in and publishes out, until it breaks; then it does so again.
type link struct {
	gateway *Gateway
	up      atomic.Bool
	// firstUp is closed when the first session stands.
	firstUp     chan struct{}
	firstUpOnce sync.Once

	// epoch and received are of the last session that stood; only run uses them.
	epoch    int64
	received uint64

	mu    sync.Mutex // guards the following
	queue [][]byte   // packets for the manager
	bytes int        // of the queue and of what is being written
	// writing is how many packets were taken from the queue and are being written.
	writing int
	wakeup  chan struct{}
}

func newLink(g *Gateway) *link {
	return &link{gateway: g, firstUp: make(chan struct{}), wakeup: make(chan struct{}, 1)}
}

// run keeps the link up until ctx ends.
func (l *link) run(ctx context.Context) {
	g := l.gateway
	wait := newBackoff(g.opts.RedialMin, g.opts.RedialMax)
	for attempt := 0; ; attempt++ {
		stood, err := l.session(ctx)
		if ctx.Err() != nil {
			return
		}
		// One that stood but for a moment is no sign that the next will last.
		if stood > g.opts.RedialMax {
			wait.reset()
			attempt = 0
		}
		g.metrics.linkReconnects.Add(1)
		delay := wait.next()
		if refused := (*RefusedError)(nil); errors.As(err, &refused) && refused.Code == "superseded" {
			g.log.Error("another gateway links by this ClusterID, which must be unique among the gateways of a manager",
				"cluster_id", g.opts.ClusterID, "addr", g.opts.ManagerLink, "err", err)
			delay = g.opts.RedialMax
		}
		// One line when it goes down and then now and again, not one per try.
		if attempt&(attempt+1) == 0 {
			g.log.Warn("manager link is down", "addr", g.opts.ManagerLink, "err", err, "retry_in", delay)
		}
		if !sleep(ctx, delay) {
			return
		}
	}
}

// session dials, serves one link, and tells for how long it stood.
func (l *link) session(ctx context.Context) (stood time.Duration, err error) {
	g := l.gateway
	dialCtx, cancel := context.WithTimeout(ctx, g.opts.HandshakeTimeout)
	dialled, err := (&net.Dialer{}).DialContext(dialCtx, "tcp", g.opts.ManagerLink)
	cancel()
	if err != nil {
		return 0, err
	}
	conn := rawio.Wrap(dialled)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()

	epoch := g.nextEpoch()
	if err := l.greet(conn, epoch); err != nil {
		g.registrar.begin(0)
		return 0, err
	}
	in := &linkReader{conn: conn}
	r := protocol.NewReader(in, g.opts.MaxPacketBytes)
	theirs, err := l.awaitWelcome(r)
	if err != nil {
		g.registrar.begin(0)
		return 0, err
	}
	since := time.Now()
	l.epoch, l.received = epoch, 0
	l.up.Store(true)
	g.registrar.begin(epoch)
	l.firstUpOnce.Do(func() { close(l.firstUp) })
	g.log.Info("manager link is up", "addr", g.opts.ManagerLink, "cluster_id", g.opts.ClusterID, "epoch", epoch)

	// The reader is this goroutine; the writer is its child and ends with it.
	writeErr := make(chan error, 1)
	ended := make(chan struct{})
	labelled("link-writer", "", func() {
		writeErr <- l.writeLoop(conn, min(g.opts.LinkHeartbeat, theirs), ended)
		_ = conn.Close()
	})
	in.patience = 2 * theirs
	err = l.readLoop(ctx, in, r)
	l.up.Store(false)
	g.registrar.begin(0)
	close(ended)
	_ = conn.Close()
	if werr := <-writeErr; werr != nil && errors.Is(err, net.ErrClosed) {
		err = werr
	}
	return time.Since(since), err
}

// snapshotBytes bounds the topics of one snapshot packet.
const snapshotBytes = 256 << 10

// greet sends hello and the snapshot.
func (l *link) greet(conn net.Conn, epoch int64) error {
	g := l.gateway
	hello := &topicpb.LinkHello{
		ClusterId: g.opts.ClusterID, Epoch: epoch, Version: g.opts.Version, Token: g.opts.Token,
		PrevEpoch: l.epoch, Received: l.received,
	}
	out, err := appendLinkPacket(nil, protocol.HelloKey, hello)
	if err != nil {
		return err
	}
	snap := &topicpb.LinkSnapshot{}
	size := 0
	for _, tc := range g.registrar.snapshot(epoch) {
		if size > snapshotBytes {
			if out, err = appendLinkPacket(out, protocol.SnapshotKey, snap); err != nil {
				return err
			}
			snap, size = &topicpb.LinkSnapshot{}, 0
		}
		snap.Topics = append(snap.Topics, tc)
		size += len(tc.Topic) + 16
	}
	snap.Last = true
	if out, err = appendLinkPacket(out, protocol.SnapshotKey, snap); err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(g.opts.HandshakeTimeout))
	if _, err := conn.Write(out); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	return nil
}

func appendLinkPacket(dst []byte, key protocol.MessageType, body proto.Message) ([]byte, error) {
	b, err := proto.Marshal(body)
	if err != nil {
		return dst, err
	}
	return protocol.AppendPacket(dst, protocol.Packet{
		Type: key, MessageID: "0", Source: protocol.SourceSystem, Topic: protocol.HeartbeatTopic, Body: b,
	})
}

// awaitWelcome reads until the manager has the snapshot in place, and returns
// the interval of the manager's heartbeats: what it sends at, and expects.
func (l *link) awaitWelcome(r *protocol.Reader) (time.Duration, error) {
	g := l.gateway
	for {
		p, err := r.Next()
		if err != nil {
			return 0, fmt.Errorf("await welcome: %w", err)
		}
		switch p.Type {
		case protocol.WelcomeKey:
			var w topicpb.LinkWelcome
			if err := proto.Unmarshal(p.Body, &w); err != nil {
				return 0, fmt.Errorf("await welcome: %w", err)
			}
			if w.Missed > 0 {
				g.metrics.linkMissed.Add(int64(w.Missed))
				g.log.Warn("messages of the last link were lost", "count", w.Missed)
			} else if !w.MissedKnown && l.epoch != 0 {
				g.log.Warn("the manager does not know the last link: messages may be lost")
			}
			if w.HeartbeatMs <= 0 {
				return g.opts.LinkHeartbeat, nil
			}
			return time.Duration(w.HeartbeatMs) * time.Millisecond, nil
		case protocol.RefuseKey:
			var refusal topicpb.LinkRefuse
			if err := proto.Unmarshal(p.Body, &refusal); err != nil {
				return 0, fmt.Errorf("await welcome: %w", err)
			}
			return 0, &RefusedError{Code: refusal.Code, Reason: refusal.Reason}
		default: // a heartbeat
		}
	}
}

// RefusedError says why the manager does not take this gateway's link.
type RefusedError struct{ Code, Reason string }

// Error implements error.
func (e *RefusedError) Error() string {
	return "gateway: manager refused the link: " + e.Code + ": " + e.Reason
}

// inlineBehind is how many bytes may have come behind a message that the link's reader writes
// to its few subscribers by itself; with more, it leaves the writing to the consumers,
// which are many and join.
const inlineBehind = 4 << 10

// linkReader reads a link. A manager of which nothing comes, not a byte, for patience (two of
// its heartbeats), and at most an eighth of that more, is dead, whatever TCP says. The eighth
// is there so that not each read sets a deadline.
type linkReader struct {
	conn     net.Conn
	patience time.Duration // 0 while the link is made, which has a deadline as a whole
	deadline time.Time
}

// Read implements io.Reader.
func (r *linkReader) Read(b []byte) (int, error) {
	if r.patience > 0 {
		if soonest := time.Now().Add(r.patience); r.deadline.Before(soonest) {
			r.deadline = soonest.Add(r.patience / 8)
			if err := r.conn.SetReadDeadline(r.deadline); err != nil {
				return 0, err
			}
		}
	}
	return r.conn.Read(b)
}

// waits is how often a read had to wait, as far as the connection tells.
func (r *linkReader) waits() uint64 {
	if c, ok := r.conn.(*rawio.Conn); ok {
		return c.Waits()
	}
	return 0
}

// readLoop passes on what the manager sends.
func (l *link) readLoop(ctx context.Context, in *linkReader, r *protocol.Reader) error {
	g := l.gateway
	streak, waits := 0, in.waits()
	for {
		p, err := r.Next()
		if err != nil {
			return fmt.Errorf("read from manager: %w", err)
		}
		if n := in.waits(); n != waits {
			streak, waits = 0, n
		}
		switch p.Type {
		case protocol.PublishKey:
			l.received++
			g.metrics.received.Add(1)
			how := writing{inline: r.Buffered() < inlineBehind, streak: &streak}
			if !g.towers.dispatch(&push{topic: p.Topic, data: p.Body, arrived: g.clock.now()}, how) {
				g.metrics.drop(DropShutdown, 1)
				return cmp.Or(context.Cause(ctx), ErrStopped)
			}
		case protocol.HeartbeatKey:
		case protocol.OfflineTopicKey, protocol.OfflineTopicByUserIDKey, protocol.OfflineUserKey:
			g.order(ctx, p)
		case protocol.RefuseKey:
			var refusal topicpb.LinkRefuse
			_ = proto.Unmarshal(p.Body, &refusal) // the code is for people here
			return &RefusedError{Code: refusal.Code, Reason: refusal.Reason}
		default:
			g.metrics.drop(DropBadPush, 1)
			g.log.Warn("unknown packet from the manager", "type", string(p.Type))
		}
	}
}

// send queues a packet for the manager.
func (l *link) send(packet []byte) error {
	if len(packet) > l.gateway.opts.MaxPacketBytes {
		return fmt.Errorf("gateway: publish: %w", protocol.ErrPacketTooLarge)
	}
	if !l.up.Load() {
		l.gateway.metrics.drop(DropLinkDown, 1)
		return ErrLinkDown
	}
	l.mu.Lock()
	if l.bytes+len(packet) > l.gateway.opts.LinkQueueBytes {
		l.mu.Unlock()
		l.gateway.metrics.drop(DropLinkFull, 1)
		return ErrLinkFull
	}
	l.queue = append(l.queue, packet)
	l.bytes += len(packet)
	l.mu.Unlock()
	wake(l.wakeup)
	return nil
}

// writeLoop writes what is queued, joined into one writev, and heartbeats. What
// waits when the link breaks goes out over the next one.
func (l *link) writeLoop(conn net.Conn, heartbeat time.Duration, ended <-chan struct{}) error {
	beat, err := protocol.Enpack(protocol.HeartbeatPacket())
	if err != nil {
		return err
	}
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	wake(l.wakeup) // for what an earlier link left
	for {
		var packets net.Buffers
		publishes, size := 0, 0
		select {
		case <-ended:
			return nil
		case <-ticker.C:
			packets = net.Buffers{beat}
		case <-l.wakeup:
			l.mu.Lock()
			packets, l.queue = l.queue, nil
			publishes, size = len(packets), l.bytes
			l.writing = publishes
			l.mu.Unlock()
		}
		if len(packets) == 0 {
			continue
		}
		err := writePatiently(conn, &packets, 2*heartbeat)
		l.mu.Lock()
		l.writing = 0
		l.bytes -= size
		l.mu.Unlock()
		if err != nil {
			if publishes > 0 { // WriteTo has taken those that it wrote out of packets
				l.gateway.metrics.drop(DropLinkLost, len(packets))
			}
			return fmt.Errorf("write to manager: %w", err)
		}
	}
}

// writePatiently writes all of packets to a peer that takes a byte in each patience, and takes
// what it has written out of them.
func writePatiently(conn net.Conn, packets *net.Buffers, patience time.Duration) error {
	for {
		if err := conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		n, err := rawio.WriteBuffers(conn, packets)
		if n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// flush waits until the queue is empty, until timeout, and counts what is left.
func (l *link) flush(timeout time.Duration) {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		l.mu.Lock()
		n := len(l.queue) + l.writing
		l.mu.Unlock()
		if n == 0 || !l.up.Load() {
			l.gateway.metrics.drop(DropShutdown, n)
			return
		}
		select {
		case <-poll.C:
		case <-deadline.C:
			l.gateway.metrics.drop(DropShutdown, n)
			return
		}
	}
}
