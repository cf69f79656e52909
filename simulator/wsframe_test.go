package simulator_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"

	"firetower/simulator"
)

const maxPayload = 1 << 20

// serverFrame writes a frame as a server does, with whatever header bits are asked for.
func serverFrame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

func TestParseFrame(t *testing.T) {
	body := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	tests := map[string]struct {
		bytes   []byte
		want    simulator.Frame
		n, need int
		code    int
	}{
		"nothing":                            {bytes: nil, need: 2},
		"one byte":                           {bytes: []byte{0x81}, need: 2},
		"empty text":                         {bytes: []byte{0x81, 0}, want: simulator.Frame{Fin: true, Opcode: 1, Payload: []byte{}}, n: 2, need: 2},
		"text":                               {bytes: []byte{0x81, 2, 'h', 'i', 0x81}, want: simulator.Frame{Fin: true, Opcode: 1, Payload: []byte("hi")}, n: 4, need: 4},
		"text cut":                           {bytes: []byte{0x81, 2, 'h'}, want: simulator.Frame{Fin: true, Opcode: 1}, need: 4},
		"first fragment":                     {bytes: []byte{0x01, 1, 'h'}, want: simulator.Frame{Opcode: 1, Payload: []byte("h")}, n: 3, need: 3},
		"binary of 125":                      {bytes: serverFrame(0x82, body(125)), want: simulator.Frame{Fin: true, Opcode: 2, Payload: body(125)}, n: 127, need: 127},
		"16-bit length":                      {bytes: serverFrame(0x82, body(126)), want: simulator.Frame{Fin: true, Opcode: 2, Payload: body(126)}, n: 130, need: 130},
		"16-bit length, header cut":          {bytes: []byte{0x82, 126, 0}, want: simulator.Frame{Fin: true, Opcode: 2}, need: 4},
		"65535":                              {bytes: serverFrame(0x82, body(65535)), want: simulator.Frame{Fin: true, Opcode: 2, Payload: body(65535)}, n: 65539, need: 65539},
		"64-bit length":                      {bytes: serverFrame(0x82, body(65536)), want: simulator.Frame{Fin: true, Opcode: 2, Payload: body(65536)}, n: 65546, need: 65546},
		"64-bit length, header cut":          {bytes: []byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0}, want: simulator.Frame{Fin: true, Opcode: 2}, need: 10},
		"ping of 125":                        {bytes: serverFrame(0x89, body(125)), want: simulator.Frame{Fin: true, Opcode: 9, Payload: body(125)}, n: 127, need: 127},
		"§5.1 masked server frame":           {bytes: []byte{0x81, 0x80 | 1, 0, 0, 0, 0, 'x'}, code: 1002},
		"§5.2 RSV1 without an extension":     {bytes: []byte{0xc1, 0}, code: 1002},
		"§5.2 RSV2":                          {bytes: []byte{0xa1, 0}, code: 1002},
		"§5.2 RSV3":                          {bytes: []byte{0x91, 0}, code: 1002},
		"§5.2 reserved data opcode 3":        {bytes: []byte{0x83, 0}, code: 1002},
		"§5.2 reserved data opcode 7":        {bytes: []byte{0x87, 0}, code: 1002},
		"§5.2 reserved control opcode":       {bytes: []byte{0x8b, 0}, code: 1002},
		"§5.2 16-bit length for 125":         {bytes: []byte{0x82, 126, 0, 125}, code: 1002},
		"§5.2 64-bit length for 65535":       {bytes: []byte{0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, code: 1002},
		"§5.2 length with the high bit":      {bytes: []byte{0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, code: 1002},
		"§5.5 fragmented control frame":      {bytes: []byte{0x09, 0}, code: 1002},
		"§5.5 control frame of 126":          {bytes: serverFrame(0x89, body(126)), code: 1002},
		"longer than allowed":                {bytes: []byte{0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 1}, code: 1009},
		"as long as allowed, nothing of it":  {bytes: []byte{0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 0}, want: simulator.Frame{Fin: true, Opcode: 2}, need: 10 + maxPayload},
		"longest length that is no high bit": {bytes: []byte{0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, code: 1009},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, n, need, code := simulator.ParseFrame(tt.bytes, maxPayload)
			if code != tt.code {
				t.Fatalf("close code %d, want %d", code, tt.code)
			}
			if code != 0 {
				return
			}
			if n != tt.n || need != tt.need {
				t.Errorf("n, need = %d, %d, want %d, %d", n, need, tt.n, tt.need)
			}
			if n > 0 && (f.Fin != tt.want.Fin || f.Opcode != tt.want.Opcode || !bytes.Equal(f.Payload, tt.want.Payload)) {
				t.Errorf("frame %+v, want %+v", f, tt.want)
			}
		})
	}
}

func TestParseClose(t *testing.T) {
	tests := map[string]struct {
		payload    []byte
		code, fail int
	}{
		"empty":                        {nil, 1005, 0},
		"normal":                       {[]byte{3, 0xe8}, 1000, 0},
		"slow consumer, with a reason": {append([]byte{0x0f, 0xa8}, "slow"...), 4008, 0},
		"restart":                      {[]byte{0x03, 0xf4}, 1012, 0},
		"highest":                      {[]byte{0x13, 0x87}, 4999, 0},
		"one byte":                     {[]byte{3}, 0, 1002},
		"below 1000":                   {[]byte{0x03, 0xe7}, 0, 1002},
		"1004 is reserved":             {[]byte{0x03, 0xec}, 0, 1002},
		"1005 is never sent":           {[]byte{0x03, 0xed}, 0, 1002},
		"1006 is never sent":           {[]byte{0x03, 0xee}, 0, 1002},
		"1015 is never sent":           {[]byte{0x03, 0xf7}, 0, 1002},
		"2999":                         {[]byte{0x0b, 0xb7}, 0, 1002},
		"5000":                         {[]byte{0x13, 0x88}, 0, 1002},
		"reason is no UTF-8":           {[]byte{3, 0xe8, 0xff}, 0, 1002},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if code, fail := simulator.ParseClose(tt.payload); code != tt.code || fail != tt.fail {
				t.Errorf("code %d, fail %d, want %d, %d", code, fail, tt.code, tt.fail)
			}
		})
	}
}

// What we write as a client is what gorilla/websocket reads, and what it writes as a server is what we read.
func TestPropertyFramesAgainstGorilla(t *testing.T) {
	conn := dialEcho(t)
	sizes := gen.OneGenOf(gen.IntRange(0, 300),
		gen.OneConstOf(0, 1, 124, 125, 126, 127, 65534, 65535, 65536, 65537, 200_000))
	properties(t, 60, "an echoed frame reads as it was", prop.ForAll(
		func(size int, fill byte) string {
			payload := bytes.Repeat([]byte{fill}, size)
			if _, err := conn.Write(simulator.AppendClientFrame(nil, websocket.BinaryMessage, payload)); err != nil {
				return err.Error()
			}
			var got []byte
			for {
				f, n, need, code := simulator.ParseFrame(got, maxPayload)
				switch {
				case code != 0:
					return fmt.Sprintf("close code %d", code)
				case n == 0: // what is needed is what the server has written or will write
					more := make([]byte, need-len(got))
					if _, err := io.ReadFull(conn, more); err != nil {
						return err.Error()
					}
					got = append(got, more...)
				case n != len(got) || !f.Fin || f.Opcode != websocket.BinaryMessage || !bytes.Equal(f.Payload, payload):
					return fmt.Sprintf("%d of %d bytes, fin %v, opcode %d", n, len(got), f.Fin, f.Opcode)
				default:
					return ""
				}
			}
		},
		sizes, gen.UInt8(),
	))
}

// dialEcho connects to a gorilla server that sends back what it gets, each message in one frame.
func dialEcho(t *testing.T) net.Conn {
	t.Helper()
	upgrader := websocket.Upgrader{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.Close()
		for {
			kind, payload, err := ws.ReadMessage()
			if err != nil {
				return
			}
			// A prepared message is one frame, whatever its size.
			echo, err := websocket.NewPreparedMessage(kind, payload)
			if err == nil {
				err = ws.WritePreparedMessage(echo)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		var b [1]byte
		if _, err := io.ReadFull(conn, b[:]); err != nil {
			t.Fatal(err)
		}
		head = append(head, b[0])
	}
	if n, refusal := simulator.ParseUpgrade(head, "", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); n != len(head) || refusal != "" {
		t.Fatalf("gorilla's answer: %d of %d bytes, %q", n, len(head), refusal)
	}
	return conn
}

// However a stream of frames is cut, need never asks for more than the frame has, and never for nothing.
func TestPropertyFrameNeed(t *testing.T) {
	properties(t, 200, "need is met by the frame itself", prop.ForAll(
		func(size, cut int) string {
			whole := serverFrame(0x81, make([]byte, size))
			cut = min(cut, len(whole)-1)
			_, n, need, code := simulator.ParseFrame(whole[:cut], maxPayload)
			if n != 0 || code != 0 || need <= cut || need > len(whole) {
				return fmt.Sprintf("cut at %d of %d: n %d, need %d, code %d", cut, len(whole), n, need, code)
			}
			return ""
		},
		gen.OneGenOf(gen.IntRange(0, 300), gen.IntRange(65000, 66000)), gen.OneGenOf(gen.IntRange(0, 12), gen.IntRange(0, 66000)),
	))
}

func FuzzParseFrame(f *testing.F) {
	f.Add([]byte{0x81, 2, 'h', 'i'})
	f.Add([]byte{0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 0})
	f.Add([]byte{0x88, 2, 0x0f, 0xa8})
	f.Add([]byte{0x81, 0xfe, 0, 0, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, n, need, code := simulator.ParseFrame(b, maxPayload)
		switch {
		case code != 0:
			if code != 1002 && code != 1009 {
				t.Errorf("close code %d", code)
			}
		case n == 0:
			if need <= len(b) {
				t.Errorf("wants %d bytes and has %d", need, len(b))
			}
		default:
			if n > len(b) || len(frame.Payload) > maxPayload {
				t.Errorf("frame of %d bytes, payload %d, of %d", n, len(frame.Payload), len(b))
			}
			if again := serverFrame(b[0], frame.Payload); !bytes.Equal(again, b[:n]) {
				t.Errorf("% x reads as % x", b[:n], again)
			}
			if frame.Opcode == 8 {
				simulator.ParseClose(frame.Payload)
			}
		}
	})
}

func TestClientFramesAreMaskedDifferently(t *testing.T) {
	payload := bytes.Repeat([]byte{0}, 64)
	a, b := simulator.AppendClientFrame(nil, 1, payload), simulator.AppendClientFrame(nil, 1, payload)
	if a[1]&0x80 == 0 {
		t.Error("not masked")
	}
	if bytes.Equal(a, b) {
		t.Error("two frames have the same masking key")
	}
}

func TestParseUpgrade(t *testing.T) {
	// The key and its answer are the example of RFC 6455 §1.3.
	accept := simulator.AcceptKey("dGhlIHNhbXBsZSBub25jZQ==")
	if accept != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("AcceptKey = %q", accept)
	}
	head := func(lines string) string { return "HTTP/1.1 101 Switching Protocols\r\n" + lines + "\r\n" }
	good := "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + "\r\n"
	tests := map[string]struct {
		answer, subprotocol string
		refusal             string
		incomplete          bool
	}{
		"as it should be":               {answer: head(good)},
		"case and lists":                {answer: head("upgrade: WebSocket\r\nConnection: keep-alive, UPGRADE\r\nSec-WebSocket-Accept: " + accept + "\r\n")},
		"frames follow":                 {answer: head(good) + "\x81\x02hi"},
		"with the subprotocol":          {answer: head(good + "Sec-WebSocket-Protocol: firetower.v1\r\n"), subprotocol: "firetower.v1"},
		"cut":                           {answer: head(good)[:40], incomplete: true},
		"not a WebSocket server":        {answer: "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", refusal: "upgrade: HTTP 404"},
		"full":                          {answer: "HTTP/1.1 503 Service Unavailable\r\n\r\n", refusal: "upgrade: HTTP 503"},
		"wrong accept":                  {answer: head("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n"), refusal: "upgrade: wrong Sec-WebSocket-Accept"},
		"no accept":                     {answer: head("Upgrade: websocket\r\nConnection: Upgrade\r\n"), refusal: "upgrade: wrong Sec-WebSocket-Accept"},
		"no upgrade":                    {answer: head("Connection: Upgrade\r\n"), refusal: "upgrade: no Upgrade: websocket"},
		"no connection":                 {answer: head("Upgrade: websocket\r\n"), refusal: "upgrade: no Connection: Upgrade"},
		"extension that nobody offered": {answer: head(good + "Sec-WebSocket-Extensions: permessage-deflate\r\n"), refusal: "upgrade: extension that was not offered"},
		"no subprotocol":                {answer: head(good), subprotocol: "firetower.v1", refusal: `upgrade: server picked subprotocol ""`},
		"subprotocol not offered":       {answer: head(good + "Sec-WebSocket-Protocol: mqtt\r\n"), refusal: `upgrade: server picked subprotocol "mqtt"`},
		"no HTTP":                       {answer: "hello\r\n\r\n", refusal: "upgrade: answer is not HTTP"},
		"endless":                       {answer: string(make([]byte, 17<<10)), refusal: "upgrade: answer too long"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n, refusal := simulator.ParseUpgrade([]byte(tt.answer), tt.subprotocol, accept)
			if refusal != tt.refusal {
				t.Fatalf("refusal %q, want %q", refusal, tt.refusal)
			}
			wantN := strings.Index(tt.answer, "\r\n\r\n") + 4
			if tt.incomplete || tt.refusal == "upgrade: answer too long" {
				wantN = 0
			}
			if n != wantN {
				t.Errorf("head of %d bytes, want %d", n, wantN)
			}
		})
	}
}
