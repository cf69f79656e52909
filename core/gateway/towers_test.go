package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

func byHeader(o *gateway.Options) { o.UserHeader = "X-User" }

func dialAs(t testing.TB, g *gateway.Gateway, user string) *wsClient {
	t.Helper()
	return dialWith(t, g, protocol.SubprotocolV1, http.Header{"X-User": {user}}, &websocket.Dialer{})
}

// U4-30: an order by user, by topic, or by both reaches all devices, stalls
// nothing, and may come twice.
func TestU4_30_OfflineOrders(t *testing.T) {
	g := run(t, byHeader)
	var ann, bob []*wsClient
	for range 3 {
		a, b := dialAs(t, g, "ann"), dialAs(t, g, "bob")
		a.subscribe("x,y")
		b.subscribe("x,y")
		ann, bob = append(ann, a), append(bob, b)
	}
	if n := g.Towers().OfflineTopicByUserID("x", "ann"); n != 3 {
		t.Errorf("topic and user: %d connections", n)
	}
	if n := g.Towers().OfflineTopicByUserID("x", "ann"); n != 0 {
		t.Errorf("topic and user again: %d connections", n)
	}
	for _, c := range ann {
		if r := c.nextReply(); r.Type != "unSubscribe" || r.Topics[0].Topic != "x" {
			t.Errorf("ann was told %+v", r)
		}
	}
	if n := g.Towers().OfflineTopic("y"); n != 6 {
		t.Errorf("topic: %d connections", n)
	}
	for _, c := range append(ann, bob...) {
		if r := c.nextReply(); r.Type != "unSubscribe" || r.Topics[0].Topic != "y" {
			t.Errorf("told %+v", r)
		}
	}
	if n := g.Towers().OfflineUser("bob"); n != 3 {
		t.Errorf("user: %d connections", n)
	}
	for _, c := range bob {
		if code := c.closed(); code != protocol.CloseKicked {
			t.Errorf("bob was closed with %d", code)
		}
	}
	eventually(t, "bob is gone", func() bool { return g.Stats().Connections == 3 })
	if n := g.Towers().OfflineUser("bob"); n != 0 {
		t.Errorf("user again: %d connections", n)
	}
	for _, c := range ann {
		c.subscribe("z")
	}
	if err := g.Publish("z", []byte("1")); err != nil {
		t.Fatal(err)
	}
	for _, c := range ann {
		if r := c.nextReply(); r.Topic != "z" {
			t.Errorf("ann got %+v", r)
		}
	}
}

// U4-37: two connections of one client are two.
func TestU4_37_TwoDevicesOfOneClient(t *testing.T) {
	g := run(t, func(o *gateway.Options) {
		o.Authenticate = func(*http.Request) (gateway.Identity, error) { return gateway.Identity{ClientID: "same"}, nil }
	})
	a, b := dial(t, g, protocol.SubprotocolV1), dial(t, g, protocol.SubprotocolV1)
	a.subscribe("room")
	b.subscribe("room")
	_ = a.Close()
	eventually(t, "one is gone", func() bool { return g.Stats().Connections == 1 })
	if err := g.Publish("room", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if r := b.nextReply(); string(r.Data) != "1" {
		t.Errorf("%+v", r)
	}
}

func TestRefusedIdentityGets401(t *testing.T) {
	g := run(t, func(o *gateway.Options) {
		o.Authenticate = func(*http.Request) (gateway.Identity, error) { return gateway.Identity{}, fmt.Errorf("no") }
	})
	_, resp, err := websocket.DefaultDialer.Dial("ws://"+g.Addr().String()+"/ws", nil)
	if err == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("err = %v, response %v", err, resp)
	}
}

func TestConnectionLimitAnswersRetryAfter(t *testing.T) {
	g := run(t, func(o *gateway.Options) { o.Limits.MaxConnections = 1 })
	dial(t, g, "")
	_, resp, err := websocket.DefaultDialer.Dial("ws://"+g.Addr().String()+"/ws", nil)
	if err == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("err = %v, response %v", err, resp)
	}
}

// U4-32, U4-34, U4-45, U5-01, U5-02: under churn no connection acts as another,
// no id is given twice, and nothing panics while pushes go on.
func TestU4_32_IdentityUnderChurn(t *testing.T) {
	var mu sync.Mutex
	ids := make(map[uint64]bool)
	users := make(map[string]int)
	var wrong atomic.Int64
	g := run(t, func(o *gateway.Options) {
		byHeader(o)
		o.OnTower = func(tower *gateway.FireTower) {
			user := tower.UserID()
			mu.Lock()
			if ids[tower.ID()] {
				wrong.Add(1)
			}
			ids[tower.ID()] = true
			users[user]++
			mu.Unlock()
			tower.SetReadHandler(func(f *gateway.FireInfo) bool {
				if f.Context.UserID != user || f.Topic != "own-"+user {
					wrong.Add(1)
				}
				return true
			})
			tower.SetOnOfflineHandler(func() {
				mu.Lock()
				users[user]--
				mu.Unlock()
			})
		}
	})
	stop := make(chan struct{})
	var publisher sync.WaitGroup
	publisher.Add(1)
	go func() {
		defer publisher.Done()
		for {
			select {
			case <-stop:
				return
			default:
				if g.Stats().Backlogged == 0 { // no faster than they read
					_ = g.Publish("all", []byte(`"tick"`))
				}
				runtime.Gosched()
			}
		}
	}()
	var clients sync.WaitGroup
	for w := range 8 {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for n := range 25 {
				user := fmt.Sprintf("u%d.%d", w, n)
				ws, _, err := (&websocket.Dialer{Subprotocols: []string{protocol.SubprotocolV1}}).
					Dial("ws://"+g.Addr().String()+"/ws", http.Header{"X-User": {user}})
				if err != nil {
					t.Error(err)
					return
				}
				_ = ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"subscribe","topic":"all,own-%s"}`, user))
				_ = ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"publish","topic":"own-%s","data":%q}`, user, user))
				for own := false; !own && n%3 != 0; {
					_ = ws.SetReadDeadline(time.Now().Add(patience))
					_, b, err := ws.ReadMessage()
					if err != nil {
						t.Error(err)
						break
					}
					if s := string(b); strings.Contains(s, "own-") {
						own = true
						if !strings.Contains(s, `"`+user+`"`) {
							t.Errorf("%s got %s", user, s)
						}
					}
				}
				_ = ws.Close()
			}
		}()
	}
	clients.Wait()
	eventually(t, "all are gone", func() bool { return g.Stats().Connections == 0 })
	close(stop)
	publisher.Wait()
	if n := wrong.Load(); n != 0 {
		t.Errorf("%d times a connection was taken for another", n)
	}
	if len(ids) != 200 {
		t.Errorf("%d connections were seen", len(ids))
	}
	for user, n := range users {
		if n != 0 {
			t.Errorf("user %s: offline handler ran %d times too few", user, n)
		}
	}
	eventually(t, "no topic is left", func() bool { return g.Stats().Topics == 0 && g.Stats().Subscriptions == 0 })
}

// U4-25, U4-33: clients that subscribe and leave at once take nothing with them
// and leave nothing behind.
func TestU4_33_NothingStaysBehind(t *testing.T) {
	g := run(t, nil)
	keep := dial(t, g, protocol.SubprotocolV1)
	keep.subscribe("room")
	<-g.Ready()
	before := runtime.NumGoroutine()
	var clients sync.WaitGroup
	for range 4 {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for n := range 100 {
				ws, _, err := websocket.DefaultDialer.Dial("ws://"+g.Addr().String()+"/ws", nil)
				if err != nil {
					t.Error(err)
					return
				}
				_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"subscribe","topic":"room,a,b"}`))
				if n%2 == 0 { // not even a close frame
					_ = ws.NetConn().Close()
				} else {
					_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
					_ = ws.Close()
				}
			}
		}()
	}
	clients.Wait()
	eventually(t, "connections end", func() bool { s := g.Stats(); return s.Connections == 1 && s.Subscriptions == 1 })
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	if err := g.Publish("room", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if r := keep.nextReply(); string(r.Data) != "1" {
		t.Errorf("%+v", r)
	}
}

// A connection at rest has no goroutine on systems with a poller.
func TestIdleConnectionsHaveNoGoroutine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has the poller")
	}
	g := run(t, nil)
	<-g.Ready()
	before := runtime.NumGoroutine()
	const n = 50
	for range n {
		dial(t, g, protocol.SubprotocolV1).subscribe("room")
	}
	eventually(t, "readers end", func() bool { return runtime.NumGoroutine() < before+n/2 })
}

// U4-35, U5-04: any goroutine may send, also from a handler, and frames never mix.
func TestU4_35_ManyWritersOneConnection(t *testing.T) {
	var tower atomic.Pointer[gateway.FireTower]
	g := run(t, func(o *gateway.Options) {
		o.OnTower = func(ft *gateway.FireTower) {
			ft.SetOnConnectHandler(func() bool { return ft.ToSelf([]byte(`"welcome"`)) == nil })
			tower.Store(ft)
		}
	})
	c := dial(t, g, "")
	if got := c.next(); got != `"welcome"` {
		t.Fatalf("got %q", got)
	}
	c.subscribeV0(g, "room", 1)
	const writers, each = 8, 200
	for w := range writers {
		go func() {
			for n := range each {
				if w%2 == 0 {
					_ = g.Publish("room", fmt.Appendf(nil, `"p%d-%d"`, w, n))
				} else {
					_ = tower.Load().ToSelf(fmt.Appendf(nil, `"s%d-%d"`, w, n))
				}
			}
		}()
	}
	seen := make(map[string]bool)
	for range writers * each {
		seen[c.next()] = true
	}
	if len(seen) != writers*each {
		t.Errorf("%d different messages", len(seen))
	}
}

// U5-05: handlers run without locks: each may use its connection in full.
func TestU5_05_HandlersMayCallBack(t *testing.T) {
	offline := make(chan struct{})
	removed := make(chan string, 8)
	g := run(t, func(o *gateway.Options) {
		byHeader(o)
		o.OnTower = func(ft *gateway.FireTower) {
			use := func() { _ = ft.ToSelf([]byte(`"h"`)); _ = ft.Topics(); _ = ft.UnSubscribe("none") }
			ft.SetOnConnectHandler(func() bool { use(); return true })
			ft.SetBeforeSubscribeHandler(func(_ gateway.FireLife, topics []string) bool { use(); return topics[0] != "no" })
			ft.SetSubscribeHandler(func(gateway.FireLife, []string) { use(); _ = ft.Subscribe("extra") })
			ft.SetUnSubscribeHandler(func(gateway.FireLife, []string) { use() })
			ft.SetReadHandler(func(f *gateway.FireInfo) bool { use(); return f.Topic != "no" })
			ft.SetOnSystemRemove(func(topic string) { use(); removed <- topic })
			ft.SetOnOfflineHandler(func() { use(); close(offline) })
		}
	})
	c := dialAs(t, g, "ann")
	answer := func() reply {
		for {
			if b := c.next(); b != `"h"` {
				var r reply
				unmarshal(t, b, &r)
				return r
			}
		}
	}
	c.sendText(`{"type":"subscribe","topic":"no","id":"1"}`)
	if r := answer(); r.Code != string(protocol.CodeForbidden) || r.ID != "1" {
		t.Errorf("%+v", r)
	}
	c.sendText(`{"type":"subscribe","topic":"yes","id":"2"}`)
	if r := answer(); !r.OK {
		t.Errorf("%+v", r)
	}
	if n := g.Stats().Subscriptions; n != 2 {
		t.Errorf("subscriptions = %d, with the handler's own", n)
	}
	c.sendText(`{"type":"publish","topic":"no","data":1,"id":"3"}`)
	if r := answer(); r.Code != string(protocol.CodeForbidden) || r.ID != "3" {
		t.Errorf("%+v", r)
	}
	c.sendText(`{"type":"unSubscribe","topic":"yes","id":"4"}`)
	if r := answer(); !r.OK {
		t.Errorf("%+v", r)
	}
	g.Towers().OfflineTopic("extra")
	if topic := <-removed; topic != "extra" {
		t.Errorf("removed from %q", topic)
	}
	g.Towers().OfflineUser("ann")
	<-offline
}

// The connect handler may refuse.
func TestConnectHandlerRefuses(t *testing.T) {
	g := run(t, func(o *gateway.Options) {
		o.OnTower = func(ft *gateway.FireTower) { ft.SetOnConnectHandler(func() bool { return false }) }
	})
	if code := dial(t, g, "").closed(); code != protocol.CloseForbidden {
		t.Errorf("closed with %d", code)
	}
	eventually(t, "counted", func() bool { return g.Stats().Disconnects[gateway.DisconnectHandler] == 1 })
}

// BuildTower serves a connection that the application upgraded itself.
func TestBuildTowerServesTheApplicationsOwnUpgrade(t *testing.T) {
	g := run(t, nil)
	srv := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{Subprotocols: []string{protocol.SubprotocolV1}}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		tower, err := g.BuildTower(ws, "mine")
		if err != nil {
			t.Error(err)
			return
		}
		if tower.ClientID() != "mine" || tower.Subprotocol() != protocol.SubprotocolV1 {
			t.Errorf("client %q speaks %q", tower.ClientID(), tower.Subprotocol())
		}
		tower.Run()
	})
	ws, _, err := (&websocket.Dialer{Subprotocols: []string{protocol.SubprotocolV1}}).Dial("ws"+strings.TrimPrefix(srv, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &wsClient{Conn: ws, t: t}
	c.subscribe("room")
	if err := ws.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := g.Publish("room", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if r := c.nextReply(); string(r.Data) != "1" {
		t.Errorf("%+v", r)
	}
	_ = ws.Close()
	eventually(t, "it is gone", func() bool { return g.Stats().Connections == 0 })
	if _, err := g.BuildTower(nil, ""); err == nil {
		t.Error("no connection was taken for one")
	}
}

// A flusher joins what waits into one writev(2).
func TestFlusherWritesManyAtOnce(t *testing.T) {
	towers := make(chan *gateway.FireTower, 1)
	g := run(t, func(o *gateway.Options) { o.OnTower = func(ft *gateway.FireTower) { towers <- ft } })
	c := dial(t, g, "")
	if !gateway.WritesManyAtOnce(<-towers) {
		t.Error("the flusher's connection has no writev")
	}
	runtime.KeepAlive(c) // a connection that is collected is closed
}

// U4-43: a Bucket whose consumers are stuck delays no other Bucket. Consumers
// never wait for sockets, so this stands in for a full one: a topic without
// subscribers in a Bucket costs it nothing.
func TestU4_43_OnlyBucketsWithSubscribersAreWoken(t *testing.T) {
	g := run(t, func(o *gateway.Options) { o.Bucket.Num = 4 })
	c := dial(t, g, protocol.SubprotocolV1)
	c.subscribe("room")
	dial(t, g, protocol.SubprotocolV1).subscribe("other")
	for n := range 10 {
		if err := g.Publish("room", fmt.Appendf(nil, "%d", n)); err != nil {
			t.Fatal(err)
		}
		c.nextReply()
	}
	// What is written is counted after it.
	eventually(t, "all is counted", func() bool { s := g.Stats(); return s.Deliveries == 10 && s.Writes == 10 && s.CentralQueue == 0 })
	if err := g.Publish("nobody", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if q := g.Stats().CentralQueue; q != 0 {
		t.Errorf("a message for nobody waits: %d", q)
	}
}

// U4-44: bad options are refused by name, and two gateways share nothing.
func TestU4_44_OptionsAndTwoGateways(t *testing.T) {
	o := gateway.DefaultOptions()
	o.Bucket.Num, o.Bucket.ConsumerNum, o.Heartbeat, o.SlowPolicy, o.Path = -1, -1, 0, "shrug", "ws"
	o.ManagerLink = "127.0.0.1:1"
	_, err := gateway.New(o)
	for _, key := range []string{"bucket.num", "bucket.consumerNum", "heartbeat", "slowConsumer.policy", "path", "manager.grpc"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not named in: %v", key, err)
		}
	}
	a, b := run(t, nil), run(t, nil)
	ca, cb := dial(t, a, protocol.SubprotocolV1), dial(t, b, protocol.SubprotocolV1)
	ca.subscribe("room")
	cb.subscribe("room")
	if err := a.Publish("room", []byte(`"a"`)); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish("room", []byte(`"b"`)); err != nil {
		t.Fatal(err)
	}
	if r := ca.nextReply(); string(r.Data) != `"a"` {
		t.Errorf("%+v", r)
	}
	if r := cb.nextReply(); string(r.Data) != `"b"` {
		t.Errorf("%+v", r)
	}
}

// U5-20: a stop tells every client when to come back, ends every goroutine
// (goleak), and refuses a second run.
func TestU5_20_Drain(t *testing.T) {
	g, stop := runStoppable(t, nil)
	clients := make([]*wsClient, 20)
	for i := range clients {
		clients[i] = dial(t, g, protocol.SubprotocolV1)
		clients[i].subscribe("room")
	}
	for n := range 50 {
		if err := g.Publish("room", fmt.Appendf(nil, "%d", n)); err != nil {
			t.Fatal(err)
		}
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	for i, c := range clients {
		for n := range 50 {
			if r := c.nextReply(); string(r.Data) != fmt.Sprint(n) {
				t.Fatalf("client %d: message %d is %s", i, n, r.Data)
			}
		}
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, _, err := c.ReadMessage()
		var ce *websocket.CloseError
		if !errors.As(err, &ce) || ce.Code != websocket.CloseServiceRestart || !strings.HasPrefix(ce.Text, "retry_ms=") {
			t.Errorf("client %d: %v", i, err)
		}
	}
	<-stopped
	if err := g.Run(t.Context()); err == nil {
		t.Error("it ran twice")
	}
}
