package rawio_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"firetower/core/rawio"
)

func ring(t testing.TB) *rawio.Ring {
	t.Helper()
	r, err := rawio.NewRing()
	if errors.Is(err, rawio.ErrNoRing) {
		t.Skip(err) // a system that forbids it
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func descriptorOf(t testing.TB, c net.Conn) int32 {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var fd int32
	if err := raw.Control(func(f uintptr) { fd = int32(f) }); err != nil {
		t.Fatal(err)
	}
	return fd
}

// Each socket gets the bytes, and each result stands in its place: sockets that are full take
// a part or nothing, those that are gone are errors.
func TestSendAll(t *testing.T) {
	r := ring(t)
	var fds []int32
	var peers []net.Conn
	for range rawio.RingSize {
		a, b := pipe(t)
		fds = append(fds, descriptorOf(t, a))
		peers = append(peers, b)
	}
	const full, gone = 3, 7
	for {
		if _, errno := rawio.Send(int(fds[full]), make([]byte, 1<<20)); errno == syscall.EAGAIN {
			break
		}
	}
	closed, _ := pipe(t)
	fds[gone] = descriptorOf(t, closed)
	if err := closed.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	results := make([]int32, len(fds))
	refused := 0
	for round := range 3 * rawio.RingSize { // more than the queues hold
		want := bytes.Repeat([]byte{byte(round)}, 1000+round)
		r.SendAll(fds, want, results)
		for i, n := range results {
			switch {
			case i == full && n == -int32(syscall.EAGAIN):
				refused++
			case i == full && (n <= 0 || int(n) > len(want)): // its peer's buffer may still grow
				t.Fatalf("round %d: the full socket: %d", round, n)
			case i == gone && n != -int32(syscall.EPIPE):
				t.Fatalf("round %d: the socket that was shut: %d", round, n)
			case i == full || i == gone:
			case int(n) != len(want):
				t.Fatalf("round %d, socket %d: %d of %d", round, i, n, len(want))
			default:
				got := make([]byte, len(want))
				if _, err := io.ReadFull(peers[i], got); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("round %d, socket %d: other bytes, %v", round, i, err)
				}
			}
		}
	}
	if refused == 0 {
		t.Error("the full socket took all")
	}
	for n := range rawio.RingSize { // fewer than all
		r.SendAll(fds[8:8+n%24], []byte("few"), results)
		for i := range n % 24 {
			if results[i] != 3 {
				t.Fatalf("of %d, the %d-th: %d", n, i, results[i])
			}
		}
	}
}

// A socket that has room for a part only says how much it took.
func TestSendAllInPart(t *testing.T) {
	r := ring(t)
	a, b := pipe(t)
	body := make([]byte, 64<<20)
	results := make([]int32, 1)
	r.SendAll([]int32{descriptorOf(t, a)}, body, results)
	if results[0] <= 0 || int(results[0]) >= len(body) {
		t.Fatalf("took %d of %d", results[0], len(body))
	}
	if n, err := io.CopyN(io.Discard, b, int64(results[0])); err != nil {
		t.Errorf("%d arrived: %v", n, err)
	}
}

func TestSendAllAllocatesNothing(t *testing.T) {
	r := ring(t)
	a, b := pipe(t)
	go func() { _, _ = io.Copy(io.Discard, b) }()
	fds, results, body := []int32{descriptorOf(t, a)}, make([]int32, 1), []byte("x")
	if n := testing.AllocsPerRun(100, func() { r.SendAll(fds, body, results) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
