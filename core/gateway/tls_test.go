package gateway_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

// pair is a self-signed certificate in files.
type pair struct {
	cert, key string // the files
	roots     *x509.CertPool
}

// newPair writes a certificate of that name and serial number.
func newPair(t testing.TB, dir string, serial int64) *pair {
	t.Helper()
	p := &pair{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	p.renew(t, serial)
	return p
}

// renew puts another certificate into the files, as a tool for renewal does: one
// after the other, each moved into place.
func (p *pair) renew(t testing.TB, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "gateway"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Duration(serial) * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	put(t, p.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	put(t, p.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	if p.roots == nil {
		p.roots = x509.NewCertPool()
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	p.roots.AddCert(leaf)
}

func put(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

func (p *pair) options(o *gateway.Options) {
	o.TLS.CertFile, o.TLS.KeyFile = p.cert, p.key
	o.TLS.ReloadInterval = 0
}

func (p *pair) client() *tls.Config { return &tls.Config{RootCAs: p.roots} }

func dialTLS(t testing.TB, g *gateway.Gateway, subprotocol string, config *tls.Config) *wsClient {
	t.Helper()
	c, err := tryTLS(t, g, subprotocol, config, nil)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	return c
}

func tryTLS(t testing.TB, g *gateway.Gateway, subprotocol string, config *tls.Config, dial func(string, string) (net.Conn, error)) (*wsClient, error) {
	t.Helper()
	d := websocket.Dialer{TLSClientConfig: config, NetDial: dial}
	if subprotocol != "" {
		d.Subprotocols = []string{subprotocol}
	}
	ws, _, err := d.Dial("wss://"+g.Addr().String()+"/ws", nil)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = ws.Close() })
	return &wsClient{Conn: ws, t: t}, nil
}

func (c *wsClient) tlsState() tls.ConnectionState {
	c.t.Helper()
	secure, ok := c.NetConn().(*tls.Conn)
	if !ok {
		c.t.Fatal("not TLS")
	}
	return secure.ConnectionState()
}

// serial is that of the certificate that the gateway shows.
func (p *pair) serial(t testing.TB, g *gateway.Gateway) int64 {
	t.Helper()
	c := dialTLS(t, g, "", p.client())
	defer c.Close()
	return c.tlsState().PeerCertificates[0].SerialNumber.Int64()
}

// Everything works over TLS: requests, replies, pushes of every size, pings, and an
// orderly end that TLS knows of as well.
func TestTLSCarriesEverything(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	g := run(t, func(o *gateway.Options) {
		p.options(o)
		o.Heartbeat = 50 * time.Millisecond
		o.Limits.PendingBytes = 16 << 20
	})
	c := dialTLS(t, g, protocol.SubprotocolV1, p.client())
	if s := c.tlsState(); s.Version != tls.VersionTLS13 || s.NegotiatedProtocol != "" && s.NegotiatedProtocol != "http/1.1" {
		t.Errorf("version %x, protocol %q", s.Version, s.NegotiatedProtocol)
	}
	c.subscribe("room")
	for _, size := range []int{1, 100, 16 << 10, 16<<10 + 1, 200 << 10} {
		for n := range 20 { // several wait at once and are joined
			if err := g.Publish("room", fmt.Appendf(nil, `"%d %s"`, n, strings.Repeat("x", size))); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 20 {
			r := c.nextReply()
			if want := fmt.Sprintf(`"%d `, n); len(r.Data) != len(want)+size+1 || !bytes.HasPrefix(r.Data, []byte(want)) {
				t.Fatalf("size %d, message %d: %d bytes", size, n, len(r.Data))
			}
		}
	}
	g.Towers().OfflineTopic("room")
	if r := c.nextReply(); r.Type != "unSubscribe" {
		t.Errorf("%+v", r)
	}
	eventually(t, "all are counted", func() bool { return g.Stats().Deliveries == 100 })
	if n := g.Stats().Edge.Handshakes; n != 1 {
		t.Errorf("%d handshakes", n)
	}
}

// The client is told by TLS too that nothing was cut off (RFC 8446 section 6.1).
func TestTLSEndsWithCloseNotify(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	towers := make(chan *gateway.FireTower, 1)
	g := run(t, func(o *gateway.Options) {
		p.options(o)
		o.OnTower = func(tower *gateway.FireTower) { towers <- tower }
	})
	c := dialTLS(t, g, protocol.SubprotocolV1, p.client())
	(<-towers).Close(4000, "bye")
	if code := c.closed(); code != 4000 { // gorilla answers the close frame
		t.Fatalf("closed with %d", code)
	}
	_ = c.NetConn().SetReadDeadline(time.Now().Add(patience))
	if n, err := c.NetConn().Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) { // without the alert it is io.ErrUnexpectedEOF
		t.Errorf("%d bytes, err = %v", n, err)
	}
}

func TestTLSResumesSessions(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	g := run(t, p.options)
	config := p.client()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for i := range 3 {
		c := dialTLS(t, g, protocol.SubprotocolV1, config)
		c.subscribe("room") // TLS 1.3 sends its tickets after the handshake: read past them
		if resumed := c.tlsState().DidResume; resumed != (i > 0) {
			t.Errorf("connection %d: resumed %v", i, resumed)
		}
	}
	if s := g.Stats().Edge; s.Handshakes != 3 || s.Resumed != 2 {
		t.Errorf("%+v", s)
	}
}

func TestTLSMinVersion(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	for _, row := range []struct {
		least string
		speak uint16
		ok    bool
	}{{"1.2", tls.VersionTLS12, true}, {"1.3", tls.VersionTLS12, false}, {"1.3", tls.VersionTLS13, true}, {"1.2", tls.VersionTLS11, false}} {
		g := run(t, func(o *gateway.Options) {
			p.options(o)
			o.TLS.MinVersion = row.least
		})
		config := p.client()
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, row.speak
		_, err := tryTLS(t, g, "", config, nil)
		if (err == nil) != row.ok {
			t.Errorf("least %s, client %x: err = %v", row.least, row.speak, err)
		}
		if !row.ok {
			eventually(t, "counted", func() bool { return g.Stats().Edge.HandshakeFailures[gateway.HandshakeProtocol] == 1 })
		}
	}
}

func TestTLSHandshakeFailuresAreCounted(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	connect := func(t *testing.T, g *gateway.Gateway, say string) net.Conn {
		c, err := net.Dial("tcp", g.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, say); err != nil {
			t.Fatal(err)
		}
		return c
	}
	rows := []struct {
		name string
		why  gateway.HandshakeFailure
		fail func(*testing.T, *gateway.Gateway)
	}{
		{"timeout", gateway.HandshakeTimeout, func(t *testing.T, g *gateway.Gateway) { connect(t, g, "") }},
		{"half a record", gateway.HandshakeTimeout, func(t *testing.T, g *gateway.Gateway) { connect(t, g, "\x16\x03\x01\x02\x00") }},
		{"plain HTTP", gateway.HandshakeNotTLS, func(t *testing.T, g *gateway.Gateway) {
			c := connect(t, g, "GET /ws HTTP/1.1\r\n\r\n")
			_ = c.SetReadDeadline(time.Now().Add(patience))
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%v, %v", resp, err)
			}
		}},
		{"junk", gateway.HandshakeNotTLS, func(t *testing.T, g *gateway.Gateway) { connect(t, g, "\x00\x01\x02\x03\x04") }},
		{"gone", gateway.HandshakeClientGone, func(t *testing.T, g *gateway.Gateway) { _ = connect(t, g, "\x16\x03").Close() }},
		{"certificate refused", gateway.HandshakeClientAlert, func(t *testing.T, g *gateway.Gateway) {
			if _, err := tryTLS(t, g, "", &tls.Config{}, nil); err == nil {
				t.Error("an unknown certificate was taken")
			}
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			g := run(t, func(o *gateway.Options) {
				p.options(o)
				if o.HandshakeTimeout = patience; row.why == gateway.HandshakeTimeout {
					o.HandshakeTimeout = 200 * time.Millisecond
				}
			})
			row.fail(t, g)
			eventually(t, "counted", func() bool { return g.Stats().Edge.HandshakeFailures[row.why] == 1 })
			for why, n := range g.Stats().Edge.HandshakeFailures {
				if why != row.why && n != 0 {
					t.Errorf("%s is counted as well", why)
				}
			}
			if n := g.Stats().Connections; n != 0 {
				t.Errorf("connections = %d", n)
			}
		})
	}
}

// Clients that stop in the middle of a handshake hold none of the few places where
// handshakes compute: others get through while they are there.
func TestTLSStalledHandshakesHoldUpNobody(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	g := run(t, func(o *gateway.Options) {
		p.options(o)
		o.HandshakeTimeout = 10 * patience
	})
	for range 200 {
		raw, err := net.Dial("tcp", g.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = raw.Close() })
		hello := make(chan struct{})
		go func() { // sends its hello and reads no answer
			defer close(hello)
			_ = tls.Client(onlyHello{raw}, p.client()).Handshake()
		}()
		<-hello
	}
	dialTLS(t, g, protocol.SubprotocolV1, p.client()).subscribe("room")
}

// onlyHello ends a client's handshake after it has been sent one record.
type onlyHello struct{ net.Conn }

func (onlyHello) Read([]byte) (int, error) { return 0, io.EOF }
func (onlyHello) Close() error             { return nil }

// TLS behind a balancer that speaks the PROXY protocol.
func TestTLSBehindProxy(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	towers := make(chan *gateway.FireTower, 1)
	g := run(t, func(o *gateway.Options) {
		p.options(o)
		behindProxy(gateway.ProxyRequired, "127.0.0.0/8")(o)
		o.OnTower = func(tower *gateway.FireTower) { towers <- tower }
	})
	c, err := tryTLS(t, g, protocol.SubprotocolV1, p.client(), func(network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		if err != nil {
			return nil, err
		}
		return &prefixed{Conn: c, prefix: header2(0x21, 0x11, ends4)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c.subscribe("room")
	if got := (<-towers).RemoteAddr().String(); got != "192.0.2.1:56324" {
		t.Errorf("RemoteAddr = %s", got)
	}
}

// gather returns the metrics without labels.
func gather(t testing.TB, g *gateway.Gateway) map[string]float64 {
	t.Helper()
	families, err := g.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.Metric {
			switch {
			case len(m.Label) > 0:
			case m.Gauge != nil:
				out[f.GetName()] = m.Gauge.GetValue()
			case m.Counter != nil:
				out[f.GetName()] = m.Counter.GetValue()
			}
		}
	}
	return out
}
