// Package manager is the hub between gateways: it knows which gateway has
// subscribers of which topic, and hands every published message to just those.
//
// It owns the topic registry (topicRelevance), the TCP server of gateways' links
// (connectBucket), the gRPC TopicService, and an HTTP page with metrics and
// health. It knows nothing of WebSocket clients, of what is in a message, or of
// how gateways are built: it meets them on the wire only.
//
// # The path of a message
//
//	TopicService.Publish or a gateway's link (link.go)
//	  -> bus: packed once, or the packet as it came; the topic's order lock
//	  -> topicRelevance: which sessions have the topic
//	  -> linkQueue of each: bounded, never waited for
//	  -> a link at rest: one send(2) that never waits, by who publishes
//	  -> any other: its link writer, all that is queued in one writev(2)
//
// # Locks
//
// In the order in which they may be taken; what is not on a line together is
// never held together:
//
//	session.syncMu -> relevanceShard.mu
//	relevanceShard.order -> relevanceShard.mu
//	relevanceShard.order -> linkQueue.mu
//	connectBucket.mu
//	link.mu
//	overview.mu -> relevanceShard.mu
//
//	ackSet.mu
//	joinedAcks.mu
//
// No socket is touched under any of them. A gRPC answer is sent under joinedAcks.mu,
// which may wait for its publisher and for nobody else.
package manager

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
)

// Manager is one hub. Create it with New, and run it once.
type Manager struct {
	opt      Options
	log      *slog.Logger
	id       string
	started  time.Time
	registry *topicRelevance
	counter  *counters
	bus      *bus
	bucket   *connectBucket
	service  *topicService
	overview *overview
	metrics  *prometheus.Registry

	ready    chan struct{}
	draining atomic.Bool
	ran      atomic.Bool
	addrs    Addrs // set before ready is closed
}

// Addrs are the addresses that a manager listens on.
type Addrs struct {
	Link net.Addr
	GRPC net.Addr
	HTTP net.Addr // nil without HTTP
}

// ErrAlreadyRun says that Run was called twice.
var ErrAlreadyRun = errors.New("manager: Run may be called once")

// New makes a manager from valid options; it opens nothing yet.
func New(opt Options) (*Manager, error) {
	if err := opt.Validate(); err != nil {
		return nil, fmt.Errorf("manager: %w", err)
	}
	m := &Manager{
		opt:      opt,
		log:      opt.logger(),
		id:       newManagerID(),
		started:  time.Now(),
		registry: newTopicRelevance(opt.MaxTopicsPerGateway),
		counter:  newCounters(),
		metrics:  opt.Registry,
		ready:    make(chan struct{}),
	}
	m.overview = &overview{registry: m.registry}
	m.bus = &bus{registry: m.registry, counter: m.counter}
	m.bucket = newConnectBucket(opt, m.id, m.registry, m.counter, m.bus)
	m.service = newTopicService(opt, m.id, m.registry, m.bus, m.bucket)
	if err := m.register(); err != nil {
		return nil, fmt.Errorf("manager: metrics: %w", err)
	}
	return m, nil
}

// newManagerID names one life of a manager: a gateway sees by it that its old
// sessions are not known.
func newManagerID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// Ready is closed when the manager listens on all its addresses.
func (m *Manager) Ready() <-chan struct{} { return m.ready }

// Addrs tells the addresses that the manager listens on, with the ports that
// were picked for port 0. It may be called once Ready is closed.
func (m *Manager) Addrs() Addrs {
	select {
	case <-m.ready:
		return m.addrs
	default:
		return Addrs{}
	}
}

// Run listens and serves until ctx ends, then drains, and returns when every
// goroutine that it started has ended. It returns nil after a drain, and an
// error when it could not listen or a server failed.
//
// The order of the drain, all of it within DrainTimeout: readiness off; no new
// links; gRPC calls in work are answered, further ones refused; what is queued
// goes out on the links and each gateway is told that the manager goes; HTTP last,
// so that readiness can be seen to be off.
func (m *Manager) Run(ctx context.Context) error {
	if m.ran.Swap(true) {
		return ErrAlreadyRun
	}
	listeners, err := m.listen(ctx)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, 4) // one for each that is started

	var acceptors, others sync.WaitGroup
	start := func(wg *sync.WaitGroup, role string, run func(context.Context) error) {
		wg.Go(func() {
			pprof.Do(ctx, pprof.Labels("role", role), func(ctx context.Context) {
				if err := run(ctx); err != nil {
					failed <- fmt.Errorf("manager: %s: %w", role, err)
					stop()
				}
			})
		})
	}
	rpc := m.service.server()
	web := m.httpServer()
	start(&acceptors, "link_server", func(ctx context.Context) error { return m.bucket.serve(ctx, listeners.link) })
	start(&others, "grpc_server", func(context.Context) error {
		if err := rpc.Serve(rpcListener{listeners.grpc}); !errors.Is(err, grpc.ErrServerStopped) { // stopped before it served
			return err
		}
		return nil
	})
	start(&others, "check_heartbeat", func(ctx context.Context) error { m.bucket.checkHeartbeat(ctx); return nil })
	if listeners.http != nil {
		start(&others, "http_server", func(context.Context) error {
			if err := web.Serve(listeners.http); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	close(m.ready)
	m.log.Info("manager ready", "manager", m.id, "link", m.addrs.Link, "grpc", m.addrs.GRPC, "http", m.addrs.HTTP, "version", m.opt.Version)

	<-ctx.Done()
	m.log.Info("manager draining", "timeout", m.opt.DrainTimeout)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.opt.DrainTimeout)
	defer cancel()
	m.draining.Store(true)
	listeners.link.Close()
	acceptors.Wait()
	m.service.drain(drain, rpc)
	m.bucket.drain(drain)
	if web.Shutdown(drain) != nil {
		web.Close()
	}
	others.Wait()
	m.log.Info("manager stopped", "manager", m.id)
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// listeners are the sockets of a manager.
type listeners struct {
	link, grpc, http net.Listener // http may be nil
}

// listen opens all sockets, or none.
func (m *Manager) listen(ctx context.Context) (listeners, error) {
	var opened listeners
	var lc net.ListenConfig
	for _, at := range []struct {
		name, addr string
		to         *net.Listener
		is         *net.Addr
	}{
		{"link", m.opt.LinkAddr, &opened.link, &m.addrs.Link},
		{"grpc", m.opt.GRPCAddr, &opened.grpc, &m.addrs.GRPC},
		{"http", m.opt.HTTPAddr, &opened.http, &m.addrs.HTTP},
	} {
		if at.addr == "" {
			continue
		}
		l, err := lc.Listen(ctx, "tcp", at.addr)
		if err != nil {
			for _, l := range []net.Listener{opened.link, opened.grpc, opened.http} {
				if l != nil {
					l.Close()
				}
			}
			return listeners{}, fmt.Errorf("manager: listen for %s: %w", at.name, err)
		}
		*at.to, *at.is = l, l.Addr()
	}
	return opened, nil
}
