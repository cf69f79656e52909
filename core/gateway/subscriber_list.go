package gateway

import (
	"slices"
	"sync"
	"sync/atomic"
)

// subscription ties a connection to a topic. It stands in the connection's set
// and in the list of the topic and the connection's Bucket.
type subscription struct {
	tower *FireTower
	topic *topic
	list  *subscriberList
	// pos is its place in list's group; guarded by list.mu, -1 once it is out.
	pos int32
	// own: the application has asked for it, whatever the client may do; guarded by tower.subMu.
	own bool
}

// subscriberList holds the subscribers that one Bucket has of one topic. The
// consumer of the topic's lane reads it while others add and remove: it borrows
// the slice of connections, appending never disturbs what it borrowed, and the
// first removal meanwhile moves the list to a new slice.
type subscriberList struct {
	topic *topic
	// size is how many subscribers there are, for the dispatcher that asks
	// without the lock.
	size atomic.Int32
	// pending collects the pushes of a batch; only who holds the lane uses it.
	pending []*push

	mu     sync.Mutex // guards the following
	groups [subprotocols]subscriberGroup
	// deflated are the compressed connections', nil until there is one.
	deflated *[subprotocols]subscriberGroup
}

// groupLocked is the connections of a variant; nil where there never was one.
func (l *subscriberList) groupLocked(v variant) *subscriberGroup {
	switch {
	case !v.compressed():
		return &l.groups[v]
	case l.deflated == nil:
		return nil
	default:
		return &l.deflated[v.plain()]
	}
}

// subscriberGroup keeps the connections apart from the subscriptions, since the
// fan-out walks over the connections alone.
type subscriberGroup struct {
	towers []*FireTower
	subs   []*subscription
	lent   bool
}

func (l *subscriberList) add(s *subscription) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := variantOf(s.tower.proto, s.tower.compressed)
	if v.compressed() && l.deflated == nil {
		l.deflated = new([subprotocols]subscriberGroup)
	}
	g := l.groupLocked(v)
	s.pos = int32(len(g.subs))
	g.towers = append(g.towers, s.tower)
	g.subs = append(g.subs, s)
	l.size.Add(1)
}

// remove takes a subscription out; it does nothing when it is out already.
func (l *subscriberList) remove(s *subscription) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.pos < 0 {
		return
	}
	g := l.groupLocked(variantOf(s.tower.proto, s.tower.compressed))
	last := len(g.subs) - 1
	if g.lent || (cap(g.towers) > 64 && last < cap(g.towers)/4) {
		g.towers = append(make([]*FireTower, 0, last+last/4+1), g.towers...)
		g.lent = false
	}
	moved := g.subs[last]
	g.subs[s.pos], g.towers[s.pos] = moved, moved.tower
	moved.pos = s.pos
	g.subs[last], g.towers[last] = nil, nil
	g.subs, g.towers = g.subs[:last], g.towers[:last]
	if cap(g.subs) > 64 && last < cap(g.subs)/4 {
		g.subs = append(make([]*subscription, 0, last+last/4+1), g.subs...)
	}
	s.pos = -1
	l.size.Add(-1)
}

// borrow lends the connections of a group to the lane's holder, which gives
// them back before it borrows again.
func (l *subscriberList) borrow(v variant) []*FireTower {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.groupLocked(v)
	if g == nil || len(g.towers) == 0 {
		return nil
	}
	g.lent = true
	return g.towers
}

func (l *subscriberList) giveBack(v variant) {
	l.mu.Lock()
	if g := l.groupLocked(v); g != nil {
		g.lent = false
	}
	l.mu.Unlock()
}

// snapshot copies the subscriptions, for the rare orders that concern them all.
func (l *subscriberList) snapshot() []*subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*subscription
	for v := range variants {
		if g := l.groupLocked(v); g != nil {
			all = append(all, g.subs...)
		}
	}
	return slices.Clip(all)
}
