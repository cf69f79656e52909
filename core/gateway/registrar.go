package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"firetower/core/topicpb"
)

// ErrNotRegistered: the manager could not be told of a topic in time.
var ErrNotRegistered = errors.New("gateway: manager does not know the topic yet")

// registrar keeps the manager's picture of this gateway's topics true. Whoever
// changes a topic marks it; one goroutine sends what is marked as absolute
// counts, in one call for all that has gathered meanwhile, so that ten thousand
// connections that join at once cost a handful of calls and no order of calls
// can leave a wrong count behind. A topic's first and last subscriber are sent
// at once, counts in between within countInterval.
type registrar struct {
	gateway *Gateway
	index   *topicIndex
	client  topicpb.TopicServiceClient // nil when the gateway runs alone
	urgent  chan struct{}
	lazy    chan struct{}

	mu sync.Mutex // guards the following
	// epoch is that of the session whose snapshot the manager has; 0 without one.
	epoch   int64
	session chan struct{} // closed when epoch changes
	// recording: changes are to be marked, because a snapshot was taken that they
	// are not in. Without one they need not be: the next snapshot holds them.
	recording bool
	marked    []*topic
	waiting   map[*topic]struct{} // topics with waiters

	// The following are run's own.

	// seq counts the calls, so that one which was given up and still comes late
	// cannot undo a later one.
	seq uint64
	// limit is for how many topics the next call is at most: half as many as the one that
	// the manager refused, to find the topic that it is for; twice as many after a success.
	limit int
}

// countInterval is how old a subscriber count at the manager may be, and
// syncBatch bounds the topics of one call, syncTimeout its time.
const (
	countInterval = 500 * time.Millisecond
	syncBatch     = 8192
	syncTimeout   = 5 * time.Second
)

func newRegistrar(g *Gateway, x *topicIndex) *registrar {
	return &registrar{
		gateway: g, index: x, limit: syncBatch,
		urgent: make(chan struct{}, 1), lazy: make(chan struct{}, 1),
		session: make(chan struct{}), waiting: make(map[*topic]struct{}),
	}
}

// changed notes that a topic's count is another. edge tells that it came from or
// went to zero.
func (r *registrar) changed(t *topic, edge bool) {
	if r.client == nil {
		t.shard.mu.Lock()
		r.index.dropIfIdleLocked(t)
		t.shard.mu.Unlock()
		return
	}
	t.shard.mu.Lock()
	if t.gone { // its last subscriber left and it was forgotten meanwhile
		t.shard.mu.Unlock()
		return
	}
	r.markLocked(t)
	r.index.dropIfIdleLocked(t)
	t.shard.mu.Unlock()
	if edge {
		wake(r.urgent)
	} else {
		wake(r.lazy)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// markLocked puts a topic on the list of what to send; t.shard.mu is held.
func (r *registrar) markLocked(t *topic) {
	if t.dirty || t.gone {
		return
	}
	r.mu.Lock()
	if r.recording {
		t.dirty = true
		r.marked = append(r.marked, t)
	}
	r.mu.Unlock()
}

// waitKnown waits until the manager knows a topic in the present session.
func (r *registrar) waitKnown(ctx context.Context, t *topic) error {
	if r.client == nil {
		return nil
	}
	for {
		t.shard.mu.Lock()
		r.mu.Lock()
		if r.epoch != 0 && t.syncedEpoch == r.epoch && t.told > 0 {
			r.mu.Unlock()
			t.shard.mu.Unlock()
			return nil
		}
		known := make(chan struct{})
		t.waiters = append(t.waiters, known)
		r.waiting[t] = struct{}{}
		r.mu.Unlock()
		t.shard.mu.Unlock()
		select {
		case <-known:
		case <-ctx.Done():
			r.giveUp(t, known)
			return ErrNotRegistered
		}
	}
}

func (r *registrar) giveUp(t *topic, known chan struct{}) {
	t.shard.mu.Lock()
	defer t.shard.mu.Unlock()
	for i, w := range t.waiters {
		if w == known {
			t.waiters = append(t.waiters[:i], t.waiters[i+1:]...)
			break
		}
	}
	if len(t.waiters) == 0 {
		r.mu.Lock()
		delete(r.waiting, t)
		r.mu.Unlock()
		r.index.dropIfIdleLocked(t)
	}
}

// snapshot returns every topic that has subscribers, for the hello of a new session.
func (r *registrar) snapshot(epoch int64) []*topicpb.TopicCount {
	r.mu.Lock()
	r.recording = true
	r.mu.Unlock()
	var topics []*topicpb.TopicCount
	r.index.each(func(t *topic) {
		if t.count > 0 {
			t.syncedEpoch, t.told = epoch, t.count
			topics = append(topics, &topicpb.TopicCount{Topic: t.name, Count: t.count})
		}
	})
	return topics
}

// begin is called when the manager has put a session's snapshot in place, with
// the session's epoch, and with 0 when the session is over.
func (r *registrar) begin(epoch int64) {
	var forgotten []*topic
	r.mu.Lock()
	r.epoch = epoch
	if epoch == 0 {
		r.recording, forgotten, r.marked = false, r.marked, nil
	}
	close(r.session)
	r.session = make(chan struct{})
	waiting := make([]*topic, 0, len(r.waiting))
	for t := range r.waiting {
		waiting = append(waiting, t)
	}
	r.mu.Unlock()
	for _, t := range forgotten {
		t.shard.mu.Lock()
		t.dirty = false
		r.index.dropIfIdleLocked(t)
		t.shard.mu.Unlock()
	}
	if epoch == 0 {
		return
	}
	for _, t := range waiting {
		t.shard.mu.Lock()
		if t.syncedEpoch == epoch {
			r.releaseLocked(t)
		}
		t.shard.mu.Unlock()
	}
	wake(r.urgent)
}

// releaseLocked lets those go on who wait for a topic; t.shard.mu is held.
func (r *registrar) releaseLocked(t *topic) {
	if len(t.waiters) == 0 {
		return
	}
	for _, w := range t.waiters {
		close(w)
	}
	t.waiters = nil
	r.mu.Lock()
	delete(r.waiting, t)
	r.mu.Unlock()
}

// run sends what is marked until ctx ends.
func (r *registrar) run(ctx context.Context) {
	backoff := newBackoff(r.gateway.opts.RedialMin, r.gateway.opts.RedialMax)
	timer := time.NewTimer(countInterval)
	defer timer.Stop()
	timerSet := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.urgent:
		case <-timer.C:
			timerSet = false
		case <-r.lazy:
			if !timerSet {
				timer.Reset(countInterval)
				timerSet = true
			}
			continue
		}
		for {
			more, err := r.sync(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				r.gateway.log.Warn("manager was not told of topics", "err", err)
				if !sleep(ctx, backoff.next()) {
					return
				}
				continue
			}
			backoff.reset()
			if !more {
				break
			}
		}
	}
}

// sync sends one batch of marked topics and reports whether more are marked.
// Without a session it leaves them marked: the next session begins with a
// snapshot, and what changes after that is sent then.
func (r *registrar) sync(ctx context.Context) (more bool, err error) {
	r.mu.Lock()
	epoch := r.epoch
	if epoch == 0 || len(r.marked) == 0 {
		r.mu.Unlock()
		return false, nil
	}
	n := min(len(r.marked), r.limit)
	batch := append([]*topic(nil), r.marked[:n]...)
	r.marked = append(r.marked[:0:0], r.marked[n:]...)
	more = len(r.marked) > 0
	r.mu.Unlock()

	r.seq++
	req := &topicpb.SyncTopicsRequest{ClusterId: r.gateway.opts.ClusterID, Epoch: epoch, Seq: r.seq}
	sent := make([]*topic, 0, len(batch)) // whose counts stand in req, in its order
	for _, t := range batch {
		t.shard.mu.Lock()
		t.dirty = false
		if t.syncedEpoch != epoch || t.told != t.count {
			sent = append(sent, t)
			req.Topics = append(req.Topics, &topicpb.TopicCount{Topic: t.name, Count: t.count})
			if t.count == 0 {
				// From here on the manager may have forgotten the topic: who subscribes
				// now has to wait until it is told again.
				t.told = 0
			}
		} else {
			r.releaseLocked(t)
			r.index.dropIfIdleLocked(t)
		}
		t.shard.mu.Unlock()
	}
	if len(req.Topics) == 0 {
		return more, nil
	}
	callCtx, cancel := context.WithTimeout(ctx, syncTimeout)
	_, err = r.client.SyncTopics(callCtx, req)
	cancel()
	r.gateway.metrics.syncCalls.Add(1)
	code := status.Code(err)
	refused := code == codes.InvalidArgument || code == codes.ResourceExhausted
	switch {
	case refused && len(req.Topics) > 1:
		r.limit = len(req.Topics) / 2
	case err == nil:
		r.limit = min(2*r.limit, syncBatch)
	}
	for i, t := range sent {
		t.shard.mu.Lock()
		switch {
		case t.gone || r.epochNow() != epoch:
			// Another session's snapshot holds the topic, or another object does.
		case err == nil:
			t.syncedEpoch, t.told = epoch, req.Topics[i].Count
			if t.told > 0 {
				r.releaseLocked(t)
			}
			r.index.dropIfIdleLocked(t)
		default:
			t.syncedEpoch = 0
			if !refused || len(req.Topics) > 1 {
				r.markLocked(t)
			}
			r.index.dropIfIdleLocked(t)
		}
		t.shard.mu.Unlock()
	}
	switch {
	case refused && len(req.Topics) > 1:
		return true, nil
	case refused: // its subscribers wait in vain and are told so in time
		r.gateway.log.Warn("manager refuses a topic", "topic", req.Topics[0].Topic, "err", err)
		return more, nil
	case code == codes.FailedPrecondition:
		// The manager knows no such session: the link is about to break, or has
		// already, and the next one brings a snapshot.
		return true, r.awaitSession(ctx, epoch)
	}
	return more, err
}

func (r *registrar) epochNow() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch
}

// awaitSession waits until the session is another, for a while.
func (r *registrar) awaitSession(ctx context.Context, epoch int64) error {
	r.mu.Lock()
	changed, same := r.session, r.epoch == epoch
	r.mu.Unlock()
	if !same {
		return nil
	}
	timer := time.NewTimer(r.gateway.opts.LinkHeartbeat)
	defer timer.Stop()
	select {
	case <-changed:
	case <-ctx.Done():
	case <-timer.C:
	}
	return nil
}
