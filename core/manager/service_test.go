package manager_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"firetower/core/manager"
	"firetower/core/protocol"
	"firetower/core/topicpb"
)

func withAuthorization(value string) context.Context {
	if value == "" {
		return context.Background()
	}
	return metadata.AppendToOutgoingContext(context.Background(), "authorization", value)
}

func TestU4_18_EveryGatewayGetsEveryMessage(t *testing.T) {
	h := startHub(t, nil)
	var all []*fakeGateway
	for i := range 4 {
		all = append(all, joinHub(t, h, fmt.Sprintf("gw-%d", i), map[string]int64{"room": 1, fmt.Sprintf("own-%d", i): 1}))
	}
	want := numbered("m", 50)
	for _, m := range want {
		if res := h.publish("room", m); res.GetGatewaysQueued() != 4 {
			t.Fatalf("publish = %v, want 4 gateways", res)
		}
	}
	h.publish("own-2", "only one")
	for i, g := range all {
		eventually(t, g.id+" has all", func() bool { return slices.Equal(g.bodies("room"), want) })
		own := g.bodies("own-2")
		if i == 2 {
			eventually(t, "the message of one gateway's topic", func() bool { return len(g.bodies("own-2")) == 1 })
		} else if len(own) != 0 {
			t.Errorf("%s got a message of a topic that it has no subscribers of", g.id)
		}
	}
}

// TestU4_22_ResponseTellsWhatBecameOfTheMessage: who matched, who took it, and
// what was wrong with the request.
func TestU4_22_ResponseTellsWhatBecameOfTheMessage(t *testing.T) {
	h := startHub(t, func(o *manager.Options) {
		o.MaxPacketBytes = 64 << 10
		o.MaxTopicBytes = 100
	})
	g := joinHub(t, h, "gw", map[string]int64{"room": 3})
	for _, tc := range []struct {
		name    string
		req     *topicpb.PublishRequest
		code    codes.Code
		matched uint32
		message string // what the error says
	}{
		{"nobody subscribes", &topicpb.PublishRequest{Topic: "nobody", Data: []byte("x")}, codes.OK, 0, ""},
		{"empty data", &topicpb.PublishRequest{Topic: "room"}, codes.OK, 1, ""},
		{"own id and source", &topicpb.PublishRequest{Topic: "room", MessageId: "id-1", Source: "user", Data: []byte("FireHeader\x00\x00")}, codes.OK, 1, ""},
		{"no topic", &topicpb.PublishRequest{Data: []byte("x")}, codes.InvalidArgument, 0, "Topic"},
		{"topic with a space", &topicpb.PublishRequest{Topic: "a b"}, codes.InvalidArgument, 0, "Topic"},
		{"topic with LF", &topicpb.PublishRequest{Topic: "a\nb"}, codes.InvalidArgument, 0, "Topic"},
		{"topic too long", &topicpb.PublishRequest{Topic: strings.Repeat("t", 101)}, codes.InvalidArgument, 0, "Topic"},
		{"id with a space", &topicpb.PublishRequest{Topic: "room", MessageId: "a b"}, codes.InvalidArgument, 0, "MessageId"},
		{"source with LF", &topicpb.PublishRequest{Topic: "room", Source: "a\n"}, codes.InvalidArgument, 0, "Source"},
		{"id too long", &topicpb.PublishRequest{Topic: "room", MessageId: strings.Repeat("i", 5000)}, codes.InvalidArgument, 0, "MessageId"},
		{"data too large", &topicpb.PublishRequest{Topic: "room", Data: make([]byte, 64<<10)}, codes.InvalidArgument, 0, "Data"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(g.packets())
			res, err := h.rpc.Publish(context.Background(), tc.req)
			if status.Code(err) != tc.code || !strings.HasPrefix(status.Convert(err).Message(), tc.message) {
				t.Fatalf("err = %v, want %v that begins with %q", err, tc.code, tc.message)
			}
			// A batch and a stream say the same, in the message's own result.
			batch, err := h.rpc.PublishBatch(context.Background(), &topicpb.PublishBatchRequest{
				Messages: []*topicpb.PublishRequest{tc.req, {Topic: "room", Data: []byte("next")}},
			})
			if err != nil || len(batch.GetResults()) != 2 || !batch.GetResults()[1].GetOk() {
				t.Fatalf("batch = %v, %v", batch, err)
			}
			in := batch.GetResults()[0]
			if tc.code != codes.OK {
				if in.GetOk() || !strings.HasPrefix(in.GetError(), tc.message) {
					t.Fatalf("result in a batch = %v, want an error that begins with %q", in, tc.message)
				}
				return
			}
			for _, r := range []*topicpb.PublishResponse{res, in} {
				if !r.GetOk() || r.GetGatewaysMatched() != tc.matched || r.GetGatewaysQueued() != tc.matched || r.GetError() != "" {
					t.Fatalf("response = %v, want Ok with %d gateways", r, tc.matched)
				}
			}
			if tc.matched == 0 {
				// The batch's other message is on its way: the next row counts from here.
				eventually(t, "the other message", func() bool { return len(g.packets()) == before+1 })
				return
			}
			eventually(t, "the messages", func() bool { return len(g.packets()) == before+3 })
			p := g.packets()[before]
			wantID, wantSource := tc.req.GetMessageId(), protocol.Source(tc.req.GetSource())
			if wantSource == "" {
				wantSource = protocol.SourcePlatform
			}
			if !bytes.Equal(p.Body, tc.req.GetData()) || p.Source != wantSource || p.MessageID == "" || (wantID != "" && p.MessageID != wantID) {
				t.Fatalf("the gateway got %+v", p)
			}
		})
	}
}

func TestService_PublishStreamIsOrdered(t *testing.T) {
	h := startHub(t, nil)
	g := joinHub(t, h, "gw", map[string]int64{"room": 1})
	stream, err := h.rpc.PublishStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := numbered("m", 2000)
	var sending sync.WaitGroup
	sending.Go(func() {
		for i, m := range want {
			topic := "room"
			if i == 1000 {
				topic = "not a topic" // answered in its place, and the stream goes on
			}
			if err := stream.Send(&topicpb.PublishRequest{Topic: topic, Data: []byte(m)}); err != nil {
				t.Errorf("send %d: %v", i, err)
				return
			}
		}
		stream.CloseSend()
	})
	for i := range want {
		res, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if bad := i == 1000; res.GetOk() == bad || (res.GetError() == "") == bad {
			t.Fatalf("answer %d = %v", i, res)
		}
	}
	sending.Wait()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("the stream ended with %v", err)
	}
	want = slices.Delete(want, 1000, 1001)
	eventually(t, "all messages", func() bool { return len(g.packets()) == len(want) })
	if !slices.Equal(g.bodies("room"), want) {
		t.Fatal("messages out of order")
	}
}

// TestBus_OneOrderAtAllGateways: whatever publishes at once, by whatever way, the
// messages of a topic come in one order on every link.
func TestBus_OneOrderAtAllGateways(t *testing.T) {
	h := startHub(t, nil)
	topics := map[string]int64{"x": 1, "y": 1, "z": 1}
	var all []*fakeGateway
	for i := range 4 {
		all = append(all, joinHub(t, h, fmt.Sprintf("gw-%d", i), topics))
	}
	const each = 300
	var publishers sync.WaitGroup
	for topic := range topics {
		for p := range 2 {
			publishers.Go(func() {
				for _, m := range numbered(fmt.Sprintf("rpc-%d-", p), each) {
					h.publish(topic, m)
				}
			})
		}
	}
	for i, g := range all {
		publishers.Go(func() {
			for _, m := range numbered(fmt.Sprintf("link-%d-", i), each) {
				for topic := range topics {
					g.send(protocol.Packet{Type: protocol.PublishKey, MessageID: "1", Source: protocol.SourceUser, Topic: topic, Body: []byte(m)})
				}
			}
		})
	}
	publishers.Wait()
	total := len(topics) * each * (2 + len(all))
	for _, g := range all {
		eventually(t, g.id+" has all messages", func() bool { return len(g.packets()) == total })
	}
	for topic := range topics {
		first := all[0].bodies(topic)
		for _, g := range all[1:] {
			if !slices.Equal(g.bodies(topic), first) {
				t.Errorf("%s has the messages of %s in another order than %s", g.id, topic, all[0].id)
			}
		}
		seen := map[string]string{}
		for _, m := range first {
			publisher := m[:strings.LastIndexByte(m, '-')]
			if m <= seen[publisher] {
				t.Fatalf("%s of %s after %s", m, topic, seen[publisher])
			}
			seen[publisher] = m
		}
	}
}

func TestService_InvalidArguments(t *testing.T) {
	h := startHub(t, nil)
	ctx := context.Background()
	for _, tc := range []struct {
		name string
		call func() error
		want string
	}{
		{"GetConnectNum", func() error { _, err := h.rpc.GetConnectNum(ctx, &topicpb.GetConnectNumRequest{}); return err }, "Topic:"},
		{"CheckTopicExist", func() error {
			_, err := h.rpc.CheckTopicExist(ctx, &topicpb.CheckTopicExistRequest{Topic: "a b"})
			return err
		}, "Topic:"},
		{"SubscribeTopic without Ip", func() error { return h.subscribeByIP("", "a") }, "Ip:"},
		{"SubscribeTopic, second topic", func() error { return h.subscribeByIP("127.0.0.1:1", "a", "") }, "Topic[1]:"},
		{"UnSubscribeTopic", func() error { return h.unsubscribeByIP("127.0.0.1:1", "\x00") }, "Topic[0]:"},
		{"SyncTopics topic", func() error {
			_, err := h.rpc.SyncTopics(ctx, &topicpb.SyncTopicsRequest{Topics: []*topicpb.TopicCount{{Topic: "a"}, {Topic: ""}}})
			return err
		}, "topics[1].topic:"},
		{"SyncTopics count", func() error {
			_, err := h.rpc.SyncTopics(ctx, &topicpb.SyncTopicsRequest{Topics: []*topicpb.TopicCount{{Topic: "a", Count: -1}}})
			return err
		}, "topics[0].count:"},
		{"SyncTopics count that would overflow a sum", func() error {
			_, err := h.rpc.SyncTopics(ctx, &topicpb.SyncTopicsRequest{Topics: []*topicpb.TopicCount{{Topic: "a", Count: 1 << 62}}})
			return err
		}, "topics[0].count:"},
		{"ListTopics", func() error {
			_, err := h.rpc.ListTopics(ctx, &topicpb.ListTopicsRequest{Limit: 1 << 30})
			return err
		}, "limit:"},
		{"Offline kind", func() error { _, err := h.rpc.Offline(ctx, &topicpb.OfflineRequest{Topic: "a"}); return err }, "kind:"},
		{"Offline topic", func() error {
			_, err := h.rpc.Offline(ctx, &topicpb.OfflineRequest{Kind: topicpb.OfflineKind_OFFLINE_KIND_TOPIC})
			return err
		}, "topic:"},
		{"Offline user", func() error {
			_, err := h.rpc.Offline(ctx, &topicpb.OfflineRequest{Kind: topicpb.OfflineKind_OFFLINE_KIND_USER})
			return err
		}, "user_id:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.call()
			if status.Code(err) != codes.InvalidArgument || !strings.HasPrefix(status.Convert(err).Message(), tc.want) {
				t.Fatalf("err = %v, want InvalidArgument that names %s", err, tc.want)
			}
		})
	}
}

func TestService_Lists(t *testing.T) {
	h := startHub(t, nil)
	joinHub(t, h, "b", map[string]int64{"room/1": 5, "room/2": 7, "other": 1})
	joinHub(t, h, "a", map[string]int64{"room/1": 4})
	ctx := context.Background()
	list, err := h.rpc.ListTopics(ctx, &topicpb.ListTopicsRequest{Limit: 1, Prefix: "room/"})
	if err != nil {
		t.Fatal(err)
	}
	if top := list.GetTopics(); list.GetTotal() != 2 || len(top) != 1 || top[0].GetTopic() != "room/1" || top[0].GetSubscribers() != 9 || top[0].GetGateways() != 2 {
		t.Fatalf("ListTopics = %v", list)
	}
	gateways, err := h.rpc.ListGateways(ctx, &topicpb.ListGatewaysRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if g := gateways.GetGateways(); len(g) != 2 || g[0].GetId() != "a" || g[1].GetId() != "b" || g[1].GetTopics() != 3 || g[1].GetSubscribers() != 13 || g[1].GetState() != "live" {
		t.Fatalf("ListGateways = %v", gateways)
	}
	for topic, want := range map[string]bool{"other": true, "room/3": false} {
		res, err := h.rpc.CheckTopicExist(ctx, &topicpb.CheckTopicExistRequest{Topic: topic})
		if err != nil || res.GetOk() != want {
			t.Errorf("CheckTopicExist(%s) = %v, %v, want %v", topic, res, err, want)
		}
	}
}

func TestService_TopicsPerGatewayAreBounded(t *testing.T) {
	h := startHub(t, func(o *manager.Options) { o.MaxTopicsPerGateway = 3 })
	g := joinHub(t, h, "gw", map[string]int64{"a": 1})
	if err := g.sync(h, map[string]int64{"b": 1, "c": 1}); err != nil {
		t.Fatal(err)
	}
	if got := status.Code(g.sync(h, map[string]int64{"d": 1})); got != codes.ResourceExhausted {
		t.Fatalf("one topic too many = %v, want ResourceExhausted", got)
	}
	if err := g.sync(h, map[string]int64{"a": 7}); err != nil {
		t.Fatalf("another count of a topic that it has: %v", err)
	}
	if err := g.sync(h, map[string]int64{"a": 0}); err != nil {
		t.Fatal(err)
	}
	if err := g.sync(h, map[string]int64{"d": 1}); err != nil {
		t.Fatalf("in the place of one that left: %v", err)
	}
}

// TestOffline_ReachesEveryGateway by gRPC and by a gateway's link.
func TestOffline_ReachesEveryGateway(t *testing.T) {
	h := startHub(t, nil)
	a, b := joinHub(t, h, "a", map[string]int64{"room": 1}), joinHub(t, h, "b", nil)
	for i, tc := range []struct {
		name string
		req  *topicpb.OfflineRequest
		want protocol.Packet
	}{
		{
			"topic", &topicpb.OfflineRequest{Kind: topicpb.OfflineKind_OFFLINE_KIND_TOPIC, Topic: "room"},
			protocol.Packet{Type: protocol.OfflineTopicKey, Topic: "room", Body: []byte("room")},
		},
		{
			"topic by user", &topicpb.OfflineRequest{Kind: topicpb.OfflineKind_OFFLINE_KIND_TOPIC_BY_USER_ID, Topic: "room", UserId: "user 1"},
			protocol.Packet{Type: protocol.OfflineTopicByUserIDKey, Topic: "room", Body: []byte("user 1")},
		},
		{
			"user", &topicpb.OfflineRequest{Kind: topicpb.OfflineKind_OFFLINE_KIND_USER, UserId: "火"},
			protocol.Packet{Type: protocol.OfflineUserKey, Topic: "*", Body: []byte("火")},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, err := h.rpc.Offline(context.Background(), tc.req)
			if err != nil || res.GetGateways() != 2 {
				t.Fatalf("Offline = %v, %v, want 2 gateways", res, err)
			}
			if err := a.send(tc.want); err != nil { // and the same from a gateway
				t.Fatal(err)
			}
			for _, g := range []*fakeGateway{a, b} {
				eventually(t, "both orders", func() bool { return len(g.packets()) == 2*(i+1) })
				for _, p := range g.packets()[2*i:] {
					if p.Type != tc.want.Type || p.Topic != tc.want.Topic || !bytes.Equal(p.Body, tc.want.Body) {
						t.Errorf("%s got %+v, want %+v", g.id, p, tc.want)
					}
				}
			}
		})
	}
}

// TestLink_ForwardsTheBodyUntouched, of any bytes and sizes, and not what the
// manager does not allow or know.
func TestLink_ForwardsTheBodyUntouched(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := startHub(t, func(o *manager.Options) { o.Registry = reg })
	a, b := joinHub(t, h, "a", map[string]int64{"room": 1}), joinHub(t, h, "b", map[string]int64{"room": 1})
	send := func(p protocol.Packet) {
		if err := a.send(p); err != nil {
			t.Fatal(err)
		}
	}
	send(protocol.Packet{Type: protocol.PublishKey, Source: protocol.SourceUser, Topic: "no,topic", Body: []byte("x")})
	send(protocol.Packet{Type: "from_the_future", Source: protocol.SourceUser, Topic: "room", Body: []byte("x")})
	bodies := [][]byte{nil, []byte("FireHeader"), []byte("x FireHeader\x7f\xff\xff\xff"), bytes.Repeat([]byte{0, '\n', ' '}, 500_000), []byte("\xff\xfe")}
	for _, body := range bodies {
		send(protocol.Packet{Type: protocol.PublishKey, MessageID: "9", Source: protocol.SourceUser, Topic: "room", Body: body})
	}
	for _, g := range []*fakeGateway{a, b} {
		eventually(t, "all messages", func() bool { return len(g.packets()) >= len(bodies) })
		for i, p := range g.packets() {
			if !bytes.Equal(p.Body, bodies[i]) || p.MessageID != "9" || p.Source != protocol.SourceUser {
				t.Errorf("%s: message %d came changed", g.id, i)
			}
		}
	}
	for _, reason := range []string{"bad_topic", "unknown_type"} {
		if n := metric(t, reg, "firetower_manager_drops_total", "reason="+reason); n != 1 {
			t.Errorf("drops_total{%s} = %v, want 1", reason, n)
		}
	}
}

// TestService_HealthWhileDraining: who probes is answered until the end, and then learns why others are not.
func TestService_HealthWhileDraining(t *testing.T) {
	for method, want := range map[string]codes.Code{
		grpc_health_v1.Health_Check_FullMethodName:  codes.OK,
		topicpb.TopicService_Publish_FullMethodName: codes.Unavailable,
	} {
		called := false
		err := manager.CallWhileDraining(method, func(context.Context, any) (any, error) {
			called = true
			return nil, nil
		})
		if status.Code(err) != want || called != (want == codes.OK) {
			t.Errorf("%s = %v, carried out: %v", method, err, called)
		}
	}
}

func TestService_HealthAndReflection(t *testing.T) {
	h := startHub(t, func(o *manager.Options) { o.Token = "token" })
	for _, service := range []string{"", "topicproto.TopicService"} {
		res, err := grpc_health_v1.NewHealthClient(h.conn).Check(context.Background(), &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil || res.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q = %v, %v", service, res, err)
		}
	}
	list := func(ctx context.Context) (string, error) {
		stream, err := grpc_reflection_v1.NewServerReflectionClient(h.conn).ServerReflectionInfo(ctx)
		if err != nil {
			return "", err
		}
		stream.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
		res, err := stream.Recv()
		stream.CloseSend()
		return res.String(), err
	}
	if _, err := list(context.Background()); status.Code(err) != codes.Unauthenticated {
		t.Errorf("reflection without the token: %v, want Unauthenticated", err)
	}
	ctx, cancel := context.WithCancel(withAuthorization("Bearer token"))
	defer cancel()
	if services, err := list(ctx); err != nil || !strings.Contains(services, "topicproto.TopicService") {
		t.Errorf("reflection = %s, %v", services, err)
	}
}
