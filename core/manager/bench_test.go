package manager_test

import (
	"fmt"
	"testing"

	"firetower/core/manager"
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
		b.Run(fmt.Sprintf("gateways=%d", links), func(b *testing.B) {
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
