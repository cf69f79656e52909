package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// QueuePolicy says what happens to a message that finds the queue to the handlers full.
type QueuePolicy string

const (
	// QueueBlock stops reading from the connection until there is room: nothing is lost here, and
	// the gateway's own policy for slow consumers acts in the end (it disconnects with 4008, or
	// drops there). A handler must not wait for an answer (Subscribe, Publish): answers would stand
	// behind the full queue.
	QueueBlock QueuePolicy = "block"
	// QueueDropOldest drops the message that has waited longest.
	QueueDropOldest QueuePolicy = "drop-oldest"
	// QueueDropNewest drops the message that has just arrived.
	QueueDropNewest QueuePolicy = "drop-newest"
)

// Options configure a Client. DefaultOptions gives every default; a zero value among the bounds
// and times means the default too.
type Options struct {
	// URL is the gateway's endpoint: ws://host:port/ws or wss://. Required.
	URL string
	// Header goes with each handshake, for example Authorization or Origin.
	Header http.Header
	// Token returns the token that each handshake carries as "Authorization: Bearer", for gateways that
	// ask for one. It is called before each connection, and again before each JSON Web Token that it
	// returned expires, with backoff until one that lasts longer is taken, so that the connection outlives the token. It
	// must end when its context does, which is within HandshakeTimeout, and not call Close. An error is an attempt that
	// failed; with Token set a handshake that is answered with 401 is one too, and is tried again. nil is none.
	Token func(ctx context.Context) (string, error)
	// TLS configures wss connections; nil is the system's default.
	TLS *tls.Config
	// NetDial opens the connection; nil is a net.Dialer.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Compression offers permessage-deflate (RFC 7692) to the gateway, which then compresses what
	// pays, and compresses what the client publishes. It saves bytes and costs CPU. Default false.
	Compression bool

	// HandshakeTimeout bounds dialling and the upgrade. Default 10s.
	HandshakeTimeout time.Duration
	// PingInterval is the time between pings to the gateway. Default 25s.
	PingInterval time.Duration
	// ReadTimeout ends a connection from which nothing came, a pong included. Default 2.5 times
	// PingInterval.
	ReadTimeout time.Duration
	// WriteTimeout ends a connection that does not take a frame. Default 10s.
	WriteTimeout time.Duration
	// DrainTimeout bounds Close: the closing handshake and the handlers' work on what is queued.
	// Default 5s.
	DrainTimeout time.Duration
	// MaxMessageBytes bounds a message from the gateway, in bytes. Default 8 MiB.
	MaxMessageBytes int64

	// BackoffMin and BackoffMax bound the wait before a reconnect. The n-th wait is drawn evenly
	// from [0, min(BackoffMax, BackoffMin*2^n)] (full jitter), so that clients which were
	// disconnected together do not come back together. Defaults 250ms and 30s.
	BackoffMin, BackoffMax time.Duration
	// MaxAttempts ends the client after so many failed attempts in a row; 0 is no bound. Default 0.
	MaxAttempts int

	// QueueMessages and QueueBytes bound what waits for the handlers; a single message larger than
	// QueueBytes is let in when nothing else waits. Defaults 1024 and 16 MiB.
	QueueMessages int
	QueueBytes    int
	// QueuePolicy is what a full queue leads to. Default QueueBlock.
	QueuePolicy QueuePolicy

	// OnEvent is told of changes of state, in order with the messages: it runs on the goroutine that
	// calls the handlers. nil is none.
	OnEvent func(Event)
}

// DefaultOptions returns the options that are right without tuning; URL is left to set.
func DefaultOptions() Options {
	return Options{
		HandshakeTimeout: 10 * time.Second,
		PingInterval:     25 * time.Second,
		ReadTimeout:      62*time.Second + 500*time.Millisecond,
		WriteTimeout:     10 * time.Second,
		DrainTimeout:     5 * time.Second,
		MaxMessageBytes:  8 << 20,
		BackoffMin:       250 * time.Millisecond,
		BackoffMax:       30 * time.Second,
		QueueMessages:    1024,
		QueueBytes:       16 << 20,
		QueuePolicy:      QueueBlock,
	}
}

// withDefaults returns a copy that shares nothing with o and has the zero values filled in.
func (o Options) withDefaults() Options {
	d := DefaultOptions()
	o.Header = o.Header.Clone()
	if o.TLS != nil {
		o.TLS = o.TLS.Clone()
	}
	setDefault(&o.HandshakeTimeout, d.HandshakeTimeout)
	setDefault(&o.PingInterval, d.PingInterval)
	setDefault(&o.ReadTimeout, o.PingInterval*5/2)
	setDefault(&o.WriteTimeout, d.WriteTimeout)
	setDefault(&o.DrainTimeout, d.DrainTimeout)
	setDefault(&o.MaxMessageBytes, d.MaxMessageBytes)
	setDefault(&o.BackoffMin, d.BackoffMin)
	setDefault(&o.BackoffMax, max(d.BackoffMax, o.BackoffMin))
	setDefault(&o.QueueMessages, d.QueueMessages)
	setDefault(&o.QueueBytes, d.QueueBytes)
	setDefault(&o.QueuePolicy, d.QueuePolicy)
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports every option that cannot work, by name and value.
func (o *Options) Validate() error {
	var errs []error
	bad := func(key, rule string, value any) {
		errs = append(errs, fmt.Errorf("client: %s: must be %s, got %v", key, rule, value))
	}
	if u, err := url.Parse(o.URL); err != nil || u.Host == "" || (u.Scheme != "ws" && u.Scheme != "wss") {
		bad("url", "ws://host:port/path or wss://", fmt.Sprintf("%q", o.URL))
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"handshakeTimeout", o.HandshakeTimeout},
		{"pingInterval", o.PingInterval},
		{"writeTimeout", o.WriteTimeout},
		{"drainTimeout", o.DrainTimeout},
		{"backoffMin", o.BackoffMin},
	} {
		if d.value <= 0 {
			bad(d.key, "> 0s", d.value)
		}
	}
	if o.ReadTimeout <= o.PingInterval {
		bad("readTimeout", "> pingInterval", o.ReadTimeout)
	}
	if o.BackoffMax < o.BackoffMin {
		bad("backoffMax", ">= backoffMin", o.BackoffMax)
	}
	if o.MaxMessageBytes < 1 {
		bad("maxMessageBytes", ">= 1", o.MaxMessageBytes)
	}
	if o.MaxAttempts < 0 {
		bad("maxAttempts", ">= 0", o.MaxAttempts)
	}
	if o.QueueMessages < 1 {
		bad("queueMessages", ">= 1", o.QueueMessages)
	}
	if o.QueueBytes < 1 {
		bad("queueBytes", ">= 1", o.QueueBytes)
	}
	switch o.QueuePolicy {
	case QueueBlock, QueueDropOldest, QueueDropNewest:
	default:
		bad("queuePolicy", "block, drop-oldest or drop-newest", fmt.Sprintf("%q", string(o.QueuePolicy)))
	}
	return errors.Join(errs...)
}
