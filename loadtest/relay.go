package loadtest

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// relay stands between a gateway and its manager in the scenarios that cut them
// off: it passes bytes on, and while it holds it passes none and closes nothing,
// as a network does that has begun to drop everything.
type relay struct {
	target   string
	listener net.Listener
	group    sync.WaitGroup

	mu sync.Mutex // guards the following
	// open is closed while bytes pass.
	open   chan struct{}
	conns  map[net.Conn]struct{}
	closed bool
	ended  chan struct{} // closed by close
}

// relayDial bounds the connection to the target.
const relayDial = 5 * time.Second

// newRelay listens on a free port for what goes to target.
func newRelay(target string) (*relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("relay to %s: %w", target, err)
	}
	r := &relay{target: target, listener: listener, open: make(chan struct{}), conns: map[net.Conn]struct{}{}, ended: make(chan struct{})}
	close(r.open)
	r.group.Go(r.acceptLoop)
	return r, nil
}

func (r *relay) addr() string { return r.listener.Addr().String() }

// hold stops what passes, or lets it go on.
func (r *relay) hold(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.open:
		if on {
			r.open = make(chan struct{})
		}
	default:
		if !on {
			close(r.open)
		}
	}
}

// pass waits while the relay holds, and tells whether it goes on at all.
func (r *relay) pass() bool {
	r.mu.Lock()
	open := r.open
	r.mu.Unlock()
	select {
	case <-open:
		return true
	case <-r.ended:
		return false
	}
}

func (r *relay) acceptLoop() {
	for {
		in, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.group.Go(func() { r.serve(in) })
	}
}

// serve passes one connection on, both ways, until either side ends.
func (r *relay) serve(in net.Conn) {
	defer in.Close()
	if !r.keep(in) || !r.pass() {
		return
	}
	out, err := net.DialTimeout("tcp", r.target, relayDial)
	if err != nil {
		r.forget(in)
		return // the gateway sees its connection close, as if nobody listened
	}
	defer out.Close()
	if !r.keep(out) {
		return
	}
	var ways sync.WaitGroup
	ways.Go(func() { r.copyLoop(in, out) })
	ways.Go(func() { r.copyLoop(out, in) })
	ways.Wait()
	r.forget(in, out)
}

// keep notes a connection for close; false says that the relay has closed.
func (r *relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.conns[c] = struct{}{}
	}
	return !r.closed
}

func (r *relay) forget(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		delete(r.conns, c)
	}
}

func (r *relay) copyLoop(from, to net.Conn) {
	// What ends one way ends the other, but no end passes while the relay holds.
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if !r.pass() {
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

// close ends everything that passes.
func (r *relay) close() error {
	err := r.listener.Close()
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.ended)
	}
	for c := range r.conns {
		err = errors.Join(err, ignoreClosed(c.Close()))
	}
	r.mu.Unlock()
	r.group.Wait()
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
