package manager_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"firetower/core/manager"
	"firetower/core/protocol"
	"firetower/core/topicpb"
)

// TestU4_11_TopicsDeliverAgainAfterTheLinkIsLost: the manager's side of it. The
// new link's snapshot is all it takes, and nobody is counted twice.
func TestU4_11_TopicsDeliverAgainAfterTheLinkIsLost(t *testing.T) {
	h := startHub(t, nil)
	topics := map[string]int64{"a": 3, "b": 1}
	epoch := int64(0)
	for round := range 5 {
		g := dialLink(t, h.Addrs().Link.String())
		if _, refuse := g.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: epoch + 1, PrevEpoch: epoch}, topics: topics}); refuse != nil {
			t.Fatalf("round %d: refused: %v", round, refuse)
		}
		g.listen()
		epoch++
		for topic, n := range topics {
			if got := h.subscribers(topic); got != n {
				t.Fatalf("round %d: %s has %d subscribers, want %d", round, topic, got, n)
			}
			if res := h.publish(topic, "hello"); !res.GetOk() || res.GetGatewaysMatched() != 1 {
				t.Fatalf("round %d: publish = %v", round, res)
			}
			eventually(t, "a message on the new link", func() bool { return len(g.bodies(topic)) == 1 })
		}
		g.conn.Close()
	}
}

// TestU4_15_MissedIsCountedAndTold: what was lost on a link and while there was
// none is known exactly once the gateway is back.
func TestU4_15_MissedIsCountedAndTold(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := startHub(t, func(o *manager.Options) {
		o.Registry = reg
		o.DetachGrace = time.Hour
	})
	hello := &topicpb.LinkHello{ClusterId: "gw", Epoch: 1}
	g := dialLink(t, h.Addrs().Link.String())
	g.greet(greeting{hello: hello, topics: map[string]int64{"a": 1}})
	g.listen()
	for _, m := range numbered("m", 10) {
		h.publish("a", m)
	}
	eventually(t, "ten messages", func() bool { return len(g.bodies("a")) == 10 })
	g.conn.Close()
	eventually(t, "the session detached", func() bool { return h.gateway("gw").GetState() == "detached" })
	if n := h.subscribers("a"); n != 1 {
		t.Fatalf("a detached gateway's topic has %d subscribers, want 1", n)
	}
	for range 7 {
		res := h.publish("a", "lost")
		if res.GetOk() || res.GetGatewaysMatched() != 1 || res.GetGatewaysQueued() != 0 || !strings.Contains(res.GetError(), "gw (link_down)") {
			t.Fatalf("publish to a detached gateway = %v", res)
		}
	}

	// It says it received 8: two more were on their way when the link was lost.
	g = dialLink(t, h.Addrs().Link.String())
	welcome, _ := g.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: 2, PrevEpoch: 1, Received: 8}, topics: map[string]int64{"a": 1}})
	if !welcome.GetMissedKnown() || welcome.GetMissed() != 9 {
		t.Fatalf("welcome = %v, want 9 missed: 2 on their way and 7 while there was no link", welcome)
	}
	if n := metric(t, reg, "firetower_manager_missed_total", ""); n != 9 {
		t.Errorf("missed_total = %v, want 9", n)
	}
	if n := metric(t, reg, "firetower_manager_drops_total", "reason=link_down"); n != 7 {
		t.Errorf("drops_total{link_down} = %v, want 7", n)
	}

	// A session that the manager has no record of is not guessed at.
	g2 := dialLink(t, h.Addrs().Link.String())
	welcome, _ = g2.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: 3, PrevEpoch: 77, Received: 1}})
	if welcome.GetMissedKnown() || welcome.GetMissed() != 0 {
		t.Fatalf("welcome = %v, want missed not known", welcome)
	}
}

// TestU4_15_TheAccountBalancesUnderLoad: links are cut and superseded while
// messages are published; what arrived and what was told as missed is all there was.
func TestU4_15_TheAccountBalancesUnderLoad(t *testing.T) {
	h := startHub(t, func(o *manager.Options) { o.DetachGrace = time.Hour })
	var stop atomic.Bool
	published := 0
	var publisher sync.WaitGroup
	join := func(epoch int64, received uint64) (*fakeGateway, uint64) {
		g := dialLink(t, h.Addrs().Link.String())
		welcome, refuse := g.greet(greeting{
			hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: epoch, PrevEpoch: epoch - 1, Received: received}, topics: map[string]int64{"room": 1},
		})
		if refuse != nil || (epoch > 1 && !welcome.GetMissedKnown()) {
			t.Fatalf("epoch %d: %v, %v", epoch, welcome, refuse)
		}
		g.listen()
		return g, welcome.GetMissed()
	}
	g, _ := join(1, 0)
	publisher.Go(func() {
		for !stop.Load() {
			h.publish("room", "x")
			published++
		}
	})
	received, missed := 0, uint64(0)
	for epoch := int64(2); epoch <= 60; epoch++ {
		eventually(t, "some messages", func() bool { return len(g.packets()) >= 20 })
		if epoch%3 > 0 { // else the new link supersedes one that is up
			g.conn.(*net.TCPConn).SetLinger(0)
		}
		g.conn.Close()
		<-g.done
		n := len(g.packets())
		received += n
		next, lost := join(epoch, uint64(n))
		missed += lost
		g = next
	}
	stop.Store(true)
	publisher.Wait()
	if err := h.stop(); err != nil { // which flushes the link
		t.Fatal(err)
	}
	<-g.done
	if received += len(g.packets()); received+int(missed) != published {
		t.Fatalf("received %d and missed %d, in all %d of %d", received, missed, received+int(missed), published)
	}
}

// TestU4_16_BlackHoledLinkIsFound: nothing comes and nothing is closed.
func TestU4_16_BlackHoledLinkIsFound(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := startHub(t, func(o *manager.Options) {
		o.Registry = reg
		o.Heartbeat = 200 * time.Millisecond
		o.DetachGrace = time.Hour
	})
	p := startProxy(t, h.Addrs().Link.String())
	g := dialLink(t, p.addr())
	g.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: 1}, topics: map[string]int64{"a": 1}})
	g.listen()
	g.beat(50 * time.Millisecond)
	eventually(t, "three heartbeats of the manager", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.beats >= 3
	})
	if s := h.gateway("gw").GetState(); s != "live" {
		t.Fatalf("state with heartbeats = %q, want live", s)
	}
	p.blackHole()
	eventually(t, "the session detached", func() bool { return h.gateway("gw").GetState() == "detached" })
	eventually(t, "the eviction counted", func() bool {
		return metric(t, reg, "firetower_manager_evictions_total", "reason=heartbeat_timeout") == 1
	})
}

func TestLink_TopicsLeaveAfterTheGrace(t *testing.T) {
	h := startHub(t, func(o *manager.Options) { o.DetachGrace = 100 * time.Millisecond })
	dead := joinHub(t, h, "dead", map[string]int64{"a": 1, "b": 1})
	joinHub(t, h, "alive", map[string]int64{"b": 1})
	dead.conn.Close()
	eventually(t, "the dead gateway's topics gone", func() bool { return h.subscribers("a") == 0 && h.subscribers("b") == 1 })
	if g := h.gateway("dead"); g != nil {
		t.Fatalf("still listed: %v", g)
	}
	if err := dead.sync(h, map[string]int64{"a": 1}); err == nil {
		t.Fatal("a session that is gone could sync")
	}
}

// TestU4_20_OneGatewayDiesOthersGetTheMessage kills gateways in the middle of a
// fan-out in which gateways publish too.
func TestU4_20_OneGatewayDiesOthersGetTheMessage(t *testing.T) {
	h := startHub(t, nil)
	topics := map[string]int64{"room": 1}
	var alive, dying []*fakeGateway
	for i := range 3 {
		alive = append(alive, joinHub(t, h, fmt.Sprintf("alive-%d", i), topics))
		dying = append(dying, joinHub(t, h, fmt.Sprintf("dying-%d", i), topics))
	}
	rpc, link := numbered("rpc", 600), numbered("link", 600)
	for i := range rpc {
		h.publish("room", rpc[i])
		if err := alive[0].send(protocol.Packet{Type: protocol.PublishKey, MessageID: "1", Source: protocol.SourceUser, Topic: "room", Body: []byte(link[i])}); err != nil {
			t.Fatalf("a gateway could not publish after others died: %v", err)
		}
		if i%200 == 100 {
			dying[i/200].conn.(*net.TCPConn).SetLinger(0)
			dying[i/200].conn.Close()
		}
	}
	for _, g := range alive {
		eventually(t, g.id+" has all messages", func() bool { return len(g.bodies("room")) == len(rpc)+len(link) })
		var fromRPC, fromLink []string
		for _, m := range g.bodies("room") {
			if strings.HasPrefix(m, "rpc") {
				fromRPC = append(fromRPC, m)
			} else {
				fromLink = append(fromLink, m)
			}
		}
		if !slices.Equal(fromRPC, rpc) || !slices.Equal(fromLink, link) {
			t.Fatalf("%s: messages lost, doubled or out of order", g.id)
		}
	}
}

// TestU4_21_StuckGatewayIsEvictedOthersGetEverything: one gateway stops reading.
func TestU4_21_StuckGatewayIsEvictedOthersGetEverything(t *testing.T) {
	for _, tc := range []struct {
		name   string
		reason string
		change func(*manager.Options)
	}{
		{"queue full", "queue_full", func(o *manager.Options) {
			o.WriteTimeout = time.Hour
			o.QueueMessages = 64
		}},
		{"write timeout", "write_timeout", func(o *manager.Options) {
			o.WriteTimeout = 200 * time.Millisecond
			o.Heartbeat = time.Hour
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			h := startHub(t, func(o *manager.Options) {
				o.Registry = reg
				o.DetachGrace = time.Hour
				tc.change(o)
			})
			topics := map[string]int64{"room": 1}
			good := joinHub(t, h, "good", topics)
			stuck := dialLink(t, h.Addrs().Link.String())
			stuck.conn.(*net.TCPConn).SetReadBuffer(4 << 10)
			stuck.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "stuck", Epoch: 1}, topics: topics})

			body := strings.Repeat("x", 64<<10)
			sent := 0
			eventually(t, "the stuck gateway evicted", func() bool {
				res := h.publish("room", body)
				if sent++; res.GetGatewaysMatched() != 2 || res.GetGatewaysQueued() == 0 {
					t.Fatalf("publish = %v, want the good gateway to have it", res)
				}
				// The good gateway is not to be overrun: this is about the stuck one.
				eventually(t, "the good gateway has the message", func() bool { return len(good.packets()) == sent })
				return metric(t, reg, "firetower_manager_evictions_total", "reason="+tc.reason) == 1
			})
			if s := h.gateway("stuck").GetState(); s != "detached" {
				t.Errorf("state of the stuck gateway = %q, want detached", s)
			}
			if s := h.gateway("good").GetState(); s != "live" {
				t.Errorf("state of the good gateway = %q, want live", s)
			}
			if n := metric(t, reg, "firetower_manager_drops_total", "reason="+tc.reason); n == 0 {
				t.Errorf("no drop counted for %s", tc.reason)
			}
			res := h.publish("room", "after")
			if res.GetOk() || res.GetGatewaysQueued() != 1 || !strings.Contains(res.GetError(), "stuck (link_down)") {
				t.Errorf("publish after the eviction = %v", res)
			}
			eventually(t, "the good gateway still gets messages", func() bool { return len(good.packets()) == sent+1 })
		})
	}
}

// TestU4_15_ALostWelcomeLosesNoAccount: a link that breaks before its welcome comes
// leaves what it would have told to the next one, and nothing is counted twice.
func TestU4_15_ALostWelcomeLosesNoAccount(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := startHub(t, func(o *manager.Options) {
		o.Registry = reg
		o.DetachGrace = time.Hour
	})
	join := func(epoch, prev int64, received uint64) *topicpb.LinkWelcome {
		g := dialLink(t, h.Addrs().Link.String())
		welcome, refuse := g.greet(greeting{
			hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: epoch, PrevEpoch: prev, Received: received}, topics: map[string]int64{"a": 1},
		})
		if refuse != nil {
			t.Fatalf("epoch %d: refused: %v", epoch, refuse)
		}
		g.listen()
		g.conn.Close()
		eventually(t, "the session detached", func() bool { return h.gateway("gw").GetState() == "detached" })
		return welcome
	}
	join(1, 0, 0)
	for range 3 {
		h.publish("a", "x")
	}
	// The gateway never learns of sessions 2 and 3: it goes on naming 1.
	for i, row := range []struct {
		epoch  int64
		missed uint64
	}{{2, 3}, {3, 5}, {4, 7}} {
		if w := join(row.epoch, 1, 0); !w.GetMissedKnown() || w.GetMissed() != row.missed {
			t.Errorf("epoch %d: %v, want %d missed", row.epoch, w, row.missed)
		}
		if n := metric(t, reg, "firetower_manager_missed_total", ""); n != float64(row.missed) {
			t.Errorf("after epoch %d: missed_total = %v, want %d", row.epoch, n, row.missed)
		}
		if i < 2 {
			h.publish("a", "x")
			h.publish("a", "x")
		}
	}
	// It saw session 4, which had nothing.
	if w := join(5, 4, 0); !w.GetMissedKnown() || w.GetMissed() != 0 {
		t.Errorf("epoch 5: %v, want nothing missed", w)
	}
}

// TestU5_07_ALateCallUndoesNothing: a SyncTopics that was given up and comes after
// a later one changes nothing.
func TestU5_07_ALateCallUndoesNothing(t *testing.T) {
	h := startHub(t, nil)
	g := dialLink(t, h.Addrs().Link.String())
	g.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: 1}})
	g.listen()
	sync := func(seq uint64, count int64) codes.Code {
		_, err := h.rpc.SyncTopics(t.Context(), &topicpb.SyncTopicsRequest{
			ClusterId: "gw", Epoch: 1, Seq: seq, Topics: []*topicpb.TopicCount{{Topic: "a", Count: count}},
		})
		return status.Code(err)
	}
	for _, row := range []struct {
		name  string
		seq   uint64
		count int64
		code  codes.Code
		left  int64
	}{
		{"first", 5, 2, codes.OK, 2},
		{"earlier", 4, 0, codes.Aborted, 2},
		{"repeated", 5, 0, codes.Aborted, 2},
		{"later", 9, 3, codes.OK, 3},
		{"without a sequence", 0, 4, codes.OK, 4},
	} {
		if code := sync(row.seq, row.count); code != row.code {
			t.Errorf("%s: %v, want %v", row.name, code, row.code)
		}
		if n := h.subscribers("a"); n != row.left {
			t.Errorf("%s: %d subscribers, want %d", row.name, n, row.left)
		}
	}
}
