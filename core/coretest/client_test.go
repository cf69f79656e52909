package coretest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firetower/core/client"
	"firetower/core/coretest"
	"firetower/core/gateway"
	"firetower/core/protocol"
	"firetower/core/topicpb"
)

// inbox is what a client was handed, in order.
type inbox struct {
	mu       sync.Mutex // guards the following
	messages map[string][]string
	events   []client.Event
}

func newInbox() *inbox { return &inbox{messages: make(map[string][]string)} }

func (b *inbox) message(m client.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages[m.Topic] = append(b.messages[m.Topic], string(m.Data))
}

func (b *inbox) event(e client.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
}

func (b *inbox) of(topic string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.messages[topic])
}

// find returns the first event of a kind.
func (b *inbox) find(kind client.EventKind) (client.Event, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.events, func(e client.Event) bool { return e.Kind == kind })
	if i < 0 {
		return client.Event{}, false
	}
	return b.events[i], true
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), coretest.Patience)
	t.Cleanup(cancel)
	return ctx
}

// dialClient connects a client of package client.
func dialClient(t *testing.T, url string, b *inbox, change func(*client.Options)) *client.Client {
	t.Helper()
	o := client.DefaultOptions()
	o.URL, o.OnEvent = url, b.event
	o.BackoffMin, o.BackoffMax = time.Millisecond, 50*time.Millisecond
	if change != nil {
		change(&o)
	}
	c, err := client.Dial(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close the client: %v", err)
		}
	})
	return c
}

func TestClientOverARealGateway(t *testing.T) {
	cluster := coretest.Start(t, coretest.Options{Gateways: 2})
	topics, b := names("topic", 100), newInbox()
	receiver := dialClient(t, cluster.URL(0), b, nil)
	publisher := dialClient(t, cluster.URL(1), newInbox(), nil)
	if err := receiver.SubscribeMany(within(t), topics, b.message); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		for _, topic := range topics {
			if err := publisher.Publish(within(t), topic, []byte(numbered(topic, i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, topic := range topics {
		coretest.Eventually(t, "ten messages of "+topic, func() bool { return len(b.of(topic)) >= 10 })
		if got := checkOnce(t, "the client", topic, b.of(topic)); len(got) != 10 {
			t.Errorf("topic %q: %d messages", topic, len(got))
		}
	}
	if err := receiver.Unsubscribe(within(t), topics[1:]...); err != nil {
		t.Fatal(err)
	}
	coretest.Eventually(t, "one topic is left", func() bool { return cluster.Gateway(0).Stats().Topics == 1 })
	refused, ok := errors.AsType[*client.RequestError](receiver.SubscribeMany(within(t), names("more", 200), b.message))
	if !ok || refused.Code != protocol.CodeTooManyTopics {
		t.Errorf("more topics than a connection may have: %v", refused)
	}
}

// TestClientComesBackAfterItsGatewayStopped: the gateway tells its clients to come back, the client
// does, and its topics deliver again; nothing comes twice.
func TestClientComesBackAfterItsGatewayStopped(t *testing.T) {
	cluster := coretest.Start(t, coretest.Options{Gateway: func(_ int, o *gateway.Options) { o.RetryWindow = 50 * time.Millisecond }})
	front := coretest.NewProxy(t)
	front.SetTarget(cluster.Gateway(0).Addr().String())
	topics, b := names("topic", 5), newInbox()
	c := dialClient(t, "ws://"+front.Addr()+"/ws", b, nil)
	if err := c.SubscribeMany(within(t), topics, b.message); err != nil {
		t.Fatal(err)
	}
	l := startLoad(t, cluster, topics, time.Millisecond)
	l.rounds(t, 20)
	front.SetTarget("")
	cluster.RestartGateway(0)
	front.SetTarget(cluster.Gateway(0).Addr().String())
	coretest.Eventually(t, "the client is back", func() bool { _, ok := b.find(client.EventResumed); return ok })
	resumedAt := int(l.next.Load()) + 1 // the round under way may have begun before
	l.rounds(t, 20)
	l.stop()
	for _, topic := range topics {
		coretest.Eventually(t, "the newest of "+topic, func() bool {
			messages := b.of(topic)
			return len(messages) > 0 && number(t, topic, messages[len(messages)-1]) == int(l.next.Load())-1
		})
		got := checkOnce(t, "the client", topic, b.of(topic))
		for n := resumedAt; n < int(l.next.Load()); n++ {
			if _, found := slices.BinarySearch(got, n); !found {
				t.Errorf("topic %q: message %d was published after the client had resumed, and is missing", topic, n)
			}
		}
	}
	lost, _ := b.find(client.EventDisconnected)
	if closed, ok := errors.AsType[*client.CloseError](lost.Err); !ok || closed.Code != protocol.CloseServiceRestart {
		t.Errorf("disconnected by %v, want close code 1012", lost.Err)
	}
	if resumed, _ := b.find(client.EventResumed); !slices.Equal(resumed.Topics, topics) || resumed.Gap <= 0 {
		t.Errorf("resumed %+v", resumed)
	}
}

// TestClientThatIsKickedStaysAway: close code 4001 says that there is no point in coming back.
func TestClientThatIsKickedStaysAway(t *testing.T) {
	cluster := coretest.Start(t, coretest.Options{Gateway: func(_ int, o *gateway.Options) { o.UserHeader = "X-User" }})
	b := newInbox()
	c := dialClient(t, cluster.URL(0), b, func(o *client.Options) { o.Header = http.Header{"X-User": {"mallory"}} })
	coretest.Eventually(t, "the connection", func() bool { return cluster.Gateway(0).Stats().Connections == 1 })
	coretest.Eventually(t, "the client's end", func() bool {
		// A connection is counted before it is known whose it is, so that one order may come too early.
		if _, err := cluster.Service().Offline(within(t), &topicpb.OfflineRequest{
			Kind: topicpb.OfflineKind_OFFLINE_KIND_USER, UserId: "mallory",
		}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-c.Done():
			return true
		default:
			return false
		}
	})
	if closed, ok := errors.AsType[*client.CloseError](c.Err()); !ok || closed.Code != protocol.CloseKicked {
		t.Errorf("ended by %v, want close code 4001", c.Err())
	}
}

// TestClientThatIsTooSlowIsDisconnectedAndComesBack: its handler stands still, its queue blocks, and
// the gateway disconnects it with 4008; a client beside it gets everything.
func TestClientThatIsTooSlowIsDisconnectedAndComesBack(t *testing.T) {
	const messages = 40
	cluster := coretest.Start(t, coretest.Options{Gateway: func(_ int, o *gateway.Options) {
		o.Limits.PendingBytes = 64 << 10
		// The close frame stands behind what the socket has taken: whoever reads on gets to it.
		o.CloseTimeout = coretest.Patience
	}})
	slow, quick := newInbox(), newInbox()
	release := make(chan struct{})
	c := dialClient(t, cluster.URL(0), slow, func(o *client.Options) {
		o.QueueMessages = 1
		o.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if tcp, ok := conn.(*net.TCPConn); ok {
				err = errors.Join(err, tcp.SetReadBuffer(64<<10)) // or the kernel takes megabytes for it
			}
			return conn, err
		}
	})
	if err := c.Subscribe(within(t), "room", func(m client.Message) { <-release; slow.message(m) }); err != nil {
		t.Fatal(err)
	}
	beside := dialClient(t, cluster.URL(0), quick, nil)
	if err := beside.Subscribe(within(t), "room", quick.message); err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		cluster.Publish("room", fmt.Sprintf(`{"n":%d,"pad":%q}`, i, strings.Repeat("x", 256<<10)))
		// One after the other: a second message that waited would be too much for the quick one as well.
		coretest.Eventually(t, "the quick one has each message", func() bool { return len(quick.of("room")) == i+1 })
	}
	coretest.Eventually(t, "the gateway drops messages of the slow one, and counts them", func() bool {
		return cluster.Gateway(0).Stats().Drops[gateway.DropSlowDisconnect] > 0
	})
	close(release)
	coretest.Eventually(t, "the slow one is back", func() bool { _, ok := slow.find(client.EventResumed); return ok })
	lost, _ := slow.find(client.EventDisconnected)
	if closed, ok := errors.AsType[*client.CloseError](lost.Err); !ok || closed.Code != protocol.CloseSlowConsumer {
		t.Errorf("disconnected by %v, want close code 4008", lost.Err)
	}
	if n := cluster.Gateway(0).Stats().Disconnects[gateway.DisconnectSlow]; n != 1 {
		t.Errorf("%d connections were disconnected as slow, want 1", n)
	}
}
