package gateway

import (
	"context"
	"errors"
	"slices"
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
//
// What holds while nobody has the locks:
//
//   - A session's life is snapshot(E), begin(E), begin(0), all by the link's one goroutine; so
//     whoever has a shard's lock and finds that epoch is E comes before the next session's
//     snapshot reads that shard.
//   - A dirty topic is in exactly one place: in marked, in the batch that tell works on, or in
//     what begin(0) has taken out of marked. Nobody marks it a second time, so whoever takes
//     it out has to see what its count has become.
//   - While recording, told is what the manager has of a topic, 0 being nothing, as soon as the
//     snapshot is in place. A topic that has another count is dirty, or somebody who changed the
//     count is about to call changed, or the manager refused it by itself. So is dirty one of
//     a call of which nobody knows what it did, until another has told its count.
//   - Otherwise it does not matter what the manager has, since the next snapshot replaces it
//     all, and nothing is marked. So a call may be given up when its session is over.
//   - A topic leaves the index for good (gone) without subscribers and waiters, when it is not
//     dirty and the manager does not count it: one of the same name would be another
//     object, which knows nothing of what the manager was told.
type registrar struct {
	gateway *Gateway
	index   *topicIndex
	client  topicpb.TopicServiceClient // nil when the gateway runs alone
	urgent  chan struct{}
	lazy    chan struct{}

	mu sync.Mutex // guards the following
	// epoch is that of the session whose snapshot the manager has; 0 without one.
	epoch int64
	// session ends when epoch changes, and calls of the session with it: the one goroutine
	// must not wait for an answer that is of no use when the next session begins.
	session    context.Context
	endSession context.CancelFunc
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
	r := &registrar{
		gateway: g, index: x, limit: syncBatch,
		urgent: make(chan struct{}, 1), lazy: make(chan struct{}, 1),
		waiting: make(map[*topic]struct{}),
	}
	r.session, r.endSession = context.WithCancel(context.Background())
	return r
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
		r.dropIfIdleLocked(t)
	}
}

// dropIfIdleLocked forgets a topic that nothing refers to, here or at the manager; t.shard.mu is
// held. It is for who may come between a last subscriber's removal and changed, which wakes run.
func (r *registrar) dropIfIdleLocked(t *topic) {
	if t.count == 0 && t.told > 0 {
		r.markLocked(t)
	}
	r.index.dropIfIdleLocked(t)
}

// snapshot returns every topic that has subscribers, for the hello of a new session.
func (r *registrar) snapshot(epoch int64) []*topicpb.TopicCount {
	r.mu.Lock()
	r.recording = true
	r.mu.Unlock()
	var topics []*topicpb.TopicCount
	r.index.each(func(t *topic) {
		t.syncedEpoch, t.told = epoch, t.count
		if t.count > 0 {
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
	r.endSession()
	r.session, r.endSession = context.WithCancel(context.Background())
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
	// The manager is there: gRPC need not wait any longer before it dials again.
	r.gateway.grpc.ResetConnectBackoff()
	for _, t := range waiting {
		t.shard.mu.Lock()
		if t.syncedEpoch == epoch && t.told > 0 {
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
	return r.tell(ctx, r.cut())
}

// outgoing is what one call is for: topics taken out of marked, which stay dirty until tell has
// settled each, and the session in which they were.
type outgoing struct {
	topics  []*topic
	epoch   int64
	session context.Context
	more    bool // marked had further topics
}

// cut takes a batch; it is empty without a session.
func (r *registrar) cut() (b outgoing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch == 0 {
		return b
	}
	n := min(len(r.marked), r.limit)
	b = outgoing{epoch: r.epoch, session: r.session, topics: slices.Clone(r.marked[:n]), more: len(r.marked) > n}
	r.marked = slices.Clone(r.marked[n:])
	return b
}

// tell makes the call, which ends with the session and is no failure then, and settles the batch.
// It reports whether more is marked, or may be.
func (r *registrar) tell(ctx context.Context, b outgoing) (more bool, err error) {
	if len(b.topics) == 0 {
		return false, nil
	}
	r.seq++
	req := &topicpb.SyncTopicsRequest{ClusterId: r.gateway.opts.ClusterID, Epoch: b.epoch, Seq: r.seq}
	sent := make([]*topic, 0, len(b.topics)) // whose counts stand in req, in its order
	for _, t := range b.topics {
		t.shard.mu.Lock()
		switch {
		case r.epochNow() != b.epoch:
			r.leaveToNextLocked(t)
		case t.syncedEpoch == b.epoch && t.told == t.count:
			t.dirty = false
			r.releaseLocked(t)
			r.index.dropIfIdleLocked(t)
		default:
			sent = append(sent, t)
			req.Topics = append(req.Topics, &topicpb.TopicCount{Topic: t.name, Count: t.count})
			if t.count == 0 {
				// From here on the manager may have forgotten the topic: who subscribes
				// now has to wait until it is told again.
				t.told = 0
			}
		}
		t.shard.mu.Unlock()
	}
	if len(sent) > 0 {
		err = r.call(ctx, b.session, req)
	}
	code := status.Code(err)
	refused := code == codes.InvalidArgument || code == codes.ResourceExhausted
	switch {
	case refused && len(sent) > 1:
		r.limit = len(sent) / 2
	case err == nil && len(sent) > 0:
		r.limit = min(2*r.limit, syncBatch)
	}
	for i, t := range sent {
		t.shard.mu.Lock()
		switch count := req.Topics[i].Count; {
		case r.epochNow() != b.epoch:
			r.leaveToNextLocked(t)
		case err == nil:
			t.dirty, t.syncedEpoch, t.told = false, b.epoch, count
			if count > 0 {
				r.releaseLocked(t)
			}
			if t.count != count {
				r.markLocked(t)
			}
			r.index.dropIfIdleLocked(t)
		default:
			t.dirty, t.syncedEpoch = false, 0
			if !refused || len(sent) > 1 || t.count != count {
				r.markLocked(t)
			}
			r.index.dropIfIdleLocked(t)
		}
		t.shard.mu.Unlock()
	}
	switch {
	case b.session.Err() != nil && (code == codes.OK || code == codes.Canceled):
		return true, nil
	case refused && len(sent) > 1:
		return true, nil
	case refused: // its subscribers wait in vain and are told so in time
		r.gateway.log.Warn("manager refuses a topic", "topic", req.Topics[0].Topic, "err", err)
		return b.more, nil
	case code == codes.FailedPrecondition:
		// The manager knows no such session: the link is about to break, or has
		// already, and the next one brings a snapshot.
		return true, r.awaitSession(ctx, b.session)
	}
	return b.more, err
}

// call tells the manager, and is cut short when the session ends.
func (r *registrar) call(ctx, session context.Context, req *topicpb.SyncTopicsRequest) error {
	if err := session.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	defer context.AfterFunc(session, cancel)()
	_, err := r.client.SyncTopics(ctx, req)
	r.gateway.metrics.syncCalls.Add(1)
	return err
}

// leaveToNextLocked settles a topic of a batch whose session is over, whatever came of its call;
// t.shard.mu is held. What the topic is told, and whether it was, belongs to the next session's
// snapshot if that has been taken, and so does what changed since, which nobody could mark while
// the topic was dirty.
func (r *registrar) leaveToNextLocked(t *topic) {
	t.dirty = false
	if t.count != t.told {
		r.markLocked(t)
	}
	r.index.dropIfIdleLocked(t)
}

func (r *registrar) epochNow() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch
}

// awaitSession waits until a session is over, for a while.
func (r *registrar) awaitSession(ctx, session context.Context) error {
	timer := time.NewTimer(r.gateway.opts.LinkHeartbeat)
	defer timer.Stop()
	select {
	case <-session.Done():
	case <-ctx.Done():
	case <-timer.C:
	}
	return nil
}
