package manager

// bus routes a packed message to the links of all gateways that have subscribers
// of its topic. It owns nothing: the registry knows where, the sessions' queues
// carry.
type bus struct {
	registry *topicRelevance
	counter  *counters
}

// usualGateways is up to how many gateways of a topic a publish allocates nothing.
const usualGateways = 16

// receipt is what became of one publish.
type receipt struct {
	matched int // gateways that have subscribers of the topic
	queued  int // those of them that took the message
	// missed names the others, up to maxMissedNamed, with the reason.
	missed []miss
}

type miss struct {
	gateway string
	reason  DropReason
}

// maxMissedNamed bounds the gateways that a receipt names.
const maxMissedNamed = 8

// publish queues one packet, which came at a reading of the counters' clock, to every
// gateway that has subscribers of topic. The
// packet is shared by all queues: nobody may change it from then on. It never
// blocks: a gateway that cannot take it is evicted and has missed it.
//
// The shard's order lock is held over lookup and queueing, so that the messages
// of a topic are in one order on every link, and a session that is replaced or
// dropped gets none afterwards.
//
// A link at rest hands its turn to write to this goroutine, which saves waking the
// link's writer; the write is made after the lock is let go, and never waits.
func (b *bus) publish(topic string, packet []byte, via Via, came int64) receipt {
	b.counter.publishes[via].Add(1)
	var room [usualGateways]*session
	var r receipt
	shard := b.registry.shard(topic)
	shard.order.Lock()
	to, subscribers := shard.lookup(topic, room[:0])
	now := b.counter.now()
	mine := to[:0] // sessions whose turn it is to be written to from here, in place of those already seen
	r.matched = len(to)
	for _, s := range to {
		reason, direct, ok := s.publish(packet, now, r.matched)
		if ok {
			r.queued++
		} else if len(r.missed) < maxMissedNamed {
			r.missed = append(r.missed, miss{gateway: s.id, reason: reason})
		}
		if direct {
			mine = append(mine, s)
		}
	}
	shard.order.Unlock()
	b.counter.route.Observe(now-came, uint64(r.queued))
	b.counter.queued.Add(uint64(r.queued))
	b.counter.deliveries.Add(uint64(subscribers))
	for _, s := range mine {
		s.link.writeDirect(s, packet, now)
	}
	return r
}
