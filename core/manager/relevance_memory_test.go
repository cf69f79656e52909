package manager_test

import (
	"runtime"
	"testing"

	"firetower/core/manager"
)

// Bytes of the registry for each topic, the name's own bytes apart. What was measured
// stands in DECISIONS.md; maps that have just grown take up to half as much again.
const (
	firstGatewayBytes = 160
	nextGatewayBytes  = 100
)

// TestRelevance_MemoryPerTopic: a million topics at one gateway, and then at two.
func TestRelevance_MemoryPerTopic(t *testing.T) {
	const topics = 1_000_000
	names := numbered("topic/", topics)
	first, second := roomy("first"), roomy("second")
	r := manager.NewRegistry()
	empty := heapBytes()
	for _, name := range names {
		r.Set(first, name, 1)
	}
	one := heapBytes()
	for _, name := range names {
		r.Set(second, name, 1)
	}
	two := heapBytes()
	for _, tc := range []struct {
		what       string
		got, bound int64
	}{
		{"a topic with one gateway", (one - empty) / topics, firstGatewayBytes},
		{"the same at a second gateway", (two - one) / topics, nextGatewayBytes},
	} {
		t.Logf("%s: %d bytes", tc.what, tc.got)
		if tc.got > tc.bound || tc.got <= 0 {
			t.Errorf("%s takes %d bytes, want 1 to %d", tc.what, tc.got, tc.bound)
		}
	}
	// What dead gateways had does not stay.
	r.Drop(first)
	r.Drop(second)
	if n, _ := r.Totals(); n != 0 {
		t.Fatalf("%d topics left", n)
	}
	runtime.KeepAlive(names)
}

// heapBytes is what is reachable on the heap.
func heapBytes() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
