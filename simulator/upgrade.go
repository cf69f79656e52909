package simulator

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// maxUpgradeAnswer bounds the head of the server's answer to the upgrade, in bytes.
const maxUpgradeAnswer = 16 << 10

// upgradeRequest returns the opening handshake of RFC 6455 §4.1 and the Sec-WebSocket-Accept that must answer it.
func upgradeRequest(t target, subprotocol string, nonce [16]byte) (request []byte, accept string) {
	key := base64.StdEncoding.EncodeToString(nonce[:])
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n", t.path, t.host, key)
	if subprotocol != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", subprotocol)
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
// refusal is not empty when this is no connection for us (§4.1, the list that a client must check).
func parseUpgrade(b []byte, subprotocol, accept string) (n int, refusal string) {
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
	switch {
	case response.StatusCode != http.StatusSwitchingProtocols:
		return n, fmt.Sprintf("upgrade: HTTP %d", response.StatusCode)
	case !strings.EqualFold(header.Get("Upgrade"), "websocket"):
		return n, "upgrade: no Upgrade: websocket"
	case !hasToken(header.Values("Connection"), "upgrade"):
		return n, "upgrade: no Connection: Upgrade"
	case header.Get("Sec-WebSocket-Accept") != accept:
		return n, "upgrade: wrong Sec-WebSocket-Accept"
	case header.Get("Sec-WebSocket-Extensions") != "":
		return n, "upgrade: extension that was not offered"
	case header.Get("Sec-WebSocket-Protocol") != subprotocol:
		return n, fmt.Sprintf("upgrade: server picked subprotocol %q", header.Get("Sec-WebSocket-Protocol"))
	}
	return n, ""
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
