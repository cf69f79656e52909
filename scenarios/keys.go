package scenarios

import (
	"fmt"
	"slices"
	"strings"
)

// key is one key of a table: its name, what it is for, and where it is kept.
type key[T any] struct {
	name string
	doc  string
	at   func(*T) any // a pointer to the field
}

// scenarioKeys are all keys outside of arrays of tables. Their order is that of a
// printed scenario.
var scenarioKeys = []key[Scenario]{
	{"version", "format version, 1", func(s *Scenario) any { return &s.Version }},
	{"name", "the file's name without .toml", func(s *Scenario) any { return &s.Name }},
	{"purpose", "one line: what question this asks", func(s *Scenario) any { return &s.Purpose }},
	{"connections", "WebSocket clients, slow ones included", func(s *Scenario) any { return &s.Connections }},
	{"subprotocol", "firetower.v1 or firetower.v0", func(s *Scenario) any { return &s.Subprotocol }},
	{"seed", "makes the plan's random choices", func(s *Scenario) any { return &s.Seed }},
	{"thresholds", `what must hold, as "delivery.p99<250ms"`, func(s *Scenario) any { return &s.Thresholds }},
	{"topics.count", "number of topics", func(s *Scenario) any { return &s.Topics.Count }},
	{"topics.per_connection", "topics that each client subscribes to", func(s *Scenario) any { return &s.Topics.PerConnection }},
	{"connect.rate", "connections opened in a second", func(s *Scenario) any { return &s.Connect.Rate }},
	{"connect.handshakes", "most handshakes under way at once", func(s *Scenario) any { return &s.Connect.Handshakes }},
	{"connect.timeout", "bound of the whole ramp", func(s *Scenario) any { return &s.Connect.Timeout }},
	{"reconnect.mode", "never or always", func(s *Scenario) any { return &s.Reconnect.Mode }},
	{"reconnect.after", "wait before the first attempt, doubled for each that follows", func(s *Scenario) any { return &s.Reconnect.After }},
	{"reconnect.most", "longest wait", func(s *Scenario) any { return &s.Reconnect.Most }},
	{"reconnect.jitter", "share of a wait that is drawn", func(s *Scenario) any { return &s.Reconnect.Jitter }},
	{"churn.topics", "topics that clients come to and leave, beside topics.count", func(s *Scenario) any { return &s.Churn.Topics }},
	{"churn.rate", "changes in a second over all clients", func(s *Scenario) any { return &s.Churn.Rate }},
	{"load.mode", "open, burst, inflight, capacity or idle", func(s *Scenario) any { return &s.Load.Mode }},
	{"load.rate", "messages in a second (open)", func(s *Scenario) any { return &s.Load.Rate }},
	{"load.arrivals", "constant or poisson (open)", func(s *Scenario) any { return &s.Load.Arrivals }},
	{"load.burst", "messages due at once (burst)", func(s *Scenario) any { return &s.Load.Burst }},
	{"load.every", "time between bursts (burst)", func(s *Scenario) any { return &s.Load.Every }},
	{"load.inflight", "messages under way at once (inflight)", func(s *Scenario) any { return &s.Load.Inflight }},
	{"load.payload", "size of a message's data", func(s *Scenario) any { return &s.Load.Payload }},
	{"load.mix", `sizes drawn by weight, as "128B:80"`, func(s *Scenario) any { return &s.Load.Mix }},
	{"load.publishers", "publishing streams", func(s *Scenario) any { return &s.Load.Publishers }},
	{"load.window", "messages of one publisher that wait for an acknowledgement", func(s *Scenario) any { return &s.Load.Window }},
	{"load.give_up", "lateness past which a message is dropped and counted", func(s *Scenario) any { return &s.Load.GiveUp }},
	{"capacity.from", "first rate that is tried (capacity)", func(s *Scenario) any { return &s.Capacity.From }},
	{"capacity.to", "highest rate that is tried (capacity)", func(s *Scenario) any { return &s.Capacity.To }},
	{"capacity.trial", "how long each rate is published (capacity)", func(s *Scenario) any { return &s.Capacity.Trial }},
	{"capacity.p99", "delivery p99 up to which a rate is sustained (capacity)", func(s *Scenario) any { return &s.Capacity.P99 }},
	{"capacity.precision", "how near to each other the last two rates are (capacity)", func(s *Scenario) any { return &s.Capacity.Precision }},
	{"phases.settle", "rest before memory is read", func(s *Scenario) any { return &s.Phases.Settle }},
	{"phases.ready", "bound of the ready probe", func(s *Scenario) any { return &s.Phases.Ready }},
	{"phases.warmup", "published and left out", func(s *Scenario) any { return &s.Phases.Warmup }},
	{"phases.measure", "the phase that the figures are of", func(s *Scenario) any { return &s.Phases.Measure }},
	{"phases.drain", "how long after the last message a delivery counts", func(s *Scenario) any { return &s.Phases.Drain }},
	{"phases.calibrate", "workers against a server that only writes, 0s: not", func(s *Scenario) any { return &s.Phases.Calibrate }},
	{"phases.leave", "bound for the servers to give back what clients held, 0s: not looked at", func(s *Scenario) any { return &s.Phases.Leave }},
	{"topology.managers", "manager processes, each with its share of the gateways", func(s *Scenario) any { return &s.Topology.Managers }},
	{"topology.gateways", "gateway processes", func(s *Scenario) any { return &s.Topology.Gateways }},
	{"topology.workers", "worker processes, 0: as many as needed", func(s *Scenario) any { return &s.Topology.Workers }},
	{"topology.cpus", "shared, or isolated: servers on one half, workers on the other", func(s *Scenario) any { return &s.Topology.CPUs }},
}

// slowKeys and faultKeys are the keys of an entry of [[slow]] and [[fault]].
var slowKeys = []key[Slow]{
	{"kind", "never-reads, slow-reader, slow-writer or half-open", func(s *Slow) any { return &s.Kind }},
	{"count", "clients", func(s *Slow) any { return &s.Count }},
	{"receive_buffer", "their SO_RCVBUF", func(s *Slow) any { return &s.ReceiveBuffer }},
	{"rate", "messages a second (slow-reader)", func(s *Slow) any { return &s.Rate }},
}

var faultKeys = []key[Fault]{
	{"kind", "manager-restart, gateway-kill, gateway-pause, link-blackhole or disconnect", func(f *Fault) any { return &f.Kind }},
	{"victim", "index of the gateway or manager", func(f *Fault) any { return &f.Victim }},
	{"share", "part of the clients (disconnect)", func(f *Fault) any { return &f.Share }},
	{"at", "from the start of the measured phase", func(f *Fault) any { return &f.At }},
	{"hold", "how long the victim stays away", func(f *Fault) any { return &f.Hold }},
	{"recover", "how long after it losses may be the fault's", func(f *Fault) any { return &f.Recover }},
}

// freeTables hold keys of the servers' configuration, which this package passes on.
var freeTables = []string{"gateway", "manager"}

// Key describes one key of the format to people.
type Key struct{ Name, Doc, Default string }

// Keys lists every key of the format, in the order of a printed scenario.
func Keys() []Key {
	var out []Key
	def := Default()
	for _, k := range scenarioKeys {
		out = append(out, Key{k.name, k.doc, format(k.at(&def))})
	}
	slow, fault := defaultSlow(), defaultFault()
	for _, k := range slowKeys {
		out = append(out, Key{"slow." + k.name, k.doc, format(k.at(&slow))})
	}
	for _, k := range faultKeys {
		out = append(out, Key{"fault." + k.name, k.doc, format(k.at(&fault))})
	}
	return out
}

func names[T any](keys []key[T]) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.name
	}
	return out
}

func find[T any](keys []key[T], name string) (key[T], bool) {
	i := slices.IndexFunc(keys, func(k key[T]) bool { return k.name == name })
	if i < 0 {
		return key[T]{}, false
	}
	return keys[i], true
}

// Set gives the key called name the value that text holds, as a flag or an
// environment variable would. Entries of arrays of tables cannot be set so.
func (s *Scenario) Set(name, text string) error {
	for _, table := range freeTables {
		if rest, ok := strings.CutPrefix(name, table+"."); ok {
			return s.setFree(table, rest, text)
		}
	}
	k, ok := find(scenarioKeys, name)
	if !ok {
		return fmt.Errorf("no key %q%s", name, DidYouMean(name, names(scenarioKeys)))
	}
	if err := assignText(k.at(s), text); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// setFree sets a key of the servers' configuration. The value is a TOML value;
// what is none is taken as a string.
func (s *Scenario) setFree(table, name, text string) error {
	if name == "" {
		return fmt.Errorf("no key after %q", table+".")
	}
	dst := &s.Gateway
	if table == "manager" {
		dst = &s.Manager
	}
	*dst = cloneTree(*dst)
	node := *dst
	path := strings.Split(name, ".")
	for _, part := range path[:len(path)-1] {
		child, _ := node[part].(map[string]any)
		if child == nil {
			child = map[string]any{}
			node[part] = child
		}
		node = child
	}
	node[path[len(path)-1]] = parseFree(text)
	return nil
}

// cloneTree copies a tree of tables, so that scenarios share none.
func cloneTree(t map[string]any) map[string]any {
	out := make(map[string]any, len(t))
	for k, v := range t {
		if m, ok := v.(map[string]any); ok {
			v = cloneTree(m)
		}
		out[k] = v
	}
	return out
}

// Clone is a deep copy.
func (s Scenario) Clone() Scenario {
	s.Slow = slices.Clone(s.Slow)
	s.Faults = slices.Clone(s.Faults)
	s.Thresholds = slices.Clone(s.Thresholds)
	s.Load.Mix = slices.Clone(s.Load.Mix)
	if s.Gateway != nil {
		s.Gateway = cloneTree(s.Gateway)
	}
	if s.Manager != nil {
		s.Manager = cloneTree(s.Manager)
	}
	return s
}
