package gateway_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"firetower/core/gateway"
	"firetower/core/protocol"
	"firetower/core/topicpb"
)

// standIn is a manager as the gateway sees one: it keeps what it is told, and does
// what a test wants.
type standIn struct {
	topicpb.UnimplementedTopicServiceServer
	t        testing.TB
	listener net.Listener
	grpc     *grpc.Server
	rpcAddr  string

	mu     sync.Mutex // guards the following
	epoch  int64
	counts map[string]int64
	calls  int
	hellos []*topicpb.LinkHello
	conns  map[net.Conn]struct{}
	// refuse makes SyncTopics fail; welcome is what hello is answered.
	refuse error
	// refuseTopic is a topic that no call may hold.
	refuseTopic string
	seq         uint64
	welcome     func(*topicpb.LinkHello) (protocol.MessageType, proto.Message)
	loops       sync.WaitGroup
}

func newStandIn(t testing.TB) *standIn {
	t.Helper()
	m := &standIn{t: t, counts: make(map[string]int64), conns: make(map[net.Conn]struct{})}
	m.welcome = func(h *topicpb.LinkHello) (protocol.MessageType, proto.Message) {
		return protocol.WelcomeKey, &topicpb.LinkWelcome{ManagerId: "m", Epoch: h.Epoch, HeartbeatMs: 1000, MissedKnown: true}
	}
	var err error
	if m.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	rpc, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.rpcAddr = rpc.Addr().String()
	m.grpc = grpc.NewServer()
	topicpb.RegisterTopicServiceServer(m.grpc, m)
	m.loops.Add(2)
	go func() { defer m.loops.Done(); _ = m.grpc.Serve(rpc) }()
	go func() { defer m.loops.Done(); m.accept() }()
	t.Cleanup(func() {
		_ = m.listener.Close()
		m.cut()
		m.grpc.Stop()
		m.loops.Wait()
	})
	return m
}

func (m *standIn) options(o *gateway.Options) {
	o.ManagerLink, o.ManagerGRPC = m.listener.Addr().String(), m.rpcAddr
	o.ClusterID = "g1"
	o.RedialMin, o.RedialMax = 1e6, 20e6
}

func (m *standIn) accept() {
	for {
		c, err := m.listener.Accept()
		if err != nil {
			return
		}
		m.mu.Lock()
		m.conns[c] = struct{}{}
		m.mu.Unlock()
		m.loops.Add(1)
		go func() {
			defer m.loops.Done()
			m.serve(c)
		}()
	}
}

// serve keeps snapshots, and sends every publish back to where it came from.
func (m *standIn) serve(c net.Conn) {
	defer c.Close()
	r := protocol.NewReader(c, protocol.DefaultMaxPacket)
	var hello topicpb.LinkHello
	topics := make(map[string]int64)
	for {
		p, err := r.Next()
		if err != nil {
			return
		}
		switch p.Type {
		case protocol.HelloKey:
			if err := proto.Unmarshal(p.Body, &hello); err != nil {
				m.t.Error(err)
			}
			m.mu.Lock()
			m.hellos = append(m.hellos, &hello)
			m.mu.Unlock()
		case protocol.SnapshotKey:
			var s topicpb.LinkSnapshot
			if err := proto.Unmarshal(p.Body, &s); err != nil {
				m.t.Error(err)
			}
			for _, tc := range s.Topics {
				topics[tc.Topic] = tc.Count
			}
			if !s.Last {
				continue
			}
			m.mu.Lock()
			m.epoch, m.counts = hello.Epoch, topics
			typ, body := m.welcome(&hello)
			m.mu.Unlock()
			b, err := proto.Marshal(body)
			if err != nil {
				m.t.Error(err)
			}
			m.write(c, protocol.Packet{Type: typ, MessageID: "0", Source: protocol.SourceSystem, Topic: "*", Body: b})
		case protocol.PublishKey:
			m.write(c, p)
		case protocol.HeartbeatKey:
			m.write(c, protocol.HeartbeatPacket())
		default:
			m.t.Errorf("the gateway sent %s", p.Type)
		}
	}
}

func (m *standIn) write(c net.Conn, p protocol.Packet) {
	b, err := protocol.Enpack(p)
	if err != nil {
		m.t.Error(err)
		return
	}
	_, _ = c.Write(b)
}

// send sends a packet over every link.
func (m *standIn) send(p protocol.Packet) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		m.write(c, p)
	}
}

// cut breaks every link.
func (m *standIn) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch = 0
	for c := range m.conns {
		_ = c.Close()
		delete(m.conns, c)
	}
}

func (m *standIn) SyncTopics(_ context.Context, r *topicpb.SyncTopicsRequest) (*topicpb.SyncTopicsResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if m.refuse != nil {
		return nil, m.refuse
	}
	if r.ClusterId != "g1" || r.Epoch != m.epoch {
		return nil, status.Error(codes.FailedPrecondition, "no such session")
	}
	if r.Seq <= m.seq {
		m.t.Errorf("call %d after call %d", r.Seq, m.seq)
	}
	m.seq = r.Seq
	for _, tc := range r.Topics {
		if tc.Topic == m.refuseTopic {
			return nil, status.Error(codes.InvalidArgument, "not this one")
		}
	}
	for _, tc := range r.Topics {
		if tc.Count == 0 {
			delete(m.counts, tc.Topic)
		} else {
			m.counts[tc.Topic] = tc.Count
		}
	}
	return &topicpb.SyncTopicsResponse{}, nil
}

func (m *standIn) GetConnectNum(_ context.Context, r *topicpb.GetConnectNumRequest) (*topicpb.GetConnectNumResponse, error) {
	return &topicpb.GetConnectNumResponse{Number: m.count(r.Topic)}, nil
}

func (m *standIn) CheckTopicExist(_ context.Context, r *topicpb.CheckTopicExistRequest) (*topicpb.CheckTopicExistResponse, error) {
	return &topicpb.CheckTopicExistResponse{Ok: m.count(r.Topic) > 0}, nil
}

func (m *standIn) count(topic string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[topic]
}

func (m *standIn) callsSoFar() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

func (m *standIn) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}
