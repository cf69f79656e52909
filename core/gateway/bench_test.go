package gateway_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

// One benchmark for each stage of the gateway, in the order of a message's way; that of
// writing to sockets is BenchmarkFanOut, that of parsing a frame stands in core/protocol.

// payload is a JSON string of so many bytes.
func payload(size int) []byte { return []byte(`"` + strings.Repeat("x", size-2) + `"`) }

// BenchmarkClientFrame is a client's frames on their way from its socket through the
// poller and the parser, up to where a publish finds nobody to go to. The last of 64 is a
// ping, whose pong tells that all have been read.
func BenchmarkClientFrame(b *testing.B) {
	for _, row := range []struct{ name, frame string }{
		{"kind=heartbeat", protocol.HeartbeatFrame},
		{"kind=publish", `{"type":"publish","topic":"nobody","data":"` + strings.Repeat("x", 100) + `"}`},
		{"kind=subscribe", `{"type":"subscribe","topic":"room"}`}, // again and again
	} {
		b.Run(row.name, func(b *testing.B) {
			g := run(b, nil)
			conn := dial(b, g, protocol.SubprotocolV1).NetConn()
			const frames = 64
			var out []byte
			for range frames - 1 {
				out = appendMasked(out, 1, []byte(row.frame))
			}
			out = appendMasked(out, 9, []byte("done"))
			var pong [6]byte
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.Write(out); err != nil {
					b.Fatal(err)
				}
				for n := 0; n < len(pong); {
					got, err := conn.Read(pong[n:])
					if err != nil {
						b.Fatal(err)
					}
					n += got
				}
				if pong[0] != 0x8a || string(pong[2:]) != "done" {
					b.Fatalf("answer %x", pong)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*frames), "ns/frame")
		})
	}
}

// appendMasked appends a client's frame (RFC 6455 section 5.2), masked with zeros, which
// leave the payload as it is.
func appendMasked(dst []byte, op byte, payload []byte) []byte {
	const fin, masked = 0x80, 0x80
	dst = append(dst, fin|op)
	if len(payload) < 126 {
		dst = append(dst, masked|byte(len(payload)))
	} else {
		dst = append(dst, masked|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(payload)))
	}
	dst = append(dst, 0, 0, 0, 0)
	return append(dst, payload...)
}

// BenchmarkRegistrar is what subscribers that come and go cost until the manager has been
// told, with a manager that answers at once.
func BenchmarkRegistrar(b *testing.B) {
	for _, row := range []struct{ topics, clients int }{{1, 10_000}, {100, 100}, {10_000, 1}} {
		b.Run(fmt.Sprintf("topics=%d/clients=%d", row.topics, row.clients), func(b *testing.B) {
			s, err := gateway.NewStorm(gateway.DefaultOptions())
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			topics := topicNames(row.topics)
			var calls int64
			b.ReportAllocs()
			for b.Loop() {
				if calls, _, err = s.Pass(b.Context(), topics, row.clients); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*row.topics*row.clients), "ns/subscription")
			b.ReportMetric(float64(calls), "calls/op")
		})
	}
}

func topicNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("room/%d", i)
	}
	return names
}

// BenchmarkTopicIndex is the gateway's index of topics: one more that comes and goes
// beside so many others, and looking one up.
func BenchmarkTopicIndex(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		x := gateway.NewTopicIndex(1, 4)
		names := topicNames(n)
		for _, name := range names {
			x.Add(0, name)
		}
		b.Run(fmt.Sprintf("op=add-remove/topics=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x.Churn(0, "another")
			}
		})
		b.Run(fmt.Sprintf("op=find/topics=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if !x.Has(names[i%n]) {
					b.Fatal("a topic is missing")
				}
			}
		})
	}
}

// BenchmarkSubscriberList is one subscriber more that comes and goes, beside so many
// others, while a consumer has the list or not; and lending it.
func BenchmarkSubscriberList(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		s := gateway.NewSubscribers(n)
		for _, row := range []struct {
			name string
			f    func()
		}{
			{"add-remove", s.AddRemove},
			{"add-remove-lent", s.AddRemoveLent},
			{"borrow", func() { s.Borrow() }},
		} {
			b.Run(fmt.Sprintf("op=%s/subs=%d", row.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					row.f()
				}
			})
		}
	}
}

// BenchmarkPushFrame is what a message costs once, for all its receivers: its frame for
// each subprotocol.
func BenchmarkPushFrame(b *testing.B) {
	for _, row := range []struct {
		name   string
		v0, v1 bool
	}{{"v0", true, false}, {"v1", false, true}, {"both", true, true}} {
		for _, size := range []int{128, 4096} {
			b.Run(fmt.Sprintf("proto=%s/data=%d", row.name, size), func(b *testing.B) {
				data := payload(size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					gateway.BuildFrames("room/1", data, row.v0, row.v1)
				}
			})
		}
	}
}

// BenchmarkHandover is centralChan: from a message's arrival until it stands in the lanes
// of the Buckets, and out of them again, with no goroutine woken.
func BenchmarkHandover(b *testing.B) {
	for _, row := range []struct{ buckets, topics int }{{1, 1}, {4, 1}, {16, 1}, {4, 100}} {
		b.Run(fmt.Sprintf("buckets=%d/topics=%d", row.buckets, row.topics), func(b *testing.B) {
			h := handover(b, row.buckets, row.topics)
			b.ReportAllocs()
			for b.Loop() {
				h.Hand()
				if n := h.Take(); n != row.buckets*row.topics {
					b.Fatalf("%d items in %d Buckets of %d topics", n, row.buckets, row.topics)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*row.topics), "ns/message")
		})
	}
}

func handover(t testing.TB, buckets, topics int) *gateway.Handover {
	t.Helper()
	o := gateway.DefaultOptions()
	o.Bucket.Num = buckets
	h, err := gateway.NewHandover(o, topics, payload(128))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// BenchmarkLane is a consumer's queue: so many messages in, and out again as the consumer
// takes them.
func BenchmarkLane(b *testing.B) {
	for _, n := range []int{1, 64, 4096} {
		b.Run(fmt.Sprintf("queued=%d", n), func(b *testing.B) {
			q := gateway.NewLaneQueue(1000)
			b.ReportAllocs()
			for b.Loop() {
				q.Pass(n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/message")
		})
	}
}

// BenchmarkJoin is a consumer's joining of a topic's messages, whose frames are built, into
// one buffer; the one connection of each subprotocol has ended.
func BenchmarkJoin(b *testing.B) {
	for _, row := range []struct {
		name   string
		v0, v1 int
	}{{"v1", 0, 1}, {"both", 1, 1}} {
		for _, n := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("proto=%s/messages=%d", row.name, n), func(b *testing.B) {
				f := gateway.NewFanOutOf(run(b, nil), row.v0, row.v1, payload(128), n)
				b.ReportAllocs()
				for b.Loop() {
					f.Deliver()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/message")
			})
		}
	}
}

// BenchmarkHeartbeatSlot is the heartbeat's walk over one of its sixteen slots, with
// nothing to be said to anybody.
func BenchmarkHeartbeatSlot(b *testing.B) {
	for _, n := range []int{1600, 160_000} {
		b.Run(fmt.Sprintf("conns=%d", n), func(b *testing.B) {
			h := gateway.NewHeartbeatRound(n)
			b.ReportAllocs()
			for b.Loop() {
				h.Slot()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n/16), "ns/conn")
		})
	}
}
