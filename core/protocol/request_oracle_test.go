package protocol_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"firetower/core/protocol"
)

// The client frames' oracle: encoding/json, and on top what it is too kind about.

// verdict is what ParseRequest is to say of a frame.
type verdict struct {
	req   protocol.Request
	code  protocol.ErrorCode // "" for a good request
	close bool
}

func oracleRequest(frame []byte, lim protocol.RequestLimits) verdict {
	if string(frame) == "heartbeat" {
		return verdict{req: protocol.Request{Type: protocol.HeartbeatRequest}}
	}
	bad := func(code protocol.ErrorCode) verdict { return verdict{code: code} }
	unreadable := verdict{code: protocol.CodeBadRequest, close: true}
	if !utf8.Valid(frame) || !json.Valid(frame) || depth(frame) > lim.MaxDepth {
		return unreadable
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(frame, &members); err != nil || members == nil {
		return unreadable
	}
	for key, n := range keys(frame) {
		if n > 1 && slices.Contains([]string{"type", "topic", "data", "id", "token"}, key) {
			return bad(protocol.CodeBadRequest)
		}
	}

	id, err := oracleString(members["id"])
	if err != nil || len(id) > 128 {
		return bad(protocol.CodeBadRequest)
	}
	// From here on the id is known, and comes beside an error.
	known := protocol.Request{ID: id, HasID: id != ""}
	bad = func(code protocol.ErrorCode) verdict { return verdict{code: code, req: known} }
	typ, err := oracleString(members["type"])
	if err != nil || typ == "" {
		return bad(protocol.CodeBadRequest)
	}
	req := known
	switch {
	case !isASCII(typ):
		return bad(protocol.CodeUnknownType)
	case strings.EqualFold(typ, "heartbeat"):
		req.Type = protocol.HeartbeatRequest
		return verdict{req: req}
	case strings.EqualFold(typ, "authenticate"):
		req.Type = protocol.AuthenticateRequest
		if req.Token, err = oracleString(members["token"]); err != nil || req.Token == "" {
			return bad(protocol.CodeBadRequest)
		}
		return verdict{req: req}
	case strings.EqualFold(typ, "subscribe"):
		req.Type = protocol.SubscribeRequest
	case strings.EqualFold(typ, "unsubscribe"):
		req.Type = protocol.UnsubscribeRequest
	case strings.EqualFold(typ, "publish"):
		req.Type = protocol.PublishRequest
	default:
		return bad(protocol.CodeUnknownType)
	}
	topics, err := oracleString(members["topic"])
	if err != nil {
		return bad(protocol.CodeBadRequest)
	}
	req.Topics = strings.Split(topics, ",")
	if len(req.Topics) > lim.MaxTopics {
		return bad(protocol.CodeTooManyTopics)
	}
	for _, topic := range req.Topics {
		if topic == "" || len(topic) > lim.MaxTopicBytes || strings.ContainsFunc(topic, func(r rune) bool {
			return unicode.IsControl(r) || unicode.IsSpace(r)
		}) {
			return bad(protocol.CodeBadTopic)
		}
	}
	data, ok := members["data"]
	if !ok && req.Type == protocol.PublishRequest {
		return bad(protocol.CodeBadRequest)
	}
	req.Data = data
	return verdict{req: req}
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// oracleString decodes a member that is a string, null, or not there.
func oracleString(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", err
	}
	if lonely(raw) {
		return "", errors.New("lone surrogate")
	}
	return s, nil
}

var (
	escapes   = regexp.MustCompile(`\\(u[0-9a-fA-F]{4}|.)`)
	pair      = regexp.MustCompile(`(?i)\\ud[89ab]..\\ud[c-f]..`)
	surrogate = regexp.MustCompile(`(?i)\\ud[89a-f]..`)
)

// lonely tells whether a JSON string has an escaped surrogate without its other half.
func lonely(raw []byte) bool {
	// Escapes that are no surrogates become a character that parts what stands around.
	only := escapes.ReplaceAllFunc(raw, func(e []byte) []byte {
		if surrogate.Match(e) {
			return e
		}
		return []byte("-")
	})
	return surrogate.Match(pair.ReplaceAll(only, nil))
}

// depth is how many levels of arrays and objects valid JSON has.
func depth(b []byte) int {
	d := json.NewDecoder(bytes.NewReader(b))
	level, deepest := 0, 0
	for {
		token, err := d.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			level++
			deepest = max(deepest, level)
		case json.Delim('}'), json.Delim(']'):
			level--
		}
	}
}

// keys counts the keys of a JSON object.
func keys(b []byte) map[string]int {
	count := map[string]int{}
	d := json.NewDecoder(bytes.NewReader(b))
	_, _ = d.Token() // the brace
	for d.More() {
		key, err := d.Token()
		if err != nil {
			break
		}
		name, _ := key.(string)
		count[name]++
		var skipped json.RawMessage
		if err := d.Decode(&skipped); err != nil {
			break
		}
	}
	return count
}

// checkRequest holds ParseRequest to the oracle for one frame.
func checkRequest(frame []byte, lim protocol.RequestLimits) string {
	return guard(func() string {
		input := slices.Clone(frame)
		want := oracleRequest(frame, lim)
		got, err := protocol.ParseRequest(input, lim)
		if !bytes.Equal(input, frame) {
			return "ParseRequest changes the frame"
		}
		var refused *protocol.RequestError
		switch {
		case err == nil && want.code != "":
			return fmt.Sprintf("accepted as %q %q id %q data %q, want %s", got.Type, got.Topics, got.ID, got.Data, want.code)
		case err != nil && !errors.As(err, &refused):
			return fmt.Sprintf("error is a %T", err)
		case err != nil && (refused.Code != want.code || refused.Close != want.close):
			return fmt.Sprintf("%v, close %v; want %q, close %v", err, refused.Close, want.code, want.close)
		case err != nil && (refused.Reason == "" || len(refused.Reason) > 500 || !utf8.ValidString(refused.Reason)):
			return fmt.Sprintf("reason %q", refused.Reason)
		}
		if diff := requestDiff(got, want.req); diff != "" {
			return diff
		}
		if len(got.Data) != cap(got.Data) {
			return fmt.Sprintf("data of %d bytes has capacity %d", len(got.Data), cap(got.Data))
		}
		// The strings are the caller's, whatever becomes of the frame.
		clear(input)
		got.Data = want.req.Data
		return requestDiff(got, want.req)
	})
}

func requestDiff(got, want protocol.Request) string {
	if got.Type != want.Type || !slices.Equal(got.Topics, want.Topics) || got.ID != want.ID || got.HasID != want.HasID || got.Token != want.Token ||
		!bytes.Equal(got.Data, want.Data) || (got.Data == nil) != (want.Data == nil) {
		return fmt.Sprintf("request %q %q id %q (%v) data %q; want %q %q id %q (%v) data %q",
			got.Type, got.Topics, got.ID, got.HasID, got.Data, want.Type, want.Topics, want.ID, want.HasID, want.Data)
	}
	return ""
}

// pushFrame is a v1 push as a client decodes it.
type pushFrame struct {
	Type     string
	Topic    string
	Data     json.RawMessage
	Encoding *string
}

// checkPush holds AppendPushV1 to what a client can make of the frame.
func checkPush(topic string, data []byte) string {
	return guard(func() string {
		prefix := []byte("as it was")
		frame := protocol.AppendPushV1(slices.Clone(prefix), topic, data)
		if !bytes.HasPrefix(frame, prefix) {
			return "the prefix is gone"
		}
		frame = frame[len(prefix):]
		if !json.Valid(frame) || !utf8.Valid(frame) {
			return fmt.Sprintf("not JSON or not UTF-8: %q", frame)
		}
		if again := protocol.AppendPushV1(nil, topic, data); !bytes.Equal(again, frame) {
			return "not deterministic"
		}
		if d := depth(frame); d > 64 {
			return fmt.Sprintf("%d levels deep", d)
		}
		decoder := json.NewDecoder(bytes.NewReader(frame))
		decoder.DisallowUnknownFields()
		var push pushFrame
		if err := decoder.Decode(&push); err != nil {
			return fmt.Sprintf("%v in %q", err, frame)
		}
		if _, err := decoder.Token(); err != io.EOF {
			return "something stands behind the frame"
		}
		if push.Type != "publish" || push.Topic != string([]rune(topic)) {
			return fmt.Sprintf("type %q, topic %q", push.Type, push.Topic)
		}
		trimmed := bytes.Trim(data, " \t\n\r")
		asJSON := json.Valid(data) && utf8.Valid(data) && depth(data) < 64
		var text string
		switch {
		case push.Encoding == nil:
			if !asJSON || !bytes.Equal(push.Data, trimmed) {
				return fmt.Sprintf("JSON %q, want %q, which is JSON: %v", push.Data, trimmed, asJSON)
			}
			return ""
		case asJSON:
			return fmt.Sprintf("JSON is sent as %s", *push.Encoding)
		}
		if err := json.Unmarshal(push.Data, &text); err != nil {
			return err.Error()
		}
		switch *push.Encoding {
		case protocol.EncodingText:
			if !utf8.Valid(data) || text != string(data) {
				return fmt.Sprintf("text %q", text)
			}
		case protocol.EncodingBase64:
			decoded, err := base64.StdEncoding.DecodeString(text)
			if utf8.Valid(data) || err != nil || !bytes.Equal(decoded, data) {
				return fmt.Sprintf("base64 %q is %q, %v", text, decoded, err)
			}
		default:
			return "encoding " + *push.Encoding
		}
		return ""
	})
}
