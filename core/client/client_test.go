package client_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"firetower/core/client"
)

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
