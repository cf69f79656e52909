package manager

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"firetower/core/protocol"
)

// sessionState is where a session stands. It only moves down this list.
type sessionState uint8

const (
	// sessionUnknown: a link is there and has not said what it is.
	sessionUnknown sessionState = iota
	// sessionLive: the link is up and the topics are known.
	sessionLive
	// sessionDetached: the link is lost; the topics stay for the grace time.
	sessionDetached
	// sessionGone: removed, or another session is in its place.
	sessionGone
)

func (s sessionState) String() string {
	switch s {
	case sessionLive:
		return "live"
	case sessionDetached:
		return "detached"
	case sessionGone:
		return "gone"
	default:
		return "unknown"
	}
}

// session is one link of one gateway, from its beginning until another takes its
// place or its grace time is over. A gateway of ours is known by its ClusterID
// and the epoch of the link; a legacy gateway by its TCP remote address.
type session struct {
	id      string // ClusterID, or the remote address of a legacy gateway
	epoch   int64  // 0 for a legacy gateway
	legacy  bool
	remote  string
	version string

	index   topicIndex
	queue   *linkQueue
	counter *counters
	// link is this session's connection; nil only in tests of the registry.
	link *link

	// offered counts the messages that this gateway should have had since the
	// epoch began, those lost included. It grows under a shard's order lock only.
	offered atomic.Uint64
	sent    atomic.Uint64 // packets written, heartbeats not counted
	dropped atomic.Uint64 // packets given up

	syncMu  sync.Mutex // guards the following; held while SyncTopics changes the registry
	syncSeq uint64     // of the last SyncTopics

	// The following are guarded by connectBucket.mu.
	state   sessionState
	since   time.Time // when it came into this state
	expires time.Time // when a detached session goes
	owed    debt
}

// debt is what a gateway has not been told of yet when its session begins. It is
// told in the welcome; but a link may break before the welcome comes, and then
// the next session begins with this debt and its own.
type debt struct {
	since   int64  // the epoch of the last session that the gateway saw established
	offered uint64 // messages offered to it from then on, until this session
	missed  uint64 // those of them that did not arrive, as counted in missed_total
}

// enterLocked puts the session into a state. connectBucket.mu is held.
func (s *session) enterLocked(state sessionState) {
	s.state, s.since = state, time.Now()
}

// publish queues a message for the gateway, now by the counters' clock, and tells why
// not if it could not. links is to how many links the message goes. When direct is
// true the caller has to write it, with link.writeDirect, once it holds no lock.
func (s *session) publish(packet []byte, now int64, links int) (lost DropReason, direct, ok bool) {
	s.offered.Add(1)
	return s.put(packet, now, links)
}

// send queues a packet that is not one of the counted messages.
func (s *session) send(packet []byte) (lost DropReason, ok bool) {
	lost, _, ok = s.put(packet, untimed, 0)
	return lost, ok
}

// put queues any packet but, to a legacy gateway, one without a body; see protocol.Packet.
func (s *session) put(packet []byte, now int64, links int) (lost DropReason, direct, ok bool) {
	if s.legacy && !hasBody(packet) {
		s.lose(DropNoBody, 1)
		return DropNoBody, false, false
	}
	switch s.queue.put(packet, now, links) {
	case putQueued:
		return "", false, true
	case putDirect:
		return "", true, true
	case putFull:
		lost = DropQueueFull
		if s.link != nil {
			s.link.end(evicted(EvictQueueFull, nil))
		}
	default:
		lost = DropLinkDown
	}
	s.lose(lost, 1)
	return lost, false, false
}

// hasBody tells whether anything follows a packet's header line. Only a packet that
// ends in LF is looked through for it.
func hasBody(packet []byte) bool {
	last := len(packet) - 1
	return last < protocol.HeaderSize || packet[last] != '\n' || bytes.IndexByte(packet[protocol.HeaderSize:last], '\n') >= 0
}

// lose counts packets that are given up.
func (s *session) lose(reason DropReason, n int) {
	if n > 0 {
		s.dropped.Add(uint64(n))
		s.counter.drops[reason].Add(uint64(n))
	}
}
