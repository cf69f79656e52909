package manager_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"firetower/core/manager"
	"firetower/core/protocol"
	"firetower/core/topicpb"
)

// TestU4_23_IdentityIsTheClusterIDAndEpoch: two gateways behind one address are
// two, one gateway from two addresses is one, and an old session's calls are refused.
func TestU4_23_IdentityIsTheClusterIDAndEpoch(t *testing.T) {
	h := startHub(t, nil)
	p := startProxy(t, h.Addrs().Link.String()) // as NAT does: the manager never sees a gateway's own address
	join := func(addr, id string, epoch int64) *fakeGateway {
		g := dialLink(t, addr)
		if _, refuse := g.greet(greeting{hello: &topicpb.LinkHello{ClusterId: id, Epoch: epoch}, topics: map[string]int64{"room": 1}}); refuse != nil {
			t.Fatalf("refused: %v", refuse)
		}
		g.listen()
		return g
	}
	a, b := join(p.addr(), "a", 1), join(p.addr(), "b", 1)
	if res := h.publish("room", "both"); res.GetGatewaysQueued() != 2 {
		t.Fatalf("publish = %v, want two gateways", res)
	}
	for _, g := range []*fakeGateway{a, b} {
		eventually(t, g.id+" has the message", func() bool { return slices.Equal(g.bodies("room"), []string{"both"}) })
	}

	again := join(h.Addrs().Link.String(), "a", 2)
	if n := h.subscribers("room"); n != 2 {
		t.Fatalf("%d subscribers after a came from another address, want 2", n)
	}
	if got := status.Code(a.sync(h, map[string]int64{"room": 9})); got != codes.FailedPrecondition {
		t.Fatalf("sync of a's old session = %v, want FailedPrecondition", got)
	}
	if err := again.sync(h, map[string]int64{"room": 9}); err != nil {
		t.Fatal(err)
	}
	stranger := &fakeGateway{t: t, id: "nobody", epoch: 1}
	if got := status.Code(stranger.sync(h, map[string]int64{"room": 9})); got != codes.FailedPrecondition {
		t.Fatalf("sync of an unknown gateway = %v, want FailedPrecondition", got)
	}
	if n := h.subscribers("room"); n != 10 {
		t.Fatalf("%d subscribers, want 9 of a and 1 of b", n)
	}
}

// TestU4_23_AddressesOfLegacyGateways: the spelling of an address does not
// matter, and nothing is left when the link is gone.
func TestU4_23_AddressesOfLegacyGateways(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"IPv4", "10.0.0.1:80", "10.0.0.1:80"},
		{"IPv4-mapped", "[::ffff:10.0.0.1]:80", "10.0.0.1:80"},
		{"IPv4-mapped in hex", "[::ffff:a00:1]:80", "10.0.0.1:80"},
		{"IPv6", "[2001:db8::1]:80", "[2001:db8::1]:80"},
		{"IPv6 with zeros", "[2001:db8:0:0:0:0:0:1]:80", "[2001:db8::1]:80"},
		{"IPv6 upper case", "[2001:DB8::A]:80", "[2001:db8::a]:80"},
		{"not an address", "gateway-7", "gateway-7"},
		{"empty", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := manager.NormalAddr(tc.in); got != tc.want {
				t.Fatalf("NormalAddr(%q) = %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

// legacyPeer links a gateway that says no hello.
func legacyPeer(t *testing.T, h *hub) (*fakeGateway, string) {
	t.Helper()
	g := dialLink(t, h.Addrs().Link.String())
	g.listen()
	return g, g.conn.LocalAddr().String()
}

func (h *hub) subscribeByIP(ip string, topics ...string) error {
	_, err := h.rpc.SubscribeTopic(context.Background(), &topicpb.SubscribeTopicRequest{Ip: ip, Topic: topics})
	return err
}

func (h *hub) unsubscribeByIP(ip string, topics ...string) error {
	_, err := h.rpc.UnSubscribeTopic(context.Background(), &topicpb.UnSubscribeTopicRequest{Ip: ip, Topic: topics})
	return err
}

// subscribeWhenAccepted is subscribeByIP by a gateway whose link may not have been
// accepted yet: its connect returns before the manager's accept does.
func (h *hub) subscribeWhenAccepted(ip string, topics ...string) {
	h.t.Helper()
	eventually(h.t, "the legacy link accepted", func() bool {
		err := h.subscribeByIP(ip, topics...)
		if c := status.Code(err); c != codes.OK && c != codes.FailedPrecondition {
			h.t.Fatal(err)
		}
		return err == nil
	})
}

func TestLink_LegacyGateway(t *testing.T) {
	h := startHub(t, func(o *manager.Options) {
		o.Heartbeat = 50 * time.Millisecond
		o.HandshakeTimeout = 100 * time.Millisecond
	})
	ours := joinHub(t, h, "ours", map[string]int64{"room": 1})
	ours.beat(20 * time.Millisecond)
	g, ip := legacyPeer(t, h)
	h.subscribeWhenAccepted(ip, "room", "other")
	_, port, _ := net.SplitHostPort(ip)
	if err := h.subscribeByIP("[::ffff:127.0.0.1]:"+port, "room"); err != nil {
		t.Fatalf("by the IPv6 form of its address: %v", err)
	}
	if n := h.subscribers("room"); n != 3 {
		t.Fatalf("room has %d subscribers, want 3", n)
	}
	if info := h.gateway(ip); info.GetState() != "live" || info.GetTopics() != 2 || info.GetSubscribers() != 3 || info.GetEpoch() != 0 {
		t.Fatalf("listed as %v", info)
	}
	if res := h.publish("room", "one"); res.GetGatewaysQueued() != 2 {
		t.Fatalf("publish = %v", res)
	}
	for _, f := range []*fakeGateway{g, ours} {
		eventually(t, "the message at both", func() bool { return slices.Equal(f.bodies("room"), []string{"one"}) })
	}
	// It has said nothing at all so far: such gateways are silent, and not dead.
	eventually(t, "many heartbeats to it", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.beats >= 8
	})
	if err := g.send(protocol.Packet{Type: protocol.PublishKey, MessageID: "5", Source: protocol.SourceUser, Topic: "room", Body: []byte("two")}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*fakeGateway{g, ours} {
		eventually(t, "the message of the legacy gateway", func() bool { return slices.Equal(f.bodies("room"), []string{"one", "two"}) })
	}
	if err := h.unsubscribeByIP(ip, "room"); err != nil {
		t.Fatal(err)
	}
	if n := h.subscribers("room"); n != 2 {
		t.Fatalf("room has %d subscribers after one unsubscribed, want 2", n)
	}
	g.conn.Close()
	eventually(t, "its topics gone with its link", func() bool { return h.subscribers("room") == 1 && h.subscribers("other") == 0 })
	if info := h.gateway(ip); info != nil {
		t.Fatalf("still listed: %v", info)
	}
	if got := status.Code(h.subscribeByIP(ip, "room")); got != codes.FailedPrecondition {
		t.Fatalf("subscribe by the address of a dead link = %v, want FailedPrecondition", got)
	}
}

// TestLink_LegacyHeartbeats: a legacy gateway that has sent a heartbeat is held to it.
func TestLink_LegacyHeartbeats(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := startHub(t, func(o *manager.Options) {
		o.Heartbeat = 50 * time.Millisecond
		o.Registry = reg
	})
	g, _ := legacyPeer(t, h)
	if err := g.send(protocol.HeartbeatPacket()); err != nil {
		t.Fatal(err)
	}
	if _, err := g.ended(); err == nil {
		t.Fatal("link open")
	}
	eventually(t, "the eviction counted", func() bool {
		return metric(t, reg, "firetower_manager_evictions_total", "reason=heartbeat_timeout") == 1
	})
}

// TestLink_HelloAfterLegacy: a link is one or the other.
func TestLink_HelloAfterLegacy(t *testing.T) {
	h := startHub(t, nil)
	g := dialLink(t, h.Addrs().Link.String())
	h.subscribeWhenAccepted(g.conn.LocalAddr().String(), "room")
	if err := g.say(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: 1}}); err != nil {
		t.Fatal(err)
	}
	if refuse := g.awaitClosed(); refuse.GetCode() != "bad_hello" {
		t.Fatalf("refuse = %v, want bad_hello", refuse)
	}
	eventually(t, "the topics gone", func() bool { return h.subscribers("room") == 0 })
}

func TestLink_NewerLinkSupersedes(t *testing.T) {
	h := startHub(t, nil)
	first := dialLink(t, h.Addrs().Link.String())
	first.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: 10}, topics: map[string]int64{"a": 1, "b": 1}})
	first.listen()

	second := dialLink(t, h.Addrs().Link.String())
	if _, refuse := second.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: 11, PrevEpoch: 10}, topics: map[string]int64{"b": 2, "c": 3}}); refuse != nil {
		t.Fatalf("refused: %v", refuse)
	}
	second.listen()
	if refuse, _ := first.ended(); refuse.GetCode() != "superseded" {
		t.Fatalf("the older link was told %v, want superseded", refuse)
	}
	for topic, n := range map[string]int64{"a": 0, "b": 2, "c": 3} {
		if got := h.subscribers(topic); got != n {
			t.Errorf("%s has %d subscribers, want %d", topic, got, n)
		}
	}
	if res := h.publish("b", "x"); !res.GetOk() || res.GetGatewaysMatched() != 1 {
		t.Fatalf("publish = %v", res)
	}
	eventually(t, "the message on the newer link", func() bool { return len(second.bodies("b")) == 1 })

	// An older hello that was on its way for long does not take the link back.
	for _, epoch := range []int64{10, 11} {
		late := dialLink(t, h.Addrs().Link.String())
		if _, refuse := late.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: epoch}}); refuse.GetCode() != "superseded" {
			t.Fatalf("epoch %d after 11: refuse = %v, want superseded", epoch, refuse)
		}
	}
	if info := h.gateway("gw"); info.GetEpoch() != 11 || info.GetState() != "live" {
		t.Fatalf("listed as %v, want epoch 11 live", info)
	}
}

// TestLink_SnapshotReplacesAtOnce: while links of one gateway follow one another,
// there is no moment at which its topic has no subscriber, or twice as many.
func TestLink_SnapshotReplacesAtOnce(t *testing.T) {
	h := startHub(t, nil)
	topics := countsOf(numbered("t", 400), 1)
	g := joinHub(t, h, "gw", topics)
	epoch := g.epoch
	for range 10 {
		next := dialLink(t, h.Addrs().Link.String())
		if err := next.say(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: epoch + 1, PrevEpoch: epoch}, topics: topics, parts: 3}); err != nil {
			t.Fatal(err)
		}
		epoch++
		for h.gateway("gw").GetEpoch() != epoch || h.gateway("gw").GetState() != "live" {
			if n := h.subscribers("t000123"); n != 1 {
				t.Fatalf("%d subscribers while the link changes, want 1", n)
			}
		}
		if _, refuse := next.awaitWelcome(); refuse != nil {
			t.Fatalf("refused: %v", refuse)
		}
		next.listen()
	}
}

func TestLink_Refusals(t *testing.T) {
	ok := func() *topicpb.LinkHello { return &topicpb.LinkHello{ClusterId: "gw", Epoch: 1} }
	publish := protocol.Packet{Type: protocol.PublishKey, MessageID: "1", Source: protocol.SourceUser, Topic: "room", Body: []byte("x")}
	for _, tc := range []struct {
		name   string
		change func(*manager.Options)
		say    func(*fakeGateway) error
		code   string // of the refusal, empty: none
		reason string // of the eviction
	}{
		{"no ClusterID", nil, func(g *fakeGateway) error {
			return g.say(greeting{hello: &topicpb.LinkHello{Epoch: 1}})
		}, "bad_hello", "bad_hello"},
		{"ClusterID with a space", nil, func(g *fakeGateway) error {
			return g.say(greeting{hello: &topicpb.LinkHello{ClusterId: "a b", Epoch: 1}})
		}, "bad_hello", "bad_hello"},
		{"epoch 0", nil, func(g *fakeGateway) error {
			return g.say(greeting{hello: &topicpb.LinkHello{ClusterId: "gw"}})
		}, "bad_hello", "bad_hello"},
		{"hello that is no proto", nil, func(g *fakeGateway) error {
			return g.send(protocol.Packet{Type: protocol.HelloKey, MessageID: "0", Source: protocol.SourceSystem, Topic: "*", Body: []byte{0xff}})
		}, "bad_hello", "bad_hello"},
		{"publish before the snapshot", nil, func(g *fakeGateway) error {
			if err := g.sendControl(protocol.HelloKey, ok()); err != nil {
				return err
			}
			return g.send(publish)
		}, "bad_hello", "bad_hello"},
		{"snapshot that is no proto", nil, func(g *fakeGateway) error {
			if err := g.sendControl(protocol.HelloKey, ok()); err != nil {
				return err
			}
			return g.send(protocol.Packet{Type: protocol.SnapshotKey, MessageID: "0", Source: protocol.SourceSystem, Topic: "*", Body: []byte{0xff}})
		}, "bad_hello", "bad_hello"},
		{"snapshot above the limit", func(o *manager.Options) { o.MaxTopicsPerGateway = 2 }, func(g *fakeGateway) error {
			return g.say(greeting{hello: ok(), topics: map[string]int64{"a": 1, "b": 1, "c": 1}})
		}, "bad_hello", "bad_hello"},
		{"snapshot never ends", func(o *manager.Options) { o.HandshakeTimeout = 50 * time.Millisecond }, func(g *fakeGateway) error {
			return g.sendControl(protocol.HelloKey, ok())
		}, "bad_hello", "handshake_timeout"},
		{"second hello", nil, func(g *fakeGateway) error {
			if err := g.say(greeting{hello: ok()}); err != nil {
				return err
			}
			return g.sendControl(protocol.HelloKey, ok())
		}, "bad_hello", "bad_frame"},
		{"garbage", nil, func(g *fakeGateway) error {
			_, err := g.conn.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
			return err
		}, "", "bad_frame"},
		{"garbage after the welcome", nil, func(g *fakeGateway) error {
			if err := g.say(greeting{hello: ok()}); err != nil {
				return err
			}
			_, err := g.conn.Write([]byte(strings.Repeat("\x00", 64)))
			return err
		}, "bad_hello", "bad_frame"},
		{"packet above the limit", func(o *manager.Options) { o.MaxPacketBytes = 8 << 10 }, func(g *fakeGateway) error {
			big := publish
			big.Body = make([]byte, 9<<10)
			return g.send(big)
		}, "", "bad_frame"},
		{"one gateway too many", func(o *manager.Options) { o.MaxGateways = 1 }, func(g *fakeGateway) error {
			return nil
		}, "", "too_many_gateways"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			h := startHub(t, func(o *manager.Options) {
				o.Registry = reg
				if tc.change != nil {
					tc.change(o)
				}
			})
			if tc.reason == "too_many_gateways" {
				joinHub(t, h, "first", nil)
			}
			g := dialLink(t, h.Addrs().Link.String())
			if err := tc.say(g); err != nil {
				t.Fatal(err)
			}
			if refuse := g.awaitClosed(); refuse.GetCode() != tc.code {
				t.Fatalf("refuse = %v, want code %q", refuse, tc.code)
			}
			eventually(t, "the eviction counted", func() bool {
				return metric(t, reg, "firetower_manager_evictions_total", "reason="+tc.reason) == 1
			})
			// The manager is none the worse for it.
			if tc.reason != "too_many_gateways" {
				joinHub(t, h, "next", map[string]int64{"a": 1})
			}
		})
	}
}

// TestU4_23b_UnauthenticatedPeerIsRefused: neither the link nor gRPC can be used
// without the token.
func TestU4_23b_UnauthenticatedPeerIsRefused(t *testing.T) {
	const token = "s3cret-token"
	reg := prometheus.NewRegistry()
	h := startHub(t, func(o *manager.Options) {
		o.Token = token
		o.Registry = reg
		o.HandshakeTimeout = 300 * time.Millisecond
	})
	hello := func(token string) greeting {
		return greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: 1, Token: token}, topics: map[string]int64{"room": 1}}
	}
	refused := 0
	for _, tc := range []struct {
		name string
		say  func(*fakeGateway) error
		code string
	}{
		{"no token", func(g *fakeGateway) error { return g.say(hello("")) }, "unauthenticated"},
		{"wrong token", func(g *fakeGateway) error { return g.say(hello("S3cret-token")) }, "unauthenticated"},
		{"longer token", func(g *fakeGateway) error { return g.say(hello(token + "x")) }, "unauthenticated"},
		{"kick without a hello", func(g *fakeGateway) error {
			return g.send(protocol.Packet{Type: protocol.OfflineTopicKey, MessageID: "1", Source: protocol.SourceUser, Topic: "room"})
		}, "unauthenticated"},
		{"silence", func(*fakeGateway) error { return nil }, "bad_hello"},
		{"bytes without end", func(g *fakeGateway) error {
			huge, err := protocol.Enpack(protocol.Packet{Type: protocol.PublishKey, Source: protocol.SourceUser, Topic: "room", Body: make([]byte, 1<<20)})
			if err == nil {
				g.conn.Write(huge) // fails when the manager has had enough
			}
			return err
		}, "bad_hello"},
	} {
		t.Run("link: "+tc.name, func(t *testing.T) {
			g := dialLink(t, h.Addrs().Link.String())
			if err := tc.say(g); err != nil {
				t.Fatal(err)
			}
			if refuse := g.awaitClosed(); refuse.GetCode() != tc.code {
				t.Fatalf("refuse = %v, want %s", refuse, tc.code)
			}
			refused++
		})
	}
	eventually(t, "every refusal counted", func() bool {
		n := metric(t, reg, "firetower_manager_evictions_total", "reason=unauthenticated") +
			metric(t, reg, "firetower_manager_evictions_total", "reason=handshake_timeout") +
			metric(t, reg, "firetower_manager_evictions_total", "reason=bad_hello")
		return n == float64(refused)
	})

	g := dialLink(t, h.Addrs().Link.String())
	if _, refuse := g.greet(hello(token)); refuse != nil {
		t.Fatalf("the right token was refused: %v", refuse)
	}
	g.listen()

	for _, tc := range []struct {
		name, authorization string
		want                codes.Code
		says                string
	}{
		{"no metadata", "", codes.Unauthenticated, "authorization: want the metadata"},
		{"wrong token", "Bearer nope", codes.Unauthenticated, "authorization: the token given is not this manager's"},
		{"token without its scheme", token, codes.Unauthenticated, "authorization: want the metadata"},
		{"basic", "Basic " + token, codes.Unauthenticated, "authorization: want the metadata"},
		{"right token", "Bearer " + token, codes.OK, ""},
		{"scheme in lower case", "bearer " + token, codes.OK, ""},
	} {
		t.Run("grpc: "+tc.name, func(t *testing.T) {
			ctx := withAuthorization(tc.authorization)
			calls := map[string]func() error{
				"Publish": func() error {
					_, err := h.rpc.Publish(ctx, &topicpb.PublishRequest{Topic: "room"})
					return err
				},
				"ListGateways": func() error {
					_, err := h.rpc.ListGateways(ctx, &topicpb.ListGatewaysRequest{})
					return err
				},
				"Offline": func() error {
					_, err := h.rpc.Offline(ctx, &topicpb.OfflineRequest{Kind: topicpb.OfflineKind_OFFLINE_KIND_TOPIC, Topic: "other"})
					return err
				},
				"PublishStream": func() error {
					s, err := h.rpc.PublishStream(ctx)
					if err != nil {
						return err
					}
					s.Send(&topicpb.PublishRequest{Topic: "room"})
					s.CloseSend()
					_, err = s.Recv()
					return err
				},
			}
			for name, call := range calls {
				err := call()
				if got := status.Code(err); got != tc.want || !strings.HasPrefix(status.Convert(err).Message(), tc.says) {
					t.Errorf("%s = %v, want %v %q", name, err, tc.want, tc.says)
				}
			}
		})
	}
	// What was refused reached nobody: two calls of each allowed row.
	eventually(t, "what was allowed", func() bool { return len(g.packets()) == 2*3 })
}
