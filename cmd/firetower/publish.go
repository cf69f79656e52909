package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"firetower/core/protocol"
	"firetower/core/topicpb"
)

// maxTopicBytes bounds a topic that this command sends; a manager may allow less.
const maxTopicBytes = 64 << 10

func newPublishCommand(g *globalState) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "publish TOPIC [DATA|-]",
		Short: "Publish a message to a topic",
		Long: `Publish hands one message to the manager, which passes it to every gateway that
has subscribers of the topic. DATA is sent as it is, byte for byte; "-", or no
DATA, reads it from standard input.

Clients of firetower.v1 receive JSON as JSON, and other data as a JSON string.`,
		Example: `  firetower publish room-1 '{"text":"hello"}'
  date | firetower publish clock`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return errors.New("want a TOPIC")
			case len(args) > 2:
				return fmt.Errorf("want one DATA, got %d: put quotes around data with spaces", len(args)-1)
			}
			return checkTopic(args[0])
		},
	}
	c := newManagerClient(g, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		data, err := messageData(cmd.Context(), g, args[1:])
		if err != nil {
			return err
		}
		return c.call(cmd.Context(), func(ctx context.Context, svc topicpb.TopicServiceClient) error {
			answer, err := svc.Publish(ctx, &topicpb.PublishRequest{Topic: args[0], Data: data})
			if err != nil {
				return err
			}
			if err := c.printPublished(g.stdout, args[0], answer); err != nil {
				return err
			}
			if !answer.GetOk() {
				if answer.GetError() == "" {
					return errMissed
				}
				return fmt.Errorf("%w: %s", errMissed, answer.GetError())
			}
			return nil
		})
	}
	return cmd
}

// checkTopic refuses what no manager takes.
func checkTopic(topic string) error {
	if err := protocol.ValidTopic(topic, maxTopicBytes); err != nil {
		return fmt.Errorf("topic %q: %w", topic, err)
	}
	return nil
}

// messageData is the argument, or standard input.
func messageData(ctx context.Context, g *globalState, args []string) ([]byte, error) {
	if len(args) == 1 && args[0] != "-" {
		return []byte(args[0]), nil
	}
	if len(args) == 0 && g.stdinIsTerminal {
		return nil, usagef(`want DATA, or "-" to type it`)
	}
	type result struct {
		data []byte
		err  error
	}
	// A read of standard input cannot be cancelled; it is left behind by a signal,
	// as the process is about to end.
	done := make(chan result, 1)
	go func() {
		data, err := io.ReadAll(io.LimitReader(g.stdin, maxFileBytes+1))
		done <- result{data, err}
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case r := <-done:
		if r.err == nil && len(r.data) > maxFileBytes {
			r.err = fmt.Errorf("%w (%d MiB)", errFileTooLarge, maxFileBytes>>20)
		}
		if r.err != nil {
			return nil, fmt.Errorf("standard input: %w", r.err)
		}
		return r.data, nil
	}
}

// publishedJSON is what publish prints with --json.
type publishedJSON struct {
	Topic    string `json:"topic"`
	OK       bool   `json:"ok"`
	Gateways uint32 `json:"gateways"`
	Queued   uint32 `json:"queued"`
	Error    string `json:"error,omitempty"`
}

func (c *managerClient) printPublished(w io.Writer, topic string, answer *topicpb.PublishResponse) error {
	matched, queued := answer.GetGatewaysMatched(), answer.GetGatewaysQueued()
	if c.asJSON {
		return writeJSON(w, publishedJSON{topic, answer.GetOk(), matched, queued, answer.GetError()})
	}
	text := fmt.Sprintf("%s: taken by %d of %s with subscribers\n", topic, queued, count(int64(matched), "gateway"))
	if matched == 0 {
		text = fmt.Sprintf("%s: nobody subscribes to it\n", topic)
	}
	_, err := io.WriteString(w, text)
	return err
}

// count writes a number with its noun.
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
