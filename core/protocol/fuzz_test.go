package protocol_test

import (
	"testing"

	"firetower/core/protocol"
)

// The corpora are in testdata/fuzz; a found case becomes a named file there and a row of
// the table it belongs to. Run one with
//
//	go test ./core/protocol -run=^$ -fuzz=FuzzDepack -fuzztime=20s

func FuzzDepack(f *testing.F) {
	f.Add([]byte("FireHeader\x00\x00\x00\x06t   x\n"), 0)
	f.Fuzz(func(t *testing.T, b []byte, limit int) {
		if finding := checkDepack(b, limit); finding != "" {
			t.Error(finding)
		}
	})
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("FireHeader\x00\x00\x00\x06t   x\nFireHeader\x00\x00\x00\x08t   x\nab"), []byte{0})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		if finding := checkReader(stream, cuts, 1<<20); finding != "" {
			t.Error(finding)
		}
	})
}

func FuzzEnpack(f *testing.F) {
	f.Add("publish", "1", "user", "room/1", []byte("body"))
	f.Fuzz(func(t *testing.T, typ, id, source, topic string, body []byte) {
		p := protocol.Packet{
			Type: protocol.MessageType(typ), MessageID: id, Source: protocol.Source(source), Topic: topic, Body: body,
		}
		if finding := checkEncode(p); finding != "" {
			t.Error(finding)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"type":"publish","topic":"a,b","data":{"x":[1]},"id":"7"}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if finding := checkRequest(frame, protocol.DefaultRequestLimits()); finding != "" {
			t.Error(finding)
		}
	})
}

func FuzzAppendPushV1(f *testing.F) {
	f.Add("a", []byte(`{"x":1}`))
	f.Fuzz(func(t *testing.T, topic string, data []byte) {
		if finding := checkPush(topic, data); finding != "" {
			t.Error(finding)
		}
	})
}
