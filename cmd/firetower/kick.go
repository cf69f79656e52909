package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"firetower/core/topicpb"
)

func newKickCommand(g *globalState) *cobra.Command {
	var topic, user string
	cmd := &cobra.Command{
		Use:   "kick [--topic TOPIC] [--user USER]",
		Short: "Remove subscriptions, or disconnect a user, on every gateway",
		Example: `  firetower kick --user 42                    disconnect every connection of user 42
  firetower kick --topic room-1               unsubscribe everybody from room-1
  firetower kick --topic room-1 --user 42     unsubscribe user 42 from room-1`,
		Args: cobra.NoArgs,
	}
	c := newManagerClient(g, cmd)
	cmd.Flags().StringVar(&topic, "topic", "", "the `TOPIC` to unsubscribe from")
	cmd.Flags().StringVar(&user, "user", "", "the `USER` to disconnect, or with --topic to unsubscribe")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		request := &topicpb.OfflineRequest{Topic: topic, UserId: user}
		var done string
		switch {
		case topic == "" && user == "":
			return usagef("want --topic, --user or both")
		case user == "":
			request.Kind, done = topicpb.OfflineKind_OFFLINE_KIND_TOPIC, fmt.Sprintf("everybody is unsubscribed from %s", topic)
		case topic == "":
			request.Kind, done = topicpb.OfflineKind_OFFLINE_KIND_USER, fmt.Sprintf("user %s is disconnected", user)
		default:
			request.Kind, done = topicpb.OfflineKind_OFFLINE_KIND_TOPIC_BY_USER_ID, fmt.Sprintf("user %s is unsubscribed from %s", user, topic)
		}
		if topic != "" {
			if err := checkTopic(topic); err != nil {
				return &usageError{err: err}
			}
		}
		return c.call(cmd.Context(), func(ctx context.Context, svc topicpb.TopicServiceClient) error {
			answer, err := svc.Offline(ctx, request)
			if err != nil {
				return err
			}
			if c.asJSON {
				return writeJSON(g.stdout, map[string]uint32{"gateways": answer.GetGateways()})
			}
			_, err = fmt.Fprintf(g.stdout, "told %s: %s\n", count(int64(answer.GetGateways()), "gateway"), done)
			return err
		})
	}
	return cmd
}
