package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"firetower/core/protocol"
)

// A request names at most so many topics, and so many bytes of them: within the limits that
// gateways have by default (128 topics, 64 KiB).
const (
	topicsPerRequest     = 64
	topicBytesPerRequest = 16 << 10
)

// subscription is one topic that is wanted.
type subscription struct {
	topic   string
	handler Handler
	// cancelled is set when the topic is not wanted any more: what still waits in the queue has no
	// handler then.
	cancelled atomic.Bool
	// first is closed when the gateway has answered for the first time; err is set before.
	first chan struct{}
	err   error
}

// settle ends the wait for the first answer, once. The caller holds Client.mu.
func (s *subscription) settle(err error) {
	if !s.settled() {
		s.err = err
		close(s.first)
	}
}

func (s *subscription) settled() bool {
	select {
	case <-s.first:
		return true
	default:
		return false
	}
}

// told is what a gateway was told of one topic on one connection. Guarded by Client.mu.
type told struct {
	// subscribed is what was told last, id the request that did.
	subscribed bool
	id         string
	// confirmed is whether the gateway has agreed to it.
	confirmed bool
	// refused is set while a topic that was subscribed to before waits to be asked for again.
	refused bool
	// released are closed when the gateway knows that the topic is not wanted.
	released []chan struct{}
}

func (t *told) release() {
	for _, ch := range t.released {
		close(ch)
	}
	t.released = nil
}

// Subscribe has h called with the messages of topic, from now until Unsubscribe or Close, over any
// number of connections. It returns when the gateway has confirmed it; messages may arrive before
// that. Without a connection it waits for one. When ctx ends first, the topic is not subscribed to.
func (c *Client) Subscribe(ctx context.Context, topic string, h Handler) error {
	return c.SubscribeMany(ctx, []string{topic}, h)
}

// SubscribeMany is Subscribe for several topics with one handler. Its error joins one for each
// topic that failed, a *RequestError where the gateway refused; the others are subscribed to.
func (c *Client) SubscribeMany(ctx context.Context, topics []string, h Handler) error {
	if h == nil {
		return errors.New("client: subscribe: no handler")
	}
	var errs []error
	var wanted []*subscription
	c.mu.Lock()
	for _, topic := range topics {
		err := protocol.ValidTopic(topic, 0)
		switch {
		case err != nil:
		case c.ended:
			err = ErrClosed
		case c.subs[topic] != nil:
			err = ErrAlreadySubscribed
		default:
			sub := &subscription{topic: topic, handler: h, first: make(chan struct{})}
			c.subs[topic] = sub
			wanted = append(wanted, sub)
			continue
		}
		errs = append(errs, fmt.Errorf("client: subscribe %q: %w", topic, err))
	}
	c.wakeLocked()
	c.mu.Unlock()

	for _, sub := range wanted {
		select {
		case <-sub.first:
		case <-ctx.Done():
			c.giveUp(sub, fmt.Errorf("client: subscribe %q: %w", sub.topic, ctx.Err()))
		}
		if sub.err != nil {
			errs = append(errs, sub.err)
		}
	}
	return errors.Join(errs...)
}

// giveUp ends a wait for the first answer that has not come.
func (c *Client) giveUp(sub *subscription, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !sub.settled() {
		sub.settle(err)
		c.dropLocked(sub)
	}
}

// dropLocked ends a subscription.
func (c *Client) dropLocked(sub *subscription) {
	sub.cancelled.Store(true)
	if c.subs[sub.topic] == sub {
		delete(c.subs, sub.topic)
	}
	if c.link != nil {
		delete(c.link.resuming, sub.topic)
	}
	c.wakeLocked()
}

// Unsubscribe ends the subscriptions to topics; others are left alone. No handler call for them
// begins after it has returned, and messages that still wait are dropped. It waits for the gateway
// to know, or for the connection to be lost; when ctx ends first, the gateway will know later.
func (c *Client) Unsubscribe(ctx context.Context, topics ...string) error {
	var released []chan struct{}
	c.mu.Lock()
	for _, topic := range topics {
		sub := c.subs[topic]
		if sub == nil {
			continue
		}
		sub.settle(fmt.Errorf("client: subscribe %q: unsubscribed meanwhile: %w", topic, context.Canceled))
		c.dropLocked(sub)
		if c.link == nil {
			continue
		}
		if t := c.link.told[topic]; t != nil && t.subscribed {
			ch := make(chan struct{})
			t.released = append(t.released, ch)
			released = append(released, ch)
		}
	}
	c.mu.Unlock()
	for _, ch := range released {
		select {
		case <-ch:
		case <-ctx.Done():
			return fmt.Errorf("client: unsubscribe: %w", ctx.Err())
		}
	}
	return nil
}

// wakeLocked has the keeper compare what is wanted to what was told.
func (c *Client) wakeLocked() {
	if c.link != nil {
		signal(c.link.wake)
	}
}

// tell sends what the gateway must know: topics that are wanted and were not told, and the
// reverse. refused reports that a topic waits to be asked for again. Only the keeper calls it, so
// that requests are written in the order in which they were decided.
func (c *Client) tell(l *link) (refused bool, err error) {
	for {
		c.mu.Lock()
		frame := c.nextRequestLocked(l)
		for _, t := range l.told {
			refused = refused || t.refused
		}
		c.mu.Unlock()
		if frame == nil {
			return refused, nil
		}
		if err := l.write(context.Background(), frame); err != nil {
			return false, err
		}
	}
}

// nextRequestLocked notes and returns the next request to send, nil when there is none.
func (c *Client) nextRequestLocked(l *link) []byte {
	// What is not wanted goes first: it may make room under the gateway's bound on topics.
	var gone, wanted []string
	for topic, t := range l.told {
		if t.subscribed && c.subs[topic] == nil {
			gone = append(gone, topic)
		}
	}
	if len(gone) > 0 {
		return c.requestLocked(l, protocol.UnsubscribeRequest, gone)
	}
	for topic, sub := range c.subs {
		switch t := l.told[topic]; {
		case t == nil || !t.subscribed && !t.refused:
			if l.alone[topic] {
				delete(l.alone, topic)
				return c.requestLocked(l, protocol.SubscribeRequest, []string{topic})
			}
			wanted = append(wanted, topic)
		case t.subscribed && t.confirmed:
			sub.settle(nil) // subscribed to anew before the keeper came to end it
		}
	}
	if len(wanted) > 0 {
		return c.requestLocked(l, protocol.SubscribeRequest, wanted)
	}
	return nil
}

// requestLocked notes a request about as many of topics as one takes.
func (c *Client) requestLocked(l *link, op protocol.RequestType, topics []string) []byte {
	slices.Sort(topics)
	size := 0
	for i, topic := range topics {
		size += len(topic) + 1
		if i == topicsPerRequest || i > 0 && size > topicBytesPerRequest {
			topics = topics[:i]
			break
		}
	}
	id := c.askLocked(l, &waiter{op: op, topics: topics})
	for _, topic := range topics {
		t := l.told[topic]
		if t == nil {
			t = &told{}
			l.told[topic] = t
		}
		t.subscribed = op == protocol.SubscribeRequest
		t.id, t.confirmed, t.refused = id, false, false
	}
	return marshalRequest(op, topics, id)
}

// takeSubscribedLocked takes the answer to a subscribe request and returns the news of topics that
// were subscribed to on an earlier connection and are refused now.
func (c *Client) takeSubscribedLocked(l *link, w *waiter, f *frame) (lost []Event) {
	if f.Type == errorFrame && len(w.topics) > 1 {
		// The request was refused whole, perhaps for one of its topics: the others are not to suffer.
		for _, topic := range w.topics {
			if t := l.told[topic]; t != nil && t.id == f.ID {
				t.release()
				delete(l.told, topic)
				l.alone[topic] = true
			}
		}
		signal(l.wake)
		return nil
	}
	for _, topic := range w.topics {
		t := l.told[topic]
		if t == nil || t.id != f.ID {
			continue // a later request is about it
		}
		sub := c.subs[topic]
		err := f.result(w.op, topic)
		if err == nil {
			t.confirmed = true
			if sub != nil {
				sub.settle(nil)
			}
			if l.resuming[topic] {
				delete(l.resuming, topic)
				l.resumed = append(l.resumed, topic)
			}
			continue
		}
		t.subscribed = false
		refusal, _ := errors.AsType[*RequestError](err)
		switch {
		case sub == nil:
		case sub.settled() && refusal.Temporary():
			t.refused = true
			signal(l.wake) // for the keeper to set its timer
			continue
		case sub.settled():
			lost = append(lost, Event{Kind: EventSubscriptionLost, Topics: []string{topic}, Err: err})
			c.dropLocked(sub)
		default:
			sub.settle(err)
			c.dropLocked(sub)
		}
		t.release()
		delete(l.told, topic)
	}
	return lost
}

// takeUnsubscribedLocked takes the answer to an unSubscribe request. Whatever it says, the gateway
// sends no more of the topics.
func (c *Client) takeUnsubscribedLocked(l *link, w *waiter) {
	for _, topic := range w.topics {
		t := l.told[topic]
		if t == nil {
			continue
		}
		t.release()
		if !t.subscribed && !t.refused {
			delete(l.told, topic)
		}
	}
}

// takeOrderLocked takes the news that the gateway has ended subscriptions by itself and returns it
// for the application; who still waits for the first answer gets an error instead.
func (c *Client) takeOrderLocked(l *link, f *frame) []Event {
	var ended []string
	for _, result := range f.Topics {
		topic := result.Topic
		t := l.told[topic]
		// Frames come in the order in which the gateway did what they tell of: while the answer to an
		// unSubscribe is out, this is about the subscription that it meant to end.
		if !result.OK || t == nil || !t.subscribed || l.unsubscribing(topic) {
			continue
		}
		t.release()
		delete(l.told, topic)
		if l.resuming != nil {
			l.resumed = slices.DeleteFunc(l.resumed, func(resumed string) bool { return resumed == topic })
		}
		sub := c.subs[topic]
		if sub == nil {
			continue
		}
		if sub.settled() {
			ended = append(ended, topic)
		} else {
			sub.settle(fmt.Errorf("client: subscribe %q: %w", topic, ErrUnsubscribed))
		}
		c.dropLocked(sub)
	}
	if len(ended) == 0 {
		return nil
	}
	return []Event{{Kind: EventUnsubscribed, Topics: ended}}
}

// unsubscribing tells whether an unSubscribe of the topic has no answer yet. The caller holds
// Client.mu.
func (l *link) unsubscribing(topic string) bool {
	for _, w := range l.waiting {
		if w.op == protocol.UnsubscribeRequest && slices.Contains(w.topics, topic) {
			return true
		}
	}
	return false
}

// forgetRefused has the topics that were refused for a while asked for again.
func (c *Client) forgetRefused(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, t := range l.told {
		if t.refused {
			delete(l.told, topic)
		}
	}
}
