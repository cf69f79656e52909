package gateway

import (
	"net/http"
	"net/netip"
	"strings"
)

// ForwardedHeader names the request header in which balancers tell who they speak for.
type ForwardedHeader string

const (
	// ForwardedOff: none is looked at.
	ForwardedOff ForwardedHeader = "off"
	// ForwardedX is the list of addresses of X-Forwarded-For.
	ForwardedX ForwardedHeader = "x-forwarded-for"
	// ForwardedStandard is Forwarded (RFC 7239).
	ForwardedStandard ForwardedHeader = "forwarded"
)

// maxForwardedHops bounds how many balancers stand behind one another.
const maxForwardedHops = 64

// RemoteAddr is the client's address: of the connection, or, when that is one of a
// trusted balancer, what the balancer told of its client. The port is 0 where the
// balancer told none; the zero AddrPort is a client without an IP address.
func (t *FireTower) RemoteAddr() netip.AddrPort { return t.remote }

// ClientAddr is the address of a request's client, as FireTower.RemoteAddr gives it:
// where the peer is trusted, the right-most address of the configured header that is
// not. What stands left of it was told by somebody who is not trusted
// (RFC 7239 section 8.1).
func (g *Gateway) ClientAddr(r *http.Request) netip.AddrPort {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.AddrPort{}
	}
	at = plainAddrPort(at)
	if g.opts.Proxy.Forwarded == ForwardedOff || !g.trusted.holds(at.Addr()) {
		return at
	}
	parse := parseForwardedFor
	name := "X-Forwarded-For"
	if g.opts.Proxy.Forwarded == ForwardedStandard {
		parse, name = parseForwardedElement, "Forwarded"
	}
	lines := r.Header.Values(name)
	hops := 0
	for i := len(lines) - 1; i >= 0; i-- {
		rest, more := lines[i], true
		for more {
			var element string
			rest, element, more = cutLastElement(rest)
			if element == "" { // empty members of a list are skipped (RFC 9110 section 5.6.1.2)
				continue
			}
			next, ok := parse(element)
			if hops++; !ok || hops > maxForwardedHops {
				return at // nobody knows what is beyond
			}
			if at = next; !g.trusted.holds(at.Addr()) {
				return at
			}
		}
	}
	return at
}

// cutLastElement splits a list at its last comma that stands in no quotes. It reads
// from the right, where the trusted balancer wrote: a quote that a client opened and
// never closed cannot swallow what was added to it.
func cutLastElement(list string) (rest, last string, more bool) {
	quoted := false
	for i := len(list) - 1; i >= 0; i-- {
		switch list[i] {
		case '"':
			backslashes := 0
			for i-1-backslashes >= 0 && list[i-1-backslashes] == '\\' {
				backslashes++
			}
			if backslashes%2 == 0 {
				quoted = !quoted
			}
		case ',':
			if !quoted {
				return list[:i], strings.Trim(list[i+1:], " \t"), true
			}
		}
	}
	return "", strings.Trim(list, " \t"), false
}

// parseForwardedFor reads one address of X-Forwarded-For, with or without a port.
func parseForwardedFor(s string) (netip.AddrPort, bool) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return plainAddrPort(netip.AddrPortFrom(addr, 0)), true
	}
	if at, err := netip.ParseAddrPort(s); err == nil {
		return plainAddrPort(at), true
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			if addr, err := netip.ParseAddr(inner); err == nil && addr.Is6() {
				return plainAddrPort(netip.AddrPortFrom(addr, 0)), true
			}
		}
	}
	return netip.AddrPort{}, false
}

// parseForwardedElement reads the for parameter of one element of Forwarded: a node
// of RFC 7239 section 6. An element whose node is unknown or obfuscated, or that is
// malformed, has no address.
func parseForwardedElement(s string) (netip.AddrPort, bool) {
	node := ""
	for s != "" {
		name, rest, ok := strings.Cut(s, "=")
		if !ok {
			return netip.AddrPort{}, false
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			if value, rest, ok = cutQuoted(rest); !ok {
				return netip.AddrPort{}, false
			}
		} else {
			end := strings.IndexByte(rest, ';')
			if end < 0 {
				end = len(rest)
			}
			value, rest = rest[:end], rest[end:]
		}
		if strings.EqualFold(strings.Trim(name, " \t"), "for") {
			if node != "" { // each parameter at most once (section 4)
				return netip.AddrPort{}, false
			}
			node = strings.Trim(value, " \t")
		}
		if rest = strings.TrimLeft(rest, " \t"); rest == "" {
			break
		}
		if s, ok = strings.CutPrefix(rest, ";"); !ok {
			return netip.AddrPort{}, false
		}
	}
	if strings.Count(node, ":") > 1 && !strings.HasPrefix(node, "[") {
		return netip.AddrPort{}, false // an IPv6 address stands in brackets (section 6)
	}
	return parseForwardedFor(node)
}

// cutQuoted takes a quoted-string (RFC 9110 section 5.6.4) off the front of s.
func cutQuoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}

// withClientAddr is the request as the application is to see it: from the client.
func withClientAddr(r *http.Request, client netip.AddrPort) *http.Request {
	if !client.IsValid() || client.String() == r.RemoteAddr {
		return r
	}
	seen := r.WithContext(r.Context()) // a handler leaves the server's request as it is
	seen.RemoteAddr = client.String()
	return seen
}
