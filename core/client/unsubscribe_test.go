package client_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"firetower/core/client"
	"firetower/core/protocol"
)

func TestUnsubscribe(t *testing.T) {
	s, l := newStub(t), &log{}
	c := dial(t, options(s, l))
	if err := c.SubscribeMany(within(t), []string{"a", "b"}, l.message); err != nil {
		t.Fatal(err)
	}
	if err := c.Unsubscribe(within(t), "a", "unknown"); err != nil {
		t.Fatal(err)
	}
	if got := s.topics(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("the gateway has %q, want b", got)
	}
	// A straggler for a topic that has no handler is counted, not delivered.
	for _, conn := range s.all() {
		conn.send(protocol.AppendPushV1(nil, "a", []byte("1")))
	}
	s.push("b", "2")
	wait(t, "b's message", func() bool { return l.has("b=2") })
	if l.has("a=1") || c.Stats().Unrouted != 1 {
		t.Errorf("log %v, unrouted %d", l.all(), c.Stats().Unrouted)
	}
	if err := c.Subscribe(within(t), "a", l.message); err != nil {
		t.Fatal(err)
	}
	s.push("a", "3")
	wait(t, "a's message", func() bool { return l.has("a=3") })
}

// TestUnsubscribedByOrder: a topic that the gateway took away is not wanted any more, and can be
// subscribed to anew.
func TestUnsubscribedByOrder(t *testing.T) {
	s, l := newStub(t), &log{}
	c := dial(t, options(s, l))
	if err := c.SubscribeMany(within(t), []string{"a", "b"}, l.message); err != nil {
		t.Fatal(err)
	}
	s.kick("a")
	wait(t, "the news", func() bool { return l.has("<unsubscribed>") })
	news, _ := l.find(client.EventUnsubscribed)
	if !slices.Equal(news.Topics, []string{"a"}) || news.String() != "unsubscribed from a by the server" {
		t.Errorf("event %+v: %v", news, news)
	}
	for _, conn := range s.all() {
		conn.send(orderFrame("a")) // for the second time, and for what nobody knows
		conn.send(orderFrame("unknown"))
	}
	s.push("b", "1")
	wait(t, "the other topic's message", func() bool { return l.has("b=1") })
	s.drop()
	wait(t, "the other topic again", func() bool { return l.has("<resumed>") })
	if resumed, _ := l.find(client.EventResumed); !slices.Equal(resumed.Topics, []string{"b"}) {
		t.Errorf("resumed %+v", resumed)
	}
	if err := c.Subscribe(within(t), "a", l.message); err != nil {
		t.Fatal(err)
	}
	s.push("a", "2")
	wait(t, "the message after", func() bool { return l.has("a=2") })
	want := []string{"<connected>", "<unsubscribed>", "b=1", "<disconnected>", "<retry>", "<resumed>", "a=2"}
	if got := l.all(); !slices.Equal(got, want) {
		t.Errorf("log %v, want %v", got, want)
	}
}

// TestUnsubscribedByOrderBeforeTheAnswer: the order overtakes the answer, which says that all went
// well.
func TestUnsubscribedByOrderBeforeTheAnswer(t *testing.T) {
	s, l := newStub(t), &log{}
	s.order = map[string]bool{"a": true}
	c := dial(t, options(s, l))
	if err := c.Subscribe(within(t), "a", l.message); !errors.Is(err, client.ErrUnsubscribed) {
		t.Errorf("subscribe: %v", err)
	}
	s.set(func(s *stub) { clear(s.order) })
	if err := c.Subscribe(within(t), "a", l.message); err != nil {
		t.Fatal(err)
	}
	s.push("a", "1")
	wait(t, "the message", func() bool { return l.has("a=1") })
	if l.has("<unsubscribed>") {
		t.Errorf("log %v: an event beside the error", l.all())
	}
}

// TestOrderCrossesUnsubscribe: an order for a subscription that the client has given up does not
// end the one that it has made since.
func TestOrderCrossesUnsubscribe(t *testing.T) {
	s, l := newStub(t), &log{}
	s.cross = true
	c := dial(t, options(s, l))
	if err := c.Subscribe(within(t), "a", l.message); err != nil {
		t.Fatal(err)
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Unsubscribe(impatient, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("unsubscribe without an answer: %v", err)
	}
	wait(t, "the request", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.requests) == 2
	})
	if err := c.Subscribe(within(t), "a", l.message); err != nil {
		t.Fatal(err)
	}
	s.push("a", "1")
	wait(t, "the message", func() bool { return l.has("a=1") })
	if l.has("<unsubscribed>") {
		t.Errorf("log %v", l.all())
	}
}

// TestUnsubscribeOfTheTopicThatIsMissing: what keeps EventResumed back is not wanted any more.
func TestUnsubscribeOfTheTopicThatIsMissing(t *testing.T) {
	s, l := newStub(t), &log{}
	c := dial(t, options(s, l))
	if err := c.SubscribeMany(within(t), []string{"kept", "later"}, l.message); err != nil {
		t.Fatal(err)
	}
	s.set(func(s *stub) { s.refuse["later"] = protocol.CodeUnavailable })
	s.drop()
	wait(t, "the other topic", func() bool { return slices.Equal(s.topics(), []string{"kept"}) })
	if err := c.Unsubscribe(within(t), "later"); err != nil {
		t.Fatal(err)
	}
	wait(t, "the news", func() bool { return l.has("<resumed>") })
	if resumed, _ := l.find(client.EventResumed); !slices.Equal(resumed.Topics, []string{"kept"}) {
		t.Errorf("resumed %+v", resumed)
	}
}
