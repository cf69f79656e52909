package manager_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"firetower/core/manager"
	"firetower/core/protocol"
	"firetower/core/topicpb"
)

// patience is how long a test waits for what must come. It is not a measure of
// anything: a test that passes does not wait that long.
const patience = 20 * time.Second

// eventually polls until ok, and fails the test when it never is.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// hub is a manager under test with a client of its service.
type hub struct {
	*manager.Manager

	t    *testing.T
	rpc  topicpb.TopicServiceClient
	conn *grpc.ClientConn
	stop func() error
}

// startHub runs a manager on ports of the system's choice until the test ends.
func startHub(t *testing.T, change func(*manager.Options)) *hub {
	t.Helper()
	opt := manager.DefaultOptions()
	opt.LinkAddr, opt.GRPCAddr, opt.HTTPAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	opt.Logger = testLogger(t)
	opt.DrainTimeout = patience
	if change != nil {
		change(&opt)
	}
	m, err := manager.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	select {
	case <-m.Ready():
	case err := <-ended:
		cancel()
		t.Fatal(err)
	}
	h := &hub{Manager: m, t: t}
	h.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := h.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	h.conn = dialGRPC(t, m.Addrs().GRPC.String())
	h.rpc = topicpb.NewTopicServiceClient(h.conn)
	return h
}

func dialGRPC(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// publish publishes over gRPC; the test fails when that is refused.
func (h *hub) publish(topic, data string) *topicpb.PublishResponse {
	h.t.Helper()
	res, err := h.rpc.Publish(context.Background(), &topicpb.PublishRequest{Topic: topic, Data: []byte(data)})
	if err != nil {
		h.t.Fatal(err)
	}
	return res
}

// subscribers asks for the number of subscribers of a topic.
func (h *hub) subscribers(topic string) int64 {
	h.t.Helper()
	res, err := h.rpc.GetConnectNum(context.Background(), &topicpb.GetConnectNumRequest{Topic: topic})
	if err != nil {
		h.t.Fatal(err)
	}
	return res.GetNumber()
}

// gateway finds a gateway in the manager's list by its id, nil when it is not there.
func (h *hub) gateway(id string) *topicpb.GatewayInfo {
	h.t.Helper()
	res, err := h.rpc.ListGateways(context.Background(), &topicpb.ListGatewaysRequest{})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, g := range res.GetGateways() {
		if g.GetId() == id {
			return g
		}
	}
	return nil
}

// fakeGateway is the gateway's end of a link, as the wire shows it.
type fakeGateway struct {
	t     *testing.T
	conn  net.Conn
	in    *protocol.Reader
	id    string
	epoch int64

	mu     sync.Mutex // guards the following
	got    []protocol.Packet
	beats  int
	refuse *topicpb.LinkRefuse
	err    error // why reading ended

	done chan struct{} // closed when reading has ended
}

// dialLink opens a link and says nothing.
func dialLink(t *testing.T, addr string) *fakeGateway {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &fakeGateway{t: t, conn: conn, in: protocol.NewReader(conn, 0), done: make(chan struct{})}
}

// send writes one packet.
func (g *fakeGateway) send(p protocol.Packet) error {
	b, err := protocol.Enpack(p)
	if err != nil {
		return err
	}
	_, err = g.conn.Write(b)
	return err
}

func (g *fakeGateway) sendControl(typ protocol.MessageType, body proto.Message) error {
	b, err := proto.Marshal(body)
	if err != nil {
		return err
	}
	return g.send(protocol.Packet{Type: typ, MessageID: "0", Source: protocol.SourceSystem, Topic: protocol.HeartbeatTopic, Body: b})
}

// greeting is what a gateway says first.
type greeting struct {
	hello  *topicpb.LinkHello
	topics map[string]int64
	parts  int // into how many snapshot packets the topics are cut, 0 means 1
}

// say sends hello and snapshot.
func (g *fakeGateway) say(hi greeting) error {
	g.id, g.epoch = hi.hello.GetClusterId(), hi.hello.GetEpoch()
	if err := g.sendControl(protocol.HelloKey, hi.hello); err != nil {
		return err
	}
	parts := make([]*topicpb.LinkSnapshot, max(hi.parts, 1))
	for i := range parts {
		parts[i] = &topicpb.LinkSnapshot{Last: i == len(parts)-1}
	}
	i := 0
	for topic, n := range hi.topics {
		p := parts[i%len(parts)]
		p.Topics = append(p.Topics, &topicpb.TopicCount{Topic: topic, Count: n})
		i++
	}
	for _, p := range parts {
		if err := g.sendControl(protocol.SnapshotKey, p); err != nil {
			return err
		}
	}
	return nil
}

// next reads one packet, within patience.
func (g *fakeGateway) next() (protocol.Packet, error) {
	g.conn.SetReadDeadline(time.Now().Add(patience))
	return g.in.Next()
}

// greet says hello and awaits the first packet, which must be the welcome or a refusal.
func (g *fakeGateway) greet(hi greeting) (*topicpb.LinkWelcome, *topicpb.LinkRefuse) {
	g.t.Helper()
	if err := g.say(hi); err != nil {
		g.t.Fatalf("say hello: %v", err)
	}
	return g.awaitWelcome()
}

func (g *fakeGateway) awaitWelcome() (*topicpb.LinkWelcome, *topicpb.LinkRefuse) {
	g.t.Helper()
	p, err := g.next()
	if err != nil {
		g.t.Fatalf("await welcome: %v", err)
	}
	var welcome topicpb.LinkWelcome
	var refuse topicpb.LinkRefuse
	switch p.Type {
	case protocol.WelcomeKey:
		if err := proto.Unmarshal(p.Body, &welcome); err != nil {
			g.t.Fatal(err)
		}
		return &welcome, nil
	case protocol.RefuseKey:
		if err := proto.Unmarshal(p.Body, &refuse); err != nil {
			g.t.Fatal(err)
		}
		return nil, &refuse
	default:
		g.t.Fatalf("first packet is %q, want welcome", p.Type)
		return nil, nil
	}
}

// joinHub links a gateway with its topics, and listens until the test ends.
func joinHub(t *testing.T, h *hub, id string, topics map[string]int64) *fakeGateway {
	t.Helper()
	g := dialLink(t, h.Addrs().Link.String())
	if _, refuse := g.greet(greeting{hello: &topicpb.LinkHello{ClusterId: id, Epoch: time.Now().UnixNano()}, topics: topics}); refuse != nil {
		t.Fatalf("refused: %v", refuse)
	}
	g.listen()
	return g
}

// listen reads in the background until the link ends, and keeps what comes.
func (g *fakeGateway) listen() {
	g.t.Cleanup(func() {
		g.conn.Close()
		<-g.done
	})
	g.conn.SetReadDeadline(time.Time{})
	go func() {
		defer close(g.done)
		for {
			p, err := g.in.Next()
			g.mu.Lock()
			switch {
			case err != nil:
				g.err = err
			case p.Type == protocol.HeartbeatKey:
				g.beats++
			case p.Type == protocol.RefuseKey:
				g.refuse = new(topicpb.LinkRefuse)
				proto.Unmarshal(p.Body, g.refuse)
			default:
				g.got = append(g.got, p)
			}
			g.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
}

// beat sends heartbeats in the background, as a gateway does, until the link ends.
func (g *fakeGateway) beat(every time.Duration) {
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-g.done:
				return
			case <-tick.C:
				if g.send(protocol.HeartbeatPacket()) != nil {
					return
				}
			}
		}
	}()
}

// packets are those that came, heartbeats and refusals apart.
func (g *fakeGateway) packets() []protocol.Packet {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got[:len(g.got):len(g.got)]
}

// bodies are the bodies of the messages that came on a topic, in order.
func (g *fakeGateway) bodies(topic string) []string {
	var out []string
	for _, p := range g.packets() {
		if p.Type == protocol.PublishKey && p.Topic == topic {
			out = append(out, string(p.Body))
		}
	}
	return out
}

// ended tells how reading ended, once it has.
func (g *fakeGateway) ended() (*topicpb.LinkRefuse, error) {
	g.t.Helper()
	select {
	case <-g.done:
	case <-time.After(patience):
		g.t.Fatal("the link never ended")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refuse, g.err
}

// awaitClosed reads until the manager closes the link, and returns the refusal if there was one.
func (g *fakeGateway) awaitClosed() *topicpb.LinkRefuse {
	g.t.Helper()
	var refuse *topicpb.LinkRefuse
	for {
		p, err := g.next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			g.t.Fatal("the manager never closed the link")
		case err != nil:
			g.conn.Close() // the manager waits for that, so that a refusal is read before a reset
			return refuse
		case p.Type == protocol.RefuseKey:
			refuse = new(topicpb.LinkRefuse)
			if err := proto.Unmarshal(p.Body, refuse); err != nil {
				g.t.Fatal(err)
			}
		}
	}
}

// sync tells the manager absolute counts, as a gateway does between snapshots.
func (g *fakeGateway) sync(h *hub, counts map[string]int64) error {
	req := &topicpb.SyncTopicsRequest{ClusterId: g.id, Epoch: g.epoch}
	for topic, n := range counts {
		req.Topics = append(req.Topics, &topicpb.TopicCount{Topic: topic, Count: n})
	}
	_, err := h.rpc.SyncTopics(context.Background(), req)
	return err
}

// numbered is n message bodies that tell their place.
func numbered(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%06d", prefix, i)
	}
	return out
}
