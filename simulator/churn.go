package simulator

import (
	"slices"
	"strconv"
	"strings"

	"firetower/simulator/latency"
	"firetower/simulator/stamp"
)

// churnLedger is a [ChurnReport] while it is being counted, by one shard. It takes some 200 bytes for each connection
// and 16 for each publisher beside them, 24 bytes for each change for good, and as much as a connection's own for each
// change within the last [Config.MessageDeadline].
type churnLedger struct {
	config *Config
	first  int // the first connection of the shard, within the run
	grace  int64
	conns  []churnConn // healthy ones
	spans  []span      // that have ended and can have had something due
	phases [MaxPhases]churnCounts
	gaps   *gaps // none are kept
	join   *latency.Recorder

	changes, refused, unanswered, skipped int64
	received                              int64 // every arrival
	stopped                               bool
}

// churnCounts is what arrived of one phase.
type churnCounts struct{ received, duplicated, reordered, extra int64 }

// churnConn is where one connection is.
type churnConn struct {
	wish    uint32   // the topic that it is at, or wants to be
	number  uint32   // of its newest change
	leaving bool     // the answer to the newest change's request to leave is outstanding
	joining bool     // and that to its request to join
	refused bool     // the newest change has been counted as refused
	visit   *visit   // the newest; nil when there is none
	past    []*visit // the ones before, while something may still come of them
}

// visit is a stay of a connection at a topic. Times are CLOCK_MONOTONIC, 0 before they have come.
type visit struct {
	topic   uint32
	asked   int64    // when it asked to join
	from    int64    // when that was answered
	until   int64    // when it asked to leave, or was lost
	gone    int64    // when leaving was answered
	streams []stream // of each publisher
	recent  []recent // what arrived and may be due or not, by when the visit ends
}

// recent is a message that is not old enough to be due.
type recent struct {
	sent  int64
	phase Phase
}

// span is what is kept of a visit, until Finish tells what was sent.
type span struct {
	from, until int64
	topic       uint32
}

func newChurnLedger(config *Config, first, healthy int) *churnLedger {
	l := &churnLedger{
		config: config, first: first, grace: int64(config.Churn.Grace), conns: make([]churnConn, healthy),
		gaps: newGaps(0), join: latency.NewRecorder(),
	}
	for i := range l.conns {
		l.conns[i].wish = uint32(config.Topics.Count + (first+i)%config.Churn.Topics)
	}
	return l
}

// open begins the visit that a connection's first request asks for, and returns its topic's name.
func (l *churnLedger) open(conn int, now int64) string {
	c := &l.conns[conn]
	c.visit = l.newVisit(c.wish, now)
	return l.config.Topics.Name(int(c.wish))
}

func (l *churnLedger) newVisit(topic uint32, now int64) *visit {
	return &visit{topic: topic, asked: now, streams: make([]stream, l.config.Publishers)}
}

// opened notes the answer to that request.
func (l *churnLedger) opened(conn int, now int64) { l.conns[conn].visit.from = now }

// change draws the k-th change of the shard among the connections that are ready for one. It returns the connection,
// within the shard, and its two requests, the first of which is empty when there is nothing to leave. ok is false when
// no connection was at hand.
func (l *churnLedger) change(k uint64, now int64, ready func(conn int) bool) (conn int, leave, join []byte, ok bool) {
	if l.stopped {
		return 0, nil, nil, false
	}
	const tries = 64
	plan := l.config.Churn
	for try := range uint64(tries) {
		conn = int(draw(plan.Seed, uint64(l.first), k, try) % uint64(len(l.conns)))
		if c := &l.conns[conn]; !c.leaving && !c.joining && ready(conn) {
			ok = true
			break
		}
	}
	if !ok {
		l.skipped++
		return 0, nil, nil, false
	}
	c := &l.conns[conn]
	c.number++
	l.changes++
	if v := c.visit; v != nil {
		leave = l.request("unSubscribe", leaveID, v.topic, c.number)
		l.retire(c, now)
		c.leaving = true
	}
	// Any topic but that of now.
	base, n := uint64(l.config.Topics.Count), uint64(plan.Topics)
	step := 1 + draw(plan.Seed, uint64(l.first), k, tries)%(n-1)
	c.wish = uint32(base + (uint64(c.wish)-base+step)%n)
	c.visit = l.newVisit(c.wish, now)
	c.joining, c.refused = true, false
	return conn, leave, l.request("subscribe", joinID, c.wish, c.number), true
}

// The ids of requests are these and the number of the change.
const (
	leaveID = "leave-"
	joinID  = "join-"
)

func (l *churnLedger) request(kind, id string, topic, number uint32) []byte {
	return []byte(`{"type":"` + kind + `","topic":"` + l.config.Topics.Name(int(topic)) +
		`","id":"` + id + strconv.Itoa(int(number)) + `"}`)
}

// replied takes the answer to a request. It says whether that was one of a change.
func (l *churnLedger) replied(conn int, id string, granted bool, now int64) bool {
	c := &l.conns[conn]
	number := strconv.Itoa(int(c.number))
	switch {
	case id == leaveID+number && c.leaving:
		c.leaving = false
		if granted {
			c.past[len(c.past)-1].gone = now
		}
	case id == joinID+number && c.joining:
		c.joining = false
		if granted {
			c.visit.from = now
			l.join.Record(now - c.visit.asked)
		} else {
			c.visit = nil
		}
	default:
		return strings.HasPrefix(id, leaveID) || strings.HasPrefix(id, joinID) // repeated, or late beyond the connection
	}
	if !granted && !c.refused {
		c.refused = true
		l.refused++
	}
	return true
}

// retire ends the newest visit and forgets those of which nothing can come any more.
func (l *churnLedger) retire(c *churnConn, now int64) {
	l.end(c.visit, now)
	old := now - int64(l.config.MessageDeadline)
	c.past = slices.DeleteFunc(c.past, func(v *visit) bool { return v.until < old })
	c.past = append(c.past, c.visit)
	c.visit = nil
}

// end is the end of a visit: it decides on what came lately.
func (l *churnLedger) end(v *visit, now int64) {
	if v.until != 0 {
		return
	}
	v.until = now
	for _, r := range v.recent {
		l.count(r.phase, r.sent <= now-l.grace)
	}
	v.recent = nil
	if v.from != 0 && v.from <= now-l.grace {
		l.spans = append(l.spans, span{v.from, now, v.topic})
	}
}

func (l *churnLedger) count(phase Phase, due bool) {
	if due {
		l.phases[phase].received++
	} else {
		l.phases[phase].extra++
	}
}

// lost is the end of a connection. Its next one begins at the topic that it wanted.
func (l *churnLedger) lost(conn int, now int64) {
	c := &l.conns[conn]
	l.abandon(c)
	if c.visit == nil {
		return
	}
	v := c.visit
	l.retire(c, now)
	v.gone = now
}

// abandon gives up on the answers that are outstanding.
func (l *churnLedger) abandon(c *churnConn) {
	if c.leaving || c.joining {
		l.unanswered++
	}
	c.leaving, c.joining = false, false
}

// stop ends all visits: the run is over.
func (l *churnLedger) stop(now int64) {
	if l.stopped {
		return
	}
	l.stopped = true
	for i := range l.conns {
		c := &l.conns[i]
		l.abandon(c)
		if c.visit != nil {
			l.end(c.visit, now)
		}
	}
}

// message counts a message on a churning topic. It says no when the connection has no business with it.
func (l *churnLedger) message(conn int, s *stamp.Stamp, now int64) bool {
	v := l.conns[conn].at(s.Topic, s.Actual)
	if v == nil {
		return false
	}
	l.received++
	phase := Phase(s.Phase)
	counts := &l.phases[phase]
	st := &v.streams[s.Publisher]
	if st.high == 0 { // a stream begins wherever the connection comes to it
		*st = stream{high: s.Sequence, window: 1}
	} else {
		switch st.arrive(s.Sequence, 0, l.gaps) {
		case duplicated:
			counts.duplicated++
			return true
		case reordered:
			counts.reordered++
		case inOrder:
		}
	}
	settled := now - l.grace
	switch {
	case v.from == 0 || s.Actual < v.from:
		counts.extra++
	case v.until != 0:
		l.count(phase, s.Actual <= v.until-l.grace)
	case s.Actual <= settled:
		counts.received++
	default:
		v.recent = append(v.recent, recent{s.Actual, phase})
	}
	for len(v.recent) > 0 && v.recent[0].sent <= settled {
		l.phases[v.recent[0].phase].received++
		v.recent = v.recent[1:]
	}
	return true
}

// at is the visit to a topic that a message sent at the given time belongs to, or nil when there was none: the one that
// was under way then, or else the one after, to which the message can have been on its way still.
func (c *churnConn) at(topic uint32, sent int64) *visit {
	var next *visit
	if v := c.visit; v != nil && v.topic == topic {
		if sent >= v.asked {
			return v
		}
		next = v
	}
	for _, v := range slices.Backward(c.past) {
		switch {
		case v.topic != topic:
		case sent < v.asked:
			next = v
		case v.gone != 0 && sent > v.gone:
			return next
		default:
			return v
		}
	}
	return next
}

// report balances the ledger: sent are the times of the messages of each churning topic, in lists that rise, and told
// the phases that count.
func (l *churnLedger) report(sent map[uint32][][]int64, told []Phase) ChurnReport {
	r := ChurnReport{Changes: l.changes, Refused: l.refused, Unanswered: l.unanswered, Skipped: l.skipped}
	for _, s := range l.spans {
		for _, times := range sent[s.topic] {
			from, _ := slices.BinarySearch(times, s.from)
			to, _ := slices.BinarySearch(times, s.until-l.grace+1)
			r.Due += int64(max(to-from, 0))
		}
	}
	for _, phase := range told {
		counts := &l.phases[phase]
		r.Received += counts.received
		r.Duplicated += counts.duplicated
		r.Reordered += counts.reordered
		r.Extra += counts.extra
	}
	r.Lost = r.Due - r.Received
	return r
}
