package client_test

import (
	"context"
	"fmt"
	"log/slog"

	"firetower/core/client"
)

// A client that says what is published to a topic, and what happens to its connection, until it is
// told to stop.
func ExampleDial() {
	ctx := context.Background()
	options := client.DefaultOptions()
	options.URL = "ws://127.0.0.1:9999/ws"
	options.OnEvent = func(e client.Event) { slog.Info("connection", "event", e) }

	c, err := client.Dial(ctx, options)
	if err != nil {
		slog.Error("no gateway", "err", err)
		return
	}
	defer c.Close()

	err = c.Subscribe(ctx, "room-1", func(m client.Message) {
		fmt.Printf("%s: %s\n", m.Topic, m.Data)
	})
	if err != nil {
		slog.Error("not subscribed", "err", err)
		return
	}
	if err := c.Publish(ctx, "room-1", []byte(`{"text":"hello"}`)); err != nil {
		slog.Error("not published", "err", err)
	}
	<-c.Done()
}
