package gateway

import "time"

// window collects the messages of a topic that come within Options.FlushInterval of the
// first of them, so that a subscriber gets them in one write. It is guarded by the
// topic's order lock. What it holds is counted against CentralChanCount.
type window struct {
	pushes []*push
	bytes  int
	timer  *time.Timer
}

// collect puts a message into its topic's window, whose order is held. A window that is
// as large as one write may be is not waited for. It reports false once the gateway stops.
func (m *TowerManager) collect(t *topic, p *push, how writing) bool {
	// What takes the room may be this very window, which cannot end before this call does: it
	// does not wait here, and neither does the message. A gateway that drains opens none.
	if m.gateway.draining.Load() || !m.central.tryAdmit(1, len(p.data)) {
		return m.flushWindow(t, writing{}) && m.dispatchOrdered(t, []*push{p}, writing{})
	}
	w := &t.window
	w.pushes = append(w.pushes, p)
	w.bytes += len(p.data)
	o := &m.gateway.opts
	if w.bytes >= o.JoinBytes || len(w.pushes) >= o.JoinMessages {
		return m.flushWindow(t, how)
	}
	if len(w.pushes) == 1 {
		m.gateway.flushers.Add(1)
		if w.timer == nil {
			w.timer = time.AfterFunc(o.FlushInterval, func() { m.windowEnds(t) })
		} else {
			w.timer.Reset(o.FlushInterval)
		}
	}
	return true
}

// windowEnds is when a topic's FlushInterval is over.
func (m *TowerManager) windowEnds(t *topic) {
	defer m.gateway.flushers.Done()
	t.order.Lock()
	defer t.order.Unlock()
	m.flushWindow(t, writing{inline: true})
}

// flushWindows hands on what all windows hold, before clients are told to go.
func (m *TowerManager) flushWindows() {
	if m.gateway.opts.FlushInterval == 0 {
		return
	}
	var windowed []*topic
	m.index.each(func(t *topic) {
		if t.windowed {
			windowed = append(windowed, t)
		}
	})
	streak := 0
	for _, t := range windowed {
		t.order.Lock()
		m.flushWindow(t, writing{inline: true, streak: &streak})
		t.order.Unlock()
	}
}

// flushWindow hands on what a window holds; the topic's order is held. It reports false
// once the gateway stops, and then counts what is lost.
func (m *TowerManager) flushWindow(t *topic, how writing) bool {
	w := &t.window
	if len(w.pushes) == 0 { // it was full before its time was over
		return true
	}
	if w.timer != nil && w.timer.Stop() {
		m.gateway.flushers.Done()
	}
	pushes := w.pushes
	// The room is given back before the Buckets' is asked for: a topic that waited for
	// room while it held some could wait for itself.
	m.central.release(len(pushes), w.bytes)
	w.pushes, w.bytes = nil, 0
	ok := m.dispatchOrdered(t, pushes, how)
	if !ok {
		m.metrics.drop(DropShutdown, len(pushes))
	}
	return ok
}
