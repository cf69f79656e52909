package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"

	"firetower/core/protocol"
	"firetower/core/topicpb"
)

// Gateway holds client connections and fans messages out to them.
type Gateway struct {
	opts          Options
	log           *slog.Logger
	clock         clock
	metrics       *metrics
	registry      *prometheus.Registry
	towers        *TowerManager
	registrar     *registrar
	link          *link            // nil when the gateway runs alone
	grpc          *grpc.ClientConn // nil when the gateway runs alone
	poller        *poller          // nil where connections have goroutines
	admission     admission
	trusted       networks
	certificates  *certificates // nil without TLS
	upgrader      websocket.Upgrader
	readers       readers
	requestLimits protocol.RequestLimits
	readBuffers   readBuffers
	compressor    *compressor // nil where compression is not enabled
	inflaters     inflaters
	connIDs       atomic.Uint64
	messageIDs    atomic.Uint64
	epochs        atomic.Int64
	flushers      sync.WaitGroup

	// runCtx ends when everything must, after the drain.
	runCtx    context.Context
	runCancel context.CancelFunc
	// serveCtx ends when the drain begins: nobody waits for the manager any more.
	serveCtx    context.Context
	serveCancel context.CancelFunc
	started     atomic.Bool
	draining    atomic.Bool
	ready       chan struct{}
	listener    atomic.Pointer[net.Listener]
	admin       atomic.Pointer[net.Listener]
}

// New makes a gateway. Nothing listens or dials before Run.
func New(o Options) (*Gateway, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("gateway: options: %w", err)
	}
	o.AllowedOrigins, o.FlushTopics = slices.Clone(o.AllowedOrigins), slices.Clone(o.FlushTopics)
	o.Proxy.Trusted = slices.Clone(o.Proxy.Trusted)
	o.Bucket.resolve()
	if o.ClusterID == "" {
		o.ClusterID = generateClusterID()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{
		opts:     o,
		log:      o.Logger,
		clock:    newClock(),
		metrics:  newMetrics(),
		registry: o.Registry,
		ready:    make(chan struct{}),
		requestLimits: protocol.RequestLimits{
			MaxTopics: o.Limits.MaxTopicsPerConn, MaxTopicBytes: o.Limits.MaxTopicBytes,
		},
	}
	g.admission.init(o.Admission, &g.clock)
	g.trusted, _ = parseNetworks(o.Proxy.Trusted) // Validate has seen to it
	if o.TLS.enabled() {
		certificates, err := newCertificates(o.TLS, o.Logger)
		if err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
		g.certificates = certificates
	}
	g.epochs.Store(time.Now().UnixNano())
	g.runCtx, g.runCancel = context.WithCancel(context.Background())
	g.serveCtx, g.serveCancel = context.WithCancel(g.runCtx)
	g.compressor = newCompressor(o.Compression, g.metrics, &g.clock)
	g.towers = newTowerManager(g)
	g.registrar = newRegistrar(g, g.towers.index)
	poller, err := newPoller()
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	made := false
	defer func() { // what is open when it fails after all
		if !made && poller != nil {
			poller.close()
		}
		if !made && g.grpc != nil {
			_ = g.grpc.Close()
		}
	}()
	if o.ManagerLink != "" {
		conn, err := dialManager(&o)
		if err != nil {
			return nil, fmt.Errorf("gateway: manager gRPC address %q: %w", o.ManagerGRPC, err)
		}
		g.grpc = conn
		g.registrar.client = topicpb.NewTopicServiceClient(conn)
		g.link = newLink(g)
	}
	if g.registry == nil {
		g.registry = prometheus.NewRegistry()
	}
	if err := g.registry.Register(newCollector(g)); err != nil {
		return nil, fmt.Errorf("gateway: metrics: %w", err)
	}
	g.poller = poller
	g.upgrader = g.newUpgrader()
	g.readers.gateway = g
	g.readers.upgrader = &websocket.Upgrader{WriteBufferPool: new(sync.Pool), CheckOrigin: func(*http.Request) bool { return true }}
	made = true
	return g, nil
}

// A gRPC connection on which nothing comes is probed, and given up without an answer. What waits
// on a host that has vanished would otherwise wait as long as TCP repeats itself, a quarter of an
// hour on Linux. The manager lets callers probe each 5s, and gRPC lets nobody more often than this.
const (
	grpcIdleProbe   = 10 * time.Second
	grpcProbeAnswer = 5 * time.Second
)

// dialManager makes the gRPC client of the manager. It dials when it is used, and again as often
// as the link: calls must not fail for minutes after the manager is back, which gRPC's own waits
// of up to two minutes would have them do.
func dialManager(o *Options, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	redial := grpcbackoff.DefaultConfig
	redial.BaseDelay, redial.MaxDelay = o.RedialMin, o.RedialMax
	return grpc.NewClient(managerTarget(o.ManagerGRPC), append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(bearer(o.Token)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: redial, MinConnectTimeout: o.HandshakeTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: grpcIdleProbe, Timeout: grpcProbeAnswer, PermitWithoutStream: true,
		}),
	}, more...)...)
}

// managerTarget has the manager's name looked up at each dial, as the link does. gRPC's own
// resolver keeps an answer for half a minute, and after lookups that failed, as they do where the
// name goes with the manager, waits for up to two minutes whatever the ConnectParams are. An
// address that names its resolver ("dns:///manager:6667") has that.
func managerTarget(address string) string {
	if u, err := url.Parse(address); err == nil && resolver.Get(u.Scheme) != nil {
		return address
	}
	return "passthrough:///" + address
}

// bearer puts the shared token on each call to the manager.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if b == "" {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: gateway and
// manager share a trusted network.
func (bearer) RequireTransportSecurity() bool { return false }

// Run serves until ctx ends and then drains: it stops accepting, tells clients to
// come back (close code 1012), writes what waits, and returns when every
// goroutine that it started has ended. It is to be called once.
func (g *Gateway) Run(ctx context.Context) error {
	if !g.started.CompareAndSwap(false, true) {
		return errors.New("gateway: Run was called before")
	}
	defer g.runCancel()
	if g.grpc != nil {
		defer g.grpc.Close()
	}
	if g.poller != nil {
		defer g.poller.close()
	}
	servers, err := g.listen()
	if err != nil {
		return err
	}

	var background sync.WaitGroup
	start := func(role string, f func(context.Context)) {
		background.Add(1)
		labelled(role, "", func() {
			defer background.Done()
			f(g.runCtx)
		})
	}
	g.towers.start()
	start("heartbeat", g.heartbeatLoop)
	if g.poller != nil {
		start("poller", func(context.Context) { g.poller.run() })
	}
	if g.link != nil {
		start("link", g.link.run)
		start("registrar", g.registrar.run)
	}
	if g.certificates != nil && g.opts.TLS.ReloadInterval > 0 {
		start("certificates", g.certificates.watch)
	}
	failed := make(chan error, len(servers))
	for _, s := range servers {
		start("http-"+s.name, func(context.Context) {
			if err := s.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("gateway: serve %s: %w", s.listener.Addr(), err)
			}
		})
	}
	start("ready", g.announceReady)

	select {
	case <-ctx.Done():
	case err = <-failed:
	}

	g.log.Info("gateway draining", "connections", g.towers.count.Load(), "timeout", g.opts.DrainTimeout)
	// The order of the end: no new connections; clients told and their messages
	// written; what they published passed on; then everything else.
	g.draining.Store(true)
	for _, s := range servers {
		if s.name == "websocket" {
			_ = s.Close() // hijacked connections are not its own any more
		}
	}
	g.serveCancel()
	begun := time.Now()
	deadline := begun.Add(g.opts.DrainTimeout)
	g.towers.flushWindows()
	g.towers.settle(begun.Add(g.opts.DrainTimeout / 2))
	drainErr := g.towers.drain(deadline, g.opts.CloseTimeout, g.opts.RetryWindow)
	if g.link != nil {
		g.link.flush(max(time.Until(deadline), g.opts.CloseTimeout))
	}
	g.towers.central.close()
	g.runCancel()
	if g.poller != nil {
		g.poller.close()
	}
	for _, s := range servers {
		_ = s.Close()
	}
	background.Wait()
	g.towers.stop()
	if drainErr == nil {
		g.flushers.Wait()
	}
	g.log.Info("gateway stopped")
	return errors.Join(err, drainErr)
}

// announceReady closes ready once the link stands.
func (g *Gateway) announceReady(ctx context.Context) {
	if g.link != nil {
		select {
		case <-g.link.firstUp:
		case <-ctx.Done():
			return
		}
	}
	close(g.ready)
}

// Ready is closed when the gateway listens and the manager knows it.
func (g *Gateway) Ready() <-chan struct{} { return g.ready }

// Addr is where WebSocket clients connect; nil before Run or without Options.Listen.
func (g *Gateway) Addr() net.Addr { return addrOf(&g.listener) }

// HTTPAddr is where /metrics is; nil before Run or without Options.HTTPAddr.
func (g *Gateway) HTTPAddr() net.Addr { return addrOf(&g.admin) }

func addrOf(p *atomic.Pointer[net.Listener]) net.Addr {
	if l := p.Load(); l != nil {
		return (*l).Addr()
	}
	return nil
}

// ClusterID is the gateway's name at the manager.
func (g *Gateway) ClusterID() string { return g.opts.ClusterID }

// Registry holds the gateway's metrics.
func (g *Gateway) Registry() *prometheus.Registry { return g.registry }

// Towers is the manager of the gateway's connections.
func (g *Gateway) Towers() *TowerManager { return g.towers }

// linked tells whether messages can be exchanged with the manager, or need none.
func (g *Gateway) linked() bool { return g.link == nil || g.link.up.Load() }

// nextEpoch names a session; it grows with each, also from one process to the next.
func (g *Gateway) nextEpoch() int64 {
	for {
		last := g.epochs.Load()
		next := max(last+1, time.Now().UnixNano())
		if g.epochs.CompareAndSwap(last, next) {
			return next
		}
	}
}

// Publish sends data to every subscriber of a topic, on every gateway. It
// returns when the message is on its way to the manager, or, in a gateway that
// runs alone, to the Buckets.
func (g *Gateway) Publish(topic string, data []byte) error {
	return g.publishChecked(topic, data, protocol.SourcePlatform)
}

func (g *Gateway) publishChecked(topic string, data []byte, source protocol.Source) error {
	if err := protocol.ValidTopic(topic, g.opts.Limits.MaxTopicBytes); err != nil {
		return err
	}
	return g.publish(topic, slices.Clone(data), source)
}

// publish sends a message on; data must not change any more.
func (g *Gateway) publish(topic string, data []byte, source protocol.Source) error {
	g.metrics.published.Add(1)
	if g.link == nil {
		if !g.towers.dispatch(&push{topic: topic, data: data, arrived: g.clock.now()}, writing{inline: true}) {
			return ErrStopped
		}
		return nil
	}
	packet, err := protocol.Enpack(protocol.Packet{
		Type: protocol.PublishKey, MessageID: g.messageID(), Source: source, Topic: topic, Body: data,
	})
	if err != nil {
		return err
	}
	return g.link.send(packet)
}

// messageID is unique over all gateways with unique ClusterIDs.
func (g *Gateway) messageID() string {
	return g.opts.ClusterID + "." + strconv.FormatUint(g.messageIDs.Add(1), 36)
}

// GetConnectNum returns how many connections subscribe to a topic, on every gateway.
func (g *Gateway) GetConnectNum(ctx context.Context, topic string) (int64, error) {
	if g.link == nil {
		return int64(len(g.towers.subscriptionsOf(topic))), nil
	}
	r, err := g.registrar.client.GetConnectNum(ctx, &topicpb.GetConnectNumRequest{Topic: topic})
	if err != nil {
		return 0, fmt.Errorf("gateway: connections of %q: %w", topic, err)
	}
	return r.Number, nil
}

// CheckTopicExist tells whether a topic has subscribers on any gateway.
func (g *Gateway) CheckTopicExist(ctx context.Context, topic string) (bool, error) {
	if g.link == nil {
		return len(g.towers.subscriptionsOf(topic)) > 0, nil
	}
	r, err := g.registrar.client.CheckTopicExist(ctx, &topicpb.CheckTopicExistRequest{Topic: topic})
	if err != nil {
		return false, fmt.Errorf("gateway: check topic %q: %w", topic, err)
	}
	return r.Ok, nil
}

// order carries out an offline order of the manager. It runs beside the link's
// reader, since the application's handlers may take their time.
func (g *Gateway) order(ctx context.Context, p protocol.Packet) {
	g.flushers.Add(1)
	labelled("offline-order", "", func() {
		defer g.flushers.Done()
		n, user := 0, string(p.Body)
		switch p.Type {
		case protocol.OfflineTopicKey:
			user = "" // the body is for decoders that want one
			n = g.towers.OfflineTopic(p.Topic)
		case protocol.OfflineTopicByUserIDKey:
			n = g.towers.OfflineTopicByUserID(p.Topic, user)
		case protocol.OfflineUserKey:
			n = g.towers.OfflineUser(user)
		default: // the link's reader passes on no other
		}
		g.log.InfoContext(ctx, "offline order carried out", "type", string(p.Type), "topic", p.Topic, "user", user, "connections", n)
	})
}

// labelled starts a goroutine whose role shows in profiles.
func labelled(role, name string, f func()) {
	labels := pprof.Labels("role", role, "name", name)
	go pprof.Do(context.Background(), labels, func(context.Context) { f() })
}

func bucketName(index int) string { return strconv.Itoa(index) }

// clock counts nanoseconds since the gateway was made, on the monotonic clock.
type clock struct{ base time.Time }

func newClock() clock { return clock{base: time.Now()} }

func (c *clock) now() int64 { return int64(time.Since(c.base)) }

func (c *clock) time(ns int64) time.Time { return c.base.Add(time.Duration(ns)) }
