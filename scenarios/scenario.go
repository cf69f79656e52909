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
	// ModeCapacity is a search: trials at rates from capacity.from up, each an open
	// plan of its own, for the highest rate that keeps capacity.p99 and loses
	// nothing. The measured phase then runs at the rate that was found.
	ModeCapacity Mode = "capacity"
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

const (
	// FaultManagerRestart kills the manager with SIGKILL and starts a new one on
	// the same addresses after the hold.
	FaultManagerRestart FaultKind = "manager-restart"
	// FaultGatewayKill kills a gateway with SIGKILL and starts a new one on the same
	// addresses after the hold.
	FaultGatewayKill FaultKind = "gateway-kill"
	// FaultGatewayPause stops a gateway with SIGSTOP for the hold, and lets it go on.
	FaultGatewayPause FaultKind = "gateway-pause"
	// FaultLinkBlackhole lets nothing through between a gateway and its manager for
	// the hold, in either direction, and closes nothing.
	FaultLinkBlackhole FaultKind = "link-blackhole"
	// FaultDisconnect resets the connections of a share of the clients at once; they
	// come back as [reconnect] says. The hold is 0.
	FaultDisconnect FaultKind = "disconnect"
)

// SlowKind is how a client misbehaves.
type SlowKind string

const (
	// SlowNeverReads is a client that subscribes and then never reads its socket again.
	SlowNeverReads SlowKind = "never-reads"
	// SlowReader reads slow.rate messages a second, one at a time.
	SlowReader SlowKind = "slow-reader"
	// SlowWriter reads like the others, and sends a frame that never ends, a byte a second.
	SlowWriter SlowKind = "slow-writer"
	// SlowHalfOpen reads, and never sends anything again: no pong, no close.
	SlowHalfOpen SlowKind = "half-open"
)

// ReconnectMode is what a client does when its connection ends.
type ReconnectMode string

const (
	// ReconnectNever leaves it at that: what the client misses is lost.
	ReconnectNever ReconnectMode = "never"
	// ReconnectAlways dials the next gateway and subscribes again, until it succeeds.
	// What the client misses meanwhile is lost all the same.
	ReconnectAlways ReconnectMode = "always"
)

// CPUs is how the processes of a run share the machine's CPUs.
type CPUs string

const (
	// CPUsShared lets every process run on every CPU.
	CPUsShared CPUs = "shared"
	// CPUsIsolated gives the servers one half of the CPUs and the workers the other.
	CPUsIsolated CPUs = "isolated"
)

// Transport is what WebSocket connections go over.
type Transport string

const (
	// TransportTCP is plain TCP.
	TransportTCP Transport = "tcp"
	// TransportTLS is TLS, with a certificate that the harness makes for the run.
	TransportTLS Transport = "tls"
)

// Engine is how a worker holds its clients.
type Engine string

const (
	// EngineAuto is the first of the others that exists on the machine and that the transport allows.
	EngineAuto Engine = "auto"
	// EngineRing has the kernel read raw sockets, through io_uring. It has no TLS.
	EngineRing Engine = "io_uring"
	// EngineEpoll reads raw sockets as epoll reports them. It has no TLS.
	EngineEpoll Engine = "epoll"
	// EngineGoroutine gives each client a goroutine.
	EngineGoroutine Engine = "goroutine"
)

// Padding is what fills a message up to its size.
type Padding string

const (
	// PaddingDots is one character over and over, which costs the publisher nothing and
	// shrinks to nothing.
	PaddingDots Padding = "dots"
	// PaddingRecords is text that shrinks as JSON of an application does.
	PaddingRecords Padding = "records"
	// PaddingNoise is text that hardly shrinks: base64 digits.
	PaddingNoise Padding = "noise"
)

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
	// Clients is how clients connect, and what they ask of the server.
	Clients Clients `json:"clients"`
	// Connect is the ramp.
	Connect Connect `json:"connect"`
	// Reconnect is what clients do when their connection ends.
	Reconnect Reconnect `json:"reconnect"`
	// Churn are topics that clients come to and leave, beside Topics.
	Churn Churn `json:"churn"`
	// Load is what is published.
	Load Load `json:"load"`
	// Capacity is the search of ModeCapacity.
	Capacity Capacity `json:"capacity"`
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

// Reconnect is what clients do when their connection ends: the n-th attempt comes
// After * 2^(n-1), at most Most, after the one before it. Of each wait, the share
// Jitter is drawn from the seed: a wait w becomes one from w*(1-Jitter) to w.
type Reconnect struct {
	Mode   ReconnectMode `json:"mode"`
	After  Duration      `json:"after"`
	Most   Duration      `json:"most"`
	Jitter Ratio         `json:"jitter"`
}

// Churn are topics that clients come to and leave. They are numbered behind
// topics.count, and get their turn of the messages like the others.
type Churn struct {
	// Topics is their number; 0 is no churn.
	Topics int `json:"topics"`
	// Rate is the changes in a second over all clients: a client that is at one of these
	// topics leaves it and joins another, drawn from the seed. Every healthy client is
	// at one.
	Rate Rate `json:"rate"`
}

// Capacity is a search for the highest rate.
type Capacity struct {
	// From is the first rate that is tried, To the highest.
	From Rate `json:"from"`
	To   Rate `json:"to"`
	// Trial is how long each rate is published.
	Trial Duration `json:"trial"`
	// P99 is the delivery p99 up to which a rate is sustained.
	P99 Duration `json:"p99"`
	// Precision ends the search once the lowest rate that failed is within this share
	// of the highest that was sustained.
	Precision Ratio `json:"precision"`
}

// Mix is a size of payload and how often it is drawn, in relation to the others.
type Mix struct {
	Size   Size `json:"size"`
	Weight int  `json:"weight"`
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
	// Mix draws the size of each message from the seed; empty gives all of them Payload.
	Mix []Mix `json:"mix,omitempty"`
	// Padding is what fills a message up to its size.
	Padding Padding `json:"padding"`
	// Publishers is the number of publishing streams; message i goes to stream i
	// mod Publishers.
	Publishers int `json:"publishers"`
	// Window is the most messages of one publisher that wait for the server's
	// acknowledgement. When it is full the plan goes on and the message is sent
	// late, with its intended time kept.
	Window int `json:"window"`
	// AckWithin is how long publishers let the server wait with an acknowledgement, so
	// that one is for several messages, in whole milliseconds; 0: each message has its
	// own at once. Latencies of acknowledgement contain that wait. Servers that do not
	// offer it ignore it.
	AckWithin Duration `json:"ack_within,omitempty"`
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
	// Calibrate is how long the workers are measured against a server that does
	// nothing but write; 0 leaves it out. It comes before the servers start.
	Calibrate Duration `json:"calibrate"`
	// Leave bounds how long the servers may take to give back what their clients held,
	// once all of those have gone; 0 does not look.
	Leave Duration `json:"leave"`
}

// Clients is how clients connect, and what they ask of the server.
type Clients struct {
	// Transport is what their connections go over.
	Transport Transport `json:"transport"`
	// Engine is how workers hold them.
	Engine Engine `json:"engine"`
	// Compression makes them offer permessage-deflate (RFC 7692). Servers that do not take
	// it send as they do without.
	Compression bool `json:"compression"`
}

// Topology is how many processes there are.
type Topology struct {
	// Managers is the number of manager processes. Gateway i belongs to manager i mod
	// Managers; every message is published to every manager, as a backend does that
	// keeps independent cells.
	Managers int `json:"managers"`
	// Gateways is the number of gateway processes; clients are spread evenly.
	Gateways int `json:"gateways"`
	// Workers is the number of worker processes; 0 means one per 8,000 connections.
	Workers int `json:"workers"`
	// CPUs is how processes share the machine's CPUs.
	CPUs CPUs `json:"cpus"`
}

// Slow is a group of clients that misbehave.
type Slow struct {
	Kind  SlowKind `json:"kind"`
	Count int      `json:"count"`
	// ReceiveBuffer is their SO_RCVBUF: small, or the kernel's buffers hide a slow
	// client for minutes.
	ReceiveBuffer Size `json:"receive_buffer"`
	// Rate is the messages that a SlowReader takes in a second.
	Rate Rate `json:"rate"`
}

// Fault is something done to the servers during the measured phase.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// Victim is the index of the gateway or manager that it happens to.
	Victim int `json:"victim"`
	// Share is the part of the clients that a FaultDisconnect resets.
	Share Ratio `json:"share"`
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
		Clients:     Clients{Transport: TransportTCP, Engine: EngineAuto},
		Connect:     Connect{Rate: Rate{1000}, Handshakes: 128, Timeout: Seconds(120)},
		Reconnect:   Reconnect{Mode: ReconnectNever, After: Seconds(0.1), Most: Seconds(5), Jitter: 0.5},
		Churn:       Churn{Rate: Rate{100}},
		Load: Load{
			Mode: ModeOpen, Rate: Rate{5}, Arrivals: ArrivalsConstant, Payload: 128,
			Padding: PaddingDots, Publishers: 1, Window: 1024, GiveUp: Seconds(5),
		},
		Capacity: Capacity{From: Rate{10}, To: Rate{10_000}, Trial: Seconds(5), P99: Seconds(0.1), Precision: 0.1},
		Phases: Phases{
			Settle: Seconds(2), Ready: Seconds(30), Warmup: Seconds(5), Measure: Seconds(30), Drain: Seconds(10),
			Calibrate: Seconds(2), Leave: Seconds(10),
		},
		Topology: Topology{Managers: 1, Gateways: 1, CPUs: CPUsShared},
	}
}

// defaultSlow and defaultFault are the starting points of their array entries.
func defaultSlow() Slow {
	return Slow{Kind: SlowNeverReads, Count: 1, ReceiveBuffer: 4 << 10, Rate: Rate{1}}
}
func defaultFault() Fault { return Fault{Share: 1, Hold: Seconds(1), Recover: Seconds(10)} }

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
	case ModeCapacity:
		return s.Capacity.To.PerSecond // the most that it may come to
	default:
		return 0
	}
}
