package uring

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ring is a queue of submissions and one of completions. It is for one goroutine at a time, since only the kernel's side
// of it is atomic. No thread of the kernel works for it between two calls of [Ring.Enter].
type Ring struct {
	fd      int
	queues  []byte // mapped: both queues
	entries []byte // mapped: the submissions

	sqHead, sqTail *uint32
	sqMask         uint32
	submissions    []Submission
	cqHead, cqTail *uint32
	cqMask         uint32
	completions    []Completion
}

// params is struct io_uring_params of linux/io_uring.h.
type params struct {
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

// Submission is struct io_uring_sqe. What it points to must not move, nor be freed, until it has completed.
type Submission struct {
	Opcode, Flags uint8
	_             uint16
	FD            int32
	_             uint64
	Address       uint64
	Length        uint32
	OpFlags       uint32 // those of send(2) and recv(2)
	UserData      uint64
	_             [3]uint64
}

// Completion is struct io_uring_cqe.
type Completion struct {
	UserData uint64
	Result   int32 // of the system call, or a negative errno
	_        uint32
}

// Of linux/io_uring.h.
const (
	OpSend         = 26
	OpReceive      = 27
	EnterGetEvents = 1 << 0

	featureSingleMap  = 1 << 0
	offsetQueues      = 0
	offsetSubmissions = 0x10000000
)

// Open makes the ring, with room for size submissions at least and no fewer completions. It fails where the system has
// no io_uring, or forbids it, or has one of a kernel before 5.4.
func (r *Ring) Open(size uint32) error {
	p := &params{}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(size), uintptr(unsafe.Pointer(p)), 0)
	if errno != 0 {
		return os.NewSyscallError("io_uring_setup", errno)
	}
	r.fd = int(fd) // which no child gets: the kernel opens it with O_CLOEXEC
	if err := r.open(p, size); err != nil {
		r.Close()
		return err
	}
	return nil
}

// open maps the memory of the ring.
func (r *Ring) open(p *params, size uint32) error {
	if p.features&featureSingleMap == 0 || p.sqEntries < size || p.cqEntries < p.sqEntries {
		return fmt.Errorf("io_uring_setup: features %#x, %d and %d entries", p.features, p.sqEntries, p.cqEntries)
	}
	var err error
	mapped := func(offset int64, size uintptr) []byte {
		var b []byte
		if err == nil {
			b, err = unix.Mmap(r.fd, offset, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		}
		return b
	}
	r.queues = mapped(offsetQueues, max(
		uintptr(p.sqOff.array)+uintptr(p.sqEntries)*4, uintptr(p.cqOff.cqes)+uintptr(p.cqEntries)*unsafe.Sizeof(Completion{}),
	))
	r.entries = mapped(offsetSubmissions, uintptr(p.sqEntries)*unsafe.Sizeof(Submission{}))
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	at := func(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.queues[offset])) }
	r.sqHead, r.sqTail, r.sqMask = at(p.sqOff.head), at(p.sqOff.tail), *at(p.sqOff.mask)
	r.cqHead, r.cqTail, r.cqMask = at(p.cqOff.head), at(p.cqOff.tail), *at(p.cqOff.mask)
	r.submissions = unsafe.Slice((*Submission)(unsafe.Pointer(&r.entries[0])), p.sqEntries)
	r.completions = unsafe.Slice((*Completion)(unsafe.Pointer(&r.queues[p.cqOff.cqes])), p.cqEntries)
	for i := range p.sqEntries { // the n-th entry of the queue is always the n-th submission
		*at(p.sqOff.array + 4*i) = i
	}
	return nil
}

// Tail is where the next submission goes.
func (r *Ring) Tail() uint32 { return atomic.LoadUint32(r.sqTail) }

// Submission is the one at that place. It is the caller's from [Ring.Tail] on, for as many as the ring has room.
func (r *Ring) Submission(at uint32) *Submission { return &r.submissions[at&r.sqMask] }

// Advance says that the submissions before tail are ready.
func (r *Ring) Advance(tail uint32) { atomic.StoreUint32(r.sqTail, tail) }

// Waiting is how many submissions are ready that the kernel has not taken.
func (r *Ring) Waiting() uint32 { return atomic.LoadUint32(r.sqTail) - atomic.LoadUint32(r.sqHead) }

// Drop takes those back.
func (r *Ring) Drop() { atomic.StoreUint32(r.sqTail, atomic.LoadUint32(r.sqHead)) }

// Enter hands so many submissions to the kernel and returns how many it took. With EnterGetEvents among the flags it
// waits until so many have completed. The Go scheduler is not told, so that nothing should have to wait for long.
func (r *Ring) Enter(submit, complete uint32, flags uintptr) (taken int, errno unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(submit), uintptr(complete), flags, 0, 0)
	return int(n), errno
}

// Completed is where the completions are that have not been seen: from head until before tail.
func (r *Ring) Completed() (head, tail uint32) {
	return atomic.LoadUint32(r.cqHead), atomic.LoadUint32(r.cqTail)
}

// Completion is the one at that place, which is valid until it has been seen.
func (r *Ring) Completion(at uint32) *Completion { return &r.completions[at&r.cqMask] }

// Seen says that the completions before head have been seen.
func (r *Ring) Seen(head uint32) { atomic.StoreUint32(r.cqHead, head) }

// Close frees the ring, which must be open.
func (r *Ring) Close() {
	_ = unix.Close(r.fd)
	for _, b := range [][]byte{r.queues, r.entries} {
		if b != nil {
			_ = unix.Munmap(b)
		}
	}
}
