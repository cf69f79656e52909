package protocol

import (
	"encoding/binary"
	"fmt"
)

// Enpack encodes p into a slice of its own, exactly as large as needed. A field
// that may not stand in a header line is refused with a [*FieldError].
func Enpack(p Packet) ([]byte, error) {
	if err := check(p); err != nil {
		return nil, err
	}
	return appendChecked(make([]byte, 0, PacketSize(p)), p), nil
}

// AppendPacket appends the encoded p to dst. It allocates nothing when dst has
// room for [PacketSize] bytes more. On an error it returns dst as it was.
func AppendPacket(dst []byte, p Packet) ([]byte, error) {
	if err := check(p); err != nil {
		return dst, err
	}
	return appendChecked(dst, p), nil
}

func appendChecked(dst []byte, p Packet) []byte {
	dst = append(dst, Magic...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(PacketSize(p)-HeaderSize))
	dst = append(dst, p.Type...)
	dst = append(dst, ' ')
	dst = append(dst, p.MessageID...)
	dst = append(dst, ' ')
	dst = append(dst, p.Source...)
	dst = append(dst, ' ')
	dst = append(dst, p.Topic...)
	dst = append(dst, '\n')
	return append(dst, p.Body...)
}

// check tells whether p can be encoded so that a decoder gets p back.
func check(p Packet) error {
	// Not a loop over a table of fields: this runs once per packet and must not allocate.
	if p.Type == "" {
		return fieldError("type", "", "must not be empty")
	}
	if p.Topic == "" {
		return fieldError("topic", "", "must not be empty")
	}
	if err := checkField("type", string(p.Type)); err != nil {
		return err
	}
	if err := checkField("message id", p.MessageID); err != nil {
		return err
	}
	if err := checkField("source", string(p.Source)); err != nil {
		return err
	}
	if err := checkField("topic", p.Topic); err != nil {
		return err
	}
	if line := lineSize(p); line > MaxHeaderLine {
		field, value := longestField(p)
		return fieldError(field, value, fmt.Sprintf("makes, with %d bytes, a header line of %d, at most %d",
			len(value), line, MaxHeaderLine))
	}
	if size := PacketSize(p); size-HeaderSize > maxLength {
		return fmt.Errorf("%w: %d bytes do not fit the length field", ErrPacketTooLarge, size)
	}
	return nil
}

// checkField returns error and not *FieldError: a nil pointer in an error is not nil.
func checkField(field, value string) error {
	if i := badByte(value); i >= 0 {
		return fieldError(field, value,
			fmt.Sprintf("must not contain space or control characters, has 0x%02x at byte %d", value[i], i))
	}
	return nil
}

// badByte returns where s holds a byte that no header field may hold, or -1.
func badByte(s string) int {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == 0x7f {
			return i
		}
	}
	return -1
}

func longestField(p Packet) (field, value string) {
	field, value = "topic", p.Topic
	if len(p.MessageID) > len(value) {
		field, value = "message id", p.MessageID
	}
	if len(p.Source) > len(value) {
		field, value = "source", string(p.Source)
	}
	if len(p.Type) > len(value) {
		field, value = "type", string(p.Type)
	}
	return field, value
}
