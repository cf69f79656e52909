package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

const patience = 20 * time.Second

// eventually polls until ok, and fails the test when patience ends.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// run starts a gateway and stops it at the end of the test.
func run(t testing.TB, change func(*gateway.Options)) *gateway.Gateway {
	t.Helper()
	g, _ := runStoppable(t, change)
	return g
}

func runStoppable(t testing.TB, change func(*gateway.Options)) (*gateway.Gateway, func()) {
	t.Helper()
	o := gateway.DefaultOptions()
	o.Listen = "127.0.0.1:0"
	o.CloseTimeout = 500 * time.Millisecond
	o.DrainTimeout = 5 * time.Second
	if change != nil {
		change(&o)
	}
	g, err := gateway.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	eventually(t, "the gateway listens", func() bool { return g.Addr() != nil })
	return g, stop
}

// runUntil runs a gateway while f uses it, and returns what Run returned.
func runUntil(t testing.TB, o gateway.Options, f func(*gateway.Gateway)) error {
	t.Helper()
	g, err := gateway.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	eventually(t, "the gateway listens", func() bool { return g.Addr() != nil })
	f(g)
	cancel()
	return <-ended
}

type wsClient struct {
	*websocket.Conn
	t testing.TB
}

func dial(t testing.TB, g *gateway.Gateway, subprotocol string) *wsClient {
	t.Helper()
	return dialWith(t, g, subprotocol, nil, &websocket.Dialer{})
}

func dialWith(t testing.TB, g *gateway.Gateway, subprotocol string, header http.Header, d *websocket.Dialer) *wsClient {
	t.Helper()
	if subprotocol != "" {
		d.Subprotocols = []string{subprotocol}
	}
	ws, _, err := d.Dial("ws://"+g.Addr().String()+"/ws", header)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	return &wsClient{Conn: ws, t: t}
}

func (c *wsClient) sendText(s string) {
	c.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(s)); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// next returns the next message; heartbeats of v0 are skipped.
func (c *wsClient) next() string {
	c.t.Helper()
	_, b := c.nextKind()
	return b
}

func (c *wsClient) nextKind() (int, string) {
	c.t.Helper()
	for {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		kind, b, err := c.ReadMessage()
		if err != nil {
			c.t.Fatalf("read: %v", err)
		}
		if string(b) != protocol.HeartbeatFrame {
			return kind, string(b)
		}
	}
}

// closed reads until the connection ends and returns the close code, 1006 when
// there was none.
func (c *wsClient) closed() int {
	c.t.Helper()
	for {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, _, err := c.ReadMessage(); err != nil {
			var ce *websocket.CloseError
			if errors.As(err, &ce) {
				return ce.Code
			}
			return websocket.CloseAbnormalClosure
		}
	}
}

type reply struct {
	Type   string          `json:"type"`
	ID     string          `json:"id"`
	OK     bool            `json:"ok"`
	Code   string          `json:"code"`
	Reason string          `json:"reason"`
	Topic  string          `json:"topic"`
	Data   json.RawMessage `json:"data"`
	Enc    string          `json:"encoding"`
	Topics []struct {
		Topic string `json:"topic"`
		OK    bool   `json:"ok"`
		Code  string `json:"code"`
	} `json:"topics"`
}

func (c *wsClient) nextReply() reply {
	c.t.Helper()
	var r reply
	b := c.next()
	if err := json.Unmarshal([]byte(b), &r); err != nil {
		c.t.Fatalf("%v in %q", err, b)
	}
	return r
}

// subscribe subscribes a v1 client and waits for the answer.
func (c *wsClient) subscribe(topics string) {
	c.t.Helper()
	c.sendText(fmt.Sprintf(`{"type":"subscribe","topic":%q,"id":"sub"}`, topics))
	if r := c.nextReply(); !r.OK || r.ID != "sub" {
		c.t.Fatalf("subscribe %s: %+v", topics, r)
	}
}

// subscribeV0 subscribes a v0 client, which is told nothing, and waits until the
// gateway counts n subscriptions.
func (c *wsClient) subscribeV0(g *gateway.Gateway, topics string, n int64) {
	c.t.Helper()
	c.sendText(fmt.Sprintf(`{"type":"subscribe","topic":%q}`, topics))
	eventually(c.t, "subscribed", func() bool { return g.Stats().Subscriptions == n })
}

func unmarshal(t testing.TB, s string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), v); err != nil {
		t.Fatalf("%v in %q", err, s)
	}
}

func newServer(t testing.TB, h http.HandlerFunc) (url string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
