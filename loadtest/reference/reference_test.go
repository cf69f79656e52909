package reference_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"firetower/loadtest/reference"
	"firetower/simulator"
)

// each runs a test with every server that exists here.
func each(t *testing.T, test func(t *testing.T, kind string)) {
	t.Helper()
	for _, kind := range reference.Kinds() {
		t.Run(kind, func(t *testing.T) { test(t, kind) })
	}
}

// Every server delivers everything once and in order, and all engines of the simulator see that.
func TestEverythingArrivesOnceInOrder(t *testing.T) {
	tests := map[string]struct {
		conns, messages, topics, perConn, shards int
		subprotocol                              string
	}{
		"one group":          {conns: 200, messages: 50, topics: 1, perConn: 1, shards: 1},
		"many topics":        {conns: 60, messages: 20, topics: 20, perConn: 5, shards: 2, subprotocol: simulator.SubprotocolV0},
		"one topic a client": {conns: 40, messages: 10, topics: 40, perConn: 1, shards: 3},
	}
	each(t, func(t *testing.T, kind string) {
		for name, tt := range tests {
			for _, engine := range simulator.Engines() {
				t.Run(name+"/"+string(engine), func(t *testing.T) {
					server := startServer(t, kind)
					config := simulator.DefaultConfig()
					config.URLs, config.Connections, config.RunID = []string{"ws://" + server.Addr() + "/ws"}, tt.conns, runID
					config.Engine, config.Shards, config.ConnectRate = engine, tt.shards, 0
					config.Subprotocol = tt.subprotocol
					config.Topics = simulator.TopicPlan{Count: tt.topics, PerConn: tt.perConn, Prefix: "t-"}
					fleet := startFleet(t, config)
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					defer cancel()
					if err := fleet.Connect(ctx); err != nil {
						t.Fatal(err)
					}
					p := newPublisher(t, server.Addr(), config.Topics)
					p.probe(fleet, tt.conns)
					for range tt.messages {
						for topic := range tt.topics {
							p.publish(simulator.PhaseMeasure, topic, 0)
						}
					}
					want := int64(tt.conns * tt.perConn * tt.messages)
					waitFor(t, "all messages", func() bool {
						stats := server.Stats()
						return stats.Published == int64(p.total()) && fleet.Counters().Received == stats.Delivered
					})
					report, err := fleet.Finish(ctx, p.told())
					if err != nil {
						t.Fatal(err)
					}
					for _, phase := range report.Phases {
						if phase.Lost+phase.Duplicated+phase.Reordered+phase.Corrupt+phase.Foreign+phase.Negative+phase.Late != 0 {
							t.Errorf("phase %d: %+v", phase.Phase, phase)
						}
						if phase.Phase == simulator.PhaseMeasure && phase.Received != want {
							t.Errorf("received %d, want %d", phase.Received, want)
						}
					}
					if len(report.Closed) != 0 || report.Spread.Incomplete != 0 {
						t.Errorf("closed %v, %d incomplete", report.Closed, report.Spread.Incomplete)
					}
					for i := range report.Rows {
						if !report.Rows[i].Complete() {
							t.Errorf("row %+v", report.Rows[i])
						}
					}
					stats := server.Stats()
					if stats.Accepted != int64(tt.conns)+1 || stats.Slow != 0 || stats.Broken != 0 {
						t.Errorf("stats %+v", stats)
					}
					if kind == reference.KindFloor && stats.Writes != stats.Delivered {
						t.Errorf("%d writes for %d deliveries", stats.Writes, stats.Delivered)
					}
				})
			}
		}
	})
}

// Messages of one topic that come together leave floor-joined together.
func TestFloorJoinedJoins(t *testing.T) {
	server := startServer(t, reference.KindFloorJoined)
	subscriber := dial(t, server.Addr())
	subscriber.write(`{"type":"subscribe","topic":"a,b"}`)
	p := dial(t, server.Addr())
	waitForSubscription(t, server, p, subscriber)
	before := server.Stats()
	var frames []byte
	for i := range 50 {
		frames = append(frames, maskedFrame(fmt.Sprintf(`{"type":"publish","topic":"a","data":"%d"}`, i))...)
		frames = append(frames, maskedFrame(fmt.Sprintf(`{"type":"publish","topic":"b","data":%d}`, i))...)
	}
	if _, err := p.ws.NetConn().Write(frames); err != nil {
		t.Fatal(err)
	}
	next := map[bool]int{}
	for range 100 {
		got := subscriber.read()
		quoted := strings.HasPrefix(got, `"`)
		if want := fmt.Sprint(next[quoted]); strings.Trim(got, `"`) != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		next[quoted]++
	}
	// The counts follow the writes.
	waitFor(t, "the counts", func() bool { return server.Stats().Delivered-before.Delivered >= 100 })
	after := server.Stats()
	if got := after.Delivered - before.Delivered; got != 100 {
		t.Errorf("%d deliveries, want 100", got)
	}
	// One write with all frames is read in one batch, though TCP promises no such thing.
	if got := after.Writes - before.Writes; got > 20 {
		t.Errorf("%d writes for 100 messages on 2 topics", got)
	}
}

// A client that does not read is closed and counted, and the others get everything.
func TestSlowClientIsClosed(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		server := startServer(t, kind)
		config := simulator.DefaultConfig()
		config.URLs, config.Connections, config.RunID = []string{"ws://" + server.Addr() + "/ws"}, 4, runID
		config.Slow = []simulator.SlowSpec{{Count: 1, ReceiveBuffer: 4096}}
		fleet := startFleet(t, config)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := fleet.Connect(ctx); err != nil {
			t.Fatal(err)
		}
		p := newPublisher(t, server.Addr(), config.Topics)
		p.size = 32 << 10
		p.probe(fleet, 3)
		// The healthy keep up: the next message leaves when they have the one before.
		waitFor(t, "the slow client's end", func() bool {
			want := fleet.Counters().Received + 3
			p.publish(simulator.PhaseMeasure, 0, 0)
			waitFor(t, "the healthy", func() bool { return fleet.Counters().Received >= want })
			return server.Stats().Slow == 1
		})
		report, err := fleet.Finish(ctx, p.told())
		if err != nil {
			t.Fatal(err)
		}
		for _, phase := range report.Phases {
			if phase.Lost != 0 {
				t.Errorf("phase %d: lost %d", phase.Phase, phase.Lost)
			}
		}
		if len(report.Closed) != 0 || report.Slow == nil || report.Slow.Open != 0 {
			t.Errorf("closed %v, slow %+v", report.Closed, report.Slow)
		}
	})
}

// What a client may send besides.
func TestConversation(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		server := startServer(t, kind)
		a, b := dial(t, server.Addr()), dial(t, server.Addr())
		a.write(`{"topic":"room","type":"subscribe"}`)
		a.write(`{"type":"subscribe","topic":"room,other"}`) // twice is once
		a.write("heartbeat")
		waitForSubscription(t, server, b, a)
		for _, data := range []string{`"text"`, `{"a":[1,null]}`, `"esc\"aped"`, `3`, `"` + strings.Repeat("x", 70_000) + `"`} {
			b.write(`{"type":"publish","topic":"room","data":` + data + `}`)
			if got := a.read(); got != data {
				t.Errorf("got %.80q, want %.80q", got, data)
			}
		}
		b.write(`{"type":"publish","topic":"nobody","data":1}`)
		a.write(`{"type":"unSubscribe","topic":"room,never"}`)
		a.ping()
		b.write(`{"type":"publish","topic":"room","data":"not for a"}`)
		b.write(`{"type":"publish","topic":"other","data":"for a"}`)
		if got := a.read(); got != `"for a"` {
			t.Errorf("after leaving the room: %s", got)
		}
		if code := a.goodbye(4000); code != 4000 {
			t.Errorf("the server answered a close frame 4000 with %d", code)
		}
		if got := server.Stats(); got.Broken != 0 || got.Slow != 0 {
			t.Errorf("stats %+v", got)
		}
	})
}

// A client that breaks the protocol is closed, and nobody else is.
func TestBrokenClients(t *testing.T) {
	tests := map[string][]byte{
		"no JSON":            maskedFrame("hello"),
		"null":               maskedFrame("null"),
		"empty":              maskedFrame(""),
		"no topic":           maskedFrame(`{"type":"subscribe"}`),
		"empty topic":        maskedFrame(`{"type":"subscribe","topic":"a,,b"}`),
		"no data":            maskedFrame(`{"type":"publish","topic":"a"}`),
		"unknown type":       maskedFrame(`{"type":"rpc","topic":"a"}`),
		"publish cut":        maskedFrame(`{"type":"publish","topic":"`),
		"publish cut later":  maskedFrame(`{"type":"publish","topic":"a","data":`),
		"too many topics":    maskedFrame(`{"type":"subscribe","topic":"` + manyTopics(1025) + `"}`),
		"not masked":         {0x81, 2, 'h', 'i'},
		"lone fragment":      {0x80, 0x80, 0, 0, 0, 0},
		"message in another": append([]byte{0x01, 0x80, 0, 0, 0, 0}, maskedFrame(`{"type":"subscribe","topic":"a"}`)...),
		"split control":      {0x09, 0x80, 0, 0, 0, 0},
		"reserved bit":       {0xc1, 0x80, 0, 0, 0, 0},
		"reserved opcode":    {0x83, 0x80, 0, 0, 0, 0},
		"too long":           {0x81, 0xff, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0},
		"long control":       append([]byte{0x89, 0xfe, 0, 126, 0, 0, 0, 0}, make([]byte, 126)...),
		"half, then broken":  append([]byte{0x81, 0x85, 0, 0}, 0, 0, 'h', 'e', 'l', 'l', 'o'),
	}
	each(t, func(t *testing.T, kind string) {
		server := startServer(t, kind)
		witness := dial(t, server.Addr())
		witness.write(`{"type":"subscribe","topic":"room"}`)
		for name, frame := range tests {
			t.Run(name, func(t *testing.T) {
				c := dial(t, server.Addr())
				if _, err := c.ws.NetConn().Write(frame); err != nil {
					t.Fatal(err)
				}
				if err := c.end(); err == nil {
					t.Error("the connection is still open")
				}
			})
		}
		p := dial(t, server.Addr())
		waitForSubscription(t, server, p, witness)
	})
}

// What does not ask for a WebSocket does not get one.
func TestBadUpgrades(t *testing.T) {
	good := "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	tests := map[string]struct {
		request string
		ok      bool
	}{
		"as it should be": {good, true},
		"other method":    {strings.Replace(good, "GET", "POST", 1), false},
		"no upgrade":      {strings.Replace(good, "Upgrade: websocket\r\n", "", 1), false},
		"no connection":   {strings.Replace(good, "Connection: keep-alive, Upgrade\r\n", "", 1), false},
		"old version":     {strings.Replace(good, "Version: 13", "Version: 8", 1), false},
		"no key":          {strings.Replace(good, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 1), false},
		"no HTTP":         {"hello\r\n\r\n", false},
		"endless":         {"GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20), false},
	}
	each(t, func(t *testing.T, kind string) {
		server := startServer(t, kind)
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				conn, err := net.Dial("tcp", server.Addr())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
					t.Fatal(err)
				}
				_, _ = io.WriteString(conn, tt.request) // the server may close before it has read all
				answer := make([]byte, 1024)
				n, err := conn.Read(answer)
				got := bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 101 "))
				if got != tt.ok {
					t.Errorf("answer %q, %v", answer[:n], err)
				}
				if tt.ok && !bytes.Contains(answer[:n], []byte("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) {
					t.Errorf("answer %q lacks the accept key of RFC 6455 §1.3", answer[:n])
				}
			})
		}
	})
}

// An upgrade and the frames behind it may come in any pieces.
func TestUpgradeInPieces(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		server := startServer(t, kind)
		conn, err := net.Dial("tcp", server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		request := []byte("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
		frames := append(maskedFrame(`{"type":"subscribe","topic":"a"}`), maskedFrame(`{"type":"publish","topic":"a","data":"mine"}`)...)
		pieces := [][]byte{request[:10], request[10:100], request[100:]}
		for _, b := range frames {
			pieces = append(pieces, []byte{b})
		}
		var answer []byte
		buffer := make([]byte, 4096)
		for i, piece := range pieces {
			if _, err := conn.Write(piece); err != nil {
				t.Fatal(err)
			}
			if i == 2 { // gorilla refuses what comes before its answer
				n, err := conn.Read(buffer)
				if err != nil {
					t.Fatal(err)
				}
				answer = append(answer, buffer[:n]...)
			}
		}
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for !bytes.HasSuffix(answer, []byte("\x81\x06\"mine\"")) {
			n, err := conn.Read(buffer)
			if err != nil {
				t.Fatalf("%v after %q", err, answer)
			}
			answer = append(answer, buffer[:n]...)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	if _, err := reference.New("nginx", "127.0.0.1:0"); !errors.Is(err, reference.ErrKind) {
		t.Errorf("unknown kind: %v", err)
	}
	each(t, func(t *testing.T, kind string) {
		if _, err := reference.New(kind, "127.0.0.1"); err == nil {
			t.Error("an address without a port is accepted")
		}
		server := startServer(t, kind)
		if _, err := reference.New(kind, server.Addr()); err == nil {
			t.Error("an address that is in use is accepted")
		}
	})
}

func TestRunSaysItsAddress(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		ctx, cancel := context.WithCancel(context.Background())
		addr := make(chan string, 1)
		done := make(chan error, 1)
		go func() { done <- reference.Run(ctx, kind, "127.0.0.1:0", func(a string) { addr <- a }) }()
		c := dial(t, <-addr)
		c.ping()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := c.end(); err == nil {
			t.Error("the client is still connected")
		}
	})
	if err := reference.Run(context.Background(), "nginx", "127.0.0.1:0", func(string) { t.Error("ready") }); err == nil {
		t.Error("an unknown kind runs")
	}
}

// conversation is a client of these tests.
type conversation struct {
	t  *testing.T
	ws *websocket.Conn
}

func dial(t *testing.T, addr string) *conversation {
	t.Helper()
	ws, response, err := websocket.DefaultDialer.Dial("ws://"+addr+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	t.Cleanup(func() { ws.Close() })
	if err := ws.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &conversation{t, ws}
}

func (c *conversation) write(text string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *conversation) read() string {
	c.t.Helper()
	_, payload, err := c.ws.ReadMessage()
	if err != nil {
		c.t.Fatal(err)
	}
	return string(payload)
}

// ping waits for the answer: what was sent before has been handled then.
func (c *conversation) ping() {
	c.t.Helper()
	answered := errors.New("answered")
	c.ws.SetPongHandler(func(data string) error {
		if data != "are you there" {
			c.t.Errorf("pong %q", data)
		}
		return answered
	})
	if err := c.ws.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(5*time.Second)); err != nil {
		c.t.Fatal(err)
	}
	conn := c.ws.NetConn()
	// A handler that fails ends gorilla's connection for good, so that the pong is read by hand.
	head := make([]byte, 2+len("are you there"))
	if _, err := io.ReadFull(conn, head); err != nil {
		c.t.Fatal(err)
	}
	if string(head) != "\x8a\x0dare you there" {
		c.t.Fatalf("got % x, want a pong", head)
	}
}

// goodbye closes as RFC 6455 §7.1.2 wants it, and returns the code that the server answers.
func (c *conversation) goodbye(code int) int {
	c.t.Helper()
	message := websocket.FormatCloseMessage(code, "")
	if err := c.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(5*time.Second)); err != nil {
		c.t.Fatal(err)
	}
	var closed *websocket.CloseError
	if err := c.end(); !errors.As(err, &closed) {
		c.t.Fatalf("no close frame: %v", err)
	}
	return closed.Code
}

// end reads until the connection ends; nil says that it does not.
func (c *conversation) end() error {
	for {
		if _, _, err := c.ws.ReadMessage(); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				return nil
			}
			return err
		}
	}
}

// waitForSubscription publishes until a subscriber of "a" or "room" has been told, and reads what came of it.
func waitForSubscription(t *testing.T, server *reference.Server, publisher, subscriber *conversation) {
	t.Helper()
	sent := 0
	before := server.Stats().Delivered
	waitFor(t, "the subscription", func() bool {
		for _, topic := range []string{"a", "room"} {
			publisher.write(`{"type":"publish","topic":"` + topic + `","data":"` + "probe" + `"}`)
		}
		sent++
		publishedBefore := sent * 2
		waitFor(t, "the server", func() bool { return server.Stats().Published >= int64(publishedBefore) })
		return server.Stats().Delivered > before
	})
	for range server.Stats().Delivered - before {
		if got := subscriber.read(); got != `"probe"` {
			t.Fatalf("got %s, want the probe", got)
		}
	}
}

func maskedFrame(text string) []byte {
	n := len(text)
	var b []byte
	switch {
	case n < 126:
		b = []byte{0x81, 0x80 | byte(n)}
	default:
		b = []byte{0x81, 0x80 | 126, byte(n >> 8), byte(n)}
	}
	return append(append(b, 0, 0, 0, 0), text...) // a masking key of zeros masks nothing
}

func manyTopics(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("t", i)
	}
	return strings.Join(names, ",")
}
