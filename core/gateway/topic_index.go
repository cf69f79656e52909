package gateway

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// topicShards is the number of locks over the topic index: enough that
// subscribers of different topics seldom meet.
const topicShards = 64

// topicIndex knows every topic that has subscribers on this gateway, and which
// Buckets hold them.
type topicIndex struct {
	seed    maphash.Seed
	buckets int
	lanes   int
	// windowed tells which topics' messages are collected (Options.FlushInterval).
	windowed func(topic string) bool
	shards   [topicShards]topicShard
	size     atomic.Int64
	subs     atomic.Int64
}

type topicShard struct {
	mu     sync.RWMutex // guards the following, and the counted fields of each topic
	topics map[string]*topic
}

// topic is one topic of this gateway.
type topic struct {
	name  string
	shard *topicShard
	// lane is the consumer that has this topic in every Bucket.
	lane int
	// lists is by Bucket; an entry is nil until the Bucket has a subscriber.
	lists []atomic.Pointer[subscriberList]
	// order is held while a push is handed to the Buckets, so that all of them
	// get the pushes of a topic in one order.
	order sync.Mutex
	// targets is the dispatcher's list of Buckets; guarded by order.
	targets []int32
	// windowed never changes.
	windowed bool
	window   window // guarded by order

	// The following are guarded by shard.mu.

	// count is the number of subscriptions here.
	count int64
	// dirty: it is in the registrar's list of what the manager must be told, or in the call
	// that is being made.
	dirty bool
	// syncedEpoch is the session in which the manager was last told of it, and
	// told the count that it was told; 0 when it never was.
	syncedEpoch int64
	told        int64
	// waiters are closed when the manager knows the topic.
	waiters []chan struct{}
	// gone: it is no longer in the index, because nothing referred to it.
	gone bool
}

func newTopicIndex(buckets, lanes int, windowed func(topic string) bool) *topicIndex {
	x := &topicIndex{seed: maphash.MakeSeed(), buckets: buckets, lanes: lanes, windowed: windowed}
	for i := range x.shards {
		x.shards[i].topics = make(map[string]*topic)
	}
	return x
}

func (x *topicIndex) find(name string) *topic {
	s := &x.shards[maphash.String(x.seed, name)%topicShards]
	s.mu.RLock()
	t := s.topics[name]
	s.mu.RUnlock()
	return t
}

// add counts one more subscription of a topic and puts it into the list of the
// connection's Bucket. first tells that the topic had none before.
func (x *topicIndex) add(tower *FireTower, name string) (sub *subscription, first bool) {
	h := maphash.String(x.seed, name)
	s := &x.shards[h%topicShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[name]
	if t == nil {
		t = &topic{
			name:  name,
			shard: s,
			lane:  int(h / topicShards % uint64(x.lanes)),
			lists: make([]atomic.Pointer[subscriberList], x.buckets),

			windowed: x.windowed(name),
		}
		s.topics[name] = t
		x.size.Add(1)
	}
	list := t.lists[tower.bucket.index].Load()
	if list == nil {
		list = &subscriberList{topic: t}
		t.lists[tower.bucket.index].Store(list)
	}
	sub = &subscription{tower: tower, topic: t, list: list}
	list.add(sub)
	t.count++
	x.subs.Add(1)
	return sub, t.count == 1
}

// remove takes a subscription out and tells whether it was the topic's last.
func (x *topicIndex) remove(sub *subscription) (last bool) {
	t := sub.topic
	t.shard.mu.Lock()
	defer t.shard.mu.Unlock()
	sub.list.remove(sub)
	t.count--
	x.subs.Add(-1)
	return t.count == 0
}

// dropIfIdleLocked forgets a topic that nothing refers to; t.shard.mu is held.
func (x *topicIndex) dropIfIdleLocked(t *topic) {
	if t.count == 0 && !t.dirty && !t.gone && len(t.waiters) == 0 {
		delete(t.shard.topics, t.name)
		t.gone = true
		x.size.Add(-1)
	}
}

// each calls f for every topic under its shard's lock.
func (x *topicIndex) each(f func(*topic)) {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		for _, t := range s.topics {
			f(t)
		}
		s.mu.Unlock()
	}
}
