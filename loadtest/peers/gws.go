package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/lxzan/gws"
)

// gwsPeer is a broadcast over gws: a set of connections for each topic, and for each message the library's Broadcaster
// in a loop over the set. The frames are the plainest that do: {"type":"subscribe","topic":"a,b"} and
// {"type":"publish","topic":"a","data":...} come in, and the data alone goes out.
type gwsPeer struct {
	*web
	log     *slog.Logger
	upgrade *gws.Upgrader
	loops   sync.WaitGroup

	mu     sync.RWMutex // guards the following
	closed bool
	all    map[*gws.Conn][]string // their topics
	topics map[string]map[*gws.Conn]struct{}
}

// gwsRequest is a client's frame.
type gwsRequest struct {
	Type  string          `json:"type"`
	Topic string          `json:"topic"`
	Data  json.RawMessage `json:"data"`
}

func startGWS(ctx context.Context, address string, log *slog.Logger) (peer, error) {
	p := &gwsPeer{log: log, all: map[*gws.Conn][]string{}, topics: map[string]map[*gws.Conn]struct{}{}}
	p.upgrade = gws.NewUpgrader(p, &gws.ServerOption{Recovery: gws.Recovery})
	var err error
	p.web, err = serveWeb(ctx, address, http.HandlerFunc(p.serve))
	return p, err
}

func (p *gwsPeer) serve(w http.ResponseWriter, r *http.Request) {
	socket, err := p.upgrade.Upgrade(w, r)
	if err != nil {
		return // Upgrade has answered
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = socket.NetConn().Close() // its end is all that is wanted
		return
	}
	p.all[socket] = nil
	// On a goroutine of its own, so that the request can be collected.
	p.loops.Go(socket.ReadLoop)
}

// OnOpen does nothing: serve has noted the connection.
func (p *gwsPeer) OnOpen(*gws.Conn) {}

// OnClose takes the connection out of its topics.
func (p *gwsPeer) OnClose(socket *gws.Conn, _ error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, topic := range p.all[socket] {
		delete(p.topics[topic], socket)
		if len(p.topics[topic]) == 0 {
			delete(p.topics, topic)
		}
	}
	delete(p.all, socket)
}

// OnPing answers.
func (p *gwsPeer) OnPing(socket *gws.Conn, payload []byte) { _ = socket.WritePong(payload) }

// OnPong does nothing.
func (p *gwsPeer) OnPong(*gws.Conn, []byte) {}

// OnMessage carries out a request. A broken one ends its connection.
func (p *gwsPeer) OnMessage(socket *gws.Conn, message *gws.Message) {
	defer func() { _ = message.Close() }() // gives its buffer back, and has no error to tell
	var r gwsRequest
	if err := json.Unmarshal(message.Bytes(), &r); err != nil {
		p.refuse(socket, err)
		return
	}
	switch r.Type {
	case "subscribe":
		p.subscribe(socket, strings.Split(r.Topic, ","))
	case "publish":
		p.broadcast(r.Topic, r.Data)
	default:
		p.refuse(socket, fmt.Errorf("no request %q", r.Type))
	}
}

func (p *gwsPeer) refuse(socket *gws.Conn, err error) {
	p.log.Error("request refused", "client", socket.RemoteAddr().String(), "error", err)
	_ = socket.WriteClose(1007, nil) // the connection ends either way
}

func (p *gwsPeer) subscribe(socket *gws.Conn, topics []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, topic := range topics {
		if p.topics[topic] == nil {
			p.topics[topic] = map[*gws.Conn]struct{}{}
		}
		p.topics[topic][socket] = struct{}{}
	}
	p.all[socket] = append(p.all[socket], topics...)
}

// broadcast queues a message for every connection of the topic; the library keeps the order of each queue. Under the
// lock nobody waits for a socket.
func (p *gwsPeer) broadcast(topic string, data []byte) {
	b := gws.NewBroadcaster(gws.OpcodeText, data)
	defer func() { _ = b.Close() }() // gives its buffer back, and has no error to tell
	p.mu.RLock()
	defer p.mu.RUnlock()
	for socket := range p.topics[topic] {
		_ = b.Broadcast(socket) // a connection that has ended is told to OnClose
	}
}

func (p *gwsPeer) stop() error {
	err := p.close()
	p.mu.Lock()
	p.closed = true
	for socket := range p.all {
		_ = socket.NetConn().Close() // its reader sees the end, whatever this says
	}
	p.mu.Unlock()
	p.loops.Wait()
	return err
}
