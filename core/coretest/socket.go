package coretest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"firetower/core/protocol"
)

// Socket is a client of the plainest kind: one connection, no reconnects, and a record of all that
// came over it. In contrast to package client it does nothing by itself.
type Socket struct {
	t       testing.TB
	conn    *websocket.Conn
	v1      bool
	lastID  int
	ended   chan struct{}
	replies chan Reply

	mu sync.Mutex // guards the following
	// messages are the data that were pushed, by topic; those of a v0 connection are under "".
	messages map[string][]string
	err      error
}

// Reply is a frame of v1 that is no push.
type Reply struct {
	Type   string             `json:"type"`
	ID     string             `json:"id"`
	OK     bool               `json:"ok"`
	Code   protocol.ErrorCode `json:"code"`
	Reason string             `json:"reason"`
	Topics []struct {
		Topic string             `json:"topic"`
		OK    bool               `json:"ok"`
		Code  protocol.ErrorCode `json:"code"`
	} `json:"topics"`
}

// Dial connects to a gateway with a subprotocol, which may be empty, and fails the test when it
// cannot. The socket is closed with the test.
func (c *Cluster) Dial(i int, subprotocol string) *Socket {
	c.t.Helper()
	s, err := DialSocket(c.t, c.URL(i), subprotocol, nil)
	if err != nil {
		c.t.Fatalf("coretest: dial gateway %d: %v", i, err)
	}
	c.t.Cleanup(s.Close)
	return s
}

// DialSocket connects to url. The caller closes the socket.
func DialSocket(t testing.TB, url, subprotocol string, header http.Header) (*Socket, error) {
	t.Helper()
	dialer := websocket.Dialer{HandshakeTimeout: Patience}
	if subprotocol != "" {
		dialer.Subprotocols = []string{subprotocol}
	}
	conn, resp, err := dialer.Dial(url, header)
	if err != nil {
		if resp != nil {
			resp.Body.Close()
			return nil, fmt.Errorf("HTTP status %d: %w", resp.StatusCode, err)
		}
		return nil, err
	}
	s := &Socket{
		t: t, conn: conn, v1: conn.Subprotocol() == protocol.SubprotocolV1,
		ended: make(chan struct{}), replies: make(chan Reply, 64),
		messages: make(map[string][]string),
	}
	go s.readLoop()
	return s, nil
}

func (s *Socket) readLoop() {
	defer close(s.ended)
	for {
		_, data, err := s.conn.ReadMessage()
		if err != nil {
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
			return
		}
		if !s.v1 {
			if string(data) != protocol.HeartbeatFrame {
				s.keep("", string(data))
			}
			continue
		}
		var push struct {
			Type, Topic string
			Data        json.RawMessage
		}
		if err := json.Unmarshal(data, &push); err != nil {
			s.t.Errorf("coretest: the gateway sent %q: %v", data, err)
			continue
		}
		if push.Type == string(protocol.PublishRequest) && push.Data != nil {
			s.keep(push.Topic, string(push.Data))
			continue
		}
		var reply Reply
		if err := json.Unmarshal(data, &reply); err != nil {
			s.t.Errorf("coretest: the gateway sent %q: %v", data, err)
			continue
		}
		select {
		case s.replies <- reply:
		default:
			s.t.Errorf("coretest: nobody takes replies such as %q", data)
		}
	}
}

func (s *Socket) keep(topic, data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages[topic] = append(s.messages[topic], data)
}

// Messages returns what was pushed for a topic, in order; over v0, whose pushes name no topic, what
// was pushed at all.
func (s *Socket) Messages(topic string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.v1 {
		topic = ""
	}
	return slices.Clone(s.messages[topic])
}

// Count returns how many messages were pushed for a topic, as Messages does.
func (s *Socket) Count(topic string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.v1 {
		topic = ""
	}
	return len(s.messages[topic])
}

// Send writes a text frame.
func (s *Socket) Send(frame string) error {
	return s.conn.WriteMessage(websocket.TextMessage, []byte(frame))
}

// Request sends a v1 request and returns its answer; it fails the test when none comes.
func (s *Socket) Request(kind protocol.RequestType, topics []string, data string) Reply {
	s.t.Helper()
	s.lastID++
	id := fmt.Sprint(s.lastID)
	frame := fmt.Sprintf(`{"type":%q,"topic":%q,"id":%q}`, kind, strings.Join(topics, ","), id)
	if data != "" {
		frame = fmt.Sprintf(`{"type":%q,"topic":%q,"id":%q,"data":%s}`, kind, strings.Join(topics, ","), id, data)
	}
	if err := s.Send(frame); err != nil {
		s.t.Fatalf("coretest: send %s: %v", frame, err)
	}
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	for {
		select {
		case reply := <-s.replies:
			if reply.ID == id {
				return reply
			}
		case <-s.ended:
			s.t.Fatalf("coretest: no answer to %s: %v", frame, s.Err())
		case <-timeout.C:
			s.t.Fatalf("coretest: no answer to %s within %v", frame, Patience)
		}
	}
}

// Subscribe subscribes over v1 and fails the test when the gateway does not confirm every topic.
func (s *Socket) Subscribe(topics ...string) {
	s.t.Helper()
	if reply := s.Request(protocol.SubscribeRequest, topics, ""); !reply.OK {
		s.t.Fatalf("coretest: subscribe %q: %+v", topics, reply)
	}
}

// Unsubscribe is the reverse of Subscribe.
func (s *Socket) Unsubscribe(topics ...string) {
	s.t.Helper()
	if reply := s.Request(protocol.UnsubscribeRequest, topics, ""); !reply.OK {
		s.t.Fatalf("coretest: unsubscribe %q: %+v", topics, reply)
	}
}

// Ended is closed when the connection has ended.
func (s *Socket) Ended() <-chan struct{} { return s.ended }

// Err is why the connection has ended; nil while it stands.
func (s *Socket) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the connection, without a closing handshake, and its reader.
func (s *Socket) Close() {
	s.conn.Close()
	<-s.ended
}
