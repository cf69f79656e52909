package protocol_test

import (
	"bytes"
	"strings"
	"testing"

	"firetower/core/protocol"
)

// Package-level, so that the compiler keeps what is measured.
var (
	sinkBytes  []byte
	sinkPacket protocol.Packet
	sinkInt    int
	errSink    error
)

func wantAllocs(t *testing.T, name string, want float64, f func()) {
	t.Helper()
	if got := testing.AllocsPerRun(200, f); got > want {
		t.Errorf("%s: %v allocations, want at most %v", name, got, want)
	}
}

// U4-10: encode at most once per packet, and not at all into a given buffer; decode no
// more than the packet itself.
func TestU4_10_Allocations(t *testing.T) {
	p := publish("room/1", make([]byte, 512))
	p.MessageID = "1054728917433925632"
	encoded := mustEnpack(t, p)
	heartbeat := mustEnpack(t, protocol.HeartbeatPacket())
	unknown := mustEnpack(t, protocol.Packet{Type: "later", MessageID: "1", Source: "elsewhere", Topic: "t", Body: []byte("x")})

	wantAllocs(t, "Enpack", 1, func() { sinkBytes, errSink = protocol.Enpack(p) })
	buf := make([]byte, 0, len(encoded))
	wantAllocs(t, "AppendPacket with room", 0, func() { sinkBytes, errSink = protocol.AppendPacket(buf, p) })
	wantAllocs(t, "PacketSize", 0, func() { sinkInt = protocol.PacketSize(p) })
	// One string for message id and topic; types and sources are constants.
	wantAllocs(t, "Depack", 1, func() { sinkPacket, sinkInt, errSink = protocol.Depack(encoded, 0) })
	wantAllocs(t, "Depack, unknown type and source", 1, func() { sinkPacket, sinkInt, errSink = protocol.Depack(unknown, 0) })
	wantAllocs(t, "Depack, heartbeat", 0, func() { sinkPacket, sinkInt, errSink = protocol.Depack(heartbeat, 0) })
	wantAllocs(t, "Depack, incomplete", 0, func() { sinkPacket, sinkInt, errSink = protocol.Depack(encoded[:40], 0) })
	wantAllocs(t, "ValidTopic", 0, func() { errSink = protocol.ValidTopic("烽火台/é", 0) })
}

func TestU4_10_ReaderAllocations(t *testing.T) {
	for _, row := range []struct {
		name string
		body int
		want float64
	}{
		{"small", 128, 2}, // the packet's bytes, and one string for id and topic
		{"as large as the buffer", protocol.ReadBuffer - 100, 2},
		{"larger than the buffer", 4 * protocol.ReadBuffer, 2},
		{"larger than what is trusted", 2 * protocol.TrustedSize, 4}, // grows twice
	} {
		t.Run(row.name, func(t *testing.T) {
			src := &endless{packet: mustEnpack(t, publish("room/1", make([]byte, row.body)))}
			r := protocol.NewReader(src, 0)
			wantAllocs(t, "Next", row.want, func() { sinkPacket, errSink = r.Next() })
			if errSink != nil {
				t.Fatal(errSink)
			}
		})
	}
}

// endless is a stream that repeats one packet, and allocates nothing.
type endless struct {
	packet []byte
	at     int
}

func (e *endless) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		c := copy(b[n:], e.packet[e.at:])
		n += c
		e.at = (e.at + c) % len(e.packet)
	}
	return n, nil
}

func TestClientFrameAllocations(t *testing.T) {
	lim := protocol.DefaultRequestLimits()
	var req protocol.Request
	parse := func(s string) func() {
		frame := []byte(s)
		return func() { req, errSink = protocol.ParseRequest(frame, lim) }
	}
	// The topic's text, the list of topics, and the id if there is one.
	wantAllocs(t, "publish", 2, parse(`{"type":"publish","topic":"room/1","data":{"text":"hello"}}`))
	wantAllocs(t, "publish with id", 3, parse(`{"type":"publish","topic":"room/1","data":{"text":"hello"},"id":"77"}`))
	wantAllocs(t, "subscribe to eight", 2, parse(`{"type":"subscribe","topic":"a,b,c,d,e,f,g,h"}`))
	wantAllocs(t, "heartbeat", 0, parse(protocol.HeartbeatFrame))
	if errSink != nil {
		t.Fatal(errSink)
	}
	sinkInt = len(req.Topics)

	buf := make([]byte, 0, 4096)
	for name, data := range map[string][]byte{
		"JSON":   []byte(`{"text":"hello","n":[1,2.5,null]}`),
		"text":   []byte("not JSON, é 火 \n \"quoted\""),
		"binary": []byte("\x00\xff\xfe\x01"),
		"empty":  nil,
	} {
		wantAllocs(t, "AppendPushV1, "+name, 0, func() { sinkBytes = protocol.AppendPushV1(buf, "room/火", data) })
	}
	results := []protocol.TopicResult{{Topic: "a"}, {Topic: "b", Code: protocol.CodeForbidden}}
	wantAllocs(t, "AppendReply", 0, func() { sinkBytes = protocol.AppendReply(buf, "subscribe", "77", results) })
	wantAllocs(t, "AppendError", 0, func() { sinkBytes = protocol.AppendError(buf, protocol.CodeInternal, "why", "77") })
}

func BenchmarkEnpack(b *testing.B) {
	forBodies(b, func(b *testing.B, p protocol.Packet) {
		b.Helper()
		for b.Loop() {
			sinkBytes, errSink = protocol.Enpack(p)
		}
	})
}

func BenchmarkAppendPacket(b *testing.B) {
	forBodies(b, func(b *testing.B, p protocol.Packet) {
		b.Helper()
		buf := make([]byte, 0, protocol.PacketSize(p))
		for b.Loop() {
			sinkBytes, errSink = protocol.AppendPacket(buf, p)
		}
	})
}

func BenchmarkDepack(b *testing.B) {
	forBodies(b, func(b *testing.B, p protocol.Packet) {
		b.Helper()
		encoded := mustEnpack(b, p)
		for b.Loop() {
			sinkPacket, sinkInt, errSink = protocol.Depack(encoded, 0)
		}
	})
}

func BenchmarkReaderNext(b *testing.B) {
	forBodies(b, func(b *testing.B, p protocol.Packet) {
		b.Helper()
		r := protocol.NewReader(&endless{packet: mustEnpack(b, p)}, 0)
		for b.Loop() {
			sinkPacket, errSink = r.Next()
		}
	})
	if errSink != nil {
		b.Fatal(errSink)
	}
}

func forBodies(b *testing.B, run func(*testing.B, protocol.Packet)) {
	b.Helper()
	for _, row := range []struct {
		name string
		size int
	}{{"body=128", 128}, {"body=4KiB", 4 << 10}, {"body=1MiB", 1 << 20}} {
		b.Run(row.name, func(b *testing.B) {
			p := publish("room/1", bytes.Repeat([]byte("FireHeader"), row.size/10+1)[:row.size])
			p.MessageID = "1054728917433925632"
			b.SetBytes(int64(protocol.PacketSize(p)))
			b.ReportAllocs()
			run(b, p)
		})
	}
}

func BenchmarkParseRequest(b *testing.B) {
	for _, row := range []struct{ name, frame string }{
		{"kind=subscribe/topics=1", `{"type":"subscribe","topic":"room/1","id":"77"}`},
		{"kind=subscribe/topics=100", `{"type":"subscribe","topic":"` + strings.Repeat("room/1,", 99) + `room/1"}`},
		{"kind=publish/data=128", `{"type":"publish","topic":"room/1","data":"` + strings.Repeat("x", 126) + `"}`},
		{"kind=publish/data=4KiB", `{"type":"publish","topic":"room/1","data":[` + strings.Repeat(`{"n":12.5,"s":"text"},`, 190) + `0]}`},
	} {
		b.Run(row.name, func(b *testing.B) {
			frame, lim := []byte(row.frame), protocol.DefaultRequestLimits()
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			var req protocol.Request
			for b.Loop() {
				req, errSink = protocol.ParseRequest(frame, lim)
			}
			if errSink != nil || len(req.Topics) == 0 {
				b.Fatal(errSink)
			}
		})
	}
}

func BenchmarkAppendPushV1(b *testing.B) {
	for _, row := range []struct {
		name string
		data []byte
	}{
		{"kind=json/data=128", []byte(`"` + strings.Repeat("x", 126) + `"`)},
		{"kind=json/data=4KiB", []byte("[" + strings.Repeat(`{"n":12.5,"s":"text"},`, 186) + "0]")},
		{"kind=text/data=4KiB", bytes.Repeat([]byte("text "), 819)},
		{"kind=binary/data=4KiB", bytes.Repeat([]byte{0xff}, 4096)},
	} {
		b.Run(row.name, func(b *testing.B) {
			buf := make([]byte, 0, 8<<10)
			b.SetBytes(int64(len(row.data)))
			b.ReportAllocs()
			for b.Loop() {
				sinkBytes = protocol.AppendPushV1(buf, "room/1", row.data)
			}
		})
	}
}
