package manager

import (
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setUserTimeout bounds how long sent bytes may stay unacknowledged, in
// milliseconds (RFC 5482; tcp(7), TCP_USER_TIMEOUT). Keepalive alone does not
// see a dead peer while bytes are on their way to it.
func setUserTimeout(conn *net.TCPConn, ms int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	// A kernel without the option finds the peer later, by its own limits.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms)
	})
}

// rawDescriptor is the descriptor of a TCP connection, or -1 when the connection has
// none that may be written to directly.
func rawDescriptor(conn net.Conn) int {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return -1
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return -1
	}
	fd := -1
	if raw.Control(func(f uintptr) { fd = int(f) }) != nil {
		return -1
	}
	return fd
}

// rawSend makes one send(2) that never waits, without telling the scheduler, which
// would wake another thread for a call that cannot block (MSG_DONTWAIT). It returns
// how many bytes were taken; after an error that is none, and the ordinary write that
// follows meets the same error. The caller sees to it that fd is open meanwhile.
func rawSend(fd int, b []byte) int {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n)
		case syscall.EINTR:
		default:
			return 0
		}
	}
}
