package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"firetower/simulator/latency"
)

// Merge adds the reports of several fleets of one run, each of which was told of the same sent messages. Rows are
// folded message by message: the first arrival is the least of the parts, the last the greatest, and the message is
// complete when the parts together have as many arrivals as subscribers. The parts are not changed.
func Merge(parts ...*Report) (*Report, error) {
	if len(parts) == 0 {
		return nil, errors.New("simulator: merge of no reports")
	}
	whole := &Report{
		Engine: parts[0].Engine, RowStride: 1, Refused: make(map[string]int64), Closed: make(map[string]int64),
		Connect: latency.NewRecorder(), Subscribe: latency.NewRecorder(),
		Reconnect: latency.NewRecorder(), Join: latency.NewRecorder(), ReconnectRefused: make(map[string]int64),
		Spread: Spread{MeanLatency: latency.NewRecorder()},
	}
	ledgers := make([]*PhaseReport, MaxPhases)
	for i, part := range parts {
		if err := whole.mergePart(part, ledgers); err != nil {
			return nil, fmt.Errorf("simulator: merge report %d: %w", i, err)
		}
	}
	for _, p := range ledgers {
		if p != nil {
			p.Lost = p.Expected - p.Received
			whole.Phases = append(whole.Phases, *p)
		}
	}
	var err error
	if whole.Intervals, err = mergeIntervals(whole.Intervals); err != nil {
		return nil, fmt.Errorf("simulator: merge: %w", err)
	}
	whole.Rows = mergeRows(parts, whole.RowStride)
	return whole, nil
}

func (r *Report) mergePart(part *Report, ledgers []*PhaseReport) error {
	r.Connections += part.Connections
	r.Subscribed += part.Subscribed
	r.Probed += part.Probed
	addCounts(r.Refused, part.Refused)
	addCounts(r.Closed, part.Closed)
	addCounts(r.ReconnectRefused, part.ReconnectRefused)
	r.Reconnects += part.Reconnects
	r.LastReconnectNS = max(r.LastReconnectNS, part.LastReconnectNS)
	r.Down += part.Down
	for fault, n := range part.Innocents {
		if fault == len(r.Innocents) {
			r.Innocents = append(r.Innocents, 0)
		}
		r.Innocents[fault] += n
	}
	r.Unattributed.add(part.Unattributed)
	r.Load.add(part.Load)
	r.Forgotten += part.Forgotten
	r.RowStride = max(r.RowStride, part.RowStride)
	r.Intervals = append(r.Intervals, part.Intervals...)
	r.Spread.Connections += part.Spread.Connections
	r.Spread.Delivered += part.Spread.Delivered
	r.Spread.DeliveredSquares += part.Spread.DeliveredSquares
	r.Spread.Incomplete += part.Spread.Incomplete
	merges := []error{
		mergeInto(r.Connect, part.Connect), mergeInto(r.Subscribe, part.Subscribe),
		mergeInto(r.Reconnect, part.Reconnect), mergeInto(r.Join, part.Join), mergeInto(r.Spread.MeanLatency, part.Spread.MeanLatency),
	}
	for _, p := range part.Phases {
		if p.Phase >= MaxPhases {
			return fmt.Errorf("phase %d does not exist", p.Phase)
		}
		sum := phaseOf(ledgers, p.Phase)
		sum.Expected += p.Expected
		sum.Received += p.Received
		sum.Duplicated += p.Duplicated
		sum.Reordered += p.Reordered
		sum.Late += p.Late
		sum.Corrupt += p.Corrupt
		sum.Foreign += p.Foreign
		sum.Negative += p.Negative
		sum.Bytes += p.Bytes
		sum.LostInnocent += p.LostInnocent
		merges = append(merges, mergeInto(sum.Intended, p.Intended), mergeInto(sum.Actual, p.Actual), mergeInto(sum.Innocent, p.Innocent))
	}
	if part.Churn != nil {
		if r.Churn == nil {
			r.Churn = new(ChurnReport)
		}
		r.Churn.add(part.Churn)
	}
	if slow := part.Slow; slow != nil {
		if r.Slow == nil {
			r.Slow = newSlowReport()
		}
		r.Slow.add(slow)
		merges = append(merges, mergeInto(r.Slow.Ended, slow.Ended))
	}
	return errors.Join(merges...)
}

func mergeInto(to, from *latency.Recorder) error {
	if from == nil {
		return errors.New("a histogram is missing")
	}
	return to.Merge(from)
}

// mergeIntervals sorts by time and phase, and joins what is equal in both.
func mergeIntervals(all []Interval) ([]Interval, error) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Interval) int {
		return cmp.Or(cmp.Compare(a.StartNS, b.StartNS), cmp.Compare(a.Phase, b.Phase))
	})
	var out []Interval
	for i := 0; i < len(all); {
		j := i + 1
		for j < len(all) && all[j].StartNS == all[i].StartNS && all[j].Phase == all[i].Phase {
			j++
		}
		joined := all[i]
		if j > i+1 {
			sum := latency.NewRecorder()
			for _, part := range all[i:j] {
				r, err := part.Intended.Recorder()
				if err != nil {
					return nil, err
				}
				if err := sum.Merge(r); err != nil {
					return nil, err
				}
			}
			packed, err := sum.Pack()
			if err != nil {
				return nil, err
			}
			joined.Intended = packed
		}
		out = append(out, joined)
		i = j
	}
	return out, nil
}

// mergeRows folds the rows of all parts that are in the sample with the given stride.
func mergeRows(parts []*Report, stride uint64) []MessageRow {
	type message struct {
		key   rowKey
		phase Phase
	}
	index := make(map[message]int)
	var rows []MessageRow
	for _, part := range parts {
		for i := range part.Rows {
			r := &part.Rows[i]
			key := rowKey{r.Sequence, r.Topic, r.Publisher}
			if key.hash()&(stride-1) != 0 {
				continue
			}
			at, ok := index[message{key, r.Phase}]
			if !ok {
				index[message{key, r.Phase}] = len(rows)
				fresh := *r
				fresh.Spread = slices.Clone(r.Spread)
				rows = append(rows, fresh)
				continue
			}
			rows[at].fold(r)
		}
	}
	slices.SortFunc(rows, compareRows)
	return rows
}

// fold adds what other subscribers saw of the same message.
func (r *MessageRow) fold(from *MessageRow) {
	r.Subscribers += from.Subscribers
	if from.Count == 0 {
		return
	}
	if r.Count == 0 {
		r.IntendedNS, r.Count, r.MinNS, r.MaxNS = from.IntendedNS, from.Count, from.MinNS, from.MaxNS
		r.FirstBucket, r.Spread = from.FirstBucket, slices.Clone(from.Spread)
		return
	}
	r.Count += from.Count
	r.MinNS = min(r.MinNS, from.MinNS)
	r.MaxNS = max(r.MaxNS, from.MaxNS)
	first := min(r.FirstBucket, from.FirstBucket)
	end := max(r.FirstBucket+len(r.Spread), from.FirstBucket+len(from.Spread))
	spread := make([]uint32, end-first)
	copy(spread[r.FirstBucket-first:], r.Spread)
	for i, n := range from.Spread {
		spread[from.FirstBucket-first+i] += n
	}
	r.FirstBucket, r.Spread = first, spread
}
