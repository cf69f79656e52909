package simulator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is an io_uring(7) whose requests complete within our own calls alone: what becomes ready meanwhile is noted by
// the kernel, and done when [ring.enter] is next called, on our thread and in our account. It belongs to the one thread
// that made it.
//
// Beside the queues it has buffers, from which the kernel takes one for each piece of data that it reads, and which come
// back by [ring.giveBack].
type ring struct {
	fd      int
	queues  []byte // mapped: both queues
	entries []byte // mapped: the submissions
	memory  []byte // mapped: the list of free buffers, then the buffers

	sqHead, sqTail *uint32
	sqMask         uint32
	submissions    []submission
	cqHead, cqTail *uint32
	cqMask         uint32
	completions    []completion

	free     []freeBuffer
	freeTail uint16
	size     int // of a buffer, bytes
	first    int // where in memory the buffers begin

	wait     waitArgument
	deadline kernelTimespec
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

// submission is struct io_uring_sqe, with the names that the requests here have for its fields.
type submission struct {
	opcode, flags uint8
	priority      uint16 // receiveMultishot
	fd            int32
	_             uint64
	address       uint64 // cancel: the user data of the request
	length        uint32
	opFlags       uint32 // poll: the events; cancel: which requests
	userData      uint64
	group         uint16 // of buffers
	_             uint16
	_             uint32
	_             [2]uint64
}

// completion is struct io_uring_cqe.
type completion struct {
	userData uint64
	result   int32 // of the system call, or a negative errno
	flags    uint32
}

// more says that the request goes on: there will be another completion.
func (c completion) more() bool { return c.flags&completionMore != 0 }

// buffer is the number of the buffer that holds the data, if there is one.
func (c completion) buffer() (uint16, bool) {
	return uint16(c.flags >> completionBufferShift), c.flags&completionBuffer != 0
}

// freeBuffer is struct io_uring_buf. The tail of the list stands in the last two bytes of the first one.
type freeBuffer struct {
	address uint64
	length  uint32
	id      uint16
	_       uint16
}

// bufferList is struct io_uring_buf_reg.
type bufferList struct {
	address uint64
	entries uint32
	group   uint16
	_       uint16
	_       [3]uint64
}

// waitArgument is struct io_uring_getevents_arg.
type waitArgument struct {
	signals     uint64
	signalsSize uint32
	_           uint32
	timeout     uint64 // address of a kernelTimespec
}

// kernelTimespec is struct __kernel_timespec, the same on every machine.
type kernelTimespec struct{ seconds, nanoseconds int64 }

// Of linux/io_uring.h.
const (
	setupCQSize       = 1 << 3
	setupSubmitAll    = 1 << 7
	setupSingleIssuer = 1 << 12
	setupDeferTaskrun = 1 << 13

	featureSingleMap = 1 << 0
	featureNoDrop    = 1 << 1
	featureWaitArg   = 1 << 8

	offsetQueues      = 0
	offsetSubmissions = 0x10000000

	enterGetEvents = 1 << 0
	enterWaitArg   = 1 << 3

	registerBufferList = 22

	opPoll        = 6
	opAsyncCancel = 14
	opReceive     = 27

	submissionBufferSelect = 1 << 5
	receiveMultishot       = 1 << 1
	cancelAll              = 1 << 0
	cancelAny              = 1 << 2

	completionBuffer      = 1 << 0
	completionMore        = 1 << 1
	completionBufferShift = 16
)

const (
	ringSubmissions = 256
	// ringCompletions is more than one enter can post: the kernel does 20 of the requests that are ready at a time, of
	// which each ends or takes a buffer for each completion, beside what is submitted. What does not fit the kernel keeps.
	ringCompletions = 1024
	// ringBuffers is how many buffers there are, a power of two: three times what one enter needs when each connection
	// has one message.
	ringBuffers = 64
	// leastRingBuffer is how small one may be, bytes.
	leastRingBuffer = 64
)

// errNoRing says that the system has no io_uring that could read for us: the kernel is older than 6.13, or forbids it.
var errNoRing = errors.New("no io_uring to read with")

// newRing makes a ring with ringBuffers buffers of size bytes.
func newRing(size int) (*ring, error) {
	p := &ringParams{cqEntries: ringCompletions, flags: setupCQSize | setupSubmitAll | setupSingleIssuer | setupDeferTaskrun}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringSubmissions, uintptr(unsafe.Pointer(p)), 0)
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

func (r *ring) open(p *ringParams) error {
	const features = featureSingleMap | featureNoDrop | featureWaitArg
	if p.features&features != features {
		return fmt.Errorf("io_uring_setup: features %#x", p.features)
	}
	var err error
	mapped := func(fd int, offset int64, size uintptr, flags int) []byte {
		var b []byte
		if err == nil {
			b, err = unix.Mmap(fd, offset, int(size), unix.PROT_READ|unix.PROT_WRITE, flags|unix.MAP_POPULATE)
		}
		return b
	}
	r.queues = mapped(r.fd, offsetQueues, max(
		uintptr(p.sqOff.array)+uintptr(p.sqEntries)*4, uintptr(p.cqOff.cqes)+uintptr(p.cqEntries)*unsafe.Sizeof(completion{}),
	), unix.MAP_SHARED)
	r.entries = mapped(r.fd, offsetSubmissions, uintptr(p.sqEntries)*unsafe.Sizeof(submission{}), unix.MAP_SHARED)
	r.first = os.Getpagesize()
	r.memory = mapped(-1, 0, uintptr(r.first+ringBuffers*r.size), unix.MAP_PRIVATE|unix.MAP_ANON)
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
	return r.registerBuffers()
}

func (r *ring) registerBuffers() error {
	r.free = unsafe.Slice((*freeBuffer)(unsafe.Pointer(&r.memory[0])), ringBuffers)
	list := &bufferList{address: addressOf(r.memory), entries: ringBuffers}
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), registerBufferList, uintptr(unsafe.Pointer(list)), 1, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("io_uring_register", errno)
	}
	for id := range uint16(ringBuffers) {
		r.giveBack(id)
	}
	return nil
}

// addressOf is where mapped memory is. The garbage collector knows nothing of it.
func addressOf(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// buffer is the memory of a buffer.
func (r *ring) buffer(id uint16) []byte {
	from := r.first + int(id)*r.size
	return r.memory[from : from+r.size]
}

// giveBack lets the kernel have a buffer again.
func (r *ring) giveBack(id uint16) {
	slot := &r.free[r.freeTail%ringBuffers]
	slot.address, slot.length, slot.id = addressOf(r.buffer(id)), uint32(r.size), id
	r.freeTail++
	// The kernel reads the tail, two bytes, from the first entry, beside that entry's own id. There are no atomic
	// stores of two bytes, so that both are written.
	var word [4]byte
	binary.NativeEndian.PutUint16(word[:], r.free[0].id)
	binary.NativeEndian.PutUint16(word[2:], r.freeTail)
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&r.free[0].id)), binary.NativeEndian.Uint32(word[:]))
}

// room is how many submissions there is room for.
func (r *ring) room() int { return len(r.submissions) - r.unsubmitted() }

// unsubmitted is how many submissions the next enter hands over.
func (r *ring) unsubmitted() int {
	return int(atomic.LoadUint32(r.sqTail) - atomic.LoadUint32(r.sqHead))
}

// push adds a submission; there must be room.
func (r *ring) push(s submission) {
	tail := atomic.LoadUint32(r.sqTail)
	r.submissions[tail&r.sqMask] = s
	atomic.StoreUint32(r.sqTail, tail+1)
}

// receive asks for whatever a socket receives from now on, until it ends or says that it stops (see completion.more).
// Each piece comes in a buffer of its own.
func (r *ring) receive(fd int32, userData uint64) {
	r.push(submission{opcode: opReceive, flags: submissionBufferSelect, priority: receiveMultishot, fd: fd, userData: userData})
}

// poll asks to be told, once, that a descriptor can be read.
func (r *ring) poll(fd int32, userData uint64) {
	events := uint32(unix.POLLIN)
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		events <<= 16 // the kernel takes its halves the other way round there
	}
	r.push(submission{opcode: opPoll, fd: fd, opFlags: events, userData: userData})
}

// cancel ends the request that has the user data of.
func (r *ring) cancel(of, userData uint64) {
	r.push(submission{opcode: opAsyncCancel, fd: -1, address: of, userData: userData})
}

// cancelAll ends all requests.
func (r *ring) cancelAll(userData uint64) {
	r.push(submission{opcode: opAsyncCancel, fd: -1, opFlags: cancelAll | cancelAny, userData: userData})
}

// enter hands the submissions over and has the kernel do some of what has become ready, without waiting and without
// telling Go's scheduler. An interruption is no error.
func (r *ring) enter() error {
	_, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.unsubmitted()), 0, enterGetEvents, 0, 0)
	return enterError(errno)
}

// sleep does the same, and waits for at most ns nanoseconds until something has become ready; below 0 there is no bound.
func (r *ring) sleep(ns int64) error {
	r.wait = waitArgument{}
	if ns >= 0 {
		const second = 1_000_000_000
		r.deadline = kernelTimespec{ns / second, ns % second}
		r.wait.timeout = uint64(uintptr(unsafe.Pointer(&r.deadline)))
	}
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.unsubmitted()), 1, enterGetEvents|enterWaitArg,
		uintptr(unsafe.Pointer(&r.wait)), unsafe.Sizeof(r.wait))
	return enterError(errno)
}

func enterError(errno unix.Errno) error {
	switch errno {
	case 0, unix.EINTR, unix.ETIME, unix.EAGAIN, unix.EBUSY: // the latter two: the kernel is short of memory, for now
		return nil
	}
	return os.NewSyscallError("io_uring_enter", errno)
}

// next takes a completion out of the queue.
func (r *ring) next() (completion, bool) {
	head := atomic.LoadUint32(r.cqHead)
	if head == atomic.LoadUint32(r.cqTail) {
		return completion{}, false
	}
	c := r.completions[head&r.cqMask]
	atomic.StoreUint32(r.cqHead, head+1)
	return c, true
}

// close frees everything. Requests under way end some time after.
func (r *ring) close() {
	_ = unix.Close(r.fd)
	for _, b := range [][]byte{r.queues, r.entries, r.memory} {
		if b != nil {
			_ = unix.Munmap(b)
		}
	}
}
