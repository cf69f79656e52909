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

func TestTLSReload(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	g := run(t, p.options)
	before := dialTLS(t, g, protocol.SubprotocolV1, p.client())
	before.subscribe("room")
	if n := p.serial(t, g); n != 1 {
		t.Fatalf("serial %d", n)
	}
	p.renew(t, 2)
	if n := p.serial(t, g); n != 1 {
		t.Fatalf("serial %d before it was reloaded", n)
	}
	if err := g.ReloadCertificate(); err != nil {
		t.Fatal(err)
	}
	if n := p.serial(t, g); n != 2 {
		t.Errorf("serial %d", n)
	}
	good, err := os.ReadFile(p.key)
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range []string{"", "junk", string(good[:len(good)/2])} {
		put(t, p.key, []byte(broken))
		if err := g.ReloadCertificate(); err == nil || !strings.Contains(err.Error(), "tls.keyFile") {
			t.Errorf("key %.10q: err = %v", broken, err)
		}
		if n := p.serial(t, g); n != 2 {
			t.Errorf("key %.10q: serial %d", broken, n)
		}
	}
	if s := g.Stats().Edge; s.Reloads != 1 || s.FailedReloads != 3 {
		t.Errorf("%+v", s)
	}
	if err := g.Publish("room", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if r := before.nextReply(); string(r.Data) != "1" {
		t.Errorf("the connection of before got %+v", r)
	}
	families := gather(t, g)
	const day = 24 * 60 * 60
	if left := families["firetower_gateway_tls_certificate_expiry_timestamp_seconds"] - float64(time.Now().Unix()); left < day || left > 2*day {
		t.Errorf("expires in %v s", left)
	}
}

// A change of the files is found without being told, also when they change one after
// the other; a broken one is tried once.
func TestTLSReloadsWhenFilesChange(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	g := run(t, func(o *gateway.Options) {
		p.options(o)
		o.TLS.ReloadInterval = 5 * time.Millisecond
	})
	put(t, p.cert, []byte("half done"))
	eventually(t, "the broken pair is noticed", func() bool { return g.Stats().Edge.FailedReloads > 0 })
	if n := p.serial(t, g); n != 1 {
		t.Errorf("serial %d", n)
	}
	if n := g.Stats().Edge.FailedReloads; n != 1 {
		t.Errorf("it was tried %d times", n)
	}
	p.renew(t, 2)
	eventually(t, "the new pair is in force", func() bool { return p.serial(t, g) == 2 })
}

func TestReloadWithoutTLS(t *testing.T) {
	if err := newIdle(t, gateway.DefaultOptions()).ReloadCertificate(); !errors.Is(err, gateway.ErrNoTLS) {
		t.Errorf("err = %v", err)
	}
}

func TestTLSNeedsAPairThatWorks(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	o := gateway.DefaultOptions()
	o.TLS.CertFile, o.TLS.KeyFile = p.cert, p.cert
	if _, err := gateway.New(o); err == nil || !strings.Contains(err.Error(), "tls.keyFile") {
		t.Errorf("err = %v", err)
	}
}

// A TLS client that stops reading delays nobody and is gone, with every policy: there
// is no writing on after a deadline. What it did get are whole records, its end is
// counted, and so is each message that it did not get.
func TestTLSSlowClient(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	rows := []struct {
		policy gateway.SlowPolicy
		drops  []gateway.DropReason
	}{
		{gateway.SlowDisconnect, []gateway.DropReason{gateway.DropSlowDisconnect}},
		{gateway.SlowDropOldest, []gateway.DropReason{gateway.DropSlowOldest, gateway.DropSlowDisconnect}},
		{gateway.SlowLatest, []gateway.DropReason{gateway.DropSlowLatest, gateway.DropSlowDisconnect}},
	}
	for _, row := range rows {
		t.Run(string(row.policy), func(t *testing.T) {
			g := run(t, func(o *gateway.Options) {
				p.options(o)
				o.Bucket.Num = 1
				o.SlowPolicy = row.policy
				if row.policy != gateway.SlowDisconnect { // which is to end by age here
					o.Limits.PendingBytes = 128 << 10
				}
				o.Limits.PendingAge = time.Second
				o.Limits.SocketBytes = 16 << 10
			})
			stuck := dialTLS(t, g, protocol.SubprotocolV1, p.client())
			stuck.subscribe("room")
			other := dialTLS(t, g, protocol.SubprotocolV1, p.client())
			other.subscribe("room")
			body := []byte(`"` + strings.Repeat("x", 32<<10) + `"`)
			sent := 0
			publish := func() {
				if err := g.Publish("room", body); err != nil {
					t.Fatal(err)
				}
				sent++
				if r := other.nextReply(); len(r.Data) != len(body) {
					t.Fatalf("message %d: %d bytes", sent, len(r.Data))
				}
			}
			for g.Stats().BacklogBytes < 48<<10 {
				publish()
			}
			for range 8 { // all before it is too slow, so that each is for it
				publish()
			}
			eventually(t, "it is gone", func() bool { return g.Stats().Connections == 1 })
			got := 0
			for {
				_ = stuck.SetReadDeadline(time.Now().Add(patience))
				_, b, err := stuck.ReadMessage()
				if err != nil {
					var record tls.RecordHeaderError
					var alert *net.OpError
					if errors.As(err, &record) || errors.As(err, &alert) && alert.Op == "local error" {
						t.Errorf("a corrupt record: %v", err) // such as a bad MAC
					}
					break
				}
				if len(b) < len(body) {
					t.Fatalf("message %d: %d bytes", got, len(b))
				}
				got++
			}
			// What was in the socket when the connection was closed may have been lost on the way.
			accounted := func(s gateway.Stats) (whole, dropped int) {
				for _, why := range row.drops {
					dropped += int(s.Drops[why])
				}
				return int(s.Deliveries) - sent, dropped
			}
			eventually(t, "every message is accounted for", func() bool {
				whole, dropped := accounted(g.Stats())
				return whole+dropped == sent
			})
			s := g.Stats()
			if whole, _ := accounted(s); got > whole {
				t.Errorf("%d messages arrived of %d that were written", got, whole)
			}
			if s.Connections != 1 || s.Disconnects[gateway.DisconnectSlow] != 1 || s.Backlogged != 0 || s.BacklogBytes != 0 {
				t.Errorf("%d connections, %v, %d backlogs of %d bytes", s.Connections, s.Disconnects, s.Backlogged, s.BacklogBytes)
			}
		})
	}
}

// A TLS client that reads slowly, but reads, stays with the policies that tolerate it.
func TestTLSSlowReaderIsTolerated(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	g := run(t, func(o *gateway.Options) {
		p.options(o)
		o.SlowPolicy = gateway.SlowDropOldest
		o.Limits.PendingBytes = 128 << 10
		o.Limits.PendingAge = patience
		o.Limits.SocketBytes = 16 << 10
	})
	c := dialTLS(t, g, protocol.SubprotocolV1, p.client())
	c.subscribe("room")
	pad := strings.Repeat("x", 16<<10)
	sent := 0
	for g.Stats().Drops[gateway.DropSlowOldest] < 20 {
		if err := g.Publish("room", fmt.Appendf(nil, `"%d %s"`, sent, pad)); err != nil {
			t.Fatal(err)
		}
		sent++
		eventually(t, "taken", func() bool { return g.Stats().CentralQueue == 0 })
	}
	if err := g.Publish("room", []byte(`"end"`)); err != nil {
		t.Fatal(err)
	}
	last, got := -1, 0
	for {
		r := c.nextReply()
		if string(r.Data) == `"end"` {
			break
		}
		var n int
		if _, err := fmt.Sscanf(string(r.Data), `"%d `, &n); err != nil || n <= last {
			t.Fatalf("%d after %d, %v", n, last, err)
		}
		last = n
		got++
	}
	if s := g.Stats(); got+int(s.Drops[gateway.DropSlowOldest]) != sent || s.Connections != 1 {
		t.Errorf("of %d messages %d arrived and %d are counted as dropped; %d connections", sent, got, s.Drops[gateway.DropSlowOldest], s.Connections)
	}
}

// Closing never waits for the sockets of clients that take nothing, which crypto/tls
// would do for five seconds each.
func TestTLSDrainDoesNotWaitForStuckClients(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	g, stop := runStoppable(t, func(o *gateway.Options) {
		p.options(o)
		o.CloseTimeout = 100 * time.Millisecond
		o.Limits.PendingAge = 10 * patience
		o.Limits.PendingBytes = 1 << 20
		o.Limits.SocketBytes = 16 << 10
	})
	const clients = 10
	for range clients {
		dialTLS(t, g, protocol.SubprotocolV1, p.client()).subscribe("room")
	}
	for g.Stats().Backlogged < clients {
		if err := g.Publish("room", []byte(`"`+strings.Repeat("x", 32<<10)+`"`)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "taken", func() bool { return g.Stats().CentralQueue == 0 })
	}
	stop() // fails the test when the drain ends with an error
	if s := g.Stats(); s.Connections != 0 || s.Backlogged != 0 {
		t.Errorf("%d connections, %d backlogs", s.Connections, s.Backlogged)
	}
}

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
