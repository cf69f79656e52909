package simulator

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// maxUpgradeAnswer bounds the head of the server's answer to the upgrade, in bytes.
const maxUpgradeAnswer = 16 << 10

// deflateOffer is offered with compression: each message stands alone, so that one inflater serves all connections of a
// shard (RFC 7692 §7.1.1).
const deflateOffer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// upgradeRequest returns the opening handshake of RFC 6455 §4.1 and the Sec-WebSocket-Accept that must answer it.
func upgradeRequest(t target, subprotocol string, deflate bool, nonce [16]byte) (request []byte, accept string) {
	key := base64.StdEncoding.EncodeToString(nonce[:])
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n", t.path, t.host, key)
	if subprotocol != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", subprotocol)
	}
	if deflate {
		b.WriteString("Sec-WebSocket-Extensions: " + deflateOffer + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes(), acceptKey(key)
}

// acceptKey is the answer to a Sec-WebSocket-Key (§4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// parseUpgrade reads the server's answer. n is the size of its head: frames follow there; 0 means that more is needed.
// deflate, which says whether compression was offered, becomes whether it was accepted. refusal is not empty when this
// is no connection for us (§4.1, the list that a client must check).
func parseUpgrade(b []byte, subprotocol, accept string, deflate *bool) (n int, refusal string) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > maxUpgradeAnswer {
			return 0, "upgrade: answer too long"
		}
		return 0, ""
	}
	n = end + 4
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b[:n])), nil)
	if err != nil {
		return n, "upgrade: answer is not HTTP"
	}
	_ = response.Body.Close()
	header := response.Header
	extensions := strings.Join(header.Values("Sec-WebSocket-Extensions"), ",")
	offered := *deflate
	*deflate = offered && extensions != ""
	switch {
	case response.StatusCode != http.StatusSwitchingProtocols:
		return n, fmt.Sprintf("upgrade: HTTP %d", response.StatusCode)
	case !strings.EqualFold(header.Get("Upgrade"), "websocket"):
		return n, "upgrade: no Upgrade: websocket"
	case !hasToken(header.Values("Connection"), "upgrade"):
		return n, "upgrade: no Connection: Upgrade"
	case header.Get("Sec-WebSocket-Accept") != accept:
		return n, "upgrade: wrong Sec-WebSocket-Accept"
	case extensions != "" && !offered:
		return n, "upgrade: extension that was not offered"
	case extensions != "" && !acceptsDeflate(extensions):
		return n, "upgrade: compression that was not offered"
	case header.Get("Sec-WebSocket-Protocol") != subprotocol:
		return n, fmt.Sprintf("upgrade: server picked subprotocol %q", header.Get("Sec-WebSocket-Protocol"))
	}
	return n, ""
}

// acceptsDeflate says whether an answer accepts deflateOffer: with no parameter twice, none that was not asked for but
// the server's own window (RFC 7692 §7.1.2.1), and the promise to compress each message by itself.
func acceptsDeflate(answer string) bool {
	parts := strings.Split(answer, ";")
	if strings.TrimSpace(parts[0]) != "permessage-deflate" {
		return false
	}
	seen := make(map[string]bool)
	for _, p := range parts[1:] {
		name, value, valued := strings.Cut(strings.TrimSpace(p), "=")
		if seen[name] {
			return false
		}
		seen[name] = true
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if valued {
				return false
			}
		case "server_max_window_bits": // smaller than what we are ready for
			if bits, err := strconv.Atoi(value); err != nil || bits < 8 || bits > 15 {
				return false
			}
		default:
			return false
		}
	}
	return seen["server_no_context_takeover"]
}

// hasToken looks for a token in comma-separated header values.
func hasToken(values []string, token string) bool {
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}
