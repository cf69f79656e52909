package gateway

import (
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"firetower/core/protocol"
	"firetower/core/rawio"
)

// Errors of a connection's methods.
var (
	// ErrClosed: the connection is closed or closing.
	ErrClosed = errors.New("gateway: connection is closed")
	// ErrSlow: the connection was closed because its backlog is full.
	ErrSlow = errors.New("gateway: connection is too slow")
)

type towerState uint8

const (
	stateOpen    towerState = iota
	stateClosing            // a close frame is on its way; nothing else is sent
	stateClosed             // the descriptor may be someone else's
)

// FireTower is one client connection. It is never pooled or used again.
//
// At rest it is what stands here, a descriptor among it: what reads frames is lent to it
// while some come (reader), and what only few connections ever need is behind a pointer.
//
// Its methods are safe for use by several goroutines, but for the Set...Handler
// ones, which must come before Run.
type FireTower struct {
	mu sync.Mutex // guards the following
	// fd is the descriptor for direct reads and writes, -1 where there is none. It is
	// closed only after it was taken out of here under mu, so it stays this connection's
	// while mu is held.
	fd      int32
	state   towerState
	overdue bool
	// farewell: the backlog is cut down to what must precede the close frame.
	farewell bool
	// finishing: somebody sees to its end; ended: its offline handler has returned.
	finishing bool
	ended     bool
	backlog   *backlog
	ending    *ending // nil while nobody ends the connection
	reader    *reader // what reads its frames, while some come
	gone      chan struct{}

	gateway *Gateway
	bucket  *Bucket
	// stream is how the connection is read, and written to by a flusher, where the gateway
	// has not taken the descriptor out of it; nil where the poller watches the descriptor.
	stream *stream
	id     uint64
	// lastSeen is when something came from the client, in the gateway's clock.
	lastSeen atomic.Int64
	// pinged is when the ping went out that is to be answered by now, 0 for none;
	// the heartbeat's own.
	pinged   int64
	slotPos  int32 // its place in the Bucket's heartbeat slot; guarded by bucket.mu
	reading  int32 // readIdle, readBusy or readAgain
	timedOut atomic.Bool
	running  atomic.Bool
	proto    subprotocol
	// compressed: permessage-deflate was negotiated.
	compressed bool

	subMu sync.Mutex // guards the following; held while subscriptions change
	left  bool
	subs  subscriptionSet

	access   atomic.Pointer[Access] // nil is everything
	clientID string                 // empty where it is made of the gateway's and the connection's
	userID   string
	remote   netip.AddrPort
	counted  bool      // among the connections of its address
	handlers *handlers // nil where the application set none
}

// ending is what is known of a connection that is about to end.
type ending struct {
	why     DisconnectReason
	closeBy time.Time
	linger  *time.Timer
}

// stream is a connection that the WebSocket library reads through a net.Conn of its own:
// TLS, one that the application upgraded, and every one where there is no poller.
type stream struct {
	conn net.Conn
	ws   *websocket.Conn
}

// BuildTower makes a FireTower of an upgraded connection and takes ownership of
// it: nobody else may write to it or close it from now on, since the FireTower
// writes to its descriptor directly. Set the handlers, then call Run. An empty
// clientID takes a generated one. It fails when the gateway has stopped or is
// full, and then closes ws. It sends messages uncompressed, whatever ws has negotiated.
func (g *Gateway) BuildTower(ws *websocket.Conn, clientID string) (*FireTower, error) {
	return g.BuildTowerFor(ws, Identity{ClientID: clientID})
}

// BuildTowerFor is BuildTower for a client whose user is known too, so that offline
// orders reach it.
func (g *Gateway) BuildTowerFor(ws *websocket.Conn, who Identity) (*FireTower, error) {
	if ws == nil {
		return nil, errors.New("gateway: build tower: no connection")
	}
	// Who upgrades connections may know a client's address better than the socket
	// does, so those are not counted by address.
	if err := g.towers.reserve(netip.Addr{}); err != nil {
		_ = ws.Close()
		return nil, err
	}
	return g.buildTower(ws, identified{who: who})
}

// identified is what is known of a client when its connection is made.
type identified struct {
	who Identity
	// client is the address that it is counted under, where that is valid.
	client netip.AddrPort
	// compressed: permessage-deflate was negotiated.
	compressed bool
}

// buildTower makes a FireTower for which room is reserved, of a connection that keeps its
// net.Conn.
func (g *Gateway) buildTower(ws *websocket.Conn, who identified) (*FireTower, error) {
	conn, quiet := ws.NetConn(), func() {}
	if q, ok := conn.(*quietConn); ok {
		conn, quiet = q.Conn, func() { q.quiet = true }
	}
	t := g.newTower(ws, who)
	t.stream = &stream{conn: conn, ws: ws}
	t.fd = int32(rawio.Descriptor(conn))
	if n := g.opts.Limits.SocketBytes; n > 0 {
		if fd := optionsDescriptor(conn); fd >= 0 {
			limitUnsent(fd, n)
		}
	}
	ws.SetReadLimit(int64(g.opts.Limits.MaxFrameBytes))
	ws.SetPingHandler(t.onPing)
	ws.SetPongHandler(func(string) error { t.touch(); return nil })
	ws.SetCloseHandler(t.onClose)
	if err := g.takeIn(t); err != nil {
		_ = ws.WriteControl(websocket.CloseMessage,
			websocket.FormatCloseMessage(protocol.CloseServiceRestart, "stopping"), time.Now().Add(g.opts.CloseTimeout))
		_ = ws.Close()
		return nil, err
	}
	quiet() // nobody reads from it yet
	return t, nil
}

// buildPolled is buildTower for a connection that is its descriptor alone, which is the
// gateway's own and does not block; ws is of the past.
func (g *Gateway) buildPolled(fd int, ws *websocket.Conn, who identified) (*FireTower, error) {
	t := g.newTower(ws, who)
	t.fd = int32(fd)
	if err := g.takeIn(t); err != nil {
		_, _ = rawio.Send(fd, closeFrame(protocol.CloseServiceRestart, "stopping"))
		closeDescriptor(fd)
		return nil, err
	}
	return t, nil
}

func (g *Gateway) newTower(ws *websocket.Conn, who identified) *FireTower {
	t := &FireTower{
		gateway: g, id: g.connIDs.Add(1), clientID: who.who.ClientID, userID: who.who.UserID,
		remote: who.client, counted: who.client.IsValid(), compressed: who.compressed,
	}
	if !t.counted {
		t.remote = addrPortOf(ws.RemoteAddr())
	}
	if ws.Subprotocol() == protocol.SubprotocolV1 {
		t.proto = v1
	}
	t.access.Store(who.who.Access)
	return t
}

// takeIn lets a connection take the room that is reserved for it, or gives the room back.
func (g *Gateway) takeIn(t *FireTower) error {
	t.lastSeen.Store(g.clock.now())
	if err := g.towers.admit(t); err != nil {
		g.towers.release(t.countedAddr())
		return err
	}
	g.metrics.connected.Add(1)
	if t.compressed {
		g.metrics.connectedCompressed.Add(1)
	}
	return nil
}

// countedAddr is the address that the connection is counted under, if it is.
func (t *FireTower) countedAddr() netip.Addr {
	if !t.counted {
		return netip.Addr{}
	}
	return t.remote.Addr()
}

// ID is unique among the connections of this gateway.
func (t *FireTower) ID() uint64 { return t.id }

// ClientID is the application's name of the client; not unique.
func (t *FireTower) ClientID() string {
	if t.clientID == "" {
		return t.gateway.opts.ClusterID + "-" + strconv.FormatUint(t.id, 10)
	}
	return t.clientID
}

// UserID is whom offline orders name; empty when nobody was told.
func (t *FireTower) UserID() string { return t.userID }

// Subprotocol is what the connection speaks: firetower.v0 or firetower.v1.
func (t *FireTower) Subprotocol() string { return t.proto.String() }

// Done is closed when the connection has ended and its offline handler has returned.
func (t *FireTower) Done() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone == nil {
		t.gone = make(chan struct{})
		if t.ended {
			close(t.gone)
		}
	}
	return t.gone
}

// Run serves the connection until it ends. It is to be called once.
func (t *FireTower) Run() {
	if t.start() {
		<-t.Done()
	}
}

// start begins to serve the connection and reports whether it had not begun.
// Where there is no poller it has a goroutine.
func (t *FireTower) start() bool {
	if !t.running.CompareAndSwap(false, true) {
		return false
	}
	t.gateway.log.Debug("connection opened", "conn", t.id, "remote", t.remote, "client", t.ClientID(), "protocol", t.proto.String())
	if h := t.on().connect; h != nil && !h() {
		t.shut(protocol.CloseForbidden, "refused", DisconnectHandler)
	}
	t.watch()
	return true
}

// watch has what comes from the client read until the connection's end, which it finishes.
func (t *FireTower) watch() {
	if t.stream != nil {
		go func() { t.finish(t.readLoop()) }()
	} else if err := t.gateway.poller.add(t); err != nil {
		t.fail(err) // closes, which wakes the reader to its end
		t.wake()
	}
}

// Close disconnects the client with a WebSocket close code (RFC 6455 section 7.4) and a
// reason. What waits for the connection is written first, within
// Options.CloseTimeout.
func (t *FireTower) Close(code int, reason string) {
	t.shut(code, reason, DisconnectKicked)
	if t.running.CompareAndSwap(false, true) {
		t.watch() // it never ran: there was nobody to see the end, which may wait for a flusher
	}
}

// ToSelf sends data to this client alone, as one message just as it is: text
// where it is UTF-8, binary otherwise. It never waits for the client.
func (t *FireTower) ToSelf(data []byte) error {
	p := push{data: data}
	return t.send(p.frame(variantOf(v0, false), nil))
}

// shut begins the closing handshake and reports whether it was the first to.
func (t *FireTower) shut(code int, reason string, why DisconnectReason) bool {
	frame := closeFrame(code, reason)
	t.mu.Lock()
	if t.state != stateOpen {
		t.mu.Unlock()
		return false
	}
	t.state = stateClosing
	e := t.endLocked(why)
	e.closeBy = time.Now().Add(t.gateway.opts.CloseTimeout)
	e.linger = time.AfterFunc(t.gateway.opts.CloseTimeout, t.closeConn)
	var err error
	if b := t.backlog; b == nil {
		err = t.sendLocked(frame)
	} else {
		// A slow client is not made to take what it did not take before: only a
		// frame that has begun must end before the close frame can follow.
		cutShort := why == DisconnectSlow || why == DisconnectDead
		if cutShort && t.fd >= 0 && t.gateway.opts.Limits.SocketBytes > 0 {
			limitUnsent(int(t.fd), math.MaxInt32) // so that the close frame gets into the socket
		}
		if cutShort && b.inFlight == 0 {
			t.cutDownLocked()
		}
		b.append(entry{data: frame, since: t.gateway.clock.now()})
		t.gateway.metrics.backlogBytes.Add(int64(len(frame)))
		err = t.hastenLocked(b, cutShort)
	}
	t.mu.Unlock()
	t.leaveAll()
	if err != nil {
		t.closeConn()
	}
	return true
}

// endLocked notes why the connection ends, unless that is known already.
func (t *FireTower) endLocked(why DisconnectReason) *ending {
	if t.ending == nil {
		t.ending = &ending{why: why}
	}
	return t.ending
}

// hastenLocked lets the flusher of a backlog know that the connection is to end.
func (t *FireTower) hastenLocked(b *backlog, cutShort bool) error {
	if t.stream == nil {
		wake(b.writable)
		return nil
	}
	deadline := t.ending.closeBy
	if cutShort && b.inFlight > 0 {
		deadline = time.Unix(1, 0) // interrupts the flusher, which then truncates
	}
	return t.stream.conn.SetWriteDeadline(deadline)
}

// closeConn closes the socket; it is the only place that does. The reader sees
// it and finishes the connection.
func (t *FireTower) closeConn() {
	t.mu.Lock()
	if t.state == stateClosed {
		t.mu.Unlock()
		return
	}
	fd := int(t.fd)
	t.state, t.fd = stateClosed, -1
	var linger *time.Timer
	whole := t.backlog == nil
	if t.ending != nil {
		linger = t.ending.linger
		whole = whole && t.ending.why != DisconnectWrite
	}
	if b := t.backlog; b != nil {
		t.gateway.metrics.drop(t.dropReasonLocked(), b.messages)
		t.gateway.metrics.backlogBytes.Add(int64(-b.bytes))
		t.gateway.metrics.backlogged.Add(-1)
		t.backlog = nil
		wake(b.writable)
		b.end()
	}
	t.mu.Unlock()
	if linger != nil {
		linger.Stop()
	}
	if t.stream != nil {
		t.closeStream(whole)
		return
	}
	t.gateway.poller.remove(fd, t)
	closeDescriptor(fd)
	if t.running.Load() {
		t.wake() // nobody waits in a read; the one who finds it closed finishes
	}
}

// finish is the end of the connection, run by its reader.
func (t *FireTower) finish(err error) {
	t.mu.Lock()
	if t.finishing {
		t.mu.Unlock()
		return
	}
	t.finishing = true
	why := t.endLocked(disconnectReasonOf(err)).why
	broken := t.state == stateOpen && (why == DisconnectProtocol || why == DisconnectTooBig)
	t.mu.Unlock()
	if broken {
		code := websocket.CloseProtocolError
		if why == DisconnectTooBig {
			code = websocket.CloseMessageTooBig
		}
		// Of a connection that the application upgraded the WebSocket library has sent its
		// close frame already; a second one is for a client to ignore (RFC 6455 section 5.5.1).
		t.shut(code, err.Error(), why)
		t.discard()
	}
	t.answerClose(err)
	t.closeConn()
	t.leaveAll()
	t.gateway.metrics.disconnect(why)
	t.gateway.log.Debug("connection ended", "conn", t.id, "remote", t.remote, "reason", string(why), "err", err)
	if h := t.on().offline; h != nil {
		h()
	}
	t.gateway.towers.forget(t)
	t.mu.Lock()
	t.ended = true
	if t.gone != nil {
		close(t.gone)
	}
	t.mu.Unlock()
}

// answerClose waits until the answer to the client's close frame is written, which RFC 6455
// section 5.5.1 demands: a flusher may be about to, or has a frame to end first. What else
// waits is for nobody any more; a flusher that is writing drops it when it is done. The
// closing's own timer bounds the wait.
func (t *FireTower) answerClose(err error) {
	var closed *websocket.CloseError
	if !errors.As(err, &closed) || closed.Code == websocket.CloseAbnormalClosure { // the latter came over no wire
		return
	}
	t.mu.Lock()
	b := t.backlog
	if b == nil || t.state != stateClosing {
		t.mu.Unlock()
		return
	}
	if b.inFlight == 0 && !t.farewell {
		t.cutDownLocked()
	}
	done := make(chan struct{})
	b.done = done
	t.mu.Unlock()
	<-done
}

// discardBytes bounds what is read from a client after it was told to go.
const discardBytes = 256 << 10

// discard reads on for a moment after an error was told to the client: closing
// a socket with unread data resets the connection, and the reset would take the
// close frame with it (RFC 1122 section 4.2.2.13).
func (t *FireTower) discard() {
	deadline := time.Now().Add(t.gateway.opts.CloseTimeout)
	var src io.Reader
	if t.stream != nil {
		_ = t.stream.conn.SetReadDeadline(deadline)
		if c, ok := t.stream.conn.(interface{ CloseWrite() error }); ok && !t.flushing() {
			_ = c.CloseWrite()
		}
		src = t.stream.conn
	} else {
		r := t.attached()
		if r == nil {
			return
		}
		if !t.flushing() {
			t.closeWrite()
		}
		r.waitUntil(deadline)
		src = &r.wire
	}
	buf := t.gateway.readBuffers.get()
	defer t.gateway.readBuffers.put(buf)
	scratch := buf.bytes[:cap(buf.bytes)]
	for n := 0; n < discardBytes; {
		m, err := src.Read(scratch)
		n += m
		if err != nil {
			return
		}
	}
}

// closeWrite ends the sending side of a descriptor (shutdown(2)).
func (t *FireTower) closeWrite() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fd >= 0 {
		shutdownWrite(int(t.fd))
	}
}

func (t *FireTower) flushing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.backlog != nil
}

// touch notes that the client is alive.
func (t *FireTower) touch() { t.lastSeen.Store(t.gateway.clock.now()) }
