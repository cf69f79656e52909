package gateway_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

const (
	rsv1          = 0x40
	deflateOffer  = "permessage-deflate"
	deflateAnswer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
)

// compressing lets a gateway compress all that shrinks.
func compressing(o *gateway.Options) {
	o.Compression.Enabled = true
	o.Compression.Threshold = 1
}

// inflate is the receiver's side by the standard library (RFC 7692 section 7.2.2).
func inflate(t testing.TB, payload string) string {
	t.Helper()
	r := flate.NewReader(strings.NewReader(payload + "\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("inflate %x: %v", payload, err)
	}
	return string(b)
}

// deflate is the sender's side by the standard library (section 7.2.1).
func deflate(payload string) string { return deflateAt(payload, flate.BestCompression) }

// What a client offers, and whether it is accepted (RFC 7692 section 7.1).
func TestCompressionIsNegotiated(t *testing.T) {
	on, off := run(t, compressing), run(t, nil)
	rows := []struct {
		name   string
		offers []string
		want   bool
	}{
		{"none", nil, false},
		{"plain", []string{deflateOffer}, true},
		{"browser", []string{"permessage-deflate; client_max_window_bits"}, true},
		{"both takeovers", []string{"permessage-deflate; server_no_context_takeover; client_no_context_takeover"}, true},
		{"client's window", []string{"permessage-deflate; client_max_window_bits=10"}, true},
		{"quoted", []string{`permessage-deflate; client_max_window_bits="10"`}, true},
		{"server's window, which we would not keep", []string{"permessage-deflate; server_max_window_bits=10"}, false},
		{"second choice", []string{"permessage-deflate; server_max_window_bits=10, permessage-deflate"}, true},
		{"second header", []string{"x-other", deflateOffer}, true},
		{"another extension", []string{"x-webkit-deflate-frame"}, false},
		{"among others", []string{"x-other; a=1, permessage-deflate; client_max_window_bits, x-third"}, true},
		{"unknown parameter", []string{"permessage-deflate; mystery"}, false},
		{"repeated parameter", []string{"permessage-deflate; client_no_context_takeover; client_no_context_takeover"}, false},
		{"takeover with a value", []string{"permessage-deflate; server_no_context_takeover=1"}, false},
		{"window too small", []string{"permessage-deflate; client_max_window_bits=7"}, false},
		{"window too large", []string{"permessage-deflate; client_max_window_bits=16"}, false},
		{"leading zero", []string{"permessage-deflate; client_max_window_bits=08"}, false},
		{"no number", []string{"permessage-deflate; client_max_window_bits=x"}, false},
		{"empty value", []string{"permessage-deflate; client_max_window_bits="}, false},
		{"empty parameter", []string{"permessage-deflate;"}, false},
	}
	accepted := int64(0)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			want := ""
			if row.want {
				want = deflateAnswer
				accepted++
			}
			if _, got := dialRawOffering(t, on, row.offers...); got != want {
				t.Errorf("answered %q, want %q", got, want)
			}
			if _, got := dialRawOffering(t, off, row.offers...); got != "" {
				t.Errorf("without compression: answered %q", got)
			}
		})
	}
	eventually(t, "counted", func() bool { return on.Stats().CompressedConnections == accepted })
	if n := off.Stats().CompressedConnections; n != 0 {
		t.Errorf("%d connections are said to be compressed", n)
	}
}

// The examples of RFC 7692 section 7.2.3, as a client would send them.
func TestExamplesOfRFC7692(t *testing.T) {
	rows := []struct{ name, bytes, want string }{
		{"7.2.3.1 one block", "\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello"},
		{"7.2.3.3 a block without compression", "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello"},
		{"7.2.3.4 BFINAL set", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello"},
		{"7.2.3.4 BFINAL set, twice", "\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "HelloHello"},
		{"7.2.3.5 two blocks", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello"},
		{"7.2.3.6 nothing", "\x00", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := gateway.Inflate([]byte(row.bytes), 100)
			if err != nil || string(got) != row.want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	for name, bad := range map[string]string{
		"7.2.3.2 refers to an earlier message": "\xf2\x00\x11\x00\x00",
		"cut":                                  "\xf2\x48\xcd",
		"a reserved block":                     "\x06\x00",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := gateway.Inflate([]byte(bad), 100); !errors.Is(err, gateway.ErrDeflate) || errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %q, %v, want %v", got, err, gateway.ErrDeflate)
			}
		})
	}
	// What we send for it is one of the examples too: which, the level decides.
	for level := 1; level <= 9; level++ {
		want := rows[1]
		if level >= 7 {
			want = rows[0]
		}
		if got := gateway.Deflate(level, []byte("Hello")); string(got) != want.bytes {
			t.Errorf("level %d: % x, want %s", level, got, want.name)
		}
	}
}

// genText makes texts that shrink a little, a lot, and not at all.
func genText() gopter.Gen {
	return gopter.CombineGens(gen.UInt64(), gen.IntRange(0, 5000), gen.IntRange(1, 256)).Map(func(v []any) []byte {
		r := rand.New(rand.NewPCG(v[0].(uint64), 1))
		b := make([]byte, v[1].(int))
		for i := range b {
			if i > 20 && r.IntN(3) > 0 {
				b[i] = b[i-1-r.IntN(20)]
			} else {
				b[i] = byte(r.IntN(v[2].(int)))
			}
		}
		return b
	})
}

// Whatever the message and the level, an inflater that is not ours gets it back, and
// the frame is never larger; and the other way round.
func TestCompressionRoundTrip(t *testing.T) {
	properties := gopter.NewProperties(nil)
	properties.Property("ours inflates elsewhere", prop.ForAll(func(b []byte, level int) bool {
		plain := gateway.TextFrame(b)
		f := gateway.CompressFrame(level, b)
		if f[0]&rsv1 == 0 {
			return bytes.Equal(f, plain)
		}
		header := 2
		switch f[1] {
		case 126:
			header = 4
		case 127:
			header = 10
		}
		return len(f) < len(plain) && cap(f) == len(f) && inflate(t, string(f[header:])) == string(b)
	}, genText(), gen.IntRange(1, 9)))
	properties.Property("others' inflates here", prop.ForAll(func(b []byte) bool {
		got, err := gateway.Inflate([]byte(deflate(string(b))), len(b)+1)
		return err == nil && bytes.Equal(got, b)
	}, genText()))
	properties.Property("a limit is one", prop.ForAll(func(b []byte) bool {
		_, err := gateway.Inflate([]byte(deflate(string(b))), max(len(b)-1, 0))
		return len(b) == 0 || errors.Is(err, websocket.ErrReadLimit)
	}, genText()))
	properties.TestingRun(t)
}

// jsonOf is a JSON message of about n bytes that shrinks as such do.
func jsonOf(i, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"seq":%d,"quotes":[`, i)
	r := rand.New(rand.NewPCG(uint64(i), 7))
	for b.Len() < n {
		fmt.Fprintf(&b, `{"symbol":"%c%c%c","price":%d.%02d,"volume":%d},`,
			'A'+r.IntN(26), 'A'+r.IntN(26), 'A'+r.IntN(26), r.IntN(1000), r.IntN(100), r.IntN(100000))
	}
	return strings.TrimSuffix(b.String(), ",") + `]}`
}

// However many receivers there are, a message is compressed once for each subprotocol,
// and all get the same bytes.
func TestAMessageIsCompressedOnceForAll(t *testing.T) {
	g := run(t, compressing)
	const receivers, messages = 12, 5
	var raw []*rawClient
	for range receivers {
		c, answer := dialRawOffering(t, g, deflateOffer)
		if answer != deflateAnswer {
			t.Fatalf("answered %q", answer)
		}
		if _, err := c.Write(maskedFrame(finText, `{"type":"subscribe","topic":"room","id":"1"}`)); err != nil {
			t.Fatal(err)
		}
		if _, r := c.next(); !strings.Contains(r, `"ok":true`) {
			t.Fatalf("subscribe: %s", r)
		}
		raw = append(raw, c)
	}
	v0 := dialWith(t, g, protocol.SubprotocolV0, nil, &websocket.Dialer{EnableCompression: true})
	v0.subscribeV0(g, "room", receivers+1)
	plain := dial(t, g, protocol.SubprotocolV1)
	plain.subscribe("room")
	var input int64
	for i := range messages {
		data := jsonOf(i, 1000)
		if err := g.Publish("room", []byte(data)); err != nil {
			t.Fatal(err)
		}
		var frame string
		for j, c := range raw {
			first, payload := c.nextFrame()
			if first != finText|rsv1 {
				t.Fatalf("first byte %#x, want a compressed text message", first)
			}
			if j == 0 {
				frame = payload
			}
			if payload != frame {
				t.Fatalf("message %d of receiver %d differs", i, j)
			}
		}
		var r reply
		message := inflate(t, frame)
		unmarshal(t, message, &r)
		if string(r.Data) != data {
			t.Fatalf("got %s", r.Data)
		}
		if got := plain.next(); got != message {
			t.Fatalf("uncompressed: %s", got)
		}
		if got := v0.next(); got != data {
			t.Fatalf("v0: %s", got)
		}
		input += int64(len(message) + len(data))
	}
	s := g.Stats()
	if s.Compressed != 2*messages || s.CompressInput != input || s.CompressOutput >= input/2 || s.CompressOutput == 0 {
		t.Errorf("%d compressed, %d to %d bytes, want %d of %d bytes", s.Compressed, s.CompressInput, s.CompressOutput, 2*messages, input)
	}
}

// What is below the threshold, or would not shrink, goes as it is to all.
func TestSmallAndIncompressibleMessagesStayPlain(t *testing.T) {
	g := run(t, func(o *gateway.Options) {
		compressing(o)
		o.Compression.Threshold = 200
	})
	c, _ := dialRawOffering(t, g, deflateOffer)
	if _, err := c.Write(maskedFrame(finText, `{"type":"subscribe","topic":"room","id":"1"}`)); err != nil {
		t.Fatal(err)
	}
	c.next()
	noise := make([]byte, 1000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&()*+,-./:;<=>?@[]^_{|}~"[r.IntN(89)]
	}
	for _, row := range []struct {
		name, data string
		compressed bool
	}{
		{"small", `"` + strings.Repeat("x", 100) + `"`, false},
		{"large", `"` + strings.Repeat("x", 300) + `"`, true},
		{"noise", string(noise), false},
	} {
		if err := g.Publish("room", []byte(row.data)); err != nil {
			t.Fatal(err)
		}
		if first, _ := c.nextFrame(); first&rsv1 != 0 != row.compressed {
			t.Errorf("%s: first byte %#x", row.name, first)
		}
	}
	v0 := dialWith(t, g, protocol.SubprotocolV0, nil, &websocket.Dialer{EnableCompression: true})
	v0.subscribeV0(g, "bytes", 2)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	if err := g.Publish("bytes", noise); err != nil {
		t.Fatal(err)
	}
	if kind, got := v0.nextKind(); kind != websocket.BinaryMessage || got != string(noise) {
		t.Errorf("got kind %d, %d bytes", kind, len(got))
	}
	if s := g.Stats(); s.Compressed != 1 || s.Incompressible != 2 {
		t.Errorf("%d compressed, %d not", s.Compressed, s.Incompressible)
	}
}

// Subscribers with and without compression, in both subprotocols, get every message in order.
func TestMixedSubscribersKeepOrder(t *testing.T) {
	g := run(t, func(o *gateway.Options) {
		compressing(o)
		o.Compression.Threshold = 150
		o.Bucket.Num = 2
		o.JoinBytes = 2000
	})
	var clients []*wsClient
	for i := range 12 {
		p := []string{protocol.SubprotocolV1, protocol.SubprotocolV0}[i/2%2]
		c := dialWith(t, g, p, nil, &websocket.Dialer{EnableCompression: i%2 == 0})
		if p == protocol.SubprotocolV1 {
			c.subscribe("room")
		} else {
			c.subscribeV0(g, "room", int64(i+1))
		}
		clients = append(clients, c)
	}
	const messages = 300
	for i := range messages {
		if err := g.Publish("room", []byte(jsonOf(i, 50+i%5*100))); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range clients {
		for i := range messages {
			got := c.next()
			if c.Subprotocol() == protocol.SubprotocolV1 {
				var r reply
				unmarshal(t, got, &r)
				got = string(r.Data)
			}
			if want := jsonOf(i, 50+i%5*100); got != want {
				t.Fatalf("message %d: got %.60s, want %.60s", i, got, want)
			}
		}
	}
}

// A delivery to a connection with compression allocates no more than any other: nothing.
func TestNoAllocationPerCompressedDelivery(t *testing.T) {
	g := run(t, func(o *gateway.Options) {
		compressing(o)
		o.Bucket.Num = 1
	})
	const connections = 20
	for range connections {
		dialWith(t, g, protocol.SubprotocolV1, nil, &websocket.Dialer{EnableCompression: true}).subscribe("room")
	}
	for _, messages := range []int{1, 8} {
		f := gateway.NewFanOut(g, "room", []byte(jsonOf(1, 300)), messages)
		f.Deliver() // compresses, once for all
		if n := testing.AllocsPerRun(15, f.Deliver); n != 0 {
			t.Errorf("%d messages to %d connections: %v allocations", messages, connections, n)
		}
	}
	s := g.Stats()
	if s.Backlogged != 0 || s.Deliveries != connections*(17+8*17) {
		t.Errorf("%d connections have a backlog, deliveries = %d", s.Backlogged, s.Deliveries)
	}
	if s.Compressed != 9 {
		t.Errorf("%d messages were compressed, want 9", s.Compressed)
	}
}

// A connection with compression holds as much memory as one without: no state of an
// inflater or a deflater, which are some 40 KiB and 300 KiB and more.
func TestCompressedConnectionsHoldNoMoreMemory(t *testing.T) {
	const connections = 300
	perConnection := func(offers ...string) float64 {
		g := run(t, func(o *gateway.Options) {
			compressing(o)
			o.Heartbeat = time.Hour // no pings among the messages
		})
		heap := func() float64 {
			runtime.GC()
			runtime.GC() // empties the pools
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return float64(m.HeapAlloc)
		}
		// What all share is made by the first.
		talk := func(c *rawClient) {
			request := maskedFrame(finText, `{"type":"subscribe","topic":"room","id":"1"}`)
			if len(offers) > 0 {
				request = maskedFrame(finText|rsv1, deflate(`{"type":"subscribe","topic":"room","id":"1"}`))
			}
			if _, err := c.Write(request); err != nil {
				t.Fatal(err)
			}
			if _, r := c.next(); !strings.Contains(r, `"ok":true`) {
				t.Fatal(r)
			}
		}
		first, _ := dialRawOffering(t, g, offers...)
		talk(first)
		clients := []*rawClient{first}
		publish := func() {
			if err := g.Publish("room", []byte(jsonOf(1, 2000))); err != nil {
				t.Fatal(err)
			}
			for _, c := range clients {
				if first, _ := c.nextFrame(); first&rsv1 != 0 != (len(offers) > 0) {
					t.Fatalf("first byte %#x", first)
				}
			}
		}
		publish()
		before := heap()
		for range connections {
			c, answer := dialRawOffering(t, g, offers...)
			if (answer != "") != (len(offers) > 0) {
				t.Fatalf("answered %q", answer)
			}
			talk(c)
			clients = append(clients, c)
		}
		publish()
		after := heap()
		runtime.KeepAlive(clients)
		return (after - before) / connections
	}
	perConnection() // what the process makes once
	plain, compressed := perConnection(), perConnection(deflateOffer)
	t.Logf("%.0f bytes a connection, client's side included; %.0f with compression", plain, compressed)
	if compressed > 1.1*plain+512 {
		t.Errorf("%.0f bytes a connection with compression, %.0f without", compressed, plain)
	}
}
