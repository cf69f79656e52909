package gateway_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

// serveTLS is a gateway whose connections have goroutines and are read by the library alone.
func serveTLS(t *testing.T, g *gateway.Gateway) (url string, d *websocket.Dialer) {
	t.Helper()
	s := httptest.NewTLSServer(g.Handler())
	t.Cleanup(s.Close)
	return "wss" + strings.TrimPrefix(s.URL, "https"), &websocket.Dialer{
		EnableCompression: true, Subprotocols: []string{protocol.SubprotocolV1},
		TLSClientConfig: s.Client().Transport.(*http.Transport).TLSClientConfig,
	}
}

// onBothReaders runs a test with a connection that the poller watches and one that has a goroutine.
func onBothReaders(t *testing.T, change func(*gateway.Options), test func(t *testing.T, g *gateway.Gateway, c *wsClient)) {
	t.Helper()
	for _, kind := range []string{"poller", "goroutine"} {
		t.Run(kind, func(t *testing.T) {
			g := run(t, func(o *gateway.Options) {
				compressing(o)
				if change != nil {
					change(o)
				}
			})
			if kind == "poller" {
				test(t, g, dialWith(t, g, protocol.SubprotocolV1, nil, &websocket.Dialer{EnableCompression: true}))
				return
			}
			url, d := serveTLS(t, g)
			ws, _, err := d.Dial(url, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = ws.Close() })
			test(t, g, &wsClient{Conn: ws, t: t})
		})
	}
}

// A client's compressed requests are read, of any size up to the limit, and its
// uncompressed ones among them.
func TestCompressedRequests(t *testing.T) {
	onBothReaders(t, nil, func(t *testing.T, g *gateway.Gateway, c *wsClient) {
		c.subscribe("room")
		for i, n := range []int{10, 300, 600, 5000, 30000, 65000} {
			c.EnableWriteCompression(i%3 != 2)
			data := fmt.Sprintf(`"%s%d"`, strings.Repeat("abc", n/3), i)
			c.sendText(`{"type":"publish","topic":"room","data":` + data + `,"id":"p"}`)
			seen := 0
			for range 2 { // the answer and the message, in either order
				r := c.nextReply()
				if r.Type == "publish" && string(r.Data) == data {
					seen++
				}
				if r.ID == "p" && r.OK {
					seen++
				}
			}
			if seen != 2 {
				t.Fatalf("%d bytes did not come back", n)
			}
		}
		if n := g.Stats().Compressed; n == 0 {
			t.Error("nothing was compressed")
		}
	})
}

// What inflates to more than the limit ends the connection with 1009, and is counted.
func TestAZipBombIsTooBig(t *testing.T) {
	onBothReaders(t, nil, func(t *testing.T, g *gateway.Gateway, c *wsClient) {
		// 16 MiB of spaces are 16 KiB on the wire, below the limit of what is read there.
		bomb := maskedFrame(finText|rsv1, deflate(`{"type":"publish","topic":"room","data":"`+strings.Repeat(" ", 16<<20)+`"}`))
		if _, err := c.NetConn().Write(bomb); err != nil {
			t.Fatal(err)
		}
		if code := c.closed(); code != websocket.CloseMessageTooBig {
			t.Errorf("closed with %d, want %d", code, websocket.CloseMessageTooBig)
		}
		eventually(t, "counted", func() bool { return g.Stats().Disconnects[gateway.DisconnectTooBig] == 1 })
	})
}

// The limit is of the message as it was before compression, to the byte.
func TestTheLimitHoldsForTheInflatedMessage(t *testing.T) {
	const limit = 1000
	request := func(n int) string {
		head, tail := `{"type":"publish","topic":"room","id":"p","data":"`, `"}`
		return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
	}
	onBothReaders(t, func(o *gateway.Options) { o.Limits.MaxFrameBytes = limit }, func(t *testing.T, g *gateway.Gateway, c *wsClient) {
		c.sendText(request(limit))
		if r := c.nextReply(); !r.OK {
			t.Fatalf("at the limit: %+v", r)
		}
		c.sendText(request(limit + 1))
		if code := c.closed(); code != websocket.CloseMessageTooBig {
			t.Errorf("above it: closed with %d", code)
		}
		eventually(t, "counted", func() bool { return g.Stats().Disconnects[gateway.DisconnectTooBig] == 1 })
	})
}

// A compressed message may come in fragments, with control frames between them, and
// in packets of any size.
func TestFragmentedCompressedRequest(t *testing.T) {
	g := run(t, compressing)
	first := deflate(`{"type":"subscribe","topic":"one","id":"1"}`)
	second := deflate(`{"type":"publish","topic":"none","data":"` + strings.Repeat("abcdefgh", 500) + `","id":"2"}`)
	stream := slicesConcat(
		maskedFrame(0x01|rsv1, first[:5]), maskedFrame(finPing, "between"), maskedFrame(0x00, first[5:9]), maskedFrame(0x00, ""), maskedFrame(finCont, first[9:]),
		maskedFrame(finText|rsv1, second),
		maskedFrame(finText, `{"type":"subscribe","topic":"plain","id":"3"}`),
		maskedFrame(finText|rsv1, ended(`{"type":"subscribe","topic":"ended","id":"4"}`)),
		maskedFrame(0x01|rsv1, ended(`{"type":"subscribe","topic":"ended","id":"5"}`)), maskedFrame(finCont, ""),
		maskedFrame(finPing, "last"),
	)
	want := []string{"between", `"id":"1"`, `"id":"2"`, `"id":"3"`, `"id":"4"`, `"id":"5"`, "last"}
	for _, step := range []int{1, 3, 64, 512, len(stream)} {
		t.Run(fmt.Sprintf("step=%d", step), func(t *testing.T) {
			c, _ := dialRawOffering(t, g, deflateOffer)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for b := range slices.Chunk(stream, step) {
					if _, err := c.Write(b); err != nil {
						t.Errorf("write: %v", err)
						return
					}
				}
			}()
			for _, w := range want {
				if _, got := c.next(); !strings.Contains(got, w) {
					t.Fatalf("got %.80q, want %q", got, w)
				}
			}
			<-sent
		})
	}
}

// ended is a compressed message whose stream ends by itself (RFC 7692 section 7.2.3.4).
func ended(payload string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 6)
	_, _ = io.WriteString(w, payload)
	_ = w.Close()
	return b.String() + "\x00"
}

// What is no compressed message ends the connection with 1002.
func TestBrokenCompressedMessages(t *testing.T) {
	g := run(t, compressing)
	whole := deflate(`{"type":"subscribe","topic":"a"}`)
	for _, row := range []struct {
		name  string
		offer string
		bytes []byte
	}{
		{"not negotiated", "x-other", maskedFrame(finText|rsv1, whole)},
		{"another reserved bit", deflateOffer, maskedFrame(finText|0x20, whole)},
		{"on a ping", deflateOffer, maskedFrame(finPing|rsv1, "")},
		{"on a continuation", deflateOffer, maskedFrame(finCont|rsv1, "")},
		{"no deflate stream", deflateOffer, maskedFrame(finText|rsv1, "\xff\xff\xff")},
		{"cut", deflateOffer, maskedFrame(finText|rsv1, whole[:len(whole)/2])},
		{"more behind the end", deflateOffer, maskedFrame(finText|rsv1, ended("{}")+"\xff\xff")},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, _ := dialRawOffering(t, g, row.offer)
			before := g.Stats().Disconnects[gateway.DisconnectProtocol]
			if _, err := c.Write(row.bytes); err != nil {
				t.Fatal(err)
			}
			if op, payload := c.next(); op != 8 || !strings.HasPrefix(payload, "\x03\xea") {
				t.Errorf("got opcode %d, %q, want a close with 1002", op, payload)
			}
			eventually(t, "counted", func() bool { return g.Stats().Disconnects[gateway.DisconnectProtocol] == before+1 })
		})
	}
	t.Run("on a goroutine", func(t *testing.T) {
		url, d := serveTLS(t, g)
		ws, _, err := d.Dial(url, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		before := g.Stats().Disconnects[gateway.DisconnectProtocol]
		if _, err := ws.NetConn().Write(maskedFrame(finText|rsv1, whole[:len(whole)/2])); err != nil {
			t.Fatal(err)
		}
		if code := (&wsClient{Conn: ws, t: t}).closed(); code != websocket.CloseProtocolError {
			t.Errorf("closed with %d", code)
		}
		eventually(t, "counted", func() bool { return g.Stats().Disconnects[gateway.DisconnectProtocol] == before+1 })
	})
}
