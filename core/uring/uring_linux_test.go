package uring_test

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"firetower/core/uring"
)

// open makes a ring and a pair of sockets, and skips the test where there can be no ring.
func open(t *testing.T, size uint32) (r *uring.Ring, pair [2]int) {
	t.Helper()
	r = &uring.Ring{}
	if err := r.Open(size); err != nil {
		t.Skip(err) // a system that forbids it
	}
	t.Cleanup(r.Close)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	return r, pair
}

// memory is a page that does not move.
func memory(t *testing.T) []byte {
	t.Helper()
	b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(b) })
	return b
}

func operation(opcode uint8, fd int, b []byte, userData uint64) uring.Submission {
	return uring.Submission{
		Opcode: opcode, FD: int32(fd), OpFlags: unix.MSG_DONTWAIT, UserData: userData,
		Address: uint64(uintptr(unsafe.Pointer(&b[0]))), Length: uint32(len(b)),
	}
}

// What is handed in comes out with its own data and result, round after round, past the end of both queues.
func TestRing(t *testing.T) {
	const size, rounds = 4, 10
	r, pair := open(t, size)
	out, in := memory(t), memory(t)
	for round := range rounds {
		out[0] = byte(round + 1)
		tail := r.Tail()
		*r.Submission(tail) = operation(uring.OpSend, pair[0], out[:1], 1)
		*r.Submission(tail + 1) = operation(uring.OpReceive, pair[1], in[:8], 2)
		*r.Submission(tail + 2) = operation(uring.OpReceive, pair[1], in[8:16], 3)
		if n := r.Waiting(); n != 0 {
			t.Fatalf("round %d: %d wait before any is ready", round, n)
		}
		r.Advance(tail + 3)
		if n := r.Waiting(); n != 3 {
			t.Fatalf("round %d: %d wait, want 3", round, n)
		}
		taken, errno := r.Enter(3, 3, uring.EnterGetEvents)
		if taken != 3 || errno != 0 || r.Waiting() != 0 {
			t.Fatalf("round %d: %d taken, %v, %d wait", round, taken, errno, r.Waiting())
		}
		got := map[uint64]int32{}
		head, ready := r.Completed()
		for ; head != ready; head++ {
			c := r.Completion(head)
			got[c.UserData] = c.Result
		}
		r.Seen(head)
		if len(got) != 3 || got[1] != 1 || got[2] != 1 || got[3] != -int32(unix.EAGAIN) || in[0] != out[0] {
			t.Fatalf("round %d: results %v, byte %d", round, got, in[0])
		}
	}
}

// The kernel never sees what was dropped.
func TestDrop(t *testing.T) {
	r, pair := open(t, 4)
	out := memory(t)
	for n := range uint32(6) {
		tail := r.Tail()
		*r.Submission(tail) = operation(uring.OpSend, pair[0], out[:1], 7)
		r.Advance(tail + 1)
		r.Drop()
		if r.Waiting() != 0 || r.Tail() != tail {
			t.Fatalf("%d: %d wait", n, r.Waiting())
		}
		if taken, errno := r.Enter(1, 0, 0); taken != 0 || errno != 0 {
			t.Fatalf("%d: %d taken, %v", n, taken, errno)
		}
	}
	if n, err := unix.Read(pair[1], out); err == nil {
		t.Errorf("%d bytes were sent", n)
	}
}

// The descriptor is no child's.
func TestCloseOnExec(t *testing.T) {
	r, _ := open(t, 1)
	flags, err := unix.FcntlInt(uintptr(uring.Descriptor(r)), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
}

func TestOpenRefused(t *testing.T) {
	var r uring.Ring
	if err := r.Open(0); err == nil { // EINVAL, or what a system says that has none
		t.Error("a ring of no entries")
	}
}

func TestAllocatesNothing(t *testing.T) {
	r, pair := open(t, 4)
	b := memory(t)
	if n := testing.AllocsPerRun(100, func() {
		tail := r.Tail()
		*r.Submission(tail) = operation(uring.OpReceive, pair[0], b[:1], 0)
		r.Advance(tail + 1)
		_, _ = r.Enter(r.Waiting(), 1, uring.EnterGetEvents)
		_, head := r.Completed()
		r.Seen(head)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
