package simulator

import (
	"bytes"
	"maps"
	"math"
	"strconv"
	"sync"
	"sync/atomic"

	"firetower/simulator/latency"
	"firetower/simulator/stamp"
)

// maxGaps bounds the gaps that one shard remembers: 16 MiB of them.
const maxGaps = 1 << 20

// account is everything that one shard counts. It has one writer at a time: the shard's loop, or whoever holds the
// shard's lock. Only what stands in published may be read meanwhile.
type account struct {
	config  *Config
	first   int // the shard's first connection, within the fleet
	conns   int // how many it has
	healthy int // how many of those are not slow; they come first

	dialect  dialect
	sessions []session // of all connections
	pings    int       // of the dialect's own, that the engine has yet to answer

	topics  [][]byte // what the envelope of each topic's messages must contain
	streams []stream // of connection, slot and publisher, in that order of significance
	probed  []bool   // of connection and slot
	ledger  []connLedger
	gaps    *gaps
	phases  [MaxPhases]*phaseLedger
	begun   int // all phases that have a ledger are below
	places  places
	newest  Phase // the phase of the newest good message
	rows    *rowTable
	known   knownMessages

	intervalEnd int64 // when the current second ends; 0 before the first message
	interval    [MaxPhases]*latency.Recorder
	intervals   []Interval

	unattributed Unattributed
	connect      *latency.Recorder
	subscribe    *latency.Recorder
	refused      map[string]int64
	reconnect    *latency.Recorder
	// reconnectRefused counts attempts to come back that failed; down are the healthy ones without a connection at the end.
	reconnectRefused map[string]int64
	down             int64
	slow             slowLedger
	churn            *churnLedger // nil without churn
	load             Load
	failure          error // the first thing that must not happen, such as a histogram that cannot be packed

	firstMessage int64 // when the first message came; 0 before
	published    published
}

// connLedger is what is counted for each healthy connection.
type connLedger struct {
	unique     [phaseKinds]uint32 // distinct messages, by the kind of their phase
	probesLeft int32              // slots that have not seen a probe
	latencySum int64              // of the headline phases, in ns
	latencies  uint32             // how many are in it
}

// phaseLedger is a [PhaseReport] while it is being counted.
type phaseLedger struct {
	received, duplicated, reordered, late, corrupt, foreign, negative, bytes int64
	intended, actual                                                         *latency.Recorder
	victim                                                                   int // of the phase's fault
	receivedInnocent                                                         int64
	innocent                                                                 *latency.Recorder // nil without a victim
}

// published is what other goroutines may read at any time.
type published struct {
	connected, subscribed, refused, probed  atomic.Int64
	received, bytes                         atomic.Int64
	duplicated, reordered, corrupt, foreign atomic.Int64
	reconnected, disconnected               atomic.Int64
	changes, changesRefused, churnReceived  atomic.Int64
	lastReconnect                           atomic.Int64 // CLOCK_MONOTONIC; 0 is never

	mu     sync.Mutex // guards the following
	closed map[string]int64
}

func newAccount(config *Config, first, conns int) *account {
	plan := config.Topics
	healthy := min(max(config.Healthy()-first, 0), conns)
	a := &account{
		config: config, first: first, conns: conns, healthy: healthy,
		dialect: dialectOf(config), sessions: make([]session, conns),
		topics:  make([][]byte, plan.Count+config.Churn.Topics),
		streams: make([]stream, healthy*plan.PerConn*config.Publishers),
		probed:  make([]bool, healthy*plan.PerConn),
		ledger:  make([]connLedger, healthy),
		places:  newPlaces(config, first, healthy),
		gaps:    newGaps(maxGaps), rows: newRowTable(config.MaxRows),
		connect: latency.NewRecorder(), subscribe: latency.NewRecorder(),
		refused: make(map[string]int64), reconnectRefused: make(map[string]int64),
		reconnect: latency.NewRecorder(),
		slow:      newSlowLedger(config, first, healthy, conns),
	}
	a.published.closed = make(map[string]int64)
	if config.Churn.Topics > 0 {
		a.churn = newChurnLedger(config, config.FirstIndex+first, healthy)
	}
	for i := range a.topics {
		a.topics[i] = a.dialect.mark(plan.Name(i))
	}
	for i := range a.streams {
		a.streams[i] = newStream()
	}
	for i := range a.ledger {
		a.ledger[i].probesLeft = int32(plan.PerConn)
	}
	return a
}

// phase returns the ledger of a phase below MaxPhases.
func (a *account) phase(p Phase) *phaseLedger {
	if a.phases[p] == nil {
		a.phases[p] = &phaseLedger{intended: latency.NewRecorder(), actual: latency.NewRecorder(), victim: a.config.victim(p)}
		if a.phases[p].victim >= 0 {
			a.phases[p].innocent = latency.NewRecorder()
		}
		a.begun = max(a.begun, int(p)+1)
	}
	return a.phases[p]
}

// message counts one message of the server that holds a stamp: data is the stamped bytes, envelope what stands before
// it in the frame, wire the size of the whole frame and now when it was read. conn counts within the shard.
func (a *account) message(conn int, envelope, data []byte, wire int, now int64) {
	k := a.known.of(data)
	if !k.is(envelope, data) {
		s, err := stamp.Parse(data)
		if err != nil {
			a.corrupt()
			return
		}
		if s.Run != a.config.RunID || uint64(s.Topic) >= uint64(len(a.topics)) || int(s.Publisher) >= a.config.Publishers ||
			s.Phase >= MaxPhases || s.Sequence == 0 || len(envelope) > 0 && !bytes.Contains(envelope, a.topics[s.Topic]) {
			a.foreign()
			return
		}
		k.keep(envelope, data, s)
	}
	s := &k.stamp
	plan := &a.config.Topics
	global := a.config.FirstIndex + a.first + conn
	slot := -1
	if uint64(s.Topic) < uint64(plan.Count) {
		slot = plan.Slot(global, int(s.Topic))
	}
	if slot < 0 {
		if !a.churns(s.Topic) || !a.churn.message(conn, s, now) {
			a.foreign()
		}
		return
	}
	phase := Phase(s.Phase)
	a.newest = phase
	p := a.phase(phase)
	if a.firstMessage == 0 {
		a.firstMessage = now
	}
	at := (conn*plan.PerConn+slot)*a.config.Publishers + int(s.Publisher)
	switch a.streams[at].arrive(s.Sequence, at, a.gaps) {
	case duplicated:
		p.duplicated++
		return
	case reordered:
		p.reordered++
	case inOrder:
	}
	p.received++
	p.bytes += int64(wire)
	ledger := &a.ledger[conn]
	ledger.unique[phase.Kind()]++
	if phase == PhaseProbe && !a.probed[conn*plan.PerConn+slot] {
		a.probed[conn*plan.PerConn+slot] = true
		if ledger.probesLeft--; ledger.probesLeft == 0 {
			a.published.probed.Add(1)
		}
	}
	innocent := p.innocent != nil && a.places.innocent(conn, phase.Fault(), p.victim)
	if innocent {
		p.receivedInnocent++
	}
	intended, actual := now-s.Intended, now-s.Actual
	if intended < 0 || actual < 0 {
		p.negative++
		return
	}
	if intended > int64(a.config.MessageDeadline) {
		p.late++
	}
	p.intended.Record(intended)
	p.actual.Record(actual)
	if innocent {
		p.innocent.Record(intended)
	}
	if headline(phase) {
		ledger.latencySum += intended
		ledger.latencies++
	}
	if hasRows(phase) {
		a.rows.add(phase, rowKey{s.Sequence, s.Topic, s.Publisher}, s.Intended, intended)
	}
	if a.config.Intervals {
		if now >= a.intervalEnd {
			a.rollInterval(now)
		}
		if a.interval[phase] == nil {
			a.interval[phase] = latency.NewRecorder()
		}
		a.interval[phase].Record(intended)
	}
}

// churns says that connections come to a topic and leave it.
func (a *account) churns(topic uint32) bool {
	return uint64(topic) >= uint64(a.config.Topics.Count) && uint64(topic) < uint64(len(a.topics))
}

// corrupt counts a frame that is neither a message nor anything that the protocol knows.
func (a *account) corrupt() { a.phase(a.newest).corrupt++ }

// rollInterval closes the current second and begins the one that now is in.
func (a *account) rollInterval(now int64) {
	const second = 1_000_000_000
	for phase, r := range a.interval {
		if r == nil || r.Count() == 0 {
			continue
		}
		packed, err := r.Pack()
		if err != nil {
			a.fail(err)
			continue
		}
		a.intervals = append(a.intervals, Interval{StartNS: a.intervalEnd - second, Phase: Phase(phase), Intended: packed})
		r.Reset()
	}
	a.intervalEnd = now - now%second + second
}

func (a *account) fail(err error) {
	if a.failure == nil {
		a.failure = err
	}
}

// publish makes the figures visible to [Fleet.Counters]. Those of rare events are added where they happen.
func (a *account) publish() {
	var received, bytes, duplicated, reordered, corrupt, foreign int64
	for _, p := range a.phases[:a.begun] {
		if p == nil {
			continue
		}
		received += p.received + p.duplicated
		bytes += p.bytes
		duplicated += p.duplicated
		reordered += p.reordered
		corrupt += p.corrupt
		foreign += p.foreign
	}
	a.published.received.Store(received)
	a.published.bytes.Store(bytes)
	a.published.duplicated.Store(duplicated)
	a.published.reordered.Store(reordered)
	a.published.corrupt.Store(corrupt)
	a.published.foreign.Store(foreign)
	if a.churn != nil {
		a.published.changes.Store(a.churn.changes)
		a.published.changesRefused.Store(a.churn.refused)
		a.published.churnReceived.Store(a.churn.received)
	}
}

// addTo adds the published figures to a snapshot.
func (p *published) addTo(c *Counters) {
	c.Connected += p.connected.Load()
	c.Subscribed += p.subscribed.Load()
	c.Refused += p.refused.Load()
	c.Probed += p.probed.Load()
	c.Received += p.received.Load()
	c.Bytes += p.bytes.Load()
	c.Duplicated += p.duplicated.Load()
	c.Reordered += p.reordered.Load()
	c.Corrupt += p.corrupt.Load()
	c.Foreign += p.foreign.Load()
	c.Reconnected += p.reconnected.Load()
	c.Disconnected += p.disconnected.Load()
	c.ChurnChanges += p.changes.Load()
	c.ChurnRefused += p.changesRefused.Load()
	c.ChurnReceived += p.churnReceived.Load()
	c.LastReconnectNS = max(c.LastReconnectNS, p.lastReconnect.Load())
	p.mu.Lock()
	defer p.mu.Unlock()
	for code, n := range p.closed {
		c.Closed[code] += n
	}
}

func countersOf(accounts []*account) Counters {
	c := Counters{Closed: make(map[string]int64)}
	for _, a := range accounts {
		a.published.addTo(&c)
	}
	return c
}

// refuse counts a connection that did not get to its subscription.
func (a *account) refuse(reason string) {
	a.refused[reason]++
	a.published.refused.Add(1)
}

// ended counts a connection that was subscribed and is no more, while the fleet still wanted it.
func (a *account) ended(conn int, code string, now int64) {
	a.published.mu.Lock()
	a.published.closed[code]++
	a.published.mu.Unlock()
	if conn < a.healthy {
		a.published.disconnected.Add(1)
		a.lost(conn)
		if a.churn != nil {
			a.churn.lost(conn, now)
		}
		return
	}
	a.slow.of(conn).Closed[code]++
	if now != 0 {
		a.slow.endedAt = append(a.slow.endedAt, now)
	}
}

// subscribed counts a connection that has got there, for the first time, or again when it has been lost.
func (a *account) subscribed(conn int, back *comeback, now int64) {
	if a.churn != nil && conn < a.healthy {
		a.churn.opened(conn, now)
	}
	if back == nil {
		a.published.subscribed.Add(1)
		if conn >= a.healthy {
			a.slow.of(conn).Subscribed++
		}
		return
	}
	a.back(conn, back.url(a.config.FirstIndex+a.first+conn, len(a.config.URLs)))
	a.reconnect.Record(now - back.lostAt)
	a.published.reconnected.Add(1)
	a.published.disconnected.Add(-1)
	a.published.lastReconnect.Store(now)
}

// closedHealthy is the closed map without the slow connections.
func (a *account) closedHealthy() map[string]int64 {
	a.published.mu.Lock()
	closed := maps.Clone(a.published.closed)
	a.published.mu.Unlock()
	for _, kind := range a.slow.kinds {
		for code, n := range kind.Closed {
			if closed[code] -= n; closed[code] == 0 {
				delete(closed, code)
			}
		}
	}
	return closed
}

// closeKey names how a connection ended: the server's close code, or 1006 (RFC 6455 §7.4.1: no close frame) and what
// the socket said.
func closeKey(code int, detail string) string {
	key := strconv.Itoa(code)
	if detail != "" {
		key += " " + detail
	}
	return key
}

// spread sums up how evenly the connections were served. expected holds, for each told phase, the messages of each
// topic.
func (a *account) spread(s *Spread, told []Phase, expected map[Phase][]uint64) {
	plan := &a.config.Topics
	// No connection has more of a phase than was sent in it, so that phases of one kind are whole when their sum is.
	due := make([][]uint64, phaseKinds)
	for _, phase := range told {
		of := &due[phase.Kind()]
		if *of == nil {
			*of = make([]uint64, plan.Count)
		}
		for topic, n := range expected[phase] {
			(*of)[topic] += n
		}
	}
	for conn := range a.ledger {
		ledger := &a.ledger[conn]
		s.Connections++
		var x float64
		for kind, n := range ledger.unique {
			if headline(Phase(kind)) {
				x += float64(n)
			}
		}
		s.Delivered += x
		s.DeliveredSquares += x * x
		if ledger.latencies > 0 {
			s.MeanLatency.Record(int64(math.Round(float64(ledger.latencySum) / float64(ledger.latencies))))
		}
		for kind, topics := range due {
			if topics == nil {
				continue
			}
			var want uint64
			for k := range plan.PerConn {
				want += topics[plan.Topic(a.config.FirstIndex+a.first+conn, k)]
			}
			if uint64(ledger.unique[kind]) < want {
				s.Incomplete++
				break
			}
		}
	}
}
