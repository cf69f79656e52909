package scenarios

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"firetower/config/suggest"
)

// When a key means something.
var (
	inOpen       = condition[Scenario]{"load.mode", `load.mode = "open"`, func(s *Scenario) bool { return s.Load.Mode == ModeOpen }}
	inBurst      = condition[Scenario]{"load.mode", `load.mode = "burst"`, func(s *Scenario) bool { return s.Load.Mode == ModeBurst }}
	inInflight   = condition[Scenario]{"load.mode", `load.mode = "inflight"`, func(s *Scenario) bool { return s.Load.Mode == ModeInflight }}
	inCapacity   = condition[Scenario]{"load.mode", `load.mode = "capacity"`, func(s *Scenario) bool { return s.Load.Mode == ModeCapacity }}
	whenLoaded   = condition[Scenario]{"load.mode", `a load.mode other than "idle"`, func(s *Scenario) bool { return s.Load.Mode != ModeIdle }}
	whenUnmixed  = condition[Scenario]{"load.mix", "scenarios without load.mix", func(s *Scenario) bool { return len(s.Load.Mix) == 0 }}
	whenComing   = condition[Scenario]{"reconnect.mode", `reconnect.mode = "always"`, func(s *Scenario) bool { return s.Reconnect.Mode == ReconnectAlways }}
	whenChurning = condition[Scenario]{"churn.topics", "churn.topics above 0", func(s *Scenario) bool { return s.Churn.Topics > 0 }}
	ofSlowReader = condition[Slow]{"kind", `kind = "slow-reader"`, func(s *Slow) bool { return s.Kind == SlowReader }}
	ofProcess    = condition[Fault]{"kind", `kinds other than "disconnect"`, func(f *Fault) bool { return f.Kind != FaultDisconnect }}
	ofDisconnect = condition[Fault]{"kind", `kind = "disconnect"`, func(f *Fault) bool { return f.Kind == FaultDisconnect }}
)

// scenarioKeys are all keys outside of arrays of tables. Their order is that of a
// printed scenario.
var scenarioKeys = []key[Scenario]{
	field("version", "format version, 1", func(s *Scenario) any { return &s.Version }).within(Version, Version).required(),
	field("name", "the file's name without .toml", func(s *Scenario) any { return &s.Name }).like(nameForm).required(),
	field("purpose", "one line: what question this asks", func(s *Scenario) any { return &s.Purpose }).like(purposeForm).required(),
	field("connections", "WebSocket clients, slow ones included", func(s *Scenario) any { return &s.Connections }).within(1, maxConnections).required(),
	oneOf(field("subprotocol", "what clients ask for", func(s *Scenario) any { return &s.Subprotocol }), V1, V0),
	field("seed", "makes the plan's random choices", func(s *Scenario) any { return &s.Seed }),
	field("thresholds", `what must hold, as "delivery.p99<250ms"`, func(s *Scenario) any { return &s.Thresholds }),

	field("topics.count", "number of topics", func(s *Scenario) any { return &s.Topics.Count }).within(1, maxTopics),
	field("topics.per_connection", "topics that each client subscribes to", func(s *Scenario) any { return &s.Topics.PerConnection }).within(1, maxTopicsPerClient),

	oneOf(field("clients.transport", "what connections go over; tls is for Firetower alone, with a certificate made for the run", func(s *Scenario) any { return &s.Clients.Transport }), TransportTCP, TransportTLS),
	oneOf(field("clients.engine", "how workers hold their clients; io_uring and epoll have no TLS, auto takes the cheapest that works", func(s *Scenario) any { return &s.Clients.Engine }), EngineAuto, EngineRing, EngineEpoll, EngineGoroutine),
	field("clients.compression", "clients offer permessage-deflate, which the gateway takes with gateway.compression.enabled", func(s *Scenario) any { return &s.Clients.Compression }),

	field("connect.rate", "connections opened in a second", func(s *Scenario) any { return &s.Connect.Rate }).above(perSecond(0), perSecond(maxRate)),
	field("connect.handshakes", "most handshakes under way at once", func(s *Scenario) any { return &s.Connect.Handshakes }).within(1, 4096),
	field("connect.timeout", "bound of the whole ramp", func(s *Scenario) any { return &s.Connect.Timeout }).above(Duration{}, hours(24)),

	oneOf(field("reconnect.mode", "what clients do when their connection ends", func(s *Scenario) any { return &s.Reconnect.Mode }), ReconnectNever, ReconnectAlways),
	field("reconnect.after", "wait before the first attempt, doubled for each that follows", func(s *Scenario) any { return &s.Reconnect.After }).above(Duration{}, hours(24)).only(whenComing),
	field("reconnect.most", "longest wait", func(s *Scenario) any { return &s.Reconnect.Most }).above(Duration{}, hours(24)).only(whenComing),
	field("reconnect.jitter", "share of a wait that is drawn", func(s *Scenario) any { return &s.Reconnect.Jitter }).within(Ratio(0), Ratio(1)).only(whenComing),

	field("churn.topics", "topics that clients come to and leave, beside topics.count", func(s *Scenario) any { return &s.Churn.Topics }).within(0, maxTopics),
	field("churn.rate", "changes in a second over all clients", func(s *Scenario) any { return &s.Churn.Rate }).above(perSecond(0), perSecond(maxRate)).only(whenChurning),

	oneOf(field("load.mode", "how messages are published", func(s *Scenario) any { return &s.Load.Mode }), ModeOpen, ModeBurst, ModeInflight, ModeCapacity, ModeIdle),
	field("load.rate", "messages in a second", func(s *Scenario) any { return &s.Load.Rate }).above(perSecond(0), perSecond(maxRate)).only(inOpen),
	oneOf(field("load.arrivals", "how the gaps between messages are drawn", func(s *Scenario) any { return &s.Load.Arrivals }), ArrivalsConstant, ArrivalsPoisson).only(inOpen),
	field("load.burst", "messages due at once", func(s *Scenario) any { return &s.Load.Burst }).within(1, 100_000).only(inBurst),
	field("load.every", "time between bursts", func(s *Scenario) any { return &s.Load.Every }).above(Duration{}, hours(24)).only(inBurst),
	field("load.inflight", "messages under way at once", func(s *Scenario) any { return &s.Load.Inflight }).within(1, 100_000).only(inInflight),
	field("load.payload", "size of a message's data", func(s *Scenario) any { return &s.Load.Payload }).within(Size(MinPayload), Size(maxPayload)).only(whenUnmixed),
	field("load.mix", `sizes drawn by weight, as "128B:80"`, func(s *Scenario) any { return &s.Load.Mix }).only(whenLoaded),
	oneOf(field("load.padding", "what fills a message up to its size", func(s *Scenario) any { return &s.Load.Padding }), PaddingDots, PaddingRecords, PaddingNoise),
	field("load.publishers", "publishing streams", func(s *Scenario) any { return &s.Load.Publishers }).within(1, 64),
	field("load.window", "messages of one publisher that wait for an acknowledgement", func(s *Scenario) any { return &s.Load.Window }).within(1, 1_000_000),
	field("load.ack_within", "how long acknowledgements may wait so that one is for several messages, 0s: each at once", func(s *Scenario) any { return &s.Load.AckWithin }).within(Duration{}, Seconds(1)),
	field("load.give_up", "lateness past which a message is dropped and counted", func(s *Scenario) any { return &s.Load.GiveUp }).above(Duration{}, hours(24)),

	field("capacity.from", "first rate that is tried", func(s *Scenario) any { return &s.Capacity.From }).above(perSecond(0), perSecond(maxRate)).only(inCapacity),
	field("capacity.to", "highest rate that is tried", func(s *Scenario) any { return &s.Capacity.To }).above(perSecond(0), perSecond(maxRate)).only(inCapacity),
	field("capacity.trial", "how long each rate is published", func(s *Scenario) any { return &s.Capacity.Trial }).above(Duration{}, hours(1)).only(inCapacity),
	field("capacity.p99", "delivery p99 up to which a rate is sustained", func(s *Scenario) any { return &s.Capacity.P99 }).above(Duration{}, hours(1)).only(inCapacity),
	field("capacity.precision", "how near to each other the last two rates are", func(s *Scenario) any { return &s.Capacity.Precision }).within(Ratio(0.01), Ratio(1)).only(inCapacity),

	field("phases.settle", "rest before memory is read", func(s *Scenario) any { return &s.Phases.Settle }).within(Duration{}, hours(24)),
	field("phases.ready", "bound of the ready probe", func(s *Scenario) any { return &s.Phases.Ready }).above(Duration{}, hours(24)),
	field("phases.warmup", "published and left out", func(s *Scenario) any { return &s.Phases.Warmup }).within(Duration{}, hours(24)),
	field("phases.measure", "the phase that the figures are of", func(s *Scenario) any { return &s.Phases.Measure }).above(Duration{}, hours(24)),
	field("phases.drain", "how long after the last message a delivery counts", func(s *Scenario) any { return &s.Phases.Drain }).above(Duration{}, hours(24)),
	field("phases.calibrate", "workers against a server that only writes, 0s: not", func(s *Scenario) any { return &s.Phases.Calibrate }).within(Duration{}, hours(1)),
	field("phases.leave", "bound for the servers to give back what clients held, 0s: not looked at", func(s *Scenario) any { return &s.Phases.Leave }).within(Duration{}, hours(1)),

	field("topology.managers", "manager processes, each with its share of the gateways", func(s *Scenario) any { return &s.Topology.Managers }).within(1, 64),
	field("topology.gateways", "gateway processes", func(s *Scenario) any { return &s.Topology.Gateways }).within(1, 64),
	field("topology.workers", "worker processes, 0: as many as needed", func(s *Scenario) any { return &s.Topology.Workers }).within(0, 64),
	oneOf(field("topology.cpus", "isolated: servers on one half of the CPUs, workers on the other", func(s *Scenario) any { return &s.Topology.CPUs }), CPUsShared, CPUsIsolated),
}

// slowKeys and faultKeys are the keys of an entry of [[slow]] and [[fault]].
var slowKeys = []key[Slow]{
	oneOf(field("kind", "how these clients misbehave", func(s *Slow) any { return &s.Kind }), SlowNeverReads, SlowReader, SlowWriter, SlowHalfOpen),
	field("count", "clients", func(s *Slow) any { return &s.Count }).within(1, nil),
	field("receive_buffer", "their SO_RCVBUF", func(s *Slow) any { return &s.ReceiveBuffer }).within(Size(0), Size(64<<20)),
	field("rate", "messages that each takes in a second", func(s *Slow) any { return &s.Rate }).above(perSecond(0), perSecond(maxRate)).only(ofSlowReader),
}

var faultKeys = []key[Fault]{
	oneOf(field("kind", "what is done", func(f *Fault) any { return &f.Kind }),
		FaultManagerRestart, FaultGatewayKill, FaultGatewayPause, FaultLinkBlackhole, FaultDisconnect).required(),
	field("victim", "index of the gateway or manager", func(f *Fault) any { return &f.Victim }).within(0, 63).only(ofProcess),
	field("share", "part of the clients", func(f *Fault) any { return &f.Share }).above(Ratio(0), Ratio(1)).only(ofDisconnect),
	field("at", "from the start of the measured phase", func(f *Fault) any { return &f.At }).within(Duration{}, hours(24)),
	field("hold", "how long the victim stays away", func(f *Fault) any { return &f.Hold }).within(Duration{}, hours(24)).only(ofProcess),
	field("recover", "how long after it losses may be the fault's", func(f *Fault) any { return &f.Recover }).above(Duration{}, hours(24)),
}

// freeTables hold keys of the servers' configuration, which this package passes on.
var freeTables = []string{"gateway", "manager"}

// Key describes one key of the format to people and to tools.
type Key struct {
	Name, Doc, Default string
	// Kind is what its value is: integer, boolean, string, word, duration, rate, size, share,
	// thresholds or mix.
	Kind string
	// Choices are the words that it may be, when those are a closed set.
	Choices []string
	// Limits is what its number may be, as "1 to 64"; empty when anything.
	Limits string
	// Only is when it means something, as `load.mode = "burst"`; empty is always. A key
	// that means nothing is refused when it is given.
	Only string
}

// Keys lists every key of the format, in the order of a printed scenario.
func Keys() []Key {
	def, slow, fault := Default(), defaultSlow(), defaultFault()
	return slices.Concat(described("", scenarioKeys, &def), described("slow.", slowKeys, &slow), described("fault.", faultKeys, &fault))
}

func described[T any](prefix string, keys []key[T], def *T) []Key {
	out := make([]Key, len(keys))
	for i, k := range keys {
		at := k.at(def)
		out[i] = Key{Name: prefix + k.name, Doc: k.doc, Default: format(at), Kind: kindOf(at), Choices: slices.Clone(k.choices)}
		if k.limits != nil {
			out[i].Limits = k.limits.String()
		}
		if k.when != nil {
			out[i].Only = k.when.text
		}
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
// environment variable would. Of arrays of tables a single [[slow]] can be set so, and
// slow.count = 0 takes it away, with the thresholds that are about it.
func (s *Scenario) Set(name, text string) error {
	for _, table := range freeTables {
		if rest, ok := strings.CutPrefix(name, table+"."); ok {
			return s.setFree(table, rest, text)
		}
	}
	if key, ok := strings.CutPrefix(name, "slow."); ok {
		return s.setSlow(key, text)
	}
	k, ok := find(scenarioKeys, name)
	if !ok {
		return fmt.Errorf("no key %q%s", name, suggest.DidYouMean(name, names(scenarioKeys)))
	}
	if err := assignText(k.at(s), text); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.forget(name)
	return nil
}

// setSlow sets a key of the one group of slow clients.
func (s *Scenario) setSlow(name, text string) error {
	k, ok := find(slowKeys, name)
	switch {
	case !ok:
		return fmt.Errorf("no key %q%s", "slow."+name, suggest.DidYouMean(name, names(slowKeys)))
	case len(s.Slow) != 1:
		return fmt.Errorf("slow.%s: needs a scenario with one [[slow]], this one has %d", name, len(s.Slow))
	case name == "count" && strings.TrimSpace(text) == "0":
		s.Slow = nil
		s.Thresholds = slices.DeleteFunc(slices.Clone(s.Thresholds), func(t Threshold) bool { return strings.HasPrefix(t.Metric, "slow.") })
		return nil
	}
	s.Slow = slices.Clone(s.Slow)
	if err := assignText(k.at(&s.Slow[0]), text); err != nil {
		return fmt.Errorf("slow.%s: %w", name, err)
	}
	// The rate of a slow reader means nothing to another kind, and is zero there as a file
	// would leave it; one that comes to have a meaning begins at its default.
	def := defaultSlow()
	for _, k := range slowKeys {
		if k.when == nil || k.when.on != name {
			continue
		}
		switch at := reflect.ValueOf(k.at(&s.Slow[0])).Elem(); {
		case !k.means(&s.Slow[0]):
			at.SetZero()
		case at.IsZero():
			at.Set(reflect.ValueOf(k.at(&def)).Elem())
		}
	}
	return nil
}

// forget puts those keys at their defaults that the one called on has left without a
// meaning: an override of the mode is not to be refused for what the file says of
// another mode.
func (s *Scenario) forget(on string) {
	def := Default()
	for _, k := range scenarioKeys {
		if k.when != nil && k.when.on == on && !k.means(s) {
			reflect.ValueOf(k.at(s)).Elem().Set(reflect.ValueOf(k.at(&def)).Elem())
		}
	}
}

// Ignored says why the scenario has no use for the key called name, as "is for
// load.mode = \"burst\" alone"; it is empty when the key means something.
func (s Scenario) Ignored(name string) string {
	if k, ok := find(scenarioKeys, name); ok && !k.means(&s) {
		return k.ignored()
	}
	return ""
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
