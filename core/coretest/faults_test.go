package coretest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"firetower/core/coretest"
	"firetower/core/gateway"
	"firetower/core/manager"
	"firetower/core/protocol"
	"firetower/core/topicpb"
)

func TestU4_18_EveryGatewayOfATopicGetsEveryMessage(t *testing.T) {
	const gateways = 3
	c := coretest.Start(t, coretest.Options{Gateways: gateways})
	sockets := audience(t, c, gateways, 2, []string{"room"})
	var want []string
	for i := range 200 {
		data := numbered("room", i)
		want = append(want, data)
		if resp := c.Publish("room", data); !resp.Ok || resp.GatewaysMatched != gateways {
			t.Fatalf("publish %d: %v", i, resp)
		}
	}
	for i, s := range sockets {
		coretest.Eventually(t, fmt.Sprintf("socket %d has all", i), func() bool { return s.Count("room") >= len(want) })
		if got := s.Messages("room"); !slices.Equal(got, want) {
			t.Errorf("socket %d: %d messages, not the %d published in their order", i, len(got), len(want))
		}
	}
	// Counts between the first and the last subscriber come in batches.
	coretest.Eventually(t, "the manager counts all subscribers", func() bool {
		return c.Subscribers("room") == int64(len(sockets))
	})
}

// TestU4_11_ManagerRestartUnderLoad: the manager is stopped in order, and killed, while publishers
// publish. Every topic delivers again without the clients' doing, nothing twice and in order. What
// an accepted publish did not deliver is at most what a dead process could not say any more.
func TestU4_11_ManagerRestartUnderLoad(t *testing.T) {
	tests := []struct {
		name string
		end  func(*coretest.Cluster)
		// lossless tells that every accepted message arrives: an orderly stop writes what is queued.
		lossless bool
	}{
		{"stopped", (*coretest.Cluster).StopManager, true},
		{"killed", (*coretest.Cluster).KillManager, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			const gateways = 2
			topics := names("topic", 10)
			c := coretest.Start(t, coretest.Options{Gateways: gateways, ManagerProcess: true})
			sockets := audience(t, c, gateways, 3, topics)
			l := startLoad(t, c, topics, 5*time.Millisecond)
			waitDelivered(t, sockets, topics, 20)

			tt.end(c)
			l.rounds(t, 1)
			c.RestartManager()
			c.WaitLinked()
			l.rounds(t, 20)
			waitDelivered(t, sockets, topics, int(l.next.Load())-5)
			l.stop()
			waitDelivered(t, sockets, topics, int(l.next.Load())-1)

			lost := 0
			for i, s := range sockets {
				for _, topic := range topics {
					got := checkOnce(t, fmt.Sprintf("socket %d", i), topic, s.Messages(topic))
					l.mu.Lock()
					var missing []int
					for _, n := range sortedKeys(l.accepted[topic]) {
						if _, found := slices.BinarySearch(got, n); !found && l.accepted[topic][n].GatewaysMatched == gateways {
							missing = append(missing, n)
						}
					}
					l.mu.Unlock()
					if tt.lossless && len(missing) > 0 {
						t.Errorf("socket %d: topic %q: accepted and not delivered: %v", i, topic, missing)
					}
					lost += len(missing)
				}
			}
			t.Logf("%d deliveries were lost with the process", lost)
			for i := range gateways {
				if n := c.Gateway(i).Stats().LinkReconnects; n < 1 {
					t.Errorf("gateway %d counts %d reconnects of its link", i, n)
				}
			}
			if _, failed := l.counts(topics[0]); failed == 0 {
				t.Error("no publish failed while there was no manager: the outage was not seen")
			}
		})
	}
}

// TestU4_12_KilledManagersLeaveTheGatewaysRunning kills the manager at moments of no particular kind.
func TestU4_12_KilledManagersLeaveTheGatewaysRunning(t *testing.T) {
	const gateways, kills = 2, 10
	topics := names("topic", 4)
	c := coretest.Start(t, coretest.Options{Gateways: gateways, ManagerProcess: true})
	sockets := audience(t, c, gateways, 2, topics)
	l := startLoad(t, c, topics, time.Millisecond)
	for range kills {
		timer := time.NewTimer(rand.N(20 * time.Millisecond))
		<-timer.C
		c.KillManager()
		c.RestartManager()
		if !c.Alive() {
			t.Fatal("a gateway has ended")
		}
	}
	c.WaitLinked()
	l.rounds(t, 10)
	waitDelivered(t, sockets, topics, int(l.next.Load())-5)
	l.stop()
	for i, s := range sockets {
		for _, topic := range topics {
			checkOnce(t, fmt.Sprintf("socket %d", i), topic, s.Messages(topic))
		}
	}
	if !c.Alive() {
		t.Error("a gateway has ended")
	}
}

// TestU4_13_OneReconnectPerDrop: a link that is cut a hundred times comes back a hundred times.
func TestU4_13_OneReconnectPerDrop(t *testing.T) {
	const drops = 100
	c := coretest.Start(t, coretest.Options{Gateway: func(_ int, o *gateway.Options) {
		o.RedialMin, o.RedialMax = time.Millisecond, 2*time.Millisecond
	}})
	s := c.Dial(0, protocol.SubprotocolV1)
	s.Subscribe("room")
	before := c.Link().Accepted()
	for i := range drops {
		if n := c.Link().Cut(); n != 1 {
			t.Fatalf("drop %d: %d links, want 1", i, n)
		}
		coretest.Eventually(t, fmt.Sprintf("the link after drop %d", i), func() bool {
			stats := c.Gateway(0).Stats()
			return stats.LinkUp && stats.LinkReconnects >= int64(i+1) && c.Link().Open() == 1
		})
	}
	c.Publish("room", `"after"`)
	coretest.Eventually(t, "the message after", func() bool { return s.Count("room") == 1 })
	if n := c.Link().Accepted() - before; n != drops {
		t.Errorf("%d new links for %d drops", n, drops)
	}
	if n := c.Gateway(0).Stats().LinkReconnects; n != drops {
		t.Errorf("the gateway counts %d reconnects for %d drops", n, drops)
	}
}

// TestU4_15_WhatACutLinkLosesIsCounted: links are cut under load, and for each gateway the messages
// that the manager had for it are those that arrived and those that it was told it missed.
func TestU4_15_WhatACutLinkLosesIsCounted(t *testing.T) {
	const gateways, drops = 2, 10
	c := coretest.Start(t, coretest.Options{Gateways: gateways, Manager: func(o *manager.Options) {
		o.DetachGrace = coretest.Patience // a session ends in none of the gaps of this test
	}})
	sockets := audience(t, c, gateways, 1, []string{"room"})
	l := startLoad(t, c, []string{"room"}, 100*time.Microsecond)
	for range drops {
		l.rounds(t, 20)
		var before [gateways]int64
		for i := range gateways {
			before[i] = c.Gateway(i).Stats().LinkReconnects
		}
		c.Link().Cut()
		coretest.Eventually(t, "every gateway noticed, and is linked again", func() bool {
			for i := range gateways {
				if s := c.Gateway(i).Stats(); !s.LinkUp || s.LinkReconnects == before[i] {
					return false
				}
			}
			return true
		})
	}
	l.rounds(t, 20)
	l.stop()
	waitDelivered(t, sockets, []string{"room"}, int(l.next.Load())-1)
	accepted, failed := l.counts("room")
	if failed > 0 {
		t.Errorf("%d publishes failed, though gRPC was not cut", failed)
	}
	for i := range gateways {
		stats := c.Gateway(i).Stats()
		if got := stats.Received + stats.LinkMissed; got != int64(accepted) {
			t.Errorf("gateway %d: received %d and missed %d, in all %d of %d", i, stats.Received, stats.LinkMissed, got, accepted)
		}
		numbers := checkOnce(t, fmt.Sprintf("socket %d", i), "room", sockets[i].Messages("room"))
		if int64(len(numbers)) != stats.Received {
			t.Errorf("socket %d has %d messages, its gateway %d", i, len(numbers), stats.Received)
		}
	}
}

// TestU4_16_BlackHoledLinkIsDetected: bytes stop on the link, and neither end is told. Both notice,
// and when bytes pass again the topics deliver.
func TestU4_16_BlackHoledLinkIsDetected(t *testing.T) {
	const heartbeat = 50 * time.Millisecond
	c := coretest.Start(t, coretest.Options{
		Manager: func(o *manager.Options) { o.Heartbeat = heartbeat },
		Gateway: func(_ int, o *gateway.Options) {
			o.LinkHeartbeat, o.HandshakeTimeout = heartbeat, 200*time.Millisecond
		},
	})
	s := c.Dial(0, protocol.SubprotocolV1)
	s.Subscribe("room")
	c.Link().Blackhole(true)
	coretest.Eventually(t, "the gateway notices", func() bool { return !c.Gateway(0).Stats().LinkUp })
	coretest.Eventually(t, "the manager notices", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), coretest.Patience)
		defer cancel()
		resp, err := c.Service().ListGateways(ctx, &topicpb.ListGatewaysRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(resp.Gateways, func(g *topicpb.GatewayInfo) bool { return g.State == "live" })
	})
	c.Link().Blackhole(false)
	c.WaitLinked()
	c.Publish("room", `"after"`)
	coretest.Eventually(t, "the message after", func() bool { return slices.Contains(s.Messages("room"), `"after"`) })
}

func TestU4_38_SubscribeBeforeTheManagerIsUp(t *testing.T) {
	c := coretest.Start(t, coretest.Options{ManagerDown: true, Gateway: func(_ int, o *gateway.Options) {
		o.SubscribeTimeout = 20 * time.Millisecond
	}})
	s := c.Dial(0, protocol.SubprotocolV1)
	refused := s.Request(protocol.SubscribeRequest, []string{"room"}, "")
	if refused.OK || len(refused.Topics) != 1 || refused.Topics[0].Code != protocol.CodeUnavailable {
		t.Fatalf("subscribe without a manager: %+v", refused)
	}
	if refused := s.Request(protocol.PublishRequest, []string{"room"}, "1"); refused.OK {
		t.Errorf("publish without a manager: %+v", refused)
	}
	c.RestartManager()
	c.WaitLinked()
	s.Subscribe("room")
	c.Publish("room", `"hello"`)
	coretest.Eventually(t, "a message", func() bool { return s.Count("room") == 1 })
}

// TestU4_38_QueuedSubscribe: with time to wait, a subscribe that came before the manager succeeds.
func TestU4_38_QueuedSubscribe(t *testing.T) {
	c := coretest.Start(t, coretest.Options{ManagerDown: true, Gateway: func(_ int, o *gateway.Options) {
		o.SubscribeTimeout = coretest.Patience
	}})
	s := c.Dial(0, protocol.SubprotocolV1)
	subscribed := make(chan coretest.Reply, 1)
	go func() { subscribed <- s.Request(protocol.SubscribeRequest, []string{"room"}, "") }()
	coretest.Eventually(t, "the subscription waits", func() bool { return c.Gateway(0).Stats().Subscriptions == 1 })
	c.RestartManager()
	if reply := <-subscribed; !reply.OK {
		t.Errorf("subscribe: %+v", reply)
	}
	c.Publish("room", `"hello"`)
	coretest.Eventually(t, "a message", func() bool { return s.Count("room") == 1 })
}
