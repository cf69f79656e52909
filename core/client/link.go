package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"firetower/core/protocol"
)

// link is one connection. The fields without a note are set before it is shared.
type link struct {
	conn         *websocket.Conn
	token        string // what it was made with
	readTimeout  time.Duration
	writeTimeout time.Duration
	drainTimeout time.Duration
	// lostAt is when the connection before it was lost; zero for the first. Set before its
	// goroutines start.
	lostAt time.Time
	// brought takes the token of an Authenticate, for renew.
	brought chan string
	// authenticating is held by the one who brings a token.
	authenticating chan struct{}
	// wake holds a token when wanted topics may differ from told ones.
	wake chan struct{}
	// writing is held by the one who writes a data frame.
	writing chan struct{}
	// gone is closed when nothing will be read from the connection any more.
	gone chan struct{}

	// The following are guarded by Client.mu.

	// waiting are the requests without an answer, by id.
	waiting map[string]*waiter
	// told are the topics that the gateway was told of on this connection.
	told map[string]*told
	// alone are the topics to ask for one by one, since a request with others was refused whole.
	alone map[string]bool
	// resuming are the topics of the connection before that are not subscribed to again yet; nil when
	// EventResumed is out.
	resuming map[string]bool
	resumed  []string
}

// waiter is a request without an answer.
type waiter struct {
	op     protocol.RequestType
	topics []string
	// reply takes the answer of a publish or an authenticate.
	reply chan *frame
}

// connect dials and upgrades once, and returns the connection and the token that it was made with.
func (c *Client) connect(ctx context.Context) (*websocket.Conn, string, error) {
	header, token, err := c.header(ctx)
	if err != nil {
		return nil, "", err
	}
	dialer := websocket.Dialer{
		Proxy:            http.ProxyFromEnvironment,
		NetDialContext:   c.opts.NetDial,
		TLSClientConfig:  c.opts.TLS,
		HandshakeTimeout: c.opts.HandshakeTimeout,
		Subprotocols:     []string{protocol.SubprotocolV1},
		// Without context takeover, so that it needs no memory between messages.
		EnableCompression: c.opts.Compression,
	}
	conn, resp, err := dialer.DialContext(ctx, c.opts.URL, header)
	if err != nil {
		if resp != nil {
			defer resp.Body.Close()
			return nil, "", &HandshakeError{
				Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header), Reason: firstLine(resp), Err: err,
			}
		}
		return nil, "", fmt.Errorf("client: dial %s: %w", c.opts.URL, err)
	}
	if conn.Subprotocol() != protocol.SubprotocolV1 {
		conn.Close()
		return nil, "", ErrSubprotocol
	}
	return conn, token, nil
}

// firstLine is the first line of a short answer in plain text, such as a gateway's, without what would
// command a terminal.
func firstLine(resp *http.Response) string {
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		return ""
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 200)) // the WebSocket library has read a kilobyte of it
	line, _, _ := strings.Cut(string(body), "\n")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, line)
}

// adopt makes a connection the client's current one.
func (c *Client) adopt(conn *websocket.Conn, token string) *link {
	l := &link{
		conn:           conn,
		token:          token,
		readTimeout:    c.opts.ReadTimeout,
		writeTimeout:   c.opts.WriteTimeout,
		drainTimeout:   c.opts.DrainTimeout,
		brought:        make(chan string, 1),
		authenticating: make(chan struct{}, 1),
		wake:           make(chan struct{}, 1),
		writing:        make(chan struct{}, 1),
		gone:           make(chan struct{}),
		waiting:        make(map[string]*waiter),
		told:           make(map[string]*told),
		alone:          make(map[string]bool),
		resuming:       make(map[string]bool),
	}
	conn.SetReadLimit(c.opts.MaxMessageBytes)
	conn.SetPongHandler(func(string) error {
		return conn.SetReadDeadline(time.Now().Add(l.readTimeout))
	})
	conn.SetPingHandler(func(data string) error {
		// The reader answers between frames. When it cannot, the connection will show it elsewhere.
		_ = conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
		return conn.SetReadDeadline(time.Now().Add(l.readTimeout))
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, sub := range c.subs {
		if sub.settled() {
			l.resuming[topic] = true
		}
	}
	c.link = l
	signal(l.wake)
	return l
}

// serve reads from the connection until it ends and says why it did.
func (c *Client) serve(l *link) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var helpers sync.WaitGroup
	helpers.Go(func() { c.keep(l) })
	if c.opts.Token != nil {
		helpers.Go(func() { c.renew(ctx, l, l.token) })
	}
	if c.stopping() { // the watcher may have looked before the link was there
		l.sayGoodbye()
	}
	if !l.lostAt.IsZero() {
		c.announceResumed(l)
	}
	err := c.read(l)
	l.conn.Close()
	c.mu.Lock()
	c.link = nil
	for _, t := range l.told {
		t.release()
	}
	close(l.gone)
	c.mu.Unlock()
	cancel()
	helpers.Wait()
	return err
}

// keep sends pings and what the gateway must be told of subscriptions.
func (c *Client) keep(l *link) {
	ping := time.NewTicker(c.opts.PingInterval)
	defer ping.Stop()
	retry := time.NewTimer(0)
	<-retry.C
	defer retry.Stop()
	again := newBackoff(c.opts.BackoffMin, c.opts.BackoffMax)
	armed := false
	for {
		select {
		case <-l.gone:
			return
		case <-ping.C:
			if err := l.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(l.writeTimeout)); err != nil {
				l.conn.Close() // ends the reader
			}
		case <-l.wake:
		case <-retry.C:
			armed = false
			c.forgetRefused(l)
		}
		refused, err := c.tell(l)
		if err != nil {
			l.conn.Close()
		}
		if refused && !armed {
			armed = true
			retry.Reset(again.next(0))
		}
		c.announceResumed(l) // a topic that was missing may not be wanted any more
	}
}

// write sends one text frame.
func (l *link) write(ctx context.Context, data []byte) error {
	select {
	case l.writing <- struct{}{}:
	case <-l.gone:
		return ErrConnectionLost
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.writing }()
	l.conn.SetWriteDeadline(time.Now().Add(l.writeTimeout))
	if err := l.conn.WriteMessage(websocket.TextMessage, data); err != nil {
		l.conn.Close() // a frame may be half out: nothing can follow it
		return fmt.Errorf("%w: %w", ErrConnectionLost, err)
	}
	return nil
}

// sayGoodbye begins the closing handshake (RFC 6455 section 7.1.2); the reader sees its end.
func (l *link) sayGoodbye() {
	message := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if err := l.conn.WriteControl(websocket.CloseMessage, message, time.Now().Add(l.drainTimeout)); err != nil {
		l.conn.Close()
	}
}

// read takes frames until the connection ends.
func (c *Client) read(l *link) error {
	for {
		// Set anew each time: the queue may have kept the reader from reading for long.
		l.conn.SetReadDeadline(time.Now().Add(l.readTimeout))
		kind, data, err := l.readMessage(c.opts.MaxMessageBytes)
		if err != nil {
			if closed, ok := errors.AsType[*websocket.CloseError](err); ok && closed.Code != websocket.CloseAbnormalClosure {
				return &CloseError{Code: closed.Code, Reason: closed.Text}
			}
			return fmt.Errorf("client: read: %w", err)
		}
		var f frame
		if kind != websocket.TextMessage || json.Unmarshal(data, &f) != nil {
			c.badFrames.Add(1)
			continue
		}
		if f.isPush() {
			c.takePush(&f)
		} else {
			c.takeAnswer(l, &f)
		}
	}
}

// readMessage reads one message of at most so many bytes. The connection's own limit holds for what
// comes over the wire, which may be a thousandth of what it inflates to.
func (l *link) readMessage(most int64) (kind int, data []byte, err error) {
	kind, r, err := l.conn.NextReader()
	if err != nil {
		return kind, nil, err
	}
	data, err = io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(data)) > most {
		err = websocket.ErrReadLimit
		message := websocket.FormatCloseMessage(websocket.CloseMessageTooBig, "")
		_ = l.conn.WriteControl(websocket.CloseMessage, message, time.Now().Add(l.writeTimeout)) // the connection ends anyway
	}
	return kind, data, err
}

// takePush queues a message for its handler.
func (c *Client) takePush(f *frame) {
	data, err := f.published()
	if err != nil {
		c.badFrames.Add(1)
		return
	}
	c.received.Add(1)
	c.mu.Lock()
	sub := c.subs[f.Topic]
	c.mu.Unlock()
	if sub == nil {
		c.unrouted.Add(1)
		return
	}
	c.queue.push(item{sub: sub, msg: Message{Topic: f.Topic, Data: data}}, c.abort)
}

// takeAnswer hands an answer to who waits for it, and follows an order that answers nothing.
func (c *Client) takeAnswer(l *link, f *frame) {
	c.mu.Lock()
	w := l.waiting[f.ID]
	delete(l.waiting, f.ID)
	var news []Event
	switch {
	case f.isOrder():
		news = c.takeOrderLocked(l, f)
	case w == nil:
		// An error that answers nothing comes before a close, whose reason is reported; an answer
		// nobody waits for is one whose caller has given up.
	case w.op == protocol.PublishRequest, w.op == protocol.AuthenticateRequest:
		w.reply <- f // it has room for the one answer
	case w.op == protocol.SubscribeRequest:
		news = c.takeSubscribedLocked(l, w, f)
	default:
		c.takeUnsubscribedLocked(l, w)
	}
	c.mu.Unlock()
	for _, e := range news {
		c.emit(e)
	}
	if w != nil && w.op == protocol.SubscribeRequest {
		c.announceResumed(l)
	}
}

// announceResumed emits EventResumed once, when no topic of the connection before is missing.
func (c *Client) announceResumed(l *link) {
	c.mu.Lock()
	over := l.resuming != nil && len(l.resuming) == 0 && !l.lostAt.IsZero()
	if over {
		l.resuming = nil
	}
	topics := l.resumed
	c.mu.Unlock()
	if over {
		slices.Sort(topics)
		c.emit(Event{Kind: EventResumed, Topics: topics, Gap: time.Since(l.lostAt)})
	}
}

// askLocked registers a request and returns its id.
func (c *Client) askLocked(l *link, w *waiter) string {
	c.lastID++
	id := strconv.FormatUint(c.lastID, 10)
	l.waiting[id] = w
	return id
}

// marshalRequest returns the frame of a request without data.
func marshalRequest(op protocol.RequestType, topics []string, id string) []byte {
	data, err := json.Marshal(request{Type: op, Topic: strings.Join(topics, ","), ID: id})
	if err != nil { // three strings always marshal
		panic(err)
	}
	return data
}
