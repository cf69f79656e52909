package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"firetower/core/topicpb"
)

func TestExplainCall(t *testing.T) {
	t.Parallel()
	own := errors.New("no status")
	for _, tt := range []struct {
		name        string
		err         error
		interrupted bool
		code        int
		text        string
	}{
		{"none", nil, false, exitOK, ""},
		{"an error of our own", own, false, exitError, "no status\n"},
		{"unavailable", status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial tcp h:1: no route"`), false, exitError, "manager at h:1: dial tcp h:1: no route\nIs a manager running there?"},
		{"draining", status.Error(codes.Unavailable, "the manager is stopping"), false, exitError, "manager at h:1: the manager is stopping\nIs a manager"},
		{"token", status.Error(codes.Unauthenticated, "want one"), false, exitError, "manager at h:1: want one\nGive the manager's token"},
		{"wrong token", status.Error(codes.Unauthenticated, "not mine"), false, exitError, "manager at h:1: not mine\nThe token that was sent, "},
		{"late", status.Error(codes.DeadlineExceeded, "context deadline exceeded"), false, exitError, "manager at h:1: no answer in time\nNo answer within 3s. Is h:1 the gRPC address"},
		{"too large", status.Error(codes.ResourceExhausted, "larger than max"), false, exitError, "manager at h:1: larger than max\nThe manager's limits.maxPacketBytes"},
		{"refused argument", status.Error(codes.InvalidArgument, "topic"), false, exitUsage, "manager at h:1: topic\n"},
		{"older manager", status.Error(codes.Unimplemented, "unknown method"), false, exitError, "manager at h:1: unknown method\nThe manager there is of another version"},
		{"anything else", status.Error(codes.Internal, "oops"), false, exitError, "manager at h:1: oops\n"},
		{"interrupted", status.Error(codes.Canceled, "context canceled"), true, exitInterrupted, "manager at h:1: context canceled\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newProcess()
			err := explainCall(tt.err, "h:1", 3*time.Second, tt.name == "wrong token")
			code := report(p.state, newRootCommand(p.state), err, tt.interrupted)
			if text, _ := strings.CutPrefix(p.stderr.String(), "firetower: "); code != tt.code || !strings.HasPrefix(text, tt.text) {
				t.Errorf("exit code %d: %s\nwant %d: %s", code, text, tt.code, tt.text)
			}
			if s, _ := status.FromError(tt.err); tt.err != nil && s.Code() != codes.Unknown && !errors.Is(err, context.Canceled) && status.Code(err) != s.Code() {
				t.Errorf("the status is lost: %v", err)
			}
		})
	}
}

func TestTopicsThatAreNotListedAreCounted(t *testing.T) {
	t.Parallel()
	for total, want := range map[uint64]string{
		1: "TOPIC  SUBSCRIBERS  GATEWAYS\na      3            2\n",
		0: "TOPIC  SUBSCRIBERS  GATEWAYS\na      3            2\n", // one that came meanwhile
		9: "TOPIC  SUBSCRIBERS  GATEWAYS\na      3            2\nand 8 more: see --limit and --prefix\n",
	} {
		var b bytes.Buffer
		answer := &topicpb.ListTopicsResponse{Total: total, Topics: []*topicpb.TopicInfo{{Topic: "a", Subscribers: 3, Gateways: 2}}}
		if err := printTopics(&b, answer); err != nil || b.String() != want {
			t.Errorf("of %d: %q %v, want %q", total, &b, err, want)
		}
	}
}

// missingManager is a manager whose gateways do not take everything.
type missingManager struct {
	topicpb.UnimplementedTopicServiceServer
}

func (missingManager) Publish(_ context.Context, in *topicpb.PublishRequest) (*topicpb.PublishResponse, error) {
	answer := &topicpb.PublishResponse{GatewaysMatched: 3, GatewaysQueued: 2}
	if in.GetTopic() == "reason" {
		answer.Error = "gateway x: queue_full"
	}
	return answer, nil
}

// A message that a gateway missed is an error, whatever the others did (PEERS U4-22).
func TestU4_22_PublishThatMissedAGatewayIsAnError(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	topicpb.RegisterTopicServiceServer(server, missingManager{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	for _, tt := range []struct{ topic, stderr string }{
		{"plain", "firetower publish: not every gateway with subscribers took the message\n"},
		{"reason", "firetower publish: not every gateway with subscribers took the message: gateway x: queue_full\n"},
	} {
		code, stdout, stderr := cli(t, "publish", tt.topic, "x", "--manager-grpc", listener.Addr().String())
		if code != exitError || stdout != tt.topic+": taken by 2 of 3 gateways with subscribers\n" || stderr != tt.stderr {
			t.Errorf("%s: exit code %d: %q %q", tt.topic, code, stdout, stderr)
		}
	}
}
