package manager

import (
	"errors"
	"hash/maphash"
	"slices"
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

// relevance is what is known of one topic. There may be millions, most of them with
// one gateway: 48 bytes and the name each, and one allocation.
type relevance struct {
	topic string
	// first has a session as long as any gateway has the topic, others the rest.
	first  reference
	others *[]reference // nil or not empty
}

// reference counts a topic's subscribers at one session; the count is above 0.
type reference struct {
	to    *session
	count int32
	// at is where the topic stands in the session's index.
	at int32
}

// all passes over a topic's references, which may be changed in place.
func (e *relevance) all(yield func(*reference) bool) {
	if e.first.to == nil || !yield(&e.first) || e.others == nil {
		return
	}
	for i := range *e.others {
		if !yield(&(*e.others)[i]) {
			return
		}
	}
}

// of finds a session's reference, nil when it has none.
func (e *relevance) of(to *session) *reference {
	for ref := range e.all {
		if ref.to == to {
			return ref
		}
	}
	return nil
}

// total is a topic's subscribers over all gateways.
func (e *relevance) total() (n int64) {
	for ref := range e.all {
		n += int64(ref.count)
	}
	return n
}

// gateways is how many have the topic.
func (e *relevance) gateways() (n int) {
	for range e.all {
		n++
	}
	return n
}

// add puts another session's reference in.
func (e *relevance) add(ref reference) {
	switch {
	case e.first.to == nil:
		e.first = ref
	case e.others == nil:
		e.others = &[]reference{ref}
	default:
		*e.others = append(*e.others, ref)
	}
}

// remove takes a reference of this topic out; the last one takes its place.
func (e *relevance) remove(ref *reference) {
	last := &e.first
	if e.others != nil {
		last = &(*e.others)[len(*e.others)-1]
	}
	*ref = *last
	*last = reference{} // lets go of the session
	if e.others == nil {
		return
	}
	if *e.others = (*e.others)[:len(*e.others)-1]; len(*e.others) == 0 {
		e.others = nil
	}
}

// topicIndex is a session's own list of topics, by shard of the relevance.
type topicIndex struct {
	topics      atomic.Int64
	subscribers atomic.Int64
	// gone is set before the session's topics are dropped: from then on none is
	// added, so a late call cannot leave an entry that nobody removes.
	gone   atomic.Bool
	shards [relevanceShards][]*relevance // each guarded by the shard's mu; in no order
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
	var total int64
	for ref := range e.all {
		buf = append(buf, ref.to)
		total += int64(ref.count)
	}
	return buf, total
}

// number is how many subscribers a topic has, over all gateways.
func (r *topicRelevance) number(topic string) int64 {
	s := r.shard(topic)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.topics[topic]; e != nil {
		return e.total()
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
			for _, e := range slices.Backward(old.index.shards[i]) { // each leaves the end
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
		// the list is this goroutine's own and can be walked with breaks.
		n := 0
		for _, e := range slices.Backward(old.index.shards[i]) { // each leaves the end
			r.setEntryLocked(i, old, e, 0)
			if n++; n%dropChunk == 0 {
				s.unlockAll()
				s.lockAll()
			}
		}
		old.index.shards[i] = nil
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
	if ref := e.of(to); ref != nil {
		return int64(ref.count)
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
		r.shards[i].topics[topic] = e
		r.topics.Add(1)
	}
	r.setEntryLocked(i, to, e, count)
}

// setEntryLocked puts one absolute count in place at a known entry and keeps the
// totals and the session's index with it. The shard's mu is held.
func (r *topicRelevance) setEntryLocked(i int, to *session, e *relevance, count int64) {
	count = min(max(count, 0), maxCount)
	ref := e.of(to)
	var before int64
	switch {
	case ref != nil && count > 0:
		before = int64(ref.count)
		ref.count = int32(count)
	case ref != nil: // the last subscriber of this gateway left
		before = int64(ref.count)
		to.index.remove(i, int(ref.at))
		e.remove(ref)
	case count > 0: // the first subscriber at this gateway
		e.add(reference{to: to, count: int32(count), at: to.index.add(i, e)})
	default:
		return
	}
	delta := count - before
	to.index.subscribers.Add(delta)
	r.subscribers.Add(delta)
	if e.first.to == nil {
		delete(r.shards[i].topics, e.topic)
		r.topics.Add(-1)
	}
}

// add lists a topic of shard i, whose mu is held, and tells where.
func (x *topicIndex) add(i int, e *relevance) (at int32) {
	x.shards[i] = append(x.shards[i], e)
	x.topics.Add(1)
	return int32(len(x.shards[i]) - 1)
}

// remove takes the topic at a place of shard i off the list: the last one takes its
// place. The shard's mu is held.
func (x *topicIndex) remove(i, at int) {
	list := x.shards[i]
	last := len(list) - 1
	if moved := list[last]; at != last {
		list[at] = moved
		for ref := range moved.all {
			if ref.to != nil && &ref.to.index == x {
				ref.at = int32(at)
				break
			}
		}
	}
	list[last] = nil
	x.shards[i] = list[:last]
	if cap(list) > shrinkAbove && last < cap(list)/4 {
		x.shards[i] = slices.Clone(list[:last])
	}
	x.topics.Add(-1)
}

// shrinkAbove is the room of a list from which on what is not used is given back.
const shrinkAbove = 1024
