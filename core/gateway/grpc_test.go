package gateway_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"firetower/core/gateway"
	"firetower/core/protocol"
	"firetower/core/topicpb"
)

// U4-16: what holds gRPC up while the link stands is over once the manager can be reached again at
// its address: a connection to a host that has vanished, one that is accepted and never answered,
// the waits after failures.
func TestU4_16_GRPCIsBackWithTheManager(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*gateway.Options)
		hold   func(*testing.T, *memory, *gateway.Registrar)
	}{
		{"vanished", nil, func(t *testing.T, m *memory, r *gateway.Registrar) {
			eventually(t, "a first answer", func() bool { return m.answers(t, r) })
			m.set(func() {
				for _, c := range m.made {
					c.dead.Store(true)
				}
			})
		}},
		{"never answers", func(o *gateway.Options) { o.HandshakeTimeout = time.Second }, func(t *testing.T, m *memory, r *gateway.Registrar) {
			m.set(func() { m.mute = true })
			eventually(t, "three attempts", func() bool { return !m.answers(t, r) && m.connections() > 2 })
			m.set(func() { m.mute = false })
		}},
		{"away for long", nil, func(t *testing.T, m *memory, r *gateway.Registrar) {
			m.set(func() { m.away = true })
			m.answers(t, r)
			for n := 0; n < 12; m.set(func() { n = m.dials }) {
				<-time.After(time.Millisecond)
			}
			m.set(func() { m.away = false })
		}},
		{"away until the link stands", func(o *gateway.Options) {
			o.RedialMin, o.RedialMax = time.Hour, time.Hour
		}, func(t *testing.T, m *memory, r *gateway.Registrar) {
			m.set(func() { m.away = true })
			m.answers(t, r)
			m.set(func() { m.away = false })
			r.Snapshot(1)
			r.Begin(1)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, r := newMemory(t, tt.change)
				tt.hold(t, m, r)
				if m.answers(t, r) {
					t.Error("nothing was held up")
				}
				eventually(t, "an answer", func() bool { return m.answers(t, r) })
			})
		})
	}
}

// A call ends with its session, and is no failure then.
func TestCallEndsWithItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := newMemory(t, nil)
		r.Snapshot(1)
		r.Begin(1)
		leave := r.Join("x")
		ended := make(chan error, 1)
		go func() { ended <- r.Sync(t.Context()) }()
		<-m.calls // and no answer
		leave()
		began := time.Now()
		r.Begin(0)
		if err := <-ended; err != nil || time.Since(began) > 0 {
			t.Errorf("the call ended after %v with %v", time.Since(began), err)
		}
		if n := r.Topics(); n != 0 {
			t.Errorf("%d topics are left", n)
		}
	})
}

// A manager that accepts connections for gRPC and does not answer delays subscribers
// only until it does.
func TestSubscribeAfterMuteGRPC(t *testing.T) {
	m := newStandIn(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	topicpb.RegisterTopicServiceServer(s, m)
	served := make(chan error, 1)
	go func() {
		for range 3 {
			c, err := listener.Accept()
			if err != nil {
				break
			}
			defer c.Close()
		}
		served <- s.Serve(listener)
	}()
	t.Cleanup(func() {
		listener.Close()
		s.Stop()
		<-served
	})
	g := linked(t, m, func(o *gateway.Options) {
		o.ManagerGRPC = listener.Addr().String()
		o.HandshakeTimeout, o.SubscribeTimeout = 500*time.Millisecond, 100*time.Millisecond
	})
	dial(t, g, protocol.SubprotocolV1).subscribeSoon("room")
	if n := m.count("room"); n != 1 {
		t.Errorf("the manager counts %d", n)
	}
}

// The name in an address is looked up at each dial, unless the address says how.
func TestManagerTarget(t *testing.T) {
	for address, want := range map[string]string{
		"manager:6667":                "passthrough:///manager:6667",
		"10.0.0.1:6667":               "passthrough:///10.0.0.1:6667",
		"[::1]:6667":                  "passthrough:///[::1]:6667",
		"dns:///manager:6667":         "dns:///manager:6667",
		"unix:/run/firetower/manager": "unix:/run/firetower/manager",
	} {
		if got := gateway.ManagerTarget(address); got != want {
			t.Errorf("%s becomes %s, want %s", address, got, want)
		}
	}
}

// memory is a manager's gRPC service in memory: in a bubble of testing/synctest its absence of
// minutes passes at once. Its SyncTopics never answers.
type memory struct {
	topicpb.UnimplementedTopicServiceServer

	conns chan net.Conn
	ended chan struct{}
	calls chan *topicpb.SyncTopicsRequest

	mu sync.Mutex // guards the following
	// away refuses connections; mute has those made meanwhile stay without an answer.
	away, mute bool
	dials      int
	made       []*deaf
}

// deaf is a connection that may lose all that is sent over it, both ways.
type deaf struct {
	net.Conn

	dead atomic.Bool
}

func (c *deaf) Read(b []byte) (int, error) {
	for {
		if n, err := c.Conn.Read(b); err != nil || !c.dead.Load() {
			return n, err
		}
	}
}

func (c *deaf) Write(b []byte) (int, error) {
	if c.dead.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// newMemory makes one with a registrar that calls it.
func newMemory(t *testing.T, change func(*gateway.Options)) (*memory, *gateway.Registrar) {
	t.Helper()
	o := gateway.DefaultOptions()
	if change != nil {
		change(&o)
	}
	m := &memory{conns: make(chan net.Conn), ended: make(chan struct{}), calls: make(chan *topicpb.SyncTopicsRequest)}
	s := grpc.NewServer()
	topicpb.RegisterTopicServiceServer(s, m)
	served := make(chan error, 1)
	go func() { served <- s.Serve(m) }()
	t.Cleanup(func() {
		s.Stop()
		<-served
	})
	r := newRegistrar(t, o)
	const address = "192.0.2.1:6667" // nobody's (RFC 5737)
	if err := r.Dial(address, func(ctx context.Context, addr string) (net.Conn, error) {
		if addr != address {
			t.Errorf("dial %s, want %s", addr, address)
		}
		return m.dial(ctx)
	}); err != nil {
		t.Fatal(err)
	}
	return m, r
}

// answers tells whether the manager answers a caller who waits for half a second.
func (m *memory) answers(t *testing.T, r *gateway.Registrar) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	ok, err := r.Exists(ctx, "x")
	return ok && err == nil
}

func (m *memory) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func (m *memory) connections() (n int) {
	m.set(func() { n = len(m.made) })
	return n
}

func (m *memory) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	c := &deaf{Conn: theirs}
	m.mu.Lock()
	m.dials++
	away := m.away
	c.dead.Store(m.mute)
	if !away {
		m.made = append(m.made, c)
	}
	m.mu.Unlock()
	if away {
		return nil, syscall.ECONNREFUSED
	}
	select {
	case m.conns <- c:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.ended:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (m *memory) Close() error {
	close(m.ended)
	return nil
}

// Addr implements net.Listener.
func (m *memory) Addr() net.Addr { return &net.IPAddr{} }

func (m *memory) SyncTopics(ctx context.Context, in *topicpb.SyncTopicsRequest) (*topicpb.SyncTopicsResponse, error) {
	m.calls <- in
	<-ctx.Done()
	return nil, ctx.Err()
}

func (m *memory) CheckTopicExist(context.Context, *topicpb.CheckTopicExistRequest) (*topicpb.CheckTopicExistResponse, error) {
	return &topicpb.CheckTopicExistResponse{Ok: true}, nil
}
