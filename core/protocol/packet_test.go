package protocol_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"firetower/core/protocol"
)

// publish returns a packet like those that most links carry.
func publish(topic string, body []byte) protocol.Packet {
	return protocol.Packet{Type: protocol.PublishKey, MessageID: "17", Source: protocol.SourceUser, Topic: topic, Body: body}
}

func mustEnpack(t testing.TB, p protocol.Packet) []byte {
	t.Helper()
	b, err := protocol.Enpack(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// frame puts magic and a length before a payload, whatever it is.
func frame(length uint32, payload string) []byte {
	b := binary.BigEndian.AppendUint32([]byte(protocol.Magic), length)
	return append(b, payload...)
}

func TestU4_01_FieldsNeverShift(t *testing.T) {
	good := publish("topic", []byte("body"))
	for _, row := range []struct {
		name   string
		change func(*protocol.Packet)
		field  string // the one refused; "" if the packet is valid
	}{
		{"plain", func(p *protocol.Packet) {}, ""},
		{"space in topic", func(p *protocol.Packet) { p.Topic = "a b" }, "topic"},
		{"LF in topic", func(p *protocol.Packet) { p.Topic = "a\nb" }, "topic"},
		{"CR at the topic's end", func(p *protocol.Packet) { p.Topic = "a\r" }, "topic"},
		{"tab in topic", func(p *protocol.Packet) { p.Topic = "a\tb" }, "topic"},
		{"NUL in topic", func(p *protocol.Packet) { p.Topic = "a\x00b" }, "topic"},
		{"DEL in topic", func(p *protocol.Packet) { p.Topic = "a\x7f" }, "topic"},
		{"empty topic", func(p *protocol.Packet) { p.Topic = "" }, "topic"},
		{"UTF-8 topic", func(p *protocol.Packet) { p.Topic = "烽火台/é/😀" }, ""},
		{"topic that is not UTF-8", func(p *protocol.Packet) { p.Topic = "\xb7\xe9" }, ""},
		{"topic with the magic in it", func(p *protocol.Packet) { p.Topic = "FireHeader" }, ""},
		{"empty type", func(p *protocol.Packet) { p.Type = "" }, "type"},
		{"space in type", func(p *protocol.Packet) { p.Type = "pub lish" }, "type"},
		{"LF in type", func(p *protocol.Packet) { p.Type = "publish\n" }, "type"},
		{"type that nobody knows", func(p *protocol.Packet) { p.Type = "later" }, ""},
		{"space in id", func(p *protocol.Packet) { p.MessageID = "1 2" }, "message id"},
		{"LF in id", func(p *protocol.Packet) { p.MessageID = "1\n2" }, "message id"},
		{"no id, as existing peers send", func(p *protocol.Packet) { p.MessageID = "" }, ""},
		{"space in source", func(p *protocol.Packet) { p.Source = " user" }, "source"},
		{"no source", func(p *protocol.Packet) { p.Source = "" }, ""},
		{"neither id nor source", func(p *protocol.Packet) { p.MessageID, p.Source = "", "" }, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := good
			row.change(&p)
			if finding := checkEncode(p); finding != "" {
				t.Fatal(finding)
			}
			b, err := protocol.Enpack(p)
			var bad *protocol.FieldError
			if row.field != "" {
				if !errors.As(err, &bad) || bad.Field != row.field {
					t.Fatalf("got %v, want a *FieldError about %s", err, row.field)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := protocol.Depack(b, 0)
			if err != nil {
				t.Fatal(err)
			}
			if diff := packetDiff(got, p); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestU4_02_BodyHoldsMagic(t *testing.T) {
	inner := string(mustEnpack(t, publish("inner", []byte("x"))))
	for _, row := range []struct{ name, body string }{
		{"alone", "FireHeader"},
		{"at the beginning", "FireHeader and more"},
		{"at the end", "say FireHeader"},
		{"part of it at the end", "say FireHead"},
		{"with text for a length", "FireHeader    what a length"},
		{"with a negative length", "FireHeader\xff\xff\xff\xff"},
		{"with CJK for a length", "FireHeader火"},
		{"a whole packet", inner},
		{"two whole packets", inner + inner},
		{"many times", strings.Repeat("FireHeader", 1000)},
	} {
		t.Run(row.name, func(t *testing.T) {
			first, second := publish("a", []byte(row.body)), publish("b", []byte("next"))
			stream := append(mustEnpack(t, first), mustEnpack(t, second)...)
			for _, cuts := range [][]byte{nil, {0}, {1, 2}, {6}, {8, 9}} {
				if finding := checkReader(stream, cuts, 0); finding != "" {
					t.Fatalf("in parts of %v: %s", cuts, finding)
				}
			}
			p, n, err := protocol.Depack(stream, 0)
			if err != nil || string(p.Body) != row.body {
				t.Fatalf("body %q, %v", p.Body, err)
			}
			if p, _, err = protocol.Depack(stream[n:], 0); err != nil || string(p.Body) != "next" {
				t.Fatalf("next: body %q, %v", p.Body, err)
			}
		})
	}
}

func TestU4_03_AnyLengthIsAnErrorAndNoPanic(t *testing.T) {
	const payload = "publish 1 user t\nbody"
	for _, row := range []struct {
		name   string
		length uint32
		want   error
	}{
		{"right", uint32(len(payload)), nil},
		{"zero", 0, protocol.ErrBadHeader},
		{"too short for any header line", 5, protocol.ErrBadHeader},
		{"ends in the header line", 6, protocol.ErrBadHeader},
		{"one byte too long", uint32(len(payload)) + 1, protocol.ErrShort},
		{"the limit", 1<<20 - 14, protocol.ErrShort},
		{"the limit and one", 1<<20 - 13, protocol.ErrPacketTooLarge},
		{"largest positive", 0x7fffffff, protocol.ErrPacketTooLarge},
		{"smallest negative", 0x80000000, protocol.ErrPacketTooLarge},
		{"minus one", 0xffffffff, protocol.ErrPacketTooLarge},
		{"four spaces", 0x20202020, protocol.ErrPacketTooLarge},
		{"a CJK character", 0xe781ab66, protocol.ErrPacketTooLarge},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := frame(row.length, payload)
			if finding := checkDepack(b, 1<<20); finding != "" {
				t.Fatal(finding)
			}
			if finding := checkReader(b, []byte{0}, 1<<20); finding != "" {
				t.Fatal(finding)
			}
			if _, _, err := protocol.Depack(b, 1<<20); !errors.Is(err, row.want) {
				t.Fatalf("got %v, want %v", err, row.want)
			}
			// What the length alone tells is told before the payload has come, and a limit
			// above what the field can say changes nothing.
			for _, limit := range []int{1 << 20, math.MaxInt} {
				if finding := checkDepack(b[:protocol.HeaderSize], limit); finding != "" {
					t.Fatal(finding)
				}
			}
		})
	}
	// Every power of two and its neighbours, and each byte alone.
	for bit := range 32 {
		for _, length := range []uint32{1<<bit - 1, 1 << bit, 1<<bit + 1, ^uint32(1 << bit)} {
			if finding := checkDepack(frame(length, payload), 1<<20); finding != "" {
				t.Errorf("length %#x: %s", length, finding)
			}
		}
	}
}

func TestU4_04_BadHeaderLineIsATypedError(t *testing.T) {
	for _, row := range []struct{ name, payload string }{
		{"no LF", "publish 1 user topic"},
		{"one field", "publish\nbody"},
		{"two fields", "publish 1\nbody"},
		{"three fields", "publish 1 user\nbody"},
		{"five fields", "publish 1 user a b\nbody"},
		{"no type", " 1 user topic\nbody"},
		{"no topic", "publish 1 user \nbody"},
		{"spaces only", "       \nbody"},
		{"LF only", "\nbody and more"},
		{"space before the type", " publish 1 user topic\n"},
		{"space at the end", "publish 1 user topic \n"},
		{"CR before LF", "publish 1 user topic\r\nbody"},
		{"NUL in a field", "publish 1 us\x00er topic\n"},
		{"tabs for spaces", "publish\t1\tuser\ttopic\n"},
		{"binary", "\x00\x01\x02\x03\x04\x05\x06\x07"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := frame(uint32(len(row.payload)), row.payload)
			if finding := checkDepack(b, 0); finding != "" {
				t.Fatal(finding)
			}
			if _, _, err := protocol.Depack(b, 0); !errors.Is(err, protocol.ErrBadHeader) {
				t.Fatalf("Depack: got %v, want ErrBadHeader", err)
			}
			if _, err := protocol.NewReader(bytes.NewReader(b), 0).Next(); !errors.Is(err, protocol.ErrBadHeader) {
				t.Fatalf("Reader: got %v, want ErrBadHeader", err)
			}
		})
	}
}

func TestU4_05_BodiesOfAnySizeArriveWhole(t *testing.T) {
	sizes := []int{0, 1, 2, 255, 256, 257, 4095, 4096, 4097, 16383, 16384, 16385, 65535, 65536, 65537, 1<<20 - 1, 1 << 20, 1<<20 + 1}
	var stream []byte
	for _, size := range sizes {
		stream = append(stream, mustEnpack(t, publish("t", bytes.Repeat([]byte{byte(size), 'F'}, size/2+1)[:size]))...)
	}
	for _, row := range []struct {
		name string
		src  io.Reader
	}{
		{"as much as asked for", bytes.NewReader(stream)},
		{"half of what is asked for", iotest.HalfReader(bytes.NewReader(stream))},
		{"with the error beside the last bytes", iotest.DataErrReader(bytes.NewReader(stream))},
		{"in parts", &cutReader{rest: stream, cuts: []byte{15, 16, 14, 17, 9, 18}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := protocol.NewReader(row.src, 0)
			for _, size := range sizes {
				p, err := r.Next()
				if err != nil {
					t.Fatalf("%d bytes: %v", size, err)
				}
				if want := bytes.Repeat([]byte{byte(size), 'F'}, size/2+1)[:size]; !bytes.Equal(p.Body, want) {
					t.Fatalf("%d bytes: got %s", size, brief(p.Body))
				}
			}
			if _, err := r.Next(); !errors.Is(err, io.EOF) {
				t.Fatalf("at the end: %v", err)
			}
		})
	}
}

func TestU4_06_LongHeaderLineIsRefusedOnBothSides(t *testing.T) {
	fits := publish("", []byte("body"))
	fits.Topic = strings.Repeat("t", protocol.MaxHeaderLine-len("publish 17 user \n"))
	for _, row := range []struct {
		name   string
		change func(*protocol.Packet)
		field  string
	}{
		{"exactly the limit", func(p *protocol.Packet) {}, ""},
		{"topic one too long", func(p *protocol.Packet) { p.Topic += "t" }, "topic"},
		{"topic of 64 KiB", func(p *protocol.Packet) { p.Topic = strings.Repeat("t", 1<<16) }, "topic"},
		{"long id", func(p *protocol.Packet) { p.Topic, p.MessageID = "t", strings.Repeat("1", 5000) }, "message id"},
		{"long source", func(p *protocol.Packet) { p.Topic, p.Source = "t", protocol.Source(strings.Repeat("u", 5000)) }, "source"},
		{"long type", func(p *protocol.Packet) { p.Topic, p.Type = "t", protocol.MessageType(strings.Repeat("p", 5000)) }, "type"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := fits
			row.change(&p)
			if finding := checkEncode(p); finding != "" {
				t.Fatal(finding)
			}
			b, valid := oracleEncode(p)
			if finding := checkDepack(b, 0); finding != "" {
				t.Fatal(finding)
			}
			if valid != (row.field == "") {
				t.Fatalf("the oracle says valid: %v", valid)
			}
			_, err := protocol.Enpack(p)
			if valid {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var bad *protocol.FieldError
			if !errors.As(err, &bad) || bad.Field != row.field || len(err.Error()) > 300 {
				t.Errorf("Enpack: got %v, want a short *FieldError about %s", err, row.field)
			}
			if _, _, err := protocol.Depack(b, 0); !errors.Is(err, protocol.ErrBadHeader) {
				t.Errorf("Depack: got %v, want ErrBadHeader", err)
			}
		})
	}
}

func TestU4_07_EmptyBodyPassesAndABadPacketEndsTheLinkOnce(t *testing.T) {
	empty := mustEnpack(t, publish("a", nil))
	alsoEmpty := mustEnpack(t, publish("a", []byte{}))
	if !bytes.Equal(empty, alsoEmpty) {
		t.Errorf("nil and empty body differ: %q, %q", empty, alsoEmpty)
	}
	bad := frame(8, "no line\n")
	r := protocol.NewReader(bytes.NewReader(append(append(append(empty, alsoEmpty...), bad...), empty...)), 0)
	for i := range 2 {
		if p, err := r.Next(); err != nil || p.Body != nil || p.Topic != "a" {
			t.Fatalf("packet %d: %+v, %v", i, p, err)
		}
	}
	_, first := r.Next()
	if !errors.Is(first, protocol.ErrBadHeader) {
		t.Fatalf("got %v, want ErrBadHeader", first)
	}
	for range 3 {
		if _, err := r.Next(); !errors.Is(err, first) {
			t.Fatalf("the error is not final: then came %v", err)
		}
	}
}

func TestU4_08_TooLargeIsRefusedBeforeAllocation(t *testing.T) {
	allocated := func(b []byte) (uint64, error) {
		var before, after runtime.MemStats
		src := bytes.NewReader(b)
		runtime.ReadMemStats(&before)
		_, err := protocol.NewReader(src, 8<<20).Next()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc, err
	}
	for _, row := range []struct {
		name   string
		length uint32
		want   error
		bound  uint64
	}{
		{"2 GiB", 0x7fffffff, protocol.ErrPacketTooLarge, protocol.ReadBuffer + 16<<10},
		{"one above the limit", 8<<20 - 13, protocol.ErrPacketTooLarge, protocol.ReadBuffer + 16<<10},
		{"the limit, and nothing follows", 8<<20 - 14, io.ErrUnexpectedEOF, uint64(protocol.ReadBuffer + protocol.TrustedSize + 16<<10)},
	} {
		t.Run(row.name, func(t *testing.T) {
			used, err := allocated(frame(row.length, "publish 1 user t\n"))
			if !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
			if used > row.bound {
				t.Errorf("%d bytes allocated, bound %d", used, row.bound)
			}
		})
	}
}

func TestU4_09_ReaderTakesNoMoreThanItIsAskedFor(t *testing.T) {
	// A consumer that is gone must not leave a decoder behind that reads, or holds what it
	// read, on its own: no goroutine (TestMain looks for one), and no read that no call asked for.
	var stream []byte
	for range 10_000 {
		stream = append(stream, mustEnpack(t, publish("t", make([]byte, 100)))...)
	}
	src := &countingReader{src: bytes.NewReader(stream)}
	r := protocol.NewReader(src, 0)
	if src.bytes != 0 {
		t.Fatalf("%d bytes read before the first call", src.bytes)
	}
	returned := 0
	for range 100 {
		p, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		returned += protocol.PacketSize(p)
	}
	if ahead := src.bytes - returned; ahead > protocol.ReadBuffer {
		t.Errorf("read %d bytes ahead, at most %d", ahead, protocol.ReadBuffer)
	}
}

type countingReader struct {
	src   io.Reader
	bytes int
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.src.Read(b)
	c.bytes += n
	return n, err
}

func TestReaderTellsHowAStreamEnds(t *testing.T) {
	whole := mustEnpack(t, publish("t", []byte("body")))
	large := mustEnpack(t, publish("t", make([]byte, 2*protocol.ReadBuffer)))
	broken := errors.New("connection reset")
	for _, row := range []struct {
		name string
		src  io.Reader
		want error
	}{
		{"nothing", bytes.NewReader(nil), io.EOF},
		{"between packets", bytes.NewReader(whole), io.EOF},
		{"between packets, told beside the last bytes", iotest.DataErrReader(bytes.NewReader(whole)), io.EOF},
		{"in a packet, told beside the last bytes", iotest.DataErrReader(bytes.NewReader(whole[:20])), io.ErrUnexpectedEOF},
		{"in the magic", bytes.NewReader(whole[:4]), io.ErrUnexpectedEOF},
		{"in the length", bytes.NewReader(whole[:12]), io.ErrUnexpectedEOF},
		{"in the header line", bytes.NewReader(whole[:18]), io.ErrUnexpectedEOF},
		{"in the body", bytes.NewReader(whole[:len(whole)-1]), io.ErrUnexpectedEOF},
		{"in a large body", bytes.NewReader(large[:len(large)-1]), io.ErrUnexpectedEOF},
		{"bad magic at once", strings.NewReader("GET / HTTP/1.1\r\n"), protocol.ErrBadMagic},
		{"bad magic after one byte", strings.NewReader("G"), protocol.ErrBadMagic},
		{"bad magic after a packet", strings.NewReader(string(whole) + "FireHeadex"), protocol.ErrBadMagic},
		{"source fails", io.MultiReader(bytes.NewReader(whole), iotest.ErrReader(broken)), broken},
		{"source fails in a packet", io.MultiReader(bytes.NewReader(whole[:20]), iotest.ErrReader(broken)), broken},
		{"source fails in a large packet", io.MultiReader(bytes.NewReader(large[:1<<16]), iotest.ErrReader(broken)), broken},
		{"source fails beside the last bytes", &onceReader{b: whole, err: broken}, broken},
		{"source fails beside bytes of a large packet", &onceReader{b: large[:1<<16], err: broken}, broken},
		{"source returns nothing for ever", emptyReader{}, io.ErrNoProgress},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := protocol.NewReader(row.src, 0)
			var err error
			for err == nil {
				_, err = r.Next()
			}
			if !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
}

// onceReader returns bytes and an error together, and after that nothing that ends.
type onceReader struct {
	b   []byte
	err error
}

func (o *onceReader) Read(b []byte) (int, error) {
	n := copy(b, o.b)
	o.b = o.b[n:]
	if n == 0 {
		return 0, nil
	}
	return n, o.err
}

type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, nil }

// One packet may be larger than the buffer and the next begin in the middle of it.
func TestReaderPacketsAcrossTheBufferEnd(t *testing.T) {
	for _, lead := range []int{0, 1, 13, 14, 15, 100} {
		t.Run(fmt.Sprintf("lead %d", lead), func(t *testing.T) {
			size := protocol.ReadBuffer - headerOverhead - lead
			var stream []byte
			for _, body := range []int{size, 10, size, 3 * protocol.ReadBuffer, 1, size} {
				stream = append(stream, mustEnpack(t, publish("t", make([]byte, body)))...)
			}
			if finding := checkReader(stream, nil, 0); finding != "" {
				t.Fatal(finding)
			}
		})
	}
}

func TestHeartbeatIsWhatExistingPeersSend(t *testing.T) {
	b := mustEnpack(t, protocol.HeartbeatPacket())
	if want := "FireHeader\x00\x00\x00\x1eheartbeat 0 system *\nheartbeat"; string(b) != want {
		t.Errorf("got %q, want %q", b, want)
	}
	protocol.HeartbeatPacket().Body[0] = 'x' // is the caller's own
	if again := mustEnpack(t, protocol.HeartbeatPacket()); !bytes.Equal(again, b) {
		t.Errorf("two heartbeats share their body: %q", again)
	}
}

func TestValidTopic(t *testing.T) {
	for _, row := range []struct {
		name, topic string
		limit       int
		ok          bool
	}{
		{"plain", "room/1", 0, true},
		{"one byte", "x", 0, true},
		{"UTF-8", "烽火台", 0, true},
		{"emoji of several code points", "👩‍🚀", 0, true},
		{"replacement character, encoded", "a\ufffdb", 0, true},
		{"the star", "*", 0, true},
		{"as long as may be", strings.Repeat("t", 255), 0, true},
		{"one too long", strings.Repeat("t", 256), 0, false},
		{"own limit", "four", 4, true},
		{"own limit passed", "five!", 4, false},
		{"bytes count, not characters", "火火", 5, false},
		{"empty", "", 0, false},
		{"space", "a b", 0, false},
		{"LF", "a\n", 0, false},
		{"NUL", "\x00", 0, false},
		{"DEL", "a\x7f", 0, false},
		{"C1 control", "a\u0085", 0, false},
		{"no-break space", "a\u00a0b", 0, false},
		{"line separator", "a\u2028b", 0, false},
		{"comma", "a,b", 0, false},
		{"not UTF-8", "a\xff", 0, false},
		{"half of a character", "火"[:2], 0, false},
		{"encoded surrogate", "\xed\xa0\x80", 0, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := protocol.ValidTopic(row.topic, row.limit)
			if (err == nil) != row.ok {
				t.Fatalf("got %v, want ok %v", err, row.ok)
			}
			var bad *protocol.FieldError
			if err != nil && (!errors.As(err, &bad) || bad.Field != "topic" || bad.Reason == "") {
				t.Errorf("got %#v, want a *FieldError about the topic", err)
			}
			if err == nil {
				if _, err := protocol.Enpack(publish(row.topic, nil)); err != nil {
					t.Errorf("valid for clients and not for packets: %v", err)
				}
			}
		})
	}
}
