package simulator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"firetower/simulator/clock"
)

// goroutineEngine gives each connection a goroutine that blocks in gorilla/websocket. It is how one would write a
// client; it is here to check the epoll engine against a WebSocket implementation that we did not write, and for
// systems without epoll.
type goroutineEngine struct {
	config *Config
	tls    *tls.Config // nil takes the system's certificates
	clock  *clock.Clock
	shards []*goroutineShard
	conns  []*goroutineConn

	ctx      context.Context // that of run
	cancel   context.CancelFunc
	dialing  context.Context // within ctx; ends when nobody is to dial any more
	hangUp   context.CancelFunc
	slots    chan struct{} // one for each attempt under way
	started  chan struct{} // closed when the contexts are set
	readers  sync.WaitGroup
	settled  sync.WaitGroup // connections on their way to the subscription
	finished chan struct{}  // closed when finish has its accounts

	mu      sync.Mutex // guards the following
	closing bool       // run is waiting for the readers: no more of them
}

type goroutineShard struct {
	conns []*goroutineConn

	mu      sync.Mutex // guards account; who holds it may take a connection's, and not the other way round
	account *account
}

// clientTLS is how clients verify servers, nil when the system's certificates decide.
func clientTLS(config *Config) (*tls.Config, error) {
	if config.CAFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(filepath.Clean(config.CAFile))
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ca_file: %s holds no certificate", config.CAFile)
	}
	return &tls.Config{RootCAs: roots}, nil
}

func newGoroutineEngine(config *Config, clk *clock.Clock) (engine, error) {
	secure, err := clientTLS(config)
	if err != nil {
		return nil, err
	}
	e := &goroutineEngine{
		tls: secure, config: config, clock: clk, slots: make(chan struct{}, config.HandshakesInFlight),
		started: make(chan struct{}), finished: make(chan struct{}),
	}
	forShards(config, func(first, conns int) {
		shard := &goroutineShard{account: newAccount(config, first, conns)}
		e.shards = append(e.shards, shard)
		for i := range conns {
			shard.conns = append(shard.conns, &goroutineConn{
				engine: e, shard: shard, index: i, global: config.FirstIndex + first + i,
				slow: slowSpec(config, first+i), release: make(chan struct{}),
			})
		}
		e.conns = append(e.conns, shard.conns...)
	})
	return e, nil
}

// forShards cuts the fleet's connections into consecutive runs.
func forShards(config *Config, shard func(first, conns int)) {
	first := 0
	for i := range config.Shards {
		conns := share(config.Connections, config.Shards, i)
		shard(first, conns)
		first += conns
	}
}

func (e *goroutineEngine) accounts() []*account {
	accounts := make([]*account, len(e.shards))
	for i, s := range e.shards {
		accounts[i] = s.account
	}
	return accounts
}

func (e *goroutineEngine) counters() Counters { return countersOf(e.accounts()) }

func (e *goroutineEngine) run(ctx context.Context) error {
	e.ctx, e.cancel = context.WithCancel(ctx)
	defer e.cancel()
	e.dialing, e.hangUp = context.WithCancel(e.ctx)
	defer e.hangUp()
	close(e.started)
	var err error
	select {
	case <-ctx.Done():
		err = ctx.Err()
	case <-e.finished:
	}
	// In this order: no more readers; connections that are being opened see the context end; all others are closed.
	e.mu.Lock()
	e.closing = true
	e.mu.Unlock()
	e.cancel()
	for _, c := range e.conns {
		c.close()
	}
	e.readers.Wait()
	return err
}

func (e *goroutineEngine) connect(ctx context.Context) error {
	select {
	case <-e.started:
	case <-ctx.Done():
		return ctx.Err()
	}
	plan := ramp{rate: e.config.ConnectRate, start: e.clock.Now()}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i, c := range e.conns {
		for plan.allowed(e.clock.Now(), len(e.conns)) <= i {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			case <-e.ctx.Done():
				return ErrStopped
			}
		}
		select {
		case e.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		case <-e.ctx.Done():
			return ErrStopped
		}
		if !e.start(c, func() { <-e.slots }) {
			return ErrStopped
		}
	}
	all := make(chan struct{})
	go func() { e.settled.Wait(); close(all) }()
	select {
	case <-all:
	case <-ctx.Done():
		return ctx.Err()
	}
	if e.ctx.Err() != nil {
		return ErrStopped
	}
	e.startChurn()
	return refusedError(e.config, e.shards)
}

// start begins the life of a connection, unless run is ending. settled is called when it has subscribed or failed.
func (e *goroutineEngine) start(c *goroutineConn, settled func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return false
	}
	e.settled.Add(1)
	e.readers.Go(func() { c.live(func() { settled(); e.settled.Done() }) })
	return true
}

func refusedError(config *Config, shards []*goroutineShard) error {
	refused := make(map[string]int64)
	for _, s := range shards {
		s.mu.Lock()
		addCounts(refused, s.account.refused)
		s.mu.Unlock()
	}
	if len(refused) == 0 {
		return nil
	}
	return &ConnectError{Planned: config.Connections, Refused: refused}
}

func (e *goroutineEngine) disconnect(_ context.Context, conns []int) (n int, err error) {
	for _, i := range conns {
		if e.conns[i].crash() {
			n++
		}
	}
	return n, nil
}

func (e *goroutineEngine) snapshots(_ context.Context, before []*snapshot) ([]*snapshot, error) {
	now := make([]*snapshot, len(e.shards))
	for i, s := range e.shards {
		var last *snapshot
		if before != nil {
			last = before[i]
		}
		s.mu.Lock()
		now[i] = s.account.snapshot(last)
		s.mu.Unlock()
	}
	return now, nil
}

// goodbyeTimeout bounds how long finish waits for the servers' answers to the close frames.
const goodbyeTimeout = 3 * time.Second

func (e *goroutineEngine) finish(ctx context.Context) ([]*account, error) {
	defer close(e.finished)
	if e.ctx.Err() != nil {
		return nil, ErrStopped
	}
	e.hangUp()
	for _, s := range e.shards {
		s.mu.Lock()
		if s.account.churn != nil {
			s.account.churn.stop(e.clock.Now())
		}
		s.mu.Unlock()
	}
	for _, c := range e.conns {
		if !c.bye() && c.slow == nil {
			c.shard.mu.Lock()
			c.shard.account.down++
			c.shard.mu.Unlock()
		}
	}
	all := make(chan struct{})
	go func() { e.readers.Wait(); close(all) }()
	timeout := time.NewTimer(goodbyeTimeout)
	defer timeout.Stop()
	select {
	case <-all:
	case <-timeout.C:
	case <-ctx.Done():
	}
	for _, c := range e.conns {
		c.close()
	}
	<-all // every socket is closed, so that every reader ends; after that nobody writes the accounts
	return e.accounts(), nil
}

// closeReason names how a connection ended.
func closeReason(err error) string {
	var closed *websocket.CloseError
	if errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure {
		return closeKey(closed.Code, "")
	}
	if errors.Is(err, websocket.ErrReadLimit) {
		return closeKey(websocket.CloseMessageTooBig, "sent")
	}
	return closeKey(websocket.CloseAbnormalClosure, socketReason(err))
}

// socketReason names what a socket said, in few words that do not hold addresses, since they are keys of a map.
func socketReason(err error) string {
	var errno syscall.Errno
	var timeout net.Error
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "eof"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, net.ErrClosed):
		return "closed"
	default:
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			return "eof"
		}
		return "other"
	}
}

// sourceIP is the local address that a connection, counted over the whole run, comes from.
func sourceIP(config *Config, conn int) (netip.Addr, bool) {
	if len(config.SourceIPs) == 0 {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(config.SourceIPs[conn%len(config.SourceIPs)])
	return ip, err == nil
}
