package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"firetower/core/protocol"
	"firetower/core/rawio"
)

// readBufferBytes is a stream's read buffer: enough for a request, since
// larger messages are read past it. Centrifugo and others take 1 to 4 KiB.
const readBufferBytes = 256

func (g *Gateway) newUpgrader() websocket.Upgrader {
	return websocket.Upgrader{
		HandshakeTimeout: g.opts.HandshakeTimeout,
		ReadBufferSize:   readBufferBytes,
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
func (g *Gateway) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.serveUpgrade(w, r, false) })
}

// serveUpgrade takes in a client. ours tells that the gateway's own listener took the
// connection, so that its socket has its options.
func (g *Gateway) serveUpgrade(w http.ResponseWriter, r *http.Request, ours bool) {
	client := g.ClientAddr(r)
	began, err := g.admission.enter()
	if err != nil {
		g.turnAway(w, client, err)
		return
	}
	defer g.admission.leave(began)
	if err := g.towers.reserve(client.Addr()); err != nil {
		g.turnAway(w, client, err)
		return
	}
	taken := false
	defer func() { // also when the application's code panics
		if !taken {
			g.towers.release(client.Addr())
		}
	}()
	r = withClientAddr(r, client)
	who, err := g.identify(r)
	if err != nil {
		g.metrics.refuse(RefusedIdentity)
		g.log.Debug("connection refused", "remote", client, "err", err)
		challenge := "Bearer" // there has to be one: RFC 9110 section 15.5.2
		var known *AuthenticationError
		if errors.As(err, &known) && known.Challenge != "" {
			challenge = known.Challenge
		}
		w.Header().Set("WWW-Authenticate", challenge)
		http.Error(w, notAuthenticated(err), http.StatusUnauthorized)
		return
	}
	ws, compressed, err := g.upgrade(&g.upgrader, w, r)
	if err != nil { // the upgrader has answered
		g.metrics.refuse(RefusedRequest)
		g.log.Debug("upgrade failed", "remote", client, "err", err)
		return
	}
	taken = true
	t, err := g.buildUpgraded(ws, identified{who, client, compressed}, ours)
	if err != nil {
		g.metrics.refuse(refusalReasonOf(err))
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

// buildUpgraded makes a FireTower of an upgraded connection: of its descriptor alone,
// where that can be had and is watched, so that the net.Conn and all that the upgrade
// needed are free.
func (g *Gateway) buildUpgraded(ws *websocket.Conn, who identified, ours bool) (*FireTower, error) {
	if g.poller == nil {
		return g.buildTower(ws, who)
	}
	conn := ws.NetConn()
	if q, ok := conn.(*quietConn); ok {
		conn = q.Conn
	}
	fd, err := takeDescriptor(innermost(conn))
	if err != nil { // TLS, or no descriptor is left for the moment that two are needed
		return g.buildTower(ws, who)
	}
	if n := g.opts.Limits.SocketBytes; n > 0 && !ours {
		limitUnsent(fd, n)
	}
	return g.buildPolled(fd, ws, who)
}

// quietConn is the connection that the WebSocket library has of a stream. Once it is quiet,
// what the library writes by itself, a close frame for a broken one, goes nowhere, and so
// do its deadlines: all writes are the FireTower's, and one of them may be under way.
type quietConn struct {
	net.Conn

	quiet bool // set once, before the first frame is read
}

// Write implements net.Conn.
func (c *quietConn) Write(b []byte) (int, error) {
	if c.quiet {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// SetWriteDeadline implements net.Conn.
func (c *quietConn) SetWriteDeadline(t time.Time) error {
	if c.quiet {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// quietHijacker has the upgrader make its connection of a quietConn.
type quietHijacker struct{ http.ResponseWriter }

// Hijack implements http.Hijacker.
func (h quietHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return &quietConn{Conn: conn}, rw, nil
}

// turnAway answers a request for which there is no room, at the least cost.
func (g *Gateway) turnAway(w http.ResponseWriter, client netip.AddrPort, why error) {
	reason := refusalReasonOf(why)
	g.metrics.refuse(reason)
	g.log.Debug("connection refused", "remote", client, "reason", string(reason))
	h := w.Header()
	h.Set("Retry-After", strconv.Itoa(g.admission.retryAfter(why, g.opts.RetryWindow)))
	h.Set("Connection", "close") // its descriptor is for somebody else
	http.Error(w, why.Error(), http.StatusServiceUnavailable)
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
	open := func(name, addr string, h http.Handler, config *net.ListenConfig) (net.Listener, error) {
		l, err := config.Listen(context.Background(), "tcp", addr)
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
		mux.HandleFunc(g.opts.Path, func(w http.ResponseWriter, r *http.Request) { g.serveUpgrade(w, r, true) })
		l, err := open("websocket", g.opts.Listen, mux, g.clientListenConfig())
		if err != nil {
			return nil, err
		}
		g.listener.Store(&l)
		server := &servers[len(servers)-1]
		server.listener = rawio.Listener{Listener: l}
		if g.certificates != nil || g.opts.Proxy.Protocol != ProxyOff {
			server.listener = newEdgeListener(server.listener, g)
		}
	}
	if g.opts.HTTPAddr != "" {
		l, err := open("admin", g.opts.HTTPAddr, g.AdminHandler(), new(net.ListenConfig))
		if err != nil {
			return nil, err
		}
		g.admin.Store(&l)
	}
	return servers, nil
}

// clientListenConfig spares each client's connection five calls of setsockopt(2): TCP's
// keep-alive probes say nothing that our heartbeats do not, and on Linux a connection begins with the
// options of its listener. That holds for TCP alone: one that came to a listener of
// Multipath TCP, which is Go's default, has none of them.
func (g *Gateway) clientListenConfig() *net.ListenConfig {
	config := &net.ListenConfig{
		KeepAlive: -1,
		Control: func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) {
				if n := g.opts.Limits.SocketBytes; n > 0 {
					limitUnsent(int(fd), n)
				}
			})
		},
	}
	config.SetMultipathTCP(false)
	return config
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
