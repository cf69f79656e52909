package reference

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// errRequest says that a frame is none that a client may send.
var errRequest = errors.New("bad request frame")

// request is a client's frame. Its slices point into the frame.
type request struct {
	kind  requestKind
	topic []byte // of a publish
	data  []byte // of a publish, as it was sent
	names string // of a subscription, separated by commas
}

type requestKind uint8

const (
	requestPublish requestKind = iota + 1
	requestSubscribe
	requestUnsubscribe
	requestIgnored // v0 clients may send heartbeats
)

// parseRequest reads a client's frame. A publish in the exact shape that the harness sends is taken apart where it
// lies, so that the servers allocate nothing for it; everything else goes through encoding/json.
func parseRequest(frame []byte) (request, error) {
	const begin, middle = `{"type":"publish","topic":"`, `","data":`
	if rest, ok := bytes.CutPrefix(frame, []byte(begin)); ok {
		topic, data, found := bytes.Cut(rest, []byte(middle))
		data, whole := bytes.CutSuffix(data, []byte("}"))
		if found && whole && plainTopic(topic) && plainString(data) {
			return request{kind: requestPublish, topic: topic, data: data}, nil
		}
	}
	if string(frame) == "heartbeat" {
		return request{kind: requestIgnored}, nil
	}
	var r struct {
		Type  string          `json:"type"`
		Topic string          `json:"topic"`
		Data  json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(frame, &r); err != nil {
		return request{}, fmt.Errorf("%w: %w", errRequest, err)
	}
	switch {
	case strings.EqualFold(r.Type, "subscribe") && r.Topic != "":
		return request{kind: requestSubscribe, names: r.Topic}, nil
	case strings.EqualFold(r.Type, "unsubscribe") && r.Topic != "":
		return request{kind: requestUnsubscribe, names: r.Topic}, nil
	case r.Type == "publish" && r.Topic != "" && r.Data != nil:
		return request{kind: requestPublish, topic: []byte(r.Topic), data: r.Data}, nil
	case r.Type == "heartbeat":
		return request{kind: requestIgnored}, nil
	}
	return request{}, fmt.Errorf("%w: type %q, topic %q", errRequest, r.Type, r.Topic)
}

// plainTopic says that b, within quotes, is a JSON string that means b.
func plainTopic(b []byte) bool { return len(b) > 0 && plain(b) }

// plainString says that b is one JSON string without escapes.
func plainString(b []byte) bool {
	return len(b) >= 2 && b[0] == '"' && b[len(b)-1] == '"' && plain(b[1:len(b)-1])
}

func plain(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
