package reference_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"firetower/loadtest/reference"
)

func TestParseRequest(t *testing.T) {
	publish := func(topic, data string) reference.Request {
		return reference.Request{Kind: reference.RequestPublish, Topic: topic, Data: data}
	}
	tests := map[string]struct {
		frame string
		want  reference.Request // no kind means refused
	}{
		"publish as the harness sends it": {`{"type":"publish","topic":"t-1","data":"FT1."}`, publish("t-1", `"FT1."`)},
		"publish in another order":        {`{"data":[1],"topic":"t-1","type":"publish"}`, publish("t-1", "[1]")},
		"data that looks like two":        {`{"type":"publish","topic":"a","data":"x","data":"y"}`, publish("a", `"y"`)},
		"topic with an escape":            {`{"type":"publish","topic":"a\u0062","data":"x"}`, publish("ab", `"x"`)},
		"data with an escape":             {`{"type":"publish","topic":"a","data":"\""}`, publish("a", `"\""`)},
		"data of JSON null":               {`{"type":"publish","topic":"a","data":null}`, publish("a", "null")},
		"subscribe":                       {`{"type":"subscribe","topic":"a,b"}`, reference.Request{Kind: reference.RequestSubscribe, Names: "a,b"}},
		"unSubscribe":                     {`{"type":"unSubscribe","topic":"a"}`, reference.Request{Kind: reference.RequestUnsubscribe, Names: "a"}},
		"heartbeat text":                  {`heartbeat`, reference.Request{Kind: reference.RequestIgnored}},
		"heartbeat":                       {`{"type":"heartbeat"}`, reference.Request{Kind: reference.RequestIgnored}},
		"nothing":                         {"", reference.Request{}},
		"null":                            {"null", reference.Request{}},
		"publish cut in its topic":        {`{"type":"publish","topic":"`, reference.Request{}},
		"publish cut before its data":     {`{"type":"publish","topic":"a","data":`, reference.Request{}},
		"publish cut in its data":         {`{"type":"publish","topic":"a","data":"`, reference.Request{}},
		"publish cut behind its data":     {`{"type":"publish","topic":"a","data":"x"`, reference.Request{}},
		"publish to nothing":              {`{"type":"publish","topic":"","data":"x"}`, reference.Request{}},
		"control character":               {"{\"type\":\"publish\",\"topic\":\"a\n\",\"data\":\"x\"}", reference.Request{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := reference.ParseRequest([]byte(tt.frame))
			if (err != nil) != (tt.want.Kind == 0) || got != tt.want {
				t.Errorf("%+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

// What the short way takes is what encoding/json would have made of it.
func FuzzParseRequest(f *testing.F) {
	for _, seed := range []string{
		`{"type":"publish","topic":"t-1","data":"FT1."}`, `{"type":"publish","topic":"a","data":"x","data":"y"}`,
		`{"type":"publish","topic":"`, `{"type":"publish","topic":"a","data":`, `{"type":"subscribe","topic":"a,b"}`, `null`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		got, err := reference.ParseRequest(frame)
		if err != nil || got.Kind != reference.RequestPublish {
			return
		}
		var want struct {
			Type, Topic string
			Data        json.RawMessage
		}
		if err := json.Unmarshal(frame, &want); err != nil {
			t.Fatalf("%q is taken for %+v, and is no JSON: %v", frame, got, err)
		}
		if want.Type != "publish" || want.Topic != got.Topic || !bytes.Equal(want.Data, []byte(got.Data)) {
			t.Errorf("%q is taken for %+v", frame, got)
		}
	})
}
