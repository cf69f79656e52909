package gateway_test

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

// U5-16: a delivery allocates nothing: neither the write nor the joining. The
// sockets hold all that is sent, so that nobody has to read meanwhile.
func TestU5_16_NoAllocationPerDelivery(t *testing.T) {
	g := run(t, func(o *gateway.Options) { o.Bucket.Num = 1 })
	const connections = 20
	for range connections {
		dial(t, g, protocol.SubprotocolV1).subscribe("room")
	}
	data := []byte(`"` + strings.Repeat("x", 100) + `"`)
	for _, messages := range []int{1, 8} {
		f := gateway.NewFanOut(g, "room", data, messages)
		f.Deliver() // builds the frames, once for all
		if n := testing.AllocsPerRun(15, f.Deliver); n != 0 {
			t.Errorf("%d messages to %d connections: %v allocations", messages, connections, n)
		}
	}
	if s := g.Stats(); s.Backlogged != 0 || s.Deliveries != connections*(17+8*17) {
		t.Errorf("%d connections have a backlog, deliveries = %d", s.Backlogged, s.Deliveries)
	}
}

// BenchmarkFanOut writes to real sockets whose other ends are read; it never lets
// more wait in them than they hold, so that every write is a whole one.
func BenchmarkFanOut(b *testing.B) {
	const payload = 128
	for _, messages := range []int{1, 16} {
		for _, connections := range []int{10, 100, 1000} {
			b.Run(fmt.Sprintf("messages=%d/subs=%d", messages, connections), func(b *testing.B) {
				g := run(b, func(o *gateway.Options) { o.Bucket.Num = 1 })
				var arrived countingWriter
				for range connections {
					c := dial(b, g, protocol.SubprotocolV1)
					c.subscribe("room")
					if err := c.SetReadDeadline(time.Time{}); err != nil { // subscribe has set one
						b.Fatal(err)
					}
					go func() { _, _ = io.Copy(&arrived, c.NetConn()) }()
				}
				// A JSON string, so that a frame is little more than the payload that is counted.
				f := gateway.NewFanOut(g, "room", []byte(`"`+strings.Repeat("x", payload-2)+`"`), messages)
				var sent int64
				b.ReportAllocs()
				for b.Loop() {
					f.Deliver()
					sent += int64(connections * messages * payload)
					for sent-arrived.n.Load() > int64(connections)*(16<<10) {
						runtime.Gosched()
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*connections*messages), "ns/delivery")
				if n := g.Stats().Backlogged; n != 0 {
					b.Errorf("%d connections have a backlog", n)
				}
			})
		}
	}
}

// BenchmarkFanOutAlone is what a fan-out costs beside its system calls, which take 4 us
// and more each.
func BenchmarkFanOutAlone(b *testing.B) {
	for _, messages := range []int{1, 16} {
		for _, connections := range []int{1, 10, 100, 1000} {
			b.Run(fmt.Sprintf("messages=%d/subs=%d", messages, connections), func(b *testing.B) {
				g := run(b, nil)
				f := gateway.NewFanOutAlone(g, connections, messages)
				b.ReportAllocs()
				for b.Loop() {
					f.Deliver()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*connections), "ns/write")
			})
		}
	}
}

type countingWriter struct{ n atomic.Int64 }

func (w *countingWriter) Write(b []byte) (int, error) {
	w.n.Add(int64(len(b)))
	return len(b), nil
}
