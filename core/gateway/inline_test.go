package gateway_test

import (
	"fmt"
	"testing"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

// A topic of few subscribers is written by the one who takes the message in; what comes
// while somebody else writes waits for the consumers, and keeps its order.
func TestFewSubscribersNeedNoConsumer(t *testing.T) {
	const subscribers = 3
	g := run(t, func(o *gateway.Options) { o.Bucket.InlineSubscribers = subscribers })
	var clients []*wsClient
	for range subscribers {
		c := dial(t, g, protocol.SubprotocolV1)
		c.subscribe("room")
		clients = append(clients, c)
	}
	publish := func(i int) {
		t.Helper()
		if err := g.Publish("room", fmt.Appendf(nil, "%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	publish(0)
	if s := g.Stats(); s.Deliveries != subscribers || s.CentralQueue != 0 {
		t.Errorf("after the call %d are delivered, %d wait", s.Deliveries, s.CentralQueue)
	}
	giveBack := gateway.BorrowLanes(g)
	publish(1)
	publish(2)
	if s := g.Stats(); s.Deliveries != subscribers || s.CentralQueue == 0 {
		t.Errorf("while others write %d are delivered, %d wait", s.Deliveries, s.CentralQueue)
	}
	giveBack()
	publish(3)
	for _, c := range clients {
		for i := range 4 {
			if r := c.nextReply(); string(r.Data) != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, r.Data)
			}
		}
	}
	one := dial(t, g, protocol.SubprotocolV1)
	one.subscribe("room")
	giveBack = gateway.BorrowLanes(g)
	defer giveBack()
	publish(4)
	if s := g.Stats(); s.CentralQueue == 0 {
		t.Error("nothing waits, though nobody may write")
	}
}

// Where some of a topic's Buckets are at work, the others are written to at once, and each
// connection gets its messages in order, whoever wrote them.
func TestIdleBucketsDoNotWaitForBusyOnes(t *testing.T) {
	const subscribers, buckets = 9, 3 // connections go to the Buckets in turn
	for busy := range buckets {
		t.Run(fmt.Sprint(busy), func(t *testing.T) {
			g := run(t, func(o *gateway.Options) { o.Bucket.Num, o.Bucket.InlineSubscribers = buckets, subscribers })
			var clients []*wsClient
			for range subscribers {
				c := dial(t, g, protocol.SubprotocolV1)
				c.subscribe("room")
				clients = append(clients, c)
			}
			giveBack := gateway.BorrowBucket(g, busy)
			for i := range 2 {
				if err := g.Publish("room", fmt.Appendf(nil, "%d", i)); err != nil {
					t.Fatal(err)
				}
				idle := int64(i+1) * subscribers * (buckets - 1) / buckets
				if s := g.Stats(); s.Deliveries != idle || s.CentralQueue != int64(i+1) {
					t.Errorf("after message %d %d are delivered, %d wait; want %d, %d", i, s.Deliveries, s.CentralQueue, idle, i+1)
				}
			}
			giveBack()
			if err := g.Publish("room", []byte("2")); err != nil {
				t.Fatal(err)
			}
			for _, c := range clients {
				for i := range 3 {
					if r := c.nextReply(); string(r.Data) != fmt.Sprint(i) {
						t.Fatalf("message %d is %s", i, r.Data)
					}
				}
			}
			eventually(t, "nothing waits", func() bool { return g.Stats().CentralQueue == 0 })
		})
	}
}

// A client that has sent a part of a frame has a reader, one at rest has none.
func TestReadersAreLentWhileSomethingComes(t *testing.T) {
	g := run(t, nil)
	rest := dial(t, g, protocol.SubprotocolV1)
	rest.subscribe("room")
	half := dialRaw(t, g)
	frame := maskedFrame(finText, `{"type":"subscribe","topic":"a","id":"1"}`)
	if _, err := half.Write(frame[:10]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the one that has sent a part has a reader", func() bool { return g.Stats().Reading == 1 })
	if _, err := half.Write(frame[10:]); err != nil {
		t.Fatal(err)
	}
	half.next()
	eventually(t, "nobody has one", func() bool { return g.Stats().Reading == 0 })
}
