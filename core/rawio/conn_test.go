package rawio_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/nettest"

	"firetower/core/rawio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipe is two ends of a TCP connection with direct calls.
func pipe(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = (rawio.Listener{Listener: l}).Accept(); err != nil {
		t.Fatal(err)
	}
	a = rawio.Wrap(a)
	t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
	})
	return a, b
}

// A connection behaves as those of the net package do: data, ends, deadlines, closing from
// another goroutine.
func TestConnIsANetConn(t *testing.T) {
	nettest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
		a, b = pipe(t)
		return a, b, func() {
			_ = a.Close()
			_ = b.Close()
		}, nil
	})
}

// However many buffers of whatever sizes are written, while the peer reads at its own pace,
// its bytes are theirs in order.
func TestWriteBuffersWritesAll(t *testing.T) {
	for seed := range uint64(20) {
		a, b := pipe(t)
		rng := rand.New(rand.NewPCG(seed, 1))
		var bufs net.Buffers
		var want []byte
		for range rng.IntN(300) {
			part := make([]byte, rng.IntN(5)*rng.IntN(20_000))
			for i := range part {
				part[i] = byte(rng.Uint32())
			}
			bufs = append(bufs, part)
			want = append(want, part...)
		}
		got := make(chan []byte)
		go func() {
			all, _ := io.ReadAll(b)
			got <- all
		}()
		n, err := rawio.WriteBuffers(a, &bufs)
		if err != nil || n != int64(len(want)) || len(bufs) != 0 {
			t.Errorf("seed %d: wrote %d of %d, %d buffers left: %v", seed, n, len(want), len(bufs), err)
		}
		_ = a.Close()
		if all := <-got; !bytes.Equal(all, want) {
			t.Errorf("seed %d: %d bytes arrived of %d, or others", seed, len(all), len(want))
		}
	}
}

// A writer whose peer reads nothing stops at its deadline and says how much is written.
func TestWriteStopsAtItsDeadline(t *testing.T) {
	a, b := pipe(t)
	go func() {
		_, _ = b.Read(make([]byte, 1)) // some has come
		_ = a.SetWriteDeadline(time.Now())
	}()
	bufs := net.Buffers{make([]byte, 32<<20)}
	n, err := rawio.WriteBuffers(a, &bufs)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() || n == 0 || int(n)+len(bufs[0]) != 32<<20 {
		t.Errorf("wrote %d, %d left: %v", n, len(bufs[0]), err)
	}
}

// A peer that has gone is an error and no signal.
func TestPeerGone(t *testing.T) {
	a, b := pipe(t)
	if err := b.(interface{ SetLinger(int) error }).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	var err error
	for err == nil {
		_, err = a.Write([]byte("x"))
	}
	if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
}

// A read that finds nothing counts as a wait.
func TestWaits(t *testing.T) {
	a, _ := pipe(t)
	c, ok := a.(*rawio.Conn)
	if !ok {
		t.Skip("no direct calls here")
	}
	if n := c.Waits(); n != 0 {
		t.Fatalf("%d waits before anything was read", n)
	}
	for want := range uint64(3) {
		if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read of nothing = %v", err)
		}
		if n := c.Waits(); n > want+1 {
			t.Fatalf("%d waits after %d reads", n, want+1)
		}
	}
	if c.Waits() == 0 {
		t.Error("no read waited")
	}
}
