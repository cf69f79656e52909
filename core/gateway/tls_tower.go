package gateway

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"firetower/core/rawio"
)

// A TLS connection is written to by its flusher alone. crypto/tls takes no further
// write after one that a deadline cut short, since a part of a record may be out;
// so nothing can be dropped and tried again there, and no close frame can follow.

// tlsWriteBytes is how much goes out in one write and so in one record (RFC 8446
// section 5.1), which has to be whole within Limits.PendingAge.
const tlsWriteBytes = 16 << 10

// alertTimeout bounds how long a socket that is full may keep a connection from its
// close_notify (RFC 8446 section 6.1); crypto/tls would wait for five seconds.
const alertTimeout = 100 * time.Millisecond

var tlsBuffers = sync.Pool{New: func() any { return new([tlsWriteBytes]byte) }}

// flushLimit is how much a flusher may write at once, in bytes.
func (t *FireTower) flushLimit() int {
	if _, ok := t.stream.conn.(*tls.Conn); ok {
		return tlsWriteBytes
	}
	return flushBytes
}

// writeOut writes what a flusher has taken: with one writev(2), or, where there is
// none, joined into one record.
func (t *FireTower) writeOut(bufs net.Buffers) (int64, error) {
	secure, ok := t.stream.conn.(*tls.Conn)
	if !ok {
		return rawio.WriteBuffers(innermost(t.stream.conn), &bufs)
	}
	if len(bufs) == 1 {
		n, err := secure.Write(bufs[0])
		return int64(n), err
	}
	record, _ := tlsBuffers.Get().(*[tlsWriteBytes]byte)
	defer tlsBuffers.Put(record)
	size := 0
	for _, b := range bufs {
		size += copy(record[size:], b)
	}
	n, err := secure.Write(record[:size])
	return int64(n), err
}

// closeStream ends a stream without waiting for the client. whole tells that all
// that was to be written is: only then can a TLS client be told that this is the end.
func (t *FireTower) closeStream(whole bool) {
	secure, ok := t.stream.conn.(*tls.Conn)
	switch {
	case !ok:
		_ = t.stream.conn.Close()
	case !whole:
		_ = secure.NetConn().Close()
	default:
		t.gateway.flushers.Add(1)
		go func() {
			defer t.gateway.flushers.Done()
			cut := time.AfterFunc(alertTimeout, func() { _ = secure.NetConn().Close() })
			defer cut.Stop()
			_ = secure.Close()
		}()
	}
}

// optionsDescriptor is the descriptor for socket options, -1 where there is none. It
// may be used while the connection is being made, since nobody closes it then.
func optionsDescriptor(c net.Conn) int {
	if secure, ok := c.(*tls.Conn); ok {
		c = innermost(secure.NetConn())
	}
	return rawio.Descriptor(c)
}
