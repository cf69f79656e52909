package gateway

import (
	"bufio"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"
)

// The state of a connection that the poller watches.
const (
	readIdle  = iota // nobody reads
	readBusy         // a goroutine reads
	readAgain        // a goroutine reads, and an event has come since it began
)

// readReady serves what has come from the client and ends when nothing more has,
// so that a connection at rest has no goroutine. The poller starts it, never
// twice at a time.
func (t *FireTower) readReady() {
	p := &t.gateway.readers
	for {
		r := t.attached()
		if r == nil {
			r = p.get(t)
		}
		err := t.serveReady(r)
		if !errors.Is(err, errWouldBlock) {
			t.finish(err)
			p.put(r, false)
			return
		}
		if r.br.Buffered() == 0 { // else it has a part of a frame
			p.put(r, true)
		}
		if atomic.CompareAndSwapInt32(&t.reading, readBusy, readIdle) {
			return
		}
		atomic.StoreInt32(&t.reading, readBusy)
	}
}

// serveReady serves messages until the next one is not there yet, which is
// errWouldBlock, or the connection ends. The WebSocket library reads messages,
// but it would wait for one behind each control frame; so pings and pongs between
// messages, which are most of what an idle client sends, are answered here.
func (t *FireTower) serveReady(r *reader) error {
	for {
		r.wire.try = true
		h, err := peekHeader(r.br)
		if err == nil && h.whole {
			_, err = r.br.Peek(h.size)
		}
		r.wire.try = false
		if err != nil {
			return err
		}
		if h.rsv1 && t.compressed && h.op != opText && h.op != opBinary {
			return errReservedBit
		}
		if h.pingPong {
			if err := t.servePingPong(r.br, h); err != nil {
				return err
			}
			continue
		}
		// A message that is not all there yet gets a while to come; the goroutine waits for it.
		r.waitUntil(time.Now().Add(t.gateway.opts.FrameTimeout))
		deflated := h.rsv1 && t.compressed
		if deflated {
			// The library gets the message as an ordinary one and leaves inflating to us.
			first, err := r.br.Peek(1)
			if err != nil {
				return err
			}
			first[0] &^= rsv1
		}
		kind, body, err := r.ws.NextReader()
		if err == nil {
			err = t.readMessage(kind, body, deflated)
		}
		if err != nil {
			return err
		}
	}
}

// frameHeader is what the first bytes of a frame tell.
type frameHeader struct {
	size     int  // of the whole frame, where it fits the buffer
	start    int  // where the payload begins
	whole    bool // the frame fits the buffer, so that it can be waited for there
	rsv1     bool // of a compressed message, in its first frame
	pingPong bool // a correct ping or pong
	op       byte
}

// peekHeader reads the header of the next frame (RFC 6455 section 5.2) and leaves it in
// the buffer. What is wrong with a frame is for the WebSocket library to find.
func peekHeader(br *bufio.Reader) (frameHeader, error) {
	b, err := br.Peek(2)
	if err != nil {
		return frameHeader{}, err
	}
	const fin, rsv, masked = 0x80, 0x70, 0x80
	h := frameHeader{rsv1: b[0]&rsv1 != 0, op: b[0] & 0xf, start: 2}
	first, second := b[0], b[1]
	if second&masked != 0 {
		h.start += 4
	}
	n := int(second & 0x7f)
	switch n {
	case 126:
		if b, err = br.Peek(4); err != nil {
			return frameHeader{}, err
		}
		n = int(binary.BigEndian.Uint16(b[2:]))
		h.start += 2
	case 127:
		return h, nil
	}
	h.size = h.start + n
	h.whole = h.size <= br.Size()
	h.pingPong = (h.op == opPing || h.op == opPong) && first&fin != 0 && first&rsv == 0 && second&masked != 0 && n < 126 && n == int(second&0x7f)
	return h, nil
}

// servePingPong takes a ping or pong out of the buffer and answers it.
func (t *FireTower) servePingPong(br *bufio.Reader, h frameHeader) error {
	b, err := br.Peek(h.size)
	if err != nil {
		return err
	}
	if h.op == opPong {
		t.touch()
	} else {
		mask := b[h.start-4 : h.start]
		data := append([]byte(nil), b[h.start:h.size]...)
		for i := range data {
			data[i] ^= mask[i&3]
		}
		if err := t.onPing(string(data)); err != nil {
			return err
		}
	}
	_, err = br.Discard(h.size)
	return err
}
