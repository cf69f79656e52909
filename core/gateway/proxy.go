package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
)

// ProxyProtocol says whether connections begin with a header of the PROXY protocol
// (haproxy's proxy-protocol.txt, versions 1 and 2), in which a balancer tells whom
// it speaks for.
type ProxyProtocol string

const (
	// ProxyOff: there is none.
	ProxyOff ProxyProtocol = "off"
	// ProxyOptional: a trusted peer may send one; from any other it is refused.
	ProxyOptional ProxyProtocol = "optional"
	// ProxyRequired: every connection comes from a trusted peer and begins with one.
	ProxyRequired ProxyProtocol = "required"
)

// ProxyOptions are for a gateway behind balancers.
type ProxyOptions struct {
	// Protocol is whether connections begin with a PROXY header. Default ProxyOff.
	Protocol ProxyProtocol
	// Forwarded is the request header in which a balancer tells the client's address.
	// Name the one that the balancer sets: a client can send the other. Default ForwardedOff.
	Forwarded ForwardedHeader
	// Trusted lists the networks of the balancers, such as "10.0.0.0/8", or single
	// addresses. Others are not believed. Default none.
	Trusted []string
}

// ErrProxyHeader: a connection does not begin as the PROXY protocol wants.
var ErrProxyHeader = errors.New("gateway: no acceptable PROXY header")

// ProxyRefusal says why a connection was closed over its PROXY header, as the label
// of firetower_gateway_proxy_refused_total.
type ProxyRefusal string

const (
	// ProxyUntrusted: the peer is in none of the trusted networks.
	ProxyUntrusted ProxyRefusal = "untrusted"
	// ProxyMissing: it sent something else.
	ProxyMissing ProxyRefusal = "missing"
	// ProxyMalformed: it sent a broken one.
	ProxyMalformed ProxyRefusal = "malformed"
	// ProxyTimeout: it was not there within Options.HandshakeTimeout.
	ProxyTimeout ProxyRefusal = "timeout"
	// ProxyPeerGone: the peer closed before it was there, as probes of health do.
	ProxyPeerGone ProxyRefusal = "peer_gone"
	// ProxyStopped: the gateway stops.
	ProxyStopped ProxyRefusal = "stopped"
)

var proxyRefusals = []ProxyRefusal{
	ProxyUntrusted, ProxyMissing, ProxyMalformed, ProxyTimeout, ProxyPeerGone, ProxyStopped,
}

// maxProxyHeader bounds a header in bytes. Version 1 has at most 107; version 2 has
// 52 and what a balancer adds, of which a client's certificate names are the longest.
const maxProxyHeader = 4096

// proxyBuffers lend what headers are read into.
var proxyBuffers = sync.Pool{New: func() any { return new([maxProxyHeader]byte) }}

// takeProxyHeader reads the header off the connection, whose deadline bounds it, and
// returns why the connection is refused, "" when it is not.
func (c *edgeConn) takeProxyHeader(mode ProxyProtocol, trusted networks) ProxyRefusal {
	believed := trusted.holds(addrPortOf(c.Conn.RemoteAddr()).Addr())
	if mode == ProxyRequired && !believed {
		return ProxyUntrusted
	}
	buf, _ := proxyBuffers.Get().(*[maxProxyHeader]byte)
	defer proxyBuffers.Put(buf)
	size := 0
	for {
		n, err := c.Conn.Read(buf[size:])
		size += n
		if n == 0 && err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return ProxyTimeout
			}
			return ProxyPeerGone
		}
		remote, used, err := parseProxyHeader(buf[:size])
		switch {
		case errors.Is(err, errProxyMore) && size < len(buf):
			continue
		case errors.Is(err, errProxyNone):
			if mode == ProxyRequired {
				return ProxyMissing
			}
		case err != nil:
			return ProxyMalformed
		case !believed:
			return ProxyUntrusted
		default:
			c.remote = remote
		}
		if used < size {
			c.rest = bytes.Clone(buf[used:size])
		}
		return ""
	}
}

var (
	// errProxyMore: what is there may be the beginning of a header.
	errProxyMore = errors.New("gateway: PROXY header is not complete")
	// errProxyNone: what is there is no header.
	errProxyNone = errors.New("gateway: no PROXY header")
	// errProxyMalformed: it begins as a header and is none.
	errProxyMalformed = errors.New("gateway: malformed PROXY header")
)

const (
	proxySignature1 = "PROXY "
	proxySignature2 = "\r\n\r\n\x00\r\nQUIT\n"
	maxProxyLine    = 107 // with its CRLF (section 2.1)
)

// parseProxyHeader reads the header at the beginning of b. It returns the client's
// address, the zero AddrPort where the header names none, and the header's size.
func parseProxyHeader(b []byte) (remote netip.AddrPort, size int, err error) {
	switch {
	case begins(b, proxySignature2):
		if len(b) < len(proxySignature2) {
			return remote, 0, errProxyMore
		}
		return parseProxyBinary(b)
	case begins(b, proxySignature1):
		return parseProxyLine(b)
	default:
		return remote, 0, errProxyNone
	}
}

// begins tells whether b begins with a signature, or is a beginning of it.
func begins(b []byte, signature string) bool {
	n := min(len(b), len(signature))
	return string(b[:n]) == signature[:n]
}

// parseProxyLine reads version 1 (section 2.1): PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 CRLF.
func parseProxyLine(b []byte) (remote netip.AddrPort, size int, err error) {
	bad := func(what string) (netip.AddrPort, int, error) {
		return netip.AddrPort{}, 0, fmt.Errorf("%w: %s", errProxyMalformed, what)
	}
	line := b[:min(len(b), maxProxyLine)]
	end := bytes.IndexByte(line, '\n')
	if end < 0 {
		if len(line) == maxProxyLine {
			return bad("the line is too long")
		}
		return remote, 0, errProxyMore
	}
	if end == 0 || line[end-1] != '\r' {
		return bad("the line does not end in CRLF")
	}
	fields := strings.Split(string(line[:end-1]), " ")
	if fields[1] == "UNKNOWN" { // whatever follows is to be ignored
		return remote, end + 1, nil
	}
	if len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return bad("the line is not PROXY, TCP4, TCP6 or UNKNOWN, two addresses and two ports")
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		addr, err := netip.ParseAddr(fields[2+i])
		if err != nil || addr.Zone() != "" || addr.Is4() != (fields[1] == "TCP4") {
			return bad("an address is none of its family")
		}
		port, err := strconv.ParseUint(fields[4+i], 10, 16)
		if err != nil || strconv.FormatUint(port, 10) != fields[4+i] {
			return bad("a port is none")
		}
		ends[i] = netip.AddrPortFrom(addr.Unmap(), uint16(port))
	}
	return ends[0], end + 1, nil
}

// parseProxyBinary reads version 2 (section 2.2):
//
//	+-----------+----------------+------------------+-----------+-----------+------+
//	| signature | version, 4 bit | family, 4 bit    | length    | addresses | TLVs |
//	| 12 bytes  | command, 4 bit | transport, 4 bit | 2 bytes   | of family |      |
//	+-----------+----------------+------------------+-----------+-----------+------+
func parseProxyBinary(b []byte) (remote netip.AddrPort, size int, err error) {
	bad := func(what string) (netip.AddrPort, int, error) {
		return netip.AddrPort{}, 0, fmt.Errorf("%w: %s", errProxyMalformed, what)
	}
	const head = 16
	if len(b) < head {
		return remote, 0, errProxyMore
	}
	command, family := b[12], b[13]
	if command>>4 != 2 {
		return bad("the version is not 2")
	}
	size = head + int(binary.BigEndian.Uint16(b[14:]))
	if size > maxProxyHeader {
		return bad("the header is too long")
	}
	if len(b) < size {
		return remote, 0, errProxyMore
	}
	body := b[head:size]
	const local, proxied = 0, 1
	switch command & 0xf {
	case local: // the balancer's own connection; the rest is to be ignored
		return remote, size, nil
	case proxied:
	default:
		return bad("the command is not known")
	}
	var length int
	switch family {
	case 0x00: // unspecified: the rest is to be ignored
		return remote, size, nil
	case 0x11: // TCP over IPv4
		if length = 12; len(body) >= length {
			remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:]))
		}
	case 0x21: // TCP over IPv6
		if length = 36; len(body) >= length {
			remote = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)).Unmap(), binary.BigEndian.Uint16(body[32:]))
		}
	case 0x31: // a Unix stream has no address that means something here
		length = 216
	default: // datagrams, and what the protocol does not know
		return bad("the family or transport cannot be that of a stream")
	}
	if len(body) < length {
		return bad("the addresses are cut short")
	}
	if !validTLVs(b[:size], head+length) {
		return bad("what follows the addresses is broken")
	}
	return remote, size, nil
}

// validTLVs checks the extensions from at on, and the checksum over the whole header
// where one is there (section 2.2.3).
func validTLVs(header []byte, at int) bool {
	const checksum = 0x03
	for at < len(header) {
		if len(header)-at < 3 {
			return false
		}
		kind, value := header[at], at+3
		end := value + int(binary.BigEndian.Uint16(header[at+1:]))
		if end > len(header) {
			return false
		}
		if kind == checksum {
			if end-value != 4 {
				return false
			}
			table := crc32.MakeTable(crc32.Castagnoli)
			sum := crc32.Update(0, table, header[:value])
			sum = crc32.Update(sum, table, make([]byte, 4)) // its own field counts as zero
			sum = crc32.Update(sum, table, header[end:])
			if sum != binary.BigEndian.Uint32(header[value:]) {
				return false
			}
		}
		at = end
	}
	return true
}

// networks are trusted ones.
type networks []netip.Prefix

func parseNetworks(texts []string) (networks, error) {
	var out networks
	for _, s := range texts {
		if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
			addr = addr.Unmap()
			out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil || p.Masked() != p || p.Addr().Is4In6() {
			return nil, fmt.Errorf("proxy.trusted: must be networks such as 10.0.0.0/8 or addresses, got %q", s)
		}
		out = append(out, p)
	}
	return out, nil
}

func (n networks) holds(a netip.Addr) bool {
	for _, p := range n {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// addrPortOf is a connection's address, the zero AddrPort for one that is none of IP's.
func addrPortOf(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return plainAddrPort(tcp.AddrPort())
}

// plainAddrPort writes an IPv4 address as one, and leaves out the interface.
func plainAddrPort(a netip.AddrPort) netip.AddrPort {
	if !a.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

func (o *ProxyOptions) validate() error {
	var errs []error
	switch o.Protocol {
	case ProxyOff, ProxyOptional, ProxyRequired:
	default:
		errs = append(errs, fmt.Errorf("proxy.protocol: must be off, optional or required, got %q", string(o.Protocol)))
	}
	switch o.Forwarded {
	case ForwardedOff, ForwardedX, ForwardedStandard:
	default:
		errs = append(errs, fmt.Errorf("proxy.forwarded: must be off, x-forwarded-for or forwarded, got %q", string(o.Forwarded)))
	}
	if _, err := parseNetworks(o.Trusted); err != nil {
		errs = append(errs, err)
	}
	if len(o.Trusted) == 0 && (o.Protocol != ProxyOff || o.Forwarded != ForwardedOff) {
		errs = append(errs, fmt.Errorf("proxy.trusted: must name the balancers' networks when proxy.protocol is %s and proxy.forwarded %s, got none",
			o.Protocol, o.Forwarded))
	}
	return errors.Join(errs...)
}
