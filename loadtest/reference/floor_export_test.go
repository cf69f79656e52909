//go:build linux

package reference

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// FloorPublishAllocs counts the allocations of one publish to a client, from its bytes to the write.
func FloorPublishAllocs(t *testing.T, kind string) float64 {
	t.Helper()
	f := &floor{counters: new(counters), joined: kind == KindFloorJoined, topics: make(map[string]*topic)}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	subscriber, publisher := &client{fd: pair[0], open: true}, &client{fd: -1, open: true}
	f.clients = make([]*client, pair[0]+1)
	f.clients[pair[0]] = subscriber
	if err := f.join(subscriber, "loadtest-0"); err != nil {
		t.Fatal(err)
	}
	frame := []byte(`{"type":"publish","topic":"loadtest-0","data":"` + strings.Repeat("x", 120) + `"}`)
	masked := append([]byte{0x81, 0x80 | 126, 0, byte(len(frame)), 0, 0, 0, 0}, frame...)
	drain := make([]byte, 4096)
	return testing.AllocsPerRun(100, func() {
		rest, err := f.take(publisher, masked)
		if err != nil || len(rest) != 0 {
			t.Fatalf("%d bytes left, %v", len(rest), err)
		}
		f.flush()
		f.bury()
		if _, err := unix.Read(pair[1], drain); errors.Is(err, unix.EAGAIN) {
			t.Fatal("nothing was delivered")
		}
	})
}
