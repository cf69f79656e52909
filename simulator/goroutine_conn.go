package simulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// goroutineConn is one connection of the goroutine engine, with a goroutine of its own.
type goroutineConn struct {
	engine *goroutineEngine
	shard  *goroutineShard
	index  int // within the shard
	global int // within the run
	slow   *SlowSpec

	release chan struct{} // closed when a slow connection may read again

	mu         sync.Mutex // guards the following
	ws         *websocket.Conn
	subscribed bool
	saidBye    bool // no connection after this one
	reset      bool // ended by [Fleet.Disconnect]
	over       bool // half-open, and its end has been counted
}

// live is the whole life of a connection. settled is called once, when it has subscribed or failed.
func (c *goroutineConn) live(settled func()) {
	back := c.session(nil, sync.OnceFunc(settled))
	for back != nil && c.wait(back) {
		back = c.session(back, sync.OnceFunc(func() { <-c.engine.slots }))
	}
}

// wait sleeps until it is time for the next attempt and a slot is free. It says no when there is to be none.
func (c *goroutineConn) wait(back *comeback) bool {
	timer := time.NewTimer(c.engine.config.Reconnect.wait(c.global, back.attempt))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.engine.dialing.Done():
		return false
	}
	select {
	case c.engine.slots <- struct{}{}:
		return true
	case <-c.engine.dialing.Done():
		return false
	}
}

// session is one connection from its dial to its end; settled is called when its attempt has come to an end. It
// returns what the next attempt is to know, or nil when there is to be none.
func (c *goroutineConn) session(back *comeback, settled func()) *comeback {
	defer settled()
	if reason := c.open(back); reason != "" {
		return c.refused(back, reason)
	}
	if !c.acknowledged() {
		c.markSubscribed(back)
		settled()
	}
	code, refusal, now := c.read(back, settled)
	c.endure(code, now)
	c.close()
	c.mu.Lock()
	subscribed, saidBye, reset, over := c.subscribed, c.saidBye, c.reset, c.over
	c.ws, c.subscribed, c.reset = nil, false, false
	c.mu.Unlock()
	if over {
		return nil
	}
	if !subscribed {
		return c.refused(back, firstOf(refusal, "closed before subscribed: "+code))
	}
	if reset {
		code = resetByPlan
	}
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	switch {
	case !saidBye || reset:
		c.shard.account.ended(c.index, code, now)
		if c.engine.config.Reconnect.Enabled && c.slow == nil {
			return &comeback{lostAt: now, attempt: 1}
		}
	case c.slow == nil:
	case code == closeKey(websocket.CloseNormalClosure, ""), code == closeKey(websocket.CloseAbnormalClosure, "closed"):
		c.shard.account.slow.of(c.index).Open++ // it answered our goodbye, or nothing: it had not ended the connection
	default:
		c.shard.account.ended(c.index, code, 0)
	}
	return nil
}

// refused counts an attempt that did not get to its subscription.
func (c *goroutineConn) refused(back *comeback, reason string) *comeback {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	switch {
	case back == nil:
		c.shard.account.refuse(reason)
		return nil
	case c.engine.dialing.Err() != nil: // our own end, not the server's doing
		return nil
	}
	c.shard.account.reconnectRefused[reason]++
	return &comeback{lostAt: back.lostAt, attempt: back.attempt + 1}
}

// open dials, upgrades and asks for the subscription; it returns why it could not.
func (c *goroutineConn) open(back *comeback) (reason string) {
	config := c.engine.config
	ctx, cancel := context.WithTimeout(c.engine.dialing, config.HandshakeTimeout)
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
		NetDialContext: dialer.DialContext, ReadBufferSize: c.readBuffer(), WriteBufferSize: 512,
		HandshakeTimeout: config.HandshakeTimeout, TLSClientConfig: c.engine.tls,
		EnableCompression: config.Compression,
	}
	if config.Subprotocol != "" {
		upgrade.Subprotocols = []string{config.Subprotocol}
	}
	begun := c.engine.clock.Now()
	ws, response, err := upgrade.DialContext(ctx, config.URLs[back.url(c.global, len(config.URLs))], http.Header{})
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
	ws.SetReadLimit(int64(config.MaxFrame)) // of what is on the wire
	ws.EnableWriteCompression(false)        // as the other engine
	c.mu.Lock()
	c.ws = ws
	stopped := c.saidBye || c.engine.ctx.Err() != nil // who closes all connections may have done so before this one was there
	c.mu.Unlock()
	if stopped {
		ws.Close()
		return "stopped"
	}
	if back == nil {
		c.shard.mu.Lock()
		c.shard.account.connect.Record(answered - begun)
		c.shard.account.published.connected.Add(1)
		c.shard.mu.Unlock()
	}
	c.shard.mu.Lock()
	request := c.shard.account.opening(c.index, answered)
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
	if c.subscribed && c.slow.mute() {
		return
	}
	d := c.shard.account.dialect
	// An error is told by the next read.
	_ = c.ws.WriteMessage(int(d.opcode()), d.pong())
}

func (c *goroutineConn) markSubscribed(back *comeback) {
	c.mu.Lock()
	c.subscribed = true
	c.mu.Unlock()
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	c.shard.account.subscribed(c.index, back, c.engine.clock.Now())
	if c.slow != nil && c.slow.kind() == SlowWriter {
		ws := c.ws
		c.engine.readers.Go(func() { c.trickle(ws.NetConn()) })
	}
}

// messageBuffers are shared by all connections of the process: a buffer is held from a message's first byte to its
// accounting only.
var messageBuffers = sync.Pool{New: func() any { return new(make([]byte, 0, 4<<10)) }}

// read receives until the connection ends, and says how and when it did, or why it was refused.
func (c *goroutineConn) read(back *comeback, settled func()) (code, refusal string, now int64) {
	c.ws.SetPingHandler(func(data string) error {
		c.shard.mu.Lock()
		if !c.slow.mute() {
			c.shard.account.unattributed.Pings++
		}
		c.shard.mu.Unlock()
		if c.slow.mute() {
			return nil
		}
		err := c.ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
		if errors.Is(err, websocket.ErrCloseSent) {
			return nil
		}
		return err
	})
	if c.slow.mute() { // the library would answer
		c.ws.SetCloseHandler(func(int, string) error { return nil })
	}
	asked := c.engine.clock.Now()
	subscribed := !c.acknowledged()
	for {
		if subscribed && c.slow != nil {
			c.pause()
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
		payload, err := appendAll((*buffer)[:0], r, c.engine.config.MaxFrame)
		now := c.engine.clock.Now()
		var v verdict
		var reason string
		pings := 0
		if err == nil {
			c.shard.mu.Lock()
			v, reason = c.shard.account.dialect.frame(c.shard.account, c.index, payload, wireSize(len(payload)), now)
			pings = c.shard.account.takePings()
			if v == verdictSubscribed && back == nil {
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
			c.markSubscribed(back)
			settled()
		case v == verdictRefused && !subscribed:
			return "", reason, now
		}
	}
}

// appendAll is io.ReadAll into a given buffer, up to a limit.
func appendAll(dst []byte, r io.Reader, limit int) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if len(dst) > limit {
			return dst, websocket.ErrReadLimit
		}
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// bye ends the connection: it sends the close frame and lets a slow connection read what it has left. It says whether
// there was a connection that had subscribed.
func (c *goroutineConn) bye() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.saidBye {
		return c.subscribed && !c.reset
	}
	c.saidBye = true
	close(c.release)
	switch {
	case c.ws == nil:
	case !c.subscribed, c.slow.mute(): // on its way back, or unable to say it
		c.ws.Close()
	default:
		message := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		_ = c.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(time.Second))
	}
	return c.subscribed && !c.reset
}

// crash ends the connection with RST. It says whether there was one.
func (c *goroutineConn) crash() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.subscribed || c.saidBye || c.reset {
		return false
	}
	c.reset = true
	conn := c.ws.NetConn()
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn() // whose end TLS is not to announce
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a connection that has just ended is as good
	}
	conn.Close()
	return true
}

func (c *goroutineConn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ws != nil {
		c.ws.Close()
	}
}
