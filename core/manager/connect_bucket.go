package manager

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/pprof"
	"slices"
	"sync"
	"time"

	"firetower/core/rawio"
)

// connectBucket is the TCP server of gateways' links, and the table of who is
// there. It owns every link's goroutines.
//
// Lock order: mu is a leaf. No registry lock, queue lock or socket is touched
// while it is held.
type connectBucket struct {
	opt       Options
	log       *slog.Logger
	id        string // the manager's, for the welcome
	registry  *topicRelevance
	counter   *counters
	bus       *bus
	tokenHash [sha256.Size]byte

	links sync.WaitGroup

	mu        sync.Mutex // guards the following
	byCluster map[string]*session
	byAddr    map[string]*session // legacy gateways, and links that have not said what they are
	open      map[*link]struct{}
	draining  bool
}

func newConnectBucket(opt Options, id string, registry *topicRelevance, counter *counters, bus *bus) *connectBucket {
	return &connectBucket{
		opt:       opt,
		log:       opt.logger(),
		id:        id,
		registry:  registry,
		counter:   counter,
		bus:       bus,
		tokenHash: sha256.Sum256([]byte(opt.Token)),
		byCluster: make(map[string]*session),
		byAddr:    make(map[string]*session),
		open:      make(map[*link]struct{}),
	}
}

// tokenOK compares in constant time; the hash hides the length too.
func tokenOK(want [sha256.Size]byte, token string) bool {
	got := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// serve accepts links until the listener is closed, which is not an error.
// Links live on after that and after ctx: drain ends them.
func (b *connectBucket) serve(ctx context.Context, listener net.Listener) error {
	linkCtx := context.WithoutCancel(ctx)
	pause := minAcceptPause
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// Out of descriptors or memory, or a peer that is gone again: waiting is
			// all that helps, and what is established must go on.
			b.log.Warn("accept of a gateway's link failed", "err", err, "retry_in", pause)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			pause = min(2*pause, maxAcceptPause)
			continue
		}
		pause = minAcceptPause
		b.links.Go(func() {
			pprof.Do(linkCtx, pprof.Labels("role", "link"), func(ctx context.Context) {
				b.serveLink(ctx, conn)
			})
		})
	}
}

// The pause after a failed accept doubles between these, as in net/http.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// serveLink runs one link to its end.
func (b *connectBucket) serveLink(ctx context.Context, conn net.Conn) {
	l := newLink(ctx, b, rawio.Wrap(conn))
	if err := b.enter(l); err != nil {
		l.end(err)
	} else {
		l.end(l.converse())
	}
	l.stop()
	b.detach(l)
	l.farewell()
	b.exit(l)
	l.log()
}

// enter lists a new link. Where no token is asked for, the link may be a legacy
// gateway that says nothing: then it has a session from now on.
func (b *connectBucket) enter(l *link) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.draining:
		return evicted(EvictDraining, nil)
	case len(b.open) >= b.opt.MaxGateways:
		return evicted(EvictTooMany, fmt.Errorf("max_gateways is %d", b.opt.MaxGateways))
	}
	b.open[l] = struct{}{}
	if b.opt.Token == "" {
		l.legacy = b.newSession(l, l.remote, 0)
		l.legacy.legacy = true
		b.byAddr[l.remote] = l.legacy
		l.in.budget = -1 // its first packet may be a message of any size
	}
	return nil
}

// detachedLocked is how many sessions await their gateway.
func (b *connectBucket) detachedLocked() (n int) {
	for _, s := range b.byCluster {
		if s.state == sessionDetached {
			n++
		}
	}
	return n
}

func (b *connectBucket) newSession(l *link, id string, epoch int64) *session {
	return &session{
		id: id, epoch: epoch, remote: l.remote,
		queue:   newLinkQueue(b.opt.QueueMessages, b.opt.QueueBytes),
		counter: b.counter,
		link:    l,
	}
}

// detach gives up what waits for a link that has stopped. A gateway of ours may
// claim its session for the grace time; a legacy gateway comes back from another
// address, so nobody would claim its session.
func (b *connectBucket) detach(l *link) {
	lost := DropLinkDown
	if ev := (*evictError)(nil); errors.As(l.cause(), &ev) {
		lost = ev.reason.lossReason()
		b.counter.evictions[ev.reason].Add(1)
	}
	b.mu.Lock()
	legacy := l.legacy
	if legacy != nil && legacy.state != sessionGone {
		b.forgetLegacyLocked(legacy)
	} else {
		legacy = nil
	}
	if s := l.session; s != nil && s.state == sessionLive {
		s.expires = time.Now().Add(b.opt.grace())
		if b.detachedLocked() >= b.opt.MaxGateways {
			s.expires = time.Now() // ever new names must not pile up
		}
		s.enterLocked(sessionDetached)
	}
	b.mu.Unlock()

	if l.session != nil {
		l.session.lose(lost, l.session.queue.close())
	}
	if legacy != nil {
		legacy.lose(lost, legacy.queue.close())
		b.registry.drop(legacy)
	}
}

func (b *connectBucket) forgetLegacyLocked(s *session) {
	s.enterLocked(sessionGone)
	if b.byAddr[s.id] == s { // and not a newer link from the same address
		delete(b.byAddr, s.id)
	}
}

// exit takes a link that is closed off the list.
func (b *connectBucket) exit(l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, l)
}

// becomeLegacy settles that a link which said no hello is a legacy gateway.
// It reports false when it is one of ours, or has ended.
func (b *connectBucket) becomeLegacy(s *session) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.state == sessionUnknown {
		s.enterLocked(sessionLive)
	}
	return s.state == sessionLive
}

// legacyByAddr finds the legacy gateway whose link comes from addr, and settles
// that it is one.
func (b *connectBucket) legacyByAddr(addr string) *session {
	b.mu.Lock()
	s := b.byAddr[normalAddr(addr)]
	b.mu.Unlock()
	if s == nil || !b.becomeLegacy(s) {
		return nil
	}
	s.link.startWriter(s)
	return s
}

// normalAddr writes an address as the link's own is written: an IPv4 address in
// IPv6 form is the same gateway, and zones and zeros have one spelling.
func normalAddr(addr string) string {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return addr
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String()
}

// live finds the session that a gateway names; nil when it is not up.
func (b *connectBucket) live(id string, epoch int64) *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.byCluster[id]; s != nil && s.epoch == epoch && s.state == sessionLive {
		return s
	}
	return nil
}

// hello settles that a link is one of our gateways, and ends an older link of
// the same gateway: it would only take messages that nobody reads.
func (b *connectBucket) hello(l *link, id string, epoch int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.draining {
		return evicted(EvictDraining, nil)
	}
	if s := l.legacy; s != nil {
		if s.state != sessionUnknown {
			return evicted(EvictBadHello, errors.New("hello after this link was taken for a gateway without one"))
		}
		b.forgetLegacyLocked(s)
	}
	old := b.byCluster[id]
	if old == nil {
		return nil
	}
	switch old.state {
	case sessionLive:
		if old.epoch >= epoch {
			return supersededBy(old)
		}
		old.enterLocked(sessionDetached)
		old.link.end(evicted(EvictSuperseded, nil))
		fallthrough
	case sessionDetached:
		// Its topics and its count of messages are wanted until the snapshot is in.
		old.expires = time.Now().Add(b.opt.HandshakeTimeout + b.opt.grace())
	default:
	}
	return nil
}

func supersededBy(s *session) error {
	return evicted(EvictSuperseded, fmt.Errorf("%q has a live link from %s with epoch %d", s.id, s.remote, s.epoch))
}

// welcome puts a session and its snapshot in the place of the gateway's older
// one, which is returned: nothing is queued to it any more.
func (b *connectBucket) welcome(s *session, counts []topicCount) (old *session, err error) {
	b.mu.Lock()
	old = b.byCluster[s.id]
	if old != nil && old.state == sessionLive {
		if old.epoch >= s.epoch {
			b.mu.Unlock()
			return nil, supersededBy(old)
		}
		old.link.end(evicted(EvictSuperseded, nil))
	}
	if old != nil {
		old.enterLocked(sessionGone)
	}
	s.enterLocked(sessionLive)
	b.byCluster[s.id] = s
	b.mu.Unlock()

	b.registry.replace(old, s, counts)
	return old, nil
}

// missed tells how many messages a gateway should have had since epoch prev, the
// last that it saw established, and has not: of those offered to it since, it
// received so many. old is the session whose place s has taken. known is false when
// this manager has no record of prev.
func (b *connectBucket) missed(old, s *session, prev int64, received uint64) (missed uint64, known bool) {
	if old == nil || prev == 0 {
		return 0, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	d := debt{since: prev, offered: old.offered.Load()}
	var counted uint64
	switch prev {
	case old.epoch:
	case old.owed.since: // it never saw the welcome of old
		d.offered += old.owed.offered
		counted = old.owed.missed
	default:
		return 0, false
	}
	if d.offered > received {
		d.missed = d.offered - received
	}
	s.owed = d
	b.counter.missed.Add(d.missed - min(counted, d.missed))
	return d.missed, true
}

// checkHeartbeat removes the sessions whose gateway did not come back in time,
// until ctx ends. That a link is silent is found by its own read deadline.
func (b *connectBucket) checkHeartbeat(ctx context.Context) {
	tick := time.NewTicker(max(b.opt.grace()/8, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			b.expire(now)
		}
	}
}

// expire removes the sessions whose grace time is over at now.
func (b *connectBucket) expire(now time.Time) {
	var gone []*session
	b.mu.Lock()
	for id, s := range b.byCluster {
		if s.state == sessionDetached && now.After(s.expires) {
			s.enterLocked(sessionGone)
			delete(b.byCluster, id)
			gone = append(gone, s)
		}
	}
	b.mu.Unlock()
	for _, s := range gone {
		topics := s.index.topics.Load()
		b.registry.drop(s)
		b.log.Warn("gateway did not come back, its topics are removed", "gateway", s.id, "epoch", s.epoch, "topics", topics)
	}
}

// gateway is what is told of one session.
type gateway struct {
	*session

	state sessionState
	since time.Time
}

// gateways lists those that hold a link or may come back, by name, with their
// states of one instant. A link that has not said what it is is none of them.
func (b *connectBucket) gateways() []gateway {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]gateway, 0, len(b.byCluster)+len(b.byAddr))
	for _, sessions := range []map[string]*session{b.byCluster, b.byAddr} {
		for _, s := range sessions {
			if s.state != sessionUnknown {
				list = append(list, gateway{session: s, state: s.state, since: s.since})
			}
		}
	}
	slices.SortFunc(list, func(a, b gateway) int { return cmp.Compare(a.id, b.id) })
	return list
}

// broadcast queues a packet to every gateway that is up and tells to how many.
func (b *connectBucket) broadcast(packet []byte) (queued int) {
	for _, g := range b.gateways() {
		if g.state != sessionLive {
			continue
		}
		if _, ok := g.send(packet); ok {
			queued++
		}
	}
	return queued
}

// drain lets what is queued out, tells every gateway that this manager goes, and
// returns when all links have ended; at the latest when ctx is over.
func (b *connectBucket) drain(ctx context.Context) {
	b.mu.Lock()
	b.draining = true
	links := make([]*link, 0, len(b.open))
	for l := range b.open {
		links = append(links, l)
	}
	b.mu.Unlock()
	for _, l := range links {
		l.finish()
	}
	stop := context.AfterFunc(ctx, func() {
		for _, l := range links {
			l.end(evicted(EvictDraining, errors.New("drain_timeout is over")))
		}
	})
	defer stop()
	b.links.Wait()
}
