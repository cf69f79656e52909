package loadtest_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"

	"firetower/core/topicpb"
	"firetower/loadtest"
	"firetower/scenarios"
)

// ackServer answers as its script says: each entry is for how many messages, a
// negative one is a refusal of one.
type ackServer struct {
	topicpb.UnimplementedTopicServiceServer

	script []int
	asked  chan *topicpb.PublishRequest // every message
}

func (s *ackServer) PublishStream(stream topicpb.TopicService_PublishStreamServer) error {
	for _, n := range s.script {
		for range max(n, 1) {
			in, err := stream.Recv()
			if err != nil {
				return err
			}
			s.asked <- in
		}
		answer := &topicpb.PublishResponse{Ok: n >= 0, Messages: uint32(max(n, 0))}
		if n < 0 {
			answer.Error = "refused"
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// One answer for several messages acknowledges each of them; only the first message of
// a stream asks for that, and one that asks for nothing is as it always was.
func TestGRPCSinkTakesJoinedAnswers(t *testing.T) {
	for _, tc := range []struct {
		name          string
		within        scenarios.Duration
		script        []int
		acked, missed int64
		ackMs, every  uint32
	}{
		{"each", scenarios.Duration{}, []int{0, 0, -1, 0}, 4, 1, 0, 0},
		{"joined", scenarios.Seconds(0.02), []int{3, -1, 2}, 6, 1, 20, 50},
	} {
		t.Run(tc.name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s := &ackServer{script: tc.script, asked: make(chan *topicpb.PublishRequest, 100)}
			server := grpc.NewServer(grpc.WaitForHandlers(true))
			topicpb.RegisterTopicServiceServer(server, s)
			go server.Serve(listener)
			t.Cleanup(server.Stop)

			load := scenarios.Default().Load
			load.Window, load.AckWithin = 100, tc.within
			sink, err := loadtest.DialFiretower(t.Context(), listener.Addr().String(), load)
			if err != nil {
				t.Fatal(err)
			}
			for range tc.acked {
				if err := sink.Send(t.Context(), "room", []byte("x"), time.Minute); err != nil {
					t.Fatal(err)
				}
			}
			acked, missed, unacknowledged, errs, err := sink.Close()
			if err != nil || acked != tc.acked || missed != tc.missed || unacknowledged != 0 {
				t.Errorf("%d acknowledged, %d missed, %d not, errors %v, close: %v", acked, missed, unacknowledged, errs, err)
			}
			for i := range tc.acked {
				in := <-s.asked
				wantMs, wantEvery := tc.ackMs, tc.every
				if i > 0 {
					wantMs, wantEvery = 0, 0
				}
				if in.GetAckWithinMs() != wantMs || in.GetAckEvery() != wantEvery {
					t.Errorf("message %d asks for %d ms and %d messages, want %d and %d", i, in.GetAckWithinMs(), in.GetAckEvery(), wantMs, wantEvery)
				}
			}
		})
	}
}
