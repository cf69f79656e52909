package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// The WebSocket subprotocols (Sec-WebSocket-Protocol, RFC 6455 section 11.3.4).
const (
	// SubprotocolV1 names topic and kind in every frame, answers requests, and uses
	// WebSocket pings.
	SubprotocolV1 = "firetower.v1"
	// SubprotocolV0 sends the published data alone; what a client that asks for no
	// subprotocol gets.
	SubprotocolV0 = "firetower.v0"
)

// HeartbeatFrame is the text frame that keeps a v0 connection alive. It is the one
// text frame that is not JSON; clients may send it too.
const HeartbeatFrame = "heartbeat"

// MaxRequestID is the longest request id, in bytes.
const MaxRequestID = 128

// RequestType says what a client wants. In a frame its letters may be of either case.
type RequestType string

// The types of requests.
const (
	SubscribeRequest   RequestType = "subscribe"
	UnsubscribeRequest RequestType = "unSubscribe"
	PublishRequest     RequestType = "publish"
	// AuthenticateRequest brings a new token, before the one that the client connected with expires.
	AuthenticateRequest RequestType = "authenticate"
	// HeartbeatRequest is [HeartbeatFrame], or {"type":"heartbeat"}: nothing is asked.
	HeartbeatRequest RequestType = "heartbeat"
)

// Request is one frame of a client. Nothing of it outlives or predates the frame:
// members that the frame does not have are zero.
type Request struct {
	Type RequestType
	// Topics are valid topics, one or more, except for a heartbeat and an authenticate, which
	// have none. One may be named twice.
	Topics []string
	// Data is what the client sent for "data", JSON as it was written; it aliases the frame.
	// It is there in each publish, and may be null.
	Data json.RawMessage
	// Token is what an authenticate brings, not empty.
	Token string
	// ID is to be named in the answer. HasID tells that there is one: a
	// client that sends none, or an empty one, wants no answer.
	ID    string
	HasID bool
}

// RequestLimits bounds what a request may hold. A limit below 1 means the one of
// [DefaultRequestLimits]. The size of the whole frame is for the WebSocket reader to bound.
type RequestLimits struct {
	MaxTopics     int // topics in one request; default 128
	MaxTopicBytes int // bytes of one topic; default 255
	MaxDepth      int // levels of arrays and objects, the request itself being one; default 64
}

// DefaultRequestLimits returns the limits of a gateway that is not configured otherwise.
func DefaultRequestLimits() RequestLimits {
	return RequestLimits{MaxTopics: 128, MaxTopicBytes: DefaultMaxTopic, MaxDepth: defaultDepth}
}

// defaultDepth is also the deepest that a push is nested: some receivers' parsers
// stop at 64 levels (System.Text.Json does).
const defaultDepth = 64

func (l RequestLimits) withDefaults() RequestLimits {
	d := DefaultRequestLimits()
	if l.MaxTopics < 1 {
		l.MaxTopics = d.MaxTopics
	}
	if l.MaxTopicBytes < 1 {
		l.MaxTopicBytes = d.MaxTopicBytes
	}
	if l.MaxDepth < 1 {
		l.MaxDepth = d.MaxDepth
	}
	return l
}

// ErrorCode tells a v1 client's program what went wrong; the reason beside it is for people.
type ErrorCode string

// The codes of error frames, and of topics in answers.
const (
	// CodeBadRequest: the frame is not a request: not a JSON object, a member of the
	// wrong kind, twice, or missing.
	CodeBadRequest ErrorCode = "bad_request"
	// CodeUnknownType: a type that this gateway does not have.
	CodeUnknownType ErrorCode = "unknown_type"
	// CodeBadTopic: see [ValidTopic].
	CodeBadTopic ErrorCode = "bad_topic"
	// CodeTooManyTopics: more in one request, or on one connection, than are allowed.
	CodeTooManyTopics ErrorCode = "too_many_topics"
	// CodeForbidden: the gateway's configuration, or the application that embeds it, said no.
	CodeForbidden ErrorCode = "forbidden"
	// CodeUnauthorized: the token of an authenticate is not good, or has expired, or is another user's.
	CodeUnauthorized ErrorCode = "unauthorized"
	// CodeNotSubscribed: the topic to leave was not subscribed to, or an order has ended
	// the subscription before it stood.
	CodeNotSubscribed ErrorCode = "not_subscribed"
	// CodeUnavailable: the gateway can not reach its manager; the same request may
	// succeed later.
	CodeUnavailable ErrorCode = "unavailable"
	// CodeInternal: a fault of the gateway.
	CodeInternal ErrorCode = "internal"
)

// RequestError says why a frame is refused. It has two classes: with Close false the client
// is answered and goes on; with Close true the frame was not even a JSON object, so that the
// client does not speak this protocol and is closed with [CloseProtocol].
type RequestError struct {
	Code   ErrorCode
	Reason string
	Close  bool
}

// Error implements error.
func (e *RequestError) Error() string {
	return fmt.Sprintf("protocol: client frame refused, %s: %s", e.Code, e.Reason)
}

func refuse(code ErrorCode, format string, args ...any) *RequestError {
	return &RequestError{Code: code, Reason: fmt.Sprintf(format, args...)}
}

// ParseRequest reads a client's text frame. Its errors are [*RequestError]s; the Request
// beside one holds the id, if the frame has a good one, and else nothing.
//
// Members that are not known are skipped. A known one that is null counts as not there,
// but for data, where null is a value. In type, topic and id
// an escaped surrogate that is not part of a pair is refused, since it stands for no
// character; in data, which the gateway does not look into, it stays.
func ParseRequest(frame []byte, lim RequestLimits) (Request, error) {
	if string(frame) == HeartbeatFrame {
		return Request{Type: HeartbeatRequest}, nil
	}
	lim = lim.withDefaults()
	var raw rawRequest
	if err := raw.scan(frame, lim.MaxDepth); err != nil {
		return Request{}, err
	}
	var req Request
	if err := raw.decodeID(&req); err != nil {
		return Request{}, err
	}
	id := Request{ID: req.ID, HasID: req.HasID}
	if err := raw.decodeRest(&req, lim); err != nil {
		return id, err
	}
	return req, nil
}

// rawRequest is a frame cut into its members, as they stand there; nil is not there.
type rawRequest struct {
	typ, topic, data, id, token []byte

	twice string // a member that stands there more than once
}

// scan cuts the frame. It returns error and not *RequestError: a nil pointer in an error is not nil.
func (r *rawRequest) scan(frame []byte, depth int) error {
	i := skipSpace(frame, 0)
	if i == len(frame) || frame[i] != '{' {
		return unreadable("must be a JSON object")
	}
	m, err := openObject(frame, i, depth)
	for err == nil && m.more {
		if err = m.next(); err == nil {
			r.set(&m)
		}
	}
	if err == nil {
		if m.pos = skipSpace(frame, m.pos); m.pos < len(frame) {
			err = errSyntax
		}
	}
	switch {
	case errors.Is(err, errDepth):
		return unreadable("nested deeper than %d levels", depth)
	case err != nil:
		return unreadable("%v at byte %d", err, m.pos)
	case r.twice != "":
		return refuse(CodeBadRequest, "%s stands there twice", r.twice)
	}
	return nil
}

// unreadable refuses what is not a request at all.
func unreadable(format string, args ...any) *RequestError {
	e := refuse(CodeBadRequest, format, args...)
	e.Close = true
	return e
}

// set keeps the member that m stands at, if it is a known one.
func (r *rawRequest) set(m *members) {
	key := m.key[1 : len(m.key)-1]
	if m.keyText&escaped != 0 {
		key = unescape(key)
	}
	var member *[]byte
	switch string(key) {
	case "type":
		member = &r.typ
	case "topic":
		member = &r.topic
	case "data":
		member = &r.data
	case "id":
		member = &r.id
	case "token":
		member = &r.token
	default:
		return
	}
	if *member != nil {
		r.twice = string(key)
	}
	*member = m.value
}

func (r *rawRequest) decodeID(req *Request) error {
	id, err := stringMember("id", r.id)
	if err != nil {
		return err
	}
	if len(id) > MaxRequestID {
		return refuse(CodeBadRequest, "id must be at most %d bytes, has %d", MaxRequestID, len(id))
	}
	req.ID, req.HasID = string(id), len(id) > 0
	return nil
}

func (r *rawRequest) decodeRest(req *Request, lim RequestLimits) error {
	typ, err := stringMember("type", r.typ)
	if err != nil {
		return err
	}
	if len(typ) == 0 {
		return refuse(CodeBadRequest, "type is missing")
	}
	if req.Type = requestType(typ); req.Type == "" {
		return refuse(CodeUnknownType, "unknown type %q", cut(typ))
	}
	switch req.Type {
	case HeartbeatRequest:
		return nil
	case AuthenticateRequest:
		token, err := stringMember("token", r.token)
		if err != nil {
			return err
		}
		if len(token) == 0 {
			return refuse(CodeBadRequest, "token is missing")
		}
		req.Token = string(token)
		return nil
	default:
	}
	topics, err := stringMember("topic", r.topic)
	if err != nil {
		return err
	}
	if len(topics) == 0 {
		return refuse(CodeBadTopic, "topic is missing")
	}
	if n := bytes.Count(topics, []byte{','}) + 1; n > lim.MaxTopics {
		return refuse(CodeTooManyTopics, "%d topics in one request, at most %d", n, lim.MaxTopics)
	}
	req.Topics = strings.Split(string(topics), ",")
	for _, topic := range req.Topics {
		if bad := topicFault(topic, lim.MaxTopicBytes); bad != nil {
			return refuse(CodeBadTopic, "topic %q %s", bad.Value, bad.Reason)
		}
	}
	if req.Type == PublishRequest && r.data == nil {
		return refuse(CodeBadRequest, "data is missing")
	}
	req.Data = r.data
	return nil
}

// stringMember returns the text of a member that must be a string, nil if it is not there.
func stringMember(name string, b []byte) ([]byte, error) {
	if b == nil || string(b) == "null" {
		return nil, nil
	}
	if b[0] != '"' {
		return nil, refuse(CodeBadRequest, "%s must be a string", name)
	}
	inner := b[1 : len(b)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner, nil
	}
	if _, t, err := scanString(b, 0); err != nil || t&loneSurrogate != 0 {
		return nil, refuse(CodeBadRequest, "%s holds half of a surrogate pair", name)
	}
	return unescape(inner), nil
}

// requestType returns the type that b names, in letters of either case, or "".
// Only ASCII letters are folded: no other spelling is meant.
func requestType(b []byte) RequestType {
	for _, t := range [...]RequestType{SubscribeRequest, PublishRequest, UnsubscribeRequest, AuthenticateRequest, HeartbeatRequest} {
		if equalFoldASCII(b, string(t)) {
			return t
		}
	}
	return ""
}

func equalFoldASCII(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		if lowerASCII(b[i]) != lowerASCII(s[i]) {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
