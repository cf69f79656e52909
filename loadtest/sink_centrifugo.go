package loadtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"firetower/simulator/clock"
)

// centrifugoSink publishes over Centrifugo's JSON protocol, as a client that may do
// so. Every publish is answered, in order.
type centrifugoSink struct {
	conn   *websocket.Conn
	clock  *clock.Clock
	window int
	errs   tally
	reader sync.WaitGroup
	// room has an entry when an answer has come since the sender last looked; ended is
	// closed when none will come any more.
	room, ended chan struct{}

	writing sync.Mutex // guards the following: pongs are written between messages
	buf     []byte
	id      uint64

	mu      sync.Mutex   // guards the following
	pending []pendingAck // what waits for its answer, oldest first
	sum     sinkAccount
}

// centrifugoWriteTimeout bounds a write to a server that has stopped reading.
const centrifugoWriteTimeout = 5 * time.Second

// centrifugoHello is the first command; the token is what our server lets publish.
const centrifugoHello = `{"id":1,"connect":{"token":"backend","name":"firetower-loadtest"}}`

// centrifugoAnswer is a line of the server.
type centrifugoAnswer struct {
	ID    uint64 `json:"id"`
	Error *struct {
		Code    uint32 `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func dialCentrifugo(ctx context.Context, c *clock.Clock, url string, window int) (*centrifugoSink, error) {
	d := websocket.Dialer{HandshakeTimeout: firstOpening}
	conn, resp, err := d.DialContext(ctx, url, http.Header{})
	if err != nil {
		return nil, fmt.Errorf("publisher: dial %s: %w", url, err)
	}
	_ = resp.Body.Close() // empty after an upgrade
	s := &centrifugoSink{
		conn: conn, clock: c, window: window, id: 1, room: make(chan struct{}, 1), ended: make(chan struct{}),
		sum: newSinkAccount(),
	}
	if err := s.hello(); err != nil {
		_ = conn.Close() // what it says follows from the error
		return nil, fmt.Errorf("publisher: centrifuge at %s: %w", url, err)
	}
	s.reader.Go(s.read)
	return s, nil
}

// hello connects, in the protocol's sense.
func (s *centrifugoSink) hello() error {
	if err := s.conn.WriteMessage(websocket.TextMessage, []byte(centrifugoHello)); err != nil {
		return err
	}
	if err := s.conn.SetReadDeadline(time.Now().Add(firstOpening)); err != nil {
		return err
	}
	_, frame, err := s.conn.ReadMessage()
	if err != nil {
		return err
	}
	var a centrifugoAnswer
	if err := json.Unmarshal(frame, &a); err != nil {
		return err
	}
	if a.Error != nil || a.ID != 1 {
		return fmt.Errorf("connect answered with %s", frame)
	}
	return s.conn.SetReadDeadline(time.Time{})
}

// read takes the answers until the connection ends.
func (s *centrifugoSink) read() {
	defer close(s.ended)
	for {
		_, frame, err := s.conn.ReadMessage()
		if err != nil {
			break
		}
		now := s.clock.Now()
		for line := range bytes.Lines(frame) {
			s.answer(bytes.TrimSpace(line), now)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pending {
		s.sum.note(p, 0, false, true)
	}
	s.pending = nil
}

// answer accounts for one line.
func (s *centrifugoSink) answer(line []byte, now int64) {
	if string(line) == "{}" { // a ping, which the server wants answered
		if err := s.write(line); err != nil {
			s.errs.add(err.Error())
		}
		return
	}
	var a centrifugoAnswer
	if err := json.Unmarshal(line, &a); err != nil || a.ID == 0 {
		s.errs.add("answer to nothing")
		return
	}
	if a.Error != nil {
		s.errs.add(fmt.Sprintf("%d %s", a.Error.Code, a.Error.Message))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == 0 {
		s.errs.add("answer without a message")
		return
	}
	p := s.pending[0]
	s.pending = s.pending[1:]
	s.sum.note(p, now, a.Error != nil, false)
	select {
	case s.room <- struct{}{}:
	default:
	}
}

func (s *centrifugoSink) write(frame []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.writeLocked(frame)
}

func (s *centrifugoSink) writeLocked(frame []byte) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(centrifugoWriteTimeout)); err != nil {
		return err
	}
	return s.conn.WriteMessage(websocket.TextMessage, frame)
}

// admit makes room for a message in the window.
func (s *centrifugoSink) admit(p pendingAck) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) >= s.window {
		return false
	}
	s.pending = append(s.pending, p)
	return true
}

func (s *centrifugoSink) send(ctx context.Context, topic string, data []byte, p pendingAck, deadline int64) error {
	for {
		select {
		case <-s.ended:
			return errNotConnected
		default:
		}
		if s.admit(p) {
			break
		}
		timer := time.NewTimer(time.Duration(deadline - s.clock.Now()))
		select {
		case <-s.room:
		case <-s.ended:
		case <-timer.C:
			return errWindowFull
		case <-ctx.Done():
			timer.Stop()
			return errWindowFull
		}
		timer.Stop()
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	s.id++
	s.buf = append(s.buf[:0], `{"id":`...)
	s.buf = strconv.AppendUint(s.buf, s.id, 10)
	s.buf = append(s.buf, `,"publish":{"channel":`...)
	s.buf = strconv.AppendQuote(s.buf, topic) // topics of a run are plain ASCII
	s.buf = append(s.buf, `,"data":`...)
	s.buf = append(s.buf, data...)
	s.buf = append(s.buf, "}}"...)
	// An error says that the connection has broken. Whether the message went out nobody
	// knows; it counts as sent, and the connection's end as never acknowledged.
	if err := s.writeLocked(s.buf); err != nil {
		s.errs.add(err.Error())
	}
	return nil
}

func (s *centrifugoSink) account() sinkAccount {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.sum
	sum.errors = s.errs.all()
	return sum
}

func (s *centrifugoSink) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending)
}

func (s *centrifugoSink) close() error {
	timer := time.NewTimer(lastAnswers)
	defer timer.Stop()
	for waiting := true; waiting && s.waiting() > 0; {
		select {
		case <-s.room:
		case <-s.ended:
			waiting = false
		case <-timer.C:
			waiting = false
		}
	}
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	// The server may be gone already, which is no fault of the run's.
	_ = s.conn.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second))
	_ = s.conn.Close()
	s.reader.Wait()
	return nil
}
