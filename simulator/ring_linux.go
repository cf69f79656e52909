package simulator

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"firetower/core/uring"
)

// ringBatch is how many sockets one call of [ring.read] reads. Their data has one reading of the clock, so that the batch
// bounds by how much that is late.
const ringBatch = 16

// ring reads several sockets with one system call (io_uring(7)). A read that does not wait is done when it is submitted,
// so that between two calls nothing is under way, and no thread of the kernel ever works for it. It is for one goroutine
// at a time.
type ring struct {
	queues  uring.Ring
	memory  []byte // mapped: a buffer for each read of a batch; it does not move
	size    int    // of a buffer, bytes
	queued  int    // reads that have been asked for
	results [ringBatch]int32
}

// errNoRing says that the system has no io_uring that could read for us: the kernel is older than 5.6, or forbids it.
var errNoRing = errors.New("no io_uring to read with")

// newRing makes a ring whose buffers have size bytes.
func newRing(size int) (*ring, error) {
	r := &ring{size: size}
	if err := r.queues.Open(ringBatch); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoRing, err)
	}
	var err error
	r.memory, err = unix.Mmap(-1, 0, ringBatch*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_POPULATE)
	if err != nil {
		r.queues.Close()
		return nil, fmt.Errorf("%w: %w", errNoRing, os.NewSyscallError("mmap", err))
	}
	return r, nil
}

// add asks for a read of a socket, which must stay open until [ring.read]. It says whether the batch is full, and then
// there must be no other before that.
func (r *ring) add(fd int32) (full bool) {
	tail := r.queues.Tail()
	*r.queues.Submission(tail) = uring.Submission{
		Opcode: uring.OpReceive, FD: fd, OpFlags: unix.MSG_DONTWAIT, UserData: uint64(r.queued),
		Address: uint64(uintptr(unsafe.Pointer(&r.buffer(r.queued)[0]))), Length: uint32(r.size),
	}
	r.queues.Advance(tail + 1)
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
		submit := r.queues.Waiting()
		_, errno := r.queues.Enter(submit, 0, uring.EnterGetEvents)
		switch errno {
		case 0, unix.EINTR:
		case unix.EAGAIN, unix.EBUSY, unix.ENOMEM: // it has taken none of these
			r.queues.Drop()
			for i := range int(submit) {
				r.results[n-1-i] = -int32(unix.ENOMEM)
			}
			left -= int(submit)
		default:
			return nil, os.NewSyscallError("io_uring_enter", errno)
		}
		head, tail := r.queues.Completed()
		for ; head != tail; head++ {
			c := r.queues.Completion(head)
			r.results[c.UserData] = c.Result
			left--
		}
		r.queues.Seen(head)
	}
	return r.results[:n], nil
}

// close frees everything.
func (r *ring) close() {
	r.queues.Close()
	_ = unix.Munmap(r.memory)
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
