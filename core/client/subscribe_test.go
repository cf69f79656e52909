package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firetower/core/client"
	"firetower/core/protocol"
)

func TestSubscribeDeliversInOrder(t *testing.T) {
	s, l := newStub(t), &log{}
	c := dial(t, options(s, l))
	if err := c.SubscribeMany(within(t), []string{"a", "b"}, l.message); err != nil {
		t.Fatal(err)
	}
	want := []string{"<connected>"}
	for i := range 300 {
		topic := []string{"a", "b"}[i%2]
		s.push(topic, fmt.Sprint(i))
		want = append(want, fmt.Sprintf("%s=%d", topic, i))
	}
	wait(t, "all messages", func() bool { return len(l.all()) == len(want) })
	if got := l.all(); !slices.Equal(got, want) {
		t.Errorf("delivered\n%v\nwant\n%v", got, want)
	}
}

func TestMessageDataIsWhatWasPublished(t *testing.T) {
	s := newStub(t)
	c := dial(t, options(s, nil))
	var got []string
	received := make(chan struct{}, 16)
	if err := c.Subscribe(within(t), "t", func(m client.Message) {
		got = append(got, string(m.Data))
		received <- struct{}{}
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{`{"a": [1, 2]}`, `null`, `plain text, "quoted" <&> é`, "\xff\x00\x01", ``}
	for i, data := range want {
		s.push("t", data)
		select {
		case <-received:
		case <-time.After(deadline):
			t.Fatalf("message %d did not arrive", i)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSubscribeErrors(t *testing.T) {
	s := newStub(t)
	s.refuse["secret"] = protocol.CodeForbidden
	c := dial(t, options(s, nil))
	err := c.SubscribeMany(within(t), []string{"good", "secret", "a b", "good"}, func(client.Message) {})
	refused, ok := errors.AsType[*client.RequestError](err)
	if !ok || refused.Topic != "secret" || refused.Code != protocol.CodeForbidden || refused.Op != "subscribe" {
		t.Errorf("no refusal of secret in: %v", err)
	}
	if _, ok := errors.AsType[*protocol.FieldError](err); !ok {
		t.Errorf("no bad topic in: %v", err)
	}
	if !errors.Is(err, client.ErrAlreadySubscribed) {
		t.Errorf("no second subscription in: %v", err)
	}
	if got := s.topics(); !slices.Equal(got, []string{"good"}) {
		t.Errorf("the gateway has %q, want the good topic", got)
	}
	if err := c.Subscribe(within(t), "x", nil); err == nil {
		t.Error("no error without a handler")
	}
	// What was refused can be asked for again.
	s.set(func(s *stub) { clear(s.refuse) })
	if err := c.Subscribe(within(t), "secret", func(client.Message) {}); err != nil {
		t.Error(err)
	}
}

// TestOneBadTopicSparesTheOthers: a gateway may refuse a whole request for one of its topics, and a
// request may carry what several callers want.
func TestOneBadTopicSparesTheOthers(t *testing.T) {
	s := newStub(t)
	s.refuseWhole = map[string]bool{"bad": true, "worse": true}
	c := dial(t, options(s, nil))
	err := c.SubscribeMany(within(t), []string{"a", "bad", "b", "worse", "c"}, func(client.Message) {})
	for _, topic := range []string{"bad", "worse"} {
		if err == nil || !strings.Contains(err.Error(), `subscribe "`+topic+`": bad_topic`) {
			t.Errorf("no refusal of %s in: %v", topic, err)
		}
	}
	if got := s.topics(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("the gateway has %q, want the good topics", got)
	}
}

func TestManyTopicsGoInRequestsWithinTheLimits(t *testing.T) {
	s := newStub(t)
	c := dial(t, options(s, nil))
	var topics []string
	for i := range 300 {
		topics = append(topics, fmt.Sprintf("%s-%d", strings.Repeat("x", i%200), i))
	}
	if err := c.SubscribeMany(within(t), topics, func(client.Message) {}); err != nil {
		t.Fatal(err)
	}
	if got := len(s.topics()); got != len(topics) {
		t.Errorf("the gateway has %d topics, want %d", got, len(topics))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, req := range s.requests {
		if n := len(req.Topics); n > 64 {
			t.Errorf("a request has %d topics", n)
		}
	}
}

func TestSubscribeWithoutConnectionWaitsForOne(t *testing.T) {
	s := newStub(t)
	s.set(func(s *stub) { s.status = http.StatusServiceUnavailable })
	l := &log{}
	c, err := client.New(options(s, l))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(t.Context()) }()
	wait(t, "a failed attempt", func() bool { return l.has("<retry>") })
	if err := c.Publish(within(t), "t", []byte("1")); !errors.Is(err, client.ErrNotConnected) {
		t.Errorf("publish without a connection: %v", err)
	}
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Subscribe(short, "never", l.message); !errors.Is(err, context.Canceled) {
		t.Errorf("subscribe with an ended context: %v", err)
	}
	s.set(func(s *stub) { s.status = 0 })
	if err := c.Subscribe(within(t), "t", l.message); err != nil {
		t.Fatal(err)
	}
	if got := s.topics(); !slices.Equal(got, []string{"t"}) {
		t.Errorf("the gateway has %q, want t alone", got)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := c.Run(t.Context()); err == nil {
		t.Error("Run twice is no error")
	}
}

// TestChurn: whatever many goroutines want of one client while its connections break, in the end
// the gateway knows exactly the topics that are wanted.
func TestChurn(t *testing.T) {
	s := newStub(t)
	c := dial(t, options(s, nil))
	const workers, rounds = 8, 30
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			topic := fmt.Sprintf("topic-%d", w)
			for i := range rounds {
				if err := c.Subscribe(within(t), topic, func(client.Message) {}); err != nil {
					t.Errorf("subscribe: %v", err)
				}
				if err := c.Publish(within(t), topic, []byte("1")); err != nil &&
					!errors.Is(err, client.ErrConnectionLost) && !errors.Is(err, client.ErrNotConnected) {
					t.Errorf("publish: %v", err)
				}
				if i == rounds-1 && w%2 == 0 {
					return
				}
				if err := c.Unsubscribe(within(t), topic); err != nil {
					t.Errorf("unsubscribe: %v", err)
				}
				if i%10 == w {
					s.drop()
				}
			}
		})
	}
	group.Wait()
	want := []string{"topic-0", "topic-2", "topic-4", "topic-6"}
	wait(t, fmt.Sprintf("the topics %q", want), func() bool { return slices.Equal(s.topics(), want) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.double) > 0 {
		t.Errorf("subscribed to twice on one connection: %q", s.double)
	}
}
