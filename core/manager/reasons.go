package manager

import "fmt"

// DropReason says why a message that some gateway should have had was given up.
// It labels firetower_manager_drops_total.
type DropReason string

// The reasons of drops. A message that has left for a link and does not arrive
// is counted by firetower_manager_missed_total, once its gateway is back and
// tells what it received.
const (
	// DropQueueFull: the gateway's link queue was full; the gateway is evicted and
	// what waited for it is lost with it.
	DropQueueFull DropReason = "queue_full"
	// DropWriteTimeout: the gateway was evicted since a write to it made no
	// progress, and what waited for it is lost with it.
	DropWriteTimeout DropReason = "write_timeout"
	// DropLinkDown: the gateway's link was lost, before or while the message waited.
	DropLinkDown DropReason = "link_down"
	// DropDraining: this manager is stopping.
	DropDraining DropReason = "draining"
	// DropBadTopic: a gateway published to a topic that the manager does not allow.
	DropBadTopic DropReason = "bad_topic"
	// DropUnknownType: a gateway sent a packet of a type that this manager does
	// not know.
	DropUnknownType DropReason = "unknown_type"
	// DropNoBody: the message has no body, and the gateway is one that says no hello:
	// it would decode nothing that comes after such a packet.
	DropNoBody DropReason = "no_body"
)

func dropReasons() []DropReason {
	return []DropReason{
		DropQueueFull, DropWriteTimeout, DropLinkDown, DropDraining, DropBadTopic, DropUnknownType, DropNoBody,
	}
}

// EvictReason says why the manager ended a link. It labels
// firetower_manager_evictions_total.
type EvictReason string

// The reasons of evictions.
const (
	// EvictQueueFull: more waited for the gateway than its queue may hold.
	EvictQueueFull EvictReason = "queue_full"
	// EvictWriteTimeout: a write made no progress for WriteTimeout.
	EvictWriteTimeout EvictReason = "write_timeout"
	// EvictHeartbeat: nothing was heard for twice Heartbeat.
	EvictHeartbeat EvictReason = "heartbeat_timeout"
	// EvictSuperseded: the same gateway came back on a newer link.
	EvictSuperseded EvictReason = "superseded"
	// EvictBadFrame: what came was no packet, or one that may not come then.
	EvictBadFrame EvictReason = "bad_frame"
	// EvictUnauthenticated: no token, or the wrong one.
	EvictUnauthenticated EvictReason = "unauthenticated"
	// EvictBadHello: the hello or the snapshot could not be accepted.
	EvictBadHello EvictReason = "bad_hello"
	// EvictHandshakeTimeout: hello and snapshot were not whole in HandshakeTimeout.
	EvictHandshakeTimeout EvictReason = "handshake_timeout"
	// EvictTooMany: MaxGateways links are there already.
	EvictTooMany EvictReason = "too_many_gateways"
	// EvictDraining: this manager is stopping.
	EvictDraining EvictReason = "draining"
)

func evictReasons() []EvictReason {
	return []EvictReason{
		EvictQueueFull, EvictWriteTimeout, EvictHeartbeat, EvictSuperseded, EvictBadFrame, EvictUnauthenticated,
		EvictBadHello, EvictHandshakeTimeout, EvictTooMany, EvictDraining,
	}
}

// lossReason is what the messages that waited for an evicted gateway count as.
func (r EvictReason) lossReason() DropReason {
	switch r {
	case EvictQueueFull:
		return DropQueueFull
	case EvictWriteTimeout:
		return DropWriteTimeout
	case EvictDraining:
		return DropDraining
	default:
		return DropLinkDown
	}
}

// refuseCode is what a gateway is told, by the last packet of its link, when the
// link ends for this reason; empty when it is told nothing.
func (r EvictReason) refuseCode() string {
	switch r {
	case EvictUnauthenticated:
		return "unauthenticated"
	case EvictSuperseded:
		return "superseded"
	case EvictBadHello, EvictHandshakeTimeout, EvictBadFrame:
		return "bad_hello"
	case EvictTooMany, EvictDraining:
		return "draining" // in both cases: try again later
	default:
		return ""
	}
}

// evictError ends a link by the manager's own decision.
type evictError struct {
	reason EvictReason
	cause  error // nil when the reason says all
}

func (e *evictError) Error() string {
	if e.cause == nil {
		return "evicted: " + string(e.reason)
	}
	return fmt.Sprintf("evicted: %s: %v", e.reason, e.cause)
}

func (e *evictError) Unwrap() error { return e.cause }

func evicted(reason EvictReason, cause error) error {
	return &evictError{reason: reason, cause: cause}
}

// Via says how a message came to the manager. It labels
// firetower_manager_publishes_total.
type Via string

// The ways in.
const (
	// ViaGRPC is the unary Publish.
	ViaGRPC Via = "grpc"
	// ViaBatch is PublishBatch.
	ViaBatch Via = "batch"
	// ViaStream is PublishStream.
	ViaStream Via = "stream"
	// ViaLink is a gateway's link: a client published.
	ViaLink Via = "link"
)

func vias() []Via { return []Via{ViaGRPC, ViaBatch, ViaStream, ViaLink} }
