package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"firetower/core/client"
	"firetower/core/protocol"
)

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
