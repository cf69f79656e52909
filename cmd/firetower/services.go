package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"firetower/config"
	"firetower/core/gateway"
	"firetower/core/manager"
)

// announcement is the one line that a service writes to standard output with
// --announce once it is ready: for the process that started it.
type announcement struct {
	Event string `json:"event"`
	Role  string `json:"role"`
	PID   int    `json:"pid"`
	// Link, GRPC and HTTP are a manager's addresses; HTTP is also a gateway's.
	Link string `json:"link,omitempty"`
	GRPC string `json:"grpc,omitempty"`
	// Listen is where WebSocket clients connect.
	Listen string `json:"listen,omitempty"`
	HTTP   string `json:"http,omitempty"`
}

// announce writes the line.
func announce(g *globalState, a announcement) error {
	a.Event, a.PID = "ready", g.pid
	line, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if _, err := g.stdout.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	return nil
}

// announceFlag gives cmd --announce.
func announceFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("announce", false, "print one line of JSON with all addresses to standard output once ready")
}

// stopText is what the help of every service says of its end.
const stopText = `
The first SIGINT or SIGTERM stops it in good order within drain.timeout: exit
code 0. The second ends it at once: exit code 105.`

// newLogger makes the log of a service.
func newLogger(g *globalState, c config.Log) *slog.Logger {
	opts := &slog.HandlerOptions{}
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	opts.Level = levels[c.Level]
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(g.stderr, opts))
	}
	return slog.New(slog.NewTextHandler(g.stderr, opts))
}

// runtimeMetrics are those of Go's runtime that tell what the garbage collector and the
// scheduler cost a delivery: the collector's CPU time, its pauses, and how long goroutines
// that could run waited for a thread.
var runtimeMetrics = regexp.MustCompile(`^/cpu/classes/gc/|^/sched/(latencies|pauses/total/gc):`)

// newRegistry takes the metrics of all that runs in this process.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(
		collectors.GoRuntimeMetricsRule{Matcher: runtimeMetrics})), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// managerOptions maps a configuration to what package manager takes.
func managerOptions(c *config.Manager) manager.Options {
	o := manager.DefaultOptions()
	o.LinkAddr = c.SocketAddress.String()
	o.GRPCAddr = c.GRPCAddress.String()
	o.HTTPAddr = c.HTTP.Address.String()
	o.Token = c.Link.Token
	o.Heartbeat = c.Heartbeat
	o.HandshakeTimeout = c.Link.HandshakeTimeout
	o.WriteTimeout = c.Link.WriteTimeout
	o.DetachGrace = c.Link.DetachGrace
	o.DrainTimeout = c.DrainTimeout
	o.MaxPacketBytes = c.Limits.MaxPacketBytes
	o.MaxTopicBytes = c.Limits.MaxTopicBytes
	o.MaxTopicsPerGateway = c.Limits.MaxTopicsPerGateway
	o.MaxGateways = c.Limits.MaxGateways
	o.QueueMessages = c.Link.QueueMessages
	o.QueueBytes = c.Link.QueueBytes
	o.PprofEnabled = c.HTTP.Pprof
	o.Version = readBuildInfo().short()
	return o
}

// gatewayOptions maps a configuration to what package gateway takes.
func gatewayOptions(c *config.Gateway) gateway.Options {
	o := gateway.DefaultOptions()
	o.Listen = c.Gateway.Listen.String()
	o.HTTPAddr = c.HTTP.Address.String()
	o.Path = c.Gateway.Path
	o.ManagerLink = c.TopicServiceAddr.String()
	o.ManagerGRPC = c.GRPCAddress.String()
	o.Token = c.Link.Token
	o.ClusterID = c.ClusterID
	o.ChanLens = c.ChanLens
	o.Heartbeat = c.Heartbeat
	o.LinkHeartbeat = c.Link.Heartbeat
	o.LinkQueueBytes = c.Link.QueueBytes
	o.MaxPacketBytes = c.Link.MaxPacketBytes
	o.RedialMin, o.RedialMax = c.Link.RedialMin, c.Link.RedialMax
	o.Bucket = gateway.BucketOptions{
		Num: c.Bucket.Num, CentralChanCount: c.Bucket.CentralChanCount, CentralBytes: c.Bucket.CentralBytes,
		BuffChanCount: c.Bucket.BuffChanCount, ConsumerNum: c.Bucket.ConsumerNum,
		InlineSubscribers: c.Bucket.InlineSubscribers,
	}
	o.Limits = gateway.Limits{
		MaxFrameBytes: c.Limits.MaxFrameBytes, MaxTopicsPerConn: c.Limits.MaxTopicsPerConn,
		MaxTopicBytes: c.Limits.MaxTopicBytes, MaxConnections: c.Limits.MaxConnections, MaxConnectionsPerIP: c.Limits.MaxConnectionsPerIP,
		PendingBytes: c.SlowConsumer.PendingBytes, SocketBytes: c.SlowConsumer.SocketBytes, PendingAge: c.SlowConsumer.PendingAge,
	}
	o.SlowPolicy = gateway.SlowPolicy(c.SlowConsumer.Policy)
	o.TLS = gateway.TLSOptions{
		CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, MinVersion: c.TLS.MinVersion, ReloadInterval: c.TLS.ReloadInterval,
	}
	o.Proxy = gateway.ProxyOptions{
		Protocol: gateway.ProxyProtocol(c.Proxy.Protocol), Forwarded: gateway.ForwardedHeader(c.Proxy.Forwarded), Trusted: c.Proxy.Trusted,
	}
	o.Admission = gateway.AdmissionOptions{Handshakes: c.Admission.Handshakes, Rate: c.Admission.Rate}
	o.AllowedOrigins = c.Gateway.Origins
	o.UserHeader = c.Gateway.UserHeader
	o.ClientPublish = c.Gateway.ClientPublish
	o.HandshakeTimeout = c.Gateway.HandshakeTimeout
	o.FrameTimeout = c.Gateway.FrameTimeout
	o.SubscribeTimeout = c.Gateway.SubscribeTimeout
	o.CloseTimeout = c.Gateway.CloseTimeout
	o.DrainTimeout = c.Drain.Timeout
	o.RetryWindow = c.Drain.RetryWindow
	o.JoinBytes, o.JoinMessages = c.Bucket.JoinBytes, c.Bucket.JoinMessages
	o.BatchWrites = c.Bucket.BatchWrites
	o.FlushInterval, o.FlushTopics = c.Bucket.FlushInterval, c.Bucket.FlushTopics
	o.Compression = gateway.CompressionOptions{
		Enabled: c.Compression.Enabled, Threshold: c.Compression.Threshold, Level: c.Compression.Level,
	}
	o.PprofEnabled = c.HTTP.Pprof
	o.Version = readBuildInfo().short()
	return o
}

// listening is an address that a service listens on, and what moves it.
type listening struct{ addr, flag string }

// explainListen says what to do when an address cannot be listened on.
func explainListen(err error, at ...listening) error {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "listen" || op.Addr == nil {
		return err
	}
	move := "another address"
	_, port, _ := cutLast(op.Addr.String(), ":")
	for _, l := range at {
		if _, p, _ := cutLast(l.addr, ":"); p == port {
			move = "another with " + l.flag + " HOST:PORT"
			break
		}
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return withHint(err, "Something listens on %s already, perhaps another Firetower. Stop it, or choose %s; port 0 takes a free one.", op.Addr, move)
	case errors.Is(err, syscall.EACCES):
		return withHint(err, "This user may not listen on port %s. Choose %s, with a port above 1023.", port, move)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return withHint(err, "This machine has no address %s. Choose %s.", op.Addr, move)
	default:
		return err
	}
}

// addrText is an address, "" for none.
func addrText(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// service is what a command runs until its context ends.
type service interface {
	Run(ctx context.Context) error
	Ready() <-chan struct{}
}

// running is a service that has been started.
type running struct {
	service
	stop context.CancelFunc
	// ended is closed when the service has ended; err is then its error.
	ended chan struct{}
	err   error
}

// start runs s in its own goroutine until stop is called; the end of ctx is not
// its end, so that services can be stopped in order. What it starts and gives no role of
// its own shows as role in profiles.
func start(ctx context.Context, role string, s service) *running {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{service: s, stop: stop, ended: make(chan struct{})}
	go pprof.Do(ctx, pprof.Labels("role", role), func(ctx context.Context) {
		defer close(r.ended)
		r.err = s.Run(ctx)
	})
	return r
}

// awaitReady waits until the service is ready; false tells that it ended, or
// ctx did, before. A wait of more than patience is mentioned once by impatient.
func (r *running) awaitReady(ctx context.Context, patience <-chan time.Time, impatient func()) bool {
	for {
		select {
		case <-r.Ready():
			return true
		case <-r.ended:
			return false
		case <-ctx.Done():
			return false
		case <-patience:
			patience = nil
			impatient()
		}
	}
}

// finish stops the service and waits for its end.
func (r *running) finish() error {
	r.stop()
	<-r.ended
	return r.err
}

// warnOpen warns of a service that other machines can reach and that asks nobody
// for a token.
func warnOpen(log *slog.Logger, token string, at ...config.Address) {
	for _, a := range at {
		if a.On && !a.IsLoopback() && token == "" {
			log.Warn("anybody who reaches this address may publish, kick and pose as a gateway: "+
				"set link.tokenFile on the manager and its gateways", "address", a.String())
		}
	}
}

// warnNotices logs what a configuration says without effect.
func warnNotices(log *slog.Logger, notices []string) {
	for _, n := range notices {
		log.Warn("configuration without effect", "notice", n)
	}
}

// linkWait is how long a gateway may wait for its manager before it says what it
// is waiting for.
const linkWait = 2 * time.Second
