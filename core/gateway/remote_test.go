package gateway_test

import (
	"net/http"
	"testing"

	"github.com/gorilla/websocket"

	"firetower/core/gateway"
)

func TestClientAddr(t *testing.T) {
	const x, std = gateway.ForwardedX, gateway.ForwardedStandard
	rows := []struct {
		name   string
		header gateway.ForwardedHeader
		peer   string
		lines  []string
		want   string
	}{
		{"off", gateway.ForwardedOff, "10.0.0.1:5", []string{"192.0.2.1"}, "10.0.0.1:5"},
		{"no header", x, "10.0.0.1:5", nil, "10.0.0.1:5"},
		{"untrusted peer", x, "192.0.2.9:5", []string{"192.0.2.1"}, "192.0.2.9:5"},
		{"one", x, "10.0.0.1:5", []string{"192.0.2.1"}, "192.0.2.1:0"},
		{"the right-most that is not trusted", x, "10.0.0.1:5", []string{"203.0.113.7, 192.0.2.1, 10.0.0.2"}, "192.0.2.1:0"},
		{"over lines", x, "10.0.0.1:5", []string{"203.0.113.7", "192.0.2.1,10.0.0.2"}, "192.0.2.1:0"},
		{"all trusted", x, "10.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3:0"},
		{"port", x, "10.0.0.1:5", []string{"192.0.2.1:77"}, "192.0.2.1:77"},
		{"IPv6", x, "10.0.0.1:5", []string{"2001:db8::1"}, "[2001:db8::1]:0"},
		{"IPv6 in brackets", x, "10.0.0.1:5", []string{"[2001:db8::1]"}, "[2001:db8::1]:0"},
		{"IPv6 with port", x, "10.0.0.1:5", []string{"[2001:db8::1]:77"}, "[2001:db8::1]:77"},
		{"IPv4 in IPv6", x, "[::ffff:10.0.0.1]:5", []string{"::ffff:192.0.2.1"}, "192.0.2.1:0"},
		{"junk before a trusted hop", x, "10.0.0.1:5", []string{"junk, 10.0.0.2"}, "10.0.0.2:0"},
		{"junk at the end", x, "10.0.0.1:5", []string{"192.0.2.1, junk"}, "10.0.0.1:5"},
		{"empty members", x, "10.0.0.1:5", []string{"192.0.2.1, , "}, "192.0.2.1:0"},
		{"the other header is not looked at", x, "10.0.0.1:5", nil, "10.0.0.1:5"},
		{"standard", std, "10.0.0.1:5", []string{"for=192.0.2.1"}, "192.0.2.1:0"},
		{"standard, parameters", std, "10.0.0.1:5", []string{`by=10.0.0.1;For="192.0.2.1:77";proto=https`}, "192.0.2.1:77"},
		{"standard, IPv6", std, "10.0.0.1:5", []string{`for="[2001:db8::1]:4711"`}, "[2001:db8::1]:4711"},
		{"standard, IPv6 without brackets", std, "10.0.0.1:5", []string{`for="2001:db8::1"`}, "10.0.0.1:5"},
		{"standard, several", std, "10.0.0.1:5", []string{`for=203.0.113.7, for=192.0.2.1;proto=http`, `for=10.0.0.2`}, "192.0.2.1:0"},
		{"standard, unknown", std, "10.0.0.1:5", []string{`for=192.0.2.1, for=unknown`}, "10.0.0.1:5"},
		{"standard, obfuscated", std, "10.0.0.1:5", []string{`for=192.0.2.1, for=_gazonk`}, "10.0.0.1:5"},
		{"standard, comma in quotes", std, "10.0.0.1:5", []string{`for=192.0.2.1;by="_a,b"`}, "192.0.2.1:0"},
		{"standard, escapes", std, "10.0.0.1:5", []string{`for=192.0.2.1;by="_a\",\\"`}, "192.0.2.1:0"},
		{"standard, a quote that the client left open", std, "10.0.0.1:5", []string{`for="evil, for=192.0.2.1`}, "192.0.2.1:0"},
		{"standard, for twice", std, "10.0.0.1:5", []string{`for=192.0.2.1;for=192.0.2.2`}, "10.0.0.1:5"},
		{"standard, junk after a value", std, "10.0.0.1:5", []string{`for="192.0.2.1"x`}, "10.0.0.1:5"},
		{"standard, no for", std, "10.0.0.1:5", []string{`proto=https`}, "10.0.0.1:5"},
		{"no address", x, "@", []string{"192.0.2.1"}, "invalid AddrPort"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			o := gateway.DefaultOptions()
			o.Proxy = gateway.ProxyOptions{Protocol: gateway.ProxyOff, Forwarded: row.header, Trusted: []string{"10.0.0.0/8"}}
			g := newIdle(t, o)
			r := &http.Request{RemoteAddr: row.peer, Header: http.Header{}}
			name, other := "X-Forwarded-For", "Forwarded"
			if row.header == std {
				name, other = other, name
			}
			r.Header[name] = row.lines
			r.Header[other] = []string{"for=203.0.113.99"}
			if got := g.ClientAddr(r).String(); got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
		})
	}
}

func TestForwardedHopsAreBounded(t *testing.T) {
	o := gateway.DefaultOptions()
	o.Proxy = gateway.ProxyOptions{Protocol: gateway.ProxyOff, Forwarded: gateway.ForwardedX, Trusted: []string{"10.0.0.0/8"}}
	g := newIdle(t, o)
	r := &http.Request{RemoteAddr: "10.0.0.1:5", Header: http.Header{}}
	r.Header.Add("X-Forwarded-For", "192.0.2.1")
	for range 100 {
		r.Header.Add("X-Forwarded-For", "10.0.0.2")
	}
	if got := g.ClientAddr(r).String(); got != "10.0.0.2:0" {
		t.Errorf("client %s", got)
	}
}

// What a balancer told is what the application sees, and a client alone cannot tell it.
func TestForwardedReachesTheApplication(t *testing.T) {
	for _, row := range []struct{ name, trusted, want string }{
		{"trusted", "127.0.0.0/8", "192.0.2.1:0"}, {"not trusted", "10.0.0.0/8", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			asked := make(chan string, 1)
			towers := make(chan *gateway.FireTower, 1)
			g := run(t, func(o *gateway.Options) {
				o.Proxy.Forwarded, o.Proxy.Trusted = gateway.ForwardedX, []string{row.trusted}
				o.Authenticate = func(r *http.Request) (gateway.Identity, error) { asked <- r.RemoteAddr; return gateway.Identity{}, nil }
				o.OnTower = func(tower *gateway.FireTower) { towers <- tower }
			})
			c := dialWith(t, g, "", http.Header{"X-Forwarded-For": {"192.0.2.1"}}, &websocket.Dialer{})
			want := row.want
			if want == "" {
				want = c.LocalAddr().String()
			}
			if got := <-asked; got != want {
				t.Errorf("Authenticate sees %s, want %s", got, want)
			}
			if got := (<-towers).RemoteAddr().String(); got != want {
				t.Errorf("RemoteAddr = %s, want %s", got, want)
			}
		})
	}
}

// newIdle makes a gateway that never runs.
func newIdle(t testing.TB, o gateway.Options) *gateway.Gateway {
	t.Helper()
	g, err := gateway.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}
