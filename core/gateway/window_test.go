package gateway_test

import (
	"fmt"
	"testing"
	"time"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

// never is a flush interval that no test waits for.
const never = 10 * time.Second

// A window that has as many messages as one write may have is written at once, in one
// write for each subscriber and in order.
func TestFullWindowIsOneWrite(t *testing.T) {
	const messages, subscribers = 5, 3
	g := run(t, func(o *gateway.Options) { o.FlushInterval, o.JoinMessages = never, messages })
	var clients []*wsClient
	for range subscribers {
		c := dial(t, g, protocol.SubprotocolV1)
		c.subscribe("room")
		clients = append(clients, c)
	}
	for i := range 2 * messages {
		if err := g.Publish("room", fmt.Appendf(nil, "%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range clients {
		for i := range 2 * messages {
			if r := c.nextReply(); string(r.Data) != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, r.Data)
			}
		}
	}
	eventually(t, "counted", func() bool { return g.Stats().Deliveries == 2*messages*subscribers })
	if s := g.Stats(); s.Writes != 2*subscribers || s.CentralQueue != 0 {
		t.Errorf("%d writes for two windows to %d subscribers, %d left in the account", s.Writes, subscribers, s.CentralQueue)
	}
}

// A window that stays small is written when its time is over.
func TestWindowEnds(t *testing.T) {
	g := run(t, func(o *gateway.Options) { o.FlushInterval = 5 * time.Millisecond })
	c := dial(t, g, protocol.SubprotocolV1)
	c.subscribe("room")
	for i := range 3 {
		if err := g.Publish("room", fmt.Appendf(nil, "%d", i)); err != nil {
			t.Fatal(err)
		}
		if r := c.nextReply(); string(r.Data) != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, r.Data)
		}
	}
}

// Only topics of FlushTopics have windows, and what a window holds when the gateway stops
// goes out before the close frame.
func TestWindowsAreForTheirTopicsAndDrained(t *testing.T) {
	g, stop := runStoppable(t, func(o *gateway.Options) {
		o.FlushInterval, o.FlushTopics = never, []string{"dashboard/", "tick"}
	})
	c := dial(t, g, protocol.SubprotocolV1)
	c.subscribe("dashboard/1,chat,ticker")
	for _, topic := range []string{"dashboard/1", "ticker", "dashboard/1", "chat"} {
		if err := g.Publish(topic, []byte(`"`+topic+`"`)); err != nil {
			t.Fatal(err)
		}
	}
	if r := c.nextReply(); r.Topic != "chat" {
		t.Fatalf("%q did not wait, and came before the one that has no window", r.Topic)
	}
	if n := g.Stats().CentralQueue; n != 3 {
		t.Errorf("%d messages in windows are accounted for, want 3", n)
	}
	stop()
	got := map[string]int{}
	for range 3 {
		got[c.nextReply().Topic]++
	}
	if got["dashboard/1"] != 2 || got["ticker"] != 1 {
		t.Errorf("got %v", got)
	}
}
