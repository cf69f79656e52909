package gateway

import (
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"firetower/core/protocol"
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
// Its methods are safe for use by several goroutines, but for the Set...Handler
// ones, which must come before Run.
type FireTower struct {
	mu sync.Mutex // guards the following
	// fd is the descriptor for direct writes, -1 where there is none. It is
	// closed only under mu, so it stays this connection's while mu is held.
	fd      int
	state   towerState
	overdue bool
	// farewell: the backlog is cut down to what must precede the close frame.
	farewell bool
	why      DisconnectReason
	backlog  *backlog
	closeBy  time.Time
	linger   *time.Timer

	// pong answers the latest ping that came while there was a backlog.
	pong []byte

	gateway *Gateway
	bucket  *Bucket
	conn    net.Conn
	// out is conn, or the TCP connection inside it, which writes many frames at once.
	out   net.Conn
	ws    *websocket.Conn
	id    uint64
	proto subprotocol
	// compressed: permessage-deflate was negotiated.
	compressed bool
	slotPos    int // its place in the Bucket's heartbeat slot; guarded by bucket.mu
	// lastSeen is when something came from the client, in the gateway's clock.
	lastSeen atomic.Int64
	// pinged is when the ping went out that is to be answered by now, 0 for none;
	// the heartbeat's own.
	pinged   int64
	timedOut atomic.Bool
	running  atomic.Bool
	poll     *pollConn // nil where a goroutine reads
	reading  int32     // readIdle, readBusy or readAgain
	gone     chan struct{}

	subMu sync.Mutex // guards the following; held while subscriptions change
	subs  subscriptionSet
	left  bool

	clientID string
	userID   string
	handlers handlers
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
	if err := g.towers.reserve(); err != nil {
		_ = ws.Close()
		return nil, err
	}
	return g.buildTower(ws, who, false)
}

// buildTower makes a FireTower for which room is reserved.
func (g *Gateway) buildTower(ws *websocket.Conn, who Identity, compressed bool) (*FireTower, error) {
	conn := ws.NetConn()
	t := &FireTower{
		gateway:    g,
		conn:       conn,
		out:        conn,
		ws:         ws,
		id:         g.connIDs.Add(1),
		fd:         rawDescriptor(conn),
		gone:       make(chan struct{}),
		clientID:   who.ClientID,
		userID:     who.UserID,
		compressed: compressed,
	}
	if c, ok := conn.(*pollConn); ok && g.poller != nil && t.fd >= 0 {
		t.poll, t.out = c, c.Conn
		c.sealed = true
	}
	if ws.Subprotocol() == protocol.SubprotocolV1 {
		t.proto = v1
	}
	if t.clientID == "" {
		t.clientID = fmt.Sprintf("%s-%d", g.opts.ClusterID, t.id)
	}
	if n := g.opts.Limits.SocketBytes; n > 0 && t.fd >= 0 {
		limitUnsent(t.fd, n)
	}
	t.lastSeen.Store(g.clock.now())
	ws.SetReadLimit(int64(g.opts.Limits.MaxFrameBytes))
	ws.SetPingHandler(t.onPing)
	ws.SetPongHandler(func(string) error { t.touch(); return nil })
	ws.SetCloseHandler(t.onClose)
	if err := g.towers.admit(t); err != nil {
		_ = ws.WriteControl(websocket.CloseMessage,
			websocket.FormatCloseMessage(protocol.CloseServiceRestart, "stopping"), time.Now().Add(g.opts.CloseTimeout))
		_ = ws.Close()
		g.towers.release()
		return nil, err
	}
	g.metrics.connected.Add(1)
	if compressed {
		g.metrics.connectedCompressed.Add(1)
	}
	return t, nil
}

// ID is unique among the connections of this gateway.
func (t *FireTower) ID() uint64 { return t.id }

// ClientID is the application's name of the client; not unique.
func (t *FireTower) ClientID() string { return t.clientID }

// UserID is whom offline orders name; empty when nobody was told.
func (t *FireTower) UserID() string { return t.userID }

// Subprotocol is what the connection speaks: firetower.v0 or firetower.v1.
func (t *FireTower) Subprotocol() string { return t.proto.String() }

// Done is closed when the connection has ended and its offline handler has returned.
func (t *FireTower) Done() <-chan struct{} { return t.gone }

// Run serves the connection until it ends. It is to be called once.
func (t *FireTower) Run() {
	if t.start() {
		<-t.gone
	}
}

// start begins to serve the connection and reports whether it had not begun.
// Where there is no poller it has a goroutine.
func (t *FireTower) start() bool {
	if !t.running.CompareAndSwap(false, true) {
		return false
	}
	t.gateway.log.Debug("connection opened", "conn", t.id, "client", t.clientID, "protocol", t.proto.String())
	if h := t.handlers.connect; h != nil && !h() {
		t.shut(protocol.CloseForbidden, "refused", DisconnectHandler)
	}
	if t.poll == nil {
		go func() { t.finish(t.readLoop()) }()
	} else if err := t.gateway.poller.add(t); err != nil {
		t.fail(err) // closes, which wakes the reader to its end
		t.wake()
	}
	return true
}

// Close disconnects the client with a WebSocket close code (RFC 6455 section 7.4) and a
// reason. What waits for the connection is written first, within
// Options.CloseTimeout.
func (t *FireTower) Close(code int, reason string) {
	t.shut(code, reason, DisconnectKicked)
	if t.running.CompareAndSwap(false, true) {
		t.finish(nil) // it never ran: there is no reader to see the end
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
	t.state, t.why = stateClosing, why
	t.closeBy = time.Now().Add(t.gateway.opts.CloseTimeout)
	t.linger = time.AfterFunc(t.gateway.opts.CloseTimeout, t.closeConn)
	var err error
	if b := t.backlog; b == nil {
		err = t.sendLocked(frame)
	} else {
		// A slow client is not made to take what it did not take before: only a
		// frame that has begun must end before the close frame can follow.
		cutShort := why == DisconnectSlow || why == DisconnectDead
		if cutShort && t.fd >= 0 && t.gateway.opts.Limits.SocketBytes > 0 {
			limitUnsent(t.fd, math.MaxInt32) // so that the close frame gets into the socket
		}
		if cutShort && b.inFlight == 0 {
			t.farewell = true
			t.gateway.metrics.drop(t.dropReasonLocked(), t.truncateLocked())
		}
		b.append(entry{data: frame, since: t.gateway.clock.now()})
		t.gateway.metrics.backlogBytes.Add(int64(len(frame)))
		deadline := t.closeBy
		if cutShort && b.inFlight > 0 {
			deadline = time.Unix(1, 0) // interrupts the flusher, which then truncates
		}
		err = t.conn.SetWriteDeadline(deadline)
	}
	t.mu.Unlock()
	t.leaveAll()
	if err != nil {
		t.closeConn()
	}
	return true
}

// closeConn closes the socket; it is the only place that does. The reader sees
// it and finishes the connection.
func (t *FireTower) closeConn() {
	t.mu.Lock()
	if t.state == stateClosed {
		t.mu.Unlock()
		return
	}
	t.state, t.fd = stateClosed, -1
	linger := t.linger
	if b := t.backlog; b != nil {
		t.gateway.metrics.drop(t.dropReasonLocked(), b.messages)
		t.gateway.metrics.backlogBytes.Add(int64(-b.bytes))
		t.gateway.metrics.backlogged.Add(-1)
		t.backlog = nil
	}
	t.mu.Unlock()
	if linger != nil {
		linger.Stop()
	}
	_ = t.conn.Close()
	if t.poll != nil && t.running.Load() {
		t.wake() // nobody waits in a read; the one who finds it closed finishes
	}
}

// finish is the end of the connection, run by its reader.
func (t *FireTower) finish(err error) {
	t.mu.Lock()
	if t.why == "" {
		t.why = disconnectReasonOf(err)
	}
	why := t.why
	broken := t.state == stateOpen && (why == DisconnectProtocol || why == DisconnectTooBig)
	t.mu.Unlock()
	if broken {
		code := websocket.CloseProtocolError
		if why == DisconnectTooBig {
			code = websocket.CloseMessageTooBig
		}
		// Where there is no pollConn the WebSocket library has sent its close frame already;
		// a second one is for a client to ignore (RFC 6455 section 5.5.1).
		t.shut(code, err.Error(), why)
		t.discard()
	}
	t.closeConn()
	if t.poll != nil {
		t.gateway.poller.remove(t)
	}
	t.leaveAll()
	t.gateway.metrics.disconnect(why)
	t.gateway.log.Debug("connection ended", "conn", t.id, "reason", string(why), "err", err)
	if h := t.handlers.offline; h != nil {
		h()
	}
	t.gateway.towers.forget(t)
	close(t.gone)
}

// discardBytes bounds what is read from a client after it was told to go.
const discardBytes = 256 << 10

// discard reads on for a moment after an error was told to the client: closing
// a socket with unread data resets the connection, and the reset would take the
// close frame with it (RFC 1122 section 4.2.2.13).
func (t *FireTower) discard() {
	_ = t.conn.SetReadDeadline(time.Now().Add(t.gateway.opts.CloseTimeout))
	if c, ok := t.conn.(interface{ CloseWrite() error }); ok && !t.flushing() {
		_ = c.CloseWrite()
	}
	buf := t.gateway.readBuffers.get()
	defer t.gateway.readBuffers.put(buf)
	scratch := buf.bytes[:cap(buf.bytes)]
	for n := 0; n < discardBytes; {
		m, err := t.conn.Read(scratch)
		n += m
		if err != nil {
			return
		}
	}
}

func (t *FireTower) flushing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.backlog != nil
}

// touch notes that the client is alive.
func (t *FireTower) touch() { t.lastSeen.Store(t.gateway.clock.now()) }
