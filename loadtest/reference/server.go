// Package reference holds three small push servers to compare the product with, so that a report can say where the
// limit is on the machine that it was made on. They own nothing but the fan-out: no manager, no cluster, no
// authentication, no limits beyond those that keep them safe. They know nothing of the product, of scenarios and of
// reports, and they are not tuned against it:
//
//   - floor is what no server can go below that writes once per delivery: raw sockets, one thread, epoll, and one
//     write(2) for each message and client, without Go's network poller and without queues;
//   - floor-joined is the same, but messages of one topic that arrived together go out in one write per client;
//   - classic is what every tutorial builds: gorilla/websocket, two goroutines and a buffered channel for each client.
//
// All speak what the product calls v0: text frames {"type":"subscribe","topic":"a,b"}, unSubscribe, and
// {"type":"publish","topic":"a","data":...}; subscribers receive the data alone. The URL path is ignored.
package reference

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
)

// The kinds of servers.
const (
	KindFloor       = "floor"
	KindFloorJoined = "floor-joined"
	KindClassic     = "classic"
)

// Kinds lists them.
func Kinds() []string { return []string{KindFloor, KindFloorJoined, KindClassic} }

// ErrKind says that there is no such server, or not on this system: floor and floor-joined exist on Linux.
var ErrKind = errors.New("no such reference server")

// Bounds that keep a reference server safe from its clients. They are the same for all kinds.
const (
	maxFrame   = 1 << 20  // payload bytes of a client's message
	maxRequest = 16 << 10 // bytes of an upgrade request
	maxTopics  = 1 << 10  // of one connection
)

// Stats counts what a server did. What is dropped is dropped with its client, whose socket or channel was full.
type Stats struct {
	// Accepted is how many clients completed their upgrade.
	Accepted int64
	// Published is how many publish frames came in, and Delivered how many messages went out to clients.
	Published, Delivered int64
	// Writes is how many writes carried them. floor and floor-joined only.
	Writes int64
	// Slow is how many clients were closed because they did not take a message.
	Slow int64
	// Broken is how many were closed because they broke the protocol.
	Broken int64
}

// counters is Stats while the server runs.
type counters struct {
	accepted, published, delivered, writes, slow, broken atomic.Int64
}

func (c *counters) snapshot() Stats {
	return Stats{
		Accepted: c.accepted.Load(), Published: c.published.Load(), Delivered: c.delivered.Load(),
		Writes: c.writes.Load(), Slow: c.slow.Load(), Broken: c.broken.Load(),
	}
}

// Server is one reference server.
type Server struct {
	addr     string
	counters *counters
	serve    func(ctx context.Context) error
}

// New makes a server of the given kind, which listens when New returns. listen is an address and port; port 0 lets the
// kernel choose.
func New(kind, listen string) (*Server, error) {
	s := &Server{counters: new(counters)}
	var err error
	switch kind {
	case KindFloor, KindFloorJoined:
		s.addr, s.serve, err = newFloor(listen, kind == KindFloorJoined, s.counters)
	case KindClassic:
		s.addr, s.serve, err = newClassic(listen, s.counters)
	default:
		err = fmt.Errorf("%w: %q, there are %q", ErrKind, kind, Kinds())
	}
	if err != nil {
		return nil, fmt.Errorf("reference server: %w", err)
	}
	return s, nil
}

// Addr is the address that the server listens on.
func (s *Server) Addr() string { return s.addr }

// Stats returns the counts so far.
func (s *Server) Stats() Stats { return s.counters.snapshot() }

// Run serves until the context ends, and returns when every goroutine and socket of the server has. It is called once,
// also to release a server that is not wanted any more.
func (s *Server) Run(ctx context.Context) error {
	if err := s.serve(ctx); err != nil {
		return fmt.Errorf("reference server: %w", err)
	}
	return nil
}

// Run makes a server, calls ready with its address once it listens, serves until the context ends, and logs the counts.
func Run(ctx context.Context, kind, listen string, ready func(addr string)) error {
	s, err := New(kind, listen)
	if err != nil {
		return err
	}
	ready(s.Addr())
	err = s.Run(ctx)
	stats := s.Stats()
	slog.Info("reference server ended", "kind", kind, "accepted", stats.Accepted, "published", stats.Published,
		"delivered", stats.Delivered, "writes", stats.Writes, "slow", stats.Slow, "broken", stats.Broken)
	return err
}
