package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/prometheus/client_golang/prometheus"
)

// batchDelay is the write delay of the variant that collects messages before it writes: that of the documentation's
// examples.
const batchDelay = 100 * time.Millisecond

// backendToken is what a connection says to be let to publish. On a loopback port that nobody knows it keeps mistakes
// out, not people.
const backendToken = "backend"

// centrifugePeer is a node of centrifuge, the library that Centrifugo is made of, with its memory engine.
type centrifugePeer struct {
	*web
	node *centrifuge.Node
}

// maxPublish bounds a command, in bytes: a message of a load test has at most 1 MiB.
const maxPublish = 1<<20 + 1<<10

// stopTimeout bounds how long a node takes leave of its clients.
const stopTimeout = 5 * time.Second

func startCentrifuge(ctx context.Context, address string, log *slog.Logger, delay time.Duration) (peer, error) {
	node, err := centrifuge.New(centrifuge.Config{
		LogLevel: centrifuge.LogLevelWarn,
		LogHandler: func(e centrifuge.LogEntry) {
			log.Warn("centrifuge", "message", e.Message, "level", centrifuge.LogLevelToString(e.Level), "fields", e.Fields, "error", e.Error)
		},
		// Of its own: the metrics are counted as in production, and several nodes fit into one process.
		Metrics: centrifuge.MetricsConfig{RegistererGatherer: prometheus.NewRegistry()},
	})
	if err != nil {
		return nil, err
	}
	node.OnConnecting(func(_ context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		user := ""
		if e.Token == backendToken {
			user = backendToken
		}
		reply := centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: user}}
		if delay > 0 && user == "" {
			// A timer instead of a goroutine for each writer, and frames as long as they come: with the default of 16
			// messages a frame, a client could not be sent more than 160 a second.
			reply.WriteDelay, reply.WriteWithTimer, reply.MaxMessagesInFrame = delay, true, -1
		}
		return reply, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, reply centrifuge.SubscribeCallback) {
			reply(centrifuge.SubscribeReply{}, nil)
		})
		client.OnPublish(func(_ centrifuge.PublishEvent, reply centrifuge.PublishCallback) {
			if client.UserID() != backendToken {
				reply(centrifuge.PublishReply{}, centrifuge.ErrorPermissionDenied)
				return
			}
			reply(centrifuge.PublishReply{}, nil) // the node publishes
		})
	})
	if err := node.Run(); err != nil {
		return nil, err
	}
	handler := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		CheckOrigin: func(*http.Request) bool { return true },
		// The default of 64 KiB is for what clients send. A backend publishes here too.
		MessageSizeLimit: maxPublish,
	})
	p := &centrifugePeer{node: node}
	if p.web, err = serveWeb(ctx, address, handler); err != nil {
		shutdown(ctx, node)
		return nil, err
	}
	return p, nil
}

// shutdown ends a node. It says nothing: what it returns is that the time was too short, and the process ends with it.
func shutdown(ctx context.Context, node *centrifuge.Node) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	_ = node.Shutdown(ctx)
}

func (p *centrifugePeer) stop() error {
	// The listener first: a node that has been shut down refuses whom it lets in.
	err := p.close()
	shutdown(context.Background(), p.node)
	return err
}
