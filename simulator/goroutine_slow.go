package simulator

import (
	"io"
	"net"
	"strings"
	"time"
)

// readBuffer is the size of the library's read buffer for the connection, in bytes. A slow-reader's is about the least
// that the library takes: what is in it is no longer in the socket.
func (c *goroutineConn) readBuffer() int {
	if c.slow != nil && c.slow.kind() == SlowReader {
		return 128
	}
	return 1 << 10
}

// pause holds a slow connection up before its next read.
func (c *goroutineConn) pause() {
	var next <-chan time.Time
	switch c.slow.kind() {
	case SlowReader:
		timer := time.NewTimer(c.slow.readEvery())
		defer timer.Stop()
		next = timer.C
	case SlowWriter, SlowHalfOpen:
		return
	case SlowNeverReads:
	}
	select {
	case <-next:
	case <-c.release:
	case <-c.engine.ctx.Done():
	}
}

// trickle sends the frame that does not end.
func (c *goroutineConn) trickle(conn net.Conn) {
	tick := time.NewTicker(trickleEvery)
	defer tick.Stop()
	for next := trickleHeader; ; next = []byte{0} {
		if _, err := conn.Write(next); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-c.engine.dialing.Done():
			return
		}
	}
}

// endure is what a half-open connection does when the server has said goodbye: it stays until the server hangs up.
func (c *goroutineConn) endure(code string, now int64) {
	if c.slow == nil || c.slow.kind() != SlowHalfOpen || strings.HasPrefix(code, closeKey(closeAbnormal, "")) {
		return
	}
	c.mu.Lock()
	conn, over := c.ws.NetConn(), c.subscribed && !c.saidBye
	c.over = over
	c.mu.Unlock()
	if !over {
		return
	}
	c.shard.mu.Lock()
	c.shard.account.ended(c.index, code, now)
	c.shard.mu.Unlock()
	_, _ = io.Copy(io.Discard, conn)
}
