package manager_test

import (
	"slices"
	"testing"

	"firetower/core/topicpb"
)

func TestLink_HelloSnapshotSyncPublish(t *testing.T) {
	h := startHub(t, nil)
	g := dialLink(t, h.Addrs().Link.String())
	welcome, refuse := g.greet(greeting{
		hello: &topicpb.LinkHello{ClusterId: "gw-1", Epoch: 7, Version: "test"}, topics: map[string]int64{"a": 2, "b": 1}, parts: 2,
	})
	if refuse != nil {
		t.Fatalf("refused: %v", refuse)
	}
	if welcome.GetEpoch() != 7 || welcome.GetHeartbeatMs() != 5000 || welcome.GetManagerId() == "" || welcome.GetMissedKnown() {
		t.Fatalf("welcome = %v", welcome)
	}
	g.listen()
	if n := h.subscribers("a"); n != 2 {
		t.Fatalf("subscribers of a = %d, want 2", n)
	}
	if err := g.sync(h, map[string]int64{"a": 0, "c": 5}); err != nil {
		t.Fatal(err)
	}
	if a, c := h.subscribers("a"), h.subscribers("c"); a != 0 || c != 5 {
		t.Fatalf("subscribers after sync: a = %d, c = %d, want 0, 5", a, c)
	}
	want := numbered("m", 100)
	for _, m := range want {
		res := h.publish("c", m)
		if !res.GetOk() || res.GetGatewaysMatched() != 1 || res.GetGatewaysQueued() != 1 || res.GetError() != "" {
			t.Fatalf("publish = %v", res)
		}
	}
	eventually(t, "all messages of c", func() bool { return len(g.bodies("c")) >= len(want) })
	if got := g.bodies("c"); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}
