package gateway_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

func TestPushReachesEverySubscriberInBothSubprotocols(t *testing.T) {
	g := run(t, nil)
	old, none, modern := dial(t, g, protocol.SubprotocolV0), dial(t, g, ""), dial(t, g, protocol.SubprotocolV1)
	old.subscribeV0(g, "room", 1)
	none.subscribeV0(g, "room", 2)
	modern.subscribe("room")
	if err := g.Publish("room", []byte(`{"n":1}`)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*wsClient{old, none} {
		if got := c.next(); got != `{"n":1}` {
			t.Errorf("v0 got %q", got)
		}
	}
	if got := modern.next(); got != `{"type":"publish","topic":"room","data":{"n":1}}` {
		t.Errorf("v1 got %q", got)
	}
}

func TestU4_41_PushNamesItsTopicAndKeepsBytes(t *testing.T) {
	g := run(t, nil)
	old, modern := dial(t, g, ""), dial(t, g, protocol.SubprotocolV1)
	old.subscribeV0(g, "a,b", 2)
	modern.subscribe("a,b")
	rows := []struct {
		name, data string
		kind       int
		enc        string
	}{
		{"JSON", `[1,2]`, websocket.TextMessage, ""},
		{"text", `hello "you" ☃`, websocket.TextMessage, "text"},
		{"binary", "\xff\x00\x01", websocket.BinaryMessage, "base64"},
		{"empty", "", websocket.TextMessage, "text"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if err := g.Publish("b", []byte(row.data)); err != nil {
				t.Fatal(err)
			}
			kind, got := old.nextKind()
			if kind != row.kind || got != row.data {
				t.Errorf("v0 got kind %d, %q", kind, got)
			}
			if r := modern.nextReply(); r.Type != "publish" || r.Topic != "b" || r.Enc != row.enc {
				t.Errorf("v1 got %+v", r)
			}
		})
	}
}

// U4-36: the order of a topic is kept with any number of consumers and buckets.
func TestU4_36_OrderOfATopicIsKept(t *testing.T) {
	for _, b := range []gateway.BucketOptions{
		{Num: 1, CentralChanCount: 1, CentralBytes: 1 << 20, BuffChanCount: 1, ConsumerNum: 1},
		{Num: 4, CentralChanCount: 3, CentralBytes: 2, BuffChanCount: 2, ConsumerNum: 32},
		{Num: 4, CentralChanCount: 100000, CentralBytes: 1 << 20, BuffChanCount: 1000, ConsumerNum: 32},
	} {
		t.Run(fmt.Sprintf("%+v", b), func(t *testing.T) {
			g := run(t, func(o *gateway.Options) { o.Bucket = b })
			const topics, messages = 5, 200
			var clients []*wsClient
			for i := range 12 {
				c := dial(t, g, protocol.SubprotocolV1)
				c.subscribe(fmt.Sprintf("t%d", i%topics))
				clients = append(clients, c)
			}
			var publishers sync.WaitGroup
			for topic := range topics {
				publishers.Add(1)
				go func() {
					defer publishers.Done()
					for n := range messages {
						if err := g.Publish(fmt.Sprintf("t%d", topic), fmt.Appendf(nil, "%d", n)); err != nil {
							t.Error(err)
						}
					}
				}()
			}
			publishers.Wait()
			for i, c := range clients {
				for n := range messages {
					r := c.nextReply()
					if r.Topic != fmt.Sprintf("t%d", i%topics) || string(r.Data) != fmt.Sprint(n) {
						t.Fatalf("client %d: message %d is %s of %s", i, n, r.Data, r.Topic)
					}
				}
			}
		})
	}
}

// Publishers that race for one topic may come in any order, but every
// connection sees the same one, whatever Bucket it is in.
func TestRacingPublishersGiveOneOrder(t *testing.T) {
	g := run(t, func(o *gateway.Options) { o.Bucket.Num = 8 })
	var clients []*wsClient
	for range 16 {
		c := dial(t, g, protocol.SubprotocolV1)
		c.subscribe("room")
		clients = append(clients, c)
	}
	const publishers, messages = 4, 50
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range messages {
				if err := g.Publish("room", fmt.Appendf(nil, "%d", p*1000+n)); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	var first []string
	for i, c := range clients {
		var got []string
		for range publishers * messages {
			got = append(got, string(c.nextReply().Data))
		}
		if i == 0 {
			first = got
		} else if a, b := strings.Join(first, " "), strings.Join(got, " "); a != b {
			t.Fatalf("client %d saw another order:\n%s\n%s", i, a, b)
		}
	}
}

// U4-27: what arrives is what was published, also when frames are joined and
// the consumers' buffers are used again.
func TestU4_27_PayloadsStayWhatTheyWere(t *testing.T) {
	g := run(t, func(o *gateway.Options) { o.JoinBytes = 4096 })
	var clients []*wsClient
	for i := range 20 {
		c := dial(t, g, []string{protocol.SubprotocolV0, protocol.SubprotocolV1}[i%2])
		if i%2 == 1 {
			c.subscribe("a,b,c")
		} else {
			c.subscribeV0(g, "a,b,c", int64(3*(i+1)))
		}
		clients = append(clients, c)
	}
	const messages = 300
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range messages {
		body := strings.Repeat(string(rune('a'+n%26)), 1+rng.IntN(3000))
		sum := sha256.Sum256([]byte(body))
		if err := g.Publish(string(rune('a'+n%3)), fmt.Appendf(nil, `"%s%s"`, hex.EncodeToString(sum[:]), body)); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range clients {
		for n := range messages {
			var data string
			if i%2 == 1 {
				data = string(c.nextReply().Data)
			} else {
				data = c.next()
			}
			data = strings.Trim(data, `"`)
			if len(data) < 64 {
				t.Fatalf("client %d, message %d: %q", i, n, data)
			}
			if sum := sha256.Sum256([]byte(data[64:])); hex.EncodeToString(sum[:]) != data[:64] {
				t.Fatalf("client %d, message %d is not what was published", i, n)
			}
		}
	}
}

func TestBurstArrivesOnceAndInOrder(t *testing.T) {
	g := run(t, nil)
	var clients []*wsClient
	for range 50 {
		c := dial(t, g, protocol.SubprotocolV1)
		c.subscribe("room")
		clients = append(clients, c)
	}
	const burst = 500
	for n := range burst {
		if err := g.Publish("room", fmt.Appendf(nil, "%d", n)); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range clients {
		for n := range burst {
			if got := string(c.nextReply().Data); got != fmt.Sprint(n) {
				t.Fatalf("client %d: message %d is %s", i, n, got)
			}
		}
	}
	s := g.Stats()
	if s.Deliveries != 50*burst {
		t.Errorf("deliveries = %d", s.Deliveries)
	}
	for why, n := range s.Drops {
		if n != 0 {
			t.Errorf("dropped %d: %s", n, why)
		}
	}
}
