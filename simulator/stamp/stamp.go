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
//	90       n    padding       dots
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

	padding = '.'
)

var (
	// ErrMagic says that the bytes are not a stamped message at all.
	ErrMagic = errors.New("not a stamped message")
	// ErrSize says that a message is smaller than [MinSize] or does not end with its quote.
	ErrSize = errors.New("stamped message is cut")
	// ErrDigit says that a field holds something other than lower-case hexadecimal.
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

// Append appends the message of the given size, in bytes, to dst; sizes below [MinSize] are taken as MinSize. It
// allocates nothing when dst has room.
func Append(dst []byte, s Stamp, size int) []byte {
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
	for len(dst)-start < size-1 {
		dst = append(dst, padding)
	}
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
	var bad uint64
	run, b := hex16(m[offRun:])
	bad |= b
	sequence, b := hex16(m[offSequence:])
	bad |= b
	intended, b := hex16(m[offIntended:])
	bad |= b
	actual, b := hex16(m[offActual:])
	bad |= b
	topic, b := hex8(m[offTopic:])
	bad |= b
	sum, b := hex8(m[offChecksum:])
	bad |= b
	// Publisher (4 digits) and phase (2) are read with neighbours of known width and cut out.
	publisher, b := hex8(m[offPublisher:]) // publisher and the upper half of topic
	bad |= b
	phase, b := hex8(m[offPhase:]) // phase and the upper six digits of sequence
	bad |= b
	if bad != 0 {
		return Stamp{}, ErrDigit
	}
	if uint32(sum) != checksum(message) {
		return Stamp{}, ErrChecksum
	}
	return Stamp{
		Run: run, Publisher: uint16(publisher >> 16), Phase: uint8(phase >> 24), Topic: uint32(topic),
		Sequence: sequence, Intended: int64(intended), Actual: int64(actual),
	}, nil
}

// Find returns the stamped message within a frame: the frame itself when it is the data alone, or the last field
// "data" of a JSON envelope, which ends one byte before the frame does. It returns nil when there is none.
func Find(frame []byte) []byte {
	if len(frame) >= len(Magic) && string(frame[:len(Magic)]) == Magic {
		return frame
	}
	i := bytes.Index(frame, []byte(`"data":`+Magic))
	if i < 0 || frame[len(frame)-1] != '}' {
		return nil
	}
	return frame[i+len(`"data":`) : len(frame)-1]
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

// hex16 decodes 16 digits; bad is not zero when one of them is no lower-case hexadecimal digit.
func hex16(b []byte) (v, bad uint64) {
	hi, badHi := hex8(b)
	lo, badLo := hex8(b[8:])
	return hi<<32 | lo, badHi | badLo
}

// hex8 decodes 8 digits at once, each in its own byte of a word (SIMD within a register): the receiving loop reads
// some 80 digits per message, and a table look-up each would cost more than the checksum.
func hex8(b []byte) (v, bad uint64) {
	const (
		ones = 0x0101010101010101
		high = 0x8080808080808080
	)
	w := binary.BigEndian.Uint64(b)
	bad = w & high
	w &^= high
	// With all bytes below 0x80, adding 0x80-n sets the high bit of exactly the bytes >= n, without carrying over.
	letter := (w + (0x80-'a')*ones) & high // >= 'a'
	bad |= (w + (0x80-'g')*ones) & high    // > 'f'
	digit := (w + (0x80-'0')*ones) & high  // >= '0'
	bad |= ^digit & high                   // < '0'
	above := (w + (0x80-':')*ones) & high  // > '9'
	bad |= above &^ letter                 // between '9' and 'a'
	isLetter := letter >> 7                // 1 per letter
	w = w - '0'*ones&^(isLetter*0xff) - ('a'-10)*isLetter
	w &= 0x0f * ones
	// Pack eight nibbles: pairs into bytes, bytes into words.
	w = (w | w>>4) & 0x00ff00ff00ff00ff
	w = (w | w>>8) & 0x0000ffff0000ffff
	w = (w | w>>16) & 0x00000000ffffffff
	return w, bad
}
