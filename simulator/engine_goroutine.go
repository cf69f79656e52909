package simulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
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
	clock  *clock.Clock
	shards []*goroutineShard
	conns  []*goroutineConn

	ctx      context.Context // that of run
	cancel   context.CancelFunc
	started  chan struct{} // closed when ctx is set
	readers  sync.WaitGroup
	settled  sync.WaitGroup // connections on their way to the subscription
	finished chan struct{}  // closed when finish has its accounts

	mu      sync.Mutex // guards the following
	closing bool       // run is waiting for the readers: no more of them
}

type goroutineShard struct {
	mu      sync.Mutex // guards account
	account *account
}

type goroutineConn struct {
	engine *goroutineEngine
	shard  *goroutineShard
	index  int // within the shard
	global int // within the run
	slow   *SlowSpec

	settle  sync.Once
	release chan struct{} // closed when a slow connection may read again

	mu         sync.Mutex // guards the following
	ws         *websocket.Conn
	subscribed bool
	saidBye    bool
}

func newGoroutineEngine(config *Config, clk *clock.Clock) *goroutineEngine {
	e := &goroutineEngine{config: config, clock: clk, started: make(chan struct{}), finished: make(chan struct{})}
	forShards(config, func(first, conns int) {
		shard := &goroutineShard{account: newAccount(config, first, conns)}
		e.shards = append(e.shards, shard)
		for i := range conns {
			e.conns = append(e.conns, &goroutineConn{
				engine: e, shard: shard, index: i, global: config.FirstIndex + first + i,
				slow: slowSpec(config, first+i), release: make(chan struct{}),
			})
		}
	})
	return e
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

// slowSpec is the spec that a connection, counted within the fleet, was made slow by, or nil.
func slowSpec(config *Config, conn int) *SlowSpec {
	conn -= config.Healthy()
	for i := range config.Slow {
		if conn < 0 {
			return nil
		}
		if conn < config.Slow[i].Count {
			return &config.Slow[i]
		}
		conn -= config.Slow[i].Count
	}
	return nil
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
	slots := make(chan struct{}, e.config.HandshakesInFlight)
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
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		case <-e.ctx.Done():
			return ErrStopped
		}
		if !e.start(c, func() { <-slots }) {
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

// live is the whole life of a connection. settled is called once, when it has subscribed or failed.
func (c *goroutineConn) live(settled func()) {
	done := func() { c.settle.Do(settled) }
	defer done()
	if reason := c.open(); reason != "" {
		c.shard.mu.Lock()
		c.shard.account.refuse(reason)
		c.shard.mu.Unlock()
		return
	}
	if !c.acknowledged() {
		c.markSubscribed()
		done()
	}
	code, refusal, now := c.read(done)
	c.close()
	c.mu.Lock()
	subscribed, saidBye := c.subscribed, c.saidBye
	c.mu.Unlock()
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	switch {
	case !subscribed:
		c.shard.account.refuse(firstOf(refusal, "closed before subscribed: "+code))
	case !saidBye:
		c.shard.account.ended(c.index, code, now)
	case c.slow == nil:
	case code == closeKey(websocket.CloseNormalClosure, ""), code == closeKey(websocket.CloseAbnormalClosure, "closed"):
		c.shard.account.slow.open++ // it answered our goodbye, or nothing: it had not ended the connection
	default:
		c.shard.account.ended(c.index, code, 0)
	}
}

// open dials, upgrades and asks for the subscription; it returns why it could not.
func (c *goroutineConn) open() (reason string) {
	config := c.engine.config
	ctx, cancel := context.WithTimeout(c.engine.ctx, config.HandshakeTimeout)
	defer cancel()
	buffer := config.ReceiveBuffer
	if c.slow != nil && c.slow.ReceiveBuffer != 0 {
		buffer = c.slow.ReceiveBuffer
	}
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error { return tuneSocket(raw, buffer) }}
	if ip, ok := sourceIP(config, c.global); ok {
		dialer.LocalAddr = &net.TCPAddr{IP: ip.AsSlice()}
	}
	upgrade := websocket.Dialer{
		NetDialContext: dialer.DialContext, ReadBufferSize: 1 << 10, WriteBufferSize: 512,
		HandshakeTimeout: config.HandshakeTimeout,
	}
	if config.Subprotocol != "" {
		upgrade.Subprotocols = []string{config.Subprotocol}
	}
	begun := c.engine.clock.Now()
	ws, response, err := upgrade.DialContext(ctx, config.URLs[c.global%len(config.URLs)], http.Header{})
	if response != nil {
		defer response.Body.Close()
	}
	switch {
	case err != nil && response != nil:
		return fmt.Sprintf("upgrade: HTTP %d", response.StatusCode)
	case err != nil:
		return "connect: " + socketReason(err)
	}
	answered := c.engine.clock.Now()
	if ws.Subprotocol() != config.Subprotocol {
		ws.Close()
		return fmt.Sprintf("upgrade: server picked subprotocol %q", ws.Subprotocol())
	}
	ws.SetReadLimit(int64(config.MaxFrame))
	c.mu.Lock()
	c.ws = ws
	c.mu.Unlock()
	if c.engine.ctx.Err() != nil { // run may have closed all connections before this one was there
		ws.Close()
		return "stopped"
	}
	c.shard.mu.Lock()
	c.shard.account.connect.Record(answered - begun)
	c.shard.account.published.connected.Add(1)
	c.shard.mu.Unlock()
	c.shard.mu.Lock()
	request := c.shard.account.opening(c.index)
	c.shard.mu.Unlock()
	if err := ws.WriteMessage(int(c.shard.account.dialect.opcode()), request); err != nil {
		ws.Close()
		return "subscribe: " + socketReason(err)
	}
	if c.acknowledged() {
		// This bounds the wait for the answer.
		_ = ws.SetReadDeadline(time.Now().Add(config.HandshakeTimeout))
	}
	return ""
}

// acknowledged tells whether the server answers the subscription.
func (c *goroutineConn) acknowledged() bool {
	return c.shard.account.dialect.replies(c.engine.config) > 0
}

// pong answers a ping of the dialect's own. The lock keeps other writers away, of which gorilla/websocket allows none.
func (c *goroutineConn) pong() {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.shard.account.dialect
	// An error is told by the next read.
	_ = c.ws.WriteMessage(int(d.opcode()), d.pong())
}

func (c *goroutineConn) markSubscribed() {
	c.mu.Lock()
	c.subscribed = true
	c.mu.Unlock()
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	c.shard.account.published.subscribed.Add(1)
	if c.slow != nil {
		c.shard.account.slow.subscribed++
	}
}

// messageBuffers are shared by all connections of the process: a buffer is held from a message's first byte to its
// accounting only.
var messageBuffers = sync.Pool{New: func() any { return new(make([]byte, 0, 4<<10)) }}

// read receives until the connection ends, and says how and when it did, or why it was refused.
func (c *goroutineConn) read(done func()) (code, refusal string, now int64) {
	c.ws.SetPingHandler(func(data string) error {
		c.shard.mu.Lock()
		c.shard.account.unattributed.Pings++
		c.shard.mu.Unlock()
		err := c.ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
		if errors.Is(err, websocket.ErrCloseSent) {
			return nil
		}
		return err
	})
	asked := c.engine.clock.Now()
	subscribed := !c.acknowledged()
	for {
		if subscribed && c.slow != nil {
			select {
			case <-c.release:
			case <-c.engine.ctx.Done():
			}
		}
		_, r, err := c.ws.NextReader()
		if err != nil {
			var timeout net.Error
			if !subscribed && errors.As(err, &timeout) && timeout.Timeout() {
				refusal = "subscribe: timeout"
			}
			return closeReason(err), refusal, c.engine.clock.Now()
		}
		buffer, _ := messageBuffers.Get().(*[]byte)
		payload, err := appendAll((*buffer)[:0], r)
		now := c.engine.clock.Now()
		var v verdict
		var reason string
		pings := 0
		if err == nil {
			c.shard.mu.Lock()
			v, reason = c.shard.account.dialect.frame(c.shard.account, c.index, payload, wireSize(len(payload)), now)
			pings = c.shard.account.takePings()
			if v == verdictSubscribed {
				c.shard.account.subscribe.Record(now - asked)
			}
			c.shard.account.publish()
			c.shard.mu.Unlock()
		}
		*buffer = payload
		messageBuffers.Put(buffer)
		for range pings {
			c.pong()
		}
		switch {
		case err != nil:
			return closeReason(err), "", now
		case v == verdictSubscribed && !subscribed:
			subscribed = true
			_ = c.ws.SetReadDeadline(time.Time{})
			c.markSubscribed()
			done()
		case v == verdictRefused && !subscribed:
			return "", reason, now
		}
	}
}

// appendAll is io.ReadAll into a given buffer.
func appendAll(dst []byte, r io.Reader) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// bye sends the close frame and lets a slow connection read what it has left.
func (c *goroutineConn) bye() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ws == nil || c.saidBye {
		return
	}
	c.saidBye = true
	message := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = c.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(time.Second))
	close(c.release)
}

func (c *goroutineConn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ws != nil {
		c.ws.Close()
	}
}

// goodbyeTimeout bounds how long finish waits for the servers' answers to the close frames.
const goodbyeTimeout = 3 * time.Second

func (e *goroutineEngine) finish(ctx context.Context) ([]*account, error) {
	defer close(e.finished)
	if e.ctx.Err() != nil {
		return nil, ErrStopped
	}
	for _, c := range e.conns {
		c.bye()
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
