package gateway

import (
	"context"
	"errors"
	"slices"

	"firetower/core/protocol"
)

// serve answers one text message of the client. frame is valid during the call only.
func (t *FireTower) serve(frame []byte) {
	g := t.gateway
	req, err := protocol.ParseRequest(frame, g.requestLimits)
	if err != nil {
		var bad *protocol.RequestError
		if !errors.As(err, &bad) {
			bad = &protocol.RequestError{Code: protocol.CodeInternal, Reason: err.Error()}
		}
		g.metrics.badRequests.Add(1)
		t.refuseRequest(bad, req.ID)
		return
	}
	if req.Type == protocol.AuthenticateRequest { // also once the token before has expired: it may be just in time
		t.serveAuthenticate(&req)
		return
	}
	if t.expire() {
		return
	}
	switch req.Type {
	case protocol.SubscribeRequest:
		t.serveSubscribe(&req)
	case protocol.UnsubscribeRequest:
		t.serveUnsubscribe(&req)
	case protocol.PublishRequest:
		t.servePublish(&req)
	case protocol.HeartbeatRequest:
	default:
		t.refuseRequest(&protocol.RequestError{Code: protocol.CodeUnknownType, Reason: "unknown type"}, req.ID)
	}
}

func (t *FireTower) refuse(e *protocol.RequestError) { t.refuseRequest(e, "") }

// refuseRequest tells a client what is wrong with a request, and closes where
// the client does not speak the protocol at all. v0 has no frame to say it in.
func (t *FireTower) refuseRequest(e *protocol.RequestError, id string) {
	if t.proto == v1 {
		t.reply(protocol.AppendError(nil, e.Code, e.Reason, id))
	}
	if e.Close {
		t.shut(protocol.CloseProtocol, e.Reason, DisconnectProtocol)
	}
}

// reply sends one text message of v1; a connection that is gone needs none.
func (t *FireTower) reply(payload []byte) {
	_ = t.send(appendFrame(make([]byte, 0, maxFrameHeader+len(payload)), opText, payload))
}

func (t *FireTower) life(req *protocol.Request) FireLife {
	return FireLife{ID: req.ID, ClientID: t.ClientID(), UserID: t.userID}
}

// serveSubscribe subscribes to the topics of a request and answers when the
// manager knows them: what is published after the answer is delivered. The answer
// names each topic; one that fails leaves the others subscribed.
func (t *FireTower) serveSubscribe(req *protocol.Request) {
	allowed := t.access.Load().subscribable(req.Topics)
	if h := t.on().beforeSubscribe; h != nil && len(allowed) > 0 && !h(t.life(req), allowed) {
		t.gateway.metrics.forbiddenSubscribe.Add(1)
		t.refuseRequest(&protocol.RequestError{Code: protocol.CodeForbidden, Reason: "subscribing was refused"}, req.ID)
		return
	}
	results := t.subscribe(req.Topics, allowed, false)
	if h := t.on().subscribe; h != nil {
		if done := succeeded(results); len(done) > 0 {
			h(t.life(req), done)
		}
	}
	if t.proto == v1 && req.HasID {
		t.reply(protocol.AppendReply(nil, string(protocol.SubscribeRequest), req.ID, results))
	} else if t.proto == v1 {
		t.replyFailures(results)
	}
}

// subscribe adds subscriptions and waits until the manager knows their topics. Of those that the client asks for
// it takes the allowed ones, as far as they are so still; those of the application's own are.
func (t *FireTower) subscribe(topics, allowed []string, own bool) []protocol.TopicResult {
	results := make([]protocol.TopicResult, len(topics))
	added := make([]*subscription, len(topics))
	existing := make([]*subscription, len(topics))
	g := t.gateway
	t.subMu.Lock()
	access := t.access.Load() // under the lock: see SetAccess
	all := len(allowed) == len(topics)
	for i, name := range topics {
		results[i] = protocol.TopicResult{Topic: name}
		may := own || access.maySubscribe(name) && (all || slices.Contains(allowed, name))
		switch {
		case !may:
			results[i] = failure(name, protocol.CodeForbidden)
			g.metrics.forbiddenSubscribe.Add(1)
		case t.left:
			results[i] = failure(name, protocol.CodeUnavailable)
		case t.subs.get(name) != nil: // repeated; it may still wait for the manager
			existing[i] = t.subs.get(name)
			existing[i].own = existing[i].own || own
		case t.subs.len() >= g.opts.Limits.MaxTopicsPerConn:
			results[i] = failure(name, protocol.CodeTooManyTopics)
		default:
			sub, first := g.towers.index.add(t, name)
			sub.own = own
			t.subs.add(sub)
			added[i] = sub
			g.registrar.changed(sub.topic, first)
		}
	}
	t.subMu.Unlock()

	ctx, cancel := context.WithTimeout(g.serveCtx, g.opts.SubscribeTimeout)
	defer cancel()
	for i, name := range topics {
		sub := added[i]
		if sub == nil {
			sub = existing[i]
		}
		if sub == nil {
			continue
		}
		err := g.registrar.waitKnown(ctx, sub.topic)
		stands := t.subscriptionOf(name) == sub
		switch {
		case !stands && (err == nil || added[i] != nil): // an order has ended it meanwhile
			results[i] = failure(name, protocol.CodeNotSubscribed)
		case err != nil:
			g.log.Debug("subscribe failed", "conn", t.id, "topic", name, "err", err)
			if added[i] != nil {
				t.leave(sub)
			}
			results[i] = failure(name, protocol.CodeUnavailable)
		}
	}
	return results
}

func failure(topic string, code protocol.ErrorCode) protocol.TopicResult {
	return protocol.TopicResult{Topic: topic, Code: code}
}

func succeeded(results []protocol.TopicResult) []string {
	var topics []string
	for _, r := range results {
		if r.Code == "" {
			topics = append(topics, r.Topic)
		}
	}
	return topics
}

// replyFailures tells a client that asked for no answer what it did not get.
func (t *FireTower) replyFailures(results []protocol.TopicResult) {
	for _, r := range results {
		if r.Code != "" {
			t.reply(protocol.AppendError(nil, r.Code, "topic "+r.Topic, ""))
		}
	}
}

// leave ends one subscription; it tells whether it stood.
func (t *FireTower) leave(sub *subscription) bool {
	t.subMu.Lock()
	defer t.subMu.Unlock()
	if t.subs.get(sub.topic.name) != sub {
		return false
	}
	t.subs.remove(sub)
	t.leaveLocked(sub)
	return true
}

func (t *FireTower) leaveLocked(sub *subscription) {
	last := t.gateway.towers.index.remove(sub)
	t.gateway.registrar.changed(sub.topic, last)
}

// leaveAll ends every subscription for good.
func (t *FireTower) leaveAll() {
	t.subMu.Lock()
	defer t.subMu.Unlock()
	t.left = true
	for _, sub := range t.subs.all() {
		t.leaveLocked(sub)
	}
	t.subs = subscriptionSet{}
}

func (t *FireTower) serveUnsubscribe(req *protocol.Request) {
	results := make([]protocol.TopicResult, len(req.Topics))
	for i, name := range req.Topics {
		results[i] = failure(name, protocol.CodeNotSubscribed)
		if t.UnSubscribe(name) {
			results[i] = protocol.TopicResult{Topic: name}
		}
	}
	if h := t.on().unSubscribe; h != nil {
		if done := succeeded(results); len(done) > 0 {
			h(t.life(req), done)
		}
	}
	if t.proto == v1 && req.HasID {
		t.reply(protocol.AppendReply(nil, string(protocol.UnsubscribeRequest), req.ID, results))
	} else if t.proto == v1 {
		t.replyFailures(results)
	}
}

// servePublish sends a client's message on its way and answers when the gateway
// has handed it on.
func (t *FireTower) servePublish(req *protocol.Request) {
	if !t.gateway.opts.ClientPublish {
		t.gateway.metrics.forbiddenPublish.Add(1)
		t.refuseRequest(&protocol.RequestError{Code: protocol.CodeForbidden, Reason: "clients may not publish"}, req.ID)
		return
	}
	access := t.access.Load()
	if h := t.on().read; h != nil {
		for _, name := range req.Topics {
			if access.mayPublish(name) && !h(&FireInfo{Context: t.life(req), Topic: name, Data: req.Data}) {
				t.gateway.metrics.forbiddenPublish.Add(1)
				t.refuseRequest(&protocol.RequestError{Code: protocol.CodeForbidden, Reason: "publishing was refused"}, req.ID)
				return
			}
		}
	}
	results := make([]protocol.TopicResult, len(req.Topics))
	data := slices.Clone(req.Data)
	for i, name := range req.Topics {
		results[i] = protocol.TopicResult{Topic: name}
		if !access.mayPublish(name) {
			t.gateway.metrics.forbiddenPublish.Add(1)
			results[i] = failure(name, protocol.CodeForbidden)
		} else if err := t.gateway.publish(name, data, protocol.SourceUser); err != nil {
			results[i] = failure(name, protocol.CodeUnavailable)
		}
	}
	if t.proto == v1 && req.HasID {
		t.reply(protocol.AppendReply(nil, string(protocol.PublishRequest), req.ID, results))
	} else if t.proto == v1 {
		t.replyFailures(results)
	}
}

// Publish sends data to every subscriber of a topic, on every gateway, as if
// this client had. It returns when the gateway has handed the message on.
func (t *FireTower) Publish(topic string, data []byte) error {
	return t.gateway.publishChecked(topic, data, protocol.SourceUser)
}

// Subscribe subscribes the client to topics, as if it had asked to, and returns when the
// manager knows them. On an error those that failed are not subscribed to.
func (t *FireTower) Subscribe(topics ...string) error {
	var errs []error
	for _, name := range topics {
		if err := protocol.ValidTopic(name, t.gateway.opts.Limits.MaxTopicBytes); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, r := range t.subscribe(topics, topics, true) {
		if r.Code != "" {
			errs = append(errs, &SubscribeError{Topic: r.Topic, Code: r.Code})
		}
	}
	return errors.Join(errs...)
}

// SubscribeError says why a topic could not be subscribed to.
type SubscribeError struct {
	Topic string
	Code  protocol.ErrorCode
}

// Error implements error.
func (e *SubscribeError) Error() string {
	return "gateway: subscribe " + e.Topic + ": " + string(e.Code)
}

// UnSubscribe ends the client's subscription of a topic and tells whether there was one.
func (t *FireTower) UnSubscribe(topic string) bool {
	sub := t.subscriptionOf(topic)
	return sub != nil && t.leave(sub)
}

// subscriptionOf returns the connection's subscription of a topic, or nil.
func (t *FireTower) subscriptionOf(topic string) *subscription {
	t.subMu.Lock()
	defer t.subMu.Unlock()
	return t.subs.get(topic)
}

// Topics lists what the connection subscribes to, in no order.
func (t *FireTower) Topics() []string {
	t.subMu.Lock()
	defer t.subMu.Unlock()
	subs := t.subs.all()
	topics := make([]string, len(subs))
	for i, sub := range subs {
		topics[i] = sub.topic.name
	}
	return topics
}

// removeBySystem ends a subscription by order, and tells client and application.
func (t *FireTower) removeBySystem(sub *subscription) {
	if !t.leave(sub) {
		return
	}
	if t.proto == v1 {
		t.reply(protocol.AppendReply(nil, string(protocol.UnsubscribeRequest), "",
			[]protocol.TopicResult{{Topic: sub.topic.name}}))
	}
	if h := t.on().systemRemove; h != nil {
		h(sub.topic.name)
	}
}
