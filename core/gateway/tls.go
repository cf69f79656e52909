package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"firetower/core/filewatch"
)

// TLSOptions serve the WebSocket listener over TLS.
type TLSOptions struct {
	// CertFile and KeyFile are PEM files with the certificate, its chain behind it,
	// and its key; both or neither. Default neither: no TLS.
	CertFile, KeyFile string
	// MinVersion is the oldest version of TLS that is spoken: "1.2" or "1.3". Default "1.2".
	MinVersion string
	// ReloadInterval is how often the files are looked at for a change; 0 is never, so
	// that ReloadCertificate alone reads them anew. Default 5s.
	ReloadInterval time.Duration
}

func (o *TLSOptions) enabled() bool { return o.CertFile != "" || o.KeyFile != "" }

func (o *TLSOptions) minVersion() (uint16, bool) {
	switch o.MinVersion {
	case "1.2":
		return tls.VersionTLS12, true
	case "1.3":
		return tls.VersionTLS13, true
	default:
		return 0, false
	}
}

// HandshakeFailure says why a TLS handshake did not succeed, as the label of
// firetower_gateway_tls_handshake_failures_total.
type HandshakeFailure string

const (
	// HandshakeTimeout: it was not over within Options.HandshakeTimeout.
	HandshakeTimeout HandshakeFailure = "timeout"
	// HandshakeNotTLS: what the client sent is not TLS, such as plain HTTP.
	HandshakeNotTLS HandshakeFailure = "not_tls"
	// HandshakeClientGone: the client closed, or its connection broke.
	HandshakeClientGone HandshakeFailure = "client_gone"
	// HandshakeClientAlert: the client refused, most often the certificate.
	HandshakeClientAlert HandshakeFailure = "client_alert"
	// HandshakeProtocol: no version or cipher in common, or a broken handshake.
	HandshakeProtocol HandshakeFailure = "protocol"
	// HandshakeStopped: the gateway stops.
	HandshakeStopped HandshakeFailure = "stopped"
)

var handshakeFailures = []HandshakeFailure{
	HandshakeTimeout, HandshakeNotTLS, HandshakeClientGone, HandshakeClientAlert, HandshakeProtocol, HandshakeStopped,
}

// handshakeFailureOf tells from a handshake's error what went wrong.
func handshakeFailureOf(err error) HandshakeFailure {
	var record tls.RecordHeaderError
	var op *net.OpError
	switch {
	case errors.Is(err, ErrStopped), errors.Is(err, net.ErrClosed):
		return HandshakeStopped
	case errors.Is(err, os.ErrDeadlineExceeded):
		return HandshakeTimeout
	case errors.As(err, &record):
		return HandshakeNotTLS
	case errors.As(err, &op) && op.Op == "remote error":
		return HandshakeClientAlert
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return HandshakeClientGone
	default:
		return HandshakeProtocol
	}
}

// certificates holds the certificate in force and takes another when its files change.
type certificates struct {
	opts    TLSOptions
	log     *slog.Logger
	current atomic.Pointer[tls.Certificate]
	expires atomic.Int64 // Unix seconds
	reloads atomic.Int64
	failed  atomic.Int64

	mu    sync.Mutex // guards the following; held while files are read
	files *filewatch.Files
}

// newCertificates loads the pair, which has to be right.
func newCertificates(o TLSOptions, log *slog.Logger) (*certificates, error) {
	c := &certificates{opts: o, log: log, files: filewatch.New(o.CertFile, o.KeyFile)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files.Changed()
	if err := c.loadLocked(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *certificates) loadLocked() error {
	pair, err := tls.LoadX509KeyPair(c.opts.CertFile, c.opts.KeyFile)
	if err != nil {
		return fmt.Errorf("tls.certFile %q and tls.keyFile %q: %w", c.opts.CertFile, c.opts.KeyFile, err)
	}
	c.current.Store(&pair)
	c.expires.Store(pair.Leaf.NotAfter.Unix())
	if now := time.Now(); now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		c.log.Warn("certificate is not valid now", "file", c.opts.CertFile,
			"not_before", pair.Leaf.NotBefore, "not_after", pair.Leaf.NotAfter)
	}
	return nil
}

// reload reads both files and puts what they hold in force. On an error the pair
// before stays.
func (c *certificates) reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files.Changed()
	return c.reloadLocked()
}

func (c *certificates) reloadLocked() error {
	if err := c.loadLocked(); err != nil {
		c.failed.Add(1)
		c.log.Error("certificate not reloaded, the one before stays in force", "err", err)
		return fmt.Errorf("gateway: reload certificate: %w", err)
	}
	c.reloads.Add(1)
	c.log.Info("certificate reloaded", "file", c.opts.CertFile, "not_after", c.current.Load().Leaf.NotAfter)
	return nil
}

// reloadChanged reloads when a file is another than at the last look. A pair of
// which only one half is new is an error until the other is new as well.
func (c *certificates) reloadChanged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files.Changed() {
		_ = c.reloadLocked() // it has logged and counted
	}
}

// watch looks at the files every interval until ctx ends. Two stat(2) an interval
// cost less than one at each handshake of a storm.
func (c *certificates) watch(ctx context.Context) {
	ticker := time.NewTicker(c.opts.ReloadInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.reloadChanged()
		}
	}
}

// config is what the listener's handshakes go by.
func (c *certificates) config() *tls.Config {
	least, _ := c.opts.minVersion() // Validate has seen to it
	return &tls.Config{
		MinVersion: least,
		NextProtos: []string{"http/1.1"}, // the upgrade is one of HTTP/1.1 (RFC 6455 section 4.1)
		// A message is of use when it is there whole: small first records would only be
		// more system calls.
		DynamicRecordSizingDisabled: true,
		// Both are called in the middle of a handshake, before what costs time: the key
		// exchange and the signature.
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			return nil, enterWork(h.Conn)
		},
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), enterWork(h.Conn)
		},
	}
}

// ServesTLS tells whether there is a certificate to reload.
func (g *Gateway) ServesTLS() bool { return g.certificates != nil }

// ReloadCertificate reads the files of Options.TLS anew, for those who connect from
// now on. On an error, which is logged and counted as well, the certificate before
// stays in force.
func (g *Gateway) ReloadCertificate() error {
	if g.certificates == nil {
		return ErrNoTLS
	}
	return g.certificates.reload()
}

// ErrNoTLS: the gateway does not serve TLS.
var ErrNoTLS = errors.New("gateway: no TLS is configured")

func (o *TLSOptions) validate() error {
	var errs []error
	if (o.CertFile == "") != (o.KeyFile == "") {
		errs = append(errs, fmt.Errorf("tls.certFile and tls.keyFile: must be both set or both empty, got %q and %q", o.CertFile, o.KeyFile))
	}
	if _, ok := o.minVersion(); !ok {
		errs = append(errs, fmt.Errorf("tls.minVersion: must be 1.2 or 1.3, got %q", o.MinVersion))
	}
	if o.ReloadInterval < 0 {
		errs = append(errs, fmt.Errorf("tls.reloadInterval: must be >= 0s, got %v", o.ReloadInterval))
	}
	return errors.Join(errs...)
}
