package gateway

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// takeDescriptor takes a connection's descriptor out of its net.Conn, which it closes:
// the descriptor is a duplicate, under which the connection goes on (dup(2)). It is
// non-blocking, as the net package's are.
func takeDescriptor(conn net.Conn) (int, error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return -1, errors.ErrUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var dup error
	if err := raw.Control(func(f uintptr) { fd, dup = unix.FcntlInt(f, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	if dup != nil {
		return -1, os.NewSyscallError("dup", dup)
	}
	_ = conn.Close()
	return fd, nil
}

// closeDescriptor closes a descriptor of the gateway's own.
func closeDescriptor(fd int) { _ = unix.Close(fd) }

// shutdownWrite ends the sending side of a connection.
func shutdownWrite(fd int) { _ = unix.Shutdown(fd, unix.SHUT_WR) }

// limitUnsent bounds what the kernel takes for a connection beyond what it can
// send (TCP_NOTSENT_LOWAT, tcp(7)). A socket that is none of TCP's has no such bound.
func limitUnsent(fd, bytes int) {
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, bytes)
}
