package loadtest

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// wsSink publishes as a client does, with the frames of firetower.v0, which has no
// answer to a publish: what the kernel took is sent.
type wsSink struct {
	conn   *websocket.Conn
	buf    []byte
	errs   tally
	reader sync.WaitGroup
	// writeTimeout bounds a write to a server that has stopped reading.
	writeTimeout time.Duration
}

func dialWS(ctx context.Context, url, subprotocol string) (*wsSink, error) {
	d := websocket.Dialer{HandshakeTimeout: 10 * time.Second, Subprotocols: []string{subprotocol}}
	conn, resp, err := d.DialContext(ctx, url, http.Header{})
	if err != nil {
		return nil, fmt.Errorf("publisher: dial %s: %w", url, err)
	}
	_ = resp.Body.Close() // empty after an upgrade
	s := &wsSink{conn: conn, writeTimeout: 5 * time.Second}
	// Pings are answered, and the server's close is noticed, by reading.
	s.reader.Go(func() {
		for {
			if _, _, err := conn.NextReader(); err != nil {
				return
			}
		}
	})
	return s, nil
}

func (s *wsSink) send(_ context.Context, topic string, data []byte, _ pendingAck, _ int64) error {
	s.buf = append(s.buf[:0], `{"type":"publish","topic":`...)
	s.buf = strconv.AppendQuote(s.buf, topic) // topics of a run are plain ASCII
	s.buf = append(s.buf, `,"data":`...)
	s.buf = append(s.buf, data...)
	s.buf = append(s.buf, '}')
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.writeTimeout)); err != nil {
		return err
	}
	if err := s.conn.WriteMessage(websocket.TextMessage, s.buf); err != nil {
		s.errs.add(err.Error())
		return fmt.Errorf("%w: %w", errNotConnected, err)
	}
	return nil
}

func (s *wsSink) account() sinkAccount { return sinkAccount{errors: s.errs.all()} }

func (s *wsSink) close() error {
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	// The server may be gone already, which is no fault of the run's.
	_ = s.conn.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second))
	_ = s.conn.Close()
	s.reader.Wait()
	return nil
}
