package gateway

import (
	"context"
	"fmt"
	"runtime"

	"google.golang.org/grpc"

	"firetower/core/topicpb"
)

// What benchmarks and tests of allocations drive one stage with, and nothing around it.

// idleTower is a stand-in for a connection: one that has ended, so that a write to it
// costs no system call.
func idleTower(g *Gateway, id uint64, b *Bucket, proto subprotocol) *FireTower {
	return &FireTower{gateway: g, id: id, bucket: b, proto: proto, state: stateClosed, fd: -1}
}

// Handover is the way of messages from centralChan to the lanes, whose consumers do not
// run: whoever hands over also takes.
type Handover struct {
	g      *Gateway
	pushes []*push
	batch  []item
}

// NewHandover makes a gateway that never runs, with one message of data for each of some
// topics, and a subscriber of each topic in every Bucket.
func NewHandover(o Options, topics int, data []byte) (*Handover, error) {
	g, err := New(o)
	if err != nil {
		return nil, err
	}
	h := &Handover{g: g}
	for i := range topics {
		name := fmt.Sprintf("room/%d", i)
		for _, b := range g.towers.buckets {
			g.towers.index.add(idleTower(g, uint64(i), b, v1), name)
		}
		h.pushes = append(h.pushes, &push{topic: name, data: data})
	}
	return h, nil
}

// Close frees what New has made.
func (h *Handover) Close() {
	if h.g.poller != nil {
		h.g.poller.close()
	}
}

// Hand dispatches one message to each topic.
func (h *Handover) Hand() {
	for _, p := range h.pushes {
		h.g.towers.dispatch(p, writing{})
	}
}

// Take empties the lanes as their consumers do, and tells how many items there were.
func (h *Handover) Take() (items int) {
	for _, b := range h.g.towers.buckets {
		for _, l := range b.lanes {
			for l.depth.Load() > 0 {
				h.batch = l.next(h.batch)
				size := 0
				for _, it := range h.batch {
					size += len(it.push.data)
				}
				h.g.towers.central.release(len(h.batch), size)
				items += len(h.batch)
				clear(h.batch)
			}
		}
	}
	return items
}

// LaneQueue is one lane with what is put into it.
type LaneQueue struct {
	l     *lane
	one   []*push
	batch []item
}

// NewLaneQueue makes a lane that hands out at most take items at once.
func NewLaneQueue(take int) *LaneQueue {
	return &LaneQueue{l: NewLane(take).l, one: []*push{{topic: "room"}}}
}

// Pass puts n items in and takes them out.
func (q *LaneQueue) Pass(n int) {
	for range n {
		q.l.push(nil, q.one)
	}
	for n > 0 {
		q.batch = q.l.next(q.batch)
		n -= len(q.batch)
	}
}

// Delivery is the way of messages through a gateway that runs: dispatched, queued to the
// consumers, joined, and written to the sockets.
type Delivery struct {
	g      *Gateway
	pushes []*push
}

// NewDelivery prepares some messages of data to each of some topics.
func NewDelivery(g *Gateway, topics []string, data []byte, messages int) *Delivery {
	d := &Delivery{g: g}
	for range messages {
		for _, name := range topics {
			d.pushes = append(d.pushes, &push{topic: name, data: data})
		}
	}
	return d
}

// Deliver sends the messages and waits until the consumers have written them.
func (d *Delivery) Deliver() {
	for _, p := range d.pushes {
		d.g.towers.dispatch(p, writing{})
	}
	for d.g.towers.central.waiting() > 0 {
		runtime.Gosched()
	}
}

// NewFanOutOf is NewFanOutAlone for some connections of each subprotocol.
func NewFanOutOf(g *Gateway, ofV0, ofV1 int, data []byte, messages int) *FanOut {
	t := &topic{name: "room"}
	f := &FanOut{w: newTestWriter(g), list: &subscriberList{topic: t}}
	for i := range ofV0 + ofV1 {
		proto := v0
		if i >= ofV0 {
			proto = v1
		}
		f.list.add(&subscription{tower: idleTower(g, uint64(i), nil, proto), topic: t, list: f.list})
	}
	for range messages {
		f.t = append(f.t, &push{topic: "room", data: data})
	}
	return f
}

// BuildFrames makes the frame of a new message for each subprotocol, those that ask for it,
// and returns their length.
func BuildFrames(topicName string, data []byte, ofV0, ofV1 bool) (n int) {
	p := push{topic: topicName, data: data}
	if ofV0 {
		n += len(p.frame(variantOf(v0, false), nil))
	}
	if ofV1 {
		n += len(p.frame(variantOf(v1, false), nil))
	}
	return n
}

// Subscribers is the list of a topic's subscribers in one Bucket.
type Subscribers struct {
	list  *subscriberList
	spare *subscription
}

// NewSubscribers makes a list of n, and one subscription more that comes and goes.
func NewSubscribers(n int) *Subscribers {
	t := &topic{name: "room"}
	s := &Subscribers{list: &subscriberList{topic: t}}
	for i := range n + 1 {
		s.spare = &subscription{tower: idleTower(nil, uint64(i), nil, v1), topic: t, list: s.list}
		if i < n {
			s.list.add(s.spare)
		}
	}
	return s
}

// AddRemove has a subscriber come and go.
func (s *Subscribers) AddRemove() {
	s.list.add(s.spare)
	s.list.remove(s.spare)
}

// Borrow lends the list to a consumer and takes it back, and tells how long it was.
func (s *Subscribers) Borrow() int {
	n := len(s.list.borrow(variantOf(v1, false)))
	s.list.giveBack(variantOf(v1, false))
	return n
}

// AddRemoveLent has a subscriber come and go while a consumer has the list.
func (s *Subscribers) AddRemoveLent() {
	s.list.borrow(variantOf(v1, false))
	s.AddRemove()
	s.list.giveBack(variantOf(v1, false))
}

// Churn has connection i of the index subscribe to a topic and leave it.
func (x *TopicIndex) Churn(i int, topic string) {
	sub, _ := x.x.add(x.towers[i], topic)
	x.x.remove(sub)
	sub.topic.shard.mu.Lock()
	x.x.dropIfIdleLocked(sub.topic)
	sub.topic.shard.mu.Unlock()
}

// Has looks a topic up.
func (x *TopicIndex) Has(topic string) bool { return x.x.find(topic) != nil }

// promptManager answers at once, and counts.
type promptManager struct {
	topicpb.TopicServiceClient
	calls, topics int64
}

// SyncTopics is the manager's.
func (m *promptManager) SyncTopics(_ context.Context, in *topicpb.SyncTopicsRequest, _ ...grpc.CallOption) (*topicpb.SyncTopicsResponse, error) {
	m.calls++
	m.topics += int64(len(in.Topics))
	return &topicpb.SyncTopicsResponse{}, nil
}

// Storm is many clients that subscribe and leave, and what the registrar tells of it.
type Storm struct {
	r       *Registrar
	manager *promptManager
}

// NewStorm makes a gateway that never runs, linked to a manager that answers at once.
func NewStorm(o Options) (*Storm, error) {
	r, err := NewRegistrar(o)
	if err != nil {
		return nil, err
	}
	s := &Storm{r: r, manager: new(promptManager)}
	r.g.registrar.client = s.manager
	r.Snapshot(1)
	r.Begin(1)
	return s, nil
}

// Close frees what New has made.
func (s *Storm) Close() error {
	if s.r.g.poller != nil {
		s.r.g.poller.close()
	}
	return s.r.Close()
}

// Pass has each of some clients subscribe to each topic, tells the manager, has all leave,
// and tells it again. It returns how many calls that were, and how many topics in them.
func (s *Storm) Pass(ctx context.Context, topics []string, clients int) (calls, told int64, err error) {
	s.manager.calls, s.manager.topics = 0, 0
	index, registrar := s.r.g.towers.index, s.r.g.registrar
	subs := make([]*subscription, 0, clients*len(topics))
	for range clients {
		for _, name := range topics {
			sub, first := index.add(s.r.tower, name)
			registrar.changed(sub.topic, first)
			subs = append(subs, sub)
		}
	}
	if err := s.settle(ctx); err != nil {
		return 0, 0, err
	}
	for _, sub := range subs {
		registrar.changed(sub.topic, index.remove(sub))
	}
	err = s.settle(ctx)
	return s.manager.calls, s.manager.topics, err
}

func (s *Storm) settle(ctx context.Context) error {
	for more := true; more; {
		var err error
		if more, err = s.r.g.registrar.sync(ctx); err != nil {
			return err
		}
	}
	return nil
}

// HeartbeatRound is a Bucket with connections, as the heartbeat walks over them.
type HeartbeatRound struct {
	b      *Bucket
	towers []*FireTower
	slot   int
}

// NewHeartbeatRound makes a Bucket of n connections.
func NewHeartbeatRound(n int) *HeartbeatRound {
	h := &HeartbeatRound{b: &Bucket{}}
	for i := range n {
		h.b.add(idleTower(nil, uint64(i), h.b, v1))
	}
	return h
}

// Slot takes the connections of the next slot and looks after each; they have nothing to
// be told. It tells how many there were.
func (h *HeartbeatRound) Slot() int {
	h.slot = (h.slot + 1) % heartbeatSlots
	h.towers = h.b.appendSlot(h.towers[:0], h.slot)
	for _, t := range h.towers {
		t.beat(nil, nil, false)
	}
	return len(h.towers)
}
