package loadtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"firetower/scenarios"
	"firetower/simulator"
	"firetower/simulator/clock"
)

// The servers of others, each in a process of the binary that loadtest/peers builds.
const (
	// Centrifuge is the library of Centrifugo, CentrifugeBatch the same with a delay
	// in which it collects a client's messages before it writes.
	Centrifuge      Target = "centrifuge"
	CentrifugeBatch Target = "centrifuge-batch"
	// NATS is nats-server with its WebSocket listener.
	NATS Target = "nats"
	// GWS is a broadcast over lxzan/gws.
	GWS Target = "gws"
)

// Peer tells whether the target is a server of others: one process, which speaks a
// protocol of its own.
func (t Target) Peer() bool {
	return t == Centrifuge || t == CentrifugeBatch || t == NATS || t == GWS
}

// Alone tells whether the target is one process, without the managers and gateways
// that a topology speaks of.
func (t Target) Alone() bool { return t.Reference() || t.Peer() }

// dialect is what the target speaks to its clients.
func (t Target) dialect() simulator.Dialect {
	switch t {
	case Centrifuge, CentrifugeBatch:
		return simulator.DialectCentrifugo
	case NATS:
		return simulator.DialectNATS
	case GWS:
		return simulator.DialectBroadcast
	default:
		return simulator.DialectFiretower
	}
}

// spoken is what the clients of a run ask for: the scenario's subprotocol, or the
// dialect of a target that has none.
func (p *Plan) spoken() string {
	if p.Target.Peer() {
		return string(p.Target.dialect())
	}
	return string(p.Scenario.Subprotocol)
}

// spokenBy lists what the clients of several targets ask for, each once.
func spokenBy(plans []*Plan) string {
	var all []string
	for _, p := range plans {
		if !slices.Contains(all, p.spoken()) {
			all = append(all, p.spoken())
		}
	}
	return strings.Join(all, ", ")
}

// maxJoined bounds a frame of a server that joins all that waits for a client, in bytes:
// the most that nats-server lets wait, and a message.
const maxJoined = 65 << 20

// speak lets a fleet speak to the target.
func (p *Plan) speak(c *simulator.Config) {
	c.Dialect = p.Target.dialect()
	if p.Target.Peer() {
		c.Subprotocol = ""
		c.MaxFrame = max(c.MaxFrame, maxJoined)
	}
}

// fitsPeer refuses what the harness cannot do to a server of others.
func fitsPeer(s scenarios.Scenario, target Target) error {
	var problems []error
	for _, f := range s.Faults {
		if f.Kind != scenarios.FaultDisconnect {
			problems = append(problems, fmt.Errorf("fault: %s has no managers and gateways, so no %s", target, f.Kind))
		}
	}
	problems = append(problems, fitsTransport(s, target))
	if s.Churn.Topics > 0 {
		problems = append(problems, fmt.Errorf("churn.topics: clients change their topics in Firetower's protocol alone, not in %s", target.dialect()))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w: %w", ErrImpossible, err)
	}
	return nil
}

// ErrNoPeers says that the binary with the servers of others is missing.
var ErrNoPeers = errors.New("the servers of others are not built")

// PeersVariable names the binary in the environment.
const PeersVariable = "FIRETOWER_LOADTEST_PEERS"

// FindPeers looks for the binary with the servers of others: at the given path, or,
// when that is empty, beside the executable.
func FindPeers(path, executable string) (string, error) {
	if path == "" {
		path = filepath.Join(filepath.Dir(executable), "peers")
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w: run 'make peers', or name the binary with --peers or %s", ErrNoPeers, err, PeersVariable)
	}
	return path, nil
}

// peerTimeout bounds the start of a server of others: the binary is large, and may be
// read from the disk for the first time.
const peerTimeout = 30 * time.Second

// startPeer starts a server of others.
func (s *system) startPeer(ctx context.Context, binary string) error {
	c, err := s.nursery.startOf(binary, "peer", string(s.target), false, string(s.target), "--listen", "127.0.0.1:0", "--announce")
	if err != nil {
		return err
	}
	if s.peer, err = c.ready(ctx, peerTimeout); err != nil {
		return err
	}
	s.urls = []string{"ws://" + s.peer.Listen + "/ws"}
	return nil
}

// peerSink publishes to a server of others, as a backend would: over a connection
// that stays, in the server's own protocol.
func (s *system) peerSink(ctx context.Context, c *clock.Clock, p *Plan) (sink, error) {
	switch s.target.dialect() {
	case simulator.DialectCentrifugo:
		return dialCentrifugo(ctx, c, "ws://"+s.peer.Publish+"/ws", p.Scenario.Load.Window)
	case simulator.DialectNATS:
		return dialNATS(ctx, s.peer.Publish)
	default:
		return dialWS(ctx, "ws://"+s.peer.Publish+"/ws", "")
	}
}

// peerVia names how messages are published to a server of others.
func (s *system) peerVia() string {
	if s.target.dialect() == simulator.DialectNATS {
		return "NATS connection"
	}
	return "websocket"
}
