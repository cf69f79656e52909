package coretest_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"

	"firetower/core/coretest"
	"firetower/core/gateway"
	"firetower/core/protocol"
)

// The operations of a case are made of bytes, so that every case that shrinking comes to is a good
// one: two bits say what, the rest who and where.
const (
	clients = 6
	topics  = 4
	// burst is how many messages one publish operation sends, one after the other.
	burst = 25
	// settleTime is how long messages may take that do come.
	settleTime = 5 * time.Second
)

// shape is one way to set up the same service.
type shape struct {
	num, buffChan, consumers, central, join, gateways int
	// inline is up to how many subscribers the link's reader writes to.
	inline int
	// flush is for how long messages are collected.
	flush time.Duration
}

func (s shape) String() string {
	return fmt.Sprintf("Num %d, BuffChanCount %d, ConsumerNum %d, CentralChanCount %d, JoinBytes %d, %d gateways, InlineSubscribers %d, FlushInterval %v",
		s.num, s.buffChan, s.consumers, s.central, s.join, s.gateways, s.inline, s.flush)
}

// shapes are the corners, and some between.
var shapes = []shape{
	{1, 1000, 1, 100000, 64 << 10, 1, 0, 0},
	{1, 1, 1, 1, 1, 1, 0, 0},
	{4, 1000, 32, 100000, 64 << 10, 1, 32, 0},
	{8, 1, 8, 16, 64 << 10, 1, 1, 0},
	{2, 2, 3, 8, 200, 2, 0, time.Millisecond},
	{3, 64, 1, 1000, 64 << 10, 3, 2, 0},
	{7, 16, 5, 4, 1, 3, 0, 0},
	{1, 1000, 32, 100000, 64 << 10, 4, 32, 3 * time.Millisecond},
	{2, 1, 1, 1, 1, 2, 32, 0},
}

// TestMetamorphicShapesDeliverTheSame: the same operations under many settings of the gateways and
// with many gateways give every subscriber the same messages in the same order per topic: exactly
// those that a model says it must get.
func TestMetamorphicShapesDeliverTheSame(t *testing.T) {
	cases := 8
	if testing.Short() {
		cases = 2
	}
	for _, shape := range shapes {
		t.Run(strings.ReplaceAll(shape.String(), " ", "_"), func(t *testing.T) {
			w := newWorld(t, shape)
			holds(t, cases, prop.ForAll(func(genes []byte) (result string) {
				// gopter loses the case of a property that panics.
				defer func() {
					if r := recover(); r != nil {
						result = fmt.Sprintf("panic: %v", r)
					}
				}()
				return w.play(genes)
			}, gen.SliceOfN(60, gen.UInt8()).WithShrinker(gen.SliceShrinker(gen.UInt8Shrinker))))
		})
	}
}

// holds checks a property n times and reports its seed and the shrunk case.
func holds(t *testing.T, n int, property gopter.Prop) {
	t.Helper()
	seed := time.Now().UnixNano()
	if text := os.Getenv("FIRETOWER_PROP_SEED"); text != "" {
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatalf("FIRETOWER_PROP_SEED: must be an integer, is %q", text)
		}
		seed = value
	}
	t.Logf("FIRETOWER_PROP_SEED=%d", seed)
	params := gopter.DefaultTestParametersWithSeed(seed)
	params.MinSuccessfulTests = n
	params.MaxShrinkCount = 8 // each step plays a case on real sockets
	params.Workers = 1        // more would share one source of randomness: not to be repeated
	result := property.Check(params)
	if result.Passed() {
		return
	}
	t.Errorf("%s after %d passed; FIRETOWER_PROP_SEED=%d: %s", result.Status, result.Succeeded, seed, strings.Join(result.Labels, "; "))
	for _, arg := range result.Args {
		t.Errorf("shrunk %d times to: %s\nfrom: %s", arg.Shrinks, arg.Arg, arg.OrigArg)
	}
}

// world is one cluster, on which case after case is played with topics and clients of its own.
type world struct {
	t       *testing.T
	shape   shape
	cluster *coretest.Cluster
	played  int
}

func newWorld(t *testing.T, s shape) *world {
	t.Helper()
	return &world{t: t, shape: s, cluster: coretest.Start(t, coretest.Options{
		Gateways: s.gateways,
		Gateway: func(_ int, o *gateway.Options) {
			o.Bucket.Num, o.Bucket.BuffChanCount = s.num, s.buffChan
			o.Bucket.ConsumerNum, o.Bucket.CentralChanCount = s.consumers, s.central
			o.JoinBytes, o.Bucket.InlineSubscribers, o.FlushInterval = s.join, s.inline, s.flush
			// A case waits for its clients, so none is slow; a bound that is hit would hide an error.
			o.ChanLens, o.Limits.PendingBytes = 1<<20, 64<<20
		},
	})}
}

// subscriber is one client of a case and what the model says it must have got.
type subscriber struct {
	socket     *coretest.Socket
	subscribed map[string]bool
	want       map[string][]string
}

// game is one case: the model beside the real thing.
type game struct {
	*world
	// subscribers are the clients, and behind them one that subscribes to every topic throughout.
	subscribers []*subscriber
	// way is where the messages of a topic came from last: a client's index, or overGRPC.
	way       map[string]int
	published int
	// stuck says that messages did not come: the rest of the case is not waited for.
	stuck bool
}

const overGRPC = -1

// play plays one case and returns what was wrong with it, empty when nothing was.
func (w *world) play(genes []byte) string {
	w.played++
	name := func(i int) string { return fmt.Sprintf("case-%d-topic-%d", w.played, i) }
	g := &game{world: w, way: map[string]int{}}
	for i := range clients + 1 {
		socket := w.cluster.Dial(i%w.shape.gateways, protocol.SubprotocolV1)
		defer socket.Close()
		g.subscribers = append(g.subscribers, &subscriber{socket: socket, subscribed: map[string]bool{}, want: map[string][]string{}})
	}
	for i := range topics {
		g.subscribe(clients, name(i))
	}
	for _, gene := range genes {
		who, topic := int(gene>>4)%clients, name(int(gene>>2)%topics)
		switch gene % 4 {
		case 0:
			g.subscribe(who, topic)
		case 1:
			g.unsubscribe(who, topic)
		case 2:
			g.publish(overGRPC, topic)
		case 3:
			g.publish(who, topic)
		}
	}
	var wrong []string
	for n := range topics {
		topic := name(n)
		g.settle(topic)
		for i, s := range g.subscribers {
			if got := s.socket.Messages(topic); !slices.Equal(got, s.want[topic]) {
				wrong = append(wrong, fmt.Sprintf("%v: client %d, topic %q: %s", w.shape, i, topic, difference(got, s.want[topic])))
			}
		}
	}
	if len(wrong) > 0 {
		// Told at once, too: a cluster that has failed may not survive the shrinking.
		w.t.Logf("case %d failed: genes %v:\n%s", w.played, genes, strings.Join(wrong, "\n"))
	}
	return strings.Join(wrong, "\n")
}

// subscribe: what was published before may be under way still, and would be delivered to a
// subscriber that comes now; so that the model knows what it gets, all is waited for.
func (g *game) subscribe(who int, topic string) {
	if s := g.subscribers[who]; !s.subscribed[topic] {
		g.settle(topic)
		s.socket.Subscribe(topic)
		s.subscribed[topic] = true
	}
}

// unsubscribe: the client leaves when it has all that was published before.
func (g *game) unsubscribe(who int, topic string) {
	if s := g.subscribers[who]; s.subscribed[topic] {
		g.settle(topic)
		s.socket.Unsubscribe(topic)
		delete(s.subscribed, topic)
	}
}

// publish sends a burst one of the two ways. Messages that come different ways have no order among
// each other, so before the way changes those under way are waited for.
func (g *game) publish(way int, topic string) {
	if g.way[topic] != way {
		g.settle(topic)
		g.way[topic] = way
	}
	var data []string
	for range burst {
		g.published++
		data = append(data, fmt.Sprintf(`{"n":%d,"pad":%q}`, g.published, strings.Repeat("x", g.published%97)))
	}
	for _, s := range g.subscribers {
		if s.subscribed[topic] {
			s.want[topic] = append(s.want[topic], data...)
		}
	}
	if way == overGRPC {
		g.cluster.PublishBatch(topic, data)
		return
	}
	for _, d := range data {
		if reply := g.subscribers[way].socket.Request(protocol.PublishRequest, []string{topic}, d); !reply.OK {
			g.t.Fatalf("publish to %q: %+v", topic, reply)
		}
	}
}

// settle waits until every client has as many messages of the topic as the model says. Not for
// long, and without ending the test when they do not come: the comparison at the end tells what is
// missing, and the case is shrunk.
func (g *game) settle(topic string) {
	for _, s := range g.subscribers {
		if g.stuck {
			return
		}
		g.stuck = !coretest.Poll(settleTime, func() bool { return s.socket.Count(topic) >= len(s.want[topic]) })
	}
}

// difference names the first place where two sequences differ.
func difference(got, want []string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("message %d is %s, want %s (%d messages, want %d)", i, got[i], want[i], len(got), len(want))
		}
	}
	return fmt.Sprintf("%d messages, want %d", len(got), len(want))
}
