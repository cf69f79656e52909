package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"
)

// peer is a running server.
type peer interface {
	// listen is the address for WebSocket clients.
	listen() string
	// publish is the address for a backend.
	publish() string
	// wait returns when ctx ends, or with an error when the server does.
	wait(ctx context.Context) error
	// stop ends the server. No goroutine of ours is left when it returns.
	stop() error
}

// The servers.
const (
	kindCentrifuge      = "centrifuge"
	kindCentrifugeBatch = "centrifuge-batch"
	kindNATS            = "nats"
	kindGWS             = "gws"
)

func kinds() []string { return []string{kindCentrifuge, kindCentrifugeBatch, kindNATS, kindGWS} }

// clientPath is where the HTTP servers take WebSocket clients; NATS does at any path.
const clientPath = "/ws"

// start starts a server, which takes clients when start returns.
func start(ctx context.Context, kind, address string, log *slog.Logger) (peer, error) {
	switch kind {
	case kindCentrifuge:
		return startCentrifuge(ctx, address, log, 0)
	case kindCentrifugeBatch:
		return startCentrifuge(ctx, address, log, batchDelay)
	case kindNATS:
		return startNATS(address, log)
	case kindGWS:
		return startGWS(ctx, address, log)
	default:
		return nil, fmt.Errorf("no server %q, there are %q", kind, kinds())
	}
}

// version is the name and version of the library behind a kind.
func version(kind string) string {
	path := map[string]string{
		kindCentrifuge: "github.com/centrifugal/centrifuge", kindCentrifugeBatch: "github.com/centrifugal/centrifuge",
		kindNATS: "github.com/nats-io/nats-server/v2", kindGWS: "github.com/lxzan/gws",
	}[kind]
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return kind
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return kind + " " + m.Version
		}
	}
	return kind
}

// web serves HTTP for a peer that takes its clients from net/http.
type web struct {
	listener net.Listener
	server   *http.Server
	ended    chan error // one result
}

// readHeaderTimeout bounds the head of an upgrade request.
const readHeaderTimeout = 10 * time.Second

// serveWeb serves a handler at clientPath.
func serveWeb(ctx context.Context, address string, handler http.Handler) (*web, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(clientPath, handler)
	w := &web{
		listener: listener, server: &http.Server{Handler: mux, ReadHeaderTimeout: readHeaderTimeout},
		ended: make(chan error, 1),
	}
	go func() { w.ended <- w.server.Serve(listener) }()
	return w, nil
}

func (w *web) listen() string { return w.listener.Addr().String() }

// publish is where the clients are: a backend is a client with more rights.
func (w *web) publish() string { return w.listen() }

func (w *web) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-w.ended:
		w.ended <- err // for close
		return fmt.Errorf("HTTP server: %w", err)
	}
}

// close stops listening. Connections that have been upgraded are the server's own to end.
func (w *web) close() error {
	err := w.server.Close()
	if ended := <-w.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
