package client_test

import (
	"errors"
	"testing"

	"firetower/core/client"
	"firetower/core/protocol"
)

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
