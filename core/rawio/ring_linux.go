package rawio

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ring sends the same bytes to many sockets with one system call (io_uring(7)). A send
// costs the kernel less so than alone: entering and leaving it once for all of them, and
// not being preempted by each reader that it wakes, took a third off. It is for one goroutine
// at a time.
type Ring struct {
	fd      int
	sq, cq  []byte // mapped
	sqesMap []byte
	sqTail  *uint32
	sqHead  *uint32
	sqMask  uint32
	sqes    []submission
	cqHead  *uint32
	cqTail  *uint32
	cqMask  uint32
	cqes    []completion
	buf     []byte // what is being sent: it must not move or be freed meanwhile
}

// ringParams is struct io_uring_params of linux/io_uring.h.
type ringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32
	sqOff                                                                  ringSubmissionOffsets
	cqOff                                                                  ringCompletionOffsets
}

// ringSubmissionOffsets is struct io_sqring_offsets.
type ringSubmissionOffsets struct {
	head, tail, ringMask, ringEntries, flags, dropped, array, _ uint32
	_                                                           uint64
}

// ringCompletionOffsets is struct io_cqring_offsets.
type ringCompletionOffsets struct {
	head, tail, ringMask, ringEntries, overflow, cqes, flags, _ uint32
	_                                                           uint64
}

// submission is struct io_uring_sqe.
type submission struct {
	opcode, flags uint8
	_             uint16
	fd            int32
	_             uint64
	addr          uint64
	length        uint32
	msgFlags      uint32
	userData      uint64
	_             [3]uint64
}

// completion is struct io_uring_cqe.
type completion struct {
	userData uint64
	res      int32
	_        uint32
}

// Of linux/io_uring.h.
const (
	ringOpSend            = 26
	ringEnterGetEvents    = 1
	ringOffsetSubmission  = 0
	ringOffsetCompletion  = 0x8000000
	ringOffsetSubmissions = 0x10000000
)

// RingSize is to how many sockets one call of SendAll sends.
const RingSize = 32

// NewRing makes a ring, or says why there is none: ErrNoRing where the system has no
// io_uring, or forbids it.
func NewRing() (*Ring, error) {
	var p ringParams
	fd, _, errno := syscall.RawSyscall(unix.SYS_IO_URING_SETUP, RingSize, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("%w: %w", ErrNoRing, os.NewSyscallError("io_uring_setup", errno))
	}
	r := &Ring{fd: int(fd)}
	if err := r.open(&p); err != nil {
		r.Close()
		return nil, fmt.Errorf("%w: %w", ErrNoRing, err)
	}
	return r, nil
}

// open maps the ring's memory and makes sure that it sends.
func (r *Ring) open(p *ringParams) error {
	var err error
	mapped := func(offset int64, size uintptr) []byte {
		var b []byte
		if err == nil {
			b, err = unix.Mmap(r.fd, offset, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		}
		return b
	}
	r.sq = mapped(ringOffsetSubmission, uintptr(p.sqOff.array)+uintptr(p.sqEntries)*4)
	r.cq = mapped(ringOffsetCompletion, uintptr(p.cqOff.cqes)+uintptr(p.cqEntries)*unsafe.Sizeof(completion{}))
	r.sqesMap = mapped(ringOffsetSubmissions, uintptr(p.sqEntries)*unsafe.Sizeof(submission{}))
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	if p.sqEntries < RingSize || p.cqEntries < p.sqEntries {
		return fmt.Errorf("io_uring_setup: %d and %d entries", p.sqEntries, p.cqEntries)
	}
	at := func(b []byte, offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&b[offset])) }
	r.sqHead, r.sqTail, r.sqMask = at(r.sq, p.sqOff.head), at(r.sq, p.sqOff.tail), *at(r.sq, p.sqOff.ringMask)
	r.cqHead, r.cqTail, r.cqMask = at(r.cq, p.cqOff.head), at(r.cq, p.cqOff.tail), *at(r.cq, p.cqOff.ringMask)
	r.sqes = unsafe.Slice((*submission)(unsafe.Pointer(&r.sqesMap[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*completion)(unsafe.Pointer(&r.cq[p.cqOff.cqes])), p.cqEntries)
	for i := range p.sqEntries { // the n-th entry of the queue is always the n-th submission
		*at(r.sq, p.sqOff.array+4*i) = i
	}
	return r.try()
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
	tail := atomic.LoadUint32(r.sqTail)
	for i, fd := range fds {
		r.sqes[(tail+uint32(i))&r.sqMask] = submission{
			opcode: ringOpSend, fd: fd, addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(r.buf)))), length: uint32(len(b)),
			msgFlags: syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL, userData: uint64(i),
		}
	}
	atomic.StoreUint32(r.sqTail, tail+uint32(len(fds)))
	submitted := r.enter(len(fds))
	if submitted < len(fds) { // the kernel is out of memory for more: each by itself
		atomic.StoreUint32(r.sqTail, atomic.LoadUint32(r.sqHead))
		for i := submitted; i < len(fds); i++ {
			n, errno := Send(int(fds[i]), b)
			results[i] = int32(n)
			if errno != 0 {
				results[i] = -int32(errno)
			}
		}
	}
	for answered := 0; answered < submitted; {
		head := atomic.LoadUint32(r.cqHead)
		ready := atomic.LoadUint32(r.cqTail)
		for ; head != ready; head++ {
			c := &r.cqes[head&r.cqMask]
			results[c.userData] = c.res
			answered++
		}
		atomic.StoreUint32(r.cqHead, head)
		if answered < submitted { // never seen: a send that does not wait is done when it is submitted
			_, _, _ = syscall.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 0, uintptr(submitted-answered), ringEnterGetEvents, 0, 0)
		}
	}
	runtime.KeepAlive(b)
	r.buf = nil
}

// enter hands n submissions to the kernel and returns how many it took.
func (r *Ring) enter(n int) int {
	taken := 0
	for taken < n {
		k, _, errno := syscall.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(n-taken), 0, 0, 0, 0)
		switch {
		case errno == syscall.EINTR:
		case errno != 0 || k == 0:
			return taken
		default:
			taken += int(k)
		}
	}
	return taken
}

// Close frees the ring.
func (r *Ring) Close() {
	for _, b := range [][]byte{r.sq, r.cq, r.sqesMap} {
		if b != nil {
			_ = unix.Munmap(b)
		}
	}
	_ = unix.Close(r.fd)
}
