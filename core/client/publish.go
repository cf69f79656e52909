package client

import (
	"context"
	"encoding/json"
	"fmt"

	"firetower/core/protocol"
)

// Publish sends data, one JSON value, to the subscribers of topic and returns when the gateway has
// taken it. It does not wait for a connection: without one it is ErrNotConnected. An error that is
// ErrConnectionLost, or ctx's, leaves open whether the message went out; a *RequestError says that
// it did not. Messages that one goroutine publishes one after the other keep their order.
func (c *Client) Publish(ctx context.Context, topic string, data []byte) error {
	fail := func(err error) error { return fmt.Errorf("client: publish %q: %w", topic, err) }
	if err := protocol.ValidTopic(topic, 0); err != nil {
		return fail(err)
	}
	if !json.Valid(data) {
		return fail(ErrNotJSON)
	}
	f, err := c.ask(ctx, nil, protocol.PublishRequest, func(id string) []byte { return appendPublish(nil, topic, id, data) })
	if err != nil {
		return fail(err)
	}
	return f.result(protocol.PublishRequest, topic)
}

// ask sends a request on link l, nil for the one that is up, and returns its answer.
func (c *Client) ask(ctx context.Context, l *link, op protocol.RequestType, request func(id string) []byte) (*frame, error) {
	w := &waiter{op: op, reply: make(chan *frame, 1)}
	c.mu.Lock()
	if l == nil {
		l = c.link
	}
	if l == nil || c.ended || c.stopping() {
		closed := c.ended || c.stopping()
		c.mu.Unlock()
		if closed {
			return nil, ErrClosed
		}
		return nil, ErrNotConnected
	}
	id := c.askLocked(l, w)
	c.mu.Unlock()

	err := l.write(ctx, request(id))
	if err == nil {
		select {
		case f := <-w.reply:
			return f, nil
		case <-l.gone:
			err = ErrConnectionLost
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	c.mu.Lock()
	delete(l.waiting, id)
	c.mu.Unlock()
	return nil, err
}
