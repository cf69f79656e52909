package gateway

import (
	"errors"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawSend makes one send(2) that never waits, without telling the scheduler:
// entering and leaving a system call costs up to a microsecond when several
// writers run, a quarter of the whole write, and a call that cannot block needs
// none of it. MSG_DONTWAIT makes sure that it cannot, MSG_NOSIGNAL keeps a
// closed peer from raising a signal (send(2)).
//
// The caller holds the lock under which alone the descriptor is closed.
func rawSend(fd int, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
			continue
		default:
			return 0, errno
		}
	}
}

// rawWritev is rawSend for several buffers in a row (sendmsg(2)), at most flushEntries.
func rawWritev(fd int, bufs [][]byte) (int, syscall.Errno) {
	var room [flushEntries]unix.Iovec
	iov := room[:0]
	for _, b := range bufs {
		v := unix.Iovec{Base: unsafe.SliceData(b)}
		v.SetLen(len(b))
		iov = append(iov, v)
	}
	msg := unix.Msghdr{Iov: unsafe.SliceData(iov)}
	msg.SetIovlen(len(iov))
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_SENDMSG, uintptr(fd),
			uintptr(unsafe.Pointer(&msg)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
			continue
		default:
			return 0, errno
		}
	}
}

// rawRecv makes one recv(2) that never waits, under the same terms as rawSend. 0 bytes
// without an error are the end of what the client sends.
func rawRecv(fd int, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), syscall.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
			continue
		default:
			return 0, errno
		}
	}
}

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

// rawDescriptor returns the descriptor of a TCP or Unix connection, or -1 when
// the connection has none that may be written to directly, such as TLS.
func rawDescriptor(conn any) int {
	type descriptor interface {
		SyscallConn() (syscall.RawConn, error)
	}
	sc, ok := conn.(descriptor)
	if !ok {
		return -1
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1
	}
	fd := -1
	if raw.Control(func(f uintptr) { fd = int(f) }) != nil {
		return -1
	}
	return fd
}
