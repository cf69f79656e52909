package gateway

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"firetower/core/protocol"
)

// Errors of taking in a connection.
var (
	// ErrFull: Limits.MaxConnections are there already.
	ErrFull = errors.New("gateway: connection limit reached")
	// ErrStopped: the gateway is stopping.
	ErrStopped = errors.New("gateway: stopping")
)

// TowerManager holds all connections of a gateway, shared out over Buckets, and
// hands every push to the Buckets that have subscribers of its topic.
type TowerManager struct {
	gateway *Gateway
	metrics *metrics
	index   *topicIndex
	central centralChan
	buckets []*Bucket
	rings   ringPool
	next    atomic.Uint64
	count   atomic.Int64
	// addresses has locks of its own, which are taken under mu and never the other way.
	addresses addressCounts

	mu       sync.Mutex // guards the following
	stopping bool
	users    map[string]map[*FireTower]struct{}
	towers   sync.WaitGroup
	lanes    sync.WaitGroup
}

func newTowerManager(g *Gateway) *TowerManager {
	m := &TowerManager{
		gateway: g,
		metrics: g.metrics,
		index:   newTopicIndex(g.opts.Bucket.Num, g.opts.Bucket.ConsumerNum, g.opts.windowed),
		users:   make(map[string]map[*FireTower]struct{}),
	}
	m.rings.init()
	m.addresses.init(g.opts.Limits.MaxConnectionsPerIP)
	m.central.init(g.opts.Bucket.CentralChanCount, g.opts.Bucket.CentralBytes)
	for i := range g.opts.Bucket.Num {
		m.buckets = append(m.buckets, newBucket(i, m))
	}
	return m
}

// start runs the consumers of every Bucket.
func (m *TowerManager) start() {
	if m.gateway.opts.BatchWrites {
		if err := m.rings.open(); err != nil {
			m.gateway.log.Info("each write to a client is a system call of its own", "err", err)
		}
	}
	for _, b := range m.buckets {
		for i, l := range b.lanes {
			m.lanes.Add(1)
			labelled("bucket-consumer", strconv.Itoa(b.index)+"/"+strconv.Itoa(i), func() {
				defer m.lanes.Done()
				l.run()
			})
		}
	}
}

// stop ends the consumers after they have written what is queued.
func (m *TowerManager) stop() {
	m.central.close()
	for _, b := range m.buckets {
		for _, l := range b.lanes {
			l.close()
		}
	}
	m.lanes.Wait()
	m.rings.close()
}

// reserve counts a connection that is about to be made, under its client's address
// where that is valid, or says why there is no room for it. release or forget takes
// it back.
func (m *TowerManager) reserve(client netip.Addr) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fullLocked(); err != nil {
		return err
	}
	if !m.addresses.add(client) {
		return ErrAddressFull
	}
	m.count.Add(1)
	m.towers.Add(1)
	return nil
}

func (m *TowerManager) release(client netip.Addr) {
	m.addresses.remove(client)
	m.count.Add(-1)
	m.towers.Done()
}

// full says why there is no room for one more connection.
func (m *TowerManager) full() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fullLocked()
}

func (m *TowerManager) fullLocked() error {
	if m.stopping {
		return ErrStopped
	}
	if limit := m.gateway.opts.Limits.MaxConnections; limit > 0 && m.count.Load() >= int64(limit) {
		return ErrFull
	}
	return nil
}

// admit takes in a connection that room is reserved for. It refuses one that
// comes after the drain has told the others to go.
func (m *TowerManager) admit(t *FireTower) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping {
		return ErrStopped
	}
	if t.userID != "" {
		if m.users[t.userID] == nil {
			m.users[t.userID] = make(map[*FireTower]struct{})
		}
		m.users[t.userID][t] = struct{}{}
	}
	t.bucket = m.buckets[m.next.Add(1)%uint64(len(m.buckets))]
	t.bucket.add(t)
	return nil
}

func (m *TowerManager) forget(t *FireTower) {
	t.bucket.remove(t)
	m.mu.Lock()
	if set := m.users[t.userID]; set != nil {
		delete(set, t)
		if len(set) == 0 {
			delete(m.users, t.userID)
		}
	}
	m.mu.Unlock()
	m.release(t.countedAddr())
}

// writing is what a goroutine that takes messages in may write by itself.
type writing struct {
	// inline: it has nothing else to do, and writes what few subscribers want.
	inline bool
	// streak is how many writes it has done since it last waited or yielded; nil where it
	// does not know, and the Bucket's lane counts.
	streak *int
}

// dispatch hands a push to the Buckets that hold its topic, or, where they are few and idle
// and the caller may, writes it. It blocks while CentralChanCount items wait, and reports
// false once the gateway stops.
func (m *TowerManager) dispatch(p *push, how writing) bool {
	t := m.index.find(p.topic)
	if t == nil {
		m.metrics.unmatched.Add(1)
		return true
	}
	t.order.Lock()
	defer t.order.Unlock()
	if t.windowed {
		return m.collect(t, p, how)
	}
	return m.dispatchOrdered(t, []*push{p}, how)
}

// dispatchOrdered is dispatch for consecutive pushes of a topic whose order is held.
func (m *TowerManager) dispatchOrdered(t *topic, pushes []*push, how writing) bool {
	t.targets = t.targets[:0]
	subscribers := 0
	for i := range t.lists {
		if l := t.lists[i].Load(); l != nil {
			if n := l.size.Load(); n > 0 {
				t.targets = append(t.targets, int32(i))
				subscribers += int(n)
			}
		}
	}
	if len(t.targets) == 0 {
		m.metrics.unmatched.Add(int64(len(pushes)))
		return true
	}
	size := 0
	for _, p := range pushes {
		size += len(p.data)
	}
	if !m.central.admit(len(t.targets)*len(pushes), len(t.targets)*size) {
		return false
	}
	now := m.gateway.clock.now()
	for _, p := range pushes {
		p.queued = now
	}
	// What is large may want compressing, which is for the consumers.
	targets := t.targets
	if how.inline && subscribers <= m.gateway.opts.Bucket.InlineSubscribers && size <= inlineBytes {
		targets = m.writeInline(t, pushes, size, how.streak)
	}
	for _, i := range targets {
		if !m.buckets[i].lanes[t.lane].push(t.lists[i].Load(), pushes) {
			m.central.release(len(pushes), size)
			m.metrics.drop(DropShutdown, len(pushes))
		}
	}
	return true
}

// writeInline writes pushes, of so many bytes in all, to the subscribers in those of the
// topic's Buckets that are idle, all of them together, and returns the other Buckets.
func (m *TowerManager) writeInline(t *topic, pushes []*push, size int, streak *int) []int32 {
	var first *lane
	busy := t.targets[:0]
	for _, i := range t.targets {
		l := m.buckets[i].lanes[t.lane]
		if !l.borrow() {
			busy = append(busy, i)
			continue
		}
		if first == nil {
			first = l
		}
		first.lend(l, t.lists[i].Load())
	}
	if first != nil {
		first.writeLent(pushes, size, streak)
	}
	return busy
}

// inlineBytes bounds what a dispatcher writes by itself.
const inlineBytes = 4 << 10

// all returns every connection.
func (m *TowerManager) all() []*FireTower {
	all := make([]*FireTower, 0, m.count.Load())
	for _, b := range m.buckets {
		for slot := range heartbeatSlots {
			all = b.appendSlot(all, slot)
		}
	}
	return all
}

func (m *TowerManager) ofUser(userID string) []*FireTower {
	m.mu.Lock()
	defer m.mu.Unlock()
	towers := make([]*FireTower, 0, len(m.users[userID]))
	for t := range m.users[userID] {
		towers = append(towers, t)
	}
	return towers
}

func (m *TowerManager) subscriptionsOf(topicName string) []*subscription {
	t := m.index.find(topicName)
	if t == nil {
		return nil
	}
	var subs []*subscription
	for i := range t.lists {
		if l := t.lists[i].Load(); l != nil {
			subs = append(subs, l.snapshot()...)
		}
	}
	return subs
}

// OfflineTopic unsubscribes every connection of this gateway from a topic and
// returns how many there were.
func (m *TowerManager) OfflineTopic(topicName string) int {
	subs := m.subscriptionsOf(topicName)
	for _, sub := range subs {
		sub.tower.removeBySystem(sub)
	}
	return len(subs)
}

// OfflineTopicByUserID unsubscribes every connection that a user has on this
// gateway from a topic and returns how many there were.
func (m *TowerManager) OfflineTopicByUserID(topicName, userID string) int {
	n := 0
	for _, t := range m.ofUser(userID) {
		if sub := t.subscriptionOf(topicName); sub != nil {
			t.removeBySystem(sub)
			n++
		}
	}
	return n
}

// OfflineUser disconnects every connection that a user has on this gateway with
// close code 4001 and returns how many there were.
func (m *TowerManager) OfflineUser(userID string) int {
	towers := m.ofUser(userID)
	for _, t := range towers {
		t.shut(protocol.CloseKicked, "kicked", DisconnectKicked)
	}
	return len(towers)
}

// settle waits until all that was dispatched is written or waits at its
// connection, until deadline.
func (m *TowerManager) settle(deadline time.Time) {
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for m.central.waiting() > 0 && time.Now().Before(deadline) {
		<-poll.C
	}
}

// drain tells every client to come back elsewhere, each at a moment of its own
// within the retry window, and waits for the connections to end. Those that
// have not by the deadline are cut off, and their handlers get a little longer; those that do
// not return even then are an error.
func (m *TowerManager) drain(deadline time.Time, grace, window time.Duration) error {
	m.mu.Lock()
	m.stopping = true
	m.mu.Unlock()
	for _, t := range m.all() {
		wait := time.Duration(rand.Int64N(int64(window) + 1)).Round(time.Millisecond)
		t.shut(protocol.CloseServiceRestart, "retry_ms="+strconv.FormatInt(wait.Milliseconds(), 10), DisconnectDrain)
	}
	done := make(chan struct{})
	go func() {
		m.towers.Wait()
		close(done)
	}()
	if ended(done, time.Until(deadline)) {
		return nil
	}
	for _, t := range m.all() {
		t.closeConn()
		if t.running.CompareAndSwap(false, true) {
			t.finish(nil) // the application never ran it
		}
	}
	if ended(done, grace) {
		return nil
	}
	return fmt.Errorf("gateway: drain: %d connections have not ended: a handler of theirs does not return", m.count.Load())
}

// ended waits for a channel to be closed, for so long.
func ended(done <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
