package manager_test

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"firetower/core/manager"
	"firetower/core/topicpb"
)

// wholeMessage is data as gRPC hands it over when it came in one frame.
func wholeMessage(b []byte) mem.BufferSlice { return mem.BufferSlice{mem.SliceBuffer(b)} }

// TestPublishCodec_Properties: what is written and read without reflection is what protobuf itself writes and reads.
func TestPublishCodec_Properties(t *testing.T) {
	t.Parallel()
	p := gopter.NewProperties(gopter.DefaultTestParametersWithSeed(20261130))
	c := manager.NewPublishCodec()
	p.Property("a request", prop.ForAll(
		func(topic, id, source string, data []byte, within, every uint32) bool {
			want := &topicpb.PublishRequest{Topic: topic, Data: data, MessageId: id, Source: source, AckWithinMs: within, AckEvery: every}
			b, err := proto.Marshal(want)
			var got topicpb.PublishRequest
			return err == nil && manager.ReadPublishRequest(b, &got) && proto.Equal(want, &got)
		},
		gen.AnyString(), gen.AnyString(), gen.AlphaString(), gen.SliceOf(gen.UInt8()), gen.UInt32(), gen.UInt32(),
	))
	p.Property("an answer", prop.ForAll(
		func(ok bool, matched, queued, messages uint32, text string) bool {
			in := &topicpb.PublishResponse{Ok: ok, GatewaysMatched: matched, GatewaysQueued: queued, Messages: messages, Error: text}
			got, err := c.Marshal(in)
			want, wantErr := proto.Marshal(in)
			return err == nil && wantErr == nil && bytes.Equal(got.Materialize(), want)
		},
		gen.Bool(), gen.UInt32(), gen.UInt32(), gen.UInt32(), gen.OneConstOf("", "", "no such topic"),
	))
	p.TestingRun(t)
}

// FuzzPublishCodec: of any bytes, the codec makes what protobuf's own makes, an error included.
func FuzzPublishCodec(f *testing.F) {
	for _, seed := range [][]byte{
		nil,
		{0x0a, 3, 'a', 'b', 'c', 0x12, 1, 'x', 0x28, 5, 0x30, 6},
		{0x0a, 1, 'a', 0x0a, 1, 'b'},               // the last of two counts
		{0x0a, 1, 0xff},                            // not UTF-8
		{0x0a, 9, 'a'},                             // cut short
		{0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, // more than 32 bits
		{0x38, 1},                  // a field of another version
		{0x08, 1},                  // a topic that is a number
		{0x2d, 1, 0, 0, 0},         // a number of fixed size
		{0x0b, 0x0c},               // a group
		{0x8a, 0x80, 0x00, 1, 'a'}, // a tag that is longer than it need be
		{0x12, 0},                  // empty data
		{0x00},                     // field 0
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, want topicpb.PublishRequest
		err := manager.NewPublishCodec().Unmarshal(wholeMessage(b), &got)
		wantErr := proto.Unmarshal(b, &want)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("codec says %v, protobuf %v", err, wantErr)
		}
		if err == nil && !proto.Equal(&got, &want) {
			t.Fatalf("codec read %v, protobuf %v", &got, &want)
		}
	})
}

// TestPublishCodec_SharesNothing: gRPC uses the buffer of a message again.
func TestPublishCodec_SharesNothing(t *testing.T) {
	t.Parallel()
	b, err := proto.Marshal(&topicpb.PublishRequest{Topic: "room", Data: []byte("hello"), MessageId: "1"})
	if err != nil {
		t.Fatal(err)
	}
	var in topicpb.PublishRequest
	if err := manager.NewPublishCodec().Unmarshal(wholeMessage(b), &in); err != nil {
		t.Fatal(err)
	}
	clear(b)
	if in.GetTopic() != "room" || string(in.GetData()) != "hello" || in.GetMessageId() != "1" {
		t.Errorf("read %v once the buffer has changed", &in)
	}
}

// TestPublishCodec_OtherMessages: all else, and a message in pieces, goes to the codec within.
func TestPublishCodec_OtherMessages(t *testing.T) {
	t.Parallel()
	c := manager.NewPublishCodec()
	want := &topicpb.PublishBatchRequest{Messages: []*topicpb.PublishRequest{{Topic: "a"}, {Topic: "b", Data: []byte("x")}}}
	b, err := c.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got topicpb.PublishBatchRequest
	if err := c.Unmarshal(b, &got); err != nil || !proto.Equal(want, &got) {
		t.Errorf("read %v, %v", &got, err)
	}
	whole, err := proto.Marshal(want.GetMessages()[1])
	if err != nil {
		t.Fatal(err)
	}
	var one topicpb.PublishRequest
	pieces := mem.BufferSlice{mem.SliceBuffer(whole[:2]), mem.SliceBuffer(whole[2:])}
	if err := c.Unmarshal(pieces, &one); err != nil || !proto.Equal(want.GetMessages()[1], &one) {
		t.Errorf("read %v in two pieces, %v", &one, err)
	}
}

// TestPublishCodec_KnowsEveryField: a field that is added to a message must be added to the codec.
func TestPublishCodec_KnowsEveryField(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		message proto.Message
		fields  []string
	}{
		{&topicpb.PublishRequest{}, []string{"1 string", "2 bytes", "3 string", "4 string", "5 uint32", "6 uint32"}},
		{&topicpb.PublishResponse{}, []string{"1 bool", "2 uint32", "3 uint32", "4 string", "5 uint32"}},
	} {
		var got []string
		fields := tc.message.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			got = append(got, fmt.Sprint(f.Number(), " ", f.Kind()))
			if f.HasPresence() || f.IsList() || f.IsMap() {
				t.Errorf("%s is not a plain field", f.FullName())
			}
		}
		if !slices.Equal(got, tc.fields) {
			t.Errorf("%s has the fields %q, the codec knows %q", fields.Get(0).Parent().FullName(), got, tc.fields)
		}
	}
}

// wholeCounter is the manager's codec, and counts the messages that came in one piece.
type wholeCounter struct {
	encoding.CodecV2

	whole, pieces atomic.Int64
}

// Unmarshal implements encoding.CodecV2.
func (c *wholeCounter) Unmarshal(data mem.BufferSlice, v any) error {
	if len(data) == 1 {
		c.whole.Add(1)
	} else {
		c.pieces.Add(1)
	}
	return c.CodecV2.Unmarshal(data, v)
}

// TestPublishCodec_MessagesComeWhole: gRPC hands a message of usual size over in one piece, which the codec counts on.
func TestPublishCodec_MessagesComeWhole(t *testing.T) {
	t.Parallel()
	c := &wholeCounter{CodecV2: manager.NewPublishCodec()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(c))
	topicpb.RegisterTopicServiceServer(server, topicpb.UnimplementedTopicServiceServer{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 10 {
		_, err := topicpb.NewTopicServiceClient(conn).Publish(t.Context(), &topicpb.PublishRequest{Topic: "room", Data: make([]byte, 128)})
		if status.Code(err) != codes.Unimplemented {
			t.Fatal(err)
		}
	}
	if whole, pieces := c.whole.Load(), c.pieces.Load(); whole != 10 || pieces != 0 {
		t.Errorf("%d came whole and %d in pieces, want 10 and 0", whole, pieces)
	}
}
