package manager_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"firetower/core/manager"
	"firetower/core/topicpb"
)

func TestOptions_Validate(t *testing.T) {
	if err := manager.DefaultOptions().Validate(); err != nil {
		t.Fatalf("the defaults: %v", err)
	}
	for _, tc := range []struct {
		name   string
		change func(*manager.Options)
		want   []string // what the error says; none: valid
	}{
		{"no HTTP", func(o *manager.Options) { o.HTTPAddr = "" }, nil},
		{"every problem at once", func(o *manager.Options) {
			o.LinkAddr, o.GRPCAddr, o.HTTPAddr = "6666", "", "x"
			o.Heartbeat, o.DetachGrace = 0, -1
			o.MaxGateways = 0
		}, []string{
			`manager.link_addr: must be host:port, got "6666"`, `manager.grpc_addr: must be host:port, got ""`, `manager.http_addr`,
			"manager.heartbeat: must be >= 10ms, got 0s", "manager.detach_grace", "manager.max_gateways: must be >= 1, got 0",
		}},
		{"queue below a packet", func(o *manager.Options) { o.QueueBytes = 1 << 20 }, []string{"manager.queue_bytes: must be >= max_packet_bytes (8388608)"}},
		{"token with a space, not shown", func(o *manager.Options) { o.Token = "se cret" }, []string{"manager.token"}},
		{"topic longer than a header line", func(o *manager.Options) { o.MaxTopicBytes = 4096 }, []string{"manager.max_topic_bytes: must be <= 2048, got 4096"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			opt := manager.DefaultOptions()
			tc.change(&opt)
			err := opt.Validate()
			if (err == nil) != (len(tc.want) == 0) {
				t.Fatalf("err = %v", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("err = %v, want it to say %q", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "se cret") {
				t.Error("the error shows the token")
			}
			if _, newErr := manager.New(opt); (newErr == nil) != (err == nil) {
				t.Errorf("New = %v, Validate = %v", newErr, err)
			}
		})
	}
}

func TestRun_AddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	opt := manager.DefaultOptions()
	opt.LinkAddr, opt.GRPCAddr, opt.HTTPAddr = "127.0.0.1:0", "127.0.0.1:0", taken.Addr().String()
	m, err := manager.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "listen for http") {
		t.Fatalf("Run = %v, want it to name what could not listen", err)
	}
	if err := m.Run(context.Background()); !errors.Is(err, manager.ErrAlreadyRun) {
		t.Fatalf("second Run = %v, want ErrAlreadyRun", err)
	}
}

// TestRun_EndsWithItsContext, however early, and however that is ended: a cause,
// such as signal.NotifyContext gives, is no failure.
func TestRun_EndsWithItsContext(t *testing.T) {
	for range 20 {
		opt := manager.DefaultOptions()
		opt.LinkAddr, opt.GRPCAddr, opt.HTTPAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		opt.Logger = testLogger(t)
		m, err := manager.New(opt)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		<-m.Ready()
		cancel(errors.New("interrupt signal received"))
		if err := <-ended; err != nil {
			t.Fatalf("Run = %v", err)
		}
	}
}

// TestRun_DrainFlushesTheLinks: what was accepted is delivered, gateways are told,
// calls are refused, and an idle stream does not hold the manager up.
func TestRun_DrainFlushesTheLinks(t *testing.T) {
	h := startHub(t, nil)
	g := dialLink(t, h.Addrs().Link.String())
	g.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: 1}, topics: map[string]int64{"room": 1}})
	silent := dialLink(t, h.Addrs().Link.String()) // has not said what it is

	stream, err := h.rpc.PublishStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat("x", 32<<10)
	want := numbered(body, 600) // some 20 MB: more than the sockets hold
	for _, m := range want {
		if err := stream.Send(&topicpb.PublishRequest{Topic: "room", Data: []byte(m)}); err != nil {
			t.Fatal(err)
		}
		if res, err := stream.Recv(); err != nil || !res.GetOk() {
			t.Fatalf("publish = %v, %v", res, err)
		}
	}
	stopped := make(chan error, 1)
	go func() { stopped <- h.stop() }()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Fatalf("the idle stream ended with %v, want Unavailable", err)
	}
	g.listen()
	if refuse, err := g.ended(); refuse.GetCode() != "draining" || !errors.Is(err, io.EOF) {
		t.Fatalf("the link ended with %v and %v, want draining and EOF", refuse, err)
	}
	if !slices.Equal(g.bodies("room"), want) {
		t.Fatalf("%d messages of %d came before the end", len(g.bodies("room")), len(want))
	}
	if refuse := silent.awaitClosed(); refuse != nil {
		t.Fatalf("a link that may be an older gateway was told %v, which that does not know", refuse)
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

// TestRun_DrainTimeout: a gateway that does not read does not hold the manager up
// for longer than that.
func TestRun_DrainTimeout(t *testing.T) {
	h := startHub(t, func(o *manager.Options) { o.DrainTimeout = 50 * time.Millisecond })
	g := dialLink(t, h.Addrs().Link.String())
	g.conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	g.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: 1}, topics: map[string]int64{"room": 1}})
	for range 300 {
		h.publish("room", strings.Repeat("x", 64<<10))
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
}
