package gateway_test

import (
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"firetower/core/gateway"
)

// A connection that the application closes before it runs ends once, as the others do.
func TestClosedBeforeItRuns(t *testing.T) {
	const connections = 50
	var offline atomic.Int64
	g, stop := runStoppable(t, func(o *gateway.Options) {
		o.OnTower = func(c *gateway.FireTower) {
			c.SetOnOfflineHandler(func() { offline.Add(1) })
			_ = c.Done()
			c.Close(websocket.ClosePolicyViolation, "no")
		}
	})
	for range connections {
		c := dial(t, g, "")
		if code := c.closed(); code != websocket.ClosePolicyViolation {
			t.Fatalf("closed with %d", code)
		}
	}
	eventually(t, "all have left", func() bool { return g.Stats().Connections == 0 })
	stop()
	if n := offline.Load(); n != connections {
		t.Errorf("%d ends of %d connections", n, connections)
	}
	if s := g.Stats(); s.Connections != 0 || s.Disconnects[gateway.DisconnectKicked] != connections {
		t.Errorf("%d connections are left, %d are counted as closed", s.Connections, s.Disconnects[gateway.DisconnectKicked])
	}
}
