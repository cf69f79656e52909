package gateway

import "sync"

// centralChan bounds all that waits for the Buckets' consumers. It hands a push
// straight to the lanes that need it, so that a message costs no goroutine of
// its own on the way; what it holds is the account. When the account is full, dispatching
// blocks, the link's reader stops reading, and the manager feels it.
type centralChan struct {
	capacity int
	maxBytes int

	mu     sync.Mutex // guards the following
	freed  sync.Cond
	used   int
	bytes  int
	closed bool
}

func (c *centralChan) init(capacity, maxBytes int) {
	c.capacity, c.maxBytes = capacity, maxBytes
	c.freed.L = &c.mu
}

// admit waits until n more items of so many bytes in all fit, and reports false
// once the gateway stops. A push that is more than the whole capacity is let in alone.
func (c *centralChan) admit(n, bytes int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && !c.fitsLocked(n, bytes) {
		c.freed.Wait()
	}
	return c.takeLocked(n, bytes)
}

// tryAdmit is admit without waiting: it reports false when there is no room now, too.
func (c *centralChan) tryAdmit(n, bytes int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fitsLocked(n, bytes) && c.takeLocked(n, bytes)
}

func (c *centralChan) fitsLocked(n, bytes int) bool {
	return c.used == 0 || (c.used+n <= c.capacity && c.bytes+bytes <= c.maxBytes)
}

func (c *centralChan) takeLocked(n, bytes int) bool {
	if c.closed {
		return false
	}
	c.used += n
	c.bytes += bytes
	return true
}

// release gives room back, and reports whether more than half of all was in use until then.
func (c *centralChan) release(n, bytes int) (crowded bool) {
	c.mu.Lock()
	crowded = c.used > c.capacity/2 || c.bytes > c.maxBytes/2
	c.used -= n
	c.bytes -= bytes
	c.mu.Unlock()
	c.freed.Broadcast()
	return crowded
}

func (c *centralChan) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.freed.Broadcast()
}

// waiting returns how many items wait for consumers or are being written.
func (c *centralChan) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}
