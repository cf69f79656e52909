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
		Long: `Kick tells every gateway to unsubscribe from a topic, or to disconnect a user. It
says how many gateways were told, not how many clients it was about.

Users are known only to gateways that ask for tokens (auth.secretFile,
auth.keysFile), with gateway.userHeader set, or that an application embeds;
without, nobody is user 42.`,
		Example: `  firetower kick --user 42                    disconnect every connection of user 42
  firetower kick --topic room-1               unsubscribe everybody from room-1
  firetower kick --topic room-1 --user 42     unsubscribe user 42 from room-1`,
		Args: noArgs,
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
			request.Kind, done = topicpb.OfflineKind_OFFLINE_KIND_TOPIC, "unsubscribe everybody from "+topic
		case topic == "":
			request.Kind, done = topicpb.OfflineKind_OFFLINE_KIND_USER, "disconnect user "+user
		default:
			request.Kind, done = topicpb.OfflineKind_OFFLINE_KIND_TOPIC_BY_USER_ID, fmt.Sprintf("unsubscribe user %s from %s", user, topic)
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
			_, err = fmt.Fprintf(g.stdout, "told %s to %s\n", count(int64(answer.GetGateways()), "gateway"), done)
			return err
		})
	}
	return cmd
}
