package simulator

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ringBatch is how many sockets one call of [ring.read] reads. Their data has one reading of the clock, so that the batch
// bounds by how much that is late.
const ringBatch = 16

// ring reads several sockets with one system call (io_uring(7)). A read that does not wait is done when it is submitted,
// so that between two calls nothing is under way, and no thread of the kernel ever works for it. It is for one goroutine
// at a time.
type ring struct {
	fd      int
	queues  []byte // mapped: both queues
	entries []byte // mapped: the submissions
	memory  []byte // mapped: a buffer for each read of a batch; it does not move

	sqHead, sqTail *uint32
	sqMask         uint32
	submissions    []submission
	cqHead, cqTail *uint32
	cqMask         uint32
	completions    []completion

	size    int // of a buffer, bytes
	queued  int // reads that have been asked for
	results [ringBatch]int32
}

// ringParams is struct io_uring_params of linux/io_uring.h.
type ringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32
	sqOff                                                                  struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cqOff struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// submission is struct io_uring_sqe.
type submission struct {
	opcode, flags uint8
	_             uint16
	fd            int32
	_             uint64
	address       uint64
	length        uint32
	opFlags       uint32 // those of recv(2)
	userData      uint64
	_             [3]uint64
}

// completion is struct io_uring_cqe.
type completion struct {
	userData uint64
	result   int32 // of recv(2), or a negative errno
	_        uint32
}

// Of linux/io_uring.h.
const (
	ringFeatureSingleMap  = 1 << 0
	ringOffsetQueues      = 0
	ringOffsetSubmissions = 0x10000000
	ringEnterGetEvents    = 1 << 0
	ringOpReceive         = 27
)

// errNoRing says that the system has no io_uring that could read for us: the kernel is older than 5.6, or forbids it.
var errNoRing = errors.New("no io_uring to read with")

// newRing makes a ring whose buffers have size bytes.
func newRing(size int) (*ring, error) {
	p := &ringParams{}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringBatch, uintptr(unsafe.Pointer(p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("%w: %w", errNoRing, os.NewSyscallError("io_uring_setup", errno))
	}
	r := &ring{fd: int(fd), size: size}
	unix.CloseOnExec(r.fd)
	if err := r.open(p); err != nil {
		r.close()
		return nil, fmt.Errorf("%w: %w", errNoRing, err)
	}
	return r, nil
}

// open maps the memory of the ring.
func (r *ring) open(p *ringParams) error {
	if p.features&ringFeatureSingleMap == 0 || p.sqEntries < ringBatch || p.cqEntries < p.sqEntries {
		return fmt.Errorf("io_uring_setup: features %#x, %d and %d entries", p.features, p.sqEntries, p.cqEntries)
	}
	var err error
	mapped := func(fd int, offset int64, size uintptr, flags int) []byte {
		var b []byte
		if err == nil {
			b, err = unix.Mmap(fd, offset, int(size), unix.PROT_READ|unix.PROT_WRITE, flags|unix.MAP_POPULATE)
		}
		return b
	}
	r.queues = mapped(r.fd, ringOffsetQueues, max(
		uintptr(p.sqOff.array)+uintptr(p.sqEntries)*4, uintptr(p.cqOff.cqes)+uintptr(p.cqEntries)*unsafe.Sizeof(completion{}),
	), unix.MAP_SHARED)
	r.entries = mapped(r.fd, ringOffsetSubmissions, uintptr(p.sqEntries)*unsafe.Sizeof(submission{}), unix.MAP_SHARED)
	r.memory = mapped(-1, 0, uintptr(ringBatch*r.size), unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	at := func(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.queues[offset])) }
	r.sqHead, r.sqTail, r.sqMask = at(p.sqOff.head), at(p.sqOff.tail), *at(p.sqOff.mask)
	r.cqHead, r.cqTail, r.cqMask = at(p.cqOff.head), at(p.cqOff.tail), *at(p.cqOff.mask)
	r.submissions = unsafe.Slice((*submission)(unsafe.Pointer(&r.entries[0])), p.sqEntries)
	r.completions = unsafe.Slice((*completion)(unsafe.Pointer(&r.queues[p.cqOff.cqes])), p.cqEntries)
	for i := range p.sqEntries { // the n-th entry of the queue is always the n-th submission
		*at(p.sqOff.array + 4*i) = i
	}
	return nil
}

// add asks for a read of a socket, which must stay open until [ring.read]. It says whether the batch is full, and then
// there must be no other before that.
func (r *ring) add(fd int32) (full bool) {
	tail := atomic.LoadUint32(r.sqTail)
	r.submissions[tail&r.sqMask] = submission{
		opcode: ringOpReceive, fd: fd, opFlags: unix.MSG_DONTWAIT, userData: uint64(r.queued),
		address: uint64(uintptr(unsafe.Pointer(&r.buffer(r.queued)[0]))), length: uint32(r.size),
	}
	atomic.StoreUint32(r.sqTail, tail+1)
	r.queued++
	return r.queued == ringBatch
}

// buffer is where the n-th read of a batch goes.
func (r *ring) buffer(n int) []byte { return r.memory[n*r.size : (n+1)*r.size] }

// read makes the reads that were asked for, and returns what recv(2) said to each, in their order: how many bytes stand in
// its buffer, or a negative errno; ENOMEM also when the kernel had no memory to try. Both are valid until the next add. An
// error says that the ring is of no more use.
func (r *ring) read() ([]int32, error) {
	n := r.queued
	r.queued = 0
	for left := n; left > 0; {
		submit := atomic.LoadUint32(r.sqTail) - atomic.LoadUint32(r.sqHead)
		_, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(submit), 0, ringEnterGetEvents, 0, 0)
		switch errno {
		case 0, unix.EINTR:
		case unix.EAGAIN, unix.EBUSY, unix.ENOMEM: // it has taken none of these
			atomic.StoreUint32(r.sqTail, atomic.LoadUint32(r.sqHead))
			for i := range int(submit) {
				r.results[n-1-i] = -int32(unix.ENOMEM)
			}
			left -= int(submit)
		default:
			return nil, os.NewSyscallError("io_uring_enter", errno)
		}
		head, tail := atomic.LoadUint32(r.cqHead), atomic.LoadUint32(r.cqTail)
		for ; head != tail; head++ {
			c := &r.completions[head&r.cqMask]
			r.results[c.userData] = c.result
			left--
		}
		atomic.StoreUint32(r.cqHead, head)
	}
	return r.results[:n], nil
}

// close frees everything.
func (r *ring) close() {
	_ = unix.Close(r.fd)
	for _, b := range [][]byte{r.queues, r.entries, r.memory} {
		if b != nil {
			_ = unix.Munmap(b)
		}
	}
}

// ringFault is why the io_uring engine does not work here: errNoRing with a reason. It asks the kernel the first time.
var ringFault = sync.OnceValue(probeRing)

// probeRing reads a socket that has something and one that has nothing: kernels before 5.6 have rings that cannot.
func probeRing() error {
	r, err := newRing(os.Getpagesize())
	if err != nil {
		return err
	}
	defer r.close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoRing, os.NewSyscallError("socketpair", err))
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if _, err := unix.Write(pair[1], []byte{'x'}); err != nil {
		return fmt.Errorf("%w: %w", errNoRing, os.NewSyscallError("write", err))
	}
	r.add(int32(pair[0]))
	r.add(int32(pair[1]))
	got, err := r.read()
	if err != nil {
		return fmt.Errorf("%w: %w", errNoRing, err)
	}
	if got[0] != 1 || r.buffer(0)[0] != 'x' || got[1] != -int32(unix.EAGAIN) {
		return fmt.Errorf("%w: IORING_OP_RECV says %d", errNoRing, got)
	}
	return nil
}
