package reference

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// classicQueue is the buffered channel of a client, as in the chat example of gorilla/websocket.
const classicQueue = 256

// classic is the server of the tutorials: a hub with a mutex and a map, and for each client a reading goroutine, a
// writing goroutine and a buffered channel between hub and writer. A message is prepared once. A client whose channel
// is full is thrown out.
type classic struct {
	counters *counters
	upgrader websocket.Upgrader
	http     sync.WaitGroup // connections that are not upgraded yet, or never
	pumps    sync.WaitGroup // goroutines of clients

	mu     sync.Mutex // guards the following
	topics map[string]map[*classicClient]struct{}
	all    map[*classicClient]struct{}
	closed bool
}

type classicClient struct {
	ws     *websocket.Conn
	send   chan *websocket.PreparedMessage
	topics map[string]struct{} // guarded by the hub's mu
}

func newClassic(listen string, c *counters) (addr string, serve func(context.Context) error, err error) {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return "", nil, err
	}
	hub := &classic{
		counters: c, topics: make(map[string]map[*classicClient]struct{}), all: make(map[*classicClient]struct{}),
		upgrader: websocket.Upgrader{
			ReadBufferSize: 1024, WriteBufferSize: 1024, Subprotocols: []string{subprotocolV0},
			CheckOrigin: func(*http.Request) bool { return true },
		},
	}
	return listener.Addr().String(), func(ctx context.Context) error { return hub.run(ctx, listener) }, nil
}

func (h *classic) run(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: maxRequest,
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				h.http.Add(1)
			case http.StateClosed, http.StateHijacked:
				h.http.Done()
			case http.StateActive, http.StateIdle:
			}
		},
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	err := server.Serve(listener)
	h.mu.Lock()
	h.closed = true
	for c := range h.all {
		c.ws.Close()
	}
	h.mu.Unlock()
	h.http.Wait()
	h.pumps.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// ServeHTTP upgrades, and reads on the goroutine that it was called on.
func (h *classic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ws, err := h.upgrader.Upgrade(w, r, nil)
	if err != nil {
		h.counters.broken.Add(1)
		return // Upgrade has answered
	}
	c := &classicClient{ws: ws, send: make(chan *websocket.PreparedMessage, classicQueue), topics: make(map[string]struct{})}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		ws.Close()
		return
	}
	h.all[c] = struct{}{}
	h.pumps.Add(2)
	h.mu.Unlock()
	h.counters.accepted.Add(1)
	go func() { defer h.pumps.Done(); h.writePump(c) }()
	defer h.pumps.Done()
	h.readPump(c)
}

func (h *classic) readPump(c *classicClient) {
	defer func() {
		h.mu.Lock()
		h.removeLocked(c)
		h.mu.Unlock()
		c.ws.Close()
	}()
	c.ws.SetReadLimit(maxFrame)
	for {
		_, frame, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		if err := h.handle(c, frame); err != nil {
			h.counters.broken.Add(1)
			return
		}
	}
}

func (h *classic) writePump(c *classicClient) {
	defer c.ws.Close()
	for message := range c.send {
		if err := c.ws.WritePreparedMessage(message); err != nil {
			return
		}
	}
}

func (h *classic) handle(c *classicClient, frame []byte) error {
	r, err := parseRequest(frame)
	if err != nil {
		return err
	}
	switch r.kind {
	case requestPublish:
		return h.publish(string(r.topic), r.data)
	case requestSubscribe:
		return h.subscribe(c, strings.Split(r.names, ","))
	case requestUnsubscribe:
		h.unsubscribe(c, strings.Split(r.names, ","))
	case requestIgnored:
	}
	return nil
}

func (h *classic) publish(topic string, data []byte) error {
	h.counters.published.Add(1)
	message, err := websocket.NewPreparedMessage(websocket.TextMessage, data)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.topics[topic] {
		select {
		case c.send <- message:
			h.counters.delivered.Add(1)
		default:
			h.counters.slow.Add(1)
			h.removeLocked(c)
			c.ws.Close()
		}
	}
	return nil
}

func (h *classic) subscribe(c *classicClient, names []string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.all[c]; !ok {
		return nil // thrown out meanwhile
	}
	for _, name := range names {
		if name == "" || len(c.topics) >= maxTopics {
			return fmt.Errorf("%w: topic %q, %d topics", errRequest, name, len(c.topics))
		}
		if h.topics[name] == nil {
			h.topics[name] = make(map[*classicClient]struct{})
		}
		h.topics[name][c] = struct{}{}
		c.topics[name] = struct{}{}
	}
	return nil
}

func (h *classic) unsubscribe(c *classicClient, names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range names {
		h.leaveLocked(c, name)
	}
}

func (h *classic) leaveLocked(c *classicClient, name string) {
	delete(c.topics, name)
	delete(h.topics[name], c)
	if len(h.topics[name]) == 0 {
		delete(h.topics, name)
	}
}

// removeLocked takes a client out of the hub and ends its writer. It may be called twice.
func (h *classic) removeLocked(c *classicClient) {
	if _, ok := h.all[c]; !ok {
		return
	}
	delete(h.all, c)
	for name := range c.topics {
		h.leaveLocked(c, name)
	}
	close(c.send)
}
