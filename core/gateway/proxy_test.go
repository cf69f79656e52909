package gateway_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

const signature2 = "\r\n\r\n\x00\r\nQUIT\n"

// header2 is a PROXY header of version 2.
func header2(command, family byte, body string) string {
	return signature2 + string([]byte{command, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(body)))) + body
}

const (
	ends4 = "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb" // 192.0.2.1:56324, 198.51.100.2:443
	tlv   = "\x04\x00\x02ab"
)

func ends6(src string) string {
	a, b := netip.MustParseAddr(src).As16(), netip.MustParseAddr("2001:db8::2").As16()
	return string(a[:]) + string(b[:]) + "\xdc\x04\x01\xbb"
}

// withChecksum adds a CRC32c extension (section 2.2.3).
func withChecksum(body string, flip byte) string {
	header := []byte(header2(0x21, 0x11, body+"\x03\x00\x04\x00\x00\x00\x00"))
	sum := crc32.Checksum(header, crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(header[len(header)-4:], sum)
	header[len(header)-1] ^= flip
	return string(header)
}

func TestProxyHeader(t *testing.T) {
	rows := []struct {
		name, header string
		remote       string // "" is the peer's own
		bad          bool
	}{
		{"1: IPv4", "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", "192.0.2.1:56324", false},
		{"1: IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", "[2001:db8::1]:56324", false},
		{"1: IPv4 in IPv6", "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n", "192.0.2.1:1", false},
		{"1: the longest", "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", false},
		{"1: unknown", "PROXY UNKNOWN\r\n", "", false},
		{"1: unknown with addresses", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "", false},
		{"1: no CR", "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n", "", true},
		{"1: two spaces", "PROXY TCP4  192.0.2.1 198.51.100.2 56324 443\r\n", "", true},
		{"1: family", "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", "", true},
		{"1: family of the second address", "PROXY TCP6 2001:db8::1 192.0.2.1 1 2\r\n", "", true},
		{"1: zone", "PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", "", true},
		{"1: leading zero in a port", "PROXY TCP4 192.0.2.1 192.0.2.2 080 443\r\n", "", true},
		{"1: sign in a port", "PROXY TCP4 192.0.2.1 192.0.2.2 +80 443\r\n", "", true},
		{"1: large port", "PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n", "", true},
		{"1: leading zero in an address", "PROXY TCP4 192.0.02.1 192.0.2.2 80 443\r\n", "", true},
		{"1: lower case", "PROXY tcp4 192.0.2.1 192.0.2.2 80 443\r\n", "", true},
		{"1: too few fields", "PROXY TCP4 192.0.2.1 192.0.2.2 80\r\n", "", true},
		{"1: UDP", "PROXY UDP4 192.0.2.1 192.0.2.2 80 443\r\n", "", true},
		{"1: too long", "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", "", true},
		{"2: IPv4", header2(0x21, 0x11, ends4), "192.0.2.1:56324", false},
		{"2: IPv4 with extension", header2(0x21, 0x11, ends4+tlv), "192.0.2.1:56324", false},
		{"2: IPv6", header2(0x21, 0x21, ends6("2001:db8::1")), "[2001:db8::1]:56324", false},
		{"2: IPv4 in IPv6", header2(0x21, 0x21, ends6("::ffff:192.0.2.1")), "192.0.2.1:56324", false},
		{"2: checksum", withChecksum(ends4, 0), "192.0.2.1:56324", false},
		{"2: wrong checksum", withChecksum(ends4, 1), "", true},
		{"2: checksum of three bytes", header2(0x21, 0x11, ends4+"\x03\x00\x03abc"), "", true},
		{"2: local", header2(0x20, 0x00, ""), "", false},
		{"2: local with addresses", header2(0x20, 0x11, ends4), "", false},
		{"2: unspecified", header2(0x21, 0x00, "whatever"), "", false},
		{"2: Unix", header2(0x21, 0x31, strings.Repeat("x", 216)), "", false},
		{"2: Unix, cut short", header2(0x21, 0x31, "x"), "", true},
		{"2: version 1", header2(0x11, 0x11, ends4), "", true},
		{"2: command", header2(0x22, 0x11, ends4), "", true},
		{"2: datagrams", header2(0x21, 0x12, ends4), "", true},
		{"2: family", header2(0x21, 0x41, ends4), "", true},
		{"2: addresses cut short", header2(0x21, 0x11, ends4[:11]), "", true},
		{"2: IPv6 with the length of IPv4", header2(0x21, 0x21, ends4), "", true},
		{"2: extension cut short", header2(0x21, 0x11, ends4+"\x04\x00\x03ab"), "", true},
		{"2: half an extension", header2(0x21, 0x11, ends4+"\x04"), "", true},
		{"2: too long", header2(0x20, 0x00, strings.Repeat("x", gateway.MaxProxyHeader-15)), "", true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			remote, size, more, none, err := gateway.ParseProxyHeader([]byte(row.header + "GET / HTTP/1.1\r\n"))
			if row.bad {
				if err == nil || more || none {
					t.Fatalf("%v, %d bytes, err = %v", remote, size, err)
				}
				return
			}
			if err != nil || size != len(row.header) {
				t.Fatalf("%d of %d bytes, err = %v", size, len(row.header), err)
			}
			if got := remote.String(); row.remote != "" && got != row.remote || row.remote == "" && remote.IsValid() {
				t.Errorf("client %s, want %q", got, row.remote)
			}
			for n := range len(row.header) { // in whatever pieces it comes
				if _, _, more, _, err := gateway.ParseProxyHeader([]byte(row.header[:n])); !more {
					t.Fatalf("after %d bytes: err = %v", n, err)
				}
			}
		})
	}
}

func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET"))
	f.Add([]byte(header2(0x21, 0x21, ends6("::1")+tlv)))
	f.Add([]byte(withChecksum(ends4, 0)))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		remote, size, more, _, err := gateway.ParseProxyHeader(b)
		switch {
		case err == nil && (size < 15 || size > len(b) || size > gateway.MaxProxyHeader):
			t.Fatalf("size %d of %d", size, len(b))
		case err != nil && (size != 0 && !more || remote.IsValid()):
			t.Fatalf("%v, size %d beside %v", remote, size, err)
		case more && len(b) >= gateway.MaxProxyHeader:
			t.Fatalf("%d bytes are not enough", len(b))
		case err == nil: // what follows a header changes nothing in it
			again, n, _, _, err := gateway.ParseProxyHeader(append(bytes.Clone(b[:size]), "\r\n\x00x"...))
			if again != remote || n != size || err != nil {
				t.Fatalf("alone it is %v, %d, %v", again, n, err)
			}
		}
	})
}

func behindProxy(mode gateway.ProxyProtocol, trusted ...string) func(*gateway.Options) {
	return func(o *gateway.Options) {
		o.Proxy.Protocol, o.Proxy.Trusted = mode, trusted
		o.HandshakeTimeout = patience
	}
}

// dialBehind connects as a balancer does that says header first.
func dialBehind(t testing.TB, g *gateway.Gateway, header string) (*wsClient, error) {
	t.Helper()
	d := websocket.Dialer{NetDial: func(network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		if err != nil {
			return nil, err
		}
		if header == "" {
			return c, nil
		}
		return &prefixed{Conn: c, prefix: header}, nil
	}, Subprotocols: []string{protocol.SubprotocolV1}}
	ws, _, err := d.Dial("ws://"+g.Addr().String()+"/ws", nil)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = ws.Close() })
	return &wsClient{Conn: ws, t: t}, nil
}

// prefixed sends its header in one segment with what is written first.
type prefixed struct {
	net.Conn
	prefix string
}

func (c *prefixed) Write(b []byte) (int, error) {
	if c.prefix == "" {
		return c.Conn.Write(b)
	}
	_, err := c.Conn.Write(append([]byte(c.prefix), b...))
	c.prefix = ""
	return len(b), err
}

// A client behind a balancer has its own address everywhere, and a connection like any other.
func TestProxyHeaderGivesTheClientsAddress(t *testing.T) {
	for _, mode := range []gateway.ProxyProtocol{gateway.ProxyOptional, gateway.ProxyRequired} {
		for name, header := range map[string]string{
			"1": "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", "2": header2(0x21, 0x11, ends4+tlv),
		} {
			t.Run(string(mode)+" "+name, func(t *testing.T) {
				asked := make(chan string, 1)
				towers := make(chan *gateway.FireTower, 1)
				g := run(t, func(o *gateway.Options) {
					behindProxy(mode, "127.0.0.0/8")(o)
					o.Authenticate = func(r *http.Request) (gateway.Identity, error) { asked <- r.RemoteAddr; return gateway.Identity{}, nil }
					o.OnTower = func(tower *gateway.FireTower) { towers <- tower }
				})
				c, err := dialBehind(t, g, header)
				if err != nil {
					t.Fatal(err)
				}
				if got := <-asked; got != "192.0.2.1:56324" {
					t.Errorf("Authenticate sees %s", got)
				}
				tower := <-towers
				if got := tower.RemoteAddr(); got != netip.MustParseAddrPort("192.0.2.1:56324") {
					t.Errorf("RemoteAddr = %v", got)
				}
				if !gateway.WritesDirectly(tower) {
					t.Error("the consumers cannot write to its descriptor")
				}
				c.subscribe("room")
				if err := g.Publish("room", []byte("1")); err != nil {
					t.Fatal(err)
				}
				if r := c.nextReply(); string(r.Data) != "1" {
					t.Errorf("%+v", r)
				}
			})
		}
	}
}

func TestProxyRefusals(t *testing.T) {
	const line = "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
	rows := []struct {
		name    string
		mode    gateway.ProxyProtocol
		trusted string
		header  string
		why     gateway.ProxyRefusal // "" is let in
	}{
		{"optional, none", gateway.ProxyOptional, "127.0.0.0/8", "", ""},
		{"optional, none from elsewhere", gateway.ProxyOptional, "10.0.0.0/8", "", ""},
		{"optional, from elsewhere", gateway.ProxyOptional, "10.0.0.0/8", line, gateway.ProxyUntrusted},
		{"optional, malformed", gateway.ProxyOptional, "127.0.0.1", "PROXY nobody\r\n", gateway.ProxyMalformed},
		{"required, none", gateway.ProxyRequired, "127.0.0.0/8", "", gateway.ProxyMissing},
		{"required, from elsewhere", gateway.ProxyRequired, "10.0.0.0/8", line, gateway.ProxyUntrusted},
		{"required, malformed", gateway.ProxyRequired, "127.0.0.0/8", header2(0x31, 0x11, ends4), gateway.ProxyMalformed},
		{"required, local", gateway.ProxyRequired, "127.0.0.0/8", header2(0x20, 0, ""), ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			g := run(t, behindProxy(row.mode, row.trusted))
			_, err := dialBehind(t, g, row.header)
			if (err == nil) != (row.why == "") {
				t.Fatalf("err = %v", err)
			}
			for why, n := range g.Stats().Edge.ProxyRefusals {
				if want := why == row.why; (n == 1) != want {
					t.Errorf("%s is counted %d times", why, n)
				}
			}
		})
	}
}

// Peers that say nothing, or only the beginning of a header, keep nobody else waiting,
// and are gone when their time is over.
func TestProxyHeaderIsBoundedInTime(t *testing.T) {
	g := run(t, func(o *gateway.Options) {
		behindProxy(gateway.ProxyRequired, "127.0.0.0/8")(o)
		o.HandshakeTimeout = 400 * time.Millisecond
	})
	var silent []net.Conn
	for _, begin := range []string{"", "PROXY TCP4 192.0", signature2} {
		c, err := net.Dial("tcp", g.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, begin); err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	if _, err := dialBehind(t, g, header2(0x21, 0x11, ends4)); err != nil {
		t.Fatal(err)
	}
	for _, c := range silent {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("it was answered")
		}
	}
	if n := g.Stats().Edge.ProxyRefusals[gateway.ProxyTimeout]; n != 3 {
		t.Errorf("timeouts = %d", n)
	}
}

// The gateway's end does not wait for peers that say nothing.
func TestStopEndsPendingConnections(t *testing.T) {
	g, stop := runStoppable(t, behindProxy(gateway.ProxyRequired, "127.0.0.0/8"))
	c, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// A second one that is refused shows that the first was accepted, which came before.
	if _, err := dialBehind(t, g, ""); err == nil {
		t.Fatal("let in without a header")
	}
	stop()
	if n := g.Stats().Edge.ProxyRefusals[gateway.ProxyStopped]; n != 1 {
		t.Errorf("stopped = %d", n)
	}
}

// A header that comes byte by byte is one, and what follows it is not lost.
func TestProxyHeaderInPieces(t *testing.T) {
	g := run(t, behindProxy(gateway.ProxyRequired, "127.0.0.0/8"))
	c, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all := header2(0x21, 0x11, ends4) + fmt.Sprintf("GET /nothing HTTP/1.1\r\nHost: %s\r\n\r\n", g.Addr())
	for i := range len(all) {
		if _, err := io.WriteString(c, all[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("%v, %v", resp, err)
	}
}
