package manager_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"firetower/core/manager"
	"firetower/core/protocol"
	"firetower/core/topicpb"
)

// mixed is a manager with a gateway of ours and a legacy one, both with subscribers of
// "room", and what each should have.
type mixed struct {
	*hub

	reg          *prometheus.Registry
	ours, legacy *fakeGateway
	ip           string // the legacy gateway's

	wantOurs, wantLegacy []string
	noBody               int // packets that were not for the legacy gateway
}

func startMixed(t *testing.T) *mixed {
	t.Helper()
	m := &mixed{reg: prometheus.NewRegistry()}
	m.hub = startHub(t, func(o *manager.Options) { o.Registry = m.reg })
	m.ours = joinHub(t, m.hub, "ours", map[string]int64{"room": 1})
	m.legacy, m.ip = legacyPeer(t, m.hub)
	m.subscribeWhenAccepted(m.ip, "room")
	return m
}

// both expects a packet at both gateways, oursOnly at ours.
func (m *mixed) both(typ protocol.MessageType, topic, body string) {
	m.wantLegacy = append(m.wantLegacy, show(protocol.Packet{Type: typ, Topic: topic, Body: []byte(body)}))
	m.wantOurs = append(m.wantOurs, m.wantLegacy[len(m.wantLegacy)-1])
}

func (m *mixed) oursOnly(typ protocol.MessageType, topic string) {
	m.wantOurs = append(m.wantOurs, show(protocol.Packet{Type: typ, Topic: topic}))
	m.noBody++
}

func show(p protocol.Packet) string { return fmt.Sprintf("%s %s %q", p.Type, p.Topic, p.Body) }

// check awaits what is expected, and that a message after it comes to both.
func (m *mixed) check(t *testing.T) {
	t.Helper()
	m.checkArrived(t)
	body := fmt.Sprint("message ", len(m.wantOurs))
	if res := m.publish("room", body); !res.GetOk() || res.GetGatewaysQueued() != 2 {
		t.Fatalf("the next publish = %v, want Ok with 2 gateways", res)
	}
	m.both(protocol.PublishKey, "room", body)
	m.checkArrived(t)
}

func (m *mixed) checkArrived(t *testing.T) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d packets dropped for want of a body", m.noBody), func() bool {
		return metric(t, m.reg, "firetower_manager_drops_total", "reason=no_body") == float64(m.noBody)
	})
	if info := m.gateway(m.ip); info.GetState() != "live" || info.GetDroppedMessages() != uint64(m.noBody) {
		t.Fatalf("the legacy gateway is listed as %v, want it live with %d dropped", info, m.noBody)
	}
	for _, g := range []struct {
		name string
		got  func() []protocol.Packet
		want []string
	}{{"our gateway", m.ours.packets, m.wantOurs}, {"the legacy gateway", m.legacy.decoded, m.wantLegacy}} {
		eventually(t, fmt.Sprintf("%d packets decoded by %s", len(g.want), g.name), func() bool { return len(g.got()) >= len(g.want) })
		var got []string
		for _, p := range g.got() {
			got = append(got, show(p))
		}
		if !slices.Equal(got, g.want) {
			t.Fatalf("%s decoded\n%s\nwant\n%s", g.name, strings.Join(got, "\n"), strings.Join(g.want, "\n"))
		}
	}
}

// decoded is what a legacy gateway makes of what came to it: its Depack keeps a packet
// without a body for ever, and decodes nothing that comes after it.
func (g *fakeGateway) decoded() []protocol.Packet {
	packets := g.packets()
	if i := slices.IndexFunc(packets, func(p protocol.Packet) bool { return len(p.Body) == 0 }); i >= 0 {
		return packets[:i]
	}
	return packets
}

// TestLink_LegacyGatewayGetsNoMessageWithoutBody, by whatever way it is published: ours
// gets it, and the answer and the counters say that the other did not.
func TestLink_LegacyGatewayGetsNoMessageWithoutBody(t *testing.T) {
	ctx := context.Background()
	m := startMixed(t)
	byStream := func(req *topicpb.PublishRequest) (*topicpb.PublishResponse, error) {
		stream, err := m.rpc.PublishStream(ctx)
		if err != nil {
			return nil, err
		}
		if err := stream.Send(req); err != nil {
			return nil, err
		}
		defer stream.CloseSend()
		return stream.Recv()
	}
	byLink := func(g *fakeGateway) func() (*topicpb.PublishResponse, error) {
		return func() (*topicpb.PublishResponse, error) {
			return nil, g.send(protocol.Packet{Type: protocol.PublishKey, MessageID: "7", Source: protocol.SourceUser, Topic: "room"})
		}
	}
	for _, tc := range []struct {
		name    string
		publish func() (*topicpb.PublishResponse, error) // a link has no answer
	}{
		{"Publish", func() (*topicpb.PublishResponse, error) {
			return m.rpc.Publish(ctx, &topicpb.PublishRequest{Topic: "room"})
		}},
		{"PublishBatch", func() (*topicpb.PublishResponse, error) {
			res, err := m.rpc.PublishBatch(ctx, &topicpb.PublishBatchRequest{Messages: []*topicpb.PublishRequest{{Topic: "room"}}})
			if err != nil {
				return nil, err
			}
			return res.GetResults()[0], nil
		}},
		{"PublishStream", func() (*topicpb.PublishResponse, error) { return byStream(&topicpb.PublishRequest{Topic: "room"}) }},
		{"PublishStream with joined answers", func() (*topicpb.PublishResponse, error) {
			return byStream(&topicpb.PublishRequest{Topic: "room", AckWithinMs: 1000})
		}},
		{"our gateway's link", byLink(m.ours)},
		{"legacy gateway's link", byLink(m.legacy)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, err := tc.publish()
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("1 of 2 gateways missed the message: %s (no_body)", m.ip)
			if res != nil && (res.GetOk() || res.GetGatewaysMatched() != 2 || res.GetGatewaysQueued() != 1 || res.GetError() != want) {
				t.Fatalf("response = %v, want 1 gateway of 2 and the error %q", res, want)
			}
			m.oursOnly(protocol.PublishKey, "room")
			m.check(t)
		})
	}
	// What only looks like the end of a header line is a body.
	for _, body := range []string{"\n", "x\n", "\nx", "\n\n", "FireHeader\x00\x00\x00\x0a"} {
		t.Run(fmt.Sprintf("body %q", body), func(t *testing.T) {
			if res := m.publish("room", body); !res.GetOk() || res.GetGatewaysQueued() != 2 {
				t.Fatalf("publish = %v, want Ok with 2 gateways", res)
			}
			m.both(protocol.PublishKey, "room", body)
			m.check(t)
		})
	}
}

// TestOffline_ReachesLegacyGateways, with a body, although the order that came over a link
// has none; and one that needs a body and has none stays away from them.
func TestOffline_ReachesLegacyGateways(t *testing.T) {
	m := startMixed(t)
	kick := protocol.Packet{Type: protocol.OfflineTopicKey, MessageID: "7", Source: protocol.SourceUser, Topic: "room"}
	for _, tc := range []struct {
		name  string
		order func() error
	}{
		{"Offline", func() error {
			res, err := m.rpc.Offline(context.Background(), &topicpb.OfflineRequest{Kind: topicpb.OfflineKind_OFFLINE_KIND_TOPIC, Topic: "room"})
			if err == nil && res.GetGateways() != 2 {
				err = fmt.Errorf("queued to %d gateways, want 2", res.GetGateways())
			}
			return err
		}},
		{"our gateway's link", func() error { return m.ours.send(kick) }},
		{"legacy gateway's link", func() error { return m.legacy.send(kick) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.order(); err != nil {
				t.Fatal(err)
			}
			m.both(protocol.OfflineTopicKey, "room", "room")
			m.check(t)
		})
	}
	t.Run("no user", func(t *testing.T) {
		if err := m.ours.send(protocol.Packet{Type: protocol.OfflineUserKey, Source: protocol.SourceUser, Topic: "*"}); err != nil {
			t.Fatal(err)
		}
		m.oursOnly(protocol.OfflineUserKey, "*")
		m.check(t)
	})
}
