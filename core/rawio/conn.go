package rawio

import (
	"io"
	"net"
	"os"
	"syscall"
)

// Conn is a TCP connection whose reads and writes are direct calls. Deadlines and closing
// are those of the connection within: a call that finds nothing to do waits as always, in
// the runtime's poller.
type Conn struct {
	*net.TCPConn
	raw   syscall.RawConn
	waits uint64 // by the one who reads
}

// Wrap returns a connection with direct calls, or conn itself where there are none for it.
func Wrap(conn net.Conn) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok || !Available {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil { // it is closed: its own calls will say so
		return conn
	}
	return &Conn{TCPConn: tcp, raw: raw}
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	var n int
	var errno syscall.Errno
	err := c.raw.Read(func(fd uintptr) bool {
		if n, errno = Recv(int(fd), b); errno == syscall.EAGAIN {
			c.waits++
			return false
		}
		return true
	})
	switch {
	case err != nil:
		return 0, err
	case errno != 0:
		return 0, c.failed("read", "recv", errno)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Waits is how often a Read found nothing and gave way to other goroutines. Only who reads may ask.
func (c *Conn) Waits() uint64 { return c.waits }

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) {
	written := 0
	var errno syscall.Errno
	// One call of raw.Write, which others wait for: what they write is not mixed in.
	err := c.raw.Write(func(fd uintptr) bool {
		for written < len(b) {
			var n int
			if n, errno = Send(int(fd), b[written:]); errno != 0 {
				return errno != syscall.EAGAIN
			}
			written += n
		}
		return true
	})
	switch {
	case err != nil:
		return written, err
	case written < len(b):
		return written, c.failed("write", "send", errno)
	}
	return written, nil
}

// WriteBuffers writes all of bufs, many in one call, and takes what it has written out of them,
// as net.Buffers.WriteTo does.
func (c *Conn) WriteBuffers(bufs *net.Buffers) (int64, error) {
	var written int64
	var errno syscall.Errno
	err := c.raw.Write(func(fd uintptr) bool {
		for {
			for len(*bufs) > 0 && len((*bufs)[0]) == 0 {
				*bufs = (*bufs)[1:]
			}
			if len(*bufs) == 0 {
				errno = 0
				return true
			}
			var n int
			if n, errno = Sendv(int(fd), (*bufs)[:some(*bufs)]); errno != 0 {
				return errno != syscall.EAGAIN
			}
			written += int64(n)
			consume(bufs, n)
		}
	})
	switch {
	case err != nil:
		return written, err
	case errno != 0:
		return written, c.failed("write", "sendmsg", errno)
	}
	return written, nil
}

// some is how many buffers one call takes: none that is empty.
func some(bufs net.Buffers) int {
	for i, b := range bufs {
		if i == MaxBuffers || len(b) == 0 {
			return i
		}
	}
	return len(bufs)
}

// consume takes n bytes off the front.
func consume(bufs *net.Buffers, n int) {
	for n > 0 {
		if first := (*bufs)[0]; n < len(first) {
			(*bufs)[0] = first[n:]
			return
		}
		n -= len((*bufs)[0])
		(*bufs)[0] = nil
		*bufs = (*bufs)[1:]
	}
}

// WriteBuffers writes all of bufs to a connection, with direct calls where it has them.
func WriteBuffers(conn net.Conn, bufs *net.Buffers) (int64, error) {
	if c, ok := conn.(*Conn); ok {
		return c.WriteBuffers(bufs)
	}
	return bufs.WriteTo(conn)
}

func (c *Conn) failed(op, call string, errno syscall.Errno) error {
	return &net.OpError{
		Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(call, errno),
	}
}

// Listener is one whose connections have direct calls.
type Listener struct{ net.Listener }

// Accept implements net.Listener.
func (l Listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return Wrap(conn), nil
}
