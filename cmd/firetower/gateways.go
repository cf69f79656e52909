package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"firetower/core/topicpb"
)

func newGatewaysCommand(g *globalState) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gateways",
		Short: "List the gateways that the manager knows",
		Args:  noArgs,
	}
	c := newManagerClient(g, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.call(cmd.Context(), func(ctx context.Context, svc topicpb.TopicServiceClient) error {
			answer, err := svc.ListGateways(ctx, &topicpb.ListGatewaysRequest{})
			if err != nil {
				return err
			}
			if c.asJSON {
				return writeJSON(g.stdout, gatewaysOf(answer))
			}
			return printGateways(g.stdout, answer)
		})
	}
	return cmd
}

// gatewayJSON is one gateway as gateways prints it with --json.
type gatewayJSON struct {
	ID              string `json:"id"`
	State           string `json:"state"`
	RemoteAddr      string `json:"remote_addr"`
	Epoch           int64  `json:"epoch"`
	Topics          uint64 `json:"topics"`
	Subscribers     int64  `json:"subscribers"`
	SentMessages    uint64 `json:"sent_messages"`
	QueuedMessages  uint64 `json:"queued_messages"`
	QueuedBytes     uint64 `json:"queued_bytes"`
	DroppedMessages uint64 `json:"dropped_messages"`
}

func gatewaysOf(answer *topicpb.ListGatewaysResponse) []gatewayJSON {
	out := []gatewayJSON{}
	for _, v := range answer.GetGateways() {
		out = append(out, gatewayJSON{
			ID: v.GetId(), State: v.GetState(), RemoteAddr: v.GetRemoteAddr(), Epoch: v.GetEpoch(),
			Topics: v.GetTopics(), Subscribers: v.GetSubscribers(), SentMessages: v.GetSentMessages(),
			QueuedMessages: v.GetQueuedMessages(), QueuedBytes: v.GetQueuedBytes(), DroppedMessages: v.GetDroppedMessages(),
		})
	}
	return out
}

func printGateways(w io.Writer, answer *topicpb.ListGatewaysResponse) error {
	rows := [][]any{}
	for _, v := range answer.GetGateways() {
		rows = append(rows, []any{
			v.GetId(), v.GetState(), v.GetRemoteAddr(), v.GetTopics(), v.GetSubscribers(),
			v.GetSentMessages(), v.GetQueuedMessages(), v.GetDroppedMessages(),
		})
	}
	return printTable(w, "GATEWAY\tSTATE\tFROM\tTOPICS\tSUBSCRIBERS\tSENT\tQUEUED\tDROPPED", rows)
}
