package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"firetower/core/gateway"
)

// The rate is the one that is configured, at the beginning and in the long run.
func TestAdmissionRate(t *testing.T) {
	for _, rate := range []int{1, 3, 10, 1000, 100_000} {
		t.Run(strconv.Itoa(rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := gateway.NewAdmission(gateway.AdmissionOptions{Rate: rate, Handshakes: 1})
				admit := func() (n int) {
					for {
						began, err := a.Enter()
						if err != nil {
							if !errors.Is(err, gateway.ErrRate) {
								t.Fatal(err)
							}
							return n
						}
						a.Leave(began)
						n++
					}
				}
				if n := admit(); n != rate {
					t.Fatalf("%d at once", n)
				}
				total := 0
				for range 100 { // ten seconds in steps that are no multiple of a token's time
					<-time.After(100 * time.Millisecond)
					total += admit()
				}
				if total != 10*rate {
					t.Errorf("%d in ten seconds", total)
				}
				<-time.After(time.Hour) // a rest saves up no more than a second's worth
				if n := admit(); n != rate {
					t.Errorf("%d at once after a rest", n)
				}
			})
		})
	}
}

// Those who are refused are told to come back one after the other, as fast as the rate
// lets them in.
func TestRetryAfterFollowsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := gateway.NewAdmission(gateway.AdmissionOptions{Rate: 100, Handshakes: 1})
		perSecond := map[int]int{}
		for range 2000 {
			perSecond[a.RetryAfter(gateway.ErrRate, time.Second)]++
		}
		for s := 1; s <= 21; s++ {
			n := perSecond[s]
			if s > 1 && s < 21 && (n < 60 || n > 140) || n > 140 {
				t.Errorf("%d are told to come back after %d s", n, s)
			}
			delete(perSecond, s)
		}
		if len(perSecond) > 0 {
			t.Errorf("others: %v", perSecond)
		}
		for range 100_000 {
			if n := a.RetryAfter(gateway.ErrRate, time.Second); n < 1 || n > 60 {
				t.Fatalf("told %d s", n)
			}
		}
		<-time.After(2 * time.Minute)
		if n := a.RetryAfter(gateway.ErrRate, time.Second); n > 2 {
			t.Errorf("told %d s when nobody had been refused for long", n)
		}
	})
}

func TestRetryAfterOfABusyGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := gateway.NewAdmission(gateway.AdmissionOptions{Handshakes: 1})
		for range 200 { // each takes a second
			began, err := a.Enter()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.Enter(); !errors.Is(err, gateway.ErrBusy) {
				t.Fatalf("err = %v", err)
			}
			<-time.After(time.Second)
			a.Leave(began)
		}
		for i := range 20 {
			if n := a.RetryAfter(gateway.ErrBusy, time.Second); n < i+1 || n > i+2 {
				t.Errorf("number %d is told %d s", i, n)
			}
		}
	})
}

// refused connects and returns what it was told.
func refused(t testing.TB, g *gateway.Gateway, header http.Header) (retryAfter int) {
	t.Helper()
	ws, resp, err := websocket.DefaultDialer.Dial("ws://"+g.Addr().String()+"/ws", header)
	if err == nil {
		_ = ws.Close()
		t.Fatal("it was let in")
	}
	if resp == nil || resp.StatusCode != http.StatusServiceUnavailable || !resp.Close {
		t.Fatalf("%v: %+v", err, resp)
	}
	n, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || n < 1 {
		t.Fatalf("Retry-After: %q", resp.Header.Get("Retry-After"))
	}
	return n
}

func onlyRefusal(t testing.TB, g *gateway.Gateway, why gateway.RefusalReason, want int64) {
	t.Helper()
	for reason, n := range g.Stats().Refusals {
		if reason == why && n != want || reason != why && n != 0 {
			t.Errorf("%s is counted %d times", reason, n)
		}
	}
	families, err := g.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "firetower_gateway_upgrades_refused_total" {
			continue
		}
		for _, m := range f.Metric {
			if m.Label[0].GetValue() == string(why) && m.Counter.GetValue() != float64(want) {
				t.Errorf("the metric of %s says %v", why, m.Counter.GetValue())
			}
		}
		return
	}
	t.Error("no metric")
}

func TestRateRefuses(t *testing.T) {
	g := run(t, func(o *gateway.Options) { o.Admission.Rate = 1 })
	dial(t, g, "")
	refused(t, g, nil)
	onlyRefusal(t, g, gateway.RefusedRate, 1)
}

func TestHandshakesAtWorkAreBounded(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	g := run(t, func(o *gateway.Options) {
		o.Admission.Handshakes = 2
		o.Authenticate = func(*http.Request) (gateway.Identity, error) {
			entered <- struct{}{}
			<-leave
			return gateway.Identity{}, nil
		}
	})
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			ws, _, err := websocket.DefaultDialer.Dial("ws://"+g.Addr().String()+"/ws", nil)
			if err != nil {
				t.Errorf("dial: %v", err)
				return
			}
			_ = ws.Close()
		})
		<-entered
	}
	refused(t, g, nil)
	onlyRefusal(t, g, gateway.RefusedBusy, 1)
	close(leave)
	clients.Wait()
}

// Connections are counted by address, released by every way to end, and by nothing else.
func TestConnectionsPerAddress(t *testing.T) {
	from := func(addr string) http.Header { return http.Header{"X-Forwarded-For": {addr}} }
	fail := errors.New("no")
	g := run(t, func(o *gateway.Options) {
		o.Limits.MaxConnectionsPerIP = 2
		o.Proxy.Forwarded, o.Proxy.Trusted = gateway.ForwardedX, []string{"127.0.0.0/8"}
		o.Authenticate = func(r *http.Request) (gateway.Identity, error) {
			if r.Header.Get("X-Fail") != "" {
				return gateway.Identity{}, fail
			}
			return gateway.Identity{}, nil
		}
	})
	enter := func(addr string) *wsClient { return dialWith(t, g, "", from(addr), &websocket.Dialer{}) }
	enter("192.0.2.1")
	last := enter("192.0.2.1")
	refused(t, g, from("192.0.2.1"))
	enter("192.0.2.2") // another one is not concerned
	for i := range 4 { // nor does a refusal take a place
		header := from("192.0.2.3")
		header.Set("X-Fail", "yes")
		if _, resp, err := websocket.DefaultDialer.Dial("ws://"+g.Addr().String()+"/ws", header); err == nil || resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
	enter("192.0.2.3")
	// A client has all of a /64.
	enter("2001:db8:1:2::1")
	enter("2001:db8:1:2:ffff::1")
	refused(t, g, from("2001:db8:1:2:3::1"))
	enter("2001:db8:1:3::1")
	refused(t, g, from("192.0.2.1"))
	_ = last.Close()
	eventually(t, "it is gone", func() bool { return g.Stats().Connections == 6 })
	enter("192.0.2.1")
	refused(t, g, from("192.0.2.1"))
	if s := g.Stats().Refusals; s[gateway.RefusedAddress] != 4 || s[gateway.RefusedIdentity] != 4 {
		t.Errorf("%v", s)
	}
}

// A storm from many addresses leaves no count behind.
func TestConnectionsPerAddressUnderChurn(t *testing.T) {
	g := run(t, func(o *gateway.Options) {
		o.Limits.MaxConnectionsPerIP = 3
		o.Proxy.Forwarded, o.Proxy.Trusted = gateway.ForwardedX, []string{"127.0.0.0/8"}
	})
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for n := range 20 {
				header := http.Header{"X-Forwarded-For": {fmt.Sprintf("192.0.2.%d", (i+n)%4)}}
				if ws, _, err := websocket.DefaultDialer.Dial("ws://"+g.Addr().String()+"/ws", header); err == nil {
					_ = ws.Close()
				}
			}
		})
	}
	clients.Wait()
	eventually(t, "all are gone", func() bool { return g.Stats().Connections == 0 })
	if n := gateway.CountedAddresses(g); n != 0 {
		t.Errorf("%d addresses are counted still", n)
	}
}

func TestEdgeOptionsAreValidated(t *testing.T) {
	rows := []struct {
		key    string
		change func(*gateway.Options)
	}{
		{"tls.certFile and tls.keyFile", func(o *gateway.Options) { o.TLS.CertFile = "x" }},
		{"tls.certFile and tls.keyFile", func(o *gateway.Options) { o.TLS.KeyFile = "x" }},
		{"tls.minVersion", func(o *gateway.Options) { o.TLS.MinVersion = "1.1" }},
		{"tls.reloadInterval", func(o *gateway.Options) { o.TLS.ReloadInterval = -1 }},
		{"proxy.protocol", func(o *gateway.Options) { o.Proxy.Protocol = "on" }},
		{"proxy.forwarded", func(o *gateway.Options) { o.Proxy.Forwarded = "x-real-ip" }},
		{"proxy.trusted", func(o *gateway.Options) { o.Proxy.Protocol = gateway.ProxyRequired }},
		{"proxy.trusted", func(o *gateway.Options) { o.Proxy.Forwarded = gateway.ForwardedX }},
		{"proxy.trusted", func(o *gateway.Options) { o.Proxy.Trusted = []string{"10.0.0.1/8"} }},
		{"proxy.trusted", func(o *gateway.Options) { o.Proxy.Trusted = []string{"localhost"} }},
		{"limits.maxConnectionsPerIP", func(o *gateway.Options) { o.Limits.MaxConnectionsPerIP = -1 }},
		{"admission.handshakes", func(o *gateway.Options) { o.Admission.Handshakes = -1 }},
		{"admission.rate", func(o *gateway.Options) { o.Admission.Rate = -1 }},
	}
	for _, row := range rows {
		o := gateway.DefaultOptions()
		row.change(&o)
		if err := o.Validate(); err == nil || !strings.HasPrefix(err.Error(), row.key+":") {
			t.Errorf("%s: err = %v", row.key, err)
		}
	}
}
