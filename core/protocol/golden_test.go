package protocol_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firetower/core/protocol"
)

// The dumps in testdata/golden were not made by this package, and there is no flag that makes
// them anew: existing peers speak these bytes.
func TestGoldenPackets(t *testing.T) {
	rows := map[string]protocol.Packet{
		"publish-user": {
			Type: protocol.PublishKey, MessageID: "1054728917433925632", Source: protocol.SourceUser,
			Topic: "room/1", Body: []byte(`{"text":"hello"}`),
		},
		"publish-platform-without-id": {
			Type: protocol.PublishKey, Source: protocol.SourcePlatform, Topic: "news", Body: []byte("plain text"),
		},
		"publish-empty-body": publish("t", nil),
		"publish-body-holds-magic": publish("t",
			[]byte("FireHeader\x00\x00\x00\x06t   x\nFireHeader\xff\xff\xff\xff")),
		"publish-utf8-topic":     publish("烽火台/é", []byte(`"é"`)),
		"publish-topic-not-utf8": publish("\xb7\xe9\xbb\xf0", []byte("\x00\xff\n")),
		"heartbeat":              protocol.HeartbeatPacket(),
		"offline-topic": {
			Type: protocol.OfflineTopicKey, MessageID: "18", Source: protocol.SourceSystem, Topic: "room/1", Body: []byte("room/1"),
		},
		"offline-topic-by-userid": {
			Type: protocol.OfflineTopicByUserIDKey, MessageID: "19", Source: protocol.SourceSystem, Topic: "room/1", Body: []byte("user-7"),
		},
		"offline-user": {
			Type: protocol.OfflineUserKey, MessageID: "20", Source: protocol.SourceSystem,
			Topic: protocol.HeartbeatTopic, Body: []byte("user-7"),
		},
		"hello": {
			Type: protocol.HelloKey, MessageID: "0", Source: protocol.SourceSystem,
			Topic: protocol.HeartbeatTopic, Body: []byte("\x0a\x02g1\x10\x07"),
		},
		"unknown-type": {Type: "later", MessageID: "1", Source: "elsewhere", Topic: "t", Body: []byte("?")},
	}
	files, err := filepath.Glob("testdata/golden/*.hex")
	if err != nil || len(files) != len(rows) {
		t.Fatalf("%d dumps and %d packets, %v", len(files), len(rows), err)
	}
	for name, p := range rows {
		t.Run(name, func(t *testing.T) {
			dump, err := os.ReadFile(filepath.Join("testdata", "golden", name+".hex"))
			if err != nil {
				t.Fatal(err)
			}
			b, err := protocol.Enpack(p)
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.Dump(b); got != string(dump) {
				t.Errorf("encoded:\n%swant:\n%s", got, dump)
			}
			got, n, err := protocol.Depack(undump(t, string(dump)), 0)
			if err != nil || n != len(b) {
				t.Fatalf("took %d of %d, %v", n, len(b), err)
			}
			if diff := packetDiff(got, p); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// undump reads what hex.Dump writes.
func undump(t *testing.T, dump string) []byte {
	t.Helper()
	var b []byte
	for line := range strings.Lines(dump) {
		bar := strings.IndexByte(line, '|')
		part, err := hex.DecodeString(strings.ReplaceAll(line[9:bar], " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, part...)
	}
	return b
}
