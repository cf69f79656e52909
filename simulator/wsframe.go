package simulator

import (
	"crypto/rand"
	"encoding/binary"
	mathrand "math/rand/v2"
	"unicode/utf8"
)

// The part of RFC 6455 that a client needs that offers no extension but compression, written for a loop that has many connections'
// bytes in one buffer: a frame is looked at where it lies. It is strict: what §5 forbids ends the connection.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-------+-+-------------+-------------------------------+
//	|F|R|R|R| opcode|M| Payload len |    Extended payload length    |
//	|I|S|S|S|  (4)  |A|     (7)     |             (16/64)           |
//	|N|V|V|V|       |S|             |   (if payload len==126/127)   |
//	| |1|2|3|       |K|             |                               |
//	+-+-+-+-+-------+-+-------------+-------------------------------+

type opcode byte

const (
	opContinuation opcode = 0x0
	opText         opcode = 0x1
	opBinary       opcode = 0x2
	opClose        opcode = 0x8
	opPing         opcode = 0x9
	opPong         opcode = 0xA
)

// Close codes of RFC 6455 §7.4.1.
const (
	closeNormal    = 1000
	closeProtocol  = 1002
	closeBadData   = 1007
	closeNoStatus  = 1005 // never on the wire: a close frame without a code
	closeAbnormal  = 1006 // never on the wire: no close frame
	closeTooBig    = 1009
	maxControlSize = 125
)

// wsFrame is one frame of the server. The payload lies in the buffer that it was parsed from.
type wsFrame struct {
	fin      bool
	deflated bool // a message in compressed form begins
	op       opcode
	payload  []byte
}

// protocolError ends a connection: it is the close code that the server is told.
type protocolError int

// headerSize is the size of the header that b begins, or 0 when b is too short to tell.
func headerSize(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] & 0x7f {
	case 126:
		return 4
	case 127:
		return 10
	default:
		return 2
	}
}

// parseFrame takes the frame that b begins with. n is its size, or 0 when b does not hold the whole of it; fail is not
// 0 when it is no frame that a server may send. need is the size of the whole frame once the header is there, else that
// of the header or 2: what b must at least have before it is worth calling again. deflate: compression was negotiated.
func parseFrame(b []byte, maxPayload int, deflate bool) (f wsFrame, n, need int, fail protocolError) {
	header := headerSize(b)
	if header == 0 {
		return f, 0, 2, 0
	}
	f.fin = b[0]&0x80 != 0
	f.op = opcode(b[0] & 0x0f)
	const rsv1, reserved = 0x40, 0x70
	f.deflated = b[0]&rsv1 != 0
	control := f.op&0x8 != 0
	length := uint64(b[1] & 0x7f)
	switch {
	case b[0]&reserved&^rsv1 != 0: // §5.2: RSV2-3 without an extension
		return f, 0, 0, closeProtocol
	case f.deflated && (!deflate || f.op != opText && f.op != opBinary): // RFC 7692 §6: first frames of messages alone
		return f, 0, 0, closeProtocol
	case f.op > opPong, f.op > opBinary && f.op < opClose: // §5.2: reserved opcodes
		return f, 0, 0, closeProtocol
	case b[1]&0x80 != 0: // §5.1: a client must not accept a masked frame
		return f, 0, 0, closeProtocol
	case control && (!f.fin || length > maxControlSize): // §5.5
		return f, 0, 0, closeProtocol
	}
	if len(b) < header {
		return f, 0, header, 0
	}
	switch header {
	case 4:
		length = uint64(binary.BigEndian.Uint16(b[2:]))
		if length < 126 { // §5.2: the minimal number of bytes must be used
			return f, 0, 0, closeProtocol
		}
	case 10:
		length = binary.BigEndian.Uint64(b[2:])
		if length < 1<<16 || length >= 1<<63 {
			return f, 0, 0, closeProtocol
		}
	}
	if length > uint64(maxPayload) {
		return f, 0, 0, closeTooBig
	}
	size := header + int(length)
	if len(b) < size {
		return f, 0, size, 0
	}
	f.payload = b[header:size:size]
	return f, size, size, 0
}

// parseClose reads the payload of a close frame (§5.5.1, §7.4).
func parseClose(payload []byte) (code int, fail protocolError) {
	switch {
	case len(payload) == 0:
		return closeNoStatus, 0
	case len(payload) == 1:
		return 0, closeProtocol
	}
	code = int(binary.BigEndian.Uint16(payload))
	switch {
	case code < 1000, code >= 5000, code >= 1004 && code <= 1006, code >= 1015 && code < 3000:
		return 0, closeProtocol
	case !utf8.Valid(payload[2:]): // §8.1
		return 0, closeProtocol
	}
	return code, 0
}

// masker gives masking keys, and the nonce of handshakes, that a server cannot guess (§5.3, §10.3).
type masker struct{ source *mathrand.ChaCha8 }

func newMasker() *masker {
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // never fails: crypto/rand ends the program instead
	return &masker{source: mathrand.NewChaCha8(seed)}
}

// appendFrame appends a whole, masked frame, as clients send it.
func (m *masker) appendFrame(dst []byte, op opcode, payload []byte) []byte {
	dst = append(dst, 0x80|byte(op))
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = append(dst, 0x80|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, 0x80|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	var key [4]byte
	binary.NativeEndian.PutUint32(key[:], uint32(m.source.Uint64()))
	dst = append(dst, key[:]...)
	for i, b := range payload {
		dst = append(dst, b^key[i&3])
	}
	return dst
}

// appendClose appends a close frame without a reason.
func (m *masker) appendClose(dst []byte, code int) []byte {
	var payload [2]byte
	binary.BigEndian.PutUint16(payload[:], uint16(code))
	return m.appendFrame(dst, opClose, payload[:])
}
