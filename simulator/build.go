package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"firetower/simulator/latency"
)

// buildReport adds up the shards' accounts, which nobody writes any more, and balances them against what was sent.
func buildReport(config Config, accounts []*account, sent []TopicSent) (*Report, error) {
	r := &Report{
		Engine: config.Engine, Connections: config.Connections, RowStride: 1,
		Refused: make(map[string]int64), Closed: make(map[string]int64),
		Connect: latency.NewRecorder(), Subscribe: latency.NewRecorder(),
		Reconnect: latency.NewRecorder(), Join: latency.NewRecorder(), ReconnectRefused: make(map[string]int64),
		Spread: Spread{MeanLatency: latency.NewRecorder()},
	}
	if config.Healthy() < config.Connections {
		r.Slow = newSlowReport()
	}
	subscribers := config.Topics.Subscribers(config.FirstIndex, config.Healthy())
	expected, err := expectations(config, sent)
	if err != nil {
		return nil, err
	}
	times := churnTimes(config, sent)
	told := make([]Phase, 0, len(expected))
	for phase := range expected {
		told = append(told, phase)
	}
	slices.Sort(told)

	counters := countersOf(accounts)
	r.Subscribed, r.Probed = counters.Subscribed, counters.Probed
	r.Reconnects, r.LastReconnectNS = counters.Reconnected, counters.LastReconnectNS
	rows := newRowTable(config.MaxRows)
	ledgers := make([]*PhaseReport, MaxPhases)
	started := firstMessage(accounts)
	for _, a := range accounts {
		if a.failure != nil {
			return nil, a.failure
		}
		a.rollInterval(math.MaxInt64 / 2) // close the last second
		r.Intervals = append(r.Intervals, a.intervals...)
		rows.absorb(a.rows)
		a.spread(&r.Spread, told, expected)
		addCounts(r.Refused, a.refused)
		addCounts(r.ReconnectRefused, a.reconnectRefused)
		r.Down += a.down
		if a.churn != nil {
			if r.Churn == nil {
				r.Churn = new(ChurnReport)
			}
			account := a.churn.report(times, told)
			r.Churn.add(&account)
			if err := r.Join.Merge(a.churn.join); err != nil {
				return nil, err
			}
		}
		if err := r.Reconnect.Merge(a.reconnect); err != nil {
			return nil, err
		}
		addCounts(r.Closed, a.closedHealthy())
		r.Unattributed.add(a.unattributed)
		r.Load.add(a.load)
		r.Forgotten += a.gaps.forgotten
		if err := r.Connect.Merge(a.connect); err != nil {
			return nil, err
		}
		if err := r.Subscribe.Merge(a.subscribe); err != nil {
			return nil, err
		}
		for phase, p := range a.phases {
			if p == nil {
				continue
			}
			if err := p.addTo(phaseOf(ledgers, Phase(phase))); err != nil {
				return nil, err
			}
		}
		if r.Slow != nil {
			a.slow.addTo(r.Slow, started)
		}
	}
	innocents := make([][]int, len(config.Victims)) // subscribers by fault and topic
	for fault, victim := range config.Victims {
		var n int64
		innocents[fault], n = innocentSubscribers(&config, accounts, fault, victim)
		r.Innocents = append(r.Innocents, n)
	}
	for phase, topics := range expected {
		p, fault := phaseOf(ledgers, phase), phase.Fault()
		for topic, n := range topics {
			p.Expected += int64(n) * int64(subscribers[topic])
			if fault < len(innocents) {
				p.LostInnocent += int64(n) * int64(innocents[fault][topic])
			}
		}
		for _, a := range accounts {
			if counted := a.phases[phase]; counted != nil {
				p.LostInnocent -= counted.receivedInnocent
			}
		}
		p.Lost = p.Expected - p.Received
	}
	for _, p := range ledgers {
		if p != nil {
			r.Phases = append(r.Phases, *p)
		}
	}
	if r.Intervals, err = mergeIntervals(r.Intervals); err != nil {
		return nil, err
	}
	r.RowStride, r.Rows = buildRows(rows, sent, subscribers, config.MaxRows*max(len(accounts), 1))
	return r, nil
}

// expectations sums up, for each phase and topic, how many messages were sent.
func expectations(config Config, sent []TopicSent) (map[Phase][]uint64, error) {
	expected := make(map[Phase][]uint64)
	for _, s := range sent {
		if int64(s.Topic) >= int64(config.Topics.Count+config.Churn.Topics) || int(s.Publisher) >= config.Publishers || s.Phase >= MaxPhases ||
			s.First < 1 || s.Count > math.MaxInt32 {
			return nil, fmt.Errorf("simulator: sent %+v is outside the plan", s)
		}
		if expected[s.Phase] == nil {
			expected[s.Phase] = make([]uint64, config.Topics.Count)
		}
		if int(s.Topic) >= config.Topics.Count {
			if uint64(len(s.Times)) != s.Count || !slices.IsSorted(s.Times) {
				return nil, fmt.Errorf("simulator: topic %d churns: %d messages need as many times, in order", s.Topic, s.Count)
			}
			continue
		}
		expected[s.Phase][s.Topic] += s.Count
	}
	return expected, nil
}

// churnTimes are the times of the messages on each churning topic.
func churnTimes(config Config, sent []TopicSent) map[uint32][][]int64 {
	times := make(map[uint32][][]int64)
	for _, s := range sent {
		if int(s.Topic) >= config.Topics.Count {
			times[s.Topic] = append(times[s.Topic], s.Times)
		}
	}
	return times
}

// innocentSubscribers counts the healthy connections of this fleet that are innocent of a fault, and for each topic
// those that have it; none are without a victim, -1.
func innocentSubscribers(config *Config, accounts []*account, fault, victim int) (topics []int, n int64) {
	topics = make([]int, config.Topics.Count)
	if victim < 0 {
		return topics, 0
	}
	for _, a := range accounts {
		for conn := range a.healthy {
			if !a.places.innocent(conn, fault, victim) {
				continue
			}
			n++
			for k := range config.Topics.PerConn {
				topics[config.Topics.Topic(config.FirstIndex+a.first+conn, k)]++
			}
		}
	}
	return topics, n
}

// firstMessage is when the first message reached any connection, 0 if none did.
func firstMessage(accounts []*account) int64 {
	var first int64
	for _, a := range accounts {
		if a.firstMessage != 0 && (first == 0 || a.firstMessage < first) {
			first = a.firstMessage
		}
	}
	return first
}

// buildRows lists the messages that were sent, each with what is known of it, thinned until there are at most limit.
func buildRows(counted *rowTable, sent []TopicSent, subscribers []int, limit int) (uint64, []MessageRow) {
	var total uint64
	for _, s := range sent {
		if hasRows(s.Phase) && int(s.Topic) < len(subscribers) {
			total += s.Count
		}
	}
	stride := counted.stride
	for total/stride > uint64(limit) {
		stride *= 2
	}
	rows := make([]MessageRow, 0, total/stride)
	for _, s := range sent {
		if !hasRows(s.Phase) || int(s.Topic) >= len(subscribers) {
			continue
		}
		for seq := s.First; seq < s.First+s.Count; seq++ {
			key := rowKey{seq, s.Topic, s.Publisher}
			if key.hash()&(stride-1) != 0 {
				continue
			}
			row := MessageRow{
				Phase: s.Phase, Topic: s.Topic, Publisher: s.Publisher, Sequence: seq,
				Subscribers: int64(subscribers[s.Topic]),
			}
			if at, ok := counted.index[key]; ok {
				counted.rows[at].copyTo(&row)
			}
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, compareRows)
	return stride, rows
}

func compareRows(a, b MessageRow) int {
	return cmp.Or(cmp.Compare(a.Phase, b.Phase), cmp.Compare(a.Topic, b.Topic),
		cmp.Compare(a.Publisher, b.Publisher), cmp.Compare(a.Sequence, b.Sequence))
}

// copyTo completes a reported row.
func (r *row) copyTo(out *MessageRow) {
	out.IntendedNS, out.Count, out.MinNS, out.MaxNS = r.intended, r.count, r.min, r.max
	first, last := rowBucket(r.min), rowBucket(r.max)
	out.FirstBucket = first
	out.Spread = slices.Clone(r.spread[first : last+1])
}

func (p *phaseLedger) addTo(r *PhaseReport) error {
	r.Received += p.received
	r.Duplicated += p.duplicated
	r.Reordered += p.reordered
	r.Late += p.late
	r.Corrupt += p.corrupt
	r.Foreign += p.foreign
	r.Negative += p.negative
	r.Bytes += p.bytes
	errs := []error{r.Intended.Merge(p.intended), r.Actual.Merge(p.actual)}
	if p.innocent != nil {
		errs = append(errs, r.Innocent.Merge(p.innocent))
	}
	return errors.Join(errs...)
}

// phaseOf returns the report of a phase, made when it is not there.
func phaseOf(ledgers []*PhaseReport, phase Phase) *PhaseReport {
	if ledgers[phase] == nil {
		ledgers[phase] = &PhaseReport{
			Phase: phase, Intended: latency.NewRecorder(), Actual: latency.NewRecorder(), Innocent: latency.NewRecorder(),
		}
	}
	return ledgers[phase]
}

func (u *Unattributed) add(from Unattributed) {
	u.Heartbeats += from.Heartbeats
	u.Pings += from.Pings
	u.Replies += from.Replies
	u.Errors += from.Errors
}

func (l *Load) add(from Load) {
	l.Batches += from.Batches
	l.FullBatches += from.FullBatches
	l.Rests += from.Rests
	l.Inflated += from.Inflated
	l.Reads += from.Reads
	l.Backlog += from.Backlog
}

func addCounts(to, from map[string]int64) {
	for key, n := range from {
		to[key] += n
	}
}
