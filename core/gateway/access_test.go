package gateway_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

// patterns parses them; the test fails when one is wrong.
func patterns(t testing.TB, texts ...string) []gateway.TopicPattern {
	t.Helper()
	var out []gateway.TopicPattern
	for _, text := range texts {
		p, err := gateway.ParseTopicPattern(text)
		if err != nil {
			t.Fatal(err)
		}
		if p.String() != text {
			t.Errorf("%q is written %q", text, p.String())
		}
		out = append(out, p)
	}
	return out
}

// withAccess gives every client the same access.
func withAccess(a *gateway.Access) func(*gateway.Options) {
	return func(o *gateway.Options) {
		o.Authenticate = func(*http.Request) (gateway.Identity, error) { return gateway.Identity{UserID: "ann", Access: a}, nil }
	}
}

func TestTopicPatterns(t *testing.T) {
	for _, row := range []struct {
		pattern, topic string
		matches        bool
	}{
		{"room", "room", true},
		{"room", "rooms", false},
		{"room", "roo", false},
		{"room.*", "room.1", true},
		{"room.*", "room.", true},
		{"room.*", "room", false},
		{"room.*", "xroom.1", false},
		{"*", "anything", true},
		{"a*b", "a*b", true},
		{"a*b", "axb", false},
		{"a**", "a*x", true},
		{"a**", "ax", false},
	} {
		if got := patterns(t, row.pattern)[0].Matches(row.topic); got != row.matches {
			t.Errorf("%q for %q: %v", row.pattern, row.topic, got)
		}
	}
	for _, bad := range []string{"", "a b", "a\n*", " *"} {
		if p, err := gateway.ParseTopicPattern(bad); err == nil {
			t.Errorf("%q is taken, as %+v", bad, p)
		}
	}
}

func TestAccessIsPerTopic(t *testing.T) {
	var asked atomic.Value
	g := run(t, func(o *gateway.Options) {
		withAccess(&gateway.Access{Subscribe: patterns(t, "news", "room.*"), Publish: patterns(t, "room.1")})(o)
		o.OnTower = func(tower *gateway.FireTower) {
			tower.SetBeforeSubscribeHandler(func(_ gateway.FireLife, topics []string) bool {
				asked.Store(strings.Join(topics, ","))
				return true
			})
			tower.SetReadHandler(func(f *gateway.FireInfo) bool {
				if f.Topic != "room.1" {
					t.Errorf("the read handler is asked for %s", f.Topic)
				}
				return true
			})
		}
	})
	c := dial(t, g, protocol.SubprotocolV1)
	c.sendText(`{"type":"subscribe","topic":"news,secret,room.1,room","id":"s"}`)
	r := c.nextReply()
	want := "[{news true } {secret false forbidden} {room.1 true } {room false forbidden}]"
	if got := fmt.Sprint(r.Topics); r.OK || got != want {
		t.Errorf("subscribe: %s, want %s", got, want)
	}
	if got := asked.Load(); got != "news,room.1" {
		t.Errorf("the handler was asked for %v", got)
	}
	c.sendText(`{"type":"publish","topic":"room.1,news","data":1,"id":"p"}`)
	replies := map[string]reply{}
	for range 2 { // the push and the answer, in either order
		r := c.nextReply()
		replies[r.ID] = r
	}
	if push := replies[""]; push.Topic != "room.1" || string(push.Data) != "1" {
		t.Errorf("push %+v", push)
	}
	if got := fmt.Sprint(replies["p"].Topics); got != "[{room.1 true } {news false forbidden}]" {
		t.Errorf("publish: %s", got)
	}
	c.sendText(`{"type":"subscribe","topic":"secret"}`) // no id, no answer but what it did not get
	if r := c.nextReply(); r.Type != "error" || r.Code != string(protocol.CodeForbidden) || r.Reason != "topic secret" {
		t.Errorf("%+v", r)
	}
	if s := g.Stats(); s.ForbiddenSubscribes != 3 || s.ForbiddenPublishes != 1 || s.Subscriptions != 2 {
		t.Errorf("%d subscribes and %d publishes forbidden, %d subscriptions", s.ForbiddenSubscribes, s.ForbiddenPublishes, s.Subscriptions)
	}
}

// What the application was not asked about is not subscribed to, though it is allowed meanwhile.
func TestAccessThatComesInTheMiddle(t *testing.T) {
	g := run(t, func(o *gateway.Options) {
		withAccess(&gateway.Access{Subscribe: patterns(t, "a", "b")})(o)
		o.OnTower = func(tower *gateway.FireTower) {
			tower.SetBeforeSubscribeHandler(func(_ gateway.FireLife, topics []string) bool {
				if len(topics) != 2 || topics[0] != "a" || topics[1] != "b" {
					t.Errorf("asked for %v", topics)
				}
				tower.SetAccess(&gateway.Access{Subscribe: patterns(t, "b", "c")})
				return true
			})
		}
	})
	c := dial(t, g, protocol.SubprotocolV1)
	c.sendText(`{"type":"subscribe","topic":"a,b,c","id":"1"}`)
	if got := fmt.Sprint(c.nextReply().Topics); got != "[{a false forbidden} {b true } {c false forbidden}]" {
		t.Error(got)
	}
}

// Rights that change while a client subscribes leave no subscription that the last of them does not allow.
func TestAccessAgainstSubscribing(t *testing.T) {
	towers := make(chan *gateway.FireTower, 1)
	g := run(t, func(o *gateway.Options) {
		withAccess(&gateway.Access{Subscribe: patterns(t, "*")})(o)
		o.OnTower = func(tower *gateway.FireTower) { towers <- tower }
	})
	c := dial(t, g, protocol.SubprotocolV1)
	tower := <-towers
	all, one := &gateway.Access{Subscribe: patterns(t, "*")}, &gateway.Access{Subscribe: patterns(t, "t1")}
	for i := range 200 {
		c.sendText(`{"type":"subscribe","topic":"t1,t2,t3","id":"s"}`)
		tower.SetAccess(one)
		c.sendText(`{"type":"unSubscribe","topic":"nothing","id":"end"}`) // what came before is served
		for c.nextReply().ID != "end" {
		}
		for _, topic := range tower.Topics() {
			if topic != "t1" {
				t.Fatalf("round %d: still subscribed to %s", i, topic)
			}
		}
		tower.SetAccess(all)
	}
}

func TestAccessOfV0Clients(t *testing.T) {
	towers := make(chan *gateway.FireTower, 1)
	g := run(t, func(o *gateway.Options) {
		withRefresh(t, &gateway.Access{Subscribe: patterns(t, "a"), Publish: patterns(t, "a")})(o)
		o.OnTower = func(tower *gateway.FireTower) { towers <- tower }
	})
	c := dial(t, g, "")
	tower := <-towers
	c.sendText(`{"type":"subscribe","topic":"a,b,room.1"}`)
	c.sendText(`{"type":"publish","topic":"b","data":1}`)
	c.sendText(`{"type":"publish","topic":"a","data":2}`)
	if got := c.next(); got != "2" {
		t.Errorf("got %q", got)
	}
	if s := g.Stats(); s.Subscriptions != 1 || s.ForbiddenSubscribes != 2 || s.ForbiddenPublishes != 1 {
		t.Errorf("%d subscriptions, %d and %d forbidden", s.Subscriptions, s.ForbiddenSubscribes, s.ForbiddenPublishes)
	}
	c.sendText(`{"type":"authenticate","token":"more"}`)
	c.sendText(`{"type":"subscribe","topic":"room.1"}`)
	eventually(t, "room.1 in the place of a", func() bool { return fmt.Sprint(tower.Topics()) == "[room.1]" })
	if err := g.Publish("room.1", []byte("3")); err != nil {
		t.Fatal(err)
	}
	if got := c.next(); got != "3" {
		t.Errorf("got %q", got)
	}
}

func TestAccessOfNothingIsNothing(t *testing.T) {
	g := run(t, withAccess(&gateway.Access{}))
	c := dial(t, g, protocol.SubprotocolV1)
	for _, request := range []string{`{"type":"subscribe","topic":"a","id":"1"}`, `{"type":"publish","topic":"a","data":1,"id":"1"}`} {
		c.sendText(request)
		if r := c.nextReply(); r.OK || len(r.Topics) != 1 || r.Topics[0].Code != string(protocol.CodeForbidden) {
			t.Errorf("%s: %+v", request, r)
		}
	}
}

// What the application itself subscribes a client to needs no leave of the client's.
func TestAccessDoesNotBindTheApplication(t *testing.T) {
	towers := make(chan *gateway.FireTower, 1)
	g := run(t, func(o *gateway.Options) {
		withAccess(&gateway.Access{})(o)
		o.OnTower = func(tower *gateway.FireTower) { towers <- tower }
	})
	c := dial(t, g, protocol.SubprotocolV1)
	tower := <-towers
	if err := tower.Subscribe("inbox"); err != nil {
		t.Fatal(err)
	}
	tower.SetAccess(&gateway.Access{Subscribe: patterns(t, "x")})
	// What the client had before the application asked for it is the application's as well.
	c.subscribe("x")
	if err := tower.Subscribe("x"); err != nil {
		t.Fatal(err)
	}
	tower.SetAccess(&gateway.Access{})
	if got := tower.Topics(); len(got) != 2 {
		t.Errorf("subscribed to %v", got)
	}
	if err := tower.Publish("inbox", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if r := c.nextReply(); r.Topic != "inbox" || string(r.Data) != "1" {
		t.Errorf("%+v", r)
	}
}

func TestExpiredAccessIsClosed(t *testing.T) {
	past := time.Now().Add(-time.Second)
	t.Run("by the heartbeat", func(t *testing.T) {
		g := run(t, func(o *gateway.Options) {
			withAccess(&gateway.Access{Expires: past})(o)
			o.Heartbeat = 50 * time.Millisecond
		})
		if code := dial(t, g, protocol.SubprotocolV1).closed(); code != protocol.CloseExpired {
			t.Errorf("closed with %d", code)
		}
		eventually(t, "it is counted", func() bool { return g.Stats().Disconnects[gateway.DisconnectExpired] == 1 })
	})
	t.Run("by its next request", func(t *testing.T) {
		g := run(t, withAccess(&gateway.Access{Subscribe: patterns(t, "*"), Expires: past}))
		c := dial(t, g, protocol.SubprotocolV1)
		c.sendText(`{"type":"subscribe","topic":"a","id":"1"}`)
		if code := c.closed(); code != protocol.CloseExpired {
			t.Errorf("closed with %d", code)
		}
		if n := g.Stats().Subscriptions; n != 0 {
			t.Errorf("%d subscriptions", n)
		}
	})
	t.Run("not before", func(t *testing.T) {
		g := run(t, withAccess(&gateway.Access{Subscribe: patterns(t, "*"), Expires: time.Now().Add(time.Hour)}))
		dial(t, g, protocol.SubprotocolV1).subscribe("a")
	})
}

// withRefresh takes the token "more", which allows room.1 and room.2, and no other.
func withRefresh(t testing.TB, first *gateway.Access) func(*gateway.Options) {
	t.Helper()
	return func(o *gateway.Options) {
		withAccess(first)(o)
		o.Refresh = func(tower *gateway.FireTower, token string) (*gateway.Access, error) {
			switch {
			case tower.UserID() != "ann":
				t.Errorf("user %q", tower.UserID())
				return nil, errors.New("unknown")
			case token == "more":
				return &gateway.Access{Subscribe: patterns(t, "room.1", "room.2")}, nil
			case token == "old":
				return nil, &gateway.AuthenticationError{Reason: "token has expired", Err: errors.New("details for the log")}
			default:
				return nil, errors.New("details for the log")
			}
		}
	}
}

func TestAuthenticateChangesWhatAClientMay(t *testing.T) {
	g := run(t, withRefresh(t, &gateway.Access{Subscribe: patterns(t, "room.1", "room.3")}))
	c := dial(t, g, protocol.SubprotocolV1)
	c.subscribe("room.1,room.3")
	for token, want := range map[string]string{"old": "not authenticated: token has expired", "bad": "not authenticated"} {
		c.sendText(`{"type":"authenticate","token":"` + token + `","id":"` + token + `"}`)
		if r := c.nextReply(); r.Type != "error" || r.ID != token || r.Code != string(protocol.CodeUnauthorized) || r.Reason != want {
			t.Errorf("%s: %+v", token, r)
		}
	}
	if n := g.Stats().Subscriptions; n != 2 {
		t.Errorf("refused tokens left %d subscriptions", n)
	}
	c.sendText(`{"type":"authenticate","token":"more","id":"m"}`)
	if r := c.nextReply(); r.Type != "unSubscribe" || r.ID != "" || len(r.Topics) != 1 || r.Topics[0].Topic != "room.3" {
		t.Errorf("what is not allowed any more: %+v", r)
	}
	if r := c.nextReply(); r.Type != "authenticate" || r.ID != "m" || !r.OK {
		t.Errorf("the answer: %+v", r)
	}
	c.subscribe("room.2")
	if s := g.Stats(); s.Subscriptions != 2 || s.Unauthorized != 2 {
		t.Errorf("%d subscriptions, %d refused tokens", s.Subscriptions, s.Unauthorized)
	}
}

// A token that comes after its predecessor has expired, and before anybody noticed, is in time.
func TestAuthenticateAtTheLastMoment(t *testing.T) {
	g := run(t, withRefresh(t, &gateway.Access{Expires: time.Now().Add(-time.Second)}))
	c := dial(t, g, protocol.SubprotocolV1)
	c.sendText(`{"type":"authenticate","token":"more"}`)
	c.subscribe("room.1")
}

func TestAuthenticateWithoutTokens(t *testing.T) {
	c := dial(t, run(t, nil), protocol.SubprotocolV1)
	c.sendText(`{"type":"authenticate","token":"x","id":"1"}`)
	if r := c.nextReply(); r.Code != string(protocol.CodeForbidden) || r.Reason != "no tokens are taken here" {
		t.Errorf("%+v", r)
	}
}

func TestRefusedIdentityIsToldWhy(t *testing.T) {
	g := run(t, func(o *gateway.Options) {
		o.Authenticate = func(*http.Request) (gateway.Identity, error) {
			return gateway.Identity{}, fmt.Errorf("wrapped: %w", &gateway.AuthenticationError{Reason: "no token", Challenge: `Bearer realm="x"`, Err: errors.New("hidden")})
		}
	})
	_, resp, err := websocket.DefaultDialer.Dial("ws://"+g.Addr().String()+"/ws", nil)
	if err == nil {
		t.Fatal("let in")
	}
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusUnauthorized || string(body) != "not authenticated: no token\n" || resp.Header.Get("WWW-Authenticate") != `Bearer realm="x"` {
		t.Errorf("%d %q %v", resp.StatusCode, body, resp.Header)
	}
}
