package simulator

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// centrifugoDialect speaks Centrifugo's JSON protocol. A line of the server is a reply, which has the id of its command,
// a push, or a ping:
//
//	{"id":1,"connect":{"client":"...","ping":25,"pong":true}}
//	{"id":2,"subscribe":{}}
//	{"push":{"channel":"loadtest-0","pub":{"data":"FT1..."}}}
//	{}
type centrifugoDialect struct{}

// centrifugoPing is a ping, and the answer to one.
const centrifugoPing = "{}"

// centrifugoConnect is the id of the connect command; the subscriptions have the following ones.
const centrifugoConnect = 1

func (centrifugoDialect) opcode() opcode { return opText }

// request sends all commands in one frame, as the SDKs do.
func (centrifugoDialect) request(config *Config, conn int) []byte {
	b := []byte(`{"id":` + strconv.Itoa(centrifugoConnect) + `,"connect":{"name":"firetower-simulator"}}`)
	for k := range config.Topics.PerConn {
		b = append(b, "\n"+`{"id":`...)
		b = strconv.AppendInt(b, int64(centrifugoConnect+1+k), 10)
		b = append(b, `,"subscribe":{"channel":"`...)
		b = append(b, config.Topics.Name(config.Topics.Topic(conn, k))...)
		b = append(b, `"}}`...)
	}
	return b
}

func (centrifugoDialect) replies(config *Config) int { return 1 + config.Topics.PerConn }

func (centrifugoDialect) mark(topic string) []byte { return []byte(`"channel":"` + topic + `"`) }

func (centrifugoDialect) pong() []byte { return []byte(centrifugoPing) }

func (d centrifugoDialect) frame(a *account, conn int, payload []byte, wire int, now int64) (v verdict, reason string) {
	overhead := wire - len(payload) // goes with the first line
	for len(payload) > 0 {
		line, size := payload, len(payload)
		if end := bytes.IndexByte(payload, '\n'); end >= 0 {
			line, size = payload[:end], end+1
		}
		payload = payload[size:]
		at := findCentrifugoData(line)
		if at < 0 {
			if said, why := d.control(a, conn, line); said != verdictNone {
				v, reason = said, why
			}
			continue
		}
		end := bytes.IndexByte(line[at+1:], '"')
		if end < 0 || line[len(line)-1] != '}' {
			a.corrupt()
			continue
		}
		a.stamped(conn, line[:at], line[at:at+1+end+1], size+overhead, now)
		overhead = 0
	}
	return v, reason
}

// findCentrifugoData returns where the field that was published begins, if it is a stamped message, or -1.
func findCentrifugoData(line []byte) int {
	const field = `"data":"` // within a JSON string the quotes would be escaped
	const mark = "FT1"       // stamp.Magic without its quote
	for from := 0; ; {
		// The letters alone are rarer in a line than what begins with a quote, and a search is as fast as that is rare.
		i := bytes.Index(line[from:], []byte(mark))
		if i < 0 {
			return -1
		}
		if at := from + i; at >= len(field) && string(line[at-len(field):at]) == field {
			return at - 1
		}
		from += i + len(mark)
	}
}

// centrifugoReply is what a server says beside messages with a stamp.
type centrifugoReply struct {
	ID    uint32 `json:"id"`
	Error *struct {
		Code    uint32 `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Connect *struct {
		Pong bool `json:"pong"`
	} `json:"connect"`
	Subscribe *struct{} `json:"subscribe"`
	Push      *struct {
		Pub         *struct{} `json:"pub"`
		Unsubscribe *struct {
			Code uint32 `json:"code"`
		} `json:"unsubscribe"`
	} `json:"push"`
}

// control counts a line without a stamp.
func (centrifugoDialect) control(a *account, conn int, line []byte) (v verdict, reason string) {
	if string(line) == centrifugoPing {
		a.unattributed.Heartbeats++
		if a.sessions[conn].answers {
			a.pings++
		}
		return verdictNone, ""
	}
	var r centrifugoReply
	if json.Unmarshal(line, &r) != nil {
		a.corrupt()
		return verdictNone, ""
	}
	switch {
	case r.Error != nil:
		a.unattributed.Errors++
		return verdictRefused, "command refused " + strconv.FormatUint(uint64(r.Error.Code), 10) + " " + bounded(r.Error.Message)
	case r.Connect != nil:
		a.sessions[conn].answers = r.Connect.Pong
		return a.replied(conn), ""
	case r.Subscribe != nil:
		return a.replied(conn), ""
	case r.Push != nil && r.Push.Unsubscribe != nil: // the server has ended a subscription
		a.unattributed.Errors++
		return verdictRefused, "unsubscribed " + strconv.FormatUint(uint64(r.Push.Unsubscribe.Code), 10)
	case r.Push != nil && r.Push.Pub != nil: // a message, and not one of ours
		a.foreign()
	case r.Push == nil && r.ID == 0:
		a.corrupt()
	}
	return verdictNone, ""
}

// bounded keeps the beginning of a server's text: reasons are keys of a map.
func bounded(text string) string {
	const most = 80
	return text[:min(len(text), most)]
}
