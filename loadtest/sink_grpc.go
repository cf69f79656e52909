package loadtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"firetower/core/topicpb"
	"firetower/scenarios"
	"firetower/simulator/clock"
)

// grpcSink publishes over TopicService.PublishStream, which keeps the order and
// answers in it. When the stream breaks, it opens another in the background;
// until then messages are refused at once, as the plan must not wait.
type grpcSink struct {
	clock  *clock.Clock
	conn   *grpc.ClientConn
	client topicpb.TopicServiceClient
	load   scenarios.Load
	errs   tally

	ctx    context.Context // of all streams
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // guards the following
	current *publishStream
	closing bool
	lives   []streamLife
	past    []sinkAccount // of streams that have ended
}

// publishStream is one stream.
type publishStream struct {
	client topicpb.TopicService_PublishStreamClient
	cancel context.CancelFunc
	life   int           // index in lives
	ended  chan struct{} // closed when no answer will come any more
	room   chan struct{} // has one entry when an answer came since the sender last looked
	// ackWithin is what the next message asks for: the first of the stream alone does.
	// It is the sender's.
	ackWithin, ackEvery uint32

	mu      sync.Mutex   // guards the following
	pending []pendingAck // what waits for its answer, oldest first
	over    bool
}

// answerWindow is how many bytes of answers may be on their way.
const answerWindow = 1 << 20

// Reopening a stream: fast, since a run is there to see how soon it goes on.
const (
	reopenEvery  = 50 * time.Millisecond
	firstOpening = 10 * time.Second
)

func dialGRPC(ctx context.Context, c *clock.Clock, addr string, load scenarios.Load) (*grpcSink, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr,
		// Windows that gRPC adapts itself are measured by a ping for each answer that
		// comes alone, which the server has to read and to answer.
		grpc.WithStaticStreamWindowSize(answerWindow),
		grpc.WithStaticConnWindowSize(answerWindow),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: reopenEvery, Multiplier: 1.2, MaxDelay: 4 * reopenEvery},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	// The streams end with the sink and not with the call that made it.
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &grpcSink{clock: c, conn: conn, client: topicpb.NewTopicServiceClient(conn), load: load, ctx: run, cancel: cancel}
	deadline := time.Now().Add(firstOpening)
	for {
		err := s.open()
		if err == nil {
			break
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("publisher: open stream to %s: %w", addr, err), s.close())
		}
		sleepCtx(ctx, reopenEvery)
	}
	s.wg.Go(s.keepOpen)
	return s, nil
}

// open begins a stream and its reader.
func (s *grpcSink) open() error {
	ctx, cancel := context.WithCancel(s.ctx)
	client, err := s.client.PublishStream(ctx)
	if err != nil {
		cancel()
		return err
	}
	st := &publishStream{
		client: client, cancel: cancel, ended: make(chan struct{}), room: make(chan struct{}, 1),
		ackWithin: uint32(s.load.AckWithin.Milliseconds()),
		ackEvery:  uint32(max(s.load.Window/2, 1)), // or a full window would wait for the time to pass
	}
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		cancel()
		return errNotConnected
	}
	st.life = len(s.lives)
	s.lives = append(s.lives, streamLife{opened: s.clock.Now()})
	s.current = st
	s.mu.Unlock()
	s.wg.Go(func() { s.receive(st) })
	return nil
}

// receive takes a stream's answers, which come in the order of the messages. One may
// be for several messages: each of them was acknowledged when it came.
func (s *grpcSink) receive(st *publishStream) {
	a := newSinkAccount()
	first := true
	for {
		resp, err := st.client.Recv()
		if err != nil {
			s.end(st, a, err)
			return
		}
		now := s.clock.Now()
		for range max(resp.GetMessages(), 1) {
			p, ok := st.answered()
			if !ok {
				s.errs.add("answer without a message")
				break
			}
			if first {
				first = false
				s.mu.Lock()
				s.lives[st.life].firstAck = now
				s.mu.Unlock()
			}
			a.note(p, now, !resp.GetOk(), false)
		}
		if !resp.GetOk() {
			s.errs.add(resp.GetError())
		}
	}
}

// end keeps the account of a stream that has broken or was closed.
func (s *grpcSink) end(st *publishStream, a sinkAccount, err error) {
	if !errors.Is(err, io.EOF) && s.ctx.Err() == nil {
		st, _ := status.FromError(err)
		s.errs.add(st.Code().String() + ": " + st.Message())
	}
	for _, p := range st.finish() {
		a.note(p, 0, false, true)
	}
	st.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == st {
		s.current = nil
	}
	if !s.closing {
		s.lives[st.life].broken = s.clock.Now()
	}
	s.past = append(s.past, a)
}

// admit makes room for a message in the window; full says that there was none.
func (st *publishStream) admit(p pendingAck, window int) (full, over bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.over || len(st.pending) >= window {
		return !st.over, st.over
	}
	st.pending = append(st.pending, p)
	return false, false
}

// answered takes the oldest message that waits.
func (st *publishStream) answered() (pendingAck, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.pending) == 0 {
		return pendingAck{}, false
	}
	p := st.pending[0]
	st.pending = st.pending[1:]
	select {
	case st.room <- struct{}{}:
	default:
	}
	return p, true
}

// finish ends the stream and returns what was never answered.
func (st *publishStream) finish() []pendingAck {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.over = true
	close(st.ended)
	return st.pending
}

// keepOpen opens another stream when the current one is gone.
func (s *grpcSink) keepOpen() {
	ticker := time.NewTicker(reopenEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		gone := s.current == nil && !s.closing
		s.mu.Unlock()
		if gone {
			if err := s.open(); err != nil && s.ctx.Err() == nil {
				st, _ := status.FromError(err)
				s.errs.add(st.Code().String() + ": opening a stream")
			}
		}
	}
}

func (s *grpcSink) send(ctx context.Context, topic string, data []byte, p pendingAck, deadline int64) error {
	st, err := s.reserve(ctx, p, deadline)
	if err != nil {
		return err
	}
	st.write(topic, data)
	return nil
}

// reserve takes a place in the window of the stream that stands; what is to be
// written follows.
func (s *grpcSink) reserve(ctx context.Context, p pendingAck, deadline int64) (*publishStream, error) {
	s.mu.Lock()
	st := s.current
	s.mu.Unlock()
	if st == nil {
		return nil, errNotConnected
	}
	for {
		full, over := st.admit(p, s.load.Window)
		if over {
			return nil, errNotConnected
		}
		if !full {
			return st, nil
		}
		timer := time.NewTimer(time.Duration(deadline - s.clock.Now()))
		select {
		case <-st.room:
		case <-st.ended:
		case <-timer.C:
			return nil, errWindowFull
		case <-ctx.Done():
			timer.Stop()
			return nil, errWindowFull
		}
		timer.Stop()
	}
}

// withdraw gives a reserved place back, which is the newest: there is one sender.
func (st *publishStream) withdraw() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if n := len(st.pending); n > 0 {
		st.pending = st.pending[:n-1]
	}
}

// write hands a message with a place over. gRPC keeps no reference to the data: it
// is encoded when Send returns. An error says that the stream has broken. Whether
// the message went out nobody knows; it counts as sent, and the stream's end as
// never acknowledged.
func (st *publishStream) write(topic string, data []byte) {
	req := &topicpb.PublishRequest{Topic: topic, Data: data, Source: "system"}
	if st.ackWithin > 0 {
		req.AckWithinMs, req.AckEvery = st.ackWithin, st.ackEvery
		st.ackWithin = 0
	}
	_ = st.client.Send(req)
}

func (s *grpcSink) account() sinkAccount {
	sum := newSinkAccount()
	add(sum.errors, s.errs.all())
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.past {
		sum.add(a)
	}
	sum.streams = append(sum.streams, s.lives...)
	return sum
}

// lastAnswers is how long the answers to the last messages may take.
const lastAnswers = 2 * time.Second

func (s *grpcSink) close() error {
	s.mu.Lock()
	s.closing = true
	st := s.current
	s.mu.Unlock()
	if st != nil && st.client.CloseSend() == nil {
		timer := time.NewTimer(lastAnswers)
		select {
		case <-st.ended:
		case <-timer.C:
		}
		timer.Stop()
	}
	s.cancel()
	s.wg.Wait()
	return s.conn.Close()
}
