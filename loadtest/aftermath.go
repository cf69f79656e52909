package loadtest

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"time"

	"firetower/reports"
	"firetower/simulator"
	"firetower/simulator/latency"
)

// aftermath works out what each fault cost, of all that the run has gathered.
type aftermath struct {
	faults   []faultRecord
	lives    []streamLife // of the publishers' streams
	misses   []int64      // answers that a gateway was not reached
	messages []message
	rows     []simulator.MessageRow
	stride   uint64 // of the rows
	seconds  []*second
	// lost is all that was lost of the measured phase.
	lost int64
	// others are, for each fault, the clients that it did not happen to.
	others []bystanders
	// duplicated is what the fleets had counted at the end.
	duplicated int64
	// whole is when the last client came back, 0 when not all did, or none had to.
	whole int64
	// start and end are the measured phase's.
	start, end int64
}

// work returns the faults as the document has them, and how many of the lost
// deliveries no fault explains.
func (a *aftermath) work() ([]reports.Fault, int64, error) {
	at := make(map[rowID]*simulator.MessageRow, len(a.rows))
	for i := range a.rows {
		if r := &a.rows[i]; headline(r.Phase) {
			at[rowID{r.Sequence, r.Topic, r.Publisher}] = r
		}
	}
	unexplained := a.lost
	var out []reports.Fault
	for i, f := range a.faults {
		rep := reports.Fault{
			Kind: string(f.plan.Kind), Victim: f.victim, At: ms(f.killed - a.start), Window: ms(f.until - f.killed), Down: since(f.killed, f.ready),
		}
		missing := a.arrivals(&rep, i, at)
		if err := a.latencies(&rep, i, missing); err != nil {
			return nil, 0, err
		}
		a.clients(&rep, i)
		a.innocents(&rep, i)
		// With a sample of the rows alone, which message was lost is not known of all.
		if a.stride == 1 {
			unexplained -= rep.Lost
		}
		out = append(out, rep)
	}
	unexplained = max(unexplained, 0)
	if unexplained == 0 {
		for i := range out { // with those that were under way when it happened
			out[i].LostInnocent += a.others[i].before.lostInnocent
		}
	}
	return out, unexplained, nil
}

// innocents fills in what became of the clients that a fault did not happen to.
func (a *aftermath) innocents(rep *reports.Fault, i int) {
	b := a.others[i]
	rep.InnocentClients = b.clients
	if b.clients == 0 {
		return
	}
	rep.LostInnocent = b.held.lostInnocent
	rep.InnocentBefore, rep.Innocent = summary(b.before.innocent), summary(b.held.innocent)
}

// span is the time that belongs to a fault: until the next one, or the end.
func (a *aftermath) span(i int) (from, to int64) {
	to = math.MaxInt64
	if i+1 < len(a.faults) {
		to = a.faults[i+1].from
	}
	return a.faults[i].killed, to
}

// clients fills in what became of the clients.
func (a *aftermath) clients(rep *reports.Fault, i int) {
	f := a.faults[i]
	after := a.duplicated
	if i+1 < len(a.faults) {
		after = a.faults[i+1].duplicated
	}
	rep.Duplicated = after - f.duplicated
	back := f.whole
	if i == len(a.faults)-1 && a.whole > f.killed {
		back = a.whole // exact, where the ticks are a fifth of a second apart
	}
	rep.Reconnected = since(f.killed, back)
}

// publisherSaw is when the publishers first saw an error after a fault, by clock; 0
// is never.
func (a *aftermath) publisherSaw(from, to int64) int64 {
	saw := int64(0)
	note := func(at int64) {
		if at >= from && at < to && (saw == 0 || at < saw) {
			saw = at
		}
	}
	for _, l := range a.lives {
		note(l.broken)
	}
	for _, at := range a.misses {
		note(at)
	}
	for _, m := range a.messages {
		if headline(m.phase) && m.fate == fateRefused {
			note(m.actual)
		}
	}
	return saw
}

// republished is when a publish first succeeded on a stream that was opened after
// the fault.
func (a *aftermath) republished(from, to int64) int64 {
	acked := int64(0)
	for _, l := range a.lives {
		if l.opened >= from && l.opened < to && l.firstAck != 0 && (acked == 0 || l.firstAck < acked) {
			acked = l.firstAck
		}
	}
	return acked
}

// arrivals fills in what the messages around a fault tell of it, and returns the
// intended time of the first message after it that did not reach all, that of the fault when
// only some under way did not, 0 for none.
func (a *aftermath) arrivals(rep *reports.Fault, i int, rows map[rowID]*simulator.MessageRow) (missing int64) {
	f := a.faults[i]
	killed, to := a.span(i)
	sorted := make([]message, 0, len(a.messages))
	for _, m := range a.messages {
		if headline(m.phase) && m.intended >= f.from && m.intended < to {
			sorted = append(sorted, m)
		}
	}
	slices.SortFunc(sorted, func(a, b message) int { return cmp.Compare(a.intended, b.intended) })
	first, recovered := int64(0), int64(0)
	broken, underWay := false, false
	for _, m := range sorted {
		row := rows[m.id()]
		inWindow := m.intended <= f.until
		switch {
		case m.fate != fateSent:
			broken, recovered = true, 0
			if inWindow {
				rep.Refused++
			}
			continue
		case row == nil || row.Subscribers == 0:
			continue // not sampled, or for nobody
		case !row.Complete():
			broken, recovered = true, 0
			underWay = underWay || m.intended < killed
			if m.intended >= killed && missing == 0 {
				missing = m.intended
			}
			if inWindow {
				rep.Messages++
				rep.Lost += row.Subscribers - row.Count
			}
		case m.intended >= killed && recovered == 0:
			recovered = m.intended + row.MaxNS
		}
		if m.intended >= killed && row.Count > 0 {
			if arrival := m.intended + row.MinNS; first == 0 || arrival < first {
				first = arrival
			}
		}
	}
	if !broken && recovered == 0 {
		recovered = killed // nothing was sent after it, and nothing was lost
	}
	rep.FirstDelivery, rep.Recovered = since(killed, first), since(killed, recovered)
	rep.Republished = since(killed, a.republished(killed, to))
	if missing == 0 && underWay {
		missing = killed
	}
	return missing
}

// latencies fills in the distributions before and during a fault and when the
// latency was back in its band; and, since a latency may be the only sign of a
// fault, when that was first seen.
func (a *aftermath) latencies(rep *reports.Fault, i int, missing int64) error {
	killed, to := a.span(i)
	before, worst, err := a.before(i)
	if err != nil {
		return err
	}
	during, err := a.during(i)
	if err != nil {
		return err
	}
	rep.Before, rep.During = summary(before), summary(during)
	saw := a.publisherSaw(killed, to)
	if saw == 0 {
		saw = missing
	}
	if before.Count() > 0 {
		out, steady, err := a.band(killed, min(to, a.end), max(high(before)+high(before)/10, worst))
		if err != nil {
			return err
		}
		rep.Steady = since(killed, steady)
		if saw == 0 && out != 0 {
			saw = max(out, killed)
		}
	}
	rep.Detected = since(killed, saw)
	return nil
}

// before is the delivery from the end of the window of the fault before, or the start, until
// a fault, and the p99 of its worst second. When no second lies between two faults it is
// what was before the first of them.
func (a *aftermath) before(i int) (all *latency.Recorder, worst int64, err error) {
	began, killed := a.start, a.faults[i].killed
	if i > 0 {
		began = a.faults[i-1].until
	}
	all, stamp := latency.NewRecorder(), stampsOf(i).before
	for _, s := range a.seconds {
		if end := s.from + int64(time.Second); end <= began || end > killed {
			continue
		}
		if err := mergeInto(all, s.phases[stamp]); err != nil {
			return nil, 0, err
		}
		worst = max(worst, high(s.phases[stamp]))
	}
	if all.Count() == 0 && i > 0 {
		return a.before(i - 1)
	}
	return all, worst, nil
}

// during is the delivery of the messages sent in the window of a fault.
func (a *aftermath) during(i int) (*latency.Recorder, error) {
	all, stamps := latency.NewRecorder(), stampsOf(i)
	for _, s := range a.seconds {
		if err := errors.Join(mergeInto(all, s.phases[stamps.hold]), mergeInto(all, s.phases[stamps.recover])); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// band is when the delivery was first out of its band from a time on, 0 for never,
// and when it was back in it for good, 0 for never.
func (a *aftermath) band(from, to, limit int64) (out, steady int64, err error) {
	steady = from
	for _, s := range a.seconds {
		end := s.from + int64(time.Second)
		if end <= from || s.from >= to {
			continue
		}
		all, err := s.all()
		if err != nil {
			return 0, 0, err
		}
		// At a message a second one may be due at the end of a second, and arrive in time.
		silent := s.due != 0 && s.due+limit <= end && all.Count() == 0
		if !silent && high(all) <= limit {
			continue
		}
		if out == 0 {
			out = s.from
		}
		if steady = end; end >= to {
			return out, 0, nil
		}
	}
	return out, steady, nil
}

// high is the p99, or the maximum of what is too little to have one.
func high(r *latency.Recorder) int64 {
	switch {
	case r == nil || r.Count() == 0:
		return 0
	case r.Count() < reports.Support(99):
		return r.Max()
	default:
		return r.Percentile(99)
	}
}

// summary is the distribution of a recorder, nil of an empty one.
func summary(r *latency.Recorder) *reports.Distribution {
	if r.Count() == 0 {
		return nil
	}
	d := reports.Summarise(r)
	return &d
}
