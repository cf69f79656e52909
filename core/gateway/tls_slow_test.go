package gateway_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

// A TLS client that stops reading delays nobody and is gone, with every policy: there
// is no writing on after a deadline. What it did get are whole records, its end is
// counted, and so is each message that it did not get.
func TestTLSSlowClient(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	rows := []struct {
		policy gateway.SlowPolicy
		drops  []gateway.DropReason
	}{
		{gateway.SlowDisconnect, []gateway.DropReason{gateway.DropSlowDisconnect}},
		{gateway.SlowDropOldest, []gateway.DropReason{gateway.DropSlowOldest, gateway.DropSlowDisconnect}},
		{gateway.SlowLatest, []gateway.DropReason{gateway.DropSlowLatest, gateway.DropSlowDisconnect}},
	}
	for _, row := range rows {
		t.Run(string(row.policy), func(t *testing.T) {
			g := run(t, func(o *gateway.Options) {
				p.options(o)
				o.Bucket.Num = 1
				o.SlowPolicy = row.policy
				if row.policy != gateway.SlowDisconnect { // which is to end by age here
					o.Limits.PendingBytes = 128 << 10
				}
				o.Limits.PendingAge = time.Second
				o.Limits.SocketBytes = 16 << 10
			})
			stuck := dialTLS(t, g, protocol.SubprotocolV1, p.client())
			stuck.subscribe("room")
			other := dialTLS(t, g, protocol.SubprotocolV1, p.client())
			other.subscribe("room")
			body := []byte(`"` + strings.Repeat("x", 32<<10) + `"`)
			sent := 0
			publish := func() {
				if err := g.Publish("room", body); err != nil {
					t.Fatal(err)
				}
				sent++
				if r := other.nextReply(); len(r.Data) != len(body) {
					t.Fatalf("message %d: %d bytes", sent, len(r.Data))
				}
			}
			for g.Stats().BacklogBytes < 48<<10 {
				publish()
			}
			for range 8 { // all before it is too slow, so that each is for it
				publish()
			}
			eventually(t, "it is gone", func() bool { return g.Stats().Connections == 1 })
			got := 0
			for {
				_ = stuck.SetReadDeadline(time.Now().Add(patience))
				_, b, err := stuck.ReadMessage()
				if err != nil {
					var record tls.RecordHeaderError
					var alert *net.OpError
					if errors.As(err, &record) || errors.As(err, &alert) && alert.Op == "local error" {
						t.Errorf("a corrupt record: %v", err) // such as a bad MAC
					}
					break
				}
				if len(b) < len(body) {
					t.Fatalf("message %d: %d bytes", got, len(b))
				}
				got++
			}
			// What was in the socket when the connection was closed may have been lost on the way.
			accounted := func(s gateway.Stats) (whole, dropped int) {
				for _, why := range row.drops {
					dropped += int(s.Drops[why])
				}
				return int(s.Deliveries) - sent, dropped
			}
			eventually(t, "every message is accounted for", func() bool {
				whole, dropped := accounted(g.Stats())
				return whole+dropped == sent
			})
			s := g.Stats()
			if whole, _ := accounted(s); got > whole {
				t.Errorf("%d messages arrived of %d that were written", got, whole)
			}
			if s.Connections != 1 || s.Disconnects[gateway.DisconnectSlow] != 1 || s.Backlogged != 0 || s.BacklogBytes != 0 {
				t.Errorf("%d connections, %v, %d backlogs of %d bytes", s.Connections, s.Disconnects, s.Backlogged, s.BacklogBytes)
			}
		})
	}
}

// A TLS client that reads slowly, but reads, stays with the policies that tolerate it.
func TestTLSSlowReaderIsTolerated(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	g := run(t, func(o *gateway.Options) {
		p.options(o)
		o.SlowPolicy = gateway.SlowDropOldest
		o.Limits.PendingBytes = 128 << 10
		o.Limits.PendingAge = patience
		o.Limits.SocketBytes = 16 << 10
	})
	c := dialTLS(t, g, protocol.SubprotocolV1, p.client())
	c.subscribe("room")
	pad := strings.Repeat("x", 16<<10)
	sent := 0
	for g.Stats().Drops[gateway.DropSlowOldest] < 20 {
		if err := g.Publish("room", fmt.Appendf(nil, `"%d %s"`, sent, pad)); err != nil {
			t.Fatal(err)
		}
		sent++
		eventually(t, "taken", func() bool { return g.Stats().CentralQueue == 0 })
	}
	if err := g.Publish("room", []byte(`"end"`)); err != nil {
		t.Fatal(err)
	}
	last, got := -1, 0
	for {
		r := c.nextReply()
		if string(r.Data) == `"end"` {
			break
		}
		var n int
		if _, err := fmt.Sscanf(string(r.Data), `"%d `, &n); err != nil || n <= last {
			t.Fatalf("%d after %d, %v", n, last, err)
		}
		last = n
		got++
	}
	if s := g.Stats(); got+int(s.Drops[gateway.DropSlowOldest]) != sent || s.Connections != 1 {
		t.Errorf("of %d messages %d arrived and %d are counted as dropped; %d connections", sent, got, s.Drops[gateway.DropSlowOldest], s.Connections)
	}
}

// Closing never waits for the sockets of clients that take nothing, which crypto/tls
// would do for five seconds each.
func TestTLSDrainDoesNotWaitForStuckClients(t *testing.T) {
	p := newPair(t, t.TempDir(), 1)
	g, stop := runStoppable(t, func(o *gateway.Options) {
		p.options(o)
		o.CloseTimeout = 100 * time.Millisecond
		o.Limits.PendingAge = 10 * patience
		o.Limits.PendingBytes = 1 << 20
		o.Limits.SocketBytes = 16 << 10
	})
	const clients = 10
	for range clients {
		dialTLS(t, g, protocol.SubprotocolV1, p.client()).subscribe("room")
	}
	for g.Stats().Backlogged < clients {
		if err := g.Publish("room", []byte(`"`+strings.Repeat("x", 32<<10)+`"`)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "taken", func() bool { return g.Stats().CentralQueue == 0 })
	}
	stop() // fails the test when the drain ends with an error
	if s := g.Stats(); s.Connections != 0 || s.Backlogged != 0 {
		t.Errorf("%d connections, %d backlogs", s.Connections, s.Backlogged)
	}
}
