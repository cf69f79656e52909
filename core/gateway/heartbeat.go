package gateway

import (
	"context"
	"time"

	"firetower/core/protocol"
)

// heartbeatSlots is into how many portions a heartbeat interval is cut: the
// connections of a slot are looked after together, so that pings spread over
// the interval and no connection needs a timer.
const heartbeatSlots = 16

// heartbeatLoop pings every connection once an interval, disconnects those that
// were silent for two, and sends v0's heartbeat text.
func (g *Gateway) heartbeatLoop(ctx context.Context) {
	ticker := time.NewTicker(max(g.opts.Heartbeat/heartbeatSlots, time.Millisecond))
	defer ticker.Stop()
	ping := appendFrame(nil, opPing, nil)
	text := appendFrame(nil, opText, []byte(protocol.HeartbeatFrame))
	var towers []*FireTower
	for slot := 0; ; slot = (slot + 1) % heartbeatSlots {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		deadline := g.clock.now() - 2*int64(g.opts.Heartbeat)
		for _, b := range g.towers.buckets {
			towers = b.appendSlot(towers[:0], slot)
			for _, t := range towers {
				t.beat(ping, text, deadline)
			}
			clear(towers)
		}
	}
}

// beat looks after one connection. One with a backlog gets no ping, which could
// only wait behind it: the backlog has a bound of its own.
func (t *FireTower) beat(ping, text []byte, deadline int64) {
	if !t.running.Load() {
		return // the application still sets its handlers
	}
	if t.lastSeen.Load() < deadline {
		if h := t.handlers.readTimeout; h != nil && t.open() {
			h(t)
		}
		t.shut(protocol.CloseReadTimeout, "no answer to pings", DisconnectDead)
		return
	}
	t.mu.Lock()
	var err error
	if t.state == stateOpen && t.backlog == nil {
		if t.proto == v0 {
			err = t.sendLocked(text)
		}
		if err == nil {
			err = t.sendLocked(ping)
		}
	}
	t.mu.Unlock()
	if err != nil {
		t.fail(err)
	}
}
