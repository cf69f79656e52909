// Package gateway holds WebSocket connections and fans messages out to them.
//
// It owns the client side of Firetower: the upgrade, the connections
// (FireTower), the index of which connection subscribes to which topic, the
// Buckets that write, and the one link over which the manager is told which
// topics have subscribers here and over which it pushes. It knows nothing of
// other gateways, of the registry behind the link, or of the test harness.
//
// # The path of a push
//
//	link reader -> centralChan -> Bucket lane (buffChan, consumer) -> FireTower
//
// A push is decoded once and framed once per subprotocol; the frame is an
// immutable byte slice that every receiver shares. The topic index tells which
// Buckets hold subscribers of the topic, and only those are woken. Within a
// Bucket a topic always goes to the same consumer, so the order of a topic is
// kept whatever Num, BuffChanCount and ConsumerNum are. A consumer takes all
// that waits, joins the frames of a topic, and makes one non-blocking write per
// subscriber from its own goroutine. What a socket does not take becomes that
// connection's backlog, for which a flusher goroutine runs until it is gone: no
// connection has a standing writer, and no slow client delays another.
//
// # Lock order
//
// A goroutine that holds several locks takes them in this order, and holds none
// of them while it calls back into the application:
//
//	topic.order -> lane.mu
//	topicShard.mu -> registrar.mu
//	FireTower.subMu -> topicShard.mu -> subscriberList.mu
//	subscriberList.mu and FireTower.mu are leaves and never held together.
package gateway
