package loadtest_test

import (
	"encoding/json"
	"errors"
	"io"
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
	"firetower/simulator"
	"firetower/simulator/stamp"
)

// stub is a server of one topic that does to messages what a test wants: what the
// harness then says of it is known beforehand.
type stub struct {
	topicpb.UnimplementedTopicServiceServer
	// deliver returns what client number n is sent for the i-th measured message, nil
	// for nothing. Other messages are delivered as they are.
	deliver func(client, i int, data []byte) [][]byte
	// stall is called for the i-th measured message, after it has been delivered and
	// before it is acknowledged.
	stall func(i int)

	mu       sync.Mutex // guards the following
	clients  []*websocket.Conn
	measured int
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{"firetower.v0"}}
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
		var req struct{ Type string }
		if json.Unmarshal(frame, &req) == nil && req.Type == "subscribe" {
			s.mu.Lock()
			s.clients = append(s.clients, conn)
			s.mu.Unlock()
		}
	}
}

func (s *stub) PublishStream(stream topicpb.TopicService_PublishStreamServer) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		i := s.publish(req.GetData())
		if s.stall != nil && i >= 0 {
			s.stall(i)
		}
		if err := stream.Send(&topicpb.PublishResponse{Ok: true}); err != nil {
			return err
		}
	}
}

// publish delivers a message, and returns its number among the measured ones.
func (s *stub) publish(data []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := -1
	if st, err := stamp.Parse(data); err == nil && simulator.Phase(st.Phase) == simulator.PhaseMeasure {
		i = s.measured
		s.measured++
	}
	for n, conn := range s.clients {
		frames := [][]byte{data}
		if s.deliver != nil && i >= 0 {
			frames = s.deliver(n, i, data)
		}
		for _, f := range frames {
			// A client that has left shows in the ledger.
			_ = conn.WriteMessage(websocket.TextMessage, f)
		}
	}
	return i
}

// loadStub runs a scenario of 10 clients against a stub.
func loadStub(t *testing.T, s *stub, change func(*scenarios.Scenario)) *reports.Result {
	t.Helper()
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
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
	p := plan(t, tiny(t, func(sc *scenarios.Scenario) {
		sc.Connections, sc.Subprotocol = 10, scenarios.V0
		sc.Load.Rate.PerSecond = 100
		sc.Phases.Measure = scenarios.Seconds(2)
		sc.Phases.Drain = scenarios.Seconds(2)
		change(sc)
	}), loadtest.Firetower)
	o, mark := options(t, p)
	loadtest.Attach(&o, "ws"+strings.TrimPrefix(web.URL, "http"), lis.Addr().String())
	r, _ := carryOut(t.Context(), t, o, mark)
	if r.Failure != "" {
		t.Fatalf("the run failed: %s", r.Failure)
	}
	return r
}

// A server that stalls before it answers holds the publisher up, since only one
// message may wait for its answer here. Messages of the stall go out late, all at
// once: measured from their actual send they look fine, and that is the lie that
// intended times are there to tell.
func TestStallShowsInIntendedTimeAlone(t *testing.T) {
	t.Parallel()
	const stall = 400 * time.Millisecond
	r := loadStub(t, &stub{stall: func(i int) {
		if i == 60 {
			<-time.After(stall)
		}
	}}, func(s *scenarios.Scenario) {
		s.Load.Window = 1
		s.Load.GiveUp = scenarios.Seconds(30)
	})
	everythingArrived(t, r)
	if r.Delivery.P99 == nil || r.DeliveryActual.P99 == nil {
		t.Fatalf("%d deliveries have no p99", r.Delivery.Count)
	}
	// 40 of 200 messages were due within the stall, the first of them 390 ms before its
	// end: the p99 of the intended latency lies there, whatever else the machine does.
	intended, actual := *r.Delivery.P99, *r.DeliveryActual.P99
	if intended < 300 || intended-actual < 200 {
		t.Errorf("p99 from the intended send %v ms, from the actual send %v ms", intended, actual)
	}
	if r.PublishLag.Max == nil || *r.PublishLag.Max < 300 {
		t.Errorf("publish lag at most %v ms", *r.PublishLag.Max)
	}
	if r.Verdict == reports.Valid {
		t.Error("a publisher that was held up left the verdict valid")
	}
}

// The window is full for longer than a message may be late: it is dropped, and counted.
func TestMessagesThatWouldBeTooLateAreDropped(t *testing.T) {
	t.Parallel()
	r := loadStub(t, &stub{stall: func(i int) {
		if i == 60 {
			<-time.After(400 * time.Millisecond)
		}
	}}, func(s *scenarios.Scenario) {
		s.Load.Window = 1
		s.Load.GiveUp = scenarios.Seconds(0.1)
	})
	p := r.Publisher
	if p.Dropped < 10 || p.Planned != p.Sent+p.Dropped || p.Refused != 0 || r.Messages != p.Sent {
		t.Errorf("%+v, %d messages", p, r.Messages)
	}
	if r.Received != r.Expected || r.Expected != p.Sent*10 {
		t.Errorf("a dropped message is expected: %+v", r.Ledger)
	}
	if r.Verdict == reports.Valid {
		t.Error("a plan that was not carried out left the verdict valid")
	}
}

// What is done to messages on the way is counted exactly.
func TestInjectedFaultsAreCountedExactly(t *testing.T) {
	t.Parallel()
	held := map[int][]byte{}
	r := loadStub(t, &stub{deliver: func(client, i int, data []byte) [][]byte {
		if client != 3 {
			return [][]byte{data}
		}
		switch i {
		case 10, 11, 12: // lost
			return nil
		case 20, 21: // twice
			return [][]byte{data, data}
		case 30: // after its successor
			held[client] = append([]byte(nil), data...)
			return nil
		case 31:
			return [][]byte{data, held[client]}
		case 40: // damaged: one byte of the padding, so that only the checksum can tell
			bad := append([]byte(nil), data...)
			bad[len(bad)-2] ^= 1
			return [][]byte{bad, data}
		case 50: // of another run
			st, err := stamp.Parse(data)
			if err != nil {
				return nil
			}
			st.Run++
			return [][]byte{stamp.Append(nil, st, len(data)), data}
		default:
			return [][]byte{data}
		}
	}}, func(*scenarios.Scenario) {})
	want := reports.Ledger{Expected: 2000, Received: 1997, Lost: 3, Duplicated: 2, Reordered: 1, Corrupt: 1, Foreign: 1}
	want.ReceivedBytes = r.ReceivedBytes
	if r.Ledger != want || r.ReceivedBytes == 0 {
		t.Errorf("counted %+v, want %+v", r.Ledger, want)
	}
	if r.Incomplete != 3 || r.Completion.Count != 197 || r.LostUnexplained != 3 {
		t.Errorf("%d incomplete, %d completions, %d lost without explanation", r.Incomplete, r.Completion.Count, r.LostUnexplained)
	}
	if r.Verdict == reports.Valid || r.ThresholdsOK {
		t.Errorf("verdict %s, thresholds %v", r.Verdict, r.Thresholds)
	}
	if r.Verdict == reports.Degraded && r.ExitCode != loadtest.ExitThreshold {
		t.Errorf("exit code %d", r.ExitCode)
	}
}

// A server that never delivers the probe is found before anything is measured.
func TestServerThatDeliversNothingFailsTheProbe(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(&stub{})
	defer web.Close()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	deaf := &stub{} // publishes reach another server than clients do
	rpc := grpc.NewServer()
	topicpb.RegisterTopicServiceServer(rpc, deaf)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := rpc.Serve(lis); err != nil {
			t.Error(err)
		}
	})
	defer serving.Wait()
	defer rpc.Stop()
	s := tiny(t, func(s *scenarios.Scenario) { s.Subprotocol, s.Phases.Ready = scenarios.V0, scenarios.Seconds(1) })
	o, mark := options(t, plan(t, s, loadtest.Firetower))
	loadtest.Attach(&o, "ws"+strings.TrimPrefix(web.URL, "http"), lis.Addr().String())
	r, _ := carryOut(t.Context(), t, o, mark)
	if !strings.Contains(r.Failure, "0 of 40 clients had seen a probe") || r.Verdict != reports.Invalid {
		t.Errorf("verdict %s, failure %q", r.Verdict, r.Failure)
	}
}
