package client_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"firetower/core/client"
	"firetower/core/protocol"
)

// deadline bounds every wait of these tests; nothing is asserted about how long something takes.
const deadline = 20 * time.Second

// stub is a gateway without anything behind it: it answers v1 requests from memory.
type stub struct {
	t      *testing.T
	server *httptest.Server

	mu sync.Mutex // guards the following
	// status, when set, answers handshakes instead of the upgrade.
	status     int
	retryAfter string
	// subprotocol is what the stub speaks.
	subprotocol string
	// refuse are the codes to refuse subscriptions with, by topic.
	refuse map[string]protocol.ErrorCode
	// refuseWhole are topics that get the whole request refused.
	refuseWhole map[string]bool
	// order are topics that an order of the gateway's operator ends before the answer to their
	// subscription is out.
	order map[string]bool
	// cross keeps the answer to an unSubscribe back until the next request, and has an order for the
	// same topics come before it.
	cross bool
	// silent makes the stub read frames and answer nothing, not even pings.
	silent bool
	// offers are the extensions that clients asked for.
	offers []string
	// tokens are those that handshakes and authenticates brought, in order; badTokens get refused.
	tokens    []string
	badTokens map[string]bool
	// noTokens makes the stub one that takes none.
	noTokens bool
	// conns are the open connections; opened counts all there ever were.
	conns  []*stubConn
	opened int
	// requests are all that came, in order.
	requests []protocol.Request
	// double are topics that were subscribed to twice on one connection.
	double []string
}

type stubConn struct {
	ws      *websocket.Conn
	writing sync.Mutex
	topics  map[string]bool // guarded by stub.mu
	held    [][]byte        // guarded by stub.mu
}

func newStub(t *testing.T) *stub {
	t.Helper()
	s := &stub{t: t, subprotocol: protocol.SubprotocolV1, refuse: make(map[string]protocol.ErrorCode)}
	s.server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.drop()
		s.server.Close()
	})
	return s
}

func (s *stub) url() string { return "ws" + strings.TrimPrefix(s.server.URL, "http") + "/ws" }

func (s *stub) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	status, retryAfter, silent := s.status, s.retryAfter, s.silent
	upgrader := websocket.Upgrader{Subprotocols: []string{s.subprotocol}, EnableCompression: true}
	s.offers = append(s.offers, r.Header.Get("Sec-WebSocket-Extensions"))
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		s.tokens = append(s.tokens, token)
	}
	s.mu.Unlock()
	if status != 0 {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		http.Error(w, "stub", status)
		return
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	c := &stubConn{ws: ws, topics: make(map[string]bool)}
	if silent {
		ws.SetPingHandler(func(string) error { return nil })
	}
	s.mu.Lock()
	s.conns = append(s.conns, c)
	s.opened++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.conns = slices.DeleteFunc(s.conns, func(o *stubConn) bool { return o == c })
		s.mu.Unlock()
	}()
	for {
		_, data, err := ws.ReadMessage()
		if err != nil {
			return
		}
		req, err := protocol.ParseRequest(data, protocol.DefaultRequestLimits())
		if err != nil {
			s.t.Errorf("the client sent %q: %v", data, err)
			return
		}
		s.answer(c, req)
	}
}

func (s *stub) answer(c *stubConn, req protocol.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, req)
	if s.silent {
		s.mu.Unlock()
		return
	}
	if req.Type == protocol.AuthenticateRequest {
		s.tokens = append(s.tokens, req.Token)
		bad, none := s.badTokens[req.Token], s.noTokens
		s.mu.Unlock()
		if none {
			c.send(protocol.AppendError(nil, protocol.CodeForbidden, "stub", req.ID))
		} else if bad {
			c.send(protocol.AppendError(nil, protocol.CodeUnauthorized, "stub", req.ID))
		} else {
			c.send(protocol.AppendReply(nil, string(req.Type), req.ID, nil))
		}
		return
	}
	if slices.ContainsFunc(req.Topics, func(topic string) bool { return s.refuseWhole[topic] }) {
		s.mu.Unlock()
		c.send(protocol.AppendError(nil, protocol.CodeBadTopic, "stub", req.ID))
		return
	}
	results := make([]protocol.TopicResult, 0, len(req.Topics))
	first := c.held
	c.held = nil
	var pushes [][]byte
	for _, topic := range req.Topics {
		result := protocol.TopicResult{Topic: topic}
		switch req.Type {
		case protocol.SubscribeRequest:
			if result.Code = s.refuse[topic]; result.Code == "" {
				if c.topics[topic] {
					s.double = append(s.double, topic)
				}
				c.topics[topic] = !s.order[topic]
			}
			if s.order[topic] {
				first = append(first, orderFrame(topic))
			}
		case protocol.UnsubscribeRequest:
			if !c.topics[topic] {
				result.Code = protocol.CodeNotSubscribed
			}
			delete(c.topics, topic)
		case protocol.PublishRequest:
			if result.Code = s.refuse[topic]; result.Code == "" && c.topics[topic] {
				pushes = append(pushes, protocol.AppendPushV1(nil, topic, req.Data))
			}
		case protocol.HeartbeatRequest, protocol.AuthenticateRequest:
		}
		results = append(results, result)
	}
	answer := protocol.AppendReply(nil, string(req.Type), req.ID, results)
	if s.cross && req.Type == protocol.UnsubscribeRequest {
		c.held = append(c.held, orderFrame(req.Topics...), answer)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	for _, frame := range first {
		c.send(frame)
	}
	c.send(answer)
	for _, push := range pushes {
		c.send(push)
	}
}

// orderFrame tells that subscriptions have ended by order.
func orderFrame(topics ...string) []byte {
	results := make([]protocol.TopicResult, len(topics))
	for i, topic := range topics {
		results[i].Topic = topic
	}
	return protocol.AppendReply(nil, string(protocol.UnsubscribeRequest), "", results)
}

// kick ends every subscription to topic by order.
func (s *stub) kick(topic string) {
	for _, c := range s.all() {
		s.mu.Lock()
		subscribed := c.topics[topic]
		delete(c.topics, topic)
		s.mu.Unlock()
		if subscribed {
			c.send(orderFrame(topic))
		}
	}
}

func (c *stubConn) send(frame []byte) {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.ws.WriteMessage(websocket.TextMessage, frame)
}

func (s *stub) set(change func(*stub)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *stub) all() []*stubConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.conns)
}

// push sends a message to the connections that subscribe to topic.
func (s *stub) push(topic, data string) {
	for _, c := range s.all() {
		s.mu.Lock()
		subscribed := c.topics[topic]
		s.mu.Unlock()
		if subscribed {
			c.send(protocol.AppendPushV1(nil, topic, []byte(data)))
		}
	}
}

// drop breaks every connection without a closing handshake.
func (s *stub) drop() {
	for _, c := range s.all() {
		c.ws.NetConn().Close()
	}
}

// closeWith sends a close frame on every connection.
func (s *stub) closeWith(code int, reason string) {
	message := websocket.FormatCloseMessage(code, reason)
	for _, c := range s.all() {
		_ = c.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(time.Second))
	}
}

// topics are what all open connections subscribe to, sorted.
func (s *stub) topics() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var topics []string
	for _, c := range s.conns {
		for topic := range c.topics {
			topics = append(topics, topic)
		}
	}
	slices.Sort(topics)
	return topics
}

func (s *stub) count() (open, opened int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns), s.opened
}

// connected waits until the stub knows of a connection: a client may know it a moment earlier.
func (s *stub) connected() {
	s.t.Helper()
	wait(s.t, "a connection", func() bool { open, _ := s.count(); return open > 0 })
}

// log collects messages and events in the order in which handlers are called.
type log struct {
	mu      sync.Mutex // guards the following
	entries []string
	events  []client.Event
}

func (l *log) message(m client.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, m.Topic+"="+string(m.Data))
}

func (l *log) event(e client.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, "<"+string(e.Kind)+">")
	l.events = append(l.events, e)
}

func (l *log) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

func (l *log) has(entry string) bool { return slices.Contains(l.all(), entry) }

// find returns the first event of a kind.
func (l *log) find(kind client.EventKind) (client.Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Kind == kind {
			return e, true
		}
	}
	return client.Event{}, false
}

func wait(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !condition(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", deadline, what)
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // the interval of a poll
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// options are quick ones for a stub on this machine.
func options(s *stub, l *log) client.Options {
	o := client.DefaultOptions()
	o.URL = s.url()
	o.BackoffMin, o.BackoffMax = time.Millisecond, 20*time.Millisecond
	o.DrainTimeout = deadline
	if l != nil {
		o.OnEvent = l.event
	}
	return o
}

func dial(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	c, err := client.Dial(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// deafServer returns the address of a listener whose connections are accepted and never answered.
func deafServer(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-ended
		for _, conn := range conns {
			conn.Close()
		}
	})
	return ln.Addr().String()
}
