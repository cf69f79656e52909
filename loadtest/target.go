package loadtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pelletier/go-toml/v2"

	"firetower/scenarios"
	"firetower/simulator/clock"
)

// system is the system under test: its processes and where they listen.
type system struct {
	nursery *nursery
	target  Target

	managers []*server // none for a reference server
	gateways []*server
	relays   []*relay

	grpc    []string     // where managers take what is published
	urls    []string     // WebSocket addresses of the clients
	scrapes []string     // addresses of metrics
	peer    announcement // of a server of others
	ended   []ended      // processes that faults have killed, in their order
}

// server is a place in the system under test: what is started there, and the
// process that is there now. It keeps its addresses over a restart.
type server struct {
	role, name string
	args       []string // beside its addresses
	child      *child
	at         announcement
	starts     int
	began      int64 // when a fault's end started that process, by clock; 0 for the first
	// link and rpc are between this gateway and its manager, nil without a fault there.
	link, rpc *relay
}

// readyTimeout bounds the start of a server.
const readyTimeout = 20 * time.Second

// startSystem starts the servers and waits until they are ready. The system is
// there also with an error, to be closed.
func startSystem(ctx context.Context, n *nursery, o Options) (*system, error) {
	p := o.Plan
	s := &system{nursery: n, target: p.Target}
	if o.attach != nil {
		s.urls, s.grpc = []string{o.attach.url}, []string{o.attach.grpc}
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

// close ends what is no process.
func (s *system) close() error {
	var errs []error
	for _, r := range s.relays {
		errs = append(errs, r.close())
	}
	s.relays = nil
	return errors.Join(errs...)
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
	managerArgs, err := configArgs(s.nursery.dir, "manager.toml", p.Scenario.Manager)
	if err != nil {
		return err
	}
	gatewayArgs, err := configArgs(s.nursery.dir, "gateway.toml", p.Scenario.Gateway)
	if err != nil {
		return err
	}
	scheme := "ws"
	if p.Scenario.Clients.Transport == scenarios.TransportTLS {
		scheme = "wss"
		if err := writeCertificate(s.nursery.dir); err != nil {
			return err
		}
		gatewayArgs = append(gatewayArgs, "--set", "tls.certFile="+certificateFile(s.nursery.dir), "--set", "tls.keyFile="+keyFile(s.nursery.dir))
	}
	t := p.Scenario.Topology
	for i := range t.Managers {
		m := &server{role: "manager", name: "manager", args: managerArgs}
		if t.Managers > 1 {
			m.name = fmt.Sprintf("manager-%d", i)
		}
		s.managers = append(s.managers, m)
		if err := s.start(ctx, m); err != nil {
			return err
		}
		s.grpc = append(s.grpc, m.at.GRPC)
		s.scrapes = append(s.scrapes, m.at.HTTP)
	}
	for i := range t.Gateways {
		g := &server{role: "gateway", name: fmt.Sprintf("gateway-%d", i)}
		s.gateways = append(s.gateways, g)
		link, rpc, err := s.way(g, s.managers[i%t.Managers], cutOff(p.Scenario, i))
		if err != nil {
			return err
		}
		g.args = append([]string{"--manager-link", link, "--manager-grpc", rpc}, gatewayArgs...)
		if err := s.start(ctx, g); err != nil {
			return err
		}
		s.urls = append(s.urls, scheme+"://"+g.at.Listen+"/ws")
		s.scrapes = append(s.scrapes, g.at.HTTP)
	}
	return nil
}

// cutOff tells whether a fault cuts this gateway off from its manager.
func cutOff(s scenarios.Scenario, gateway int) bool {
	return slices.ContainsFunc(s.Faults, func(f scenarios.Fault) bool {
		return f.Kind == scenarios.FaultLinkBlackhole && f.Victim == gateway
	})
}

// way is how a gateway reaches its manager: past relays if it is to be cut off.
func (s *system) way(g, manager *server, relayed bool) (link, rpc string, err error) {
	if !relayed {
		return manager.at.Link, manager.at.GRPC, nil
	}
	for _, r := range []struct {
		to string
		at **relay
	}{{manager.at.Link, &g.link}, {manager.at.GRPC, &g.rpc}} {
		if *r.at, err = newRelay(r.to); err != nil {
			return "", "", err
		}
		s.relays = append(s.relays, *r.at)
	}
	return g.link.addr(), g.rpc.addr(), nil
}

// survivors are earlier counters of the servers, without those that the ones of to do
// not go on from: of a process that another has taken the place of, and of one that
// did not answer.
func (s *system) survivors(from, to scrapes) scrapes {
	out := slices.Clone(from)
	places := s.places()
	for i := range out {
		if i >= len(to) || to[i] == nil || i < len(places) && places[i].starts > 1 {
			out[i] = nil
		}
	}
	return out
}

// start puts a process in its place and waits until it is ready: on free ports
// first, and on the same ones whenever it comes again.
func (s *system) start(ctx context.Context, v *server) error {
	at := announcement{Link: "127.0.0.1:0", GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", Listen: "127.0.0.1:0"}
	name := v.name
	if v.starts > 0 {
		at = v.at
		name = fmt.Sprintf("%s.%d", v.name, v.starts+1)
	}
	args := []string{v.role, "--http", at.HTTP, "--announce"}
	if v.role == "manager" {
		args = append(args, "--link", at.Link, "--grpc", at.GRPC)
	} else {
		args = append(args, "--listen", at.Listen)
	}
	c, err := s.nursery.start(v.role, name, false, append(args, v.args...)...)
	if err != nil {
		return err
	}
	v.child = c
	v.starts++
	v.at, err = c.ready(ctx, readyTimeout)
	return err
}

// sinks opens a stream of messages for each publisher.
func (s *system) sinks(ctx context.Context, c *clock.Clock, p *Plan) ([]sink, error) {
	var out []sink
	for range p.Scenario.Load.Publishers {
		to, err := s.sink(ctx, c, p)
		if err != nil {
			for _, opened := range out {
				err = errors.Join(err, opened.close())
			}
			return nil, err
		}
		out = append(out, to)
	}
	return out, nil
}

func (s *system) sink(ctx context.Context, c *clock.Clock, p *Plan) (sink, error) {
	if s.target.Reference() {
		return dialWS(ctx, s.urls[0], string(p.Scenario.Subprotocol))
	}
	if s.target.Peer() {
		return s.peerSink(ctx, c, p)
	}
	var cells []*grpcSink
	for _, addr := range s.grpc {
		g, err := dialGRPC(ctx, c, addr, p.Scenario.Load)
		if err != nil {
			for _, opened := range cells {
				err = errors.Join(err, opened.close())
			}
			return nil, err
		}
		cells = append(cells, g)
	}
	if len(cells) == 1 {
		return cells[0], nil
	}
	return newCellSink(cells), nil
}

// via names how messages of a load are published.
func (s *system) via(load scenarios.Load) string {
	if s.target.Reference() {
		return "websocket"
	}
	if s.target.Peer() {
		return s.peerVia()
	}
	if within := load.AckWithin.Duration; within > 0 {
		return "grpc stream, acknowledged together within " + within.String()
	}
	return "grpc stream"
}

// configArgs writes the keys that a scenario lays over a server's defaults, and
// returns the arguments that name the file; none without keys.
func configArgs(dir, name string, keys map[string]any) ([]string, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	b, err := toml.Marshal(keys)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o644); err != nil { //nolint:gosec // for everyone to read
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return []string{"--config", path}, nil
}
