package gateway

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
)

// errWouldBlock: a connection has nothing to read now.
var errWouldBlock = errors.New("gateway: nothing to read now")

// pollReadBuffer is the read buffer of a connection that the poller watches, in
// bytes: a request that fits is read without any goroutine waiting for its end.
// It must be above 256, or the upgrader makes one of its own.
const pollReadBuffer = 512

// pollConn is a client's connection whose reads do not wait while try is set.
// The buffered reader over it is shared with the WebSocket library, so that the
// gateway knows what has come but is not yet read.
type pollConn struct {
	net.Conn
	raw syscall.RawConn
	br  *bufio.Reader
	try bool // only the connection's reader uses it
	// sealed: what the WebSocket library would write by itself goes nowhere, since
	// all writes are the FireTower's.
	sealed bool
}

// Write implements net.Conn. Before the connection is sealed it carries the
// answer to the upgrade.
func (c *pollConn) Write(b []byte) (int, error) {
	if c.sealed {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// Read implements net.Conn.
func (c *pollConn) Read(b []byte) (int, error) {
	if !c.try {
		return c.Conn.Read(b)
	}
	var n int
	var readErr error
	err := c.raw.Read(func(fd uintptr) bool {
		for {
			if n, readErr = syscall.Read(int(fd), b); readErr != syscall.EINTR {
				return true
			}
		}
	})
	switch {
	case err != nil:
		return 0, err
	case readErr == syscall.EAGAIN:
		return 0, errWouldBlock
	case readErr != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Addr: c.RemoteAddr(), Err: readErr}
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// SyscallConn implements syscall.Conn.
func (c *pollConn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// CloseWrite ends the sending side.
func (c *pollConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// pollHijacker hands the upgrader a pollConn in place of the HTTP server's
// connection, and a small buffer in place of the server's.
type pollHijacker struct{ http.ResponseWriter }

// Hijack implements http.Hijacker.
func (h pollHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	conn = innermost(conn)
	sc, ok := conn.(syscall.Conn)
	if !ok || rw.Reader.Buffered() > 0 { // TLS; or a client that the upgrader will refuse
		return conn, rw, nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	c := &pollConn{Conn: conn, raw: raw}
	c.br = bufio.NewReaderSize(c, pollReadBuffer)
	return c, bufio.NewReadWriter(c.br, rw.Writer), nil
}
