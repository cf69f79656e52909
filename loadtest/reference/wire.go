package reference

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// The server's side of RFC 6455, as much as floor needs: no extension.

const (
	opContinuation byte = 0x0

	opText   byte = 0x1
	opBinary byte = 0x2
	opClose  byte = 0x8
	opPing   byte = 0x9
	opPong   byte = 0xA
)

// errFrame says that a client broke the protocol.
var errFrame = errors.New("bad WebSocket frame")

// errUpgrade says that what came is no opening handshake.
var errUpgrade = errors.New("bad WebSocket upgrade")

// subprotocolV0 is confirmed when a client offers it.
const subprotocolV0 = "firetower.v0"

// upgrade reads an opening handshake and returns its size and the answer; a size of 0 means that more is to come.
func upgrade(b []byte) (n int, answer []byte, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > maxRequest {
			return 0, nil, fmt.Errorf("%w: %d bytes without an end", errUpgrade, len(b))
		}
		return 0, nil, nil
	}
	n = end + 4
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b[:n])))
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errUpgrade, err)
	}
	key := r.Header.Get("Sec-WebSocket-Key")
	nonce, err := base64.StdEncoding.DecodeString(key)
	switch { // RFC 6455 §4.2.1
	case r.Method != http.MethodGet, !tokens(r.Header, "Upgrade", "websocket"), !tokens(r.Header, "Connection", "upgrade"):
		return 0, nil, fmt.Errorf("%w: not asked for", errUpgrade)
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return 0, nil, fmt.Errorf("%w: version %q", errUpgrade, r.Header.Get("Sec-WebSocket-Version"))
	case err != nil || len(nonce) != 16:
		return 0, nil, fmt.Errorf("%w: key %q", errUpgrade, key)
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	answer = append(answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"...)
	if tokens(r.Header, "Sec-WebSocket-Protocol", subprotocolV0) {
		answer = append(answer, "Sec-WebSocket-Protocol: "+subprotocolV0+"\r\n"...)
	}
	answer = append(answer, "Sec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n"...)
	return n, answer, nil
}

// tokens says whether a header lists a token.
func tokens(h http.Header, key, token string) bool {
	return slices.ContainsFunc(h.Values(key), func(value string) bool {
		return slices.ContainsFunc(strings.Split(value, ","), func(part string) bool {
			return strings.EqualFold(strings.TrimSpace(part), token)
		})
	})
}

// clientFrame is one frame of a client, unmasked.
type clientFrame struct {
	fin     bool
	op      byte
	payload []byte
}

// parseClientFrame takes the masked frame that b begins with, and unmasks its payload where it lies. n is its size, 0
// when b does not hold the whole of it.
func parseClientFrame(b []byte) (f clientFrame, n int, err error) {
	if len(b) < 2 {
		return f, 0, nil
	}
	f.fin, f.op = b[0]&0x80 != 0, b[0]&0x0f
	length, header := uint64(b[1]&0x7f), 2
	switch {
	case b[0]&0x70 != 0, b[1]&0x80 == 0:
		return f, 0, fmt.Errorf("%w: extended or not masked", errFrame)
	case f.op > opBinary && f.op < opClose, f.op > opPong, f.op >= opClose && (length > 125 || !f.fin):
		return f, 0, fmt.Errorf("%w: opcode %d with %d bytes", errFrame, f.op, length)
	case length == 126:
		header = 4
	case length == 127:
		header = 10
	}
	if len(b) < header+4 {
		return f, 0, nil
	}
	switch header {
	case 4:
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 10:
		length = binary.BigEndian.Uint64(b[2:])
	}
	if length > maxFrame {
		return f, 0, fmt.Errorf("%w: %d bytes", errFrame, length)
	}
	n = header + 4 + int(length)
	if len(b) < n {
		return f, 0, nil
	}
	key := b[header : header+4]
	f.payload = b[header+4 : n]
	for i := range f.payload {
		f.payload[i] ^= key[i&3]
	}
	return f, n, nil
}

// appendFrame appends a whole frame, as servers send it.
func appendFrame(dst []byte, op byte, payload []byte) []byte {
	dst = append(dst, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = append(dst, 126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, 127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	return append(dst, payload...)
}
