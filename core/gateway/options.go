package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"firetower/core/protocol"
)

// SlowPolicy says what happens to a connection that does not take its messages
// as fast as they come, once its backlog is at its bound.
type SlowPolicy string

const (
	// SlowDisconnect closes the connection with code 4008.
	SlowDisconnect SlowPolicy = "disconnect"
	// SlowDropOldest drops the oldest messages that have not begun to be written.
	SlowDropOldest SlowPolicy = "drop-oldest"
	// SlowLatest keeps only the latest waiting message of each topic.
	SlowLatest SlowPolicy = "latest"
)

// BucketOptions shape the fan-out.
type BucketOptions struct {
	// Num is the number of Buckets, each of which holds a share of the
	// connections and writes to them on its own. Default 0: one for each processor that
	// Go uses (runtime.GOMAXPROCS).
	Num int
	// CentralChanCount is how many messages the gateway takes in before it stops
	// reading from the manager: the bound of all that waits for Buckets.
	// Default 100000.
	CentralChanCount int
	// CentralBytes bounds the same in bytes, a message counted once for each Bucket
	// that it waits for. Default 256 MiB.
	CentralBytes int
	// BuffChanCount is how many messages wait in the queue of one consumer;
	// what comes on top waits centrally, and only for that consumer. Default 1000.
	BuffChanCount int
	// ConsumerNum is the number of consumers of a Bucket. A topic belongs to one
	// of them, so they share out topics, not connections. Default 0: 32, at rest they cost
	// nothing.
	ConsumerNum int
	// InlineSubscribers is up to how many subscribers of a topic whoever takes in its
	// message, mostly the link's reader, writes to by itself, when it has kept up and no
	// consumer is at work there. Waking the consumers of several Buckets for a topic of ten costs as
	// much as half of the writes; a reader that wrote to many would keep other topics
	// waiting. Default 32; 0 leaves all to the consumers.
	InlineSubscribers int
}

// Limits bound what one client may cost.
type Limits struct {
	// MaxFrameBytes bounds a message from a client, in bytes. Default 65536.
	MaxFrameBytes int
	// MaxTopicsPerConn bounds the subscriptions of a connection. Default 128.
	MaxTopicsPerConn int
	// MaxTopicBytes bounds the length of a topic's name in bytes. Default 255.
	MaxTopicBytes int
	// MaxConnections bounds the connections of the gateway; 0 is no bound but the
	// process's descriptors. Default 0.
	MaxConnections int
	// MaxConnectionsPerIP bounds the connections of one client address, of IPv6 of one
	// /64; 0 is no bound. Connections that the application upgraded itself are not
	// counted. Default 0.
	MaxConnectionsPerIP int
	// PendingBytes bounds what waits to be written to one connection, beyond
	// what its socket holds, in bytes. Default 1 MiB.
	PendingBytes int
	// SocketBytes bounds what the kernel holds for a connection and has not sent,
	// in bytes (TCP_NOTSENT_LOWAT, Linux); 0 leaves it to the kernel, which lets it
	// grow to megabytes before a slow client is felt. Default 128 KiB.
	SocketBytes int
	// PendingAge bounds how long the oldest waiting message may wait. Default 10s.
	PendingAge time.Duration
}

// Identity is who a connection belongs to.
type Identity struct {
	// ClientID is the application's name of the client; several connections may
	// share it. Empty takes a generated one.
	ClientID string
	// UserID is what offline_user and offline_topic_by_userid name; empty is nobody.
	UserID string
	// Access is what the client may do; nil is everything.
	Access *Access
}

// Options configure a Gateway. DefaultOptions gives every default.
type Options struct {
	// Listen is the address of the WebSocket listener, host:port; empty when the
	// application serves Handler or calls BuildTower itself. Default "".
	Listen string
	// HTTPAddr is the address of /healthz, /readyz, /metrics (and /debug/pprof/);
	// empty is off. Default "".
	HTTPAddr string
	// Path is the URL path of the WebSocket endpoint. Default "/ws".
	Path string
	// ManagerLink is the TCP address of the manager's ConnectBucket; empty runs
	// the gateway alone, so that publishing reaches its own connections only.
	ManagerLink string
	// ManagerGRPC is the address of the manager's gRPC service; needed with ManagerLink.
	ManagerGRPC string
	// Token is the secret shared with the manager; empty is none.
	Token string
	// ClusterID names this gateway to the manager and must be unique among the
	// gateways of a manager. Empty generates one. Default "".
	ClusterID string
	// ChanLens bounds the messages that wait to be written to one connection
	// (the key chanLens of existing configurations). Default 1000.
	ChanLens int
	// Heartbeat is the interval of pings (and of v0's heartbeat text) to clients;
	// a client that sends nothing for two of them is disconnected. Default 25s.
	Heartbeat time.Duration
	// LinkHeartbeat is the longest interval of heartbeats to the manager, whose own
	// is taken where it is shorter. A link on which nothing comes for two of the
	// manager's intervals, and at most a quarter of one more, is redialled. Default 5s.
	LinkHeartbeat time.Duration
	// LinkQueueBytes bounds the publishes of clients that wait for the link or are being
	// written to it. Default 16 MiB.
	LinkQueueBytes int
	// MaxPacketBytes bounds a packet on the link, and so a message, in bytes; it is
	// to be the manager's. Default 8 MiB.
	MaxPacketBytes int
	// RedialMin and RedialMax bound the jittered wait before a redial of the manager, of its
	// link and of its gRPC.
	// Defaults 50ms and 1s: a manager that is back serves all gateways within a second.
	RedialMin, RedialMax time.Duration
	// Bucket shapes the fan-out.
	Bucket BucketOptions
	// Limits bound a client.
	Limits Limits
	// Admission bounds storms of connecting clients.
	Admission AdmissionOptions
	// TLS serves Listen over TLS.
	TLS TLSOptions
	// Proxy is for a gateway behind balancers.
	Proxy ProxyOptions
	// SlowPolicy is what a full backlog leads to. Default SlowDisconnect.
	SlowPolicy SlowPolicy
	// AllowedOrigins lists the values of the Origin header that may connect, such
	// as "https://example.org"; empty allows the gateway's own host only and "*"
	// any. A request without the header is not a browser's and is let in
	// (RFC 6455 section 10.2). Default none.
	AllowedOrigins []string
	// UserHeader names a request header that carries the UserID, set by a trusted
	// proxy; empty is none. Authenticate, when set, takes its place.
	UserHeader string
	// ClientPublish lets clients publish; a read handler may still refuse. Without it what they
	// send is answered with protocol.CodeForbidden. Default true.
	ClientPublish bool
	// HandshakeTimeout bounds a client's PROXY header and TLS handshake together, its
	// upgrade request, and the link's handshake. Default 10s.
	HandshakeTimeout time.Duration
	// FrameTimeout bounds the time from the beginning of a client's message to its
	// end; a message that fits the read buffer may take two heartbeats. Default 10s.
	FrameTimeout time.Duration
	// SubscribeTimeout bounds the wait for the manager to know a topic. Default 5s.
	SubscribeTimeout time.Duration
	// CloseTimeout bounds the closing handshake with a client. Default 2s.
	CloseTimeout time.Duration
	// DrainTimeout bounds an orderly stop. Default 10s.
	DrainTimeout time.Duration
	// RetryWindow is the time over which drained clients are told to spread
	// their reconnects. Default 5s.
	RetryWindow time.Duration
	// Compression is what is compressed. Default: nothing.
	Compression CompressionOptions
	// JoinBytes bounds how much of consecutive messages of a topic goes into one
	// write. Default 64 KiB.
	JoinBytes int
	// JoinMessages bounds the same in messages. Default 1024.
	JoinMessages int
	// BatchWrites writes to up to 32 connections with one system call where the system lets it
	// (io_uring, Linux 5.6): a third less CPU for each. Default true.
	BatchWrites bool
	// FlushInterval, when it is not 0, has the messages of a topic that come within so long
	// of the first of them go out in one write for each subscriber: less CPU where a topic
	// has several in that time, for a delay of each by so long at most. Default 0.
	FlushInterval time.Duration
	// FlushTopics are the beginnings of the topics for which FlushInterval holds; empty is
	// all. Default none.
	FlushTopics []string
	// PprofEnabled serves /debug/pprof/ on HTTPAddr. Default false.
	PprofEnabled bool
	// Version is told to the manager, for people. Default "dev".
	Version string
	// Authenticate decides who a request comes from, and what that client may do; an error
	// refuses it with 401, see AuthenticationError. nil takes UserHeader.
	Authenticate func(*http.Request) (Identity, error)
	// Refresh decides what a client may do that brings a new token (protocol.AuthenticateRequest);
	// an error refuses the token alone. It must see to it that the token is for t.UserID. nil takes
	// no tokens.
	Refresh func(t *FireTower, token string) (*Access, error)
	// OnTower is called with each connection before it runs, to set its handlers.
	OnTower func(*FireTower)
	// Registry takes the metrics; nil makes one of the gateway's own.
	Registry *prometheus.Registry
	// Logger takes the log; nil discards it.
	Logger *slog.Logger
}

// DefaultOptions returns the options that are right without tuning.
func DefaultOptions() Options {
	return Options{
		Path:           "/ws",
		ChanLens:       1000,
		Heartbeat:      25 * time.Second,
		LinkHeartbeat:  5 * time.Second,
		LinkQueueBytes: 16 << 20,
		MaxPacketBytes: protocol.DefaultMaxPacket,
		RedialMin:      50 * time.Millisecond,
		RedialMax:      time.Second,
		Bucket:         BucketOptions{CentralChanCount: 100000, CentralBytes: 256 << 20, BuffChanCount: 1000, InlineSubscribers: 32},
		Limits: Limits{
			MaxFrameBytes:    64 << 10,
			MaxTopicsPerConn: 128,
			MaxTopicBytes:    255,
			PendingBytes:     1 << 20,
			SocketBytes:      128 << 10,
			PendingAge:       10 * time.Second,
		},
		TLS:              TLSOptions{MinVersion: "1.2", ReloadInterval: 5 * time.Second},
		Proxy:            ProxyOptions{Protocol: ProxyOff, Forwarded: ForwardedOff},
		SlowPolicy:       SlowDisconnect,
		HandshakeTimeout: 10 * time.Second,
		FrameTimeout:     10 * time.Second,
		SubscribeTimeout: 5 * time.Second,
		CloseTimeout:     2 * time.Second,
		DrainTimeout:     10 * time.Second,
		RetryWindow:      5 * time.Second,
		JoinBytes:        64 << 10,
		JoinMessages:     1024,
		BatchWrites:      true,
		ClientPublish:    true,
		Compression:      CompressionOptions{Threshold: 256, Level: 3},
		Version:          "dev",
	}
}

// Validate reports every option that cannot work, by key and value.
func (o *Options) Validate() error {
	var errs []error
	bad := func(key, rule string, value any) {
		errs = append(errs, fmt.Errorf("%s: must be %s, got %v", key, rule, value))
	}
	atLeast := func(key string, value, least int) {
		if value < least {
			bad(key, fmt.Sprintf(">= %d", least), value)
		}
	}
	positive := func(key string, d time.Duration) {
		if d <= 0 {
			bad(key, "> 0s", d)
		}
	}
	atLeast("bucket.num", o.Bucket.Num, 0)
	atLeast("bucket.centralChanCount", o.Bucket.CentralChanCount, 1)
	atLeast("bucket.buffChanCount", o.Bucket.BuffChanCount, 1)
	atLeast("bucket.consumerNum", o.Bucket.ConsumerNum, 0)
	atLeast("bucket.inlineSubscribers", o.Bucket.InlineSubscribers, 0)
	if o.Bucket.Num > maxBuckets {
		bad("bucket.num", fmt.Sprintf("<= %d", maxBuckets), o.Bucket.Num)
	}
	if o.Bucket.ConsumerNum > maxConsumers {
		bad("bucket.consumerNum", fmt.Sprintf("<= %d", maxConsumers), o.Bucket.ConsumerNum)
	}
	atLeast("chanLens", o.ChanLens, 1)
	atLeast("limits.maxFrameBytes", o.Limits.MaxFrameBytes, 128)
	atLeast("limits.maxTopicsPerConn", o.Limits.MaxTopicsPerConn, 1)
	atLeast("limits.maxTopicBytes", o.Limits.MaxTopicBytes, 1)
	atLeast("limits.maxConnections", o.Limits.MaxConnections, 0)
	atLeast("limits.maxConnectionsPerIP", o.Limits.MaxConnectionsPerIP, 0)
	atLeast("admission.handshakes", o.Admission.Handshakes, 0)
	atLeast("admission.rate", o.Admission.Rate, 0)
	errs = append(errs, o.TLS.validate(), o.Proxy.validate())
	atLeast("limits.pendingBytes", o.Limits.PendingBytes, 1024)
	atLeast("limits.socketBytes", o.Limits.SocketBytes, 0)
	positive("limits.pendingAge", o.Limits.PendingAge)
	atLeast("joinBytes", o.JoinBytes, 1)
	atLeast("joinMessages", o.JoinMessages, 1)
	if o.FlushInterval < 0 || o.FlushInterval > maxFlushInterval {
		bad("flushInterval", fmt.Sprintf("0s to %v", maxFlushInterval), o.FlushInterval)
	}
	if slices.Contains(o.FlushTopics, "") {
		bad("flushTopics", "beginnings of topics", `""`)
	}
	atLeast("link.maxPacketBytes", o.MaxPacketBytes, o.Limits.MaxFrameBytes+protocol.MaxHeaderLine)
	atLeast("bucket.centralBytes", o.Bucket.CentralBytes, 1)
	atLeast("linkQueueBytes", o.LinkQueueBytes, o.Limits.MaxFrameBytes)
	atLeast("compression.threshold", o.Compression.Threshold, 1)
	if l := o.Compression.Level; l < 1 || l > 9 {
		bad("compression.level", "from 1 to 9", l)
	}
	positive("heartbeat", o.Heartbeat)
	positive("link.heartbeat", o.LinkHeartbeat)
	positive("link.redialMin", o.RedialMin)
	if o.RedialMax < o.RedialMin {
		bad("link.redialMax", ">= link.redialMin", o.RedialMax)
	}
	positive("handshakeTimeout", o.HandshakeTimeout)
	positive("frameTimeout", o.FrameTimeout)
	positive("subscribeTimeout", o.SubscribeTimeout)
	positive("closeTimeout", o.CloseTimeout)
	positive("drainTimeout", o.DrainTimeout)
	if o.RetryWindow < 0 {
		bad("retryWindow", ">= 0s", o.RetryWindow)
	}
	if !strings.HasPrefix(o.Path, "/") {
		bad("path", "a path that begins with /", fmt.Sprintf("%q", o.Path))
	}
	switch o.SlowPolicy {
	case SlowDisconnect, SlowDropOldest, SlowLatest:
	default:
		bad("slowConsumer.policy", "disconnect, drop-oldest or latest", fmt.Sprintf("%q", string(o.SlowPolicy)))
	}
	if (o.ManagerLink == "") != (o.ManagerGRPC == "") {
		bad("manager.link and manager.grpc", "both set or both empty", fmt.Sprintf("%q and %q", o.ManagerLink, o.ManagerGRPC))
	}
	if o.ClusterID != "" {
		if err := protocol.ValidTopic(o.ClusterID, 255); err != nil {
			errs = append(errs, fmt.Errorf("clusterID: %w", err))
		}
	}
	return errors.Join(errs...)
}

// maxFlushInterval keeps a window from being mistaken for a schedule.
const maxFlushInterval = 10 * time.Second

// windowed tells whether a topic's messages are collected for FlushInterval.
func (o *Options) windowed(topic string) bool {
	if o.FlushInterval == 0 {
		return false
	}
	return len(o.FlushTopics) == 0 || slices.ContainsFunc(o.FlushTopics, func(beginning string) bool {
		return strings.HasPrefix(topic, beginning)
	})
}

// autoConsumers is ConsumerNum where it is 0: so many that a topic seldom waits behind a
// large one of the same consumer.
const autoConsumers = 32

// resolve puts numbers in the place of those that are 0 for "as it fits this machine".
func (o *BucketOptions) resolve() {
	if o.Num == 0 {
		o.Num = min(runtime.GOMAXPROCS(0), maxBuckets)
	}
	if o.ConsumerNum == 0 {
		o.ConsumerNum = autoConsumers
	}
}

// maxBuckets and maxConsumers keep a slip of the keyboard from starting
// millions of goroutines.
const (
	maxBuckets   = 1024
	maxConsumers = 1024
)

// generateClusterID makes a name that no other gateway has, and that tells
// people where it runs.
func generateClusterID() string {
	host, err := os.Hostname()
	if err != nil || host == "" || protocol.ValidTopic(host, 64) != nil {
		host = "gateway"
	}
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, since Go 1.24)
	return host + "-" + hex.EncodeToString(b[:])
}
