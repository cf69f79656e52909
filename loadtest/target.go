package loadtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pelletier/go-toml/v2"

	"firetower/simulator/clock"
)

// system is the system under test: its processes and where they listen.
type system struct {
	nursery *nursery
	target  Target

	manager  *child // nil for a reference server
	args     []string
	announce announcement // the manager's
	restarts int

	urls    []string     // WebSocket addresses of the clients
	scrapes []string     // addresses of metrics
	peer    announcement // of a server of others
}

// readyTimeout bounds the start of a server.
const readyTimeout = 20 * time.Second

// startSystem starts the servers and waits until they are ready.
func startSystem(ctx context.Context, n *nursery, o Options) (*system, error) {
	p := o.Plan
	s := &system{nursery: n, target: p.Target}
	if o.attach != nil {
		s.urls, s.announce.GRPC = []string{o.attach.url}, o.attach.grpc
		return s, nil
	}
	if p.Target.Reference() {
		return s, s.startReference(ctx)
	}
	if p.Target.Peer() {
		return s, s.startPeer(ctx, o.Peers)
	}
	return s, s.startFiretower(ctx, p)
}

func (s *system) startReference(ctx context.Context) error {
	c, err := s.nursery.start("reference", string(s.target), false, "loadtest", "reference", string(s.target), "--listen", "127.0.0.1:0", "--announce")
	if err != nil {
		return err
	}
	a, err := c.ready(ctx, readyTimeout)
	if err != nil {
		return err
	}
	s.urls = []string{"ws://" + a.Listen + "/ws"}
	return nil
}

func (s *system) startFiretower(ctx context.Context, p *Plan) error {
	managerFile, err := configFile(s.nursery.dir, "manager.toml", p.Scenario.Manager)
	if err != nil {
		return err
	}
	gatewayFile, err := configFile(s.nursery.dir, "gateway.toml", p.Scenario.Gateway)
	if err != nil {
		return err
	}
	if managerFile != "" {
		s.args = []string{"--config", managerFile}
	}
	if err := s.startManager(ctx, "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"); err != nil {
		return err
	}
	for i := range p.Scenario.Topology.Gateways {
		args := []string{
			"gateway", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
			"--manager-link", s.announce.Link, "--manager-grpc", s.announce.GRPC, "--announce",
		}
		if gatewayFile != "" {
			args = append(args, "--config", gatewayFile)
		}
		c, err := s.nursery.start("gateway", fmt.Sprintf("gateway-%d", i), false, args...)
		if err != nil {
			return err
		}
		a, err := c.ready(ctx, readyTimeout)
		if err != nil {
			return err
		}
		s.urls = append(s.urls, "ws://"+a.Listen+"/ws")
		s.scrapes = append(s.scrapes, a.HTTP)
	}
	return nil
}

// startManager starts a manager at the given addresses and waits until it is ready.
func (s *system) startManager(ctx context.Context, link, grpc, http string) error {
	name := "manager"
	if s.restarts > 0 {
		name = fmt.Sprintf("manager-%d", s.restarts)
	}
	args := append([]string{"manager", "--link", link, "--grpc", grpc, "--http", http, "--announce"}, s.args...)
	c, err := s.nursery.start("manager", name, false, args...)
	if err != nil {
		return err
	}
	a, err := c.ready(ctx, readyTimeout)
	if err != nil {
		return err
	}
	if s.restarts == 0 {
		s.scrapes = append(s.scrapes, a.HTTP)
	}
	s.manager, s.announce = c, a
	s.restarts++
	return nil
}

// restartManager starts another manager where the last one was.
func (s *system) restartManager(ctx context.Context) error {
	return s.startManager(ctx, s.announce.Link, s.announce.GRPC, s.announce.HTTP)
}

// sinks opens a stream of messages for each publisher.
func (s *system) sinks(ctx context.Context, c *clock.Clock, p *Plan) ([]sink, error) {
	var out []sink
	fail := func(err error) ([]sink, error) {
		for _, opened := range out {
			err = errors.Join(err, opened.close())
		}
		return nil, err
	}
	for range p.Scenario.Load.Publishers {
		if s.target.Peer() {
			to, err := s.peerSink(ctx, c, p)
			if err != nil {
				return fail(err)
			}
			out = append(out, to)
			continue
		}
		if s.target.Reference() {
			ws, err := dialWS(ctx, s.urls[0], string(p.Scenario.Subprotocol))
			if err != nil {
				return fail(err)
			}
			out = append(out, ws)
			continue
		}
		g, err := dialGRPC(ctx, c, s.announce.GRPC, p.Scenario.Load.Window)
		if err != nil {
			return fail(err)
		}
		out = append(out, g)
	}
	return out, nil
}

// via names how messages are published.
func (s *system) via() string {
	if s.target.Reference() {
		return "websocket"
	}
	if s.target.Peer() {
		return s.peerVia()
	}
	return "grpc stream"
}

// configFile writes the keys that a scenario lays over a server's defaults, and
// returns where; empty when there are none.
func configFile(dir, name string, keys map[string]any) (string, error) {
	if len(keys) == 0 {
		return "", nil
	}
	b, err := toml.Marshal(keys)
	if err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o644); err != nil { //nolint:gosec // for everyone to read
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return path, nil
}
