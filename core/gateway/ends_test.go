package gateway_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

// overBoth runs a test with clients over TCP and over TLS.
func overBoth(t *testing.T, change func(*gateway.Options), test func(*testing.T, *gateway.Gateway, *wsClient)) {
	t.Helper()
	t.Run("tcp", func(t *testing.T) {
		g := run(t, change)
		test(t, g, dial(t, g, protocol.SubprotocolV1))
	})
	t.Run("tls", func(t *testing.T) {
		p := newPair(t, t.TempDir(), 1)
		g := run(t, func(o *gateway.Options) {
			p.options(o)
			change(o)
		})
		test(t, g, dialTLS(t, g, protocol.SubprotocolV1, p.client()))
	})
}

// behind has the gateway write a message that the client does not read, and says when some
// of it waits.
func behind(t *testing.T, g *gateway.Gateway, c *wsClient, size int) {
	t.Helper()
	c.subscribe("room")
	if err := g.Publish("room", fmt.Appendf(nil, `"%s"`, strings.Repeat("x", size))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "some of it waits", func() bool { return g.Stats().Backlogged == 1 && g.Stats().BacklogBytes < int64(size) })
}

func roomy(o *gateway.Options) {
	o.Limits.PendingBytes = 64 << 20
	o.CloseTimeout = patience
}

// A client's close frame is answered (RFC 6455 section 5.5.1).
func TestCloseFrameIsAnswered(t *testing.T) {
	overBoth(t, roomy, func(t *testing.T, _ *gateway.Gateway, c *wsClient) {
		if err := c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, "bye"), time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if code := c.closed(); code != websocket.CloseNormalClosure {
			t.Errorf("answered with %d", code)
		}
		_ = c.NetConn().SetReadDeadline(time.Now().Add(patience))
		if n, err := c.NetConn().Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%d bytes follow, %v", n, err)
		}
	})
}

// The answer comes behind a message that has begun.
func TestCloseFrameIsAnsweredBehindAMessage(t *testing.T) {
	const size = 16 << 20
	overBoth(t, roomy, func(t *testing.T, g *gateway.Gateway, c *wsClient) {
		behind(t, g, c, size)
		if err := g.Publish("room", []byte("2")); err != nil { // nobody wants it any more by its turn
			t.Fatal(err)
		}
		if err := c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""), time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the close frame has come", func() bool { return g.Stats().Subscriptions == 0 })
		if r := c.nextReply(); len(r.Data) != size+2 {
			t.Errorf("%d bytes of the message", len(r.Data))
		}
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, b, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("%q, %v", b, err)
		}
		eventually(t, "it is gone", func() bool {
			return g.Stats().Connections == 0 && g.Stats().BacklogBytes == 0 && g.Stats().Backlogged == 0
		})
	})
}

// What is wrong with a client's frame is told behind the message that is being written, and
// not within it.
func TestBrokenFrameBreaksNoMessage(t *testing.T) {
	const size = 8 << 20
	for name, tt := range map[string]struct {
		frame []byte
		code  int
	}{
		"too large":     {maskedFrame(0x81, strings.Repeat("x", 9000)), websocket.CloseMessageTooBig},
		"of no kind":    {maskedFrame(0x83, "x"), websocket.CloseProtocolError},
		"not masked":    {[]byte{0x81, 0}, websocket.CloseProtocolError},
		"a long ping":   {maskedFrame(0x89, strings.Repeat("x", 126)), websocket.CloseProtocolError},
		"continues not": {maskedFrame(0x80, "x"), websocket.CloseProtocolError},
	} {
		t.Run(name, func(t *testing.T) {
			change := func(o *gateway.Options) {
				roomy(o)
				o.Limits.MaxFrameBytes = 8192
			}
			overBoth(t, change, func(t *testing.T, g *gateway.Gateway, c *wsClient) {
				behind(t, g, c, size)
				if _, err := c.NetConn().Write(tt.frame); err != nil {
					t.Fatal(err)
				}
				eventually(t, "it is refused", func() bool { return g.Stats().Subscriptions == 0 })
				if r := c.nextReply(); string(r.Data) != `"`+strings.Repeat("x", size)+`"` {
					t.Errorf("%d bytes of the message, or others", len(r.Data))
				}
				if code := c.closed(); code != tt.code {
					t.Errorf("closed with %d, want %d", code, tt.code)
				}
			})
		})
	}
}

// What an application sends before the connection is watched, and the socket does not take,
// goes out as the client reads.
func TestBacklogFromBeforeTheConnectionIsWatched(t *testing.T) {
	const size = 16 << 20
	if runtime.GOOS != "linux" {
		t.Skip("no connection is watched here")
	}
	waiting := func() bool {
		stacks := make([]byte, 1<<20)
		for _, s := range strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(s, "flushPolled") && strings.Contains(s, "[select") {
				return true
			}
		}
		return false
	}
	g := run(t, func(o *gateway.Options) {
		roomy(o)
		o.Limits.PendingAge = patience
		o.OnTower = func(tower *gateway.FireTower) {
			tower.SetOnConnectHandler(func() bool {
				if err := tower.ToSelf([]byte(strings.Repeat("x", size))); err != nil {
					t.Error(err)
				}
				for tick, late := time.Tick(time.Millisecond), time.After(patience); !waiting(); {
					select {
					case <-tick:
					case <-late:
						t.Error("its flusher does not wait for room")
						return false
					}
				}
				return true
			})
		}
	})
	c := dial(t, g, protocol.SubprotocolV1)
	eventually(t, "it is watched", func() bool { return g.Stats().Backlogged == 1 && waiting() })
	_ = c.SetReadDeadline(time.Now().Add(patience / 2))
	if _, b, err := c.ReadMessage(); err != nil || len(b) != size {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	c.subscribe("room")
	if err := g.Publish("room", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if r := c.nextReply(); string(r.Data) != "1" {
		t.Errorf("%+v", r)
	}
}

// A subscription that an order has ended while the manager was told of it does not stand.
func TestSubscriptionThatEndsWhileItWaits(t *testing.T) {
	m := newStandIn(t)
	g := linked(t, m, byHeader)
	ann, bob := dialAs(t, g, "ann"), dialAs(t, g, "bob")
	m.mu.Lock() // the manager answers nothing
	for _, c := range []*wsClient{ann, bob} {
		c.sendText(`{"type":"subscribe","topic":"room","id":"1"}`)
	}
	eventually(t, "both wait", func() bool { return g.Stats().Subscriptions == 2 })
	g.Towers().OfflineTopicByUserID("room", "ann")
	m.mu.Unlock()
	if r := ann.nextReply(); r.Type != "unSubscribe" {
		t.Errorf("%+v", r)
	}
	if r := ann.nextReply(); r.OK || r.ID != "1" || r.Topics[0].Code != string(protocol.CodeNotSubscribed) {
		t.Errorf("the one that was ended: %+v", r)
	}
	if r := bob.nextReply(); !r.OK {
		t.Errorf("the other: %+v", r)
	}
}

// A client may offer subprotocols in several lines (RFC 6455 section 11.3.4).
func TestSubprotocolsInSeveralLines(t *testing.T) {
	g := run(t, nil)
	conn, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: app-token\r\nSec-WebSocket-Protocol: firetower.v1\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); resp.StatusCode != http.StatusSwitchingProtocols || got != protocol.SubprotocolV1 {
		t.Errorf("%s with %q", resp.Status, got)
	}
}
