package gateway_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

// rawClient speaks WebSocket byte by byte.
type rawClient struct {
	net.Conn
	t  testing.TB
	br *bufio.Reader
}

func dialRaw(t testing.TB, g *gateway.Gateway) *rawClient {
	t.Helper()
	c, _ := dialRawOffering(t, g)
	return c
}

// dialRawOffering sends Sec-WebSocket-Extensions headers with offers and returns what
// was answered to them.
func dialRawOffering(t testing.TB, g *gateway.Gateway, offers ...string) (c *rawClient, answer string) {
	t.Helper()
	extensions := ""
	for _, o := range offers {
		extensions += "Sec-WebSocket-Extensions: " + o + "\r\n"
	}
	conn, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n%s\r\n", g.Addr(), protocol.SubprotocolV1, extensions)
	if err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v, %v", resp, err)
	}
	return &rawClient{Conn: conn, t: t, br: br}, strings.Join(resp.Header.Values("Sec-WebSocket-Extensions"), ", ")
}

// maskedFrame is a client's frame (RFC 6455 section 5.2) with a mask that is not zero.
func maskedFrame(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{1, 2, 3, 4}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

// next reads a server's frame.
func (c *rawClient) next() (op byte, payload string) {
	c.t.Helper()
	first, payload := c.nextFrame()
	return first & 0xf, payload
}

// nextFrame reads a server's frame and returns its first byte as it is.
func (c *rawClient) nextFrame() (first byte, payload string) {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	head := make([]byte, 2)
	read := func(b []byte) {
		for n := 0; n < len(b); {
			m, err := c.br.Read(b[n:])
			if n += m; err != nil {
				c.t.Fatalf("read: %v", err)
			}
		}
	}
	read(head)
	n := int(head[1])
	if n == 126 {
		ext := make([]byte, 2)
		read(ext)
		n = int(binary.BigEndian.Uint16(ext))
	}
	body := make([]byte, n)
	read(body)
	return head[0], string(body)
}

const (
	finText   = 0x81
	finPing   = 0x89
	finPong   = 0x8a
	firstText = 0x01
	finCont   = 0x80
)

// However a client's bytes are cut into packets, and whatever control frames
// stand between them, its requests are read and its pings are answered.
func TestReaderTakesAnySplit(t *testing.T) {
	g := run(t, nil)
	long := `{"type":"publish","topic":"room","data":"` + strings.Repeat("x", 3000) + `","id":"long"}`
	stream := slicesConcat(
		maskedFrame(finPong, ""),
		maskedFrame(finText, `{"type":"subscribe","topic":"a","id":"1"}`),
		maskedFrame(finPing, "one"),
		maskedFrame(finPong, "unasked"),
		maskedFrame(finText, long),
		maskedFrame(finPing, strings.Repeat("p", 125)),
		maskedFrame(firstText, `{"type":"subscribe",`),
		maskedFrame(finPing, "between"),
		maskedFrame(finCont, `"topic":"b","id":"2"}`),
		maskedFrame(finPing, ""),
	)
	want := []string{`"id":"1"`, "one", `"id":"long"`, strings.Repeat("p", 125), "between", `"id":"2"`, ""}
	for _, step := range []int{1, 2, 3, 7, 64, 511, 512, 513, len(stream)} {
		t.Run(fmt.Sprintf("step=%d", step), func(t *testing.T) {
			c := dialRaw(t, g)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for b := stream; len(b) > 0; {
					n := min(step, len(b))
					if _, err := c.Write(b[:n]); err != nil {
						t.Errorf("write: %v", err)
						return
					}
					b = b[n:]
				}
			}()
			for _, w := range want {
				if op, got := c.next(); !strings.Contains(got, w) || (op == 10) != !strings.Contains(w, "id") {
					t.Fatalf("got opcode %d, %.80q, want %.80q", op, got, w)
				}
			}
			<-sent
			_ = c.Close()
		})
	}
	eventually(t, "all have left", func() bool { return g.Stats().Connections == 0 })
	if n := g.Stats().Disconnects[gateway.DisconnectClient]; n != 9 {
		t.Errorf("%d of 9 ended as they should", n)
	}
}

func slicesConcat(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// What breaks the protocol ends the connection, and no other, and is told why.
func TestReaderRefusesBrokenFrames(t *testing.T) {
	unmasked := []byte{finText, 2, 'h', 'i'}
	rows := []struct {
		name  string
		bytes []byte
	}{
		{"unmasked", unmasked},
		{"unmasked ping", []byte{finPing, 0}},
		{"reserved bit", maskedFrame(finText|0x40, "{}")},
		{"reserved bit on a ping", maskedFrame(finPing|0x40, "")},
		{"unknown opcode", maskedFrame(0x83, "{}")},
		{"long ping", maskedFrame(finPing, strings.Repeat("x", 126))},
		{"fragmented ping", maskedFrame(0x09, "")},
		{"continuation of nothing", maskedFrame(finCont, "x")},
		{"new message within one", slicesConcat(maskedFrame(firstText, "{"), maskedFrame(finText, "{}"))},
	}
	g := run(t, nil)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := dialRaw(t, g)
			before := g.Stats().Disconnects[gateway.DisconnectProtocol]
			if _, err := c.Write(row.bytes); err != nil {
				t.Fatal(err)
			}
			op, payload := c.next()
			if op != 8 || len(payload) < 2 || binary.BigEndian.Uint16([]byte(payload)) != 1002 {
				t.Errorf("got opcode %d, %q, want a close with 1002", op, payload)
			}
			_ = c.Close()
			eventually(t, "counted", func() bool { return g.Stats().Disconnects[gateway.DisconnectProtocol] == before+1 })
		})
	}
}

// A client that sends half a message holds a reader for FrameTimeout, one that
// sends half a short one none at all.
func TestHalfMessagesAreBounded(t *testing.T) {
	g := run(t, func(o *gateway.Options) {
		o.FrameTimeout = 50 * time.Millisecond
		o.Heartbeat = 300 * time.Millisecond
		o.CloseTimeout = 20 * time.Millisecond
	})
	long := maskedFrame(finText, `{"type":"publish","topic":"room","data":"`+strings.Repeat("x", 3000)+`"}`)
	short := maskedFrame(finText, `{"type":"subscribe","topic":"a","id":"1"}`)
	for name, half := range map[string][]byte{"long": long[:1000], "short": short[:10], "header": short[:1]} {
		t.Run(name, func(t *testing.T) {
			c := dialRaw(t, g)
			if _, err := c.Write(half); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is gone", func() bool { return g.Stats().Connections == 0 })
		})
	}
}

// A reset is an ordinary end.
func TestResetEndsTheConnection(t *testing.T) {
	g := run(t, nil)
	c := dialRaw(t, g)
	if err := c.Conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	eventually(t, "it is counted as the client's", func() bool { return g.Stats().Disconnects[gateway.DisconnectClient] == 1 })
	eventually(t, "it is gone", func() bool { return g.Stats().Connections == 0 })
}
