package coretest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"firetower/core/gateway"
	"firetower/core/manager"
	"firetower/core/topicpb"
)

// Options shape a Cluster. The zero value is one gateway and a manager in the test's process.
type Options struct {
	// Gateways is the number of gateways; 0 means 1.
	Gateways int
	// ManagerProcess runs the manager in a child process, so that it can be killed. The package's
	// TestMain must call RunChild.
	ManagerProcess bool
	// ManagerDown starts the gateways without a manager; RestartManager starts it.
	ManagerDown bool
	// Manager and Gateway change the options that the servers start with.
	Manager func(*manager.Options)
	Gateway func(i int, o *gateway.Options)
}

// Cluster is a manager, gateways and the proxies between them. It ends with the test.
type Cluster struct {
	t              testing.TB
	options        Options
	managerOptions manager.Options
	link, rpc      *Proxy
	manager        runningManager // nil while it is down
	gateways       []*runningGateway
	conn           *grpc.ClientConn
}

type runningGateway struct {
	*gateway.Gateway
	cancel context.CancelFunc
	ended  chan error
}

// Start boots a Cluster and returns when every gateway is linked (at once with ManagerDown).
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Gateways == 0 {
		o.Gateways = 1
	}
	c := &Cluster{t: t, options: o, managerOptions: managerOptions(), link: NewProxy(t), rpc: NewProxy(t)}
	c.managerOptions.Logger = logger(t, "manager")
	if o.Manager != nil {
		o.Manager(&c.managerOptions)
	}
	if !o.ManagerDown {
		c.RestartManager()
	}
	t.Cleanup(func() {
		if c.manager != nil {
			c.StopManager()
		}
	})
	conn, err := grpc.NewClient(c.rpc.Addr(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			// A restarted manager is to be found soon, not after gRPC's usual second and more.
			Backoff:           backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.5, MaxDelay: 100 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		t.Fatalf("coretest: %v", err)
	}
	c.conn = conn
	t.Cleanup(func() { conn.Close() })
	t.Cleanup(c.stopGateways)
	for i := range o.Gateways {
		c.gateways = append(c.gateways, c.startGateway(i))
	}
	if !o.ManagerDown {
		c.WaitLinked()
	}
	return c
}

// managerOptions are quick ones: heartbeats that tests can wait for.
func managerOptions() manager.Options {
	o := manager.DefaultOptions()
	o.LinkAddr, o.GRPCAddr, o.HTTPAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	o.Heartbeat = 500 * time.Millisecond
	o.DrainTimeout = 5 * time.Second
	return o
}

// logger writes what a server says into the output of the test, which is shown when it fails.
func logger(t testing.TB, who string) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), nil)).With("server", who)
}

func gatewayOptions(i int) gateway.Options {
	o := gateway.DefaultOptions()
	o.Listen = "127.0.0.1:0"
	o.ClusterID = fmt.Sprintf("gateway-%d", i)
	o.LinkHeartbeat = 500 * time.Millisecond
	o.RedialMin, o.RedialMax = 5*time.Millisecond, 100*time.Millisecond
	o.CloseTimeout = 500 * time.Millisecond
	o.DrainTimeout = 5 * time.Second
	return o
}

func (c *Cluster) startGateway(i int) *runningGateway {
	c.t.Helper()
	o := gatewayOptions(i)
	o.ManagerLink, o.ManagerGRPC = c.link.Addr(), c.rpc.Addr()
	o.Logger = logger(c.t, o.ClusterID)
	if c.options.Gateway != nil {
		c.options.Gateway(i, &o)
	}
	g, err := gateway.New(o)
	if err != nil {
		c.t.Fatalf("coretest: gateway %d: %v", i, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	running := &runningGateway{Gateway: g, cancel: cancel, ended: make(chan error, 1)}
	go func() { running.ended <- g.Run(ctx) }()
	Eventually(c.t, fmt.Sprintf("gateway %d listens", i), func() bool { return g.Addr() != nil })
	return running
}

func (c *Cluster) stopGateways() {
	for i := range c.gateways {
		c.stopGateway(i)
	}
}

// stopGateway stops a gateway in order: its clients are told to come back later.
func (c *Cluster) stopGateway(i int) {
	c.t.Helper()
	g := c.gateways[i]
	g.cancel()
	if err := <-g.ended; err != nil {
		c.t.Errorf("coretest: gateway %d: %v", i, err)
	}
}

// RestartGateway stops a gateway in order and starts another in its place, with the same name and
// at another address (see URL). It returns when that is linked.
func (c *Cluster) RestartGateway(i int) {
	c.t.Helper()
	c.stopGateway(i)
	c.gateways[i] = c.startGateway(i)
	c.WaitLinked()
}

// Gateway returns a gateway.
func (c *Cluster) Gateway(i int) *gateway.Gateway { return c.gateways[i].Gateway }

// URL is where clients of a gateway connect.
func (c *Cluster) URL(i int) string { return "ws://" + c.gateways[i].Addr().String() + "/ws" }

// Alive tells whether every gateway still runs.
func (c *Cluster) Alive() bool {
	for i, g := range c.gateways {
		select {
		case err := <-g.ended:
			g.ended <- err
			c.t.Errorf("coretest: gateway %d has ended: %v", i, err)
			return false
		default:
		}
	}
	return true
}

// Link is the proxy between the gateways' links and the manager, RPC the one of the gRPC calls.
func (c *Cluster) Link() *Proxy { return c.link }

// RPC is the proxy between all gRPC calls and the manager.
func (c *Cluster) RPC() *Proxy { return c.rpc }

// Manager returns the addresses of the manager that is up, without the proxies.
func (c *Cluster) Manager() Addrs {
	c.t.Helper()
	if c.manager == nil {
		c.t.Fatal("coretest: no manager is up")
	}
	return c.manager.addrs()
}

// StopManager ends the manager in order.
func (c *Cluster) StopManager() { c.down(runningManager.stop) }

// KillManager ends the manager as a crash would: nothing is said to anybody.
func (c *Cluster) KillManager() { c.down(runningManager.kill) }

func (c *Cluster) down(end func(runningManager, testing.TB)) {
	c.t.Helper()
	if c.manager == nil {
		c.t.Fatal("coretest: no manager is up")
	}
	m := c.manager
	c.manager = nil
	c.link.SetTarget("")
	c.rpc.SetTarget("")
	end(m, c.t)
	c.link.Cut()
	c.rpc.Cut()
}

// RestartManager starts a manager that knows nothing of the ones before, in order to stop what runs.
func (c *Cluster) RestartManager() {
	c.t.Helper()
	if c.manager != nil {
		c.StopManager()
	}
	start := startLocalManager
	if c.options.ManagerProcess {
		start = startChildManager
	}
	c.manager = start(c.t, c.managerOptions)
	c.link.SetTarget(c.manager.addrs().Link)
	c.rpc.SetTarget(c.manager.addrs().GRPC)
}

// WaitLinked returns when every gateway has a link that stands.
func (c *Cluster) WaitLinked() {
	c.t.Helper()
	Eventually(c.t, "every gateway has its link", func() bool {
		for _, g := range c.gateways {
			if !g.Stats().LinkUp {
				return false
			}
		}
		return true
	})
}

// Service is the manager's gRPC service; over restarts it stays the same.
func (c *Cluster) Service() topicpb.TopicServiceClient { return topicpb.NewTopicServiceClient(c.conn) }

// Publish publishes over gRPC and fails the test when the manager does not take the message.
func (c *Cluster) Publish(topic, data string) *topicpb.PublishResponse {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	resp, err := c.Service().Publish(ctx, &topicpb.PublishRequest{Topic: topic, Data: []byte(data)})
	if err != nil {
		c.t.Fatalf("coretest: publish to %q: %v", topic, err)
	}
	return resp
}

// PublishBatch publishes messages of one topic over gRPC in one call, in their order, and fails the
// test when the manager does not take them all.
func (c *Cluster) PublishBatch(topic string, data []string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	batch := &topicpb.PublishBatchRequest{}
	for _, d := range data {
		batch.Messages = append(batch.Messages, &topicpb.PublishRequest{Topic: topic, Data: []byte(d)})
	}
	resp, err := c.Service().PublishBatch(ctx, batch)
	if err != nil {
		c.t.Fatalf("coretest: publish to %q: %v", topic, err)
	}
	for i, result := range resp.Results {
		if !result.Ok {
			c.t.Fatalf("coretest: publish to %q: message %d: %s", topic, i, result.Error)
		}
	}
}

// Subscribers returns how many connections subscribe to a topic, as the manager knows it.
func (c *Cluster) Subscribers(topic string) int64 {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	resp, err := c.Service().GetConnectNum(ctx, &topicpb.GetConnectNumRequest{Topic: topic})
	if err != nil {
		c.t.Fatalf("coretest: subscribers of %q: %v", topic, err)
	}
	return resp.Number
}
