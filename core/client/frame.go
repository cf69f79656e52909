package client

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"firetower/core/protocol"
)

// frame is a text frame from the gateway: a push, the answer to a request, or an error.
type frame struct {
	Type     string             `json:"type"`
	Topic    string             `json:"topic"`
	Data     json.RawMessage    `json:"data"`
	Encoding string             `json:"encoding"`
	ID       string             `json:"id"`
	OK       *bool              `json:"ok"`
	Topics   []topicResult      `json:"topics"`
	Code     protocol.ErrorCode `json:"code"`
	Reason   string             `json:"reason"`
}

type topicResult struct {
	Topic string             `json:"topic"`
	OK    bool               `json:"ok"`
	Code  protocol.ErrorCode `json:"code"`
}

const errorFrame = "error"

// isPush tells a push from the answer to a publish, which has the same type.
func (f *frame) isPush() bool {
	return f.Type == string(protocol.PublishRequest) && f.OK == nil && f.Data != nil
}

// isOrder tells the news of subscriptions that the gateway has ended from the answer to a request:
// those have an id.
func (f *frame) isOrder() bool {
	return f.Type == string(protocol.UnsubscribeRequest) && f.ID == ""
}

// result is what the frame, an answer, says of one topic; nil when it went well.
func (f *frame) result(op protocol.RequestType, topic string) error {
	refused := &RequestError{Op: string(op), Topic: topic, Code: f.Code, Reason: f.Reason}
	if f.Type != errorFrame {
		ok := f.OK != nil && *f.OK
		for _, t := range f.Topics {
			if t.Topic == topic {
				ok, refused.Code = t.OK, t.Code
			}
		}
		if ok {
			return nil
		}
	}
	if refused.Code == "" {
		refused.Code = protocol.CodeInternal
	}
	return refused
}

var errEncoding = errors.New("client: push with an unknown encoding")

// published returns the bytes that were published, for a push.
func (f *frame) published() ([]byte, error) {
	switch f.Encoding {
	case "":
		return f.Data, nil
	case protocol.EncodingText, protocol.EncodingBase64:
	default:
		return nil, fmt.Errorf("%w %q", errEncoding, f.Encoding)
	}
	var text string
	if err := json.Unmarshal(f.Data, &text); err != nil {
		return nil, fmt.Errorf("client: push with encoding %q: %w", f.Encoding, err)
	}
	if f.Encoding == protocol.EncodingText {
		return []byte(text), nil
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("client: push with encoding %q: %w", f.Encoding, err)
	}
	return data, nil
}

// request is the frame of one request.
type request struct {
	Type  protocol.RequestType `json:"type"`
	Topic string               `json:"topic,omitempty"`
	ID    string               `json:"id"`
	Data  json.RawMessage      `json:"data,omitempty"`
	Token string               `json:"token,omitempty"`
}

// appendPublish writes the frame itself: encoding/json would compact the data, and what is
// published arrives as it was given.
func appendPublish(dst []byte, topic, id string, data []byte) []byte {
	head, err := json.Marshal(request{Type: protocol.PublishRequest, Topic: topic, ID: id})
	if err != nil { // three strings always marshal
		panic(err)
	}
	dst = append(dst, head[:len(head)-1]...)
	dst = append(dst, `,"data":`...)
	dst = append(dst, data...)
	return append(dst, '}')
}
