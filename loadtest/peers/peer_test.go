package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// After the end of its node, centrifuge sits out a second that it had begun to wait before it would leave a channel
	// without subscribers, and the end of a connection that it closed first, for as long as its own patience lasts.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/centrifugal/centrifuge/internal/dissolve.(*Dissolver).runWorker"),
		goleak.IgnoreAnyFunction("github.com/centrifugal/centrifuge.(*websocketTransport).Close"))
}

// patience bounds every wait of a test.
const patience = 20 * time.Second

// dial connects as a WebSocket client.
func dial(t *testing.T, addr string) *websocket.Conn {
	t.Helper()
	ws, resp, err := websocket.DefaultDialer.Dial("ws://"+addr+clientPath, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	if err := ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return ws
}

func say(t *testing.T, ws *websocket.Conn, kind int, text string) {
	t.Helper()
	if err := ws.WriteMessage(kind, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// hear reads frames until one of them has the text in it.
func hear(t *testing.T, ws *websocket.Conn, text string) {
	t.Helper()
	var all strings.Builder
	for !strings.Contains(all.String(), text) {
		_, frame, err := ws.ReadMessage()
		if err != nil {
			t.Fatalf("waiting for %q: %v, after %q", text, err, all.String())
		}
		all.Write(frame)
	}
}

// dialect is how a test speaks to a kind of server.
type dialect struct {
	frame     int    // of its messages
	subscribe string // to the topic "room"
	answer    string // that the subscription has; empty if none
	push      string // what a subscriber hears of the message "hello"
	publish   func(t *testing.T, addr string)
}

func wsPublish(commands ...string) func(*testing.T, string) {
	return func(t *testing.T, addr string) {
		ws := dial(t, addr)
		for _, c := range commands {
			say(t, ws, websocket.TextMessage, c)
		}
	}
}

func natsPublish(t *testing.T, addr string) {
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "CONNECT {\"verbose\":false}\r\nPUB room 7\r\n\"hello\"\r\n"); err != nil {
		t.Fatal(err)
	}
}

func dialects() map[string]dialect {
	centrifuge := dialect{
		frame: websocket.TextMessage, subscribe: `{"id":1,"connect":{}}` + "\n" + `{"id":2,"subscribe":{"channel":"room"}}`,
		answer: `"subscribe":{`, push: `{"push":{"channel":"room","pub":{"data":"hello"`,
		publish: wsPublish(`{"id":1,"connect":{"token":"backend"}}`, `{"id":2,"publish":{"channel":"room","data":"hello"}}`),
	}
	return map[string]dialect{
		kindCentrifuge: centrifuge, kindCentrifugeBatch: centrifuge,
		kindNATS: {
			frame: websocket.BinaryMessage, subscribe: "CONNECT {\"verbose\":false}\r\nSUB room 1\r\nPING\r\n",
			answer: "PONG\r\n", push: "MSG room 1 7\r\n\"hello\"\r\n", publish: natsPublish,
		},
		kindGWS: {
			frame: websocket.TextMessage, subscribe: `{"type":"subscribe","topic":"room,other"}`, push: `"hello"`,
			publish: wsPublish(`{"type":"publish","topic":"room","data":"hello"}`),
		},
	}
}

// running starts a server, and ends it with the test.
func running(t *testing.T, kind string) peer {
	t.Helper()
	p, err := start(t.Context(), kind, "127.0.0.1:0", slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return p
}

func TestTwoClientsHearAMessage(t *testing.T) {
	for _, kind := range kinds() {
		t.Run(kind, func(t *testing.T) {
			d, ok := dialects()[kind]
			if !ok {
				t.Fatal("no dialect")
			}
			p := running(t, kind)
			clients := []*websocket.Conn{dial(t, p.listen()), dial(t, p.listen())}
			for _, ws := range clients {
				say(t, ws, d.frame, d.subscribe)
				if d.answer != "" {
					hear(t, ws, d.answer)
				}
			}
			if d.answer == "" { // until a message comes, nobody knows that the subscriptions are there
				subscribed(t, p.(*gwsPeer), "room", len(clients))
			}
			d.publish(t, p.publish())
			for _, ws := range clients {
				hear(t, ws, d.push)
			}
		})
	}
}

// subscribed polls until a topic has n subscribers.
func subscribed(t *testing.T, p *gwsPeer, topic string, n int) {
	t.Helper()
	count := func() int {
		p.mu.RLock()
		defer p.mu.RUnlock()
		return len(p.topics[topic])
	}
	deadline := time.After(patience)
	for count() != n {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatalf("topic %s has %d subscribers, want %d", topic, count(), n)
		}
	}
}

func TestGWSForgetsWhoLeaves(t *testing.T) {
	p, ok := running(t, kindGWS).(*gwsPeer)
	if !ok {
		t.Fatal("no gwsPeer")
	}
	ws := dial(t, p.listen())
	say(t, ws, websocket.TextMessage, `{"type":"subscribe","topic":"room"}`)
	subscribed(t, p, "room", 1)
	_ = ws.Close()
	subscribed(t, p, "room", 0)
	broken := dial(t, p.listen())
	say(t, broken, websocket.TextMessage, `{"type":"subscribe","topic":"room"}`)
	say(t, broken, websocket.TextMessage, `{"type":"dance"}`)
	if _, _, err := broken.ReadMessage(); !websocket.IsCloseError(err, 1007) {
		t.Errorf("a broken request ended with %v", err)
	}
	subscribed(t, p, "room", 0)
}

func TestCentrifugePublishWithoutRights(t *testing.T) {
	p := running(t, kindCentrifuge)
	ws := dial(t, p.listen())
	say(t, ws, websocket.TextMessage, `{"id":1,"connect":{}}`+"\n"+`{"id":2,"publish":{"channel":"room","data":"hello"}}`)
	hear(t, ws, `"error":{"code":103`)
}

// The process announces itself in one line of JSON, and ends with its context.
func TestAnnouncement(t *testing.T) {
	for _, kind := range kinds() {
		t.Run(kind, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, w := io.Pipe()
			code := make(chan int, 1) // one result
			var stderr bytes.Buffer
			go func() {
				code <- run(ctx, []string{kind, "--listen", "127.0.0.1:0", "--announce"}, w, &stderr)
				_ = w.Close()
			}()
			line, err := bufio.NewReader(r).ReadBytes('\n')
			if err != nil {
				t.Fatalf("no line: %v; %s", err, stderr.String())
			}
			var a announcement
			if err := json.Unmarshal(line, &a); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if a.Event != "ready" || a.Role != "peer" || a.PID == 0 || a.Publish == "" || !strings.HasPrefix(a.Version, kind) {
				t.Errorf("announced %+v", a)
			}
			_ = dial(t, a.Listen).Close()
			cancel()
			if got := <-code; got != exitOK {
				t.Errorf("exit code %d: %s", got, stderr.String())
			}
		})
	}
}

func TestUsage(t *testing.T) {
	tests := map[string][]string{
		"nothing":            {},
		"unknown server":     {"apache"},
		"flag in its place":  {"--listen", "127.0.0.1:0"},
		"unknown flag":       {kindGWS, "--port", "1"},
		"too many arguments": {kindGWS, "--announce", "nats"},
	}
	for name, args := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), args, &stdout, &stderr); code != exitUsage || stdout.Len() != 0 || !strings.Contains(stderr.String(), "usage: peers") {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
			}
		})
	}
}

func TestAddressInUse(t *testing.T) {
	for _, kind := range []string{kindCentrifuge, kindGWS} {
		t.Run(kind, func(t *testing.T) {
			listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = listener.Close() })
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), []string{kind, "--listen", listener.Addr().String()}, &stdout, &stderr); code != exitError || stderr.Len() == 0 {
				t.Errorf("exit code %d, stderr %q", code, stderr.String())
			}
		})
	}
}

// An output that is gone ends the process.
func TestAnnouncementUnheard(t *testing.T) {
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{kindGWS, "--announce"}, deaf{}, &stderr); code != exitError || !strings.Contains(stderr.String(), "announce") {
		t.Errorf("exit code %d, stderr %q", code, stderr.String())
	}
}

type deaf struct{}

func (deaf) Write([]byte) (int, error) { return 0, errors.New("nobody listens") }

// Every kind of the usage text is one that starts.
func TestKindsHaveVersions(t *testing.T) {
	for _, kind := range kinds() {
		if got := version(kind); !strings.HasPrefix(got, kind) {
			t.Errorf("version(%s) = %q", kind, got)
		}
	}
	if _, err := start(t.Context(), "apache", "127.0.0.1:0", slog.Default()); err == nil || !strings.Contains(err.Error(), "no server ") {
		t.Errorf("start of an unknown server: %v", err)
	}
}
