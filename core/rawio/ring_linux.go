package rawio

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"firetower/core/uring"
)

// Ring sends the same bytes to many sockets with one system call (io_uring(7)). A send
// costs the kernel less so than alone: entering and leaving it once for all of them, and
// not being preempted by each reader that it wakes, took a third off. It is for one goroutine
// at a time.
type Ring struct {
	queues uring.Ring
	buf    []byte // what is being sent: it must not move or be freed meanwhile
}

// RingSize is to how many sockets one call of SendAll sends.
const RingSize = 32

// NewRing makes a ring, or says why there is none: ErrNoRing where the system has no
// io_uring, or forbids it.
func NewRing() (*Ring, error) {
	r := &Ring{}
	if err := r.queues.Open(RingSize); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoRing, err)
	}
	if err := r.try(); err != nil {
		r.Close()
		return nil, fmt.Errorf("%w: %w", ErrNoRing, err)
	}
	return r, nil
}

// try sends a byte to a socket of its own: kernels below 5.6 have rings that cannot.
func (r *Ring) try() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	results := []int32{0}
	r.SendAll([]int32{int32(pair[0])}, []byte{1}, results)
	if results[0] != 1 {
		return os.NewSyscallError("IORING_OP_SEND", syscall.Errno(-results[0]))
	}
	return nil
}

// SendAll makes one send to each of up to RingSize sockets, as Send does, and puts what
// came of it into results by its place: how many bytes the socket took, or the negative
// error. The caller sees to it that the descriptors stay open.
func (r *Ring) SendAll(fds []int32, b []byte, results []int32) {
	r.buf = b
	tail := r.queues.Tail()
	for i, fd := range fds {
		*r.queues.Submission(tail + uint32(i)) = uring.Submission{
			Opcode: uring.OpSend, FD: fd, Address: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(r.buf)))), Length: uint32(len(b)),
			OpFlags: syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL, UserData: uint64(i),
		}
	}
	r.queues.Advance(tail + uint32(len(fds)))
	submitted := r.enter(len(fds))
	if submitted < len(fds) { // the kernel is out of memory for more: each by itself
		r.queues.Drop()
		for i := submitted; i < len(fds); i++ {
			n, errno := Send(int(fds[i]), b)
			results[i] = int32(n)
			if errno != 0 {
				results[i] = -int32(errno)
			}
		}
	}
	for answered := 0; answered < submitted; {
		head, ready := r.queues.Completed()
		for ; head != ready; head++ {
			c := r.queues.Completion(head)
			results[c.UserData] = c.Result
			answered++
		}
		r.queues.Seen(head)
		if answered < submitted { // never seen: a send that does not wait is done when it is submitted
			_, _ = r.queues.Enter(0, uint32(submitted-answered), uring.EnterGetEvents)
		}
	}
	runtime.KeepAlive(b)
	r.buf = nil
}

// enter hands n submissions to the kernel and returns how many it took.
func (r *Ring) enter(n int) int {
	taken := 0
	for taken < n {
		k, errno := r.queues.Enter(uint32(n-taken), 0, 0)
		switch {
		case errno == syscall.EINTR:
		case errno != 0 || k == 0:
			return taken
		default:
			taken += k
		}
	}
	return taken
}

// Close frees the ring.
func (r *Ring) Close() { r.queues.Close() }
