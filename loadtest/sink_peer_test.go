package loadtest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"firetower/loadtest"
)

// told is what a server of a test was told.
type told struct {
	mu    sync.Mutex // guards the following
	lines []string
}

func (l *told) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *told) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "|")
}

// natsServer takes one connection and answers each line; "" says nothing and "end" ends the connection.
func natsServer(t *testing.T, answer func(line string) string) (string, *told) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &told{}
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "INFO {}\r\n") // a sink that is gone is seen by the read
		r := bufio.NewReader(conn)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimSpace(line)
			l.add(line)
			text := answer(line)
			if text == "end" {
				return
			}
			_, _ = io.WriteString(conn, text)
		}
	})
	t.Cleanup(func() { listener.Close(); wg.Wait() })
	return listener.Addr().String(), l
}

func TestNATSSink(t *testing.T) {
	addr, l := natsServer(t, func(line string) string {
		switch {
		case line == "PING":
			return "PONG\r\nPING\r\n"
		case strings.HasPrefix(line, "PUB forbidden"):
			return "-ERR 'Permissions Violation'\r\n"
		case strings.HasPrefix(line, "PUB last"):
			return "end"
		}
		return ""
	})
	s, err := loadtest.DialPeer(t.Context(), loadtest.NATS, addr, 1)
	if err != nil {
		t.Fatal(err)
	}
	// Its answer to the server's PING comes when it comes: before the others, or not at all.
	poll(t, "the answer to PING", func() bool { return strings.Contains(l.all(), "PONG") })
	for _, topic := range []string{"room", "forbidden", "last"} {
		if err := s.Send(t.Context(), topic, []byte(`"hello"`), time.Second); err != nil {
			t.Errorf("send to %s: %v", topic, err)
		}
	}
	// The kernel takes some for a connection that the server has ended.
	poll(t, "a send to fail", func() bool {
		return errors.Is(s.Send(t.Context(), "room", []byte(`"hello"`), time.Second), loadtest.ErrNotConnected)
	})
	acked, missed, unacknowledged, errs, err := s.Close()
	if err != nil || acked != 0 || missed != 0 || unacknowledged != 0 || errs["-ERR 'Permissions Violation'"] != 1 {
		t.Errorf("%d acknowledged, %d missed, %d not, errors %v, close: %v", acked, missed, unacknowledged, errs, err)
	}
	if got := l.all(); !strings.Contains(got, `PUB room 7|"hello"|PUB forbidden 7|"hello"|PUB last 7`) {
		t.Errorf("the server was told %q", got)
	}
}

func TestNATSSinkIsRefused(t *testing.T) {
	addr, _ := natsServer(t, func(line string) string {
		if line == "PING" {
			return "end"
		}
		return "-ERR 'Authorization Violation'\r\n"
	})
	if _, err := loadtest.DialPeer(t.Context(), loadtest.NATS, addr, 1); err == nil || !strings.Contains(err.Error(), "Authorization Violation") {
		t.Errorf("DialPeer: %v", err)
	}
}

// poll waits until the condition holds.
func poll(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatalf("waited 20s for %s", what)
		}
	}
}

// centrifugoServer answers each frame; "" says nothing and "end" ends the connection.
func centrifugoServer(t *testing.T, answer func(n int, frame string) string) (string, *told) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &told{}
	var wg sync.WaitGroup
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wg.Add(1)
		defer wg.Done()
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for n := 1; ; n++ {
			_, frame, err := ws.ReadMessage()
			if err != nil {
				return
			}
			l.add(string(frame))
			switch text := answer(n, string(frame)); text {
			case "":
			case "end":
				return
			default:
				_ = ws.WriteMessage(websocket.TextMessage, []byte(text)) // a sink that is gone is seen by the read
			}
		}
	})}
	wg.Go(func() { _ = server.Serve(listener) }) // ends with Close
	t.Cleanup(func() { server.Close(); wg.Wait() })
	return listener.Addr().String(), l
}

const granted = `{"id":1,"connect":{"client":"x","ping":25,"pong":true}}`

func TestCentrifugoSink(t *testing.T) {
	addr, l := centrifugoServer(t, func(n int, frame string) string {
		switch {
		case n == 1:
			return granted
		case strings.Contains(frame, "forbidden"):
			return fmt.Sprintf(`{"id":%d,"error":{"code":103,"message":"permission denied"}}`, n) + "\n{}"
		case strings.Contains(frame, "publish"):
			return fmt.Sprintf(`{"id":%d,"publish":{}}`, n)
		}
		return ""
	})
	s, err := loadtest.DialPeer(t.Context(), loadtest.Centrifuge, addr, 8)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"room", "forbidden"} {
		if err := s.Send(t.Context(), topic, []byte(`"hello"`), time.Second); err != nil {
			t.Errorf("send to %s: %v", topic, err)
		}
	}
	poll(t, "the answer to a ping", func() bool { return strings.HasSuffix(l.all(), "|{}") })
	acked, missed, unacknowledged, errs, err := s.Close()
	if err != nil || acked != 2 || missed != 1 || unacknowledged != 0 || errs["103 permission denied"] != 1 {
		t.Errorf("%d acknowledged, %d missed, %d not, errors %v, close: %v", acked, missed, unacknowledged, errs, err)
	}
	if got := l.all(); !strings.Contains(got, `"token":"backend"`) || !strings.Contains(got, `{"id":2,"publish":{"channel":"room","data":"hello"}}`) {
		t.Errorf("the server was told %q", got)
	}
}

// A server that does not answer fills the window, and what was never answered is told.
func TestCentrifugoSinkWithoutAnswers(t *testing.T) {
	addr, l := centrifugoServer(t, func(n int, frame string) string {
		switch {
		case n == 1:
			return granted
		case strings.Contains(frame, "last"):
			return "end"
		}
		return ""
	})
	s, err := loadtest.DialPeer(t.Context(), loadtest.Centrifuge, addr, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), "room", []byte(`"hello"`), time.Second); err != nil {
		t.Errorf("the first: %v", err)
	}
	if err := s.Send(t.Context(), "last", []byte(`"hello"`), time.Second); err != nil {
		t.Errorf("the second: %v", err)
	}
	if err := s.Send(t.Context(), "room", []byte(`"hello"`), 10*time.Millisecond); !errors.Is(err, loadtest.ErrWindowFull) && !errors.Is(err, loadtest.ErrNotConnected) {
		t.Errorf("beyond the window: %v", err)
	}
	poll(t, "the end of the connection", func() bool {
		return errors.Is(s.Send(t.Context(), "room", []byte(`"hello"`), time.Millisecond), loadtest.ErrNotConnected)
	})
	acked, missed, unacknowledged, _, err := s.Close()
	if err != nil || acked != 0 || missed != 0 || unacknowledged != 2 {
		t.Errorf("%d acknowledged, %d missed, %d not, close: %v; the server was told %q", acked, missed, unacknowledged, err, l.all())
	}
}

func TestCentrifugoSinkIsRefused(t *testing.T) {
	tests := map[string]string{
		"an error":        `{"id":1,"error":{"code":101,"message":"unauthorized"}}`,
		"another command": `{"id":7,"connect":{}}`,
		"no JSON":         "hello",
		"the end":         "end",
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			addr, _ := centrifugoServer(t, func(int, string) string { return answer })
			if _, err := loadtest.DialPeer(t.Context(), loadtest.Centrifuge, addr, 1); err == nil {
				t.Error("connected")
			}
		})
	}
}

func TestPeerSinkWithoutServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	for _, target := range []loadtest.Target{loadtest.Centrifuge, loadtest.NATS, loadtest.GWS} {
		if _, err := loadtest.DialPeer(t.Context(), target, addr, 1); err == nil || !strings.Contains(err.Error(), "publisher") {
			t.Errorf("%s: %v", target, err)
		}
	}
}
