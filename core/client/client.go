package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Client is one connection to a gateway, kept up. Make it with Dial, or with New and Run. Its
// methods may be called from any goroutine.
type Client struct {
	opts  Options
	queue *queue

	// stop is closed when the client shall end, abort when it shall do so at once, done when it has.
	stop, abort, done   chan struct{}
	stopOnce, abortOnce sync.Once

	received, delivered, unrouted, badFrames, reconnects atomic.Uint64

	mu sync.Mutex // guards the following
	// started and ended say that Run was called, and that nothing more will be connected.
	started, ended bool
	// err is why the client ended by itself.
	err error
	// link is the connection that is up; nil between connections.
	link *link
	// subs are the topics that are wanted, whether or not a gateway knows of it yet.
	subs   map[string]*subscription
	lastID uint64
}

// Stats are counts since the client was made.
type Stats struct {
	// Received counts messages that arrived; Delivered those whose handler has returned.
	Received, Delivered uint64
	// Dropped counts messages that the full queue, or a Close that ran out of time, dropped.
	Dropped uint64
	// Unrouted counts messages of topics that had no handler any more.
	Unrouted uint64
	// BadFrames counts frames that are not of the protocol.
	BadFrames uint64
	// Reconnects counts connections after the first.
	Reconnects uint64
	// Waiting is how many messages wait for their handlers now.
	Waiting int
}

// New makes a client that is not connected yet; Run connects it.
func New(opts Options) (*Client, error) {
	opts = opts.withDefaults()
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	return &Client{
		opts:  opts,
		queue: newQueue(opts.QueueMessages, opts.QueueBytes, opts.QueuePolicy),
		stop:  make(chan struct{}),
		abort: make(chan struct{}),
		done:  make(chan struct{}),
		subs:  make(map[string]*subscription),
	}, nil
}

// Dial makes a client and its first connection, within ctx, and keeps it up until Close. A first
// attempt that fails is the caller's to repeat; use New and Run to have it repeated.
func Dial(ctx context.Context, opts Options) (*Client, error) {
	c, err := New(opts)
	if err != nil {
		return nil, err
	}
	conn, token, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	c.started = true
	// The connection is there when Dial returns, so that publishing works at once.
	first := c.adopt(conn, token)
	go func() { _ = c.run(context.Background(), first) }() // Err tells
	return c, nil
}

// Run connects, and reconnects, until ctx ends, Close is called, or the gateway says that there is
// no point in trying again; only then is its error not nil. It returns when all that it started has
// ended, the handlers included. It can be called once, and not after Dial.
func (c *Client) Run(ctx context.Context) error {
	c.mu.Lock()
	started := c.started
	c.started = true
	c.mu.Unlock()
	if started {
		return errors.New("client: Run called twice")
	}
	return c.run(ctx, nil)
}

// Close ends the client in order: no more requests, the closing handshake, the handlers' work on
// what has arrived. It waits for them up to DrainTimeout, after which what still waits is dropped;
// ErrDrainTimeout then says that a handler has still not returned. A handler may not call Close.
func (c *Client) Close() error {
	c.mu.Lock()
	started := c.started
	c.started = true
	c.mu.Unlock()
	c.stopOnce.Do(func() { close(c.stop) })
	if !started {
		c.end(nil)
		c.queue.close(Event{Kind: EventClosed})
		close(c.done)
		return nil
	}
	// run aborts at DrainTimeout; a moment more is for what it does then.
	timeout := time.NewTimer(c.opts.DrainTimeout + time.Second)
	defer timeout.Stop()
	select {
	case <-c.done:
		return nil
	case <-timeout.C:
		return ErrDrainTimeout
	}
}

// Done is closed when the client has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is why the client ended by itself; nil while it lives and after Close.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Stats returns the counts.
func (c *Client) Stats() Stats {
	waiting, dropped := c.queue.counts()
	return Stats{
		Received:   c.received.Load(),
		Delivered:  c.delivered.Load(),
		Dropped:    dropped,
		Unrouted:   c.unrouted.Load(),
		BadFrames:  c.badFrames.Load(),
		Reconnects: c.reconnects.Load(),
		Waiting:    waiting,
	}
}

// run ends in this order: the connection (closing handshake, reader, keeper), the requests that
// wait, the queue, the dispatcher, the watcher.
func (c *Client) run(ctx context.Context, first *link) error {
	defer close(c.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var group sync.WaitGroup
	finished := make(chan struct{})
	group.Go(func() { c.watch(ctx, cancel, finished) })
	dispatched := make(chan struct{})
	group.Go(func() {
		defer close(dispatched)
		c.dispatch()
	})

	err := c.keepConnected(ctx, first)
	c.end(err)
	c.queue.close(Event{Kind: EventClosed, Err: err})
	<-dispatched
	close(finished)
	group.Wait()
	return err
}

// watch turns a stop into the closing handshake, and an end that takes too long into an abort.
func (c *Client) watch(ctx context.Context, cancel context.CancelFunc, finished <-chan struct{}) {
	select {
	case <-ctx.Done():
		c.stopOnce.Do(func() { close(c.stop) })
	case <-c.stop:
	case <-finished:
		return
	}
	cancel() // ends an attempt to connect or the wait before one
	if l := c.current(); l != nil {
		l.sayGoodbye()
	}
	timeout := time.NewTimer(c.opts.DrainTimeout)
	defer timeout.Stop()
	select {
	case <-finished:
		return
	case <-timeout.C:
	}
	c.abortOnce.Do(func() { close(c.abort) })
	c.queue.discard()
	if l := c.current(); l != nil {
		l.conn.Close()
	}
}

// current returns the connection that is up; nil between connections.
func (c *Client) current() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

// stopping tells whether the client shall end.
func (c *Client) stopping() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

// end fails what waits and refuses what comes.
func (c *Client) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.err = err
	for topic, sub := range c.subs {
		sub.settle(fmt.Errorf("client: subscribe %q: %w", topic, ErrClosed))
	}
	clear(c.subs)
}

// history is what the next connection owes to those before it.
type history struct {
	wait *backoff
	// failures are the attempts to connect that failed in a row.
	failures int
	// lostAt is when the last connection ended; zero before the first.
	lostAt time.Time
}

// keepConnected serves one connection after the other. Its error is why there is no next one; nil
// when the client was told to stop.
func (c *Client) keepConnected(ctx context.Context, l *link) error {
	h := history{wait: newBackoff(c.opts.BackoffMin, c.opts.BackoffMax)}
	for {
		err := c.serveOne(ctx, l, &h)
		l = nil
		if c.stopping() || ctx.Err() != nil {
			return nil //nolint:nilerr // the client was told to stop: why the last connection ended is no news
		}
		again, asked := retryable(err, c.opts.Token != nil)
		if !again {
			return err
		}
		if c.opts.MaxAttempts > 0 && h.failures >= c.opts.MaxAttempts {
			return fmt.Errorf("client: gave up after %d attempts: %w", h.failures, err)
		}
		delay := h.wait.next(asked)
		c.emit(Event{Kind: EventRetry, Err: err, Attempt: h.failures + 1, Wait: delay})
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// serveOne serves l, or a new connection when l is nil, until it ends, and says why it did.
func (c *Client) serveOne(ctx context.Context, l *link, h *history) error {
	if l == nil {
		conn, token, err := c.connect(ctx)
		if err != nil {
			h.failures++
			return err
		}
		l = c.adopt(conn, token)
	}
	h.failures = 0
	if h.lostAt.IsZero() {
		c.emit(Event{Kind: EventConnected})
	} else {
		c.reconnects.Add(1)
	}
	l.lostAt = h.lostAt
	since := time.Now()
	err := c.serve(l)
	h.lostAt = time.Now()
	if h.lostAt.Sub(since) > c.opts.BackoffMax {
		h.wait.reset() // it was a good connection, not one that is dropped again and again
	}
	if !c.stopping() {
		c.emit(Event{Kind: EventDisconnected, Err: err})
	}
	return err
}

// emit hands an event to the dispatcher, in order with the messages.
func (c *Client) emit(e Event) {
	if c.opts.OnEvent != nil {
		c.queue.push(item{event: &e}, c.abort)
	}
}

// dispatch calls the handlers, one item after the other, until the queue has ended.
func (c *Client) dispatch() {
	for {
		it, ok := c.queue.pop()
		if !ok {
			return
		}
		switch {
		case it.event != nil:
			if c.opts.OnEvent != nil {
				c.opts.OnEvent(*it.event)
			}
		case it.sub.cancelled.Load():
			c.unrouted.Add(1)
		default:
			it.sub.handler(it.msg)
			c.delivered.Add(1)
		}
	}
}
