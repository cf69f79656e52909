package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"firetower/core/topicpb"
)

func newTopicsCommand(g *globalState) *cobra.Command {
	var limit uint32
	var prefix string
	cmd := &cobra.Command{
		Use:   "topics",
		Short: "List topics by subscribers",
		Args:  noArgs,
	}
	c := newManagerClient(g, cmd)
	cmd.Flags().Uint32Var(&limit, "limit", 20, "how many to list, those with the most subscribers first")
	cmd.Flags().StringVar(&prefix, "prefix", "", "list only topics that begin with `TEXT`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit == 0 {
			return usagef("--limit 0: must be at least 1")
		}
		return c.call(cmd.Context(), func(ctx context.Context, svc topicpb.TopicServiceClient) error {
			answer, err := svc.ListTopics(ctx, &topicpb.ListTopicsRequest{Limit: limit, Prefix: prefix})
			if err != nil {
				return err
			}
			if c.asJSON {
				return writeJSON(g.stdout, topicsOf(answer))
			}
			return printTopics(g.stdout, answer)
		})
	}
	return cmd
}

// topicsJSON is what topics prints with --json.
type topicsJSON struct {
	// Total counts the topics that match, listed or not.
	Total  uint64      `json:"total"`
	Topics []topicJSON `json:"topics"`
}

type topicJSON struct {
	Topic       string `json:"topic"`
	Subscribers int64  `json:"subscribers"`
	Gateways    uint32 `json:"gateways"`
}

func topicsOf(answer *topicpb.ListTopicsResponse) topicsJSON {
	out := topicsJSON{Total: answer.GetTotal(), Topics: []topicJSON{}}
	for _, t := range answer.GetTopics() {
		out.Topics = append(out.Topics, topicJSON{t.GetTopic(), t.GetSubscribers(), t.GetGateways()})
	}
	return out
}

func printTopics(w io.Writer, answer *topicpb.ListTopicsResponse) error {
	rows := [][]any{}
	for _, t := range answer.GetTopics() {
		rows = append(rows, []any{t.GetTopic(), t.GetSubscribers(), t.GetGateways()})
	}
	if err := printTable(w, "TOPIC\tSUBSCRIBERS\tGATEWAYS", rows); err != nil {
		return err
	}
	if rest := answer.GetTotal() - min(answer.GetTotal(), uint64(len(rows))); rest > 0 {
		_, err := fmt.Fprintf(w, "and %d more: see --limit and --prefix\n", rest)
		return err
	}
	return nil
}

// printTable aligns columns; head and rows are tab-separated.
func printTable(w io.Writer, head string, rows [][]any) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	if _, err := fmt.Fprintln(t, head); err != nil {
		return err
	}
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				if _, err := io.WriteString(t, "\t"); err != nil {
					return err
				}
			}
			if _, err := fmt.Fprint(t, cell); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(t, "\n"); err != nil {
			return err
		}
	}
	return t.Flush()
}
