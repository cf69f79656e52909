package manager_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"firetower/core/manager"
	"firetower/core/protocol"
	"firetower/core/topicpb"
)

// BenchmarkPublish goes the whole way: from a publisher to all gateways' ends of their
// links, over sockets, as fast as it goes. The clock stops when every gateway has all.
// CPU is that of the process, and so of the publisher and of those ends as well.
func BenchmarkPublish(b *testing.B) {
	for _, via := range []string{"unary", "batch", "stream", "stream-joined-acks", "link"} {
		for _, gateways := range []int{1, 4, 16} {
			b.Run(fmt.Sprintf("via=%s/gateways=%d", via, gateways), func(b *testing.B) {
				f := newPublishFixture(b, gateways, 128)
				f.measure(b, func() { f.publish(b, via) })
			})
		}
	}
	for _, via := range []string{"stream", "link"} {
		b.Run(fmt.Sprintf("via=%s/gateways=4/bytes=4096", via), func(b *testing.B) {
			f := newPublishFixture(b, 4, 4096)
			f.measure(b, func() { f.publish(b, via) })
		})
	}
}

// BenchmarkPublishPaced publishes by a stream at a rate that leaves the manager idle
// between messages, where waking up is the cost: look at its CPU, not at its time.
func BenchmarkPublishPaced(b *testing.B) {
	for _, via := range []string{"stream", "stream-joined-acks"} {
		for _, gateways := range []int{1, 4, 16} {
			b.Run(fmt.Sprintf("via=%s/gateways=%d/rate=2000", via, gateways), func(b *testing.B) {
				f := newPublishFixture(b, gateways, 128)
				f.pace = time.Second / 2000
				f.measure(b, func() { f.publish(b, via) })
			})
		}
	}
}

// publishFixture is a manager, gateways of one topic and a publisher.
type publishFixture struct {
	gateways int
	pace     time.Duration // between messages of a stream, 0: none
	packet   []byte        // as gateways get it
	body     []byte
	conns    []net.Conn
	rpc      topicpb.TopicServiceClient
	got      atomic.Int64 // bytes, of all gateways
}

func newPublishFixture(b *testing.B, gateways, size int) *publishFixture {
	opt := manager.DefaultOptions()
	opt.LinkAddr, opt.GRPCAddr, opt.HTTPAddr = "127.0.0.1:0", "127.0.0.1:0", ""
	opt.Logger = slog.New(slog.DiscardHandler)
	opt.Heartbeat = time.Hour // so that what arrives is messages only
	opt.QueueBytes, opt.QueueMessages = 1<<40, 1<<40
	m, err := manager.New(opt)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	<-m.Ready()
	b.Cleanup(func() {
		cancel()
		<-ended
	})
	f := &publishFixture{gateways: gateways, body: make([]byte, size), conns: make([]net.Conn, gateways)}
	for i := range f.conns {
		f.conns[i] = dialQuiet(b, m.Addrs().Link.String(), fmt.Sprintf("gw-%d", i))
		b.Cleanup(func() { f.conns[i].Close() })
		go func() {
			buf := make([]byte, 256<<10)
			for {
				n, err := f.conns[i].Read(buf)
				f.got.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
	}
	f.packet, err = protocol.Enpack(protocol.Packet{Type: protocol.PublishKey, MessageID: "id", Source: protocol.SourceUser, Topic: "room", Body: f.body})
	if err != nil {
		b.Fatal(err)
	}
	f.rpc = topicpb.NewTopicServiceClient(dialGRPC(b, m.Addrs().GRPC.String()))
	return f
}

// measure runs publish, which publishes b.N messages, and waits until all have come.
func (f *publishFixture) measure(b *testing.B, publish func()) {
	want := f.got.Load() + int64(b.N)*int64(len(f.packet))*int64(f.gateways)
	b.ReportAllocs()
	b.SetBytes(int64(len(f.packet)) * int64(f.gateways))
	before := processCPU()
	b.ResetTimer()
	publish()
	for f.got.Load() < want {
		<-time.After(50 * time.Microsecond)
	}
	b.StopTimer()
	used := processCPU() - before
	if got := f.got.Load(); got != want {
		b.Fatalf("%d bytes arrived, want %d", got, want)
	}
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)*float64(f.gateways)/b.Elapsed().Seconds(), "delivered/s")
}

// batchSize is how many messages a PublishBatch has.
const batchSize = 100

func (f *publishFixture) publish(b *testing.B, via string) {
	req := &topicpb.PublishRequest{Topic: "room", Data: f.body, MessageId: "id", Source: "user"}
	switch via {
	case "unary":
		for range b.N {
			if res, err := f.rpc.Publish(b.Context(), req); err != nil || !res.GetOk() {
				b.Fatal(res, err)
			}
		}
	case "batch":
		for left := b.N; left > 0; left -= batchSize {
			batch := &topicpb.PublishBatchRequest{}
			for range min(left, batchSize) {
				batch.Messages = append(batch.Messages, req)
			}
			if res, err := f.rpc.PublishBatch(b.Context(), batch); err != nil || !res.GetResults()[0].GetOk() {
				b.Fatal(res, err)
			}
		}
	case "link":
		for range b.N {
			if _, err := f.conns[0].Write(f.packet); err != nil {
				b.Fatal(err)
			}
		}
	case "stream":
		f.stream(b, req, 0)
	case "stream-joined-acks":
		f.stream(b, req, 10)
	default:
		b.Fatalf("no way %q", via)
	}
}

func (f *publishFixture) stream(b *testing.B, req *topicpb.PublishRequest, ackWithinMs uint32) {
	stream, err := f.rpc.PublishStream(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		for n := 0; n < b.N; {
			res, err := stream.Recv()
			if err != nil || !res.GetOk() {
				answered <- fmt.Errorf("%v, %w", res, err)
				return
			}
			n += int(max(res.GetMessages(), 1))
		}
		answered <- nil
	}()
	req.AckWithinMs = ackWithinMs
	start := time.Now()
	for i := range b.N {
		if f.pace > 0 {
			<-time.After(time.Until(start.Add(time.Duration(i) * f.pace)))
		}
		if err := stream.Send(req); err != nil {
			b.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		b.Fatal(err)
	}
	if err := <-answered; err != nil {
		b.Fatal(err)
	}
}

// dialQuiet links a gateway and returns its connection after the welcome.
func dialQuiet(b *testing.B, addr, id string) net.Conn {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range []struct {
		typ  protocol.MessageType
		body proto.Message
	}{
		{protocol.HelloKey, &topicpb.LinkHello{ClusterId: id, Epoch: 1}},
		{protocol.SnapshotKey, &topicpb.LinkSnapshot{Last: true, Topics: []*topicpb.TopicCount{{Topic: "room", Count: 1}}}},
	} {
		body, err := proto.Marshal(p.body)
		if err != nil {
			b.Fatal(err)
		}
		packet, err := protocol.Enpack(protocol.Packet{Type: p.typ, MessageID: "0", Source: protocol.SourceSystem, Topic: "*", Body: body})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Write(packet); err != nil {
			b.Fatal(err)
		}
	}
	// The welcome is all that comes until there is a message, so no byte of one
	// stays in this Reader's buffer.
	p, err := protocol.NewReader(io.LimitReader(conn, 4096), 0).Next()
	if err != nil || p.Type != protocol.WelcomeKey {
		b.Fatalf("%v, %v", p.Type, err)
	}
	return conn
}
