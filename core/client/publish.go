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
	l, err := c.up()
	if err != nil {
		return fail(err)
	}
	f, err := c.ask(ctx, l, protocol.PublishRequest, func(id string) []byte { return appendPublish(nil, topic, id, data) })
	if err != nil {
		return fail(err)
	}
	return f.result(protocol.PublishRequest, topic)
}

// up returns the connection that is up, or why there is none.
func (c *Client) up() (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended || c.stopping():
		return nil, ErrClosed
	case c.link == nil:
		return nil, ErrNotConnected
	default:
		return c.link, nil
	}
}

// ask sends a request on link l and returns its answer.
func (c *Client) ask(ctx context.Context, l *link, op protocol.RequestType, request func(id string) []byte) (*frame, error) {
	w := &waiter{op: op, reply: make(chan *frame, 1)}
	c.mu.Lock()
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
