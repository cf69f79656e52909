package coretest

import (
	"net"
	"sync"
	"testing"
)

// Proxy passes TCP connections on to a target, and can harm them.
type Proxy struct {
	listener net.Listener
	group    sync.WaitGroup

	mu sync.Mutex // guards the following
	// target is where connections go; empty closes them at once.
	target string
	pairs  map[*proxyPair]struct{}
	// open is closed while bytes pass; a black hole puts an open channel in its place.
	open     chan struct{}
	accepted int
	closed   bool
}

// proxyPair is one connection that is passed on.
type proxyPair struct {
	in, out net.Conn
	// ended is closed when the pair was closed.
	ended chan struct{}
	once  sync.Once
}

func (p *proxyPair) close() {
	p.once.Do(func() {
		close(p.ended)
		p.in.Close()
		p.out.Close()
	})
}

// NewProxy listens on 127.0.0.1:0 until the test ends. It has no target yet.
func NewProxy(t testing.TB) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("coretest: proxy: %v", err)
	}
	open := make(chan struct{})
	close(open)
	p := &Proxy{listener: listener, pairs: make(map[*proxyPair]struct{}), open: open}
	p.group.Go(p.acceptLoop)
	t.Cleanup(p.close)
	return p
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetTarget passes new connections on to addr; those that stand stay. With an empty addr new
// connections are closed at once.
func (p *Proxy) SetTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Accepted counts the connections that came while there was a target.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Open counts the connections that are passed on now.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pairs)
}

// Cut breaks the connections that stand, with a reset to both sides, and returns their number.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	pairs := make([]*proxyPair, 0, len(p.pairs))
	for pair := range p.pairs {
		pairs = append(pairs, pair)
	}
	p.mu.Unlock()
	for _, pair := range pairs {
		reset(pair.in)
		reset(pair.out)
		pair.close()
	}
	return len(pairs)
}

// reset has Close drop what is in flight and send RST instead of FIN.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails on a closed connection, which is cut already
	}
}

// Blackhole has the bytes of all connections, old and new, stay where they are: neither side sees
// the connection end. With on false what was held back goes on.
func (p *Proxy) Blackhole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		if on {
			p.open = make(chan struct{})
		}
	default:
		if !on {
			close(p.open)
		}
	}
}

func (p *Proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Cut()
	p.group.Wait()
}

func (p *Proxy) acceptLoop() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		if target != "" {
			p.accepted++
		}
		p.mu.Unlock()
		if target == "" {
			in.Close()
			continue
		}
		out, err := net.Dial("tcp", target)
		if err != nil {
			in.Close()
			continue
		}
		p.pass(&proxyPair{in: in, out: out, ended: make(chan struct{})})
	}
}

// pass copies both ways until either side ends.
func (p *Proxy) pass(pair *proxyPair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		pair.close()
		return
	}
	p.pairs[pair] = struct{}{}
	var copies sync.WaitGroup
	copies.Go(func() { p.copyLoop(pair, pair.in, pair.out) })
	copies.Go(func() { p.copyLoop(pair, pair.out, pair.in) })
	p.group.Go(func() {
		copies.Wait()
		p.mu.Lock()
		delete(p.pairs, pair)
		p.mu.Unlock()
	})
}

func (p *Proxy) copyLoop(pair *proxyPair, from, to net.Conn) {
	defer pair.close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		open := p.open
		p.mu.Unlock()
		select {
		case <-open:
		case <-pair.ended:
			return
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
