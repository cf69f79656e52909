package protocol_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"firetower/core/protocol"
)

// arrays and objects return JSON nested n levels deep.
func arrays(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func objects(n int) string { return strings.Repeat(`{"a":`, n-1) + "{}" + strings.Repeat("}", n-1) }

// What a frame may do to a connection is an error of that connection, typed; and to the process, nothing.
func TestU4_24_FramesThatAreNotRequests(t *testing.T) {
	const (
		goesOn = false
		closes = true
	)
	for _, row := range []struct {
		name, frame string
		code        protocol.ErrorCode
		close       bool
	}{
		{"null", `null`, protocol.CodeBadRequest, closes},
		{"nothing", ``, protocol.CodeBadRequest, closes},
		{"white space", " \n", protocol.CodeBadRequest, closes},
		{"array", `[]`, protocol.CodeBadRequest, closes},
		{"array of a request", `[{"type":"subscribe","topic":"a"}]`, protocol.CodeBadRequest, closes},
		{"string", `"subscribe"`, protocol.CodeBadRequest, closes},
		{"number", `1`, protocol.CodeBadRequest, closes},
		{"true", `true`, protocol.CodeBadRequest, closes},
		{"text", `hello`, protocol.CodeBadRequest, closes},
		{"heartbeat and more", `heartbeat `, protocol.CodeBadRequest, closes},
		{"binary", "\x00\x01\x02", protocol.CodeBadRequest, closes},
		{"a link's packet", "FireHeader\x00\x00\x00\x06t   x\n", protocol.CodeBadRequest, closes},
		{"cut", `{"type":"subscribe","topic":"a`, protocol.CodeBadRequest, closes},
		{"brace only", `{`, protocol.CodeBadRequest, closes},
		{"key only", `{"type"`, protocol.CodeBadRequest, closes},
		{"no value", `{"type":}`, protocol.CodeBadRequest, closes},
		{"comma at the end", `{"type":"subscribe","topic":"a",}`, protocol.CodeBadRequest, closes},
		{"comma alone", `{,}`, protocol.CodeBadRequest, closes},
		{"two objects", `{"type":"subscribe","topic":"a"}{}`, protocol.CodeBadRequest, closes},
		{"single quotes", `{'type':'subscribe'}`, protocol.CodeBadRequest, closes},
		{"key without quotes", `{type:"subscribe"}`, protocol.CodeBadRequest, closes},
		{"comment", `{"type":"subscribe"/**/}`, protocol.CodeBadRequest, closes},
		{"NaN", `{"type":"publish","topic":"a","data":NaN}`, protocol.CodeBadRequest, closes},
		{"octal number", `{"type":"publish","topic":"a","data":01}`, protocol.CodeBadRequest, closes},
		{"number that ends in a dot", `{"type":"publish","topic":"a","data":1.}`, protocol.CodeBadRequest, closes},
		{"minus", `{"type":"publish","topic":"a","data":-}`, protocol.CodeBadRequest, closes},
		{"exponent without digits", `{"type":"publish","topic":"a","data":1e+}`, protocol.CodeBadRequest, closes},
		{"half a word", `{"type":"publish","topic":"a","data":tru}`, protocol.CodeBadRequest, closes},
		{"LF in a string", "{\"type\":\"publish\",\"topic\":\"a\",\"data\":\"\n\"}", protocol.CodeBadRequest, closes},
		{"unknown escape", `{"type":"publish","topic":"a","data":"\x"}`, protocol.CodeBadRequest, closes},
		{"escape that is not hexadecimal", `{"type":"publish","topic":"a","data":"\u00G0"}`, protocol.CodeBadRequest, closes},
		{"half an escape", `{"type":"publish","topic":"a","data":"\u12"}`, protocol.CodeBadRequest, closes},
		{"backslash at the end", `{"type":"publish","topic":"a","data":"\`, protocol.CodeBadRequest, closes},
		{"byte order mark", "\ufeff{}", protocol.CodeBadRequest, closes},
		{"invalid UTF-8 in data", "{\"type\":\"publish\",\"topic\":\"a\",\"data\":\"\xff\"}", protocol.CodeBadRequest, closes},
		{"invalid UTF-8 in a key", "{\"\xff\":1}", protocol.CodeBadRequest, closes},
		{"half of a UTF-8 character", "{\"type\":\"publish\",\"topic\":\"a\",\"data\":\"\xe7\x81\"}", protocol.CodeBadRequest, closes},
		{"UTF-8 of a surrogate", "{\"type\":\"publish\",\"topic\":\"a\",\"data\":\"\xed\xa0\x80\"}", protocol.CodeBadRequest, closes},
		{"arrays nested too deeply", `{"type":"publish","topic":"a","data":` + arrays(64) + `}`, protocol.CodeBadRequest, closes},
		{"objects nested too deeply", `{"type":"publish","topic":"a","data":` + objects(64) + `}`, protocol.CodeBadRequest, closes},
		{"65,536 brackets", strings.Repeat("[", 1<<16), protocol.CodeBadRequest, closes},
		{"65,536 open objects", strings.Repeat(`{"a":`, 1<<16), protocol.CodeBadRequest, closes},
		{"65,536 open arrays in data", `{"data":` + strings.Repeat("[", 1<<16), protocol.CodeBadRequest, closes},

		{"empty object", `{}`, protocol.CodeBadRequest, goesOn},
		{"type is null", `{"type":null,"topic":"a"}`, protocol.CodeBadRequest, goesOn},
		{"type is a number", `{"type":1,"topic":"a"}`, protocol.CodeBadRequest, goesOn},
		{"type is an object", `{"type":{},"topic":"a"}`, protocol.CodeBadRequest, goesOn},
		{"type is empty", `{"type":"","topic":"a"}`, protocol.CodeBadRequest, goesOn},
		{"type in capitals in the key", `{"Type":"subscribe","topic":"a"}`, protocol.CodeBadRequest, goesOn},
		{"topic is an array", `{"type":"subscribe","topic":["a"]}`, protocol.CodeBadRequest, goesOn},
		{"topic is a number", `{"type":"subscribe","topic":7}`, protocol.CodeBadRequest, goesOn},
		{"topic is true", `{"type":"subscribe","topic":true}`, protocol.CodeBadRequest, goesOn},
		{"id is a number", `{"type":"subscribe","topic":"a","id":1}`, protocol.CodeBadRequest, goesOn},
		{"id is too long", `{"type":"subscribe","topic":"a","id":"` + strings.Repeat("1", 129) + `"}`, protocol.CodeBadRequest, goesOn},
		{"id of 64 KiB", `{"type":"subscribe","topic":"a","id":"` + strings.Repeat("1", 1<<16) + `"}`, protocol.CodeBadRequest, goesOn},
		{"type twice", `{"type":"subscribe","topic":"a","type":"publish"}`, protocol.CodeBadRequest, goesOn},
		{"topic twice", `{"type":"subscribe","topic":"a","topic":"a"}`, protocol.CodeBadRequest, goesOn},
		{"topic twice, once escaped", `{"type":"subscribe","topic":"a","t\u006fpic":"b"}`, protocol.CodeBadRequest, goesOn},
		{"id twice, once null", `{"type":"subscribe","topic":"a","id":null,"id":"1"}`, protocol.CodeBadRequest, goesOn},
		{"data missing", `{"type":"publish","topic":"a"}`, protocol.CodeBadRequest, goesOn},
		{"lone surrogate in topic", `{"type":"subscribe","topic":"a\ud83d"}`, protocol.CodeBadRequest, goesOn},
		{"surrogates in the wrong order", `{"type":"subscribe","topic":"\ude00\ud83d"}`, protocol.CodeBadRequest, goesOn},
		{"last surrogate alone", `{"type":"subscribe","topic":"a\udfff"}`, protocol.CodeBadRequest, goesOn},
		{"first half and what is no surrogate", `{"type":"subscribe","topic":"\ud83d\ue000"}`, protocol.CodeBadRequest, goesOn},
		{"lone surrogate in id", `{"type":"subscribe","topic":"a","id":"\udc00"}`, protocol.CodeBadRequest, goesOn},
		{"lone surrogate in type", `{"type":"subscribe\ud800","topic":"a"}`, protocol.CodeBadRequest, goesOn},

		{"type that is not there", `{"type":"explode","topic":"a"}`, protocol.CodeUnknownType, goesOn},
		{"admin operation", `{"type":"offline_user","topic":"*","data":"user-7"}`, protocol.CodeUnknownType, goesOn},
		{"type with a long s", `{"type":"ſubscribe","topic":"a"}`, protocol.CodeUnknownType, goesOn},
		{"type with a space", `{"type":"subscribe ","topic":"a"}`, protocol.CodeUnknownType, goesOn},
		{"type of 64 KiB", `{"type":"` + strings.Repeat("x", 1<<16) + `"}`, protocol.CodeUnknownType, goesOn},

		{"token missing", `{"type":"authenticate"}`, protocol.CodeBadRequest, goesOn},
		{"token is empty", `{"type":"authenticate","token":""}`, protocol.CodeBadRequest, goesOn},
		{"token is null", `{"type":"authenticate","token":null}`, protocol.CodeBadRequest, goesOn},
		{"token is a number", `{"type":"authenticate","token":1}`, protocol.CodeBadRequest, goesOn},
		{"token twice", `{"type":"authenticate","token":"a","token":"b"}`, protocol.CodeBadRequest, goesOn},

		{"topic missing", `{"type":"subscribe"}`, protocol.CodeBadTopic, goesOn},
		{"topic is null", `{"type":"subscribe","topic":null}`, protocol.CodeBadTopic, goesOn},
		{"topic is empty", `{"type":"subscribe","topic":""}`, protocol.CodeBadTopic, goesOn},
		{"topic with a space", `{"type":"subscribe","topic":"a b"}`, protocol.CodeBadTopic, goesOn},
		{"topic with an escaped LF", `{"type":"publish","topic":"a\nb","data":1}`, protocol.CodeBadTopic, goesOn},
		{"topic with an escaped NUL", `{"type":"publish","topic":"a\u0000b","data":1}`, protocol.CodeBadTopic, goesOn},
		{"topic of 256 bytes", `{"type":"subscribe","topic":"` + strings.Repeat("t", 256) + `"}`, protocol.CodeBadTopic, goesOn},
		{"topic of 64 KiB", `{"type":"subscribe","topic":"` + strings.Repeat("t", 1<<16) + `"}`, protocol.CodeBadTopic, goesOn},
		{"129 topics", `{"type":"subscribe","topic":"a` + strings.Repeat(",a", 128) + `"}`, protocol.CodeTooManyTopics, goesOn},
		{"65,536 topics", `{"type":"subscribe","topic":"` + strings.Repeat("a,", 1<<16) + `"}`, protocol.CodeTooManyTopics, goesOn},
		{"65,536 commas", `{"type":"subscribe","topic":"` + strings.Repeat(",", 1<<16) + `"}`, protocol.CodeTooManyTopics, goesOn},
	} {
		t.Run(row.name, func(t *testing.T) {
			if finding := checkRequest([]byte(row.frame), protocol.DefaultRequestLimits()); finding != "" {
				t.Fatal(finding)
			}
			_, err := protocol.ParseRequest([]byte(row.frame), protocol.RequestLimits{})
			var refused *protocol.RequestError
			if !errors.As(err, &refused) || refused.Code != row.code || refused.Close != row.close {
				t.Fatalf("got %v, want %s, close %v", err, row.code, row.close)
			}
			if len(err.Error()) > 500 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		})
	}
}

func TestRequestsThatAreGood(t *testing.T) {
	deepest := arrays(63)
	for _, row := range []struct {
		name, frame string
		want        protocol.Request
	}{
		{"subscribe", `{"type":"subscribe","topic":"a"}`, protocol.Request{Type: protocol.SubscribeRequest, Topics: []string{"a"}}},
		{"several topics", `{"type":"subscribe","topic":"a,b,c"}`, protocol.Request{Type: protocol.SubscribeRequest, Topics: []string{"a", "b", "c"}}},
		{"unSubscribe", `{"type":"unSubscribe","topic":"a"}`, protocol.Request{Type: protocol.UnsubscribeRequest, Topics: []string{"a"}}},
		{"unsubscribe", `{"type":"unsubscribe","topic":"a"}`, protocol.Request{Type: protocol.UnsubscribeRequest, Topics: []string{"a"}}},
		{"SUBSCRIBE", `{"type":"SUBSCRIBE","topic":"a"}`, protocol.Request{Type: protocol.SubscribeRequest, Topics: []string{"a"}}},
		{"publish", `{"type":"publish","topic":"a","data":{"x":[1,2]}}`, protocol.Request{Type: protocol.PublishRequest, Topics: []string{"a"}, Data: json.RawMessage(`{"x":[1,2]}`)}},
		{"data as it was written", "{\"type\":\"publish\",\"topic\":\"a\",\"data\": [ 1 ,\t2 ] }", protocol.Request{Type: protocol.PublishRequest, Topics: []string{"a"}, Data: json.RawMessage("[ 1 ,\t2 ]")}},
		{"data is null", `{"type":"publish","topic":"a","data":null}`, protocol.Request{Type: protocol.PublishRequest, Topics: []string{"a"}, Data: json.RawMessage(`null`)}},
		{"data is empty", `{"type":"publish","topic":"a","data":""}`, protocol.Request{Type: protocol.PublishRequest, Topics: []string{"a"}, Data: json.RawMessage(`""`)}},
		{"data is a large number", `{"type":"publish","topic":"a","data":12345678901234567890.5e-300}`, protocol.Request{Type: protocol.PublishRequest, Topics: []string{"a"}, Data: json.RawMessage(`12345678901234567890.5e-300`)}},
		{"half a pair in data stays there", `{"type":"publish","topic":"a","data":"\ud83d"}`, protocol.Request{Type: protocol.PublishRequest, Topics: []string{"a"}, Data: json.RawMessage(`"\ud83d"`)}},
		{"keys may come twice in data", `{"type":"publish","topic":"a","data":{"a":1,"a":2}}`, protocol.Request{Type: protocol.PublishRequest, Topics: []string{"a"}, Data: json.RawMessage(`{"a":1,"a":2}`)}},
		{"as deep as may be", `{"type":"publish","topic":"a","data":` + deepest + `}`, protocol.Request{Type: protocol.PublishRequest, Topics: []string{"a"}, Data: json.RawMessage(deepest)}},
		{"as deep as may be, of objects", `{"type":"publish","topic":"a","data":` + objects(63) + `}`, protocol.Request{Type: protocol.PublishRequest, Topics: []string{"a"}, Data: json.RawMessage(objects(63))}},
		{"id", `{"type":"subscribe","topic":"a","id":"7"}`, protocol.Request{Type: protocol.SubscribeRequest, Topics: []string{"a"}, ID: "7", HasID: true}},
		{"id of 128 bytes", `{"type":"subscribe","topic":"a","id":"` + strings.Repeat("1", 128) + `"}`, protocol.Request{Type: protocol.SubscribeRequest, Topics: []string{"a"}, ID: strings.Repeat("1", 128), HasID: true}},
		{"empty id is none", `{"type":"subscribe","topic":"a","id":""}`, protocol.Request{Type: protocol.SubscribeRequest, Topics: []string{"a"}}},
		{"null id is none", `{"type":"subscribe","topic":"a","id":null}`, protocol.Request{Type: protocol.SubscribeRequest, Topics: []string{"a"}}},
		{"members that nobody knows", `{"v":2,"type":"subscribe","Topic":"x","topic":"a","v":[null]}`, protocol.Request{Type: protocol.SubscribeRequest, Topics: []string{"a"}}},
		{"not quite surrogates", `{"type":"subscribe","topic":"\ud7ff\ue000"}`, protocol.Request{Type: protocol.SubscribeRequest, Topics: []string{"\ud7ff\ue000"}}},
		{"keys and values escaped", `{"t\u0079pe":"sub\u0073cribe","topic":"\u706b,\ud83d\ude00,\/"}`, protocol.Request{Type: protocol.SubscribeRequest, Topics: []string{"火", "😀", "/"}}},
		{"UTF-8 topic", `{"type":"subscribe","topic":"烽火台"}`, protocol.Request{Type: protocol.SubscribeRequest, Topics: []string{"烽火台"}}},
		{"topic of 255 bytes", `{"type":"subscribe","topic":"` + strings.Repeat("t", 255) + `"}`, protocol.Request{Type: protocol.SubscribeRequest, Topics: []string{strings.Repeat("t", 255)}}},
		{"white space everywhere", " \r\n{ \"type\" :\t\"subscribe\" , \"topic\" : \"a\" } \n", protocol.Request{Type: protocol.SubscribeRequest, Topics: []string{"a"}}},
		{"authenticate", `{"type":"authenticate","token":"a.b.c","id":"7","topic":"not \n looked at"}`, protocol.Request{Type: protocol.AuthenticateRequest, Token: "a.b.c", ID: "7", HasID: true}},
		{"token of others is not looked at", `{"type":"subscribe","topic":"a","token":1}`, protocol.Request{Type: protocol.SubscribeRequest, Topics: []string{"a"}}},
		{"heartbeat", `heartbeat`, protocol.Request{Type: protocol.HeartbeatRequest}},
		{"heartbeat as JSON", `{"type":"heartbeat"}`, protocol.Request{Type: protocol.HeartbeatRequest}},
		{"heartbeat with an id", `{"type":"heartbeat","id":"7"}`, protocol.Request{Type: protocol.HeartbeatRequest, ID: "7", HasID: true}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if finding := checkRequest([]byte(row.frame), protocol.DefaultRequestLimits()); finding != "" {
				t.Fatal(finding)
			}
			got, err := protocol.ParseRequest([]byte(row.frame), protocol.RequestLimits{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := requestDiff(got, row.want); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestU4_26_NothingOutlivesAFrame(t *testing.T) {
	secret := []byte(`{"type":"publish","topic":"theirs","data":"secret","id":"9"}`)
	if _, err := protocol.ParseRequest(secret, protocol.RequestLimits{}); err != nil {
		t.Fatal(err)
	}
	for _, frame := range []string{`{"topic":"mine"}`, `{}`, `{"type":null}`, `null`, `{"type":"publish","topic":"mine"}`} {
		req, err := protocol.ParseRequest([]byte(frame), protocol.RequestLimits{})
		if err == nil {
			t.Errorf("%s is accepted as %+v", frame, req)
		}
		if diff := requestDiff(req, protocol.Request{}); diff != "" {
			t.Errorf("%s: %s", frame, diff)
		}
	}
}

func TestU4_40_TopicsAreSplitAndNamedInTheReply(t *testing.T) {
	for _, row := range []struct{ name, topics, refused string }{
		{"empty between", "a,,b", `topic "" must not be empty`},
		{"empty at the end", "a,", `topic "" must not be empty`},
		{"comma only", ",", `topic "" must not be empty`},
		{"space after the comma", "a, b", `topic " b" must not contain comma, space or control characters, has U+0020 at byte 0`},
	} {
		t.Run(row.name, func(t *testing.T) {
			req, err := protocol.ParseRequest([]byte(`{"type":"subscribe","id":"7","topic":"`+row.topics+`"}`), protocol.RequestLimits{})
			var refused *protocol.RequestError
			if !errors.As(err, &refused) || refused.Code != protocol.CodeBadTopic || refused.Close || refused.Reason != row.refused {
				t.Fatalf("got %v, want %s", err, row.refused)
			}
			if req.ID != "7" || !req.HasID || req.Topics != nil || req.Type != "" {
				t.Errorf("beside the error: %+v, want the id alone", req)
			}
		})
	}
	got := protocol.AppendReply(nil, "subscribe", "7", []protocol.TopicResult{{Topic: "a"}, {Topic: "b", Code: protocol.CodeForbidden}})
	want := `{"type":"subscribe","id":"7","ok":false,"topics":[{"topic":"a","ok":true},{"topic":"b","ok":false,"code":"forbidden"}]}`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRequestLimits(t *testing.T) {
	lim := protocol.RequestLimits{MaxTopics: 2, MaxTopicBytes: 3, MaxDepth: 2}
	for _, row := range []struct {
		name, frame string
		ok          bool
	}{
		{"two topics", `{"type":"subscribe","topic":"a,b"}`, true},
		{"three topics", `{"type":"subscribe","topic":"a,b,c"}`, false},
		{"three bytes", `{"type":"subscribe","topic":"abc"}`, true},
		{"four bytes", `{"type":"subscribe","topic":"abcd"}`, false},
		{"two levels", `{"type":"publish","topic":"a","data":[]}`, true},
		{"three levels", `{"type":"publish","topic":"a","data":[[]]}`, false},
		{"three levels, not in data", `{"type":"subscribe","topic":"a","other":{"a":[]}}`, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := protocol.ParseRequest([]byte(row.frame), lim); (err == nil) != row.ok {
				t.Errorf("got %v, want ok %v", err, row.ok)
			}
			if finding := checkRequest([]byte(row.frame), lim); finding != "" {
				t.Error(finding)
			}
		})
	}
}

func TestU4_41_PushNamesTopicAndKeepsBytes(t *testing.T) {
	for _, row := range []struct{ name, topic, data, want string }{
		{"object", "a", `{"x":1}`, `{"type":"publish","topic":"a","data":{"x":1}}`},
		{"string", "a", `"hello"`, `{"type":"publish","topic":"a","data":"hello"}`},
		{"number", "a", `1.5`, `{"type":"publish","topic":"a","data":1.5}`},
		{"null", "a", `null`, `{"type":"publish","topic":"a","data":null}`},
		{"JSON with a line end", "a", "{\"x\":1}\n", `{"type":"publish","topic":"a","data":{"x":1}}`},
		{"text", "a", `hello`, `{"type":"publish","topic":"a","data":"hello","encoding":"text"}`},
		{"nothing", "a", ``, `{"type":"publish","topic":"a","data":"","encoding":"text"}`},
		{"white space", "a", " \n", `{"type":"publish","topic":"a","data":" \n","encoding":"text"}`},
		{"two values", "a", `1 2`, `{"type":"publish","topic":"a","data":"1 2","encoding":"text"}`},
		{"closes the frame", "a", `1},{"x":2`, `{"type":"publish","topic":"a","data":"1},{\"x\":2","encoding":"text"}`},
		{"quotes and controls", "a", "\"\\\b\f\n\r\t\x00\x1f\x7f", "{\"type\":\"publish\",\"topic\":\"a\",\"data\":\"\\\"\\\\\\u0008\\u000c\\n\\r\\t\\u0000\\u001f\x7f\",\"encoding\":\"text\"}"},
		{"binary", "a", "\x00\xff", `{"type":"publish","topic":"a","data":"AP8=","encoding":"base64"}`},
		{"JSON but for one byte", "a", "\"\xff\"", `{"type":"publish","topic":"a","data":"Iv8i","encoding":"base64"}`},
		{"topic with quotes", `"a\`, `1`, `{"type":"publish","topic":"\"a\\","data":1}`},
		{"topic that is not UTF-8", "\xb7a", `1`, `{"type":"publish","topic":"�a","data":1}`},
		{"63 levels", "a", arrays(63), `{"type":"publish","topic":"a","data":` + arrays(63) + `}`},
		{"64 levels", "a", arrays(64), `{"type":"publish","topic":"a","data":"` + arrays(64) + `","encoding":"text"}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if finding := checkPush(row.topic, []byte(row.data)); finding != "" {
				t.Error(finding)
			}
			if got := protocol.AppendPushV1(nil, row.topic, []byte(row.data)); string(got) != row.want {
				t.Errorf("got %s\nwant %s", got, row.want)
			}
		})
	}
}

func TestRepliesAndErrors(t *testing.T) {
	for _, row := range []struct {
		name      string
		got       []byte
		want      string
		wantValid bool
	}{
		{"reply", protocol.AppendReply(nil, "subscribe", "7", []protocol.TopicResult{{Topic: "a"}}), `{"type":"subscribe","id":"7","ok":true,"topics":[{"topic":"a","ok":true}]}`, true},
		{"reply without an id", protocol.AppendReply(nil, "publish", "", []protocol.TopicResult{{Topic: "a"}}), `{"type":"publish","ok":true,"topics":[{"topic":"a","ok":true}]}`, true},
		{"reply without topics", protocol.AppendReply(nil, "heartbeat", "7", nil), `{"type":"heartbeat","id":"7","ok":true,"topics":[]}`, true},
		{"reply after a prefix", protocol.AppendReply([]byte("x"), "a", "", nil), `x{"type":"a","ok":true,"topics":[]}`, false},
		{"error", protocol.AppendError(nil, protocol.CodeBadTopic, `topic "a b"`, "7"), `{"type":"error","code":"bad_topic","reason":"topic \"a b\"","id":"7"}`, true},
		{"error without an id", protocol.AppendError(nil, protocol.CodeInternal, "", ""), `{"type":"error","code":"internal","reason":""}`, true},
		{"id that would break out", protocol.AppendError(nil, protocol.CodeInternal, "", `","x":"`), `{"type":"error","code":"internal","reason":"","id":"\",\"x\":\""}`, true},
		{"not UTF-8", protocol.AppendError(nil, protocol.CodeInternal, "a\xff\xfeb", ""), `{"type":"error","code":"internal","reason":"a��b"}`, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if string(row.got) != row.want {
				t.Errorf("got %s\nwant %s", row.got, row.want)
			}
			if json.Valid(row.got) != row.wantValid {
				t.Errorf("valid JSON: %v", !row.wantValid)
			}
		})
	}
}

func TestCloseCodes(t *testing.T) {
	for _, row := range []struct {
		code      int
		reconnect bool
	}{
		{1000, false},
		{1001, true},
		{1002, false},
		{1003, false},
		{1005, true},
		{1006, true},
		{1007, false},
		{1008, false},
		{1009, false},
		{1010, false},
		{1011, true},
		{protocol.CloseServiceRestart, true},
		{1013, true},
		{protocol.CloseProtocol, false},
		{protocol.CloseKicked, false},
		{protocol.CloseForbidden, false},
		{protocol.CloseSlowConsumer, true},
		{4099, false},
		{protocol.CloseReadTimeout, true},
		{protocol.CloseUnavailable, true},
		{protocol.CloseExpired, true},
		{4999, true},
		{0, true},
	} {
		t.Run(fmt.Sprint(row.code), func(t *testing.T) {
			if got := protocol.ShouldReconnect(row.code); got != row.reconnect {
				t.Errorf("got %v, want %v", got, row.reconnect)
			}
		})
	}
	if protocol.CloseSlowConsumer != 4008 {
		t.Error("existing clients know the slow consumer's code as 4008")
	}
}

// A request's data may be published and pushed: what comes in as JSON goes out as the same JSON.
func TestPublishedDataIsPushedAsItWasWritten(t *testing.T) {
	for _, data := range []string{`{"a": [1, 2.0e5, "\u00e9\ud83d\ude00"]}`, `"\ud83d"`, `null`, `""`, arrays(63)} {
		req, err := protocol.ParseRequest([]byte(`{"type":"publish","topic":"a","data":`+data+`}`), protocol.RequestLimits{})
		if err != nil {
			t.Fatal(err)
		}
		frame := protocol.AppendPushV1(nil, "a", req.Data)
		if !bytes.Contains(frame, []byte(`"data":`+data+`}`)) {
			t.Errorf("%s comes out as %s", data, frame)
		}
	}
}
