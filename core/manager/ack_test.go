package manager_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"firetower/core/manager"
	"firetower/core/topicpb"
)

// Acknowledgements that may wait are joined up to the number asked for; what failed is
// told by itself, in its place, and the stream's end brings the rest.
func TestPublishStream_JoinedAcknowledgements(t *testing.T) {
	h := startHub(t, nil)
	g := joinHub(t, h, "gw", map[string]int64{"room": 1})
	stream, err := h.rpc.PublishStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	topics := strings.Split("room room room room|room room bad|bad|nobody room room", "|")
	for i, topic := range strings.Fields(strings.Join(topics, " ")) {
		if topic == "bad" {
			topic = "not a topic"
		}
		req := &topicpb.PublishRequest{Topic: topic, Data: []byte("x")}
		if i == 0 {
			req.AckWithinMs, req.AckEvery = 1000, 4
		}
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	type row struct {
		ok                        bool
		messages, matched, queued uint32
	}
	for i, want := range []row{{true, 4, 4, 4}, {true, 2, 2, 2}, {false, 0, 0, 0}, {false, 0, 0, 0}, {true, 3, 2, 2}} {
		res, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got := (row{res.GetOk(), res.GetMessages(), res.GetGatewaysMatched(), res.GetGatewaysQueued()}); got != want || res.GetOk() != (res.GetError() == "") {
			t.Fatalf("answer %d = %v (%q), want %v", i, got, res.GetError(), want)
		}
	}
	if res, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("the stream ended with %v, %v", res, err)
	}
	eventually(t, "the messages", func() bool { return len(g.packets()) == 8 })
}

// Without a further message the time alone brings the answer.
func TestPublishStream_JoinedAcknowledgementsComeByTime(t *testing.T) {
	h := startHub(t, nil)
	stream, err := h.rpc.PublishStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // the timer starts again each time
		if err := stream.Send(&topicpb.PublishRequest{Topic: "room", AckWithinMs: 1}); err != nil {
			t.Fatal(err)
		}
		if res, err := stream.Recv(); err != nil || !res.GetOk() || res.GetMessages() != 1 {
			t.Fatalf("answer = %v, %v", res, err)
		}
	}
}

// A publisher that asks for nothing has an answer for each message, of the older form.
func TestPublishStream_EachIsAnsweredUnlessAsked(t *testing.T) {
	h := startHub(t, nil)
	stream, err := h.rpc.PublishStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		// Only the first message of a stream is asked.
		if err := stream.Send(&topicpb.PublishRequest{Topic: "room", AckWithinMs: uint32(i) * 1000}); err != nil {
			t.Fatal(err)
		}
		if res, err := stream.Recv(); err != nil || !res.GetOk() || res.GetMessages() != 0 {
			t.Fatalf("answer %d = %v, %v", i, res, err)
		}
	}
}

// A drain answers what is owed and does not wait for its time: that is longer here
// than the drain may take.
func TestPublishStream_DrainBringsJoinedAcknowledgements(t *testing.T) {
	h := startHub(t, func(o *manager.Options) { o.DrainTimeout = 500 * time.Millisecond })
	stream, err := h.rpc.PublishStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := stream.Send(&topicpb.PublishRequest{Topic: "room", AckWithinMs: 1000}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the messages", func() bool { return h.Published(manager.ViaStream) == 5 })
	stopped := make(chan error, 1)
	go func() { stopped <- h.stop() }()
	answered := uint32(0)
	for {
		res, err := stream.Recv()
		if err != nil {
			if status.Code(err) != codes.Unavailable {
				t.Fatalf("the stream ended with %v", err)
			}
			break
		}
		answered += res.GetMessages()
	}
	if err := <-stopped; err != nil || answered != 5 {
		t.Fatalf("%d of 5 were answered; %v", answered, err)
	}
}

func TestPublishStream_AckWithinIsBounded(t *testing.T) {
	h := startHub(t, nil)
	stream, err := h.rpc.PublishStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&topicpb.PublishRequest{Topic: "room", AckWithinMs: 1001}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "ack_within_ms: must be 0 to 1000, got 1001") {
		t.Fatalf("the stream ended with %v", err)
	}
}

// Packing a message takes the packet, and a name where the publisher gave none.
func TestAllocationsPerPack(t *testing.T) {
	p := manager.NewPacker()
	for _, tc := range []struct {
		name, id string
		want     float64
	}{{"named", "id", 1}, {"unnamed", "", 2}} {
		t.Run(tc.name, func(t *testing.T) {
			in := &topicpb.PublishRequest{Topic: "room", Data: make([]byte, 128), MessageId: tc.id}
			got := testing.AllocsPerRun(1000, func() {
				if _, err := p.Pack(in); err != nil {
					t.Fatal(err)
				}
			})
			if got > tc.want {
				t.Errorf("%v allocations, want %v", got, tc.want)
			}
		})
	}
}
