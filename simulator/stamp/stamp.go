// Package stamp writes and reads the mark that every published test message carries: who published it, when it should
// have been sent, when it was, and a checksum over the whole. It owns these bytes and nothing else; it imports no
// package of this project.
//
// A stamped message is printable ASCII and a JSON string, so that it passes as the data of a publish frame, as a text
// frame and through any server that looks at either. It is padded to the size that a scenario asks for. All fields
// stand at fixed offsets, so that the receiving loop decodes no JSON and allocates nothing:
//
//	offset  size  field
//	 0       1    "
//	 1       3    FT1           magic and version
//	 4      16    run           u64, which run this message belongs to
//	20       4    publisher     u16
//	24       8    topic         u32, index in the topic plan
//	32       2    phase         u8
//	34      16    sequence      u64, per publisher and topic, counting from 1
//	50      16    intended      i64 ns of CLOCK_MONOTONIC, when the plan wanted it sent
//	66      16    actual        i64 ns of CLOCK_MONOTONIC, when it was sent
//	82       8    checksum      u32 CRC-32C of all other bytes of the message, quotes and padding included
//	90       n    padding       dots, or what [Padding] says
//	90+n     1    "
//
// Numbers are lower-case hexadecimal of fixed width, most significant digit first.
package stamp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// MinSize is the size of a stamped message without padding, in bytes. Smaller ones do not exist.
const MinSize = 91

// Magic is what a stamped message begins with.
const Magic = `"FT1`

const (
	offRun       = 4
	offPublisher = 20
	offTopic     = 24
	offPhase     = 32
	offSequence  = 34
	offIntended  = 50
	offActual    = 66
	offChecksum  = 82
	offPadding   = 90
)

var (
	// ErrMagic says that the bytes are not a stamped message at all.
	ErrMagic = errors.New("not a stamped message")
	// ErrSize says that a message is smaller than [MinSize] or does not end with its quote.
	ErrSize = errors.New("stamped message is cut")
	// ErrDigit says that the checksum is something other than lower-case hexadecimal.
	ErrDigit = errors.New("stamped message has a bad digit")
	// ErrChecksum says that the bytes are not those that were written.
	ErrChecksum = errors.New("stamped message has a bad checksum")
)

// Stamp is the content of the mark.
type Stamp struct {
	// Run tells the runs apart: a message of another run is foreign.
	Run uint64
	// Publisher is who sent it.
	Publisher uint16
	// Phase is the phase of the run that it was sent in.
	Phase uint8
	// Topic is the index of its topic in the plan.
	Topic uint32
	// Sequence counts the messages of one publisher on one topic, from 1, without gaps and through all phases.
	Sequence uint64
	// Intended is when the plan wanted it sent, and Actual when it was: nanoseconds of CLOCK_MONOTONIC.
	Intended, Actual int64
}

// castagnoli makes Update use the processor's instruction. It is read-only.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Append appends the message of the given size, in bytes, to dst, padded with dots; sizes below [MinSize] are taken as
// MinSize. It allocates nothing when dst has room.
func Append(dst []byte, s Stamp, size int) []byte { return AppendPadded(dst, s, size, Dots) }

// AppendPadded is Append with another padding.
func AppendPadded(dst []byte, s Stamp, size int, padding Padding) []byte {
	size = max(size, MinSize)
	start := len(dst)
	dst = append(dst, Magic...)
	dst = appendHex(dst, s.Run, 16)
	dst = appendHex(dst, uint64(s.Publisher), 4)
	dst = appendHex(dst, uint64(s.Topic), 8)
	dst = appendHex(dst, uint64(s.Phase), 2)
	dst = appendHex(dst, s.Sequence, 16)
	dst = appendHex(dst, uint64(s.Intended), 16)
	dst = appendHex(dst, uint64(s.Actual), 16)
	dst = appendHex(dst, 0, 8)
	dst = padding.append(dst, size-1-(len(dst)-start), &s)
	dst = append(dst, '"')
	message := dst[start:]
	appendHex(message[:offChecksum], uint64(checksum(message)), 8)
	return dst
}

// Parse reads a whole stamped message, from its first quote to its last. It allocates nothing. On an error the stamp
// is zero, since no part of it can be trusted.
func Parse(message []byte) (Stamp, error) {
	if len(message) < len(Magic) || string(message[:len(Magic)]) != Magic {
		return Stamp{}, ErrMagic
	}
	if len(message) < MinSize || message[len(message)-1] != '"' {
		return Stamp{}, ErrSize
	}
	m := message[:offPadding]
	sum, ok := hex8Strict(m[offChecksum:])
	switch {
	case !ok:
		return Stamp{}, ErrDigit
	case sum != checksum(message):
		return Stamp{}, ErrChecksum
	}
	// The other digits need no check: the checksum is over what Append wrote.
	return Stamp{
		Run:       hex8(m[offRun:])<<32 | hex8(m[offRun+8:]),
		Publisher: uint16(hex8(m[offPublisher:]) >> 16), // with the upper half of the topic
		Topic:     uint32(hex8(m[offTopic:])),
		Phase:     uint8(hex8(m[offPhase:]) >> 24), // with the upper digits of the sequence
		Sequence:  hex8(m[offSequence:])<<32 | hex8(m[offSequence+8:]),
		Intended:  int64(hex8(m[offIntended:])<<32 | hex8(m[offIntended+8:])),
		Actual:    int64(hex8(m[offActual:])<<32 | hex8(m[offActual+8:])),
	}, nil
}

// Slot is a number from the last digits of the sequence and the topic of a message of at least [MinSize] bytes, which
// nothing has checked yet: 0 to 1023, one after another for messages that follow each other on a topic.
func Slot(message []byte) int {
	digit := func(at int) int { return int(message[at]&0xf) + int(message[at]>>6)*9 }
	return (digit(offIntended-1) + digit(offIntended-2)<<4 + digit(offPhase-1)<<5 + digit(offPhase-2)<<9) & 0x3ff
}

// Find returns the stamped message within a frame: the frame itself when it is the data alone, or the last field
// "data" of a JSON envelope, which ends one byte before the frame does. It returns nil when there is none.
func Find(frame []byte) []byte {
	if len(frame) >= len(Magic) && string(frame[:len(Magic)]) == Magic {
		return frame
	}
	const field = `"data":`
	const mark = "FT1" // Magic without its quote: its first letter is rarer in an envelope than a quote
	for from := 0; ; {
		i := bytes.Index(frame[from:], []byte(mark))
		if i < 0 {
			return nil
		}
		at := from + i - 1 // of the quote
		if at >= len(field) && string(frame[at-len(field):at+1]) == field+`"` {
			if frame[len(frame)-1] != '}' {
				return nil
			}
			return frame[at : len(frame)-1]
		}
		from += i + len(mark)
	}
}

func checksum(message []byte) uint32 {
	sum := crc32.Update(0, castagnoli, message[:offChecksum])
	return crc32.Update(sum, castagnoli, message[offPadding:])
}

func appendHex(dst []byte, v uint64, digits int) []byte {
	const alphabet = "0123456789abcdef"
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, alphabet[v>>shift&0xf])
	}
	return dst
}

// ones has the lowest bit of each byte set.
const ones = 0x0101010101010101

// hex8 decodes 8 digits at once, each in its own byte of a word (SIMD within a register): the receiving loop reads
// some 80 digits per message, and a table look-up each would cost more than the checksum. It does not look at what
// they are.
func hex8(b []byte) uint64 {
	w := binary.BigEndian.Uint64(b)
	w = w&(0x0f*ones) + w>>6&ones*9 // letters, and only they, have bit 6 set
	// Pack eight nibbles: pairs into bytes, bytes into words.
	w = (w | w>>4) & 0x00ff00ff00ff00ff
	w = (w | w>>8) & 0x0000ffff0000ffff
	return (w | w>>16) & 0x00000000ffffffff
}

// hex8Strict decodes 8 digits, and says whether all are digits or lower-case letters up to f.
func hex8Strict(b []byte) (v uint32, ok bool) {
	for _, c := range b[:8] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return 0, false
		}
	}
	return uint32(hex8(b)), true
}
