package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"firetower/core/protocol"
)

// Access is what a client may do. It is shared by the connections that it was given to, and
// must not change any more.
type Access struct {
	// Subscribe and Publish are the topics that the client may subscribe and publish to; without
	// any it may not at all.
	Subscribe, Publish []TopicPattern
	// Expires is until when the client may be connected; zero is for ever. What it asks for
	// from then on, but a protocol.AuthenticateRequest, closes it with protocol.CloseExpired, and so does the next heartbeat.
	Expires time.Time
}

// TopicPattern is one topic, or all whose names begin alike.
type TopicPattern struct {
	// Topic is the topic's name, or what the names begin with.
	Topic string
	// Prefix tells that it is the latter.
	Prefix bool
}

// ParseTopicPattern reads a pattern: "news" is the topic of that name, "room.*" are all that begin
// with "room.", and "*" are all. A star that is not the last character is a part of the name.
func ParseTopicPattern(text string) (TopicPattern, error) {
	p := TopicPattern{Topic: text}
	p.Topic, p.Prefix = strings.CutSuffix(text, "*")
	if p.Topic == "" && p.Prefix {
		return p, nil
	}
	if err := protocol.ValidTopic(p.Topic, 0); err != nil {
		return TopicPattern{}, fmt.Errorf("topic pattern %q: %w", text, err)
	}
	return p, nil
}

// Matches tells whether the pattern is for a topic.
func (p TopicPattern) Matches(topic string) bool {
	if p.Prefix {
		return strings.HasPrefix(topic, p.Topic)
	}
	return p.Topic == topic
}

// String writes the pattern as ParseTopicPattern reads it.
func (p TopicPattern) String() string {
	if p.Prefix {
		return p.Topic + "*"
	}
	return p.Topic
}

func matchesAny(patterns []TopicPattern, topic string) bool {
	return slices.ContainsFunc(patterns, func(p TopicPattern) bool { return p.Matches(topic) })
}

func (a *Access) maySubscribe(topic string) bool { return a == nil || matchesAny(a.Subscribe, topic) }

// subscribable returns those of topics that the client may subscribe to.
func (a *Access) subscribable(topics []string) []string {
	if a == nil {
		return topics
	}
	return slices.DeleteFunc(slices.Clone(topics), func(topic string) bool { return !a.maySubscribe(topic) })
}

func (a *Access) mayPublish(topic string) bool { return a == nil || matchesAny(a.Publish, topic) }

// expired tells whether the client's time is over.
func (a *Access) expired() bool {
	return a != nil && !a.Expires.IsZero() && !time.Now().Before(a.Expires)
}

// AuthenticationError is an error of Options.Authenticate or Options.Refresh of which the client may
// know the reason; of others it learns that it is not authenticated.
type AuthenticationError struct {
	// Reason is for the client, in a few words: "token has expired".
	Reason string
	// Challenge is the header WWW-Authenticate of the answer (RFC 9110 section 11.6.1). Default "Bearer".
	Challenge string
	// Err is what the log gets on top; it may be nil.
	Err error
}

// Error implements error.
func (e *AuthenticationError) Error() string {
	if e.Err == nil {
		return "gateway: not authenticated: " + e.Reason
	}
	return "gateway: not authenticated: " + e.Reason + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *AuthenticationError) Unwrap() error { return e.Err }

// notAuthenticated is what a client is told of an error of the application.
func notAuthenticated(err error) string {
	var known *AuthenticationError
	if errors.As(err, &known) {
		return "not authenticated: " + known.Reason
	}
	return "not authenticated"
}

// Access is what the client may do; nil is everything.
func (t *FireTower) Access() *Access { return t.access.Load() }

// SetAccess changes what the client may do from now on; nil is everything. Subscriptions that it has asked for and
// may not have any more are ended as if by order; those that the application made stay.
func (t *FireTower) SetAccess(a *Access) {
	t.access.Store(a) // who subscribes from now on sees it; who did before is found below
	t.subMu.Lock()
	over := slices.DeleteFunc(t.subs.all(), func(sub *subscription) bool { return sub.own || a.maySubscribe(sub.topic.name) })
	t.subMu.Unlock()
	for _, sub := range over {
		t.removeBySystem(sub)
	}
}

// expire ends a connection whose time is over, and reports whether it is.
func (t *FireTower) expire() bool {
	if !t.access.Load().expired() {
		return false
	}
	t.shut(protocol.CloseExpired, "expired", DisconnectExpired)
	return true
}

// serveAuthenticate takes a new token in the place of the one that the client connected with. One
// that is not good leaves things as they are.
func (t *FireTower) serveAuthenticate(req *protocol.Request) {
	refresh := t.gateway.opts.Refresh
	if refresh == nil {
		t.refuseRequest(&protocol.RequestError{Code: protocol.CodeForbidden, Reason: "no tokens are taken here"}, req.ID)
		return
	}
	access, err := refresh(t, req.Token)
	if err != nil {
		t.gateway.metrics.unauthorized.Add(1)
		t.gateway.log.Debug("authenticate failed", "conn", t.id, "err", err)
		t.refuseRequest(&protocol.RequestError{Code: protocol.CodeUnauthorized, Reason: notAuthenticated(err)}, req.ID)
		return
	}
	t.SetAccess(access)
	if t.proto == v1 && req.HasID {
		t.reply(protocol.AppendReply(nil, string(protocol.AuthenticateRequest), req.ID, nil))
	}
}
