package simulator

import (
	"time"

	"github.com/gorilla/websocket"

	"firetower/simulator/clock"
)

// startChurn begins the changes of every shard, unless run is ending.
func (e *goroutineEngine) startChurn() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.shards {
		pace := newChurnPace(e.config, s.account.healthy)
		pace.start = e.clock.Now()
		if pace.running() && !e.closing {
			e.readers.Go(func() { e.churnLoop(s, pace) })
		}
	}
}

// churnLoop makes the changes of a shard when they are due.
func (e *goroutineEngine) churnLoop(s *goroutineShard, pace churnPace) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-e.dialing.Done():
			return
		}
		for pace.next() <= e.clock.Now() && e.dialing.Err() == nil {
			pace.made++
			s.churn(pace.made, e.clock)
		}
		timer.Reset(time.Duration(pace.next() - e.clock.Now()))
	}
}

// churn makes the k-th change. Its time is taken under the lock: a visit must not end before a message that has been
// counted for it arrived, or the message is received and not due.
func (s *goroutineShard) churn(k uint64, clk *clock.Clock) {
	s.mu.Lock()
	conn, leave, join, ok := s.account.churn.change(k, clk.Now(), func(conn int) bool { return s.conns[conn].up() })
	s.account.publish()
	s.mu.Unlock()
	if !ok {
		return
	}
	c := s.conns[conn]
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.subscribed || c.saidBye { // lost since
		return
	}
	_ = c.ws.SetWriteDeadline(time.Now().Add(time.Second))
	for _, request := range [][]byte{leave, join} {
		if request != nil {
			_ = c.ws.WriteMessage(websocket.TextMessage, request) // an error is told by the next read
		}
	}
}

// up says that a connection has subscribed and has not ended.
func (c *goroutineConn) up() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subscribed && !c.saidBye && !c.reset
}
