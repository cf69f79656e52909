package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"
)

// TLS encrypts the WebSocket listener.
type TLS struct {
	// CertFile and KeyFile are PEM files, both or neither.
	CertFile, KeyFile string
	// MinVersion is 1.2 or 1.3.
	MinVersion string
	// ReloadInterval is how often the files are looked at for a change.
	ReloadInterval time.Duration
}

// Proxy is for a gateway behind balancers.
type Proxy struct {
	// Protocol is off, optional or required.
	Protocol string
	// Forwarded is off, x-forwarded-for or forwarded.
	Forwarded string
	// Trusted are the balancers' networks.
	Trusted []string
}

// Admission bounds storms of connecting clients.
type Admission struct {
	Handshakes, Rate int
}

// edgeKeys are the keys of how clients get in.
func edgeKeys(c *Gateway) []*key {
	return []*key{
		{
			path: "tls.certFile", kind: KindFile, def: "", to: &c.TLS.CertFile,
			doc: "The PEM file with the certificate of the WebSocket listener and its chain; empty serves without TLS. A relative name in " +
				"a configuration file is looked up beside that file.",
		},
		{
			path: "tls.keyFile", kind: KindFile, def: "", to: &c.TLS.KeyFile,
			doc: "The PEM file with the certificate's key.",
		},
		{
			path: "tls.minVersion", kind: KindChoice, def: "1.2", to: &c.TLS.MinVersion, choices: []string{"1.2", "1.3"},
			doc: "The oldest version of TLS that is spoken.",
		},
		{
			path: "tls.reloadInterval", kind: KindDuration, def: "5s", to: &c.TLS.ReloadInterval, lo: 0, hi: 24 * hr,
			doc: "How often the files are looked at; a changed pair is for those who connect from then on, and a broken one leaves the pair " +
				"before in force. SIGHUP reads them at once; 0s leaves it to that.",
		},
		{
			path: "proxy.protocol", kind: KindChoice, def: "off", to: &c.Proxy.Protocol, choices: []string{"off", "optional", "required"},
			doc: "Whether balancers begin a connection with a header of the PROXY protocol, version 1 or 2, that tells the client's address. " +
				"Connections with one from elsewhere than proxy.trusted are closed; required closes those without one too.",
		},
		{
			path: "proxy.forwarded", kind: KindChoice, def: "off", to: &c.Proxy.Forwarded, choices: []string{"off", "x-forwarded-for", "forwarded"},
			doc: "The request header in which balancers tell the client's address: the right-most one that is not of proxy.trusted counts. " +
				"Name the header that the balancer sets: a client could send the other.",
		},
		{
			path: "proxy.trusted", kind: KindList, def: "", to: &c.Proxy.Trusted, check: checkNetworks,
			doc: `The networks of the balancers, such as "10.0.0.0/8", or single addresses. Others are not believed.`,
		},
		{
			path: "admission.handshakes", kind: KindInt, def: "0", to: &c.Admission.Handshakes, lo: 0, hi: 1 << 24,
			doc: "How many upgrades may be at work at once, from the request to its answer; 0 is 2048 for each processor. What is over it " +
				"is answered 503 with a Retry-After.",
		},
		{
			path: "admission.rate", kind: KindInt, def: "0", to: &c.Admission.Rate, lo: 0, hi: 1_000_000,
			doc: "How many clients may connect in a second, which may come at once; 0 is no bound. What is over it is answered " +
				"503 with a Retry-After, which spreads those who come back at this rate.",
		},
	}
}

// checkNetworks accepts networks (RFC 4632 section 3.1, RFC 4291 section 2.3) and addresses.
func checkNetworks(v any) error {
	list, ok := v.([]string)
	if !ok {
		return errors.New("is not a list")
	}
	for _, s := range list {
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			continue
		}
		p, err := netip.ParsePrefix(s)
		switch {
		case err != nil || p.Addr().Is4In6():
			return fmt.Errorf(`%q is no network: want one such as "10.0.0.0/8", or an address`, s)
		case p != p.Masked():
			return fmt.Errorf("%q has bits beyond its length: did you mean %q?", s, p.Masked())
		}
	}
	return nil
}

// crossCheckEdge refuses values that cannot work together.
func (c *Gateway) crossCheckEdge(l *loader) {
	for _, pair := range [][2]string{{"tls.certFile", "tls.keyFile"}, {"tls.keyFile", "tls.certFile"}} {
		set, other := l.find(pair[0]), l.find(pair[1])
		if set.text() != "" && other.text() == "" {
			l.problemWith(set.path, "needs %s as well", other.path)
		}
	}
	for _, path := range []string{"proxy.protocol", "proxy.forwarded"} {
		if k := l.find(path); k.text() != "off" && len(c.Proxy.Trusted) == 0 {
			l.problemWith(path, "%q needs proxy.trusted, the networks of the balancers: nobody else is believed", k.text())
		}
	}
}

// resolveFiles looks up the relative names of files that stand in a file beside it.
func (l *loader) resolveFiles() {
	for _, k := range l.keys {
		name, ok := k.to.(*string)
		if k.kind == KindFile && ok && k.path != "link.tokenFile" && *name != "" && k.origin.Kind == FromFile && !filepath.IsAbs(*name) {
			*name = filepath.Join(filepath.Dir(k.origin.Name), *name)
		}
	}
}
