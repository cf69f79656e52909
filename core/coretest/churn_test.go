package coretest_test

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"firetower/core/coretest"
	"firetower/core/gateway"
	"firetower/core/protocol"
)

// slack is how many goroutines or descriptors may come and go beside what a test counts: gRPC's and
// the runtime's own.
const slack = 20

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("descriptors cannot be counted here: %v", err)
	}
	return len(entries)
}

// inParallel runs n calls of f, some at a time.
func inParallel(n, width int, f func(i int)) {
	var group sync.WaitGroup
	next := make(chan int)
	for range width {
		group.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
}

// TestU4_17_GoroutinesStayFlatWhileTheManagerIsDown compares after ten and after a hundred redials.
func TestU4_17_GoroutinesStayFlatWhileTheManagerIsDown(t *testing.T) {
	c := coretest.Start(t, coretest.Options{Gateway: func(_ int, o *gateway.Options) {
		o.RedialMin, o.RedialMax = time.Millisecond, 2*time.Millisecond
	}})
	s := c.Dial(0, protocol.SubprotocolV1)
	s.Subscribe("room")
	c.StopManager()
	redials := func(n int64) {
		coretest.Eventually(t, fmt.Sprintf("%d redials", n), func() bool { return c.Gateway(0).Stats().LinkReconnects >= n })
	}
	redials(10)
	before, descriptorsBefore := runtime.NumGoroutine(), descriptors(t)
	redials(200)
	if after := runtime.NumGoroutine(); after > before+slack {
		t.Errorf("%d goroutines after 10 redials, %d after 200", before, after)
	}
	if after := descriptors(t); after > descriptorsBefore+slack {
		t.Errorf("%d descriptors after 10 redials, %d after 200", descriptorsBefore, after)
	}
	c.RestartManager()
	c.WaitLinked()
	c.Publish("room", `"after"`)
	coretest.Eventually(t, "the message after", func() bool { return s.Count("room") == 1 })
}

// TestU4_25_SubscribeAndCloseAtOnce: the gateway answers, or registers, a connection that is gone.
func TestU4_25_SubscribeAndCloseAtOnce(t *testing.T) {
	const clients = 2000
	c := coretest.Start(t, coretest.Options{})
	inParallel(clients, 16, func(i int) {
		subprotocol := []string{protocol.SubprotocolV1, protocol.SubprotocolV0, ""}[i%3]
		s, err := coretest.DialSocket(t, c.URL(0), subprotocol, nil)
		if err != nil {
			t.Errorf("client %d: %v", i, err)
			return
		}
		if err := s.Send(fmt.Sprintf(`{"type":"subscribe","topic":"room-%d,all","id":"1"}`, i%50)); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
		s.Close()
	})
	if !c.Alive() {
		t.Fatal("the gateway has ended")
	}
	coretest.Eventually(t, "nobody is left", func() bool {
		stats := c.Gateway(0).Stats()
		return stats.Connections == 0 && stats.Subscriptions == 0 && stats.Topics == 0
	})
	coretest.Eventually(t, "the manager knows", func() bool { return c.Subscribers("all") == 0 })
	s := c.Dial(0, protocol.SubprotocolV1)
	s.Subscribe("all")
	c.Publish("all", "1")
	coretest.Eventually(t, "a message", func() bool { return s.Count("all") == 1 })
}

// TestU4_31_DisconnectsWhileTheManagerIsDown give back every descriptor and goroutine.
func TestU4_31_DisconnectsWhileTheManagerIsDown(t *testing.T) {
	const clients = 500
	c := coretest.Start(t, coretest.Options{})
	c.Dial(0, protocol.SubprotocolV1).Subscribe("warm-up")
	before, descriptorsBefore := runtime.NumGoroutine(), descriptors(t)
	sockets := make([]*coretest.Socket, clients)
	inParallel(clients, 8, func(i int) {
		s, err := coretest.DialSocket(t, c.URL(0), protocol.SubprotocolV1, nil)
		if err != nil {
			t.Errorf("client %d: %v", i, err)
			return
		}
		s.Subscribe(fmt.Sprintf("room-%d", i))
		sockets[i] = s
	})
	c.StopManager()
	coretest.Eventually(t, "the gateway notices", func() bool { return !c.Gateway(0).Stats().LinkUp })
	for _, s := range sockets {
		if s != nil {
			s.Close()
		}
	}
	coretest.Eventually(t, "the connections are gone", func() bool { return c.Gateway(0).Stats().Connections == 1 })
	coretest.Eventually(t, "goroutines and descriptors are back", func() bool {
		return runtime.NumGoroutine() <= before+slack && descriptors(t) <= descriptorsBefore+slack
	})
	c.RestartManager()
	c.WaitLinked()
	coretest.Eventually(t, "the manager knows of no room", func() bool {
		return c.Subscribers("room-0") == 0 && c.Subscribers("warm-up") == 1
	})
}

// TestU4_33_NothingIsLeftOfAConnection: goroutines and descriptors are back after many have come
// and gone.
func TestU4_33_NothingIsLeftOfAConnection(t *testing.T) {
	const clients = 2000
	c := coretest.Start(t, coretest.Options{})
	c.Dial(0, protocol.SubprotocolV1).Subscribe("warm-up")
	before, descriptorsBefore := runtime.NumGoroutine(), descriptors(t)
	inParallel(clients, 16, func(i int) {
		s, err := coretest.DialSocket(t, c.URL(0), protocol.SubprotocolV1, nil)
		if err != nil {
			t.Errorf("client %d: %v", i, err)
			return
		}
		s.Subscribe("room")
		s.Close()
	})
	coretest.Eventually(t, "goroutines and descriptors are back", func() bool {
		return runtime.NumGoroutine() <= before+slack && descriptors(t) <= descriptorsBefore+slack
	})
	coretest.Eventually(t, "only the connection of the warm-up is left", func() bool {
		return c.Gateway(0).Stats().Connections == 1
	})
}
