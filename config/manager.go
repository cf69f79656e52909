package config

import "time"

// Manager is the configuration of a manager. Each field's default, unit and
// bounds stand in managerKeys.
type Manager struct {
	// Heartbeat is the interval of heartbeats on links.
	Heartbeat time.Duration
	// SocketAddress is where links of gateways are taken.
	SocketAddress Address
	// GRPCAddress is where gRPC is served.
	GRPCAddress Address
	// HTTP serves the dashboard, health and metrics.
	HTTP HTTP
	// Link is the manager's side of the links.
	Link ManagerLink
	// Limits bound what gateways may cost.
	Limits ManagerLimits
	// DrainTimeout bounds an orderly stop.
	DrainTimeout time.Duration
	// Runtime is how the process collects garbage.
	Runtime Runtime
	// Log is what is logged.
	Log Log

	resolved
}

// ManagerLink is the manager's side of the links.
type ManagerLink struct {
	// Token is the secret shared with gateways, read from TokenFile when that is
	// set.
	Token, TokenFile string
	// QueueMessages and QueueBytes bound what waits for one gateway.
	QueueMessages, QueueBytes int
	// WriteTimeout, HandshakeTimeout and DetachGrace bound the steps of a link.
	WriteTimeout, HandshakeTimeout, DetachGrace time.Duration
}

// ManagerLimits bound what gateways may cost.
type ManagerLimits struct {
	MaxPacketBytes, MaxTopicBytes, MaxTopicsPerGateway, MaxGateways int
}

// managerKeys is the table of a manager's keys, bound to c.
func managerKeys(c *Manager) []*key {
	keys := []*key{
		{
			path: "heartbeat", kind: KindDuration, def: "5s", to: &c.Heartbeat, lo: 10 * ms, hi: hr, bareSeconds: true, wellKnown: true,
			doc: "How often a heartbeat goes to each gateway. A link that is silent for two intervals is closed. " +
				"A bare integer counts seconds.",
		},
		{
			path:    "servicetimeout",
			retired: "has no effect: a link is given up after two silent heartbeats; remove this key",
		},
		{
			path: "grpc.address", kind: KindListen, def: "127.0.0.1:6667", to: &c.GRPCAddress, flag: "grpc", wellKnown: true,
			doc: "Where gRPC is served. The default is for this machine only. A host alone takes the port from grpc.port.",
		},
		{
			path: "grpc.port", kind: KindPort, def: "6667", lo: 0, hi: 65535, portOf: "grpc.address",
			doc: "The port of grpc.address, when that is a host alone; 0 takes a free one.",
		},
		{
			path: "socket.address", kind: KindListen, def: "127.0.0.1:6666", to: &c.SocketAddress, flag: "link", wellKnown: true,
			doc: "Where links of gateways are taken. The default is for this machine only. A host alone takes the port from socket.port.",
		},
		{
			path: "socket.port", kind: KindPort, def: "6666", lo: 0, hi: 65535, portOf: "socket.address",
			doc: "The port of socket.address, when that is a host alone; 0 takes a free one.",
		},
		{
			path: "http.address", kind: KindListen, def: "127.0.0.1:8000", to: &c.HTTP.Address, flag: "http", optional: true,
			doc: "Where the dashboard, /topic, /healthz, /readyz and /metrics are served. Empty is nowhere.",
		},
		pprofKey(&c.HTTP),
		{
			path: "link.token", kind: KindSecret, def: "", to: &c.Link.Token, check: checkSecret, shared: true,
			doc: "The secret that manager and gateways share; callers of gRPC and readers of the dashboard need it too. Empty is none.",
		},
		{
			path: "link.tokenFile", kind: KindFile, def: "", to: &c.Link.TokenFile, flag: "token-file", shared: true,
			doc: "The file that holds the secret, in place of link.token. A relative name in a configuration file is looked up " +
				"beside that file.",
		},
		{
			path: "link.queueMessages", kind: KindInt, def: "262144", to: &c.Link.QueueMessages, lo: 1, hi: 1 << 30,
			doc: "How many messages may wait for one gateway. One more evicts it, so that it never delays the others.",
		},
		{
			path: "link.queueBytes", kind: KindSize, def: "64MiB", to: &c.Link.QueueBytes, lo: 4 * kib, hi: 64 * gib,
			doc: "How many bytes may wait for one gateway. Queues share the bytes of a message.",
		},
		{
			path: "link.writeTimeout", kind: KindDuration, def: "5s", to: &c.Link.WriteTimeout, lo: ms, hi: hr,
			doc: "How long a write to a gateway may make no progress before that gateway is evicted.",
		},
		{
			path: "link.handshakeTimeout", kind: KindDuration, def: "10s", to: &c.Link.HandshakeTimeout, lo: ms, hi: hr,
			doc: "How long a gateway may take to say hello and list its topics.",
		},
		{
			path: "link.detachGrace", kind: KindDuration, def: "0s", to: &c.Link.DetachGrace, lo: 0, hi: hr,
			doc: "How long the topics of a gateway stay after its link was lost; 0s is two heartbeats.",
		},
		{
			path: "limits.maxPacketBytes", kind: KindSize, def: "8MiB", to: &c.Limits.MaxPacketBytes, lo: 4 * kib, hi: gib,
			doc: "The largest packet on a link, and with it the largest message.",
		},
		{
			path: "limits.maxTopicBytes", kind: KindSize, def: "255B", to: &c.Limits.MaxTopicBytes, lo: 1, hi: 2 * kib,
			doc: "The longest name of a topic. Gateways have the same limit for their clients; raise both.",
		},
		{
			path: "limits.maxTopicsPerGateway", kind: KindInt, def: "4194304", to: &c.Limits.MaxTopicsPerGateway, lo: 1, hi: 1 << 30,
			doc: "How many topics one gateway may have.",
		},
		{
			path: "limits.maxGateways", kind: KindInt, def: "1024", to: &c.Limits.MaxGateways, lo: 1, hi: 1 << 20,
			doc: "How many gateways the manager knows at a time.",
		},
		{
			path: "drain.timeout", kind: KindDuration, def: "10s", to: &c.DrainTimeout, lo: ms, hi: hr, shared: true,
			doc: "How long an orderly stop may take.",
		},
	}
	keys = append(keys, runtimeKeys(&c.Runtime)...)
	return append(keys, logKeys(&c.Log)...)
}

// crossCheck refuses values that cannot work together.
func (c *Manager) crossCheck(l *loader) {
	if c.Link.QueueBytes < c.Limits.MaxPacketBytes {
		l.problemWith("link.queueBytes", "must be at least limits.maxPacketBytes (%s), or the largest message evicts every gateway; got %s",
			formatSize(int64(c.Limits.MaxPacketBytes)), formatSize(int64(c.Link.QueueBytes)))
	}
	c.Runtime.crossCheck(l)
}
