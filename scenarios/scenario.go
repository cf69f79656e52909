package scenarios

// Version is the format version that this package reads and writes.
const Version = 1

// Subprotocol is the WebSocket subprotocol that the simulated clients ask for.
type Subprotocol string

// The subprotocols that Firetower speaks. Reference servers speak V0 alone.
const (
	V0 Subprotocol = "firetower.v0"
	V1 Subprotocol = "firetower.v1"
)

// Mode is how messages are published.
type Mode string

const (
	// ModeOpen publishes by a plan that waits for nothing: message i is due at
	// start + i/rate, whatever became of the ones before it.
	ModeOpen Mode = "open"
	// ModeBurst is an open plan in which load.burst messages are due at once,
	// every load.every.
	ModeBurst Mode = "burst"
	// ModeInflight keeps load.inflight messages under way and publishes the next
	// when one has been delivered: a closed loop, which finds the highest
	// throughput and says nothing of the latency that users would see.
	ModeInflight Mode = "inflight"
	// ModeIdle publishes nothing but the ready probe.
	ModeIdle Mode = "idle"
)

// Arrivals is how the gaps of an open plan are drawn.
type Arrivals string

const (
	// ArrivalsConstant spaces messages evenly.
	ArrivalsConstant Arrivals = "constant"
	// ArrivalsPoisson draws exponential gaps from the seed.
	ArrivalsPoisson Arrivals = "poisson"
)

// FaultKind is what is done to the system under test.
type FaultKind string

// FaultManagerRestart kills the manager with SIGKILL and starts a new one on
// the same addresses after the hold.
const FaultManagerRestart FaultKind = "manager-restart"

// SlowKind is how a client misbehaves.
type SlowKind string

// SlowNeverReads is a client that subscribes and then never reads its socket again.
const SlowNeverReads SlowKind = "never-reads"

// Scenario is one question: what is connected, what is published, what is done
// to the servers meanwhile, and what must hold.
type Scenario struct {
	// Version is the format version of the file.
	Version int `json:"version"`
	// Name is the scenario's name, which is also its file name without .toml.
	Name string `json:"name"`
	// Purpose is one line for people.
	Purpose string `json:"purpose"`
	// Connections is the number of WebSocket clients, the slow ones included.
	Connections int `json:"connections"`
	// Subprotocol is what the clients ask for.
	Subprotocol Subprotocol `json:"subprotocol"`
	// Seed makes the plan's random choices (Poisson gaps, order of a comparison's runs).
	Seed uint64 `json:"seed"`
	// Topics says who subscribes to what.
	Topics Topics `json:"topics"`
	// Connect is the ramp.
	Connect Connect `json:"connect"`
	// Load is what is published.
	Load Load `json:"load"`
	// Phases are how long each part takes.
	Phases Phases `json:"phases"`
	// Topology is how many processes there are.
	Topology Topology `json:"topology"`
	// Slow are clients that misbehave by plan; they are accounted for apart.
	Slow []Slow `json:"slow,omitempty"`
	// Faults are what is done to the servers during the measured phase.
	Faults []Fault `json:"fault,omitempty"`
	// Thresholds must hold, or the run exits with 99.
	Thresholds []Threshold `json:"thresholds"`
	// Gateway and Manager are keys of the servers' own configuration files, laid
	// over their defaults. Their names are checked by the config package.
	Gateway map[string]any `json:"gateway,omitempty"`
	Manager map[string]any `json:"manager,omitempty"`
}

// Topics says who subscribes to what: connection i subscribes to the topics
// (i*PerConnection+k) mod Count, for k below PerConnection.
type Topics struct {
	// Count is the number of topics.
	Count int `json:"count"`
	// PerConnection is the number of topics that each client subscribes to.
	PerConnection int `json:"per_connection"`
}

// Connect is the ramp of connections.
type Connect struct {
	// Rate is how many connections are opened in a second, over all workers.
	Rate Rate `json:"rate"`
	// Handshakes is the most handshakes under way at once, over all workers. Past
	// the listen backlog (4096 on Linux) SYN retries add modes of 1 s and 3 s.
	Handshakes int `json:"handshakes"`
	// Timeout bounds the whole ramp.
	Timeout Duration `json:"timeout"`
}

// Load is what is published.
type Load struct {
	Mode Mode `json:"mode"`
	// Rate is the messages of all publishers over all topics (ModeOpen).
	Rate Rate `json:"rate"`
	// Arrivals is how ModeOpen spaces them.
	Arrivals Arrivals `json:"arrivals"`
	// Burst messages are due at once, every Every (ModeBurst).
	Burst int      `json:"burst,omitempty"`
	Every Duration `json:"every,omitempty"`
	// Inflight is the messages under way at once (ModeInflight).
	Inflight int `json:"inflight,omitempty"`
	// Payload is the size of a message's data, test header and padding together.
	Payload Size `json:"payload"`
	// Publishers is the number of publishing streams; message i goes to stream i
	// mod Publishers.
	Publishers int `json:"publishers"`
	// Window is the most messages of one publisher that wait for the server's
	// acknowledgement. When it is full the plan goes on and the message is sent
	// late, with its intended time kept.
	Window int `json:"window"`
	// GiveUp is how late a message may be sent at most; past it the message is
	// dropped, and counted as dropped by the publisher.
	GiveUp Duration `json:"give_up"`
}

// Phases are how long each part takes.
type Phases struct {
	// Settle is how long the servers rest, empty and again with every client idle,
	// before their memory is read.
	Settle Duration `json:"settle"`
	// Ready bounds the probing until every client has seen a message of each of its topics.
	Ready Duration `json:"ready"`
	// Warmup is published to and left out of every figure.
	Warmup Duration `json:"warmup"`
	// Measure is the phase that the figures are of.
	Measure Duration `json:"measure"`
	// Drain is how long after the last message a delivery still counts.
	Drain Duration `json:"drain"`
}

// Topology is how many processes there are.
type Topology struct {
	// Gateways is the number of gateway processes; clients are spread evenly.
	Gateways int `json:"gateways"`
	// Workers is the number of worker processes; 0 means one per 8,000 connections.
	Workers int `json:"workers"`
}

// Slow is a group of clients that misbehave.
type Slow struct {
	Kind  SlowKind `json:"kind"`
	Count int      `json:"count"`
	// ReceiveBuffer is their SO_RCVBUF: small, or the kernel's buffers hide a slow
	// client for minutes.
	ReceiveBuffer Size `json:"receive_buffer"`
}

// Fault is something done to the servers during the measured phase.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// At is when, from the start of the measured phase.
	At Duration `json:"at"`
	// Hold is how long the victim stays away.
	Hold Duration `json:"hold"`
	// Recover is how long after the end of the hold deliveries may still be lost
	// to the fault. A loss outside of the fault's window is not explained by it.
	Recover Duration `json:"recover"`
}

// Default is a scenario with every optional key at its default.
func Default() Scenario {
	return Scenario{
		Version:     Version,
		Subprotocol: V1,
		Seed:        1,
		Topics:      Topics{Count: 1, PerConnection: 1},
		Connect:     Connect{Rate: Rate{1000}, Handshakes: 128, Timeout: Seconds(120)},
		Load: Load{
			Mode: ModeOpen, Rate: Rate{5}, Arrivals: ArrivalsConstant, Payload: 128,
			Publishers: 1, Window: 1024, GiveUp: Seconds(5),
		},
		Phases: Phases{
			Settle: Seconds(2), Ready: Seconds(30), Warmup: Seconds(5), Measure: Seconds(30), Drain: Seconds(10),
		},
		Topology: Topology{Gateways: 1},
	}
}

// defaultSlow and defaultFault are the starting points of their array entries.
func defaultSlow() Slow   { return Slow{Kind: SlowNeverReads, Count: 1, ReceiveBuffer: 4 << 10} }
func defaultFault() Fault { return Fault{Hold: Seconds(1), Recover: Seconds(10)} }

// Closed tells whether the load waits for the system under test.
func (s Scenario) Closed() bool { return s.Load.Mode == ModeInflight }

// SlowClients is the number of clients that misbehave by plan.
func (s Scenario) SlowClients() int {
	n := 0
	for _, g := range s.Slow {
		n += g.Count
	}
	return n
}

// Subscriptions is the number of (client, topic) pairs, the slow clients' included.
func (s Scenario) Subscriptions() int { return s.Connections * s.Topics.PerConnection }

// MessagesPerSecond is the planned rate; 0 for a closed loop or an idle scenario.
func (s Scenario) MessagesPerSecond() float64 {
	switch s.Load.Mode {
	case ModeOpen:
		return s.Load.Rate.PerSecond
	case ModeBurst:
		return float64(s.Load.Burst) / s.Load.Every.Seconds()
	default:
		return 0
	}
}
