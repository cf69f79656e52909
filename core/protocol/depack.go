package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Depack decodes the packet at the beginning of b and returns it with the number
// of bytes that it took. The packet's Body aliases b, the strings do not.
//
// A packet of more than limit bytes, by its length field, is refused with
// [ErrPacketTooLarge]; a limit below 1 means [DefaultMaxPacket]. [ErrShort] means that b ends
// inside the packet. On any error n is 0 and p is zero.
func Depack(b []byte, limit int) (p Packet, n int, err error) {
	size, err := frameSize(b, limit)
	if err != nil {
		return Packet{}, 0, err
	}
	if len(b) < size {
		return Packet{}, 0, ErrShort
	}
	p, err = depackPayload(b[HeaderSize:size:size])
	if err != nil {
		return Packet{}, 0, err
	}
	return p, size, nil
}

// frameSize reads magic and length, as far as b has them, and returns the size
// of the whole packet.
func frameSize(b []byte, limit int) (int, error) {
	if limit < 1 {
		limit = DefaultMaxPacket
	}
	have := min(len(b), len(Magic))
	if string(b[:have]) != Magic[:have] {
		return 0, fmt.Errorf("%w: %q", ErrBadMagic, cut(b[:have]))
	}
	if len(b) < HeaderSize {
		return 0, ErrShort
	}
	// A negative length is one of 2 GiB and more when it is read without sign.
	length := int64(binary.BigEndian.Uint32(b[len(Magic):]))
	if size := length + int64(HeaderSize); length > maxLength || size > int64(limit) {
		return 0, fmt.Errorf("%w: %d bytes, limit is %d", ErrPacketTooLarge, size, limit)
	}
	if length < minLine {
		return 0, fmt.Errorf("%w: %d bytes can not hold one", ErrBadHeader, length)
	}
	return int(length) + HeaderSize, nil
}

// depackPayload decodes what the length field counts: header line and body.
func depackPayload(b []byte) (Packet, error) {
	end := bytes.IndexByte(b[:min(len(b), MaxHeaderLine)], '\n')
	if end < 0 {
		return Packet{}, fmt.Errorf("%w: no end within %d bytes", ErrBadHeader, min(len(b), MaxHeaderLine))
	}
	p, err := parseLine(b[:end])
	if err != nil {
		return Packet{}, err
	}
	if body := b[end+1:]; len(body) > 0 {
		p.Body = body
	}
	return p, nil
}

// parseLine decodes a header line without its LF. The strings that it returns
// share one allocation, or are constants.
func parseLine(line []byte) (Packet, error) {
	var sep [3]int // where the spaces are
	found := 0
	for i, c := range line {
		if c > ' ' && c != 0x7f {
			continue
		}
		if c != ' ' || found == len(sep) {
			return Packet{}, fmt.Errorf("%w: 0x%02x at byte %d of %q", ErrBadHeader, c, i, cut(line))
		}
		sep[found] = i
		found++
	}
	switch {
	case found < len(sep):
		return Packet{}, fmt.Errorf("%w: %d fields of 4 in %q", ErrBadHeader, found+1, cut(line))
	case sep[0] == 0:
		return Packet{}, fmt.Errorf("%w: no type in %q", ErrBadHeader, cut(line))
	case sep[2]+1 == len(line):
		return Packet{}, fmt.Errorf("%w: no topic in %q", ErrBadHeader, cut(line))
	}
	if string(line) == heartbeatLine {
		return Packet{Type: HeartbeatKey, MessageID: heartbeatID, Source: SourceSystem, Topic: HeartbeatTopic}, nil
	}

	typ, known := knownType(line[:sep[0]])
	source, knownSource := knownSource(line[sep[1]+1 : sep[2]])
	from := 0 // the type is not copied when it is a known one
	if known {
		from = sep[0] + 1
	}
	s := string(line[from:])
	if !known {
		typ = MessageType(s[:sep[0]])
	}
	if !knownSource {
		source = Source(s[sep[1]+1-from : sep[2]-from])
	}
	return Packet{
		Type:      typ,
		MessageID: s[sep[0]+1-from : sep[1]-from],
		Source:    source,
		Topic:     s[sep[2]+1-from:],
	}, nil
}

// heartbeatLine is the header line of [HeartbeatPacket].
const heartbeatLine = string(HeartbeatKey) + " " + heartbeatID + " " + string(SourceSystem) + " " + HeartbeatTopic

func knownType(b []byte) (MessageType, bool) {
	// The compiler compares string(b) in place.
	switch string(b) {
	case string(PublishKey):
		return PublishKey, true
	case string(HeartbeatKey):
		return HeartbeatKey, true
	case string(OfflineTopicKey):
		return OfflineTopicKey, true
	case string(OfflineTopicByUserIDKey):
		return OfflineTopicByUserIDKey, true
	case string(OfflineUserKey):
		return OfflineUserKey, true
	case string(HelloKey):
		return HelloKey, true
	case string(SnapshotKey):
		return SnapshotKey, true
	case string(WelcomeKey):
		return WelcomeKey, true
	case string(RefuseKey):
		return RefuseKey, true
	}
	return "", false
}

func knownSource(b []byte) (Source, bool) {
	switch string(b) {
	case string(SourceUser):
		return SourceUser, true
	case string(SourcePlatform):
		return SourcePlatform, true
	case string(SourceSystem):
		return SourceSystem, true
	}
	return "", false
}
