package manager

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"firetower/core/protocol"
)

// The smallest values that Validate accepts where 1 would be of no use.
const (
	minHeartbeat   = 10 * time.Millisecond
	minPacketBytes = 4 << 10
	// maxTopicBytes leaves room in a packet's header line (protocol.MaxHeaderLine)
	// for the other fields.
	maxTopicBytes = protocol.MaxHeaderLine / 2
)

// Options configure a Manager. Start from [DefaultOptions]; New copies them.
type Options struct {
	// LinkAddr is where gateways' links are accepted (TCP). Port 0 picks a free
	// one. Default 127.0.0.1:6666.
	LinkAddr string
	// GRPCAddr is where TopicService is served (TCP). Default 127.0.0.1:6667.
	GRPCAddr string
	// HTTPAddr is where the dashboard, metrics and health are served (TCP).
	// Empty: no HTTP at all. Default 127.0.0.1:8000.
	HTTPAddr string

	// Token is the secret that gateways and callers of gRPC must show; it also
	// guards every HTTP path but /healthz and /readyz. Empty: nobody is asked.
	// Default empty.
	Token string

	// Heartbeat is how often a heartbeat goes out on a link. A link that says
	// nothing for twice as long is dead. Default 5s.
	Heartbeat time.Duration
	// HandshakeTimeout bounds the time from accept to the last frame of the
	// snapshot. Default 10s.
	HandshakeTimeout time.Duration
	// WriteTimeout is how long a write to a link may make no progress: a gateway
	// that takes nothing is evicted after one to two of them. Default 5s.
	WriteTimeout time.Duration
	// DetachGrace is how long a session outlives its link: its topics stay, so
	// that a publish in that time is counted as lost and reported, and not taken
	// for one that nobody wanted. 0 means twice Heartbeat. Default 0.
	DetachGrace time.Duration
	// DrainTimeout bounds the time from the end of Run's context until what is
	// queued or in work is given up. Default 10s.
	DrainTimeout time.Duration

	// MaxPacketBytes is the largest link packet, in bytes with its header, and
	// with it the largest message. Default 8 MiB (protocol.DefaultMaxPacket).
	MaxPacketBytes int
	// MaxTopicBytes is the longest topic, in bytes, at most 2048. Default 255,
	// as a gateway allows its clients: a longer one could reach nobody.
	MaxTopicBytes int
	// MaxTopicsPerGateway bounds the topics of one gateway. Default 4,194,304.
	MaxTopicsPerGateway int
	// MaxGateways bounds the links, those in handshake included, and the sessions
	// that await their gateway's return. Default 1024.
	MaxGateways int

	// QueueMessages is how many packets may wait for one gateway. One more evicts
	// it. Default 262,144.
	QueueMessages int
	// QueueBytes is how many bytes may wait for one gateway. One more evicts it.
	// Packets are shared by the queues of all gateways. Default 64 MiB.
	QueueBytes int

	// PprofEnabled serves /debug/pprof/ on HTTPAddr. Default false.
	PprofEnabled bool

	// Registry takes the manager's metrics; /metrics serves it. Nil: one of its
	// own, with the Go runtime's and the process's metrics. Default nil.
	Registry *prometheus.Registry
	// Logger takes what happens to links, never a payload. Nil: slog.Default().
	// Default nil.
	Logger *slog.Logger
	// Version is the build's version, for people. Default "dev".
	Version string
}

// DefaultOptions are those that `firetower manager` starts with.
func DefaultOptions() Options {
	return Options{
		LinkAddr:            "127.0.0.1:6666",
		GRPCAddr:            "127.0.0.1:6667",
		HTTPAddr:            "127.0.0.1:8000",
		Heartbeat:           5 * time.Second,
		HandshakeTimeout:    10 * time.Second,
		WriteTimeout:        5 * time.Second,
		DrainTimeout:        10 * time.Second,
		MaxPacketBytes:      protocol.DefaultMaxPacket,
		MaxTopicBytes:       protocol.DefaultMaxTopic,
		MaxTopicsPerGateway: 4 << 20,
		MaxGateways:         1024,
		QueueMessages:       256 << 10,
		QueueBytes:          64 << 20,
		Version:             "dev",
	}
}

// Validate returns every problem at once, each naming the key and the value.
func (o Options) Validate() error {
	var errs []error
	bad := func(key, must string, got any) {
		errs = append(errs, fmt.Errorf("manager.%s: must be %s, got %v", key, must, got))
	}
	for _, a := range []struct {
		key, addr string
		optional  bool
	}{{"link_addr", o.LinkAddr, false}, {"grpc_addr", o.GRPCAddr, false}, {"http_addr", o.HTTPAddr, true}} {
		if a.addr == "" && a.optional {
			continue
		}
		if _, port, err := net.SplitHostPort(a.addr); err != nil || port == "" {
			bad(a.key, "host:port", fmt.Sprintf("%q", a.addr))
		}
	}
	if strings.ContainsAny(o.Token, " \t\r\n") || !printable(o.Token) {
		bad("token", "printable ASCII without spaces", "one that is not")
	}
	for _, d := range []struct {
		key string
		got time.Duration
		min time.Duration
	}{
		{"heartbeat", o.Heartbeat, minHeartbeat},
		{"handshake_timeout", o.HandshakeTimeout, time.Millisecond},
		{"write_timeout", o.WriteTimeout, time.Millisecond},
		{"detach_grace", o.DetachGrace, 0},
		{"drain_timeout", o.DrainTimeout, 0},
	} {
		if d.got < d.min {
			bad(d.key, ">= "+d.min.String(), d.got)
		}
	}
	for _, n := range []struct {
		key      string
		got, min int
	}{
		{"max_packet_bytes", o.MaxPacketBytes, minPacketBytes},
		{"max_topic_bytes", o.MaxTopicBytes, 1},
		{"max_topics_per_gateway", o.MaxTopicsPerGateway, 1},
		{"max_gateways", o.MaxGateways, 1},
		{"queue_messages", o.QueueMessages, 1},
		{"queue_bytes", o.QueueBytes, 1},
	} {
		if n.got < n.min {
			bad(n.key, fmt.Sprintf(">= %d", n.min), n.got)
		}
	}
	if o.MaxTopicBytes > maxTopicBytes {
		bad("max_topic_bytes", fmt.Sprintf("<= %d", maxTopicBytes), o.MaxTopicBytes)
	}
	if o.QueueBytes >= 1 && o.QueueBytes < o.MaxPacketBytes {
		bad("queue_bytes", fmt.Sprintf(">= max_packet_bytes (%d), or the largest message evicts every gateway", o.MaxPacketBytes), o.QueueBytes)
	}
	return errors.Join(errs...)
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// grace is DetachGrace with its default resolved.
func (o Options) grace() time.Duration {
	if o.DetachGrace > 0 {
		return o.DetachGrace
	}
	return 2 * o.Heartbeat
}

func (o Options) logger() *slog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	return slog.Default()
}
