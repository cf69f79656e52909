package gateway

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"firetower/core/protocol"
)

// readBuffers lends the memory for one message, so that a connection at rest
// holds none.
type readBuffers struct{ pool sync.Pool }

type readBuffer struct{ bytes []byte }

// keepReadBuffer is the largest buffer that goes back to the pool.
const keepReadBuffer = 64 << 10

func (p *readBuffers) get() *readBuffer {
	if b, ok := p.pool.Get().(*readBuffer); ok {
		return b
	}
	return &readBuffer{bytes: make([]byte, 0, 2048)}
}

func (p *readBuffers) put(b *readBuffer) {
	if cap(b.bytes) <= keepReadBuffer {
		b.bytes = b.bytes[:0]
		p.pool.Put(b)
	}
}

// appendFrom appends all of r, which comes from t, or from no connection. It fails with
// websocket.ErrReadLimit when the buffer would then hold more than limit bytes; it never
// grows far above that.
func (b *readBuffer) appendFrom(t *FireTower, r io.Reader, limit int) error {
	for {
		if len(b.bytes) == cap(b.bytes) {
			b.bytes = append(b.bytes, 0)[:len(b.bytes)]
		}
		n, err := r.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		if t != nil && n > 0 {
			t.touch() // a long message has no room for the answer to a ping
		}
		if len(b.bytes) > limit {
			return websocket.ErrReadLimit
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readLoop reads a stream: the client's messages and serves them one after the other, so
// that a client's requests keep their order. It returns when the connection ends.
func (t *FireTower) readLoop() error {
	for {
		kind, r, err := t.stream.ws.NextReader()
		if err != nil {
			return err
		}
		if err := t.stream.conn.SetReadDeadline(time.Now().Add(t.gateway.opts.FrameTimeout)); err != nil {
			return err
		}
		if err := t.readMessage(kind, r, false); err != nil {
			return err
		}
		if err := t.stream.conn.SetReadDeadline(time.Time{}); err != nil {
			return err
		}
	}
}

// readMessage reads one message and serves it. deflated: what r gives is compressed.
func (t *FireTower) readMessage(kind int, r io.Reader, deflated bool) error {
	g := t.gateway
	buf := g.readBuffers.get()
	defer func() { g.readBuffers.put(buf) }()
	// The library's limit holds for what comes over the wire, ours for what it is.
	if err := buf.appendFrom(t, r, g.opts.Limits.MaxFrameBytes); err != nil {
		if t.compressed && errors.Is(err, io.ErrUnexpectedEOF) { // the library's inflater; the connection's end is another error
			err = errDeflate
		}
		return err
	}
	if deflated {
		plain := g.readBuffers.get()
		err := g.inflaters.inflate(plain, buf, g.opts.Limits.MaxFrameBytes)
		g.readBuffers.put(buf)
		buf = plain
		if err != nil {
			return err
		}
	}
	t.touch() // an empty message too
	if !t.open() {
		return nil // it reads on only for the client's close frame
	}
	if kind != websocket.TextMessage {
		t.refuse(&protocol.RequestError{Code: protocol.CodeBadRequest, Reason: "requests are text messages", Close: true})
		return nil
	}
	t.serve(buf.bytes)
	return nil
}

func (t *FireTower) open() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state == stateOpen
}

func (t *FireTower) onPing(data string) error {
	t.touch()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state != stateOpen {
		return nil
	}
	pong := appendFrame(nil, opPong, []byte(data))
	if t.backlog != nil {
		// One pong for the latest of several pings is enough (RFC 6455 section
		// 5.5.3), so that a client which reads slowly gets no queue of them.
		t.backlog.pong = pong
		return nil
	}
	return t.sendLocked(pong)
}

func (t *FireTower) onClose(code int, _ string) error {
	if code == websocket.CloseNoStatusReceived || code == websocket.CloseAbnormalClosure {
		code = websocket.CloseNormalClosure
	}
	t.shut(code, "", DisconnectClient)
	return nil
}

// disconnectReasonOf tells from the reader's error who ended the connection.
func disconnectReasonOf(err error) DisconnectReason {
	var closed *websocket.CloseError
	var netErr net.Error
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded): // FrameTimeout
		return DisconnectProtocol
	case err == nil, errors.As(err, &closed), errors.As(err, &netErr),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return DisconnectClient
	case errors.Is(err, websocket.ErrReadLimit):
		return DisconnectTooBig
	default:
		return DisconnectProtocol
	}
}
