package gateway_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"firetower/core/gateway"
)

// What the kernel may hold for a client is bounded, whether its connection came by the
// gateway's own listener or by the application's server.
func TestSocketsAreBoundedWhereverTheyComeFrom(t *testing.T) {
	const bytes = 77 << 10
	g := run(t, func(o *gateway.Options) { o.Limits.SocketBytes = bytes })
	dial(t, g, "")
	server := httptest.NewServer(g.Handler())
	defer server.Close()
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	eventually(t, "both are there", func() bool { return g.Stats().Connections == 2 })
	for _, limit := range gateway.UnsentLimits(g) {
		if limit != bytes {
			t.Errorf("a socket holds up to %d unsent bytes, want %d", limit, bytes)
		}
	}
}
