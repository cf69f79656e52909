package gateway

import (
	"github.com/prometheus/client_golang/prometheus"

	"firetower/core/histogram"
)

// The stages of a delivery within the gateway, in the order of its way. One ends
// where the next begins, so that for each delivery the first three add up to the time
// from the message's arrival until the connection's socket had been written to, and
// their means add up to the mean of that.
//
//   - central: from the message's arrival, off the link or from a client, until it was
//     handed to the Buckets: the wait for room (CentralChanCount, CentralBytes) and for
//     other messages of its topic;
//   - bucket: from there until the consumer began to write the topic's messages to the
//     Bucket's subscribers;
//   - fanout: from there until the write to the one subscriber was done, whether the
//     socket took all of it or not;
//   - backlog: for what the socket did not take, from then until it was written whole.
//
// Every delivery, a message to a subscriber, counts once in each of the first three, in
// backlog only if it passed it. A message to a connection that had ended counts too: its
// place in the fan-out took its time.
const (
	stageCentral = "central"
	stageBucket  = "bucket"
	stageFanout  = "fanout"
	stageBacklog = "backlog"
)

// laneStages are the times of one lane, so that consumers share no cache line.
type laneStages struct {
	central, bucket, fanout histogram.Histogram
	// broadcast is from a message's arrival until the Bucket's last subscriber was
	// written to; it counts once for each message and Bucket, and once for Buckets that
	// were written together.
	broadcast histogram.Histogram
}

// written accounts for the messages of a topic that one Bucket's subscribers were
// written from begun to end.
func (s *laneStages) written(pushes []*push, subscribers int, begun, end int64) {
	if subscribers == 0 {
		return
	}
	n := uint64(subscribers)
	central, bucket, broadcast := s.central.Run(), s.bucket.Run(), s.broadcast.Run()
	for _, p := range pushes {
		central.Observe(p.queued-p.arrived, n)
		bucket.Observe(begun-p.queued, n)
		broadcast.Observe(end-p.arrived, 1)
	}
	central.End()
	bucket.End()
	broadcast.End()
}

// grain is how many subscribers more than one are written between two readings of the
// clock, once so many have been: what lies between is taken as evenly spaced, which
// keeps the sum, and counted where its mean is. So a place in a large fan-out is told to
// within an eighth, among the first few to within a half, and a reading costs little
// beside the writes.
func grain(written int) int {
	const few, most = 16, 31
	if written < few {
		return written / 2
	}
	return min(written/8, most)
}

// fanned accounts for n subscribers that were written to, with some messages each, from
// one reading of the clock to the next.
func (s *laneStages) fanned(begun, from, to int64, n, messages int) {
	// The k-th of n evenly spaced ends stands at from + (to-from)*k/n.
	sum := int64(n)*(from-begun) + (to-from)*int64(n+1)/2
	s.fanout.ObserveSum(sum*int64(messages), uint64(n*messages))
}

// collectStages shows the stages of all lanes together.
func (c *collector) collectStages(ch chan<- prometheus.Metric) {
	var central, bucket, fanout, broadcast, backlog histogram.Counts
	for _, b := range c.gateway.towers.buckets {
		for _, l := range b.lanes {
			central.Add(&l.stages.central)
			bucket.Add(&l.stages.bucket)
			fanout.Add(&l.stages.fanout)
			broadcast.Add(&l.stages.broadcast)
		}
	}
	backlog.Add(&c.gateway.metrics.backlogWait)
	ch <- central.Metric(c.stages, stageCentral)
	ch <- bucket.Metric(c.stages, stageBucket)
	ch <- fanout.Metric(c.stages, stageFanout)
	ch <- backlog.Metric(c.stages, stageBacklog)
	ch <- broadcast.Metric(c.broadcast)
}
