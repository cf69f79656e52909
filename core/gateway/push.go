package gateway

import (
	"encoding/binary"
	"sync"
	"unicode/utf8"

	"firetower/core/protocol"
)

// subprotocol is which of the two client protocols a connection speaks. It
// indexes arrays.
type subprotocol uint8

const (
	v0 subprotocol = iota
	v1
	subprotocols
)

func (p subprotocol) String() string {
	if p == v1 {
		return protocol.SubprotocolV1
	}
	return protocol.SubprotocolV0
}

// variant is which form of a message a connection takes: one for each subprotocol,
// plain or compressed. It indexes arrays, the plain ones first.
type variant uint8

const variants = 2 * variant(subprotocols)

func variantOf(p subprotocol, compressed bool) variant {
	if compressed {
		return variant(p + subprotocols)
	}
	return variant(p)
}

func (v variant) compressed() bool { return v >= variant(subprotocols) }

// plain is the same without compression.
func (v variant) plain() variant { return v % variant(subprotocols) }

// WebSocket opcodes (RFC 6455 section 5.2).
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// push is one message on its way to many connections. It is immutable: a frame
// is built by the first consumer that needs it and shared by all receivers.
type push struct {
	data   []byte
	topic  string
	frames [variants]lazyFrame
	// arrived is when it came to the gateway, queued when it was handed to the
	// Buckets: the gateway's clock.
	arrived, queued int64
}

type lazyFrame struct {
	once  sync.Once
	bytes []byte
}

// frame returns the complete WebSocket frame of the push for a variant; z is needed
// for those that are compressed. The caller must not change it.
func (p *push) frame(v variant, z *compressor) []byte {
	f := &p.frames[v]
	f.once.Do(func() {
		if v.compressed() {
			f.bytes = z.compress(p.frame(v.plain(), nil))
			return
		}
		if subprotocol(v) == v1 {
			f.bytes = sealFrame(opText, protocol.AppendPushV1(make([]byte, maxFrameHeader, maxFrameHeader+len(p.data)+len(p.topic)+48), p.topic, p.data))
			return
		}
		// A text frame must be UTF-8 (RFC 6455 section 5.6); other data keeps its
		// bytes in a binary one.
		op := byte(opBinary)
		if utf8.Valid(p.data) {
			op = opText
		}
		f.bytes = appendFrame(make([]byte, 0, maxFrameHeader+len(p.data)), op, p.data)
	})
	return f.bytes
}

// maxFrameHeader is the longest header of an unmasked frame (RFC 6455 section 5.2).
const maxFrameHeader = 10

// appendFrame appends an unmasked, final frame.
func appendFrame(dst []byte, op byte, payload []byte) []byte {
	dst = appendFrameHeader(dst, op, len(payload))
	return append(dst, payload...)
}

func appendFrameHeader(dst []byte, op byte, n int) []byte {
	const fin = 0x80
	switch {
	case n < 126:
		return append(dst, fin|op, byte(n))
	case n <= 0xffff:
		dst = append(dst, fin|op, 126)
		return binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, fin|op, 127)
		return binary.BigEndian.AppendUint64(dst, uint64(n))
	}
}

// frameHeaderSize is the size of the header of an unmasked frame.
func frameHeaderSize(frame []byte) int {
	switch frame[1] {
	case 126:
		return 4
	case 127:
		return 10
	default:
		return 2
	}
}

// sealFrame turns maxFrameHeader free bytes and a payload behind them into a
// frame in place, and returns the part of b that is the frame.
func sealFrame(op byte, b []byte) []byte {
	var header [maxFrameHeader]byte
	h := appendFrameHeader(header[:0], op, len(b)-maxFrameHeader)
	start := maxFrameHeader - len(h)
	copy(b[start:], h)
	return b[start:]
}

// closeFrame builds a close frame (RFC 6455 section 5.5.1). The reason is cut to what a
// control frame may carry.
func closeFrame(code int, reason string) []byte {
	const maxReason = 123
	for len(reason) > maxReason {
		_, size := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-size]
	}
	payload := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(reason)), uint16(code))
	payload = append(payload, reason...)
	return appendFrame(make([]byte, 0, 2+len(payload)), opClose, payload)
}
