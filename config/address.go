package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Address is a host and a TCP port; the zero value is no address.
type Address struct {
	// Host is a name or an IP address without brackets; empty is every interface
	// of the machine, for listening.
	Host string
	// Port is 0 to 65535; 0 takes a free port, for listening.
	Port int
	// On tells an address from none.
	On bool
}

// String is host:port, or "" for none.
func (a Address) String() string {
	if !a.On {
		return ""
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
}

// IsLoopback tells whether only this machine can reach the address.
func (a Address) IsLoopback() bool {
	if strings.EqualFold(a.Host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(a.Host)
	return err == nil && ip.IsLoopback()
}

// parsedAddress is what one source says of an address.
type parsedAddress struct {
	Address
	hasPort bool
}

// parseAddress reads "host:port", "[::1]:port", ":port", or a host alone.
func parseAddress(s string) (parsedAddress, error) {
	host, port := s, ""
	hasPort := false
	if _, err := netip.ParseAddr(unbracket(s)); err == nil {
		host = unbracket(s) // an IPv6 address alone is full of colons
	} else if strings.Contains(s, ":") {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return parsedAddress{}, fmt.Errorf("%q is not host:port", s)
		}
		hasPort = true
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == '/' || r > '~' }) {
		return parsedAddress{}, fmt.Errorf("%q is not a host name or an IP address", host)
	}
	a := parsedAddress{Address: Address{Host: host, On: true}, hasPort: hasPort}
	if hasPort {
		n, err := strconv.Atoi(port)
		if err != nil || n < 0 || n > 65535 {
			return parsedAddress{}, fmt.Errorf("%q is not a port: want a number from 0 to 65535", port)
		}
		a.Port = n
	}
	return a, nil
}

// unbracket takes away the brackets that an IPv6 address may stand in.
func unbracket(s string) string {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		return s[1 : len(s)-1]
	}
	return s
}
