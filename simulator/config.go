package simulator

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"time"
)

// Engine names a way to hold many client connections. See the package comment for what each costs.
type Engine string

const (
	// EngineAuto is the cheapest engine that can do it here: the first of [Engines], and for TLS the goroutine engine.
	// [Report.Engine] tells which it was.
	EngineAuto Engine = "auto"
	// EngineRing is EngineEpoll, but reads up to 16 connections with one system call, through io_uring(7). It exists on
	// Linux since 5.6, where io_uring is not forbidden.
	EngineRing Engine = "io_uring"
	// EngineEpoll holds the connections of a shard in one goroutine, which reads raw sockets as epoll reports them.
	// It exists on Linux.
	EngineEpoll Engine = "epoll"
	// EngineGoroutine gives every connection a goroutine and gorilla/websocket. It exists everywhere, and is the
	// cross-check of the other: both feed the same ledger.
	EngineGoroutine Engine = "goroutine"
)

// Config is one fleet: the connections of one process. It travels to worker processes as JSON; durations are
// nanoseconds there.
type Config struct {
	// URLs are the addresses of the servers, all ws:// or all wss://; the latter is for the goroutine engine alone. Connection i uses URLs[i mod len(URLs)], where i counts over the
	// whole run; its n-th attempt to come back uses URLs[(i+n) mod len(URLs)]. Hosts are IP addresses. Required.
	URLs []string `json:"urls"`
	// CAFile is a PEM file with the certificates that servers at wss:// are verified against; empty takes those of the
	// system. Default "".
	CAFile string `json:"ca_file,omitempty"`
	// Subprotocol is offered in the handshake and must be what the server picks: "firetower.v1", "firetower.v0", or
	// empty to offer none, which means v0. Default "".
	Subprotocol string `json:"subprotocol"`
	// Dialect is what the servers speak. Default "firetower".
	Dialect Dialect `json:"dialect"`
	// Compression offers permessage-deflate (RFC 7692) without context takeover. A server may decline it. The sizes of
	// messages are those on the wire; the goroutine engine, whose library does not tell them, gives the sizes before
	// compression. Default false.
	Compression bool `json:"compression"`
	// Connections is how many connections this fleet holds, slow ones included. Required.
	Connections int `json:"connections"`
	// FirstIndex is the index, in the whole run, of this fleet's first connection. Default 0.
	FirstIndex int `json:"first_index"`
	// SourceIPs are local addresses to connect from, in turn: each has some 28,000 ports to one destination. On Linux
	// all of 127.0.0.0/8 is local. Empty lets the kernel choose. Default empty.
	SourceIPs []string `json:"source_ips"`
	// Shards is how many loops share the connections. One loop keeps one core busy. Default 1.
	Shards int `json:"shards"`
	// RunID is what the stamps of this run carry. Messages with another are foreign. Default 0.
	RunID uint64 `json:"run_id"`
	// Topics says who subscribes to what.
	Topics TopicPlan `json:"topics"`
	// Publishers is how many publishers there are; the ledger keeps a sequence for each publisher of each topic.
	// Default 1.
	Publishers int `json:"publishers"`
	// ConnectRate is how many connections are begun per second. 0 is no limit but HandshakesInFlight. Default 2000.
	ConnectRate float64 `json:"connect_rate"`
	// HandshakesInFlight bounds the connections that are between connect(2) and the answer to their upgrade (and, with
	// v1, to their subscription): past the listen queue's length the kernel drops SYNs, which come again a second
	// later. Default 256.
	HandshakesInFlight int `json:"handshakes_in_flight"`
	// HandshakeTimeout bounds the time from connect(2) to being subscribed, for each connection. Default 30s.
	HandshakeTimeout time.Duration `json:"handshake_timeout"`
	// ReceiveBuffer is SO_RCVBUF of each connection in bytes, which Linux doubles. 0 leaves it to the kernel, which
	// begins at 128 KiB and tunes it. Default 0.
	ReceiveBuffer int `json:"receive_buffer"`
	// MaxFrame bounds the payload of one message from the server, in bytes; a longer one ends the connection with
	// code 1009. Default 1 MiB.
	MaxFrame int `json:"max_frame"`
	// Slow asks for connections that do not keep up. Default none.
	Slow []SlowSpec `json:"slow"`
	// Reconnect says what a healthy connection does when it ends. Default: nothing.
	Reconnect ReconnectPlan `json:"reconnect"`
	// Churn asks for topics that connections come to and leave. Default none.
	Churn ChurnPlan `json:"churn"`
	// Victims has, for each fault of the run, the index in URLs of the server that it is going to happen to; -1 blames
	// nobody. Connections that are at another when it happens are innocent of it: see [PhaseReport.Innocent]. At most
	// [MaxFaults]. Default none.
	Victims []int `json:"victims,omitempty"`
	// MessageDeadline is the latency from which a message counts as late. Default 10s.
	MessageDeadline time.Duration `json:"message_deadline"`
	// MaxRows bounds the per-message rows that one shard keeps; past it every second message is left out of them, then
	// three of four, and so on (see [Report.RowStride]). The ledger and the histograms always hold all. A row takes
	// some 400 bytes. Default 65536.
	MaxRows int `json:"max_rows"`
	// Engine is how the connections are held. Default "auto".
	Engine Engine `json:"engine"`
	// Rest is how long a loop of the io_uring and epoll engines sleeps after a batch that left nothing waiting. A loop that waits in
	// epoll_wait instead is woken by the server's own write(2), in the server's time: the server would pay for the
	// simulator. The price is that a message may be seen up to Rest later than it could be. 0 does not rest.
	// Default 250us.
	Rest time.Duration `json:"rest"`
	// Batch is the most events that one epoll_wait returns. Smaller ones cost more calls; larger ones have left the
	// cache by the time that their connection is read. Default 128.
	Batch int `json:"batch"`
	// ReadBuffer is the size in bytes of the one buffer that all connections of a shard are read into. io_uring reads into
	// 16 of a sixteenth of that, and what finds no room in one into the other. Default 256 KiB.
	ReadBuffer int `json:"read_buffer"`
	// Intervals asks for a histogram of every second and phase beside the totals ([Report.Intervals]).
	// Default true in DefaultConfig.
	Intervals bool `json:"intervals"`
}

// DefaultConfig returns the defaults. URLs and Connections remain to be set.
func DefaultConfig() Config {
	return Config{
		Shards: 1, Topics: TopicPlan{Count: 1, PerConn: 1, Prefix: "loadtest-"}, Publishers: 1,
		ConnectRate: 2000, HandshakesInFlight: 256, HandshakeTimeout: 30 * time.Second,
		Reconnect: ReconnectPlan{After: 100 * time.Millisecond, Most: 5 * time.Second, Jitter: 0.5},
		Churn:     ChurnPlan{Grace: time.Second},
		MaxFrame:  1 << 20, MessageDeadline: 10 * time.Second, MaxRows: 1 << 16,
		Engine: EngineAuto, Rest: 250 * time.Microsecond, Batch: 128, ReadBuffer: 256 << 10, Intervals: true,
	}
}

// maxConnections keeps connection indexes within 31 bits, where epoll's user data and the plan's arithmetic are safe.
const maxConnections = 1 << 24

// Validate reports every problem at once, each under its key.
func (c Config) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	atLeast := func(key string, got, least int) {
		if got < least {
			bad("%s: must be >= %d, got %d", key, least, got)
		}
	}
	within := func(key string, got, least, most int) {
		if got < least || got > most {
			bad("%s: must be from %d to %d, got %d", key, least, most, got)
		}
	}
	if len(c.URLs) == 0 {
		bad("urls: at least one is needed")
	}
	for _, raw := range c.URLs {
		t, err := parseTarget(raw)
		switch {
		case err != nil:
			bad("urls: %w", err)
		case t.tls && (c.Engine == EngineEpoll || c.Engine == EngineRing):
			bad("urls: %q is TLS, and engine %q reads raw sockets: use engine %q", raw, c.Engine, EngineGoroutine)
		}
	}
	for _, raw := range c.SourceIPs {
		if _, err := netip.ParseAddr(raw); err != nil {
			bad("source_ips: %q is not an IP address", raw)
		}
	}
	switch c.Subprotocol {
	case "", SubprotocolV0, SubprotocolV1:
	default:
		bad("subprotocol: must be %q, %q or empty, got %q", SubprotocolV1, SubprotocolV0, c.Subprotocol)
	}
	c.checkDialect(bad)
	if c.Connections < 1 || c.FirstIndex < 0 || c.FirstIndex > maxConnections-c.Connections {
		bad("connections, first_index: must be within 0 to %d, got %d from %d", maxConnections, c.Connections, c.FirstIndex)
	}
	within("shards", c.Shards, 1, 1024)
	within("publishers", c.Publishers, 1, math.MaxUint16+1)
	if c.ConnectRate < 0 || math.IsNaN(c.ConnectRate) || math.IsInf(c.ConnectRate, 0) {
		bad("connect_rate: must be >= 0 and finite, got %v", c.ConnectRate)
	}
	atLeast("handshakes_in_flight", c.HandshakesInFlight, 1)
	atLeast("receive_buffer", c.ReceiveBuffer, 0)
	within("max_frame", c.MaxFrame, 125, 1<<30)
	within("max_rows", c.MaxRows, 2, 1<<22)
	within("batch", c.Batch, 1, 1<<16)
	within("read_buffer", c.ReadBuffer, 4096, 1<<26)
	for key, d := range map[string]time.Duration{
		"handshake_timeout": c.HandshakeTimeout, "message_deadline": c.MessageDeadline,
	} {
		if d <= 0 {
			bad("%s: must be > 0, got %v", key, d)
		}
	}
	if c.Rest < 0 || c.Rest > 100*time.Millisecond {
		bad("rest: must be from 0 to 100ms, got %v", c.Rest)
	}
	slow := 0
	for i, s := range c.Slow {
		problems = append(problems, s.validate(fmt.Sprintf("slow[%d]", i)))
		slow += s.Count
	}
	if slow > c.Connections {
		bad("slow: %d slow connections of %d", slow, c.Connections)
	}
	switch c.Engine {
	case EngineAuto, EngineGoroutine:
	case EngineRing, EngineEpoll:
		if !rawSockets {
			bad("engine: %q exists on Linux only", c.Engine)
		}
	default:
		bad("engine: must be %q, %q, %q or %q, got %q", EngineAuto, EngineRing, EngineEpoll, EngineGoroutine, c.Engine)
	}
	if len(c.Victims) > MaxFaults {
		bad("victims: must be at most %d, got %d", MaxFaults, len(c.Victims))
	}
	for i, v := range c.Victims {
		if v < -1 || v >= max(len(c.URLs), 1) {
			bad("victims[%d]: must be -1 or an index in urls (%d of them), got %d", i, len(c.URLs), v)
		}
	}
	problems = append(problems, c.Topics.validate(), c.Reconnect.validate(), c.Churn.validate(&c))
	return errors.Join(problems...)
}

// victim is the index of the server that the fault of a phase happens to, -1 for none.
func (c *Config) victim(p Phase) int {
	if fault := p.Fault(); fault < len(c.Victims) {
		return c.Victims[fault]
	}
	return -1
}

// Healthy is the number of connections that are not slow by plan: FirstIndex to FirstIndex+Healthy-1.
func (c Config) Healthy() int {
	n := c.Connections
	for _, s := range c.Slow {
		n -= s.Count
	}
	return n
}

// Subprotocols of the server under test. The simulator repeats the names because it imports nothing of the server.
const (
	// SubprotocolV0 pushes the published data alone, and answers nothing.
	SubprotocolV0 = "firetower.v0"
	// SubprotocolV1 pushes an envelope and answers every request.
	SubprotocolV1 = "firetower.v1"
)

// target is one server address, taken apart once.
type target struct {
	addr netip.AddrPort
	host string // as in the Host header
	path string // as in the request line
	tls  bool
}

func parseTarget(raw string) (target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return target{}, err
	}
	if u.Scheme != "ws" && u.Scheme != "wss" {
		return target{}, fmt.Errorf("%q: scheme must be ws or wss", raw)
	}
	addr, err := netip.ParseAddrPort(u.Host)
	if err != nil {
		return target{}, fmt.Errorf("%q: host must be an IP address and a port: %w", raw, err)
	}
	return target{addr: addr, host: u.Host, path: u.RequestURI(), tls: u.Scheme == "wss"}, nil
}
