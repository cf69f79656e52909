package simulator_test

import (
	"bytes"
	"compress/flate"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"

	"firetower/simulator"
	"firetower/simulator/clock"
	"firetower/simulator/stamp"
)

// deflated is a message as a server compresses it (RFC 7692 §7.2.1), by the standard library.
func deflated(message []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write(message)
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

// The examples of RFC 7692 §7.2.3, one after the other through one inflater.
func TestInflateExamples(t *testing.T) {
	good := [][]byte{
		[]byte("\xf2\x48\xcd\xc9\xc9\x07\x00"),
		[]byte("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"),
		[]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
		[]byte("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
		[]byte("\x00"),
	}
	got, fail := simulator.Inflate(100, good...)
	if fail != 0 || !slices.Equal(got, []string{"Hello", "Hello", "Hello", "Hello", ""}) {
		t.Errorf("got %q, close code %d", got, fail)
	}
	for name, row := range map[string]struct {
		bytes string
		limit int
		code  int
	}{
		"refers to an earlier message": {"\xf2\x00\x11\x00\x00", 100, 1007},
		"cut":                          {"\xf2\x48\xcd", 100, 1007},
		"above the limit":              {"\xf2\x48\xcd\xc9\xc9\x07\x00", 4, 1009},
	} {
		t.Run(name, func(t *testing.T) {
			if _, fail := simulator.Inflate(row.limit, []byte(row.bytes)); fail != row.code {
				t.Errorf("close code %d, want %d", fail, row.code)
			}
		})
	}
}

// What the standard library has compressed is read by ours, message after message.
func TestInflateGivesBackWhatWasCompressed(t *testing.T) {
	properties(t, 200, "round trip", prop.ForAll(func(texts []string) bool {
		var payloads [][]byte
		most := 1
		for i, text := range texts {
			texts[i] = strings.Repeat(text, 1+i)
			payloads, most = append(payloads, deflated([]byte(texts[i]))), max(most, len(texts[i]))
		}
		got, fail := simulator.Inflate(most, payloads...)
		return fail == 0 && slices.Equal(got, texts)
	}, gen.SliceOf(gen.AnyString()).SuchThat(func(s []string) bool { return len(s) > 0 })))
}

func TestParseFrameWithCompression(t *testing.T) {
	for name, row := range map[string]struct {
		first    byte
		deflated bool
		code     int
	}{
		"text":         {0xc1, true, 0},
		"binary":       {0xc2, true, 0},
		"plain":        {0x81, false, 0},
		"fragment":     {0x41, true, 0},
		"continuation": {0xc0, false, 1002},
		"ping":         {0xc9, false, 1002},
		"RSV2":         {0xa1, false, 1002},
		"RSV1 and 3":   {0xd1, false, 1002},
	} {
		t.Run(name, func(t *testing.T) {
			f, _, _, code := simulator.ParseFrameDeflated(serverFrame(row.first, []byte("x")), maxPayload, true)
			if code != row.code || f.Deflated != row.deflated {
				t.Errorf("got %+v, close code %d", f, code)
			}
		})
	}
}

func TestUpgradeWithCompression(t *testing.T) {
	for name, row := range map[string]struct {
		extensions string
		deflate    bool
		ok         bool
	}{
		"declined":                {"", false, true},
		"accepted":                {"permessage-deflate; server_no_context_takeover; client_no_context_takeover", true, true},
		"with a smaller window":   {"permessage-deflate; server_no_context_takeover; server_max_window_bits=10", true, true},
		"with context takeover":   {"permessage-deflate", false, false},
		"another extension":       {"x-other", false, false},
		"a parameter too many":    {"permessage-deflate; server_no_context_takeover; mystery", false, false},
		"a parameter twice":       {"permessage-deflate; server_no_context_takeover; server_no_context_takeover", false, false},
		"a window of no size":     {"permessage-deflate; server_no_context_takeover; server_max_window_bits", false, false},
		"our window, not offered": {"permessage-deflate; server_no_context_takeover; client_max_window_bits=10", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\n"
			if row.extensions != "" {
				answer += "Sec-WebSocket-Extensions: " + row.extensions + "\r\n"
			}
			_, refusal, deflate := simulator.ParseDeflateUpgrade([]byte(answer+"\r\n"), "", "a")
			if (refusal == "") != row.ok || row.ok && deflate != row.deflate {
				t.Errorf("refusal %q, compression %v", refusal, deflate)
			}
		})
	}
}

// Compressed messages, whole and in fragments, among plain ones, find their place in the ledger.
func TestFleetTakesCompressedMessages(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		s := newStub(t, func(s *stub) { s.upgrader.EnableCompression = true })
		config := testConfig(s, engine, 3)
		config.Subprotocol, config.Compression = simulator.SubprotocolV1, true
		f := startFleet(t, config)
		f.connect()
		const messages = 30
		clk, err := clock.New()
		if err != nil {
			t.Fatal(err)
		}
		for seq := range uint64(messages) {
			m := stamp.AppendPadded(nil, message(clk, simulator.PhaseMeasure, 0, seq+1), 1000, stamp.Records)
			text := []byte(`{"type":"publish","topic":"` + config.Topics.Name(0) + `","data":` + string(m) + `}`)
			var wire []byte
			switch d := deflated(text); seq % 3 {
			case 0:
				wire = serverFrame(0xc1, d)
			case 1:
				wire = append(serverFrame(0x41, d[:7]), append(serverFrame(0x89, nil), serverFrame(0x80, d[7:])...)...)
			default:
				wire = serverFrame(0x81, text)
			}
			for _, c := range s.all() {
				c.raw(wire)
			}
		}
		waitFor(t, "all messages", func() bool { return f.Counters().Received == 3*messages })
		report := f.finish(simulator.TopicSent{Topic: 0, Phase: simulator.PhaseMeasure, First: 1, Count: messages})
		p := phaseOf(report, simulator.PhaseMeasure)
		if p.Received != 3*messages || p.Duplicated+p.Reordered+p.Corrupt+p.Foreign != 0 {
			t.Errorf("ledger %+v", p)
		}
		if engine != simulator.EngineGoroutine && report.Load.Inflated != 3*messages*2/3 {
			t.Errorf("%d messages are said to have been compressed", report.Load.Inflated)
		}
	})
}

// What is no compressed message ends the connection, and one that inflates to too much.
func TestFleetRefusesBadCompression(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		for name, payload := range map[string][]byte{
			"corrupt": []byte("\xff\xff\xff"),
			"bomb":    deflated([]byte(strings.Repeat(" ", 2<<20))),
		} {
			t.Run(name, func(t *testing.T) {
				s := newStub(t, func(s *stub) { s.upgrader.EnableCompression = true })
				config := testConfig(s, engine, 1)
				config.Subprotocol, config.Compression = simulator.SubprotocolV1, true
				f := startFleet(t, config)
				f.connect()
				for _, c := range s.all() {
					c.raw(serverFrame(0xc1, payload))
				}
				waitFor(t, "its end", func() bool { return f.Counters().Disconnected == 1 })
			})
		}
	})
}

// A server without compression is as good.
func TestFleetOffersCompressionInVain(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		offered := make(chan string, 1)
		s := newStub(t, func(s *stub) {
			s.upgrader.CheckOrigin = func(r *http.Request) bool {
				offered <- r.Header.Get("Sec-WebSocket-Extensions")
				return true
			}
		})
		config := testConfig(s, engine, 1)
		config.Subprotocol, config.Compression = simulator.SubprotocolV1, true
		f := startFleet(t, config)
		f.connect()
		if got := <-offered; !strings.Contains(got, "permessage-deflate") {
			t.Errorf("offered %q", got)
		}
		clk, err := clock.New()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range s.all() {
			c.text(`{"type":"publish","topic":"` + config.Topics.Name(0) + `","data":` + encode(message(clk, simulator.PhaseMeasure, 0, 1)) + `}`)
		}
		waitFor(t, "the message", func() bool { return f.Counters().Received == 1 })
	})
}
