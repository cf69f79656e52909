package gateway

import (
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
