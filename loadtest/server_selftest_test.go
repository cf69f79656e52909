package loadtest_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc"

	"firetower/core/topicpb"
	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

// A stall of a tenth of a second: one in twenty messages was due within it, so the p99
// from the intended send is nearly all of it, and the p99 from the actual send is not.
func TestStallOfATenthOfASecondShowsInIntendedTime(t *testing.T) {
	t.Parallel()
	r := loadStub(t, &stub{stall: func(i int) {
		if i == 60 {
			<-time.After(100 * time.Millisecond)
		}
	}}, func(s *scenarios.Scenario) {
		s.Load.Window = 1
		s.Load.GiveUp = scenarios.Seconds(30)
	})
	everythingArrived(t, r)
	if r.Delivery.P99 == nil || r.DeliveryActual.P99 == nil || r.PublishLag.P99 == nil && r.PublishLag.Max == nil {
		t.Fatalf("%d deliveries without a p99", r.Delivery.Count)
	}
	// The two messages that wait longest of 200 have waited 80 ms at least, by the plan.
	if intended := *r.Delivery.P99; intended < 70 || intended < *r.DeliveryActual.P99+20 {
		t.Errorf("p99 from the intended send %v ms, from the actual send %v ms", intended, *r.DeliveryActual.P99)
	}
}

// serveWrong runs tiny against a handler in place of a gateway, and a manager that
// takes every message.
func serveWrong(t *testing.T, handler http.Handler, change func(*scenarios.Scenario)) *reports.Result {
	t.Helper()
	web := httptest.NewServer(handler)
	t.Cleanup(web.Close)
	return loadAddress(t, "ws"+strings.TrimPrefix(web.URL, "http"), &stub{}, change)
}

// loadAddress runs tiny against a URL, and publishes to a stub.
func loadAddress(t *testing.T, url string, s *stub, change func(*scenarios.Scenario)) *reports.Result {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rpc := grpc.NewServer()
	topicpb.RegisterTopicServiceServer(rpc, s)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := rpc.Serve(lis); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		rpc.Stop()
		serving.Wait()
	})
	o, mark := options(t, plan(t, tiny(t, func(sc *scenarios.Scenario) {
		sc.Connections = 10
		if change != nil {
			change(sc)
		}
	}), loadtest.Firetower))
	loadtest.Attach(&o, url, lis.Addr().String())
	r, _ := carryOut(t.Context(), t, o, mark)
	return r
}

// upgraded is a handler that speaks firetower.v1 as far as talk goes.
func upgraded(talk func(conn *websocket.Conn, id, topic string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{Subprotocols: []string{"firetower.v1"}}
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			_, frame, err := conn.ReadMessage()
			if err != nil {
				return
			}
			var req struct{ Type, ID, Topic string }
			if json.Unmarshal(frame, &req) == nil && req.Type == "subscribe" {
				talk(conn, req.ID, req.Topic)
			}
		}
	})
}

// A server that lets nobody in ends the run before anything is measured, with what it
// said.
func TestServerThatRefuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	// Nobody listens at a port that a connection has, and nobody else can get it.
	conn, err := net.Dial("tcp", taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer := func(text string) http.Handler {
		return upgraded(func(conn *websocket.Conn, id, topic string) {
			text := strings.NewReplacer("ID", id, "TOPIC", topic).Replace(text)
			// A client that has left shows in the report.
			_ = conn.WriteMessage(websocket.TextMessage, []byte(text))
		})
	}
	tests := []struct {
		name string
		run  func(t *testing.T) *reports.Result
		want string
	}{
		{"connections", func(t *testing.T) *reports.Result {
			t.Helper()
			return loadAddress(t, "ws://"+conn.LocalAddr().String()+"/ws", &stub{}, nil)
		}, "connection refused"},
		{"handshakes", func(t *testing.T) *reports.Result {
			t.Helper()
			return serveWrong(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }), nil)
		}, "503"},
		{"subscriptions", func(t *testing.T) *reports.Result {
			t.Helper()
			return serveWrong(t, answer(`{"type":"subscribe","id":"ID","ok":false,"code":"unavailable"}`), nil)
		}, "subscribe refused unavailable"},
		{"a topic", func(t *testing.T) *reports.Result {
			t.Helper()
			return serveWrong(t, answer(`{"type":"subscribe","id":"ID","ok":true,"topics":[{"topic":"TOPIC","ok":false,"code":"bad_topic"}]}`), nil)
		}, "topic refused bad_topic"},
		{"by silence", func(t *testing.T) *reports.Result {
			t.Helper()
			return serveWrong(t, upgraded(func(*websocket.Conn, string, string) {}), func(s *scenarios.Scenario) { s.Connect.Timeout = scenarios.Seconds(0.5) })
		}, "not all clients were connected within 500ms"},
		{"by closing", func(t *testing.T) *reports.Result {
			t.Helper()
			return serveWrong(t, upgraded(func(conn *websocket.Conn, _, _ string) { conn.Close() }), nil)
		}, "closed before subscribed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.run(t)
			if r.Verdict != reports.Invalid || r.ExitCode != loadtest.ExitError || !strings.Contains(r.Failure, "connect: ") || !strings.Contains(r.Failure, tt.want) {
				t.Errorf("verdict %s, exit code %d, failure %q, want %q in it", r.Verdict, r.ExitCode, r.Failure, tt.want)
			}
			if r.Messages != 0 || r.Expected != 0 {
				t.Errorf("%d messages, %d expected", r.Messages, r.Expected)
			}
		})
	}
}

// A server that closes in the middle of the run: each of its clients is counted, what
// they miss is lost without an explanation, and the run goes on for the others.
func TestServerThatClosesInTheMiddle(t *testing.T) {
	t.Parallel()
	s := &stub{}
	s.deliver = func(client, i int, data []byte) [][]byte {
		if client < 4 && i == 50 {
			// deliver is called with the lock of the clients held.
			if err := s.clients[client].Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
			return nil
		}
		return [][]byte{data}
	}
	r := loadStub(t, s, func(*scenarios.Scenario) {})
	want := reports.Ledger{Expected: 2000, Received: 2000 - 4*150, Lost: 4 * 150}
	want.ReceivedBytes = r.ReceivedBytes
	if r.Ledger != want || r.ReceivedBytes == 0 {
		t.Errorf("counted %+v, want %+v", r.Ledger, want)
	}
	if r.Disconnected != 4 || r.LostUnexplained != 600 || r.Incomplete != 150 {
		t.Errorf("%d disconnected, %d lost without explanation, %d incomplete", r.Disconnected, r.LostUnexplained, r.Incomplete)
	}
	if r.Verdict == reports.Valid || r.ThresholdsOK {
		t.Errorf("verdict %s, thresholds %+v", r.Verdict, r.Thresholds)
	}
}
