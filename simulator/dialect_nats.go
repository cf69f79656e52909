package simulator

import (
	"bytes"
	"strconv"

	"firetower/simulator/stamp"
)

// natsDialect speaks the client protocol of NATS. The server says, each line ended by CR LF:
//
//	INFO {...}
//	MSG <subject> <sid> [reply-to] <size>, followed by the payload and CR LF
//	PING, PONG, +OK, -ERR '<text>'
//
// What arrives is a stream: a frame may hold several of these and end within one.
type natsDialect struct{}

// natsConnect asks for a server that says nothing of what it has understood (verbose), and that sends a client none of
// its own messages.
const natsConnect = `CONNECT {"verbose":false,"pedantic":false,"echo":false,"lang":"go","version":"1",` +
	`"protocol":1,"name":"firetower-simulator"}` + "\r\n"

var (
	natsMessage = []byte("MSG ")
	natsHeaders = []byte("HMSG ")
	natsError   = []byte("-ERR ")
	natsInfo    = []byte("INFO ")
)

// maxNATSRest bounds, in bytes, what a connection keeps for the next message that comes in pieces.
const maxNATSRest = 4 << 10

// maxNATSLine bounds a line, in bytes; the longest is INFO.
const maxNATSLine = 64 << 10

func (natsDialect) opcode() opcode { return opBinary }

// request ends with a ping: commands are carried out in their order, so that the answer to it says that the
// subscriptions are there.
func (natsDialect) request(config *Config, conn int) []byte {
	b := []byte(natsConnect)
	for k := range config.Topics.PerConn {
		b = append(b, "SUB "...)
		b = append(b, config.Topics.Name(config.Topics.Topic(conn, k))...)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(k+1), 10)
		b = append(b, "\r\n"...)
	}
	return append(b, "PING\r\n"...)
}

func (natsDialect) replies(*Config) int { return 1 }

func (natsDialect) mark(topic string) []byte { return []byte(" " + topic + " ") }

func (natsDialect) pong() []byte { return []byte("PONG\r\n") }

func (d natsDialect) frame(a *account, conn int, payload []byte, wire int, now int64) (v verdict, reason string) {
	s := &a.sessions[conn]
	overhead := wire - len(payload) + int(s.overhead)
	b := payload
	if len(s.rest) > 0 {
		s.rest = append(s.rest, payload...)
		b = s.rest
	}
	for len(b) > 0 {
		line, data, n, ok := cutNATS(b, a.config.MaxFrame)
		if !ok { // where the next command begins nobody knows
			a.corrupt()
			s.rest, s.overhead = nil, 0
			return v, reason
		}
		if n == 0 {
			break
		}
		b = b[n:]
		switch {
		case data == nil:
			if said, why := d.control(a, conn, line); said != verdictNone {
				v, reason = said, why
			}
		case len(data) >= len(stamp.Magic) && string(data[:len(stamp.Magic)]) == stamp.Magic:
			a.stamped(conn, line, data, n+overhead, now)
		default:
			a.foreign()
		}
		overhead = 0
	}
	s.overhead = int32(overhead)
	if len(b) == 0 {
		if s.rest = s.rest[:0]; cap(s.rest) > maxNATSRest { // many connections may have had a burst
			s.rest = nil
		}
		return v, reason
	}
	// b may be the end of rest itself, which append moves to its beginning.
	s.rest = append(s.rest[:0], b...)
	return v, reason
}

// cutNATS takes what b begins with: a line without its end and, where the line announces one, its payload. n is the
// size of all of it, or 0 when b does not hold the whole; data is nil for a line alone. It is not ok when b begins
// with nothing that a server may send.
func cutNATS(b []byte, maxPayload int) (line, data []byte, n int, ok bool) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return nil, nil, 0, len(b) <= maxNATSLine
	}
	if end == 0 || b[end-1] != '\r' {
		return nil, nil, 0, false
	}
	line = b[:end-1]
	if !bytes.HasPrefix(line, natsMessage) && !bytes.HasPrefix(line, natsHeaders) {
		return line, nil, end + 1, true
	}
	size, digits := 0, len(line)
	for scale := 1; digits > 0 && line[digits-1] >= '0' && line[digits-1] <= '9' && size <= maxPayload; scale *= 10 {
		digits--
		size += int(line[digits]-'0') * scale
	}
	if digits == len(line) || digits == 0 || line[digits-1] != ' ' || size > maxPayload {
		return nil, nil, 0, false
	}
	n = end + 1 + size + 2
	if len(b) < n {
		return line, nil, 0, true
	}
	if b[n-2] != '\r' || b[n-1] != '\n' {
		return nil, nil, 0, false
	}
	return line, b[end+1 : n-2], n, true
}

// control counts a line without a payload.
func (natsDialect) control(a *account, conn int, line []byte) (v verdict, reason string) {
	switch {
	case string(line) == "PING":
		a.unattributed.Heartbeats++
		a.pings++
	case string(line) == "PONG":
		return a.replied(conn), ""
	case string(line) == "+OK", bytes.HasPrefix(line, natsInfo):
		a.unattributed.Replies++
	case bytes.HasPrefix(line, natsError):
		a.unattributed.Errors++
		return verdictRefused, "server error " + bounded(string(bytes.Trim(line[len(natsError):], "'")))
	default:
		a.corrupt()
	}
	return verdictNone, ""
}
