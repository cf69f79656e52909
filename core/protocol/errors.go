package protocol

import (
	"errors"
	"fmt"
	"io"
)

// What is wrong with bytes that are not a packet. Errors of this package wrap
// them; compare with [errors.Is].
var (
	// ErrBadMagic: the bytes do not begin with [Magic]. The stream can not be read
	// on, there is no telling where the next packet begins.
	ErrBadMagic = errors.New("protocol: packet does not begin with FireHeader")
	// ErrPacketTooLarge: the length is negative, or above the decoder's limit; or a
	// packet to encode does not fit the length field.
	ErrPacketTooLarge = errors.New("protocol: packet too large")
	// ErrBadHeader: the header line is not four fields and an LF, is too long, or
	// a field holds what the encoder refuses.
	ErrBadHeader = errors.New("protocol: bad packet header line")
	// ErrShort: the bytes are the beginning of a packet; more are needed. It is an
	// [io.ErrUnexpectedEOF].
	ErrShort = fmt.Errorf("protocol: packet is incomplete: %w", io.ErrUnexpectedEOF)
)

// maxQuoted is how much of a foreign value goes into an error text.
const maxQuoted = 64

// FieldError says that a value can not be a field of a packet's header line, or
// can not be a client's topic.
type FieldError struct {
	Field  string // "type", "message id", "source" or "topic"
	Value  string // the value refused, cut to 64 bytes
	Reason string // what it must be
}

// Error implements error.
func (e *FieldError) Error() string {
	return fmt.Sprintf("protocol: %s %q: %s", e.Field, e.Value, e.Reason)
}

func fieldError(field, value, reason string) *FieldError {
	return &FieldError{Field: field, Value: cut(value), Reason: reason}
}

// cut copies at most maxQuoted bytes of s, so that an error does not keep a
// whole packet in memory or fill a log line with it.
func cut[T string | []byte](s T) string {
	if len(s) > maxQuoted {
		s = s[:maxQuoted]
	}
	return string([]byte(s))
}
