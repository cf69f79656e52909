package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsPeer is a NATS server with the WebSocket listener for clients and the ordinary one for backends.
type natsPeer struct {
	server *server.Server
	log    *slog.Logger
	ws     string
	ended  chan struct{} // closed when the server has ended
}

// natsReady bounds the start.
const natsReady = 10 * time.Second

func startNATS(address string, log *slog.Logger) (peer, error) {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	options := &server.Options{
		ServerName: "peer", Host: addr.Addr().String(), Port: server.RANDOM_PORT, NoSigs: true,
		// As a configuration file has them by default, said here because a reader will ask.
		MaxPayload: server.MAX_PAYLOAD_SIZE, WriteDeadline: server.DEFAULT_FLUSH_DEADLINE, MaxPending: server.MAX_PENDING_SIZE,
		Websocket: server.WebsocketOpts{
			Host: addr.Addr().String(), Port: int(addr.Port()), NoTLS: true, Compression: false,
		},
	}
	if options.Websocket.Port == 0 { // which would be no listener
		options.Websocket.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(options)
	if err != nil {
		return nil, err
	}
	s.SetLoggerV2(natsLog{log}, false, false, false)
	p := &natsPeer{server: s, log: log, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		s.Start()
		s.WaitForShutdown()
	}()
	if !s.ReadyForConnections(natsReady) {
		return nil, errors.Join(fmt.Errorf("nats-server is not ready after %v", natsReady), p.stop())
	}
	// The server has put the port there that the kernel chose.
	p.ws = strings.TrimPrefix(s.WebsocketURL(), "ws://")
	return p, nil
}

func (p *natsPeer) listen() string  { return p.ws }
func (p *natsPeer) publish() string { return p.server.Addr().String() }

func (p *natsPeer) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-p.ended:
		return errors.New("nats-server has ended")
	}
}

func (p *natsPeer) stop() error {
	p.server.Shutdown()
	<-p.ended
	return nil
}

// natsLog passes on what the server complains of.
type natsLog struct{ log *slog.Logger }

func (natsLog) Noticef(string, ...any) {}
func (natsLog) Debugf(string, ...any)  {}
func (natsLog) Tracef(string, ...any)  {}

func (l natsLog) Warnf(format string, args ...any) {
	l.log.Warn("nats-server", "message", fmt.Sprintf(format, args...))
}

func (l natsLog) Errorf(format string, args ...any) {
	l.log.Error("nats-server", "message", fmt.Sprintf(format, args...))
}

func (l natsLog) Fatalf(format string, args ...any) {
	l.log.Error("nats-server", "message", fmt.Sprintf(format, args...))
}
