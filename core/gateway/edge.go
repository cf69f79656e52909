package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"
)

// edgeListener takes what comes before the upgrade request, the PROXY protocol's
// header and the TLS handshake, off each connection before the HTTP server gets it.
// Each connection has a goroutine of its own meanwhile, so that none delays the
// accept loop or another one.
type edgeListener struct {
	net.Listener
	log     *slog.Logger
	metrics *edgeMetrics
	timeout time.Duration
	proxy   ProxyProtocol
	trusted networks
	tls     *tls.Config // nil without TLS
	// work bounds how many handshakes compute at once. More than there are processors
	// would finish none earlier, and keep the fan-out waiting for its turn.
	work chan struct{}

	ready    chan net.Conn
	failed   chan error
	done     chan struct{}
	stopOnce sync.Once
	running  sync.WaitGroup

	mu      sync.Mutex // guards the following
	pending map[net.Conn]struct{}
}

func newEdgeListener(l net.Listener, g *Gateway) *edgeListener {
	e := &edgeListener{
		Listener: l,
		log:      g.log,
		metrics:  &g.metrics.edge,
		timeout:  g.opts.HandshakeTimeout,
		proxy:    g.opts.Proxy.Protocol,
		trusted:  g.trusted,
		work:     make(chan struct{}, runtime.GOMAXPROCS(0)),
		ready:    make(chan net.Conn),
		failed:   make(chan error, 1),
		done:     make(chan struct{}),
		pending:  make(map[net.Conn]struct{}),
	}
	if g.certificates != nil {
		e.tls = g.certificates.config()
	}
	e.running.Add(1)
	labelled("edge-accept", "", func() {
		defer e.running.Done()
		e.acceptLoop()
	})
	return e
}

// Accept implements net.Listener.
func (e *edgeListener) Accept() (net.Conn, error) {
	select {
	case c := <-e.ready:
		return c, nil
	case err := <-e.failed:
		return nil, err
	case <-e.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener: it ends the connections that the HTTP server has not
// got, too.
func (e *edgeListener) Close() error {
	var err error
	e.stopOnce.Do(func() {
		close(e.done)
		err = e.Listener.Close()
		e.mu.Lock()
		for c := range e.pending {
			_ = c.Close()
		}
		e.mu.Unlock()
		e.running.Wait()
	})
	return err
}

// acceptLoop waits longer and longer when the process or the machine has no
// descriptors left, as net/http does.
func (e *edgeListener) acceptLoop() {
	const first, longest = 5 * time.Millisecond, time.Second
	wait := first
	for {
		c, err := e.Listener.Accept()
		if err == nil {
			wait = first
			if e.begin(c) {
				go e.welcome(c)
			}
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if !temporary(err) {
			e.failed <- err
			return
		}
		e.log.Warn("cannot accept connections now", "err", err, "again_in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-e.done:
			timer.Stop()
			return
		}
		wait = min(2*wait, longest)
	}
}

// temporary tells whether Accept may succeed later: out of descriptors or memory, or
// a client that was gone at once. net.Error's method of that name is deprecated for
// being vague about timeouts, of which there are none here.
func temporary(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	return ok && t.Temporary()
}

// begin notes a connection as pending, unless the listener is closed.
func (e *edgeListener) begin(c net.Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.done:
		_ = c.Close()
		return false
	default:
	}
	e.pending[c] = struct{}{}
	e.running.Add(1)
	return true
}

// welcome brings a connection to where the HTTP server can have it, or closes it.
func (e *edgeListener) welcome(raw net.Conn) {
	defer e.running.Done()
	c, err := e.prepare(raw)
	e.mu.Lock()
	delete(e.pending, raw)
	e.mu.Unlock()
	if err != nil {
		_ = raw.Close()
		return
	}
	select {
	case e.ready <- c:
	case <-e.done:
		_ = raw.Close()
	}
}

// prepare returns what the HTTP server is to serve. An error is counted.
func (e *edgeListener) prepare(raw net.Conn) (net.Conn, error) {
	deadline := time.Now().Add(e.timeout)
	if err := raw.SetDeadline(deadline); err != nil {
		return nil, err
	}
	c := &edgeConn{Conn: raw}
	if e.proxy != ProxyOff {
		if why := c.takeProxyHeader(e.proxy, e.trusted); why != "" {
			e.metrics.refuseProxy(e.whyStopped(why))
			e.log.Debug("connection without an acceptable PROXY header", "peer", raw.RemoteAddr(), "reason", string(why))
			return nil, ErrProxyHeader
		}
	}
	if e.tls == nil {
		return c, raw.SetDeadline(time.Time{})
	}
	secure, err := e.handshake(c, deadline)
	if err != nil {
		why := handshakeFailureOf(err)
		e.metrics.failHandshake(why)
		e.log.Debug("TLS handshake failed", "remote", c.RemoteAddr(), "reason", string(why), "err", err)
		return nil, err
	}
	return secure, raw.SetDeadline(time.Time{})
}

func (e *edgeListener) whyStopped(why ProxyRefusal) ProxyRefusal {
	select {
	case <-e.done:
		return ProxyStopped
	default:
		return why
	}
}

func (e *edgeListener) handshake(c *edgeConn, deadline time.Time) (*tls.Conn, error) {
	secure := tls.Server(c, e.tls)
	c.worker = &worker{slots: e.work, done: e.done, deadline: deadline}
	err := secure.HandshakeContext(context.Background())
	c.worker.leave()
	c.worker = nil
	if err != nil {
		var record tls.RecordHeaderError
		if errors.As(err, &record) && record.Conn != nil && looksLikeHTTP(record.RecordHeader) {
			_, _ = record.Conn.Write([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 31\r\n\r\nThis address speaks TLS: wss://\n"))
		}
		return nil, err
	}
	e.metrics.handshakes.Add(1)
	if secure.ConnectionState().DidResume {
		e.metrics.resumed.Add(1)
	}
	return secure, nil
}

// looksLikeHTTP tells from five bytes whether somebody speaks HTTP without TLS.
func looksLikeHTTP(head [5]byte) bool {
	switch string(head[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	default:
		return false
	}
}

// worker is a handshake's right to compute, held from the moment that its client has
// sent what is to be answered until the gateway waits for the client again: a client
// that is slow, or sends half of something, holds nothing.
type worker struct {
	slots    chan struct{}
	done     chan struct{}
	deadline time.Time
	held     bool
}

// enter waits for a slot. A handshake whose time is up gets none: its client has gone.
func (w *worker) enter() error {
	if w.held {
		return nil
	}
	select {
	case w.slots <- struct{}{}:
	case <-w.done:
		return ErrStopped
	}
	w.held = true
	if time.Now().After(w.deadline) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (w *worker) leave() {
	if w.held {
		w.held = false
		<-w.slots
	}
}

// enterWork is enter for the connection of a handshake.
func enterWork(c net.Conn) error {
	if e, ok := c.(*edgeConn); ok && e.worker != nil {
		return e.worker.enter()
	}
	return nil
}

// edgeConn is a connection whose PROXY header has been read, or under TLS.
type edgeConn struct {
	net.Conn
	rest   []byte         // what was read with the header and is to be read first
	remote netip.AddrPort // the client that the header names; invalid is the peer itself
	worker *worker        // only during a TLS handshake
}

// Read implements net.Conn.
func (c *edgeConn) Read(b []byte) (int, error) {
	if c.worker != nil {
		c.worker.leave()
	}
	if len(c.rest) > 0 {
		n := copy(b, c.rest)
		if c.rest = c.rest[n:]; len(c.rest) == 0 {
			c.rest = nil
		}
		return n, nil
	}
	return c.Conn.Read(b)
}

// RemoteAddr implements net.Conn: the client's address, where the peer is a balancer
// that told it.
func (c *edgeConn) RemoteAddr() net.Addr {
	if c.remote.IsValid() {
		return net.TCPAddrFromAddrPort(c.remote)
	}
	return c.Conn.RemoteAddr()
}

// innermost returns the socket's own connection, once nothing of the edge is left to read.
func innermost(c net.Conn) net.Conn {
	if e, ok := c.(*edgeConn); ok && len(e.rest) == 0 {
		return e.Conn
	}
	return c
}
