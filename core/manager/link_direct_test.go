package manager_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"firetower/core/manager"
	"firetower/core/topicpb"
)

// Who may write when: the queue alone decides it.
func TestLinkQueue_Turns(t *testing.T) {
	const gap = manager.DirectGap
	ready := func() manager.Queue {
		q := manager.NewQueue(100, 1<<20)
		q.AllowDirect()
		return q
	}
	put := func(t *testing.T, q manager.Queue, now int64, links int, want string) {
		t.Helper()
		if got := q.PutAt(10, now, links); got != want {
			t.Fatalf("put at %d for %d links = %s, want %s", now, links, got, want)
		}
	}
	t.Run("not before it is allowed", func(t *testing.T) {
		put(t, manager.NewQueue(100, 1000), gap, 1, "queued")
	})
	t.Run("a quiet link", func(t *testing.T) {
		q := ready()
		put(t, q, gap, 1, "direct")
		q.Sent(10, 10, gap+5)
		if n, bytes := q.Size(); n != 0 || bytes != 0 || q.Woken() {
			t.Fatalf("%d packets of %d bytes left, or the writer woken for nothing", n, bytes)
		}
		put(t, q, 2*gap+5, 1, "direct")
	})
	t.Run("not within the gap from the end of the last write", func(t *testing.T) {
		q := ready()
		put(t, q, gap, 1, "direct")
		q.Sent(10, 10, gap+5)
		put(t, q, 2*gap+4, 1, "queued")
		if !q.Woken() {
			t.Fatal("the writer was not woken")
		}
	})
	t.Run("the gap is for each link", func(t *testing.T) {
		q := ready()
		put(t, q, 4*gap-1, 4, "queued")
		q = ready()
		put(t, q, 4*gap, 4, "direct")
	})
	t.Run("not a large one", func(t *testing.T) {
		q := ready()
		if got := q.PutAt(manager.DirectBytes+1, gap, 1); got != "queued" {
			t.Fatalf("put = %s", got)
		}
	})
	t.Run("not while something waits", func(t *testing.T) {
		q := ready()
		put(t, q, 0, 0, "queued")
		put(t, q, 9*gap, 1, "queued")
	})
	t.Run("not while the writer writes", func(t *testing.T) {
		q := ready()
		put(t, q, 0, 0, "queued")
		q.Take()
		put(t, q, 9*gap, 1, "queued")
		q.Take() // both have been written
		q.Written(2, 20)
		q.Take() // nothing: the turn is over
		put(t, q, 99*gap, 1, "direct")
	})
	t.Run("what comes meanwhile waits for the turn's end", func(t *testing.T) {
		q := ready()
		put(t, q, gap, 1, "direct")
		put(t, q, 9*gap, 1, "queued")
		if n, _, _ := q.Take(); n != 0 {
			t.Fatal("the writer took a packet in another's turn")
		}
		q.Woken()
		q.Sent(10, 10, 9*gap)
		if !q.Woken() {
			t.Fatal("the writer was not woken")
		}
		if n, _, _ := q.Take(); n != 1 {
			t.Fatalf("took %d", n)
		}
	})
	t.Run("the rest goes first", func(t *testing.T) {
		q := ready()
		put(t, q, gap, 1, "direct")
		if got := q.PutAt(20, gap, 1); got != "queued" {
			t.Fatalf("put = %s", got)
		}
		q.Sent(10, 4, gap)
		if n, bytes := q.Size(); n != 2 || bytes != 26 || !q.Woken() {
			t.Fatalf("%d packets of %d bytes wait", n, bytes)
		}
		if n, bytes, _ := q.Take(); n != 2 || bytes != 26 {
			t.Fatalf("took %d packets of %d bytes", n, bytes)
		}
		if lost := q.Close(); lost != 2 {
			t.Fatalf("lost %d", lost)
		}
	})
	t.Run("a heartbeat waits for the turn's end", func(t *testing.T) {
		q := ready()
		put(t, q, gap, 1, "direct")
		if q.TakeTurn() {
			t.Fatal("two have the turn")
		}
		q.Sent(10, 10, gap)
		if !q.Woken() || !q.TakeTurn() {
			t.Fatal("the writer does not get the turn")
		}
		put(t, q, 9*gap, 1, "queued")
	})
	t.Run("a heartbeat never comes into a cut packet", func(t *testing.T) {
		q := ready()
		put(t, q, gap, 1, "direct")
		q.Sent(10, 4, gap)
		if q.TakeTurn() || !q.Woken() {
			t.Fatal("the writer may write something else than the rest")
		}
		q.Take()
		q.Written(1, 6)
		if q.Take(); !q.TakeTurn() {
			t.Fatal("the writer does not get the turn")
		}
	})
	t.Run("flush during a turn", func(t *testing.T) {
		q := ready()
		put(t, q, gap, 1, "direct")
		q.Flush()
		q.Woken()
		if _, _, last := q.Take(); last {
			t.Fatal("the writer ended before the turn")
		}
		q.Sent(10, 10, gap)
		if _, _, last := q.Take(); !last || !q.Woken() {
			t.Fatal("the writer does not end")
		}
	})
	t.Run("forbidding waits for the turn's end", func(t *testing.T) {
		q := ready()
		put(t, q, gap, 1, "direct")
		var waiting sync.WaitGroup
		waiting.Go(q.ForbidDirect)
		runtime.Gosched()
		q.Sent(10, 10, gap)
		waiting.Wait()
		put(t, q, 9*gap, 1, "queued")
	})
}

// TestLink_DirectWritesKeepOrderAndAccount: a gateway stops reading until the socket is
// full and a packet is cut, and reads on: nothing is lost, cut or overtaken, and each
// message is counted once.
func TestLink_DirectWritesKeepOrderAndAccount(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := startHub(t, func(o *manager.Options) { o.Registry = reg })
	g := joinedUnread(t, h)
	body := strings.Repeat("x", 20<<10)
	var want []string
	for i := 0; h.gateway("gw").GetQueuedMessages() < 10; i++ {
		if i > 5000 {
			t.Fatal("the socket never filled")
		}
		m := fmt.Sprintf("%s%06d", body, i)
		if res := h.publish("room", m); !res.GetOk() {
			t.Fatalf("publish = %v", res)
		}
		want = append(want, m)
	}
	direct := metric(t, reg, "firetower_manager_direct_total", "")
	if runtime.GOOS == "linux" && direct == 0 {
		t.Error("no message was written by who published it")
	}
	if int(direct) >= len(want) {
		t.Errorf("%v of %d were written although the socket is full", direct, len(want))
	}
	g.listen()
	eventually(t, "all messages", func() bool { return len(g.packets()) == len(want) })
	if !slices.Equal(g.bodies("room"), want) {
		t.Fatal("messages differ or are out of order")
	}
	eventually(t, "the account", func() bool {
		info := h.gateway("gw")
		return info.GetSentMessages() == uint64(len(want)) && info.GetQueuedMessages() == 0 && info.GetQueuedBytes() == 0
	})
}

// TestLink_DirectWritesWhileTheLinkEnds: links break and are replaced while messages
// come one by one, and each message is either sent or counted as lost.
func TestLink_DirectWritesWhileTheLinkEnds(t *testing.T) {
	h := startHub(t, nil)
	for range 20 {
		g := joinHub(t, h, "gw", map[string]int64{"room": 1})
		var publishing sync.WaitGroup
		publishing.Go(func() {
			for range 50 {
				h.publish("room", "x")
			}
		})
		eventually(t, "a message", func() bool { return len(g.packets()) > 0 })
		g.conn.Close()
		publishing.Wait()
		eventually(t, "the link's end", func() bool {
			info := h.gateway("gw")
			return info.GetState() == "detached" && info.GetQueuedMessages() == 0 && info.GetSentMessages()+info.GetDroppedMessages() == 50
		})
	}
}

// joinedUnread links a gateway that does not read yet.
func joinedUnread(t *testing.T, h *hub) *fakeGateway {
	t.Helper()
	g := dialLink(t, h.Addrs().Link.String())
	if _, refuse := g.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: 1}, topics: map[string]int64{"room": 1}}); refuse != nil {
		t.Fatalf("refused: %v", refuse)
	}
	return g
}

// A publish to links at rest, or behind others, allocates nothing, however many links.
func TestNoAllocationPerPublish(t *testing.T) {
	packet := make([]byte, 200)
	for _, links := range []int{1, 4, 16} {
		r := manager.NewRegistry()
		sessions := make([]*manager.Session, links)
		for i := range sessions {
			sessions[i] = roomy("gw")
			r.Set(sessions[i], "room", 1)
			sessions[i].Grow(4096)
		}
		got := testing.AllocsPerRun(1000, func() { r.Publish("room", packet) })
		if got != 0 {
			t.Errorf("%d links: %v allocations, want none", links, got)
		}
	}
}
