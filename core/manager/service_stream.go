package manager

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"firetower/core/topicpb"
)

// Bounds of what a publisher may ask for its acknowledgements.
const (
	maxAckWithin    = time.Second
	defaultAckEvery = 1024
)

// publishStream is one call of PublishStream.
type publishStream = grpc.BidiStreamingServer[topicpb.PublishRequest, topicpb.PublishResponse]

// PublishStream implements topicpb.TopicServiceServer.
func (s *topicService) PublishStream(stream publishStream) error {
	in, err := stream.Recv()
	if err != nil {
		return endOfStream(err)
	}
	within := time.Duration(in.GetAckWithinMs()) * time.Millisecond
	if within > maxAckWithin {
		return invalid("ack_within_ms", fmt.Errorf("must be 0 to %d, got %d", maxAckWithin.Milliseconds(), in.GetAckWithinMs()))
	}
	if within == 0 {
		return s.publishEach(stream, in)
	}
	every := in.GetAckEvery()
	if every == 0 {
		every = defaultAckEvery
	}
	return s.publishJoined(stream, in, within, every)
}

// endOfStream is what a call returns when it can receive no more.
func endOfStream(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// publishEach answers every message of a stream by itself.
func (s *topicService) publishEach(stream publishStream, in *topicpb.PublishRequest) error {
	for {
		// Each message is a call of its own to the gate: a drain waits for its
		// answer, and not for a stream that says nothing.
		if !s.gate.enter() {
			return errDraining()
		}
		err := stream.Send(s.publishOne(in, ViaStream))
		s.gate.leave(1)
		if err != nil {
			return err
		}
		if in, err = stream.Recv(); err != nil {
			return endOfStream(err)
		}
	}
}

// publishJoined lets one answer be for many messages.
func (s *topicService) publishJoined(stream publishStream, in *topicpb.PublishRequest, within time.Duration, every uint32) (err error) {
	acks := newJoinedAcks(stream, s.gate, within, every)
	s.acks.add(acks)
	defer func() {
		s.acks.remove(acks)
		if last := acks.end(); err == nil {
			err = last
		}
	}()
	for {
		if !s.gate.enter() {
			return errDraining()
		}
		if err := acks.add(s.publishOne(in, ViaStream)); err != nil {
			return err
		}
		if in, err = stream.Recv(); err != nil {
			return endOfStream(err)
		}
	}
}

// joinedAcks are the answers of one stream whose publisher lets them wait. What went
// well is added up until within has passed since the first of it, every is reached,
// the stream ends or the manager drains; what went wrong is told at once, after what
// came before it. A message is inside the gate until it is answered.
type joinedAcks struct {
	stream publishStream
	gate   *gate
	within time.Duration
	every  uint32

	mu    sync.Mutex               // guards the following; held while an answer is sent
	owed  *topicpb.PublishResponse // for its Messages, none when that is 0
	timer *time.Timer              // flushes; runs while something is owed
	err   error                    // of a failed Send
	over  bool                     // the call has returned, or is about to
}

func newJoinedAcks(stream publishStream, g *gate, within time.Duration, every uint32) *joinedAcks {
	a := &joinedAcks{stream: stream, gate: g, within: within, every: every, owed: &topicpb.PublishResponse{}}
	a.timer = time.AfterFunc(within, a.flush)
	a.timer.Stop()
	return a
}

// add takes the answer to one message, which has entered the gate.
func (a *joinedAcks) add(r *topicpb.PublishResponse) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !r.GetOk() {
		a.flushLocked()
		a.sendLocked(r, 1)
		return a.err
	}
	a.owed.Messages++
	a.owed.GatewaysMatched += r.GetGatewaysMatched()
	a.owed.GatewaysQueued += r.GetGatewaysQueued()
	switch {
	case a.owed.GetMessages() >= a.every, a.gate.isClosed():
		a.flushLocked()
	case a.owed.GetMessages() == 1:
		a.timer.Reset(a.within)
	}
	return a.err
}

// flush answers what is owed.
func (a *joinedAcks) flush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flushLocked()
}

func (a *joinedAcks) flushLocked() {
	n := a.owed.GetMessages()
	if n == 0 || a.over {
		return
	}
	a.timer.Stop()
	owed := a.owed
	owed.Ok = true
	a.owed = &topicpb.PublishResponse{}
	a.sendLocked(owed, n)
}

// sendLocked sends one answer, unless an earlier one failed, and lets its messages
// out of the gate.
func (a *joinedAcks) sendLocked(r *topicpb.PublishResponse, messages uint32) {
	if a.err == nil {
		a.err = a.stream.Send(r)
	}
	a.gate.leave(int64(messages))
}

// end answers what is still owed. Nothing is sent after it.
func (a *joinedAcks) end() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flushLocked()
	a.timer.Stop()
	a.over = true
	return a.err
}

// ackSet are the streams that may owe answers.
type ackSet struct {
	mu   sync.Mutex // guards the following
	open map[*joinedAcks]struct{}
}

func (s *ackSet) add(a *joinedAcks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[*joinedAcks]struct{})
	}
	s.open[a] = struct{}{}
}

func (s *ackSet) remove(a *joinedAcks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, a)
}

// list is what is open.
func (s *ackSet) list() []*joinedAcks {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.open))
}
