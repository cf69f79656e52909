package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"firetower/core/protocol"
)

// readBufferBytes is a connection's read buffer: enough for a request, since
// larger messages are read past it. Centrifugo and others take 1 to 4 KiB.
const readBufferBytes = 256

func (g *Gateway) newUpgrader(readBuffer int) websocket.Upgrader {
	return websocket.Upgrader{
		HandshakeTimeout: g.opts.HandshakeTimeout,
		ReadBufferSize:   readBuffer,
		WriteBufferSize:  1024,
		WriteBufferPool:  new(sync.Pool),
		Subprotocols:     []string{protocol.SubprotocolV1, protocol.SubprotocolV0},
		CheckOrigin:      g.originAllowed,
	}
}

// originAllowed keeps other sites' pages from using a visitor's browser to
// connect (RFC 6455 section 10.2).
func (g *Gateway) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(g.opts.AllowedOrigins, "*") {
		return true
	}
	if len(g.opts.AllowedOrigins) > 0 {
		return slices.ContainsFunc(g.opts.AllowedOrigins, func(allowed string) bool {
			return strings.EqualFold(strings.TrimSuffix(allowed, "/"), origin)
		})
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// Handler returns the WebSocket endpoint, for an application's own server.
func (g *Gateway) Handler() http.Handler { return http.HandlerFunc(g.serveWebSocket) }

// retryAfter is what a request that is not let in is told, in seconds
// (RFC 9110 section 10.2.3).
const retryAfter = "2"

func (g *Gateway) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	if err := g.towers.reserve(); err != nil {
		g.metrics.refusedUpgrade.Add(1)
		w.Header().Set("Retry-After", retryAfter)
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	taken := false
	defer func() { // also when the application's code panics
		if !taken {
			g.towers.release()
		}
	}()
	who, err := g.identify(r)
	if err != nil {
		g.metrics.refusedUpgrade.Add(1)
		g.log.Debug("connection refused", "remote", r.RemoteAddr, "err", err)
		http.Error(w, "not authenticated", http.StatusUnauthorized)
		return
	}
	upgrader := &g.upgrader
	if g.poller != nil {
		upgrader, w = &g.pollUpgrader, pollHijacker{w}
	}
	ws, compressed, err := g.upgrade(upgrader, w, r)
	if err != nil { // the upgrader has answered
		g.metrics.refusedUpgrade.Add(1)
		g.log.Debug("upgrade failed", "remote", r.RemoteAddr, "err", err)
		return
	}
	taken = true
	t, err := g.buildTower(ws, who, compressed)
	if err != nil {
		g.metrics.refusedUpgrade.Add(1)
		return
	}
	if f := g.opts.OnTower; f != nil {
		defer func() {
			if p := recover(); p != nil { // the HTTP server reports it
				t.Close(websocket.CloseInternalServerErr, "internal error")
				panic(p)
			}
		}()
		f(t)
	}
	// Not Run: this goroutine has the HTTP server's stack and buffers, which the
	// connection would hold on to for all its life.
	t.start()
}

func (g *Gateway) identify(r *http.Request) (Identity, error) {
	if f := g.opts.Authenticate; f != nil {
		return f(r)
	}
	if g.opts.UserHeader == "" {
		return Identity{}, nil
	}
	return Identity{UserID: strings.Clone(r.Header.Get(g.opts.UserHeader))}, nil
}

type namedServer struct {
	*http.Server
	name     string
	listener net.Listener
}

// listen opens the listeners that the options ask for.
func (g *Gateway) listen() ([]namedServer, error) {
	var servers []namedServer
	open := func(name, addr string, h http.Handler) (net.Listener, error) {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			for _, s := range servers {
				_ = s.listener.Close()
			}
			return nil, fmt.Errorf("gateway: listen for %s: %w", name, err)
		}
		servers = append(servers, namedServer{name: name, listener: l, Server: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: g.opts.HandshakeTimeout,
			IdleTimeout:       time.Minute,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		}})
		return l, nil
	}
	if g.opts.Listen != "" {
		mux := http.NewServeMux()
		mux.Handle(g.opts.Path, g.Handler())
		l, err := open("websocket", g.opts.Listen, mux)
		if err != nil {
			return nil, err
		}
		g.listener.Store(&l)
	}
	if g.opts.HTTPAddr != "" {
		l, err := open("admin", g.opts.HTTPAddr, g.AdminHandler())
		if err != nil {
			return nil, err
		}
		g.admin.Store(&l)
	}
	return servers, nil
}

// AdminHandler serves /healthz (the process lives), /readyz (it takes clients
// and the manager's link stands), /metrics, and /debug/pprof/ where enabled.
func (g *Gateway) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := g.readiness(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(g.registry, promhttp.HandlerOpts{}))
	if g.opts.PprofEnabled {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func (g *Gateway) readiness() error {
	switch {
	case g.draining.Load():
		return errors.New("draining")
	case !g.linked():
		return errors.New("no link to the manager")
	default:
		return g.towers.full()
	}
}
