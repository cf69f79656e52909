package manager

import (
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// relevanceShards is how many parts the topics are spread over. A publish holds
// one part's order lock while it queues, so the number bounds how much
// publishers of different topics stand in each other's way; 64 is far above the
// cores that a manager runs on and costs 64 empty maps a session.
const relevanceShards = 64

// maxCount bounds the subscribers of a topic at one gateway, so that no sum of
// them overflows.
const maxCount = 1<<31 - 1

// Why a session's topics could not be changed.
var (
	errSessionGone   = errors.New("the session is gone")
	errTooManyTopics = errors.New("the gateway has as many topics as it may have")
)

// dropChunk is how many topics of a dead session leave a shard before its locks
// are let go for those who publish meanwhile.
const dropChunk = 1024

// topicRelevance tells for each topic at which gateway sessions its subscribers
// are, and how many. It is sharded by topic. Each session carries an index of
// its own topics, so a dead gateway costs its own topics only.
//
// Lock order: shard.order before shard.mu. Nothing that blocks is called under
// either; queueing to a link takes that queue's own lock under shard.order.
type topicRelevance struct {
	seed maphash.Seed
	// maxTopics is how many topics a session may have. Calls that add at the same
	// time may pass it by one each.
	maxTopics   int64
	topics      atomic.Int64
	subscribers atomic.Int64
	shards      [relevanceShards]relevanceShard
}

type relevanceShard struct {
	// order is held by a publish from its lookup until it is queued everywhere,
	// so that every link sees the messages of a topic in one order, and by what
	// takes a session out, so that nothing is queued to it afterwards.
	order sync.Mutex

	mu sync.RWMutex // guards the following, and the same shard's map in every session's index
	// topics holds no entry without a reference.
	topics map[string]*relevance

	_ [64]byte // keeps neighbours' locks off this cache line
}

// relevance is what is known of one topic.
type relevance struct {
	topic string
	total int64
	refs  []reference
	// inline backs refs for as long as few gateways have the topic, which saves
	// an allocation for each of the very many topics with one gateway.
	inline [2]reference
}

// reference counts a topic's subscribers at one session; the count is above 0.
type reference struct {
	to    *session
	count int64
}

// topicIndex is a session's own list of topics, by shard of the relevance.
type topicIndex struct {
	topics      atomic.Int64
	subscribers atomic.Int64
	// gone is set before the session's topics are dropped: from then on none is
	// added, so a late call cannot leave an entry that nobody removes.
	gone   atomic.Bool
	shards [relevanceShards]map[string]*relevance // each guarded by the shard's mu
}

// topicCount is a topic's absolute number of subscribers at one gateway.
type topicCount struct {
	topic string
	count int64
}

func newTopicRelevance(maxTopics int) *topicRelevance {
	r := &topicRelevance{seed: maphash.MakeSeed(), maxTopics: int64(maxTopics)}
	for i := range r.shards {
		r.shards[i].topics = make(map[string]*relevance)
	}
	return r
}

func (r *topicRelevance) shardIndex(topic string) int {
	return int(maphash.String(r.seed, topic) % relevanceShards)
}

func (r *topicRelevance) shard(topic string) *relevanceShard {
	return &r.shards[r.shardIndex(topic)]
}

// lookup appends the sessions that have subscribers of topic to buf, and tells
// the subscribers' total. It allocates nothing while buf has room.
func (r *topicRelevance) lookup(topic string, buf []*session) ([]*session, int64) {
	return r.shard(topic).lookup(topic, buf)
}

func (s *relevanceShard) lookup(topic string, buf []*session) ([]*session, int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.topics[topic]
	if e == nil {
		return buf, 0
	}
	for i := range e.refs {
		buf = append(buf, e.refs[i].to)
	}
	return buf, e.total
}

// number is how many subscribers a topic has, over all gateways.
func (r *topicRelevance) number(topic string) int64 {
	s := r.shard(topic)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.topics[topic]; e != nil {
		return e.total
	}
	return 0
}

// set puts the absolute counts of some topics of a session in place; 0 (or less)
// removes. After errTooManyTopics those before the one too many are in place.
func (r *topicRelevance) set(to *session, counts []topicCount) error {
	for _, c := range counts {
		if err := r.change(to, c.topic, func(int64) int64 { return c.count }); err != nil {
			return err
		}
	}
	return nil
}

// add changes the counts of some topics of a session by delta. A count does not
// go below 0: one unsubscribe too many must not eat another's subscribe.
func (r *topicRelevance) add(to *session, topics []string, delta int64) error {
	for _, topic := range topics {
		if err := r.change(to, topic, func(have int64) int64 { return have + delta }); err != nil {
			return err
		}
	}
	return nil
}

// change makes a new count of the one that a session has.
func (r *topicRelevance) change(to *session, topic string, next func(have int64) int64) error {
	i := r.shardIndex(topic)
	s := &r.shards[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	if to.index.gone.Load() {
		return errSessionGone
	}
	have := s.countLocked(to, topic)
	want := next(have)
	if have == 0 && want > 0 && to.index.topics.Load() >= r.maxTopics {
		return errTooManyTopics
	}
	r.setLocked(i, to, topic, want)
	return nil
}

// replace puts a session with its counts in the place of an older one (nil when
// there is none). For each topic that both have, there is no moment at which a
// publish finds neither or both. A topic named twice has its last count. When
// replace has returned, nothing is queued to the old session any more.
func (r *topicRelevance) replace(old, to *session, counts []topicCount) {
	var byShard [relevanceShards][]topicCount
	for _, c := range counts {
		i := r.shardIndex(c.topic)
		byShard[i] = append(byShard[i], c)
	}
	if old != nil {
		old.index.gone.Store(true)
	}
	for i := range r.shards {
		s := &r.shards[i]
		s.lockAll()
		if !to.index.gone.Load() { // replaced in its turn already
			for _, c := range byShard[i] {
				r.setLocked(i, to, c.topic, c.count)
			}
		}
		if old != nil {
			for _, e := range old.index.shards[i] {
				r.setEntryLocked(i, old, e, 0)
			}
			old.index.shards[i] = nil
		}
		s.unlockAll()
	}
}

// drop takes a session out for good. When it has returned, nothing is queued to
// the session any more.
func (r *topicRelevance) drop(old *session) {
	old.index.gone.Store(true)
	for i := range r.shards {
		s := &r.shards[i]
		s.lockAll()
		// Nobody adds to or takes from the index of a session that is gone, so
		// the map is this goroutine's own and can be walked with breaks.
		entries := old.index.shards[i]
		old.index.shards[i] = nil
		n := 0
		for _, e := range entries {
			r.setEntryLocked(i, old, e, 0)
			if n++; n%dropChunk == 0 {
				s.unlockAll()
				s.lockAll()
			}
		}
		s.unlockAll()
	}
}

func (s *relevanceShard) lockAll() {
	s.order.Lock()
	s.mu.Lock()
}

func (s *relevanceShard) unlockAll() {
	s.mu.Unlock()
	s.order.Unlock()
}

// countLocked is the count of one topic at one session. The shard's mu is held.
func (s *relevanceShard) countLocked(to *session, topic string) int64 {
	e := s.topics[topic]
	if e == nil {
		return 0
	}
	for i := range e.refs {
		if e.refs[i].to == to {
			return e.refs[i].count
		}
	}
	return 0
}

// setLocked puts one absolute count in place. The shard's mu is held.
func (r *topicRelevance) setLocked(i int, to *session, topic string, count int64) {
	e := r.shards[i].topics[topic]
	if e == nil {
		if count <= 0 {
			return
		}
		e = &relevance{topic: topic}
		e.refs = e.inline[:0]
		r.shards[i].topics[topic] = e
		r.topics.Add(1)
	}
	r.setEntryLocked(i, to, e, count)
}

// setEntryLocked puts one absolute count in place at a known entry and keeps the
// totals and the session's index with it. The shard's mu is held.
func (r *topicRelevance) setEntryLocked(i int, to *session, e *relevance, count int64) {
	count = min(max(count, 0), maxCount)
	at := -1
	for j := range e.refs {
		if e.refs[j].to == to {
			at = j
			break
		}
	}
	var before int64
	switch {
	case at >= 0 && count > 0:
		before = e.refs[at].count
		e.refs[at].count = count
	case at >= 0: // the last subscriber of this gateway left
		before = e.refs[at].count
		last := len(e.refs) - 1
		e.refs[at] = e.refs[last]
		e.refs[last] = reference{} // lets go of the session
		e.refs = e.refs[:last]
		delete(to.index.shards[i], e.topic)
		to.index.topics.Add(-1)
	case count > 0: // the first subscriber at this gateway
		e.refs = append(e.refs, reference{to: to, count: count})
		if to.index.shards[i] == nil {
			to.index.shards[i] = make(map[string]*relevance)
		}
		to.index.shards[i][e.topic] = e
		to.index.topics.Add(1)
	default:
		return
	}
	delta := count - before
	e.total += delta
	to.index.subscribers.Add(delta)
	r.subscribers.Add(delta)
	if len(e.refs) == 0 {
		delete(r.shards[i].topics, e.topic)
		r.topics.Add(-1)
	}
}
