package simulator_test

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"firetower/simulator"
)

// A kernel without a ring that reads is no obstacle unless the ring was asked for.
func TestChooseEngine(t *testing.T) {
	fault := errors.New("no ring today")
	for _, tt := range []struct {
		name   string
		engine simulator.Engine
		url    string
		fault  error
		want   simulator.Engine
	}{
		{"auto", simulator.EngineAuto, "ws://127.0.0.1:1/", nil, simulator.EngineRing},
		{"auto without a ring", simulator.EngineAuto, "ws://127.0.0.1:1/", fault, simulator.EngineEpoll},
		{"auto with TLS", simulator.EngineAuto, "wss://127.0.0.1:1/", nil, simulator.EngineGoroutine},
		{"ring", simulator.EngineRing, "ws://127.0.0.1:1/", nil, simulator.EngineRing},
		{"ring without one", simulator.EngineRing, "ws://127.0.0.1:1/", fault, ""},
		{"epoll where there is a ring", simulator.EngineEpoll, "ws://127.0.0.1:1/", nil, simulator.EngineEpoll},
		{"goroutine without a ring", simulator.EngineGoroutine, "ws://127.0.0.1:1/", fault, simulator.EngineGoroutine},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := simulator.DefaultConfig()
			config.Engine, config.URLs = tt.engine, []string{tt.url}
			got, err := simulator.ChooseEngine(config, tt.fault)
			if got != tt.want || (err != nil) != (tt.want == "") || err != nil && !errors.Is(err, fault) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// ringShard is a shard of n connections that reads with a ring, in buffers of 64 bytes.
func ringShard(t *testing.T, n int) simulator.RingShard {
	t.Helper()
	if !slices.Contains(simulator.Engines(), simulator.EngineRing) {
		t.Skip("this kernel has no io_uring to read with")
	}
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	config := simulator.DefaultConfig()
	config.URLs, config.Connections, config.Engine, config.ReadBuffer = []string{"ws://127.0.0.1:1/"}, n, simulator.EngineRing, 4096
	s, err := simulator.NewRingShard(config)
	t.Cleanup(s.Release)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// attach gives a connection a socket, whose other end it returns.
func attach(t *testing.T, s simulator.RingShard, index int) (server int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[1]) })
	if err := s.Attach(index, pair[0]); err != nil {
		t.Fatal(err)
	}
	return pair[1]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// turnUntil lets the loop turn until a condition holds.
func turnUntil(t *testing.T, s simulator.RingShard, what string, holds func() bool) {
	t.Helper()
	for range 100_000 {
		if holds() {
			return
		}
		must(t, s.Turn())
	}
	t.Fatalf("%s: never", what)
}

var ping = []byte{0x89, 3, 'a', 'b', 'c'}

func write(t *testing.T, fd int, b []byte) {
	t.Helper()
	if n, err := unix.Write(fd, b); err != nil || n != len(b) {
		t.Fatalf("wrote %d of %d: %v", n, len(b), err)
	}
}

// What the kernel has read of a descriptor that was closed since is not taken for the one that came after it, although
// both have the same number and the same connection.
func TestRingKnowsTheDescriptorBefore(t *testing.T) {
	s := ringShard(t, 1)
	before := attach(t, s, 0)
	must(t, s.Turn())
	write(t, before, bytes.Repeat(ping, 3))
	must(t, s.Enter()) // the kernel has read them
	s.Detach(0)
	after := attach(t, s, 0)
	if _, err := s.Reap(); err != nil {
		t.Fatal(err)
	}
	if got := s.Pings(); got != 0 {
		t.Fatalf("%d pings of a connection that was closed", got)
	}
	must(t, s.Turn()) // begins the new receive, and ends the one before
	turnUntil(t, s, "one receive is left", func() bool { return s.Receives() == 1 })
	if n, err := unix.Read(before, make([]byte, 10)); n != 0 || err != nil {
		t.Errorf("the closed one says %d, %v, want the end", n, err)
	}
	write(t, after, ping)
	turnUntil(t, s, "the ping of the one after", func() bool { return s.Pings() == 1 })
	must(t, s.Failure())
}

// Data for more buffers than there are comes whole and once, frames cut anywhere, and so do the answers, which are more
// than a socket takes at once.
func TestRingRunsOutOfBuffers(t *testing.T) {
	const conns, each = 8, 2000
	s := ringShard(t, conns)
	var servers []int
	for i := range conns {
		servers = append(servers, attach(t, s, i))
	}
	must(t, s.Turn())
	for _, fd := range servers {
		write(t, fd, bytes.Repeat(ping, each))
	}
	turnUntil(t, s, "all pings", func() bool { return s.Pings() == conns*each })
	const pong = 2 + 4 + 3 // header, mask, payload
	for _, fd := range servers {
		got := 0
		turnUntil(t, s, "all pongs", func() bool {
			b := make([]byte, 1<<16)
			for n, err := unix.Read(fd, b); err == nil && n > 0; n, err = unix.Read(fd, b) {
				got += n
			}
			return got >= each*pong
		})
		if got != each*pong {
			t.Errorf("%d bytes of pongs, want %d", got, each*pong)
		}
	}
	if got := s.Pings(); got != conns*each || s.Receives() != conns || len(s.Closed()) != 0 {
		t.Errorf("%d pings, %d receives, closed %v", got, s.Receives(), s.Closed())
	}
	must(t, s.Failure())
}

// What stands before the end of a stream is read, and the end told once.
func TestRingReadsToTheEnd(t *testing.T) {
	s := ringShard(t, 2)
	server := attach(t, s, 0)
	attach(t, s, 1)
	write(t, server, bytes.Repeat(ping, 100))
	must(t, unix.Shutdown(server, unix.SHUT_WR))
	turnUntil(t, s, "the end", func() bool { return len(s.Closed()) > 0 })
	if want := map[string]int64{"1006 eof": 1}; s.Pings() != 100 || !reflect.DeepEqual(s.Closed(), want) || s.Receives() != 1 {
		t.Errorf("%d pings, closed %v, %d receives", s.Pings(), s.Closed(), s.Receives())
	}
}

// A shard that ends leaves no socket open for the kernel to close some time.
func TestRingReleases(t *testing.T) {
	const conns = 300 // more than there is room for at once
	s := ringShard(t, conns)
	var servers []int
	for i := range conns {
		servers = append(servers, attach(t, s, i))
	}
	turnUntil(t, s, "all receives", func() bool { return s.Receives() == conns })
	s.Release()
	for i, fd := range servers {
		if n, err := unix.Read(fd, make([]byte, 1)); n != 0 || err != nil {
			t.Fatalf("connection %d: %d, %v, want the end", i, n, err)
		}
	}
}
