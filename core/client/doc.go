// Package client is the Go client of Firetower: it keeps one WebSocket connection to a gateway,
// with subprotocol firetower.v1, and what is subscribed over it.
//
// It owns connecting and reconnecting, the subscriptions that outlive a connection, the matching
// of requests and answers, and the bounded queue between the connection and the application's
// handlers. It knows the client frames of package protocol and nothing of gateways and managers.
//
// # Goroutines
//
// Run is the reader of each connection in turn. Beside it run two: the keeper of the current
// connection (pings, and the one writer of subscribe and unsubscribe requests, so that what the
// gateway was told last is what is wanted) and the dispatcher, which calls the handlers; with
// Options.Token a third, which brings a new token before the one of the connection expires. All
// have ended when Run returns.
//
// # What is delivered
//
// Messages of a topic reach its handler in the order in which the gateway sent them, once each.
// A connection that is lost is redialled, and every topic is subscribed to again without the
// application's doing; what was published between is not delivered, and an [EventResumed] stands
// between the messages before and after the gap. A gateway may end a subscription by order of its
// operator; an [EventUnsubscribed] tells, and the topic is not subscribed to again.
//
// # Locks
//
//	link.writing -> Client.mu -> queue.mu
//
// None is held while a handler runs, and none but link.writing during I/O.
package client
