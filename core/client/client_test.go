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

func TestPublish(t *testing.T) {
	s, l := newStub(t), &log{}
	s.refuse["secret"] = protocol.CodeForbidden
	c := dial(t, options(s, l))
	if err := c.Subscribe(within(t), "t", l.message); err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(within(t), "t", []byte(`{ "spaces":  "stay" }`)); err != nil {
		t.Fatal(err)
	}
	wait(t, "the message", func() bool { return l.has(`t={ "spaces":  "stay" }`) })

	err := c.Publish(within(t), "secret", []byte(`1`))
	if refused, ok := errors.AsType[*client.RequestError](err); !ok || refused.Code != protocol.CodeForbidden || refused.Temporary() {
		t.Errorf("publishing where it is forbidden: %v", err)
	}
	if err := c.Publish(within(t), "t", []byte(`not json`)); !errors.Is(err, client.ErrNotJSON) {
		t.Errorf("publishing what is not JSON: %v", err)
	}
	if _, ok := errors.AsType[*protocol.FieldError](c.Publish(within(t), "a b", []byte(`1`))); !ok {
		t.Error("publishing to a bad topic is not a FieldError")
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

func TestReconnectSubscribesAgain(t *testing.T) {
	s, l := newStub(t), &log{}
	c := dial(t, options(s, l))
	if err := c.SubscribeMany(within(t), []string{"a", "b"}, l.message); err != nil {
		t.Fatal(err)
	}
	s.push("a", "1")
	wait(t, "the message before", func() bool { return l.has("a=1") })
	s.drop()
	wait(t, "the topics again", func() bool { return l.has("<resumed>") })
	s.push("a", "2")
	s.push("b", "3")
	wait(t, "the messages after", func() bool { return l.has("a=2") && l.has("b=3") })

	want := []string{"<connected>", "a=1", "<disconnected>", "<retry>", "<resumed>", "a=2", "b=3"}
	if got := l.all(); !slices.Equal(got, want) {
		t.Errorf("log %v, want %v", got, want)
	}
	resumed, _ := l.find(client.EventResumed)
	if !slices.Equal(resumed.Topics, []string{"a", "b"}) || resumed.Gap <= 0 {
		t.Errorf("resumed %+v", resumed)
	}
	if n := c.Stats().Reconnects; n != 1 {
		t.Errorf("%d reconnects", n)
	}
}

func TestReconnectWithoutTopicsResumesToo(t *testing.T) {
	s, l := newStub(t), &log{}
	c := dial(t, options(s, l))
	s.connected()
	s.drop()
	wait(t, "resumed", func() bool { return l.has("<resumed>") })
	if err := c.Publish(within(t), "t", []byte("1")); err != nil {
		t.Error(err)
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

func TestResubscribeRefusals(t *testing.T) {
	s, l := newStub(t), &log{}
	c := dial(t, options(s, l))
	if err := c.SubscribeMany(within(t), []string{"kept", "lost", "later"}, l.message); err != nil {
		t.Fatal(err)
	}
	s.set(func(s *stub) {
		s.refuse["lost"] = protocol.CodeForbidden
		s.refuse["later"] = protocol.CodeUnavailable
	})
	s.drop()
	wait(t, "the refusal of one", func() bool { return l.has("<subscription-lost>") })
	wait(t, "another try of the other", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := 0
		for _, req := range s.requests {
			if slices.Contains(req.Topics, "later") {
				n++
			}
		}
		return n > 3
	})
	if l.has("<resumed>") {
		t.Error("resumed while a topic is missing")
	}
	s.set(func(s *stub) { clear(s.refuse) })
	wait(t, "the rest", func() bool { return l.has("<resumed>") })
	if got := s.topics(); !slices.Equal(got, []string{"kept", "later"}) {
		t.Errorf("the gateway has %q", got)
	}
	lost, _ := l.find(client.EventSubscriptionLost)
	if refused, ok := errors.AsType[*client.RequestError](lost.Err); !ok || refused.Topic != "lost" {
		t.Errorf("lost %+v", lost)
	}
	if err := c.Subscribe(within(t), "lost", l.message); err != nil {
		t.Errorf("subscribing anew to a lost topic: %v", err)
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

func TestCloseCodes(t *testing.T) {
	tests := []struct {
		name   string
		code   int
		reason string
		again  bool
		atWait time.Duration
	}{
		{"kicked", protocol.CloseKicked, "kicked", false, 0},
		{"forbidden", protocol.CloseForbidden, "", false, 0},
		{"policy violation", 1008, "", false, 0},
		{"normal closure", 1000, "", false, 0},
		{"slow consumer", protocol.CloseSlowConsumer, "slow", true, 0},
		{"going away", 1001, "", true, 0},
		{"unavailable", protocol.CloseUnavailable, "", true, 0},
		{"restart with a hint", protocol.CloseServiceRestart, "draining; retry_ms=15", true, 15 * time.Millisecond},
		{"restart with a bad hint", protocol.CloseServiceRestart, "retry_ms=soon", true, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, l := newStub(t), &log{}
			c := dial(t, options(s, l))
			s.connected()
			s.closeWith(tt.code, tt.reason)
			wait(t, "the end or another connection", func() bool { return l.has("<closed>") || l.has("<resumed>") })
			if got := l.has("<resumed>"); got != tt.again {
				t.Fatalf("connected again: %t, want %t; log %v", got, tt.again, l.all())
			}
			lost, _ := l.find(client.EventDisconnected)
			if closed, ok := errors.AsType[*client.CloseError](lost.Err); !ok || closed.Code != tt.code || closed.Reason != tt.reason {
				t.Errorf("disconnected by %v", lost.Err)
			}
			if !tt.again {
				<-c.Done()
				if closed, ok := errors.AsType[*client.CloseError](c.Err()); !ok || closed.Code != tt.code {
					t.Errorf("Err = %v", c.Err())
				}
				if err := c.Subscribe(within(t), "t", l.message); !errors.Is(err, client.ErrClosed) {
					t.Errorf("subscribe after the end: %v", err)
				}
				return
			}
			if retry, ok := l.find(client.EventRetry); !ok || retry.Wait < tt.atWait {
				t.Errorf("retry %+v, want a wait of at least %v", retry, tt.atWait)
			}
		})
	}
}

func TestHandshakes(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusFound, http.StatusUnauthorized, http.StatusNotFound} {
		t.Run(fmt.Sprintf("refused for good with %d", status), func(t *testing.T) {
			s := newStub(t)
			s.set(func(s *stub) { s.status = status })
			c, err := client.New(options(s, nil))
			if err != nil {
				t.Fatal(err)
			}
			refused, ok := errors.AsType[*client.HandshakeError](c.Run(t.Context()))
			if !ok || refused.Status != status {
				t.Errorf("Run: %v", c.Err())
			}
		})
	}
	t.Run("refused for now", func(t *testing.T) {
		s, l := newStub(t), &log{}
		s.set(func(s *stub) { s.status, s.retryAfter = http.StatusServiceUnavailable, "3600" })
		c, err := client.New(options(s, l))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		wait(t, "the retry", func() bool { return l.has("<retry>") })
		if retry, _ := l.find(client.EventRetry); retry.Wait < 10*time.Minute {
			t.Errorf("waits %v, want the bound of what a server may ask for at least", retry.Wait)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Run("not our subprotocol", func(t *testing.T) {
		s := newStub(t)
		s.set(func(s *stub) { s.subprotocol = "chat" })
		if _, err := client.Dial(within(t), options(s, nil)); !errors.Is(err, client.ErrSubprotocol) {
			t.Errorf("Dial: %v", err)
		}
	})
	t.Run("nobody answers", func(t *testing.T) {
		s := newStub(t)
		o := options(s, nil)
		o.URL = "ws://" + deafServer(t) + "/ws"
		o.HandshakeTimeout = 10 * time.Millisecond
		if _, err := client.Dial(within(t), o); err == nil {
			t.Error("Dial succeeded")
		}
	})
	t.Run("attempts are bounded", func(t *testing.T) {
		s := newStub(t)
		s.set(func(s *stub) { s.status = http.StatusBadGateway })
		o := options(s, nil)
		o.MaxAttempts = 3
		c, err := client.New(o)
		if err != nil {
			t.Fatal(err)
		}
		if refused, ok := errors.AsType[*client.HandshakeError](c.Run(t.Context())); !ok || refused.Status != http.StatusBadGateway {
			t.Errorf("Run: %v", c.Err())
		}
	})
}

func TestDeadPeerIsReplaced(t *testing.T) {
	s, l := newStub(t), &log{}
	s.set(func(s *stub) { s.silent = true })
	o := options(s, l)
	o.PingInterval, o.ReadTimeout = 5*time.Millisecond, 20*time.Millisecond
	c := dial(t, o)
	wait(t, "the reader's timeout", func() bool { return l.has("<disconnected>") })
	s.set(func(s *stub) { s.silent = false })
	if err := c.Subscribe(within(t), "t", l.message); err != nil {
		t.Fatal(err)
	}
	_, opened := s.count()
	if opened < 2 {
		t.Errorf("%d connections", opened)
	}
}

func TestPublishOfALostConnection(t *testing.T) {
	s := newStub(t)
	s.set(func(s *stub) { s.silent = true })
	c := dial(t, options(s, nil))
	failed := make(chan error, 1)
	go func() { failed <- c.Publish(within(t), "t", []byte("1")) }()
	wait(t, "the request", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.requests) == 1
	})
	s.drop()
	if err := <-failed; !errors.Is(err, client.ErrConnectionLost) {
		t.Errorf("publish: %v", err)
	}
}

func TestBadFramesAreCounted(t *testing.T) {
	s, l := newStub(t), &log{}
	c := dial(t, options(s, l))
	if err := c.Subscribe(within(t), "t", l.message); err != nil {
		t.Fatal(err)
	}
	for _, conn := range s.all() {
		for _, frame := range []string{`heartbeat`, `{"type":`, `{"type":"publish","topic":"t","data":1,"encoding":"rot13"}`, `{"type":"publish","topic":"t","data":1,"encoding":"base64"}`} {
			conn.send([]byte(frame))
		}
		// Well-formed, but nothing waits for them.
		conn.send([]byte(`{"type":"error","code":"internal","reason":"x"}`))
		conn.send([]byte(`{"type":"subscribe","id":"999","ok":true,"topics":[]}`))
		conn.send([]byte(`null`))
	}
	s.push("t", "1")
	wait(t, "the message behind", func() bool { return l.has("t=1") })
	if n := c.Stats().BadFrames; n != 4 {
		t.Errorf("%d bad frames, want 4", n)
	}
}

func TestMessageAboveTheLimitEndsTheConnection(t *testing.T) {
	s, l := newStub(t), &log{}
	o := options(s, l)
	o.MaxMessageBytes = 1000
	c := dial(t, o)
	if err := c.Subscribe(within(t), "t", l.message); err != nil {
		t.Fatal(err)
	}
	s.push("t", strings.Repeat("1", 2000))
	wait(t, "another connection", func() bool { return l.has("<resumed>") })
	s.push("t", "1")
	wait(t, "a small message", func() bool { return l.has("t=1") })
}

func TestCloseDrains(t *testing.T) {
	s := newStub(t)
	c := dial(t, options(s, nil))
	release := make(chan struct{})
	var got []string
	if err := c.Subscribe(within(t), "t", func(m client.Message) {
		<-release
		got = append(got, string(m.Data))
	}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 50 {
		s.push("t", fmt.Sprint(i))
		want = append(want, fmt.Sprint(i))
	}
	wait(t, "the messages in the queue", func() bool { return c.Stats().Received == 50 })
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	wait(t, "the end of the connection", func() bool { open, _ := s.count(); return open == 0 })
	close(release)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("handled %v", got)
	}
	if c.Err() != nil {
		t.Errorf("Err after Close: %v", c.Err())
	}
	if err := c.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestCloseGivesUpOnStuckHandlers(t *testing.T) {
	s, l := newStub(t), &log{}
	o := options(s, l)
	o.DrainTimeout = 10 * time.Millisecond
	c, err := client.Dial(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	if err := c.Subscribe(within(t), "t", func(client.Message) { <-release }); err != nil {
		t.Fatal(err)
	}
	s.push("t", "1")
	s.push("t", "2")
	wait(t, "the messages", func() bool { return c.Stats().Received == 2 })
	if err := c.Close(); !errors.Is(err, client.ErrDrainTimeout) {
		t.Errorf("Close: %v", err)
	}
	close(release)
	<-c.Done()
	if stats := c.Stats(); stats.Delivered != 1 || stats.Dropped != 1 {
		t.Errorf("stats %+v, want one delivered and one dropped", stats)
	}
	if dropped, _ := l.find(client.EventDropped); dropped.Dropped != 1 {
		t.Errorf("log %v", l.all())
	}
}

func TestCloseBeforeRun(t *testing.T) {
	s := newStub(t)
	c, err := client.New(options(s, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if err := c.Subscribe(within(t), "t", func(client.Message) {}); !errors.Is(err, client.ErrClosed) {
		t.Errorf("subscribe: %v", err)
	}
	if err := c.Publish(within(t), "t", []byte("1")); !errors.Is(err, client.ErrClosed) {
		t.Errorf("publish: %v", err)
	}
}

func TestQueuePolicies(t *testing.T) {
	tests := []struct {
		policy client.QueuePolicy
		want   []string
	}{
		{client.QueueDropOldest, []string{"t=0", "<dropped>", "t=6", "t=7", "t=8", "t=9"}},
		{client.QueueDropNewest, []string{"t=0", "t=1", "t=2", "t=3", "t=4", "<dropped>"}},
		{client.QueueBlock, []string{"t=0", "t=1", "t=2", "t=3", "t=4", "t=5", "t=6", "t=7", "t=8", "t=9"}},
	}
	for _, tt := range tests {
		t.Run(string(tt.policy), func(t *testing.T) {
			s, l := newStub(t), &log{}
			o := options(s, l)
			o.QueueMessages, o.QueuePolicy = 4, tt.policy
			c := dial(t, o)
			busy, release := make(chan struct{}), make(chan struct{})
			var once sync.Once
			if err := c.Subscribe(within(t), "t", func(m client.Message) {
				once.Do(func() { close(busy); <-release })
				l.message(m)
			}); err != nil {
				t.Fatal(err)
			}
			s.push("t", "0")
			<-busy
			for i := 1; i < 10; i++ {
				s.push("t", fmt.Sprint(i))
			}
			// With QueueBlock the reader holds the sixth message and reads no further.
			received := uint64(10)
			if tt.policy == client.QueueBlock {
				received = 6
			}
			wait(t, "the reader", func() bool { return c.Stats().Received == received })
			close(release)
			wait(t, "the handlers", func() bool { return len(l.all()) == len(tt.want)+1 })
			if got := l.all()[1:]; !slices.Equal(got, tt.want) {
				t.Errorf("handled %v, want %v", got, tt.want)
			}
			if stats := c.Stats(); stats.Dropped+stats.Delivered != 10 {
				t.Errorf("stats %+v do not add up to 10", stats)
			}
		})
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

func TestOptionsValidate(t *testing.T) {
	valid := client.DefaultOptions()
	valid.URL = "ws://127.0.0.1:9999/ws"
	if err := valid.Validate(); err != nil {
		t.Fatalf("the defaults: %v", err)
	}
	tests := []struct {
		name, want string
		change     func(*client.Options)
	}{
		{"no URL", `url: must be ws://host:port/path or wss://, got ""`, func(o *client.Options) { o.URL = "" }},
		{"HTTP", `got "http://x/"`, func(o *client.Options) { o.URL = "http://x/" }},
		{"negative time", "writeTimeout: must be > 0s, got -1s", func(o *client.Options) { o.WriteTimeout = -time.Second }},
		{"read before ping", "readTimeout: must be > pingInterval", func(o *client.Options) { o.ReadTimeout = time.Second }},
		{"backoff upside down", "backoffMax: must be >= backoffMin", func(o *client.Options) { o.BackoffMax = 1 }},
		{"message bound", "maxMessageBytes", func(o *client.Options) { o.MaxMessageBytes = -1 }},
		{"attempts", "maxAttempts", func(o *client.Options) { o.MaxAttempts = -1 }},
		{"queue bound", "queueMessages", func(o *client.Options) { o.QueueMessages = -1 }},
		{"queue bytes", "queueBytes", func(o *client.Options) { o.QueueBytes = -1 }},
		{"policy", `queuePolicy: must be block, drop-oldest or drop-newest, got "lose"`, func(o *client.Options) { o.QueuePolicy = "lose" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := valid
			tt.change(&o)
			_, err := client.New(o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
