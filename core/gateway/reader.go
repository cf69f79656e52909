package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"firetower/core/rawio"
)

// errWouldBlock: a connection has nothing to read now.
var errWouldBlock = errors.New("gateway: nothing to read now")

// readerBuffer is the read buffer of a reader, in bytes: a request that fits is read
// without any goroutine waiting for its end. It must be above 256, or the upgrader makes
// one of its own.
const readerBuffer = 512

// reader reads the frames of one connection at a time. It is lent to a connection when
// something has come and taken back when nothing is left of it, so that connections at
// rest share a few. The WebSocket library's connection in it knows nothing of
// whom it serves: between two messages it holds no state.
type reader struct {
	wire wire
	br   *bufio.Reader
	ws   *websocket.Conn
	// ready has an entry when an event has come since the connection's goroutine last
	// looked.
	ready chan struct{}
}

// waitUntil bounds the following reads that wait.
func (r *reader) waitUntil(deadline time.Time) { r.wire.deadline = deadline }

// wire is the net.Conn under a reader: reads come from the descriptor of the connection
// that has the reader, and what the WebSocket library would write by itself goes
// nowhere, since all writes are the FireTower's.
type wire struct {
	reader *reader
	tower  *FireTower
	// try: a read does not wait. Only the connection's goroutine uses it.
	try      bool
	deadline time.Time
}

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	t := w.tower
	for {
		n, errno := t.receive(b)
		switch {
		case n > 0:
			return n, nil
		case errno == 0:
			return 0, io.EOF
		case errno == syscall.EBADF: // closed by this end
			return 0, net.ErrClosed
		case errno != syscall.EAGAIN:
			return 0, &net.OpError{Op: "read", Net: "tcp", Err: errno}
		case w.try:
			return 0, errWouldBlock
		}
		if err := w.wait(); err != nil {
			return 0, err
		}
	}
}

// wait waits for an event of the connection, until the deadline.
func (w *wire) wait() error {
	t := w.tower
	if atomic.CompareAndSwapInt32(&t.reading, readAgain, readBusy) {
		return nil // one has come since the read began
	}
	timer := time.NewTimer(time.Until(w.deadline))
	defer timer.Stop()
	select {
	case <-w.reader.ready:
		return nil
	case <-timer.C:
		return os.ErrDeadlineExceeded
	}
}

// Write implements net.Conn.
func (w *wire) Write(b []byte) (int, error) { return len(b), nil }

// Close implements net.Conn.
func (w *wire) Close() error { return nil }

// LocalAddr implements net.Conn.
func (w *wire) LocalAddr() net.Addr { return nil }

// RemoteAddr implements net.Conn.
func (w *wire) RemoteAddr() net.Addr { return nil }

// SetDeadline implements net.Conn.
func (w *wire) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (w *wire) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// receive reads from the descriptor without waiting; EBADF says that it is closed.
func (t *FireTower) receive(b []byte) (int, syscall.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fd < 0 {
		return 0, syscall.EBADF
	}
	return rawio.Recv(int(t.fd), b)
}

// readers lends readers.
type readers struct {
	gateway  *Gateway
	upgrader *websocket.Upgrader
	pool     sync.Pool
	// lent is how many connections have one: those that are being read, and those that
	// have sent a part of a frame.
	lent atomic.Int64
}

// get lends a reader to a connection.
func (p *readers) get(t *FireTower) *reader {
	r, ok := p.pool.Get().(*reader)
	if !ok {
		r = p.make()
	}
	p.lent.Add(1)
	r.wire.tower = t
	t.mu.Lock()
	t.reader = r
	t.mu.Unlock()
	return r
}

// put takes a reader back; one that has seen an error is not lent again.
func (p *readers) put(r *reader, again bool) {
	t := r.wire.tower
	t.mu.Lock()
	t.reader = nil
	t.mu.Unlock()
	r.wire.tower = nil
	p.lent.Add(-1)
	if again {
		p.pool.Put(r)
	}
}

// attached is the connection's reader, or nil.
func (t *FireTower) attached() *reader {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reader
}

// make makes a reader. The WebSocket library makes its connections by upgrading
// requests alone, so it gets one that nobody has sent.
func (p *readers) make() *reader {
	r := &reader{ready: make(chan struct{}, 1)}
	r.wire.reader = r
	r.br = bufio.NewReaderSize(&r.wire, readerBuffer)
	ws, err := p.upgrader.Upgrade(readerHijacker{r}, &http.Request{Method: http.MethodGet, Header: http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}}, nil)
	if err != nil { // the request is a constant
		panic(fmt.Sprintf("gateway: make a reader: %v", err))
	}
	r.ws = ws
	ws.SetReadLimit(int64(p.gateway.opts.Limits.MaxFrameBytes))
	ws.SetPingHandler(func(data string) error { return r.wire.tower.onPing(data) })
	ws.SetPongHandler(func(string) error { r.wire.tower.touch(); return nil })
	ws.SetCloseHandler(func(code int, text string) error { return r.wire.tower.onClose(code, text) })
	return r
}

// readerHijacker hands the upgrader a reader's wire and buffer.
type readerHijacker struct{ r *reader }

// Header implements http.ResponseWriter.
func (h readerHijacker) Header() http.Header { return http.Header{} }

// Write implements http.ResponseWriter.
func (h readerHijacker) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements http.ResponseWriter.
func (h readerHijacker) WriteHeader(int) {}

// Hijack implements http.Hijacker.
func (h readerHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return &h.r.wire, bufio.NewReadWriter(h.r.br, bufio.NewWriterSize(&h.r.wire, 16)), nil
}
