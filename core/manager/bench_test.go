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

var sizes = []int{1_000, 10_000, 100_000, 1_000_000}

// filled is a registry with topics at two gateways, and their names.
func filled(topics int) (manager.Registry, []string, *manager.Session) {
	r := manager.NewRegistry()
	names := numbered("topic/", topics)
	a, b := roomy("a"), roomy("b")
	for i, name := range names {
		r.Set(a, name, int64(i%100)+1)
		r.Set(b, name, 1)
	}
	return r, names, b
}

func BenchmarkRelevanceLookup(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("topics=%d", n), func(b *testing.B) {
			r, names, _ := filled(n)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				buf := make([]*manager.Session, 0, 16)
				for i := 0; pb.Next(); i += 7919 {
					if got, _ := r.Lookup(names[i%n], buf); len(got) != 2 {
						b.Error("not found")
						return
					}
				}
			})
		})
	}
}

// BenchmarkRelevanceSubscribe: a topic's first subscriber at a gateway comes, and leaves.
func BenchmarkRelevanceSubscribe(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("topics=%d", n), func(b *testing.B) {
			r, names, _ := filled(n)
			s := roomy("c")
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				name := names[i%n]
				i += 7919
				r.Set(s, name, 1)
				r.Set(s, name, 0)
			}
		})
	}
}

// BenchmarkRelevanceDrop: what a dead gateway costs, by its own topics and by the
// others' that are there.
func BenchmarkRelevanceDrop(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		for _, own := range []int{1, 1_000} {
			b.Run(fmt.Sprintf("topics=%d/own=%d", n, own), func(b *testing.B) {
				r, names, _ := filled(n)
				for b.Loop() {
					b.StopTimer()
					s := roomy("dead")
					r.SetAll(s, countsOf(names[:own], 1))
					b.StartTimer()
					r.Drop(s)
				}
			})
		}
	}
}

func BenchmarkRelevanceTop100(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("topics=%d", n), func(b *testing.B) {
			r, _, _ := filled(n)
			b.ReportAllocs()
			for b.Loop() {
				r.Top(100, nil)
			}
		})
	}
}

// BenchmarkBusPublish: from the packed message to the queues, without the sockets.
func BenchmarkBusPublish(b *testing.B) {
	for _, links := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("links=%d", links), func(b *testing.B) {
			r := manager.NewRegistry()
			sessions := make([]*manager.Session, links)
			for i := range sessions {
				sessions[i] = roomy(fmt.Sprint(i))
				r.Set(sessions[i], "room", 1)
			}
			packet := make([]byte, 200)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				r.Publish("room", packet)
				if i++; i%1024 == 0 {
					for _, s := range sessions {
						s.Drain()
					}
				}
			}
		})
	}
}

// BenchmarkPublish goes the whole way: a PublishStream, or a gateway's link, to
// all links' other ends, over sockets. The clock stops when every link has all.
func BenchmarkPublish(b *testing.B) {
	for _, via := range []string{"stream", "link"} {
		for _, links := range []int{1, 4, 16} {
			for _, size := range []int{128, 4096} {
				b.Run(fmt.Sprintf("via=%s/links=%d/bytes=%d", via, links, size), func(b *testing.B) {
					benchmarkPublish(b, via, links, size)
				})
			}
		}
	}
}

func benchmarkPublish(b *testing.B, via string, links, size int) {
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
	defer func() {
		cancel()
		<-ended
	}()

	var got atomic.Int64 // bytes, of all links
	conns := make([]net.Conn, links)
	for i := range conns {
		conns[i] = dialQuiet(b, m.Addrs().Link.String(), fmt.Sprintf("gw-%d", i))
		defer conns[i].Close()
		go func() {
			buf := make([]byte, 256<<10)
			for {
				n, err := conns[i].Read(buf)
				got.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
	}
	body := make([]byte, size)
	packet, err := protocol.Enpack(protocol.Packet{Type: protocol.PublishKey, MessageID: "id", Source: protocol.SourceUser, Topic: "room", Body: body})
	if err != nil {
		b.Fatal(err)
	}
	rpc := topicpb.NewTopicServiceClient(dialGRPC(b, m.Addrs().GRPC.String()))
	stream, err := rpc.PublishStream(ctx)
	if err != nil {
		b.Fatal(err)
	}
	want := int64(b.N) * int64(len(packet)) * int64(links)
	b.ReportAllocs()
	b.SetBytes(int64(len(packet)) * int64(links))
	b.ResetTimer()
	if via == "link" {
		for range b.N {
			if _, err := conns[0].Write(packet); err != nil {
				b.Fatal(err)
			}
		}
	} else {
		answered := make(chan error, 1)
		go func() {
			for range b.N {
				if res, err := stream.Recv(); err != nil || !res.GetOk() {
					answered <- fmt.Errorf("%v, %w", res, err)
					return
				}
			}
			answered <- nil
		}()
		req := &topicpb.PublishRequest{Topic: "room", Data: body, MessageId: "id", Source: "user"}
		for range b.N {
			if err := stream.Send(req); err != nil {
				b.Fatal(err)
			}
		}
		if err := <-answered; err != nil {
			b.Fatal(err)
		}
	}
	for got.Load() < want {
		<-time.After(50 * time.Microsecond)
	}
	b.StopTimer()
	if got.Load() != want {
		b.Fatalf("%d bytes arrived, want %d", got.Load(), want)
	}
	b.ReportMetric(float64(b.N)*float64(links)/b.Elapsed().Seconds(), "delivered/s")
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
