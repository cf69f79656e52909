package config

import (
	"slices"
	"time"
)

// Gateway is the configuration of a gateway. Each field's default, unit and
// bounds stand in gatewayKeys.
type Gateway struct {
	// ChanLens bounds the messages that wait for one connection.
	ChanLens int
	// Heartbeat is the interval of pings to clients.
	Heartbeat time.Duration
	// TopicServiceAddr is where the manager takes links.
	TopicServiceAddr Address
	// GRPCAddress is where the manager serves gRPC.
	GRPCAddress Address
	// Bucket shapes the fan-out.
	Bucket Bucket
	// Gateway is how clients come in.
	Gateway Listener
	// TLS encrypts the WebSocket listener.
	TLS TLS
	// Proxy is for a gateway behind balancers.
	Proxy Proxy
	// Auth lets clients in by signed tokens.
	Auth Auth
	// Limits bound what one client may cost.
	Limits Limits
	// Admission bounds storms of connecting clients.
	Admission Admission
	// SlowConsumer is what happens to a client that does not keep up.
	SlowConsumer SlowConsumer
	// Compression is what is compressed on its way to clients.
	Compression Compression
	// Link is the gateway's side of the link to the manager.
	Link GatewayLink
	// ClusterID names the gateway to the manager.
	ClusterID string
	// HTTP serves health and metrics.
	HTTP HTTP
	// Drain is the orderly stop.
	Drain GatewayDrain
	// Runtime is how the process collects garbage.
	Runtime Runtime
	// Log is what is logged.
	Log Log

	resolved
}

// Bucket shapes the fan-out.
type Bucket struct {
	Num, CentralChanCount, CentralBytes, BuffChanCount, ConsumerNum, InlineSubscribers int
	// JoinBytes and JoinMessages bound one joined write.
	JoinBytes, JoinMessages int
	// BatchWrites writes to many connections with one system call.
	BatchWrites bool
	// FlushInterval is how long messages of FlushTopics are collected.
	FlushInterval time.Duration
	FlushTopics   []string
}

// Listener is how clients come in.
type Listener struct {
	// Listen is the address of the WebSocket listener.
	Listen Address
	// Path is the URL path of the endpoint.
	Path string
	// Origins are the origins that browsers may connect from.
	Origins []string
	// UserHeader is the request header that carries the user's id.
	UserHeader string
	// ClientPublish lets clients publish.
	ClientPublish bool
	// HandshakeTimeout, FrameTimeout, SubscribeTimeout and CloseTimeout bound the steps of a
	// connection.
	HandshakeTimeout, FrameTimeout, SubscribeTimeout, CloseTimeout time.Duration
}

// Limits bound what one client may cost.
type Limits struct {
	MaxFrameBytes, MaxTopicsPerConn, MaxTopicBytes, MaxConnections, MaxConnectionsPerIP int
}

// SlowConsumer is what happens to a client that does not keep up.
type SlowConsumer struct {
	// Policy is disconnect, drop-oldest or latest.
	Policy string
	// PendingBytes and PendingAge bound a connection's backlog.
	PendingBytes int
	PendingAge   time.Duration
	// SocketBytes bounds what the kernel holds for a connection.
	SocketBytes int
}

// Compression is what is compressed on its way to clients (permessage-deflate, RFC 7692).
type Compression struct {
	Enabled          bool
	Threshold, Level int
}

// GatewayLink is the gateway's side of the link to the manager.
type GatewayLink struct {
	Heartbeat time.Duration
	// Token is the secret shared with the manager, read from TokenFile when that
	// is set.
	Token, TokenFile     string
	QueueBytes           int
	MaxPacketBytes       int
	RedialMin, RedialMax time.Duration
}

// GatewayDrain is the orderly stop of a gateway.
type GatewayDrain struct {
	Timeout, RetryWindow time.Duration
}

// HTTP is where health and metrics are served.
type HTTP struct {
	Address Address
	Pprof   bool
}

// Log is what is logged, to standard error.
type Log struct {
	// Level is debug, info, warn or error.
	Level string
	// Format is text or json.
	Format string
}

// Units for the tables.
const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
	ms  = int64(time.Millisecond)
	sec = int64(time.Second)
	hr  = int64(time.Hour)
)

// gatewayKeys is the table of a gateway's keys, bound to c.
func gatewayKeys(c *Gateway) []*key {
	keys := []*key{
		{
			path: "chanLens", kind: KindInt, def: "1000", to: &c.ChanLens, lo: 1, hi: 1 << 24, wellKnown: true,
			doc: "How many messages may wait to be written to one connection. A connection at this bound, " +
				"or at one of [slowConsumer], is a slow consumer.",
		},
		{
			path: "heartbeat", kind: KindDuration, def: "25s", to: &c.Heartbeat, lo: 10 * ms, hi: 24 * hr, bareSeconds: true, wellKnown: true,
			doc: "How often a client is pinged, and sent the text heartbeat in firetower.v0. A client that is silent " +
				"for two intervals is disconnected. A bare integer counts seconds.",
		},
		{
			path: "topicServiceAddr", kind: KindDial, def: "127.0.0.1:6666", to: &c.TopicServiceAddr, flag: "manager-link",
			wellKnown: true, unusedInServe: true,
			doc: "Where the manager takes the links of gateways.",
		},
		{
			path: "grpc.address", kind: KindDial, def: "127.0.0.1:6667", to: &c.GRPCAddress, flag: "manager-grpc",
			wellKnown: true, unusedInServe: true,
			doc: "Where the manager serves gRPC.",
		},
		{
			path: "bucket.Num", kind: KindInt, def: "0", to: &c.Bucket.Num, lo: 0, hi: 1024, wellKnown: true,
			doc: "How many Buckets share the connections. Each writes to its own on its own. 0 is one for each processor.",
		},
		{
			path: "bucket.CentralChanCount", kind: KindInt, def: "100000", to: &c.Bucket.CentralChanCount, lo: 1, hi: 1 << 24, wellKnown: true,
			doc: "How many messages the gateway takes in before it stops reading from the manager.",
		},
		{
			path: "bucket.CentralBytes", kind: KindSize, def: "256MiB", to: &c.Bucket.CentralBytes, lo: kib, hi: 64 * gib,
			doc: "The bound of what waits for the buckets in bytes, a message counted once for each bucket.",
		},
		{
			path: "bucket.BuffChanCount", kind: KindInt, def: "1000", to: &c.Bucket.BuffChanCount, lo: 1, hi: 1 << 24, wellKnown: true,
			doc: "How many messages may wait for one consumer of a Bucket. What comes on top waits centrally.",
		},
		{
			path: "bucket.ConsumerNum", kind: KindInt, def: "0", to: &c.Bucket.ConsumerNum, lo: 0, hi: 1024, wellKnown: true,
			doc: "How many consumers a Bucket has. A topic always goes to the same one, so that its order is kept. 0 is as many " +
				"as do without tuning, which is 32.",
		},
		{
			path: "bucket.inlineSubscribers", kind: KindInt, def: "32", to: &c.Bucket.InlineSubscribers, lo: 0, hi: 1 << 20,
			doc: "Up to how many subscribers of a topic the reader of the manager's link writes to by itself, while it keeps up, " +
				"in place of waking consumers. 0 leaves all to consumers.",
		},
		{
			path: "bucket.joinBytes", kind: KindSize, def: "64KiB", to: &c.Bucket.JoinBytes, lo: 1, hi: 64 * mib,
			doc: "How much of consecutive messages of a topic goes to a client in one write.",
		},
		{
			path: "bucket.joinMessages", kind: KindInt, def: "1024", to: &c.Bucket.JoinMessages, lo: 1, hi: 1 << 20,
			doc: "The same bound in messages.",
		},
		{
			path: "bucket.batchWrites", kind: KindBool, def: "true", to: &c.Bucket.BatchWrites,
			doc: "Write to up to 32 clients with one system call, where the system lets it (io_uring, Linux 5.6 or newer; many " +
				"container runtimes forbid it): a third less CPU for each.",
		},
		{
			path: "bucket.flushInterval", kind: KindDuration, def: "0s", to: &c.Bucket.FlushInterval, lo: 0, hi: 10 * sec,
			doc: "How long the messages of a topic are collected, from the first of them, to go to each client in one write: less CPU " +
				"where a topic has several in that time, for a delay of up to so long. 0 collects nothing.",
		},
		{
			path: "bucket.flushTopics", kind: KindList, def: "", to: &c.Bucket.FlushTopics, check: checkTopicBeginnings,
			doc: `The beginnings of the topics that flushInterval is for, such as "dashboard/". Without any it is for all.`,
		},
		{
			path: "gateway.listen", kind: KindListen, def: "127.0.0.1:9999", to: &c.Gateway.Listen, flag: "listen",
			doc: "Where WebSocket clients connect. The default is for this machine only; :9999 listens on all interfaces.",
		},
		{
			path: "gateway.path", kind: KindText, def: "/ws", to: &c.Gateway.Path, check: checkPath,
			doc: "The URL path of the WebSocket endpoint.",
		},
		{
			path: "gateway.origins", kind: KindList, def: "", to: &c.Gateway.Origins, check: checkOrigins,
			doc: `Web pages of which origins may connect, such as "https://example.org". Without any, pages of the ` +
				`gateway's own host may; "*" lets in any. A client that sends no Origin is no browser and is let in.`,
		},
		{
			path: "gateway.userHeader", kind: KindText, def: "", to: &c.Gateway.UserHeader, check: checkHeader,
			doc: "The request header that carries the user's id, for kicks by user, where no token does (auth). Only for a gateway that is reached through " +
				"a proxy that sets it: a client could send any. Empty is none.",
		},
		{
			path: "gateway.clientPublish", kind: KindBool, def: "true", to: &c.Gateway.ClientPublish,
			doc: "Whether clients may publish. Without, only callers of the manager's gRPC and applications do, " +
				"and a client that tries is told that it is forbidden.",
		},
		{
			path: "gateway.handshakeTimeout", kind: KindDuration, def: "10s", to: &c.Gateway.HandshakeTimeout, lo: ms, hi: hr,
			doc: "How long a client may take for its upgrade request, and the manager for the link's handshake.",
		},
		{
			path: "gateway.frameTimeout", kind: KindDuration, def: "10s", to: &c.Gateway.FrameTimeout, lo: ms, hi: hr,
			doc: "How long a client's message may take from its beginning to its end.",
		},
		{
			path: "gateway.subscribeTimeout", kind: KindDuration, def: "5s", to: &c.Gateway.SubscribeTimeout, lo: ms, hi: hr,
			doc: "How long a subscription waits for the manager to know its topic.",
		},
		{
			path: "gateway.closeTimeout", kind: KindDuration, def: "2s", to: &c.Gateway.CloseTimeout, lo: ms, hi: hr,
			doc: "How long a client may take to answer a close frame.",
		},
		{
			path: "limits.maxFrameBytes", kind: KindSize, def: "64KiB", to: &c.Limits.MaxFrameBytes, lo: 128, hi: gib,
			doc: "The largest message from a client.",
		},
		{
			path: "limits.maxTopicsPerConn", kind: KindInt, def: "128", to: &c.Limits.MaxTopicsPerConn, lo: 1, hi: 1 << 24,
			doc: "How many topics one connection may subscribe to.",
		},
		{
			path: "limits.maxTopicBytes", kind: KindSize, def: "255B", to: &c.Limits.MaxTopicBytes, lo: 1, hi: 2 * kib,
			doc: "The longest name of a topic.",
		},
		{
			path: "limits.maxConnections", kind: KindInt, def: "0", to: &c.Limits.MaxConnections, lo: 0, hi: 1 << 30,
			doc: "How many connections the gateway holds; 0 is as many as its descriptors allow.",
		},
		{
			path: "limits.maxConnectionsPerIP", kind: KindInt, def: "0", to: &c.Limits.MaxConnectionsPerIP, lo: 0, hi: 1 << 30,
			doc: "How many connections one client address may have, of IPv6 one /64; 0 is no bound. Behind a balancer see [proxy], " +
				"or all clients have its address.",
		},
		{
			path: "slowConsumer.policy", kind: KindChoice, def: "disconnect", to: &c.SlowConsumer.Policy,
			choices: []string{"disconnect", "drop-oldest", "latest"},
			doc: "What happens to a connection whose backlog is at its bound: close it with code 4008, drop its oldest messages, " +
				"or keep only the latest of each topic.",
		},
		{
			path: "slowConsumer.pendingBytes", kind: KindSize, def: "1MiB", to: &c.SlowConsumer.PendingBytes, lo: kib, hi: gib,
			doc: "How many bytes may wait for one connection, beyond what its socket holds.",
		},
		{
			path: "slowConsumer.pendingAge", kind: KindDuration, def: "10s", to: &c.SlowConsumer.PendingAge, lo: ms, hi: hr,
			doc: "How long the oldest waiting message may wait.",
		},
		{
			path: "slowConsumer.socketBytes", kind: KindSize, def: "128KiB", to: &c.SlowConsumer.SocketBytes, lo: 0, hi: gib,
			doc: "How many bytes the kernel may hold for one connection and not have sent (TCP_NOTSENT_LOWAT); 0B leaves it to the " +
				"kernel, which lets it grow to megabytes before a slow client is felt.",
		},
		{
			path: "compression.enabled", kind: KindBool, def: "false", to: &c.Compression.Enabled,
			doc: "Whether clients may negotiate compression (permessage-deflate, RFC 7692). A message is compressed once for all of " +
				"them, without context takeover, and a connection holds no memory for it. It saves bytes and costs CPU, here per " +
				"message and at each client.",
		},
		{
			path: "compression.threshold", kind: KindSize, def: "256B", to: &c.Compression.Threshold, lo: 1, hi: gib,
			doc: "The least size of a message, with its envelope, that is compressed. What is smaller, or would not shrink, goes as it is.",
		},
		{
			path: "compression.level", kind: KindInt, def: "3", to: &c.Compression.Level, lo: 1, hi: 9,
			doc: "How hard messages are compressed, from 1, the fastest, to 9, the smallest.",
		},
		{
			path: "link.heartbeat", kind: KindDuration, def: "5s", to: &c.Link.Heartbeat, lo: 10 * ms, hi: hr,
			doc: "How often at least a heartbeat goes to the manager (its own interval counts where that is shorter). A link on which nothing comes for two of the manager's intervals, and a quarter of one more, is dialled anew.",
		},
		{
			path: "link.token", kind: KindSecret, def: "", to: &c.Link.Token, check: checkSecret, shared: true,
			doc: "The secret that manager and gateways share. Empty is none.",
		},
		{
			path: "link.tokenFile", kind: KindFile, def: "", to: &c.Link.TokenFile, flag: "token-file", shared: true,
			doc: "The file that holds the secret, in place of link.token. A relative name in a configuration file is looked up " +
				"beside that file.",
		},
		{
			path: "link.queueBytes", kind: KindSize, def: "16MiB", to: &c.Link.QueueBytes, lo: kib, hi: 16 * gib,
			doc: "How many bytes of clients' messages may wait for the link.",
		},
		{
			path: "link.maxPacketBytes", kind: KindSize, def: "8MiB", to: &c.Link.MaxPacketBytes, lo: 16 * kib, hi: gib,
			doc: "The largest packet, and so message, on the link; the manager's limits.maxPacketBytes is to be the same.",
		},
		{
			path: "link.redialMin", kind: KindDuration, def: "50ms", to: &c.Link.RedialMin, lo: ms, hi: hr,
			doc: "The shortest wait before a lost link is dialled anew. Waits grow, and are jittered.",
		},
		{
			path: "link.redialMax", kind: KindDuration, def: "1s", to: &c.Link.RedialMax, lo: ms, hi: hr,
			doc: "The longest such wait.",
		},
		{
			path: "cluster.id", kind: KindText, def: "", to: &c.ClusterID, flag: "cluster-id", check: checkName,
			doc: "The name of this gateway, unique among those of its manager. Empty makes one up at each start.",
		},
		{
			path: "http.address", kind: KindListen, def: "", to: &c.HTTP.Address, flag: "http", optional: true,
			doc: "Where /healthz, /readyz and /metrics are served. Empty is nowhere.",
		},
		pprofKey(&c.HTTP),
		{
			path: "drain.timeout", kind: KindDuration, def: "10s", to: &c.Drain.Timeout, lo: ms, hi: hr, shared: true,
			doc: "How long an orderly stop may take.",
		},
		{
			path: "drain.retryWindow", kind: KindDuration, def: "5s", to: &c.Drain.RetryWindow, lo: 0, hi: hr,
			doc: "The time over which drained clients are told to spread their reconnects.",
		},
	}
	return slices.Concat(keys, edgeKeys(c), authKeys(&c.Auth), runtimeKeys(&c.Runtime), logKeys(&c.Log))
}

// pprofKey is the key that both services have for profiles.
func pprofKey(h *HTTP) *key {
	return &key{
		path: "http.pprof", kind: KindBool, def: "false", to: &h.Pprof, flag: "pprof", shared: true,
		doc: "Whether /debug/pprof/ is served at http.address as well. Profiles tell a lot about a process: not for strangers.",
	}
}

// logKeys are the keys that both services have for their log.
func logKeys(l *Log) []*key {
	return []*key{
		{
			path: "log.level", kind: KindChoice, def: "info", to: &l.Level, flag: "log-level", shared: true,
			choices: []string{"debug", "info", "warn", "error"},
			doc:     "The least severe of what is logged, to standard error.",
		},
		{
			path: "log.format", kind: KindChoice, def: "text", to: &l.Format, flag: "log-format", shared: true,
			choices: []string{"text", "json"},
			doc:     "How a line of the log is written.",
		},
	}
}

// packetHeader is room for what stands before the message in a packet on the link.
const packetHeader = 4 * kib

// crossCheck refuses values that cannot work together.
func (c *Gateway) crossCheck(l *loader) {
	if c.Link.MaxPacketBytes < c.Limits.MaxFrameBytes+packetHeader {
		l.problemWith("link.maxPacketBytes", "must be at least limits.maxFrameBytes (%s) and %s, got %s",
			formatSize(int64(c.Limits.MaxFrameBytes)), formatSize(packetHeader), formatSize(int64(c.Link.MaxPacketBytes)))
	}
	if c.Link.QueueBytes < c.Limits.MaxFrameBytes {
		l.problemWith("link.queueBytes", "must be at least limits.maxFrameBytes (%s), or the largest message never fits; got %s",
			formatSize(int64(c.Limits.MaxFrameBytes)), formatSize(int64(c.Link.QueueBytes)))
	}
	c.crossCheckEdge(l)
	c.crossCheckAuth(l)
	if c.Link.RedialMax < c.Link.RedialMin {
		l.problemWith("link.redialMax", "must be at least link.redialMin (%s), got %s",
			formatDuration(c.Link.RedialMin), formatDuration(c.Link.RedialMax))
	}
	c.Runtime.crossCheck(l)
}
