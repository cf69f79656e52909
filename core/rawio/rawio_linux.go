package rawio

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Available tells whether direct calls are made here.
const Available = true

// MaxBuffers is how many buffers Sendv takes.
const MaxBuffers = 64

// Send makes one send(2) that never waits: MSG_DONTWAIT makes sure that it cannot,
// MSG_NOSIGNAL keeps a closed peer from raising a signal. It returns how much the socket
// took, and EAGAIN when that is nothing.
//
// The caller sees to it that fd stays open, and b is not empty.
func Send(fd int, b []byte) (int, syscall.Errno) {
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

// Sendv is Send for up to MaxBuffers buffers in a row, none of them empty (sendmsg(2)).
func Sendv(fd int, bufs [][]byte) (int, syscall.Errno) {
	var room [MaxBuffers]unix.Iovec
	iov := room[:len(bufs)]
	for i, b := range bufs {
		iov[i].Base = unsafe.SliceData(b)
		iov[i].SetLen(len(b))
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

// Recv makes one recv(2) that never waits. 0 bytes without an error are the end of what the
// peer sends; EAGAIN says that nothing is there now. b is not empty.
func Recv(fd int, b []byte) (int, syscall.Errno) {
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

// Descriptor returns the descriptor of a connection of the net package, or -1 when the
// connection has none that may be written to directly, such as TLS. It is open for as long as
// the caller keeps the connection from being closed.
func Descriptor(conn any) int {
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
