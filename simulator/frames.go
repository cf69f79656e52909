package simulator

import (
	"encoding/json"
	"strings"

	"firetower/simulator/stamp"
)

// subscribeID is the id of the first request of a simulated client; any others are those of churn.
const subscribeID = "simulator-subscribe"

// heartbeatText is the v0 protocol's own keep-alive.
const heartbeatText = "heartbeat"

// subscribeRequest is the text frame that subscribes a connection, whose index counts over the whole run, to all of
// its topics, and to further ones. v0 gets no id, since it would answer nothing.
func subscribeRequest(config *Config, conn int, further ...string) []byte {
	names := make([]string, config.Topics.PerConn, config.Topics.PerConn+len(further))
	for k := range names {
		names[k] = config.Topics.Name(config.Topics.Topic(conn, k))
	}
	names = append(names, further...)
	request := `{"type":"subscribe","topic":"` + strings.Join(names, ",") + `"`
	if config.Subprotocol == SubprotocolV1 {
		request += `,"id":"` + subscribeID + `"`
	}
	return []byte(request + "}")
}

// verdict is what a frame from the server means to the connection that it came on.
type verdict uint8

const (
	verdictNone       verdict = iota // counted, nothing to do
	verdictSubscribed                // the server has acknowledged the subscription
	verdictRefused                   // the server has refused it, or part of it
)

// reply is what a v1 server says beside pushes.
type reply struct {
	Type   string `json:"type"`
	ID     string `json:"id"`
	OK     bool   `json:"ok"`
	Code   string `json:"code"`
	Topics []struct {
		Topic string `json:"topic"`
		OK    bool   `json:"ok"`
		Code  string `json:"code"`
	} `json:"topics"`
}

// frame counts one data frame of the server: payload is the whole message, wire its size with headers, now when it was
// read. The reason goes with a refusal. conn counts within the shard.
func (a *account) frame(conn int, payload []byte, wire int, now int64) (v verdict, reason string) {
	if data := stamp.Find(payload); data != nil {
		a.stamped(conn, payload[:len(payload)-len(data)], data, wire, now)
		return verdictNone, ""
	}
	if string(payload) == heartbeatText {
		a.unattributed.Heartbeats++
		return verdictNone, ""
	}
	var r reply
	if json.Unmarshal(payload, &r) != nil {
		a.corrupt()
		return verdictNone, ""
	}
	switch r.Type {
	case "subscribe":
		a.unattributed.Replies++
		if r.ID != subscribeID {
			a.churned(conn, &r, now)
			return verdictNone, ""
		}
		if !r.OK {
			return verdictRefused, "subscribe refused " + firstOf(r.Code, "without a code")
		}
		if code, ok := r.granted(); !ok {
			return verdictRefused, "topic refused " + firstOf(code, "without a code")
		}
		return verdictSubscribed, ""
	case "unSubscribe":
		a.unattributed.Replies++
		a.churned(conn, &r, now)
		return verdictNone, ""
	case "error":
		a.unattributed.Errors++
		if a.churned(conn, &r, now) {
			return verdictNone, ""
		}
		return verdictRefused, "server error " + firstOf(r.Code, "without a code")
	case "publish": // a push, and not one of ours
		a.foreign()
		return verdictNone, ""
	default:
		a.corrupt()
		return verdictNone, ""
	}
}

// granted says whether all topics of a reply were, or else the code of the first that was not.
func (r *reply) granted() (code string, ok bool) {
	for _, topic := range r.Topics {
		if !topic.OK {
			return topic.Code, false
		}
	}
	return "", r.OK
}

// churned takes a reply to a request of churn. It says whether it was one.
func (a *account) churned(conn int, r *reply, now int64) bool {
	if a.churn == nil || conn >= a.healthy {
		return false
	}
	_, granted := r.granted()
	return a.churn.replied(conn, r.ID, granted, now)
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// wireSize is the size of an unmasked frame with a payload of n bytes (RFC 6455 §5.2).
func wireSize(n int) int {
	switch {
	case n < 126:
		return 2 + n
	case n < 1<<16:
		return 4 + n
	default:
		return 10 + n
	}
}
