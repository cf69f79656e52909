package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/klauspost/compress/flate"
	"google.golang.org/grpc"

	"firetower/core/rawio"
	"firetower/core/topicpb"
)

// The tests' view of the inside.

// Backoff draws the waits of a redial.
func Backoff(least, most int64, n int) []int64 {
	b := newBackoff(time.Duration(least), time.Duration(most))
	waits := make([]int64, n)
	for i := range waits {
		waits[i] = int64(b.next())
	}
	return waits
}

// TopicIndex is the index of subscriptions with a stand-in for connections.
type TopicIndex struct {
	x      *topicIndex
	towers []*FireTower
}

// NewTopicIndex makes an index for n connections over buckets.
func NewTopicIndex(n, buckets int) *TopicIndex {
	x := &TopicIndex{x: newTopicIndex(buckets, 3, func(string) bool { return false })}
	for i := range n {
		x.towers = append(x.towers, &FireTower{id: uint64(i), proto: subprotocol(i % 2), compressed: i%3 == 0, bucket: &Bucket{index: i % buckets}})
	}
	return x
}

// Add subscribes connection i and returns what removes it again.
func (x *TopicIndex) Add(i int, topic string) (remove func()) {
	sub, _ := x.x.add(x.towers[i], topic)
	return func() {
		x.x.remove(sub)
		sub.topic.shard.mu.Lock()
		x.x.dropIfIdleLocked(sub.topic)
		sub.topic.shard.mu.Unlock()
	}
}

// Borrow returns the ids that the fan-out would write to, and holds the lists as
// a consumer does until giveBack.
func (x *TopicIndex) Borrow(topic string) (ids map[uint64]int, giveBack func()) {
	ids = make(map[uint64]int)
	t := x.x.find(topic)
	if t == nil {
		return ids, func() {}
	}
	var held []func()
	for i := range t.lists {
		l := t.lists[i].Load()
		if l == nil {
			continue
		}
		for v := range variants {
			for _, tower := range l.borrow(v) {
				ids[tower.id]++
			}
			held = append(held, func() { l.giveBack(v) })
		}
	}
	return ids, func() {
		for _, f := range held {
			f()
		}
	}
}

// Size is how many topics and subscriptions there are.
func (x *TopicIndex) Size() (topics, subscriptions int64) { return x.x.size.Load(), x.x.subs.Load() }

// Backlog runs the slow-consumer queue alone.
type Backlog struct {
	b backlog
	t map[string]*topic
}

// Append adds a frame; an empty topic is a frame that is no push.
func (b *Backlog) Append(topicName string, data []byte, begun bool) {
	if b.t == nil {
		b.t = make(map[string]*topic)
	}
	var t *topic
	if topicName != "" {
		if t = b.t[topicName]; t == nil {
			t = &topic{name: topicName}
			b.t[topicName] = t
		}
	}
	b.b.append(entry{data: data, topic: t, begun: begun})
}

// InFlight marks the first n frames as being written.
func (b *Backlog) InFlight(n int) { b.b.inFlight = n }

// Advance, DropOldest, DropTopic and Truncate call the queue's own.
func (b *Backlog) Advance(n int) int { return b.b.advance(n, func(int64) {}) }

// DropOldest makes room.
func (b *Backlog) DropOldest(size, maxBytes, maxMessages int) (int, bool) {
	return b.b.dropOldest(size, maxBytes, maxMessages)
}

// DropTopic drops a topic's frames.
func (b *Backlog) DropTopic(name string) int { return b.b.dropTopic(b.t[name]) }

// Truncate drops all that has not begun.
func (b *Backlog) Truncate() int { return b.b.truncate() }

// Frames are what waits, with bytes and messages as counted.
func (b *Backlog) Frames() (frames []string, bytes, messages int) {
	for _, e := range b.b.entries[b.b.head:] {
		frames = append(frames, string(e.data))
	}
	return frames, b.b.bytes, b.b.messages
}

// Lane is one consumer's queue.
type Lane struct {
	l     *lane
	batch []item
}

// NewLane makes a queue that hands out at most take items at once.
func NewLane(take int) *Lane {
	l := &lane{take: take}
	l.filled.L = &l.mu
	return &Lane{l: l}
}

// Push and Next go through the queue with a topic as the payload.
func (l *Lane) Push(topic string) { l.l.push(nil, []*push{{topic: topic}}) }

// Close ends the queue.
func (l *Lane) Close() { l.l.close() }

// Next returns what a consumer takes at once.
func (l *Lane) Next() []string {
	var topics []string
	l.batch = l.l.next(l.batch)
	for _, it := range l.batch {
		topics = append(topics, it.push.topic)
	}
	return topics
}

// FanOut is a consumer's write of one topic's messages to connections.
type FanOut struct {
	w    batchWriter
	list *subscriberList
	t    []*push
}

func newTestWriter(g *Gateway) batchWriter {
	return batchWriter{
		joinBytes: g.opts.JoinBytes, joinMessages: g.opts.JoinMessages, rings: &g.towers.rings,
		metrics: g.metrics, clock: &g.clock, stages: new(laneStages), compressor: g.compressor,
	}
}

// NewFanOut prepares delivering messages of data to the subscribers of a topic
// in the first Bucket.
func NewFanOut(g *Gateway, topicName string, data []byte, messages int) *FanOut {
	f := &FanOut{w: newTestWriter(g)}
	f.list = g.towers.index.find(topicName).lists[0].Load()
	for range messages {
		f.t = append(f.t, &push{topic: topicName, data: data})
	}
	return f
}

// NewFanOutAlone prepares delivering to connections that have ended: all that a
// fan-out does but the system calls.
func NewFanOutAlone(g *Gateway, connections, messages int) *FanOut {
	t := &topic{name: "room"}
	f := &FanOut{w: newTestWriter(g), list: &subscriberList{topic: t}}
	for range connections {
		tower := &FireTower{gateway: g, state: stateClosed, fd: -1}
		f.list.add(&subscription{tower: tower, topic: t, list: f.list})
	}
	for range messages {
		f.t = append(f.t, &push{topic: "room", data: []byte(`"x"`)})
	}
	return f
}

// Deliver writes the messages once to every subscriber.
func (f *FanOut) Deliver() {
	f.list.pending = append(f.list.pending[:0], f.t...)
	f.w.now = f.w.clock.now()
	f.w.deliver(f.list.pending, []*subscriberList{f.list})
	f.list.pending = f.list.pending[:0]
}

// Registrar drives what tells the manager of topics, with a manager that answers when
// the test lets it.
type Registrar struct {
	g     *Gateway
	tower *FireTower
	// Calls are the requests; each waits for an answer in Answers.
	Calls   chan *topicpb.SyncTopicsRequest
	Answers chan error
	topicpb.TopicServiceClient
}

// NewRegistrar makes a gateway that never runs.
func NewRegistrar(o Options) (*Registrar, error) {
	o.ManagerLink, o.ManagerGRPC = "127.0.0.1:1", "127.0.0.1:1"
	g, err := New(o)
	if err != nil {
		return nil, err
	}
	r := &Registrar{
		g: g, tower: &FireTower{gateway: g, bucket: g.towers.buckets[0]},
		Calls: make(chan *topicpb.SyncTopicsRequest), Answers: make(chan error),
	}
	g.registrar.client = r
	return r, nil
}

// Close frees what New has made.
func (r *Registrar) Close() error { return r.g.grpc.Close() }

// SyncTopics is the manager's.
func (r *Registrar) SyncTopics(_ context.Context, in *topicpb.SyncTopicsRequest, _ ...grpc.CallOption) (*topicpb.SyncTopicsResponse, error) {
	r.Calls <- in
	return &topicpb.SyncTopicsResponse{}, <-r.Answers
}

// Join subscribes to a topic and returns what leaves it again.
func (r *Registrar) Join(topic string) (leave func()) {
	sub, first := r.g.towers.index.add(r.tower, topic)
	r.g.registrar.changed(sub.topic, first)
	return func() { r.g.registrar.changed(sub.topic, r.g.towers.index.remove(sub)) }
}

// Snapshot, Begin and Sync are a session's beginning, its confirmation, and one call.
func (r *Registrar) Snapshot(epoch int64) []*topicpb.TopicCount { return r.g.registrar.snapshot(epoch) }

// Begin confirms a session; 0 ends it.
func (r *Registrar) Begin(epoch int64) { r.g.registrar.begin(epoch) }

// Sync sends one batch.
func (r *Registrar) Sync(ctx context.Context) error {
	_, err := r.g.registrar.sync(ctx)
	return err
}

// WritesManyAtOnce tells whether the flusher of a client's connection has a writev.
func WritesManyAtOnce(t *FireTower) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stream == nil {
		return t.fd >= 0
	}
	switch innermost(t.stream.conn).(type) {
	case *net.TCPConn, *rawio.Conn:
		return true
	default:
		return false
	}
}

// BorrowLanes borrows every lane, as a dispatcher does that writes, until the returned
// function is called.
func BorrowLanes(g *Gateway) (giveBack func()) { return borrowLanes(g.towers.buckets) }

// BorrowBucket borrows the lanes of one Bucket alone.
func BorrowBucket(g *Gateway, bucket int) (giveBack func()) {
	return borrowLanes(g.towers.buckets[bucket : bucket+1])
}

func borrowLanes(buckets []*Bucket) (giveBack func()) {
	var lanes []*lane
	for _, b := range buckets {
		for _, l := range b.lanes {
			if l.borrow() {
				lanes = append(lanes, l)
			}
		}
	}
	return func() {
		for _, l := range lanes {
			l.giveBack()
		}
	}
}

// ParseProxyHeader reads the header at the beginning of b; more tells that it may be
// complete with further bytes, none that there is no header.
func ParseProxyHeader(b []byte) (remote netip.AddrPort, size int, more, none bool, err error) {
	remote, size, err = parseProxyHeader(b)
	return remote, size, errors.Is(err, errProxyMore), errors.Is(err, errProxyNone), err
}

// MaxProxyHeader bounds a PROXY header.
const MaxProxyHeader = maxProxyHeader

// Admission is who may begin a handshake, alone.
type Admission struct {
	a admission
	c clock
}

// NewAdmission makes one on the present clock.
func NewAdmission(o AdmissionOptions) *Admission {
	a := &Admission{c: newClock()}
	a.a.init(o, &a.c)
	return a
}

// Enter, Leave and RetryAfter are the gateway's.
func (a *Admission) Enter() (int64, error) { return a.a.enter() }

// Leave ends a handshake.
func (a *Admission) Leave(began int64) { a.a.leave(began) }

// RetryAfter is what a refused client is told, in seconds.
func (a *Admission) RetryAfter(why error, window time.Duration) int {
	return a.a.retryAfter(why, window)
}

// WritesDirectly tells whether consumers write to a connection's descriptor.
func WritesDirectly(t *FireTower) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fd >= 0
}

// CountedAddresses is how many client addresses have connections that are counted.
func CountedAddresses(g *Gateway) (n int) {
	for i := range g.towers.addresses.shards {
		s := &g.towers.addresses.shards[i]
		s.mu.Lock()
		n += len(s.n)
		s.mu.Unlock()
	}
	return n
}

// CompressFrame compresses a text message at a level, however small it is, and returns the frame.
func CompressFrame(level int, payload []byte) []byte {
	c := newClock()
	z := newCompressor(CompressionOptions{Enabled: true, Threshold: 1, Level: level}, newMetrics(), &c)
	return z.compress(appendFrame(nil, opText, payload))
}

// Deflate returns the payload of a compressed message, also where it is larger.
func Deflate(level int, payload []byte) []byte {
	var d deflater
	d.w, _ = flate.NewWriter(&d.out, level)
	return slices.Clone(d.deflate(payload))
}

// Compressor compresses messages as a gateway does.
type Compressor struct{ z *compressor }

// NewCompressor makes one that leaves no message out.
func NewCompressor(level int) *Compressor {
	c := newClock()
	return &Compressor{newCompressor(CompressionOptions{Enabled: true, Threshold: 1, Level: level}, newMetrics(), &c)}
}

// Frame compresses a frame.
func (c *Compressor) Frame(plain []byte) []byte { return c.z.compress(plain) }

// TextFrame is a message's plain frame.
func TextFrame(payload []byte) []byte { return appendFrame(nil, opText, payload) }

// Inflater inflates clients' compressed messages as a gateway does.
type Inflater struct {
	p       inflaters
	in, out readBuffer
}

// Inflate returns what a message holds, until the next call.
func (i *Inflater) Inflate(deflated []byte, limit int) ([]byte, error) {
	i.in.bytes = append(i.in.bytes[:0], deflated...)
	err := i.p.inflate(&i.out, &i.in, limit)
	return i.out.bytes, err
}

// Inflate is Inflater's, once.
func Inflate(deflated []byte, limit int) ([]byte, error) {
	return new(Inflater).Inflate(deflated, limit)
}

// ErrDeflate is what Inflate fails with.
var ErrDeflate = errDeflate

// NewLinkReader is a linkReader of a link that stands.
func NewLinkReader(conn net.Conn, patience time.Duration) io.Reader {
	return &linkReader{conn: conn, patience: patience}
}

// WritePatiently is writePatiently.
func WritePatiently(conn net.Conn, packets *net.Buffers, patience time.Duration) error {
	return writePatiently(conn, packets, patience)
}

// Turns is a consumer that the test has take and write turn by turn, to connections that
// have ended.
type Turns struct {
	l     *lane
	lists []*subscriberList
	batch []item
}

// NewTurns makes one with a topic for each number of subscribers, that takes at most take
// messages at once of at most central messages and as many KiB, and joins at most join to a write.
func NewTurns(take, central, join int, subscribers ...int) *Turns {
	m := &TowerManager{gateway: &Gateway{clock: newClock()}, metrics: newMetrics()}
	m.gateway.opts = Options{JoinBytes: 600 << 10, JoinMessages: join, Bucket: BucketOptions{BuffChanCount: take}}
	m.central.init(central, central<<10)
	t := &Turns{l: newLane(m)}
	for range subscribers {
		t.lists = append(t.lists, &subscriberList{topic: &topic{name: "room"}})
	}
	for i, list := range t.lists {
		for range subscribers[i] {
			tower := &FireTower{gateway: m.gateway, state: stateClosed, fd: -1}
			list.add(&subscription{tower: tower, topic: list.topic, list: list})
		}
	}
	return t
}

// Push queues messages of so many bytes for one of the topics, which came in the last spread.
func (t *Turns) Push(topic, messages, bytes int, spread time.Duration) {
	for i := range messages {
		came := time.Duration(messages-1-i) * spread / time.Duration(max(messages-1, 1)) // ago
		p := &push{topic: "room", data: make([]byte, bytes), queued: t.l.writer.clock.now() - int64(came)}
		t.l.central.admit(1, bytes)
		t.l.push(t.lists[topic], []*push{p})
	}
}

// Inline has a dispatcher write a message to one of the topics, and reports whether it could.
func (t *Turns) Inline(topic int) bool {
	if !t.l.borrow() {
		return false
	}
	t.l.central.admit(1, 1)
	t.l.lend(t.l, t.lists[topic])
	t.l.writeLent([]*push{{topic: "room", data: []byte("1")}}, 1, nil)
	return true
}

// Idle has the consumer give the lane back, as when it waits for work.
func (t *Turns) Idle() { t.l.giveBack() }

// Turn takes what waits and writes it, which takes so long, and rests for the returned time.
// It returns how many messages it took, too.
func (t *Turns) Turn(took time.Duration) (messages int, rested time.Duration) {
	t.batch = t.l.next(t.batch)
	before := t.l.round
	t.l.write(t.batch)
	if t.l.round.ended != t.l.writer.clock.now() {
		panic("the round has not been ended")
	}
	// It took no time: it is ended again, when it has.
	t.l.round.ended, t.l.round.busy = before.ended, before.busy
	time.Sleep(took) //nolint:forbidigo // the bubble's clock
	now := t.l.writer.clock.now()
	t.l.round.end(took, now)
	t.l.rest()
	return len(t.batch), time.Duration(t.l.writer.clock.now() - now)
}

// JoinSlowly is Join that tells the registrar of the end apart: leave takes the subscription out
// of the index, and what it returns tells of it.
func (r *Registrar) JoinSlowly(topic string) (leave func() (told func())) {
	sub, first := r.g.towers.index.add(r.tower, topic)
	r.g.registrar.changed(sub.topic, first)
	return func() func() {
		last := r.g.towers.index.remove(sub)
		return func() { r.g.registrar.changed(sub.topic, last) }
	}
}

// Cut takes a batch as Sync does, and tell makes the call with it.
func (r *Registrar) Cut() (tell func(context.Context) error) {
	b := r.g.registrar.cut()
	return func(ctx context.Context) error {
		_, err := r.g.registrar.tell(ctx, b)
		return err
	}
}

// WaitKnown waits until the manager knows a topic, which it does not when the index does not.
func (r *Registrar) WaitKnown(ctx context.Context, topic string) error {
	t := r.g.towers.index.find(topic)
	if t == nil {
		return ErrNotRegistered
	}
	return r.g.registrar.waitKnown(ctx, t)
}

// Topics is how many topics are in the index.
func (r *Registrar) Topics() int64 { return r.g.Stats().Topics }

// Dial has calls go over gRPC to an address, with connections that dial makes.
func (r *Registrar) Dial(address string, dial func(context.Context, string) (net.Conn, error)) error {
	_ = r.g.grpc.Close()
	r.g.opts.ManagerGRPC = address
	conn, err := dialManager(&r.g.opts, grpc.WithContextDialer(dial))
	if err != nil {
		return err
	}
	r.g.grpc, r.g.registrar.client = conn, topicpb.NewTopicServiceClient(conn)
	return nil
}

// Exists is the gateway's CheckTopicExist.
func (r *Registrar) Exists(ctx context.Context, topic string) (bool, error) {
	return r.g.CheckTopicExist(ctx, topic)
}

// ManagerTarget is managerTarget.
func ManagerTarget(address string) string { return managerTarget(address) }
