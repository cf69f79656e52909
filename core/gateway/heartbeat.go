package gateway

import (
	"context"
	"runtime"
	"time"

	"firetower/core/protocol"
)

// heartbeatSlots is into how many portions a heartbeat interval is cut: the
// connections of a slot are looked after together, so that pings spread over
// the interval and no connection needs a timer.
const heartbeatSlots = 16

// heartbeatLoop pings every connection once an interval, disconnects those that
// have not answered the ping before, and sends v0's heartbeat text.
func (g *Gateway) heartbeatLoop(ctx context.Context) {
	tick := max(g.opts.Heartbeat/heartbeatSlots, time.Millisecond)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	ping := appendFrame(nil, opPing, nil)
	text := appendFrame(nil, opText, []byte(protocol.HeartbeatFrame))
	var towers []*FireTower
	last := g.clock.now()
	lenient := 0 // slots that are pinged only
	for slot := 0; ; slot = (slot + 1) % heartbeatSlots {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := g.clock.now()
		if now-last > int64(tick)+int64(g.opts.Heartbeat)/2 {
			// This process has not run for a while: the answers may well be there,
			// not read yet.
			lenient = heartbeatSlots
		}
		last = now
		for _, b := range g.towers.buckets {
			towers = b.appendSlot(towers[:0], slot)
			for i, t := range towers {
				if i%yieldEvery == yieldEvery-1 {
					runtime.Gosched()
				}
				t.beat(ping, text, lenient > 0)
			}
			clear(towers)
		}
		lenient = max(lenient-1, 0)
	}
}

// beat looks after one connection. One with a backlog gets no ping, which could
// only wait behind it: the backlog has a bound of its own.
func (t *FireTower) beat(ping, text []byte, lenient bool) {
	if !t.running.Load() {
		return // the application still sets its handlers
	}
	if t.expire() {
		return
	}
	if t.pinged != 0 && t.lastSeen.Load() < t.pinged && !lenient {
		t.timeOut()
		return
	}
	t.mu.Lock()
	var err error
	t.pinged = 0
	if t.state == stateOpen && t.backlog == nil {
		t.pinged = t.gateway.clock.now()
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

// timeOut ends a connection whose client is silent, once, and beside the
// heartbeat of the others: the application's handler may take its time.
func (t *FireTower) timeOut() {
	if !t.timedOut.CompareAndSwap(false, true) {
		return
	}
	t.gateway.flushers.Add(1)
	labelled("read-timeout", "", func() {
		defer t.gateway.flushers.Done()
		if h := t.on().readTimeout; h != nil && t.open() {
			h(t)
		}
		t.shut(protocol.CloseReadTimeout, "no answer to pings", DisconnectDead)
	})
}
