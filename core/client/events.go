package client

import (
	"fmt"
	"strings"
	"time"
)

// EventKind says what has happened to a client.
type EventKind string

const (
	// EventConnected: the first connection is up.
	EventConnected EventKind = "connected"
	// EventDisconnected: the connection was lost; Err tells why. A reconnect follows.
	EventDisconnected EventKind = "disconnected"
	// EventRetry: an attempt failed or a connection was lost; Attempt is the number of the next one
	// and Wait the time until it begins.
	EventRetry EventKind = "retry"
	// EventResumed: after a reconnect, Topics are subscribed to again. What was published in the
	// time Gap before was not delivered.
	EventResumed EventKind = "resumed"
	// EventSubscriptionLost: after a reconnect the gateway refused Topics[0]; its handler is gone.
	EventSubscriptionLost EventKind = "subscription-lost"
	// EventUnsubscribed: the gateway ended the subscriptions to Topics by an order from its side;
	// their handlers are gone, and messages that still waited for them are dropped.
	EventUnsubscribed EventKind = "unsubscribed"
	// EventDropped: the queue was full; Dropped messages of any topic are missing just before this
	// event.
	EventDropped EventKind = "dropped"
	// EventClosed: the client has ended; Err is nil after Close. It is the last event.
	EventClosed EventKind = "closed"
)

// Event is a change of state. Fields that its kind does not name are zero.
type Event struct {
	Kind    EventKind
	Err     error
	Attempt int
	Wait    time.Duration
	Gap     time.Duration
	Topics  []string
	Dropped uint64
}

// String returns the event as one line for logs.
func (e Event) String() string {
	switch e.Kind {
	case EventRetry:
		return fmt.Sprintf("retry %d in %v", e.Attempt, e.Wait.Round(time.Millisecond))
	case EventResumed:
		return fmt.Sprintf("resumed %d topics after a gap of %v", len(e.Topics), e.Gap.Round(time.Millisecond))
	case EventSubscriptionLost:
		return fmt.Sprintf("subscription lost: %v", e.Err)
	case EventUnsubscribed:
		return fmt.Sprintf("unsubscribed from %s by the server", strings.Join(e.Topics, ", "))
	case EventDropped:
		return fmt.Sprintf("dropped %d messages: the handlers are too slow", e.Dropped)
	case EventConnected, EventDisconnected, EventClosed:
	}
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", e.Kind, e.Err)
	}
	return string(e.Kind)
}

// Message is one published message.
type Message struct {
	// Topic is where it was published.
	Topic string
	// Data is what was published, byte for byte; it is the handler's to keep.
	Data []byte
}

// Handler is called with the messages of a topic, one after the other.
type Handler func(Message)
