package client

import (
	"errors"
	"fmt"
	"time"

	"firetower/core/protocol"
)

var (
	// ErrClosed: the client was closed, or has ended for good (see Err).
	ErrClosed = errors.New("client: closed")
	// ErrNotConnected: there is no connection to publish on just now.
	ErrNotConnected = errors.New("client: not connected")
	// ErrConnectionLost: the connection ended before the answer came, so that the gateway may or
	// may not have done what was asked.
	ErrConnectionLost = errors.New("client: connection lost before the answer")
	// ErrAlreadySubscribed: the client has a handler for the topic.
	ErrAlreadySubscribed = errors.New("client: already subscribed")
	// ErrUnsubscribed: the gateway ended the subscription while it was being made.
	ErrUnsubscribed = errors.New("client: unsubscribed by the gateway")
	// ErrNotJSON: what is published must be one JSON value.
	ErrNotJSON = errors.New("client: data is not a JSON value")
	// ErrDrainTimeout: Close gave up waiting for handlers that still run.
	ErrDrainTimeout = errors.New("client: handlers still busy at the drain timeout")
	// ErrSubprotocol: the other end is a WebSocket server that does not speak firetower.v1.
	ErrSubprotocol = errors.New("client: server does not speak " + protocol.SubprotocolV1)
)

// RequestError is a gateway's refusal of a request.
type RequestError struct {
	// Op is "subscribe", "unSubscribe", "publish" or "authenticate".
	Op string
	// Topic is what was refused; empty for authenticate.
	Topic string
	// Code is for programs to decide on.
	Code protocol.ErrorCode
	// Reason is for people; it may be empty.
	Reason string
}

// Error implements error.
func (e *RequestError) Error() string {
	text := fmt.Sprintf("client: %s %q: %s", e.Op, e.Topic, e.Code)
	if e.Topic == "" {
		text = fmt.Sprintf("client: %s: %s", e.Op, e.Code)
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// Temporary tells whether the same request may succeed later.
func (e *RequestError) Temporary() bool {
	return e.Code == protocol.CodeUnavailable || e.Code == protocol.CodeInternal
}

// HandshakeError is an HTTP answer other than the upgrade.
type HandshakeError struct {
	// Status is the HTTP status.
	Status int
	// RetryAfter is what the answer's header asks for; 0 when it does not.
	RetryAfter time.Duration
	// Reason is the first line of the answer's text, for people; it may be empty.
	Reason string
	// Err is what the WebSocket library made of it.
	Err error
}

// Error implements error.
func (e *HandshakeError) Error() string {
	if e.Reason != "" {
		return fmt.Sprintf("client: handshake refused with HTTP status %d: %s", e.Status, e.Reason)
	}
	return fmt.Sprintf("client: handshake refused with HTTP status %d: %v", e.Status, e.Err)
}

// Unwrap returns Err.
func (e *HandshakeError) Unwrap() error { return e.Err }

// CloseError is a close frame from the gateway.
type CloseError struct {
	// Code is the close code (RFC 6455 section 7.4, or one of package protocol).
	Code int
	// Reason is the frame's text.
	Reason string
}

// Error implements error.
func (e *CloseError) Error() string {
	return fmt.Sprintf("client: closed by the gateway with %d %q", e.Code, e.Reason)
}
