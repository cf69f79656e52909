package protocol_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime/debug"
	"slices"

	"firetower/core/protocol"
)

// The oracle: the format again, slow and obvious, sharing no code with the
// package. Tables, properties and fuzz targets all ask the checks of this file.

const field = `[^\x00-\x20\x7f]`

var headerLine = regexp.MustCompile(`\A(` + field + `+) (` + field + `*) (` + field + `*) (` + field + `+)\n`)

// oracleEncode returns p's bytes, and whether they mean p and nothing else.
func oracleEncode(p protocol.Packet) ([]byte, bool) {
	line := fmt.Sprintf("%s %s %s %s\n", p.Type, p.MessageID, p.Source, p.Topic)
	var b bytes.Buffer
	b.WriteString("FireHeader")
	_ = binary.Write(&b, binary.BigEndian, int32(len(line)+len(p.Body)))
	b.WriteString(line)
	b.Write(p.Body)
	m := headerLine.FindStringSubmatch(line)
	return b.Bytes(), len(line) <= 4096 && m != nil && m[0] == line && slices.Equal(m[1:],
		[]string{string(p.Type), p.MessageID, string(p.Source), p.Topic})
}

// oracleOne decodes one packet. The error is one of the package's sentinels.
func oracleOne(b []byte, limit int) (protocol.Packet, int, error) {
	none := protocol.Packet{}
	if limit < 1 {
		limit = 8 << 20
	}
	if !bytes.HasPrefix(b, []byte("FireHeader")) && !bytes.HasPrefix([]byte("FireHeader"), b) {
		return none, 0, protocol.ErrBadMagic
	}
	if len(b) < 14 {
		return none, 0, protocol.ErrShort
	}
	var length int32
	_ = binary.Read(bytes.NewReader(b[10:14]), binary.BigEndian, &length)
	if length < 0 || int64(length)+14 > int64(limit) {
		return none, 0, protocol.ErrPacketTooLarge
	}
	if length < int32(len("t   x\n")) {
		return none, 0, protocol.ErrBadHeader
	}
	if len(b) < 14+int(length) {
		return none, 0, protocol.ErrShort
	}
	payload := b[14 : 14+length]
	m := headerLine.FindSubmatch(payload)
	if m == nil || len(m[0]) > 4096 {
		return none, 0, protocol.ErrBadHeader
	}
	p := protocol.Packet{
		Type: protocol.MessageType(m[1]), MessageID: string(m[2]), Source: protocol.Source(m[3]), Topic: string(m[4]),
	}
	if body := payload[len(m[0]):]; len(body) > 0 {
		p.Body = body
	}
	return p, 14 + int(length), nil
}

// oracleStream decodes all packets of a stream and tells how it ends.
func oracleStream(b []byte, limit int) (packets []protocol.Packet, end error) {
	for len(b) > 0 {
		p, n, err := oracleOne(b, limit)
		if errors.Is(err, protocol.ErrShort) {
			return packets, io.ErrUnexpectedEOF
		}
		if err != nil {
			return packets, err
		}
		packets = append(packets, p)
		b = b[n:]
	}
	return packets, io.EOF
}

// guard turns a panic into a finding, so that a property can shrink it.
func guard(check func() string) (finding string) {
	defer func() {
		if r := recover(); r != nil {
			finding = fmt.Sprintf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return check()
}

// checkEncode holds the encoders to the oracle for one packet, valid or not. The
// checks return what they find wrong, "" for nothing.
func checkEncode(p protocol.Packet) string {
	return guard(func() string {
		want, valid := oracleEncode(p)
		got, err := protocol.Enpack(p)
		prefix := []byte("as it was")
		appended, appendErr := protocol.AppendPacket(slices.Clone(prefix), p)
		if !valid {
			var bad *protocol.FieldError
			if !errors.As(err, &bad) || !errors.As(appendErr, &bad) {
				return fmt.Sprintf("ambiguous packet: Enpack says %v, AppendPacket %v, want *FieldError", err, appendErr)
			}
			if got != nil || !bytes.Equal(appended, prefix) {
				return fmt.Sprintf("on an error Enpack returns %q, AppendPacket %q", got, appended)
			}
			return ""
		}
		if err != nil || appendErr != nil {
			return fmt.Sprintf("valid packet: Enpack says %v, AppendPacket %v", err, appendErr)
		}
		if !bytes.Equal(got, want) {
			return fmt.Sprintf("Enpack: got %s, want %s", brief(got), brief(want))
		}
		if !bytes.Equal(appended, append(prefix, want...)) {
			return fmt.Sprintf("AppendPacket: got %s after the prefix", brief(appended))
		}
		if protocol.PacketSize(p) != len(want) || len(got) != cap(got) {
			return fmt.Sprintf("PacketSize %d, length %d, capacity %d", protocol.PacketSize(p), len(got), cap(got))
		}
		again, _ := protocol.Enpack(p)
		if !bytes.Equal(again, got) {
			return "Enpack is not deterministic"
		}
		return ""
	})
}

// checkDepack holds Depack to the oracle for the beginning of b.
func checkDepack(b []byte, limit int) string {
	return guard(func() string {
		input := slices.Clone(b)
		want, wantN, wantErr := oracleOne(b, limit)
		p, n, err := protocol.Depack(input, limit)
		if !bytes.Equal(input, b) {
			return "Depack changes its input"
		}
		if !errors.Is(err, wantErr) || n != wantN {
			return fmt.Sprintf("Depack: took %d, error %v; want %d, %v", n, err, wantN, wantErr)
		}
		if diff := packetDiff(p, want); diff != "" {
			return "Depack: " + diff
		}
		if err != nil {
			return ""
		}
		// What can be decoded can be encoded, to the same bytes.
		if again, err := protocol.Enpack(p); err != nil || !bytes.Equal(again, b[:n]) {
			return fmt.Sprintf("encoded again: %s, %v; want %s", brief(again), err, brief(b[:n]))
		}
		// The body is the input's, and no way to what stands behind it; the strings are not.
		if len(p.Body) != cap(p.Body) {
			return fmt.Sprintf("body of %d bytes has capacity %d", len(p.Body), cap(p.Body))
		}
		clear(input)
		if bytes.ContainsFunc(p.Body, func(r rune) bool { return r != 0 }) {
			return "the body does not alias the input"
		}
		p.Body = want.Body
		if diff := packetDiff(p, want); diff != "" {
			return "after the input was overwritten: " + diff
		}
		return ""
	})
}

// checkReader holds a Reader to the oracle for a stream that arrives in the parts that cuts say.
func checkReader(stream []byte, cuts []byte, limit int) string {
	return guard(func() string {
		want, wantEnd := oracleStream(stream, limit)
		r := protocol.NewReader(&cutReader{rest: stream, cuts: cuts}, limit)
		var got []protocol.Packet
		rest := stream
		for {
			p, raw, err := r.NextRaw()
			if err != nil {
				if !errors.Is(err, wantEnd) {
					return fmt.Sprintf("after %d packets: %v, want %v after %d", len(got), err, wantEnd, len(want))
				}
				if _, again := r.Next(); !errors.Is(again, err) {
					return fmt.Sprintf("%v is not final, then comes %v", err, again)
				}
				break
			}
			if !bytes.HasPrefix(rest, raw) {
				return fmt.Sprintf("packet %d: raw %s is not what came", len(got), brief(raw))
			}
			rest = rest[len(raw):]
			// The packet is the caller's. Every other one is kept as it is, and must still be
			// whole at the end; whatever is done to the rest, what follows stays whole.
			if kept := len(got)%2 == 0; !kept {
				body := slices.Clone(p.Body)
				_ = append(p.Body, "FireHeader"...)
				for i := range raw {
					raw[i] = 0xff
				}
				p.Body = body
			}
			got = append(got, p)
		}
		if len(got) != len(want) {
			return fmt.Sprintf("%d packets, want %d", len(got), len(want))
		}
		for i := range got {
			if diff := packetDiff(got[i], want[i]); diff != "" {
				return fmt.Sprintf("packet %d of %d: %s", i, len(want), diff)
			}
		}
		return ""
	})
}

func packetDiff(got, want protocol.Packet) string {
	switch {
	case got.Type != want.Type, got.MessageID != want.MessageID, got.Source != want.Source, got.Topic != want.Topic:
		return fmt.Sprintf("header %q %q %q %q, want %q %q %q %q",
			got.Type, got.MessageID, got.Source, got.Topic, want.Type, want.MessageID, want.Source, want.Topic)
	case !bytes.Equal(got.Body, want.Body):
		return fmt.Sprintf("body %s, want %s", brief(got.Body), brief(want.Body))
	case got.Body != nil && len(got.Body) == 0:
		return "body is empty and not nil"
	}
	return ""
}

// brief quotes bytes for a person: all of a few, the ends of many.
func brief(b []byte) string {
	if len(b) <= 160 {
		return fmt.Sprintf("%q (%d bytes)", b, len(b))
	}
	return fmt.Sprintf("%q ... %q (%d bytes)", b[:100], b[len(b)-40:], len(b))
}

// cutReader hands out a stream in parts: cuts tells the size of each, in turn, and begins
// again at its end; what it holds is an index into cutSizes.
type cutReader struct {
	rest []byte
	cuts []byte
	next int
}

// cutSizes are 1 first, since generators shrink to it. 0 is a read that returns nothing.
var cutSizes = []int{1, 2, 3, 4, 5, 9, 10, 11, 13, 14, 15, 16, 20, 21, 0, 100, 1000, 1 << 12, 1 << 16, 1 << 20}

func (c *cutReader) Read(b []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	size := len(b)
	if len(c.cuts) > 0 {
		size = cutSizes[int(c.cuts[c.next%len(c.cuts)])%len(cutSizes)]
		c.next++
		if size == 0 && c.next%2 == 0 {
			size = 1 // else a list of zeros would never end
		}
	}
	n := copy(b[:min(size, len(b))], c.rest)
	c.rest = c.rest[n:]
	return n, nil
}
