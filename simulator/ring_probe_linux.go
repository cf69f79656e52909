package simulator

import (
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// ringFault is why the io_uring engine does not work here: errNoRing with a reason. It asks the kernel the first time.
var ringFault = sync.OnceValue(probeRing)

// probeRing makes a ring and has it do what the engine relies on.
func probeRing() error {
	runtime.LockOSThread() // a ring belongs to its thread
	defer runtime.UnlockOSThread()
	r, err := newRing(leastRingBuffer)
	if err != nil {
		return err
	}
	defer r.close()
	for _, probe := range []func(*ring) error{probeReceive, probeBatch} {
		if err := probe(r); err != nil {
			return fmt.Errorf("%w: %w", errNoRing, err)
		}
	}
	return nil
}

// probeReceive receives twice by one request. Kernels before 6.0 know no such requests.
func probeReceive(r *ring) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[0])
	r.receive(int32(pair[0]), 0)
	for _, want := range []string{"a", "b", ""} {
		if want == "" {
			unix.Close(pair[1])
		} else if _, err := unix.Write(pair[1], []byte(want)); err != nil {
			unix.Close(pair[1])
			return os.NewSyscallError("write", err)
		}
		if err := r.enter(); err != nil {
			return err
		}
		c, ok := r.next()
		id, holds := c.buffer()
		if !ok || c.result != int32(len(want)) || holds != (want != "") || c.more() != (want != "") {
			return fmt.Errorf("IORING_OP_RECV: result %d, flags %#x", c.result, c.flags)
		}
		if holds {
			got := string(r.buffer(id)[:c.result])
			r.giveBack(id)
			if got != want {
				return fmt.Errorf("IORING_OP_RECV: got %q, want %q", got, want)
			}
		}
	}
	return nil
}

// probeBatch looks whether the kernel, when many requests are ready, does ringBatch of them at a time. Kernels before 6.13
// do all: thousands of messages would have one reading of the clock.
func probeBatch(r *ring) error {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	defer unix.Close(event)
	const polls = 3 * ringBatch
	for range polls {
		r.poll(int32(event), userDataEpoll)
	}
	if err := r.enter(); err != nil {
		return err
	}
	if _, err := unix.Write(event, []byte{1, 1, 1, 1, 1, 1, 1, 1}); err != nil {
		return os.NewSyscallError("write", err)
	}
	most := 0
	for done := 0; done < polls; {
		if err := r.enter(); err != nil {
			return err
		}
		n := 0
		for _, ok := r.next(); ok; _, ok = r.next() {
			n++
		}
		if n == 0 {
			return fmt.Errorf("IORING_OP_POLL_ADD: %d of %d requests answered", done, polls)
		}
		done += n
		most = max(most, n)
	}
	if most > ringBatch {
		return fmt.Errorf("io_uring_enter: does %d requests at a time, not %d", most, ringBatch)
	}
	return nil
}
