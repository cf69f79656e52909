package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

// U4-24: no frame of a client does more than end its own connection.
func TestU4_24_HostileFrames(t *testing.T) {
	g := run(t, func(o *gateway.Options) { o.Limits.MaxFrameBytes = 8192 })
	bystander := dial(t, g, protocol.SubprotocolV1)
	bystander.subscribe("room")
	const goesOn = 0
	rows := []struct {
		name, frame string
		kind, code  int
	}{
		{"null", `null`, websocket.TextMessage, protocol.CloseProtocol},
		{"array", `[]`, websocket.TextMessage, protocol.CloseProtocol},
		{"nothing", ``, websocket.TextMessage, protocol.CloseProtocol},
		{"empty object", `{}`, websocket.TextMessage, goesOn},
		{"type null", `{"type":null}`, websocket.TextMessage, goesOn},
		{"type a number", `{"type":4,"topic":"room"}`, websocket.TextMessage, goesOn},
		{"topic an array", `{"type":"subscribe","topic":["a"]}`, websocket.TextMessage, goesOn},
		{"topic empty", `{"type":"subscribe","topic":""}`, websocket.TextMessage, goesOn},
		{"topic with a space", `{"type":"subscribe","topic":"a b"}`, websocket.TextMessage, goesOn},
		{"deep", `{"type":"publish","topic":"room","data":` + strings.Repeat("[", 4000), websocket.TextMessage, protocol.CloseProtocol},
		{"invalid UTF-8", "{\"type\":\"subscribe\",\"topic\":\"\xff\"}", websocket.TextMessage, -1},
		{"huge", `{"type":"publish","topic":"room","data":"` + strings.Repeat("x", 9000) + `"}`, websocket.TextMessage, websocket.CloseMessageTooBig},
		{"binary", "\x00\x01", websocket.BinaryMessage, protocol.CloseProtocol},
	}
	for _, proto := range []string{protocol.SubprotocolV0, protocol.SubprotocolV1} {
		for _, row := range rows {
			t.Run(proto+"/"+row.name, func(t *testing.T) {
				c := dial(t, g, proto)
				if err := c.WriteMessage(row.kind, []byte(row.frame)); err != nil {
					t.Fatal(err)
				}
				switch row.code {
				case goesOn:
					if proto == protocol.SubprotocolV1 {
						if r := c.nextReply(); r.Type != "error" || r.Code == "" || r.Reason == "" {
							t.Errorf("answered %+v", r)
						}
						c.subscribe("room") // the connection still works
					}
				case -1: // refused in one way or the other
					if proto == protocol.SubprotocolV1 {
						if r := c.nextReply(); r.Type != "error" {
							t.Errorf("answered %+v", r)
						}
					}
				default:
					if code := c.closed(); code != row.code {
						t.Errorf("closed with %d, want %d", code, row.code)
					}
				}
			})
		}
	}
	if err := g.Publish("room", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if r := bystander.nextReply(); string(r.Data) != "1" {
		t.Errorf("the bystander got %+v", r)
	}
}

// U4-26: nothing of one frame is left for the next, not even of another client.
func TestU4_26_NothingIsInherited(t *testing.T) {
	g := run(t, nil)
	watcher := dial(t, g, protocol.SubprotocolV1)
	watcher.subscribe("secret,mine")
	a, b := dial(t, g, protocol.SubprotocolV1), dial(t, g, protocol.SubprotocolV1)
	a.sendText(`{"type":"publish","topic":"secret","data":"of a","id":"1"}`)
	if r := a.nextReply(); !r.OK {
		t.Fatalf("%+v", r)
	}
	if r := watcher.nextReply(); r.Topic != "secret" {
		t.Fatalf("%+v", r)
	}
	for _, frame := range []string{`{"topic":"mine"}`, `{}`, `{"type":"publish","topic":"mine"}`} {
		b.sendText(frame)
		if r := b.nextReply(); r.Type != "error" {
			t.Errorf("%s was answered %+v", frame, r)
		}
	}
	b.sendText(`{"type":"publish","topic":"mine","data":"of b"}`)
	if r := watcher.nextReply(); r.Topic != "mine" || string(r.Data) != `"of b"` {
		t.Errorf("the watcher got %+v", r)
	}
}

// U4-40: each topic of a request is answered by name.
func TestU4_40_AnswerPerTopic(t *testing.T) {
	g := run(t, func(o *gateway.Options) { o.Limits.MaxTopicsPerConn = 2 })
	c := dial(t, g, protocol.SubprotocolV1)
	c.sendText(`{"type":"subscribe","topic":"a,b","id":"1"}`)
	if r := c.nextReply(); !r.OK || r.Type != "subscribe" || len(r.Topics) != 2 || r.Topics[0].Topic != "a" || !r.Topics[1].OK {
		t.Errorf("%+v", r)
	}
	c.sendText(`{"type":"subscribe","topic":"b,c","id":"2"}`)
	if r := c.nextReply(); r.OK || len(r.Topics) != 2 || !r.Topics[0].OK || r.Topics[1].Code != string(protocol.CodeTooManyTopics) {
		t.Errorf("%+v", r)
	}
	c.sendText(`{"type":"unSubscribe","topic":"a,x","id":"3"}`)
	if r := c.nextReply(); r.OK || r.Type != "unSubscribe" || !r.Topics[0].OK || r.Topics[1].Code != string(protocol.CodeNotSubscribed) {
		t.Errorf("%+v", r)
	}
	c.sendText(`{"type":"nonsense","topic":"a","id":"4"}`)
	if r := c.nextReply(); r.Type != "error" || r.ID != "4" || r.Code != string(protocol.CodeUnknownType) {
		t.Errorf("%+v", r)
	}
}

// Where clients may not publish, one that tries is told so, reaches nobody and stays, and what
// the application publishes arrives.
func TestClientsMayNotPublish(t *testing.T) {
	m := newStandIn(t)
	g := linked(t, m, func(o *gateway.Options) { o.ClientPublish = false })
	c, old := dial(t, g, protocol.SubprotocolV1), dial(t, g, protocol.SubprotocolV0)
	c.subscribe("room")
	old.sendText(`{"type":"publish","topic":"room","data":1}`)
	c.sendText(`{"type":"publish","topic":"room","data":2,"id":"p"}`)
	if r := c.nextReply(); r.OK || r.ID != "p" || r.Code != string(protocol.CodeForbidden) {
		t.Errorf("%+v", r)
	}
	old.sendText(`{"type":"subscribe","topic":"room"}`) // behind its publish
	eventually(t, "it is still there", func() bool { return g.Stats().Subscriptions == 2 })
	if err := g.Publish("room", []byte("3")); err != nil {
		t.Fatal(err)
	}
	if r := c.nextReply(); string(r.Data) != "3" {
		t.Errorf("%+v", r)
	}
	if got := old.next(); got != "3" {
		t.Errorf("%q", got)
	}
}

// U5-03: what only the manager may order, a client cannot.
func TestU5_03_ClientsCannotGiveOrders(t *testing.T) {
	g := run(t, nil)
	victim := dial(t, g, protocol.SubprotocolV1)
	victim.subscribe("room")
	attacker := dial(t, g, protocol.SubprotocolV1)
	for _, order := range []string{
		"offline_topic", "offline_topic_by_userid", "offline_user", "hello", "snapshot", "welcome", "refuse", "4", "5", "6",
	} {
		attacker.sendText(fmt.Sprintf(`{"type":%q,"topic":"room","data":"x","id":"o"}`, order))
		if r := attacker.nextReply(); r.Type != "error" || r.Code != string(protocol.CodeUnknownType) {
			t.Errorf("%s was answered %+v", order, r)
		}
	}
	if err := g.Publish("room", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if r := victim.nextReply(); string(r.Data) != "1" {
		t.Errorf("the victim got %+v", r)
	}
}

// U5-18: the requests of a client are served in the order in which they came.
func TestU5_18_RequestsKeepTheirOrder(t *testing.T) {
	g := run(t, nil)
	c := dial(t, g, protocol.SubprotocolV1)
	const rounds = 200
	c.subscribe("own")
	for n := range rounds {
		c.sendText(fmt.Sprintf(`{"type":"subscribe","topic":"other","id":"s%d"}`, n))
		c.sendText(fmt.Sprintf(`{"type":"publish","topic":"own","data":%d}`, n))
		c.sendText(fmt.Sprintf(`{"type":"unSubscribe","topic":"other","id":"u%d"}`, n))
	}
	for answers, pushes := 0, 0; answers < 2*rounds || pushes < rounds; {
		r := c.nextReply()
		if r.Type == "publish" {
			if string(r.Data) != fmt.Sprint(pushes) {
				t.Fatalf("message %d is %s", pushes, r.Data)
			}
			pushes++
			continue
		}
		if want := fmt.Sprintf("%c%d", "su"[answers%2], answers/2); r.ID != want || !r.OK {
			t.Fatalf("answer %d is %+v, want %s", answers, r, want)
		}
		answers++
	}
}

// U4-46: pages of other sites cannot connect, unless they are allowed to.
func TestU4_46_OriginIsChecked(t *testing.T) {
	rows := []struct {
		name, origin string
		allowed      []string
		ok           bool
	}{
		{"no origin", "", nil, true},
		{"own host", "http://HOST", nil, true},
		{"other host", "http://evil.example", nil, false},
		{"own host as a prefix", "http://HOST.evil.example", nil, false},
		{"null", "null", nil, false},
		{"listed", "https://app.example", []string{"https://app.example"}, true},
		{"listed, other scheme", "http://app.example", []string{"https://app.example"}, false},
		{"not listed", "https://evil.example", []string{"https://app.example"}, false},
		{"any", "https://evil.example", []string{"*"}, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			g := run(t, func(o *gateway.Options) { o.AllowedOrigins = row.allowed })
			header := http.Header{}
			if row.origin != "" {
				header.Set("Origin", strings.ReplaceAll(row.origin, "HOST", g.Addr().String()))
			}
			ws, resp, err := websocket.DefaultDialer.Dial("ws://"+g.Addr().String()+"/ws", header)
			if ws != nil {
				_ = ws.Close()
			}
			if (err == nil) != row.ok {
				t.Errorf("err = %v", err)
			}
			if err != nil && resp.StatusCode != http.StatusForbidden {
				t.Errorf("status %d", resp.StatusCode)
			}
		})
	}
}
