package manager

import (
	"context"
	"fmt"
	"net"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"

	"firetower/core/protocol"
	"firetower/core/topicpb"
)

// Registry is topicRelevance for tests.
type Registry struct{ r *topicRelevance }

// Session is session for tests.
type Session = session

// NewRegistry makes an empty registry.
func NewRegistry() Registry { return Registry{newTopicRelevance(1 << 30)} }

// NewSession makes a session that is in no table and has no link.
func NewSession(id string, queueMessages, queueBytes int) *Session {
	return &session{id: id, queue: newLinkQueue(queueMessages, queueBytes), counter: newCounters()}
}

// Set is topicRelevance.set for one topic.
func (r Registry) Set(s *Session, topic string, count int64) bool {
	return r.r.set(s, []topicCount{{topic, count}}) == nil
}

// SetAll is topicRelevance.set.
func (r Registry) SetAll(s *Session, counts map[string]int64) bool {
	return r.r.set(s, listOf(counts)) == nil
}

// Add is topicRelevance.add.
func (r Registry) Add(s *Session, delta int64, topics ...string) bool {
	return r.r.add(s, topics, delta) == nil
}

// Replace is topicRelevance.replace.
func (r Registry) Replace(old, to *Session, counts map[string]int64) {
	r.r.replace(old, to, listOf(counts))
}

// Drop is topicRelevance.drop.
func (r Registry) Drop(s *Session) { r.r.drop(s) }

// Lookup appends the sessions with a topic to buf, and tells its subscribers.
func (r Registry) Lookup(topic string, buf []*Session) ([]*Session, int64) {
	return r.r.lookup(topic, buf)
}

// Totals are the numbers of topics and of subscriptions.
func (r Registry) Totals() (topics, subscribers int64) {
	return r.r.topics.Load(), r.r.subscribers.Load()
}

// Publish is bus.publish with its receipt's numbers.
func (r Registry) Publish(topic string, packet []byte) (matched, queued int) {
	b := bus{registry: r.r, counter: sharedCounters}
	got := b.publish(topic, packet, ViaGRPC, sharedCounters.now())
	return got.matched, got.queued
}

// sharedCounters take what benchmarks count.
var sharedCounters = newCounters()

// Row is one topic of a list.
type Row struct {
	Topic       string
	Subscribers int64
	Gateways    int
}

// Top is topicRelevance.top.
func (r Registry) Top(limit int, match func(string) bool) (rows []Row, total int64) {
	list, total := r.r.top(limit, match)
	for _, t := range list {
		rows = append(rows, Row{t.topic, t.subscribers, t.gateways})
	}
	return rows, total
}

// Counts are all counts of a session, by its index.
func (r Registry) Counts(s *Session) map[string]int64 {
	out := make(map[string]int64)
	for i := range r.r.shards {
		sh := &r.r.shards[i]
		sh.mu.RLock()
		for _, e := range s.index.shards[i] {
			out[e.topic] = sh.countLocked(s, e.topic)
		}
		sh.mu.RUnlock()
	}
	return out
}

// Check tells what is wrong within the registry, nil when nothing is.
func (r Registry) Check() error {
	var topics, subscribers int64
	perSession := make(map[*session]int64)
	for i := range r.r.shards {
		sh := &r.r.shards[i]
		sh.mu.RLock()
		defer sh.mu.RUnlock()
		for topic, e := range sh.topics {
			var sum int64
			for ref := range e.all {
				if ref.count <= 0 {
					return fmt.Errorf("%s: count %d of %s", topic, ref.count, ref.to.id)
				}
				if e.of(ref.to) != ref {
					return fmt.Errorf("%s: %s twice", topic, ref.to.id)
				}
				if list := ref.to.index.shards[i]; int(ref.at) >= len(list) || list[ref.at] != e {
					return fmt.Errorf("%s: not in its place of the index of %s", topic, ref.to.id)
				}
				if ref.to.index.gone.Load() {
					return fmt.Errorf("%s: held by %s, which is gone", topic, ref.to.id)
				}
				sum += int64(ref.count)
				perSession[ref.to]++
			}
			if e.gateways() == 0 || (e.others != nil && len(*e.others) == 0) {
				return fmt.Errorf("%s: kept without a reference", topic)
			}
			topics++
			subscribers += sum
		}
	}
	for s, n := range perSession {
		if got := s.index.topics.Load(); got != n {
			return fmt.Errorf("%s: index counts %d topics, has %d", s.id, got, n)
		}
	}
	if t, n := r.Totals(); t != topics || n != subscribers {
		return fmt.Errorf("totals say %d topics and %d subscribers, there are %d and %d", t, n, topics, subscribers)
	}
	return nil
}

// ID is the session's name.
func (s *session) ID() string { return s.id }

// Offered is how many messages the session should have had.
func (s *session) Offered() uint64 { return s.offered.Load() }

// Drain takes all that waits, as a writer does, and tells how many that were.
func (s *session) Drain() int {
	taken, _ := s.queue.take(waiting{})
	packets := taken.packets
	bytes := 0
	for _, p := range packets {
		bytes += len(p)
	}
	s.queue.written(len(packets), bytes)
	return len(packets)
}

// Grow makes room for so many packets, so that putting them allocates nothing.
func (s *session) Grow(packets int) {
	s.queue.pending.packets = slices.Grow(s.queue.pending.packets, packets)
	s.queue.pending.since = slices.Grow(s.queue.pending.since, packets)
}

// Published is how many messages came by a way.
func (m *Manager) Published(via Via) uint64 { return m.counter.publishes[via].Load() }

// Queue is linkQueue for tests.
type Queue struct{ q *linkQueue }

// NewQueue makes a queue with its bounds.
func NewQueue(messages, bytes int) Queue { return Queue{newLinkQueue(messages, bytes)} }

// PutAt puts a packet of a size that goes to so many links at a time, by a queue that
// lets who puts write, and tells as Put, or "direct".
func (q Queue) PutAt(size int, now int64, links int) string {
	return queueResults[q.q.put(make([]byte, size), now, links)]
}

// AllowDirect is linkQueue.allowDirect.
func (q Queue) AllowDirect() { q.q.allowDirect() }

// ForbidDirect is linkQueue.forbidDirect.
func (q Queue) ForbidDirect() { q.q.forbidDirect() }

// Sent is linkQueue.sent for a packet of a size.
func (q Queue) Sent(size, n int, now int64) { q.q.sent(make([]byte, size), n, now, now) }

// TakeTurn is linkQueue.takeTurn.
func (q Queue) TakeTurn() bool { return q.q.takeTurn() }

// Woken takes the token that wakes the writer, and tells whether there was one.
func (q Queue) Woken() bool {
	select {
	case <-q.q.wake:
		return true
	default:
		return false
	}
}

// DirectGap is how long a link must be quiet for each link of a message, in nanoseconds.
const DirectGap = directGap

// DirectBytes is the largest packet that who publishes writes.
const DirectBytes = directBytes

var queueResults = [...]string{putQueued: "queued", putShut: "shut", putFull: "full", putDirect: "direct"}

// Put puts a packet of a size and tells "queued", "shut" or "full".
func (q Queue) Put(size int) string {
	return queueResults[q.q.put(make([]byte, size), untimed, 0)]
}

// Take is linkQueue.take, with the numbers of what it took.
func (q Queue) Take() (messages, bytes int, last bool) {
	taken, last := q.q.take(waiting{})
	packets := taken.packets
	for _, p := range packets {
		bytes += len(p)
	}
	return len(packets), bytes, last
}

// Written is linkQueue.written.
func (q Queue) Written(messages, bytes int) { q.q.written(messages, bytes) }

// Flush is linkQueue.flush.
func (q Queue) Flush() { q.q.flush() }

// Close is linkQueue.close.
func (q Queue) Close() int { return q.q.close() }

// Size is linkQueue.size.
func (q Queue) Size() (messages, bytes int) { return q.q.size() }

// NormalAddr is normalAddr.
func NormalAddr(addr string) string { return normalAddr(addr) }

func listOf(counts map[string]int64) []topicCount {
	list := make([]topicCount, 0, len(counts))
	for topic, n := range counts {
		list = append(list, topicCount{topic, n})
	}
	return list
}

// Packer is what packs messages.
type Packer struct{ s *topicService }

// NewPacker makes one without a server.
func NewPacker() Packer {
	return Packer{newTopicService(DefaultOptions(), "0123456789abcdef", nil, nil, nil)}
}

// Pack is topicService.pack.
func (p Packer) Pack(in *topicpb.PublishRequest) ([]byte, error) { return p.s.pack(in) }

// Bucket is connectBucket for tests that bring their own connections and clock.
type Bucket struct {
	b *connectBucket
}

// NewBucket makes one without any listener.
func NewBucket(opt Options) Bucket {
	registry, counter := newTopicRelevance(opt.MaxTopicsPerGateway), newCounters()
	return Bucket{newConnectBucket(opt, "manager", registry, counter, &bus{registry: registry, counter: counter})}
}

// Serve runs one link to its end.
func (b Bucket) Serve(conn net.Conn) { b.b.serveLink(context.Background(), conn) }

// CheckHeartbeat is connectBucket.checkHeartbeat.
func (b Bucket) CheckHeartbeat(ctx context.Context) { b.b.checkHeartbeat(ctx) }

// Publish packs and publishes a message.
func (b Bucket) Publish(topic string, body []byte) (matched, queued int, err error) {
	packet, err := protocol.Enpack(protocol.Packet{Type: protocol.PublishKey, MessageID: "1", Source: protocol.SourceUser, Topic: topic, Body: body})
	if err != nil {
		return 0, 0, err
	}
	r := b.b.bus.publish(topic, packet, ViaGRPC, b.b.counter.now())
	return r.matched, r.queued, nil
}

// State is the state of a gateway, empty when it is not known.
func (b Bucket) State(id string) string {
	for _, g := range b.b.gateways() {
		if g.id == id {
			return g.state.String()
		}
	}
	return ""
}

// Subscribers is topicRelevance.number.
func (b Bucket) Subscribers(topic string) int64 { return b.b.registry.number(topic) }

// Evictions is how many links were ended for a reason.
func (b Bucket) Evictions(reason EvictReason) uint64 { return b.b.counter.evictions[reason].Load() }

// NewPublishCodec is newPublishCodec.
func NewPublishCodec() encoding.CodecV2 { return newPublishCodec() }

// ReadPublishRequest is readPublishRequest.
func ReadPublishRequest(b []byte, in *topicpb.PublishRequest) bool { return readPublishRequest(b, in) }

// CallWhileDraining is a unary call at a manager that drains.
func CallWhileDraining(method string, next grpc.UnaryHandler) error {
	s := &topicService{gate: newGate()}
	s.gate.close()
	_, err := s.unary(context.Background(), nil, &grpc.UnaryServerInfo{FullMethod: method}, next)
	return err
}
