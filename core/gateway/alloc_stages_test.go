package gateway_test

import (
	"fmt"
	"testing"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

// A delivery allocates nothing on its whole way through a gateway that runs, from
// centralChan through lanes and consumers to the sockets, whatever the client speaks, in
// how many Buckets it is, and whether messages are joined. The sockets hold all that is
// sent, so that nobody has to read meanwhile.
func TestNoAllocationPerDelivery(t *testing.T) {
	const connections = 8
	for _, protocols := range [][]string{{protocol.SubprotocolV0}, {protocol.SubprotocolV1}, {protocol.SubprotocolV0, protocol.SubprotocolV1}} {
		for _, buckets := range []int{1, 4} {
			for _, joinBytes := range []int{1, 64 << 10} { // one byte joins nothing
				t.Run(fmt.Sprintf("%q/buckets=%d/join=%d", protocols, buckets, joinBytes), func(t *testing.T) {
					g := run(t, func(o *gateway.Options) { o.Bucket.Num, o.JoinBytes = buckets, joinBytes })
					var subscriptions int64
					for i := range connections {
						c := dial(t, g, protocols[i%len(protocols)])
						subscriptions += 3
						c.subscribeV0(g, "a,b,c", subscriptions)
					}
					var delivered, written int64
					for _, topics := range [][]string{{"a"}, {"a", "b", "c"}} {
						for _, messages := range []int{1, 4} {
							const runs = 10
							d := gateway.NewDelivery(g, topics, payload(100), messages)
							d.Deliver() // builds the frames, once for all, and lets queues grow to their size
							if n := testing.AllocsPerRun(runs, d.Deliver); n != 0 {
								t.Errorf("%d messages to each of %d topics: %v allocations", messages, len(topics), n)
							}
							delivered += int64(connections * messages * len(topics) * (runs + 2))
						}
					}
					s := g.Stats()
					if written = s.Writes; s.Deliveries != delivered || s.Backlogged != 0 {
						t.Errorf("%d deliveries, want %d, and %d connections have a backlog", s.Deliveries, delivered, s.Backlogged)
					}
					if joinBytes == 1 && written != delivered {
						t.Errorf("%d writes of %d deliveries: something was joined", written, delivered)
					}
				})
			}
		}
	}
}

// What is between the stages allocates nothing either, nor does what clients cause
// without subscribing: lending a list, looking a topic up, a round of the heartbeat.
func TestNoAllocationInAStage(t *testing.T) {
	index, names := gateway.NewTopicIndex(1, 4), topicNames(100)
	for _, name := range names {
		index.Add(0, name)
	}
	subscribers, lane, round := gateway.NewSubscribers(1000), gateway.NewLaneQueue(100), gateway.NewHeartbeatRound(1600)
	g := run(t, nil)
	one, many := handover(t, 1, 1), handover(t, 4, 50)
	for _, stage := range []struct {
		name string
		f    func()
	}{
		{"hand-over of one topic to one Bucket", func() { one.Hand(); one.Take() }},
		{"hand-over of fifty topics to four Buckets", func() { many.Hand(); many.Take() }},
		{"lane, one item", func() { lane.Pass(1) }},
		{"lane, more than are taken at once", func() { lane.Pass(250) }},
		{"v0, one message", gateway.NewFanOutOf(g, 10, 0, payload(100), 1).Deliver},
		{"v0, joined", gateway.NewFanOutOf(g, 10, 0, payload(100), 16).Deliver},
		{"v1, joined into several buffers", gateway.NewFanOutOf(g, 0, 10, payload(4096), 40).Deliver},
		{"both, joined", gateway.NewFanOutOf(g, 10, 10, payload(100), 16).Deliver},
		{"borrowing subscribers", func() { subscribers.Borrow() }},
		{"a subscriber that comes and goes", subscribers.AddRemove},
		{"looking up a topic", func() { index.Has(names[7]) }},
		{"heartbeat", func() { round.Slot() }},
	} {
		for range 20 { // what is used again has its size
			stage.f()
		}
		if n := testing.AllocsPerRun(100, stage.f); n != 0 {
			t.Errorf("%s: %v allocations", stage.name, n)
		}
	}
}

// A message's frames are built once for all: one allocation for the message itself and one
// for each subprotocol.
func TestAllocationsPerMessage(t *testing.T) {
	data := payload(100)
	for _, row := range []struct {
		v0, v1 bool
		want   float64
	}{{true, false, 2}, {false, true, 2}, {true, true, 3}} {
		if n := testing.AllocsPerRun(100, func() { gateway.BuildFrames("room/1", data, row.v0, row.v1) }); n > row.want {
			t.Errorf("v0 %v, v1 %v: %v allocations, want at most %v", row.v0, row.v1, n, row.want)
		}
	}
}
