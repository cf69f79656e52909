package loadtest

import (
	"cmp"
	"slices"

	"firetower/reports"
	"firetower/simulator"
)

// rowID names a message.
type rowID struct {
	sequence  uint64
	topic     uint32
	publisher uint16
}

func (m message) id() rowID { return rowID{m.sequence, m.topic, m.publisher} }

// phaseLedger is the fleet's account of one phase in the form of the document.
func phaseLedger(r *simulator.Report, phase simulator.Phase) (reports.Ledger, bool) {
	for _, p := range r.Phases {
		if p.Phase == phase {
			return reports.Ledger{
				Expected: p.Expected, Received: p.Received, Lost: p.Lost, Duplicated: p.Duplicated, Reordered: p.Reordered,
				Late: p.Late, Corrupt: p.Corrupt, Foreign: p.Foreign, Negative: p.Negative,
			}, true
		}
	}
	return reports.Ledger{}, false
}

// faultAccount works out what each fault cost, and how many of the lost
// deliveries no fault explains.
func faultAccount(faults []faultRecord, lives []streamLife, msgs []message, rows []simulator.MessageRow, stride uint64, lost, measureStart int64) ([]reports.Fault, int64) {
	at := make(map[rowID]*simulator.MessageRow, len(rows))
	for i := range rows {
		if r := &rows[i]; r.Phase == simulator.PhaseMeasure {
			at[rowID{r.Sequence, r.Topic, r.Publisher}] = r
		}
	}
	unexplained := lost
	var out []reports.Fault
	for _, f := range faults {
		rep := reports.Fault{
			Kind: string(f.plan.Kind), At: ms(f.killed - measureStart), Window: ms(f.until - f.killed), Down: since(f.killed, f.ready),
		}
		rep.Detected, rep.Republished = publisherView(f, lives)
		arrivals(&rep, f, msgs, at)
		// With a sample of the rows alone, which message was lost is not known of all.
		if stride == 1 {
			unexplained -= rep.Lost
		}
		out = append(out, rep)
	}
	return out, max(unexplained, 0)
}

// publisherView is when the publishers saw the fault, and when they could publish again.
func publisherView(f faultRecord, lives []streamLife) (detected, republished *float64) {
	broken, acked := int64(0), int64(0)
	for _, l := range lives {
		if l.broken >= f.killed && (broken == 0 || l.broken < broken) {
			broken = l.broken
		}
		if l.opened >= f.killed && l.firstAck != 0 && (acked == 0 || l.firstAck < acked) {
			acked = l.firstAck
		}
	}
	return since(f.killed, broken), since(f.killed, acked)
}

// arrivals fills in what the messages around a fault tell of it.
func arrivals(rep *reports.Fault, f faultRecord, msgs []message, rows map[rowID]*simulator.MessageRow) {
	sorted := make([]message, 0, len(msgs))
	for _, m := range msgs {
		if m.phase == simulator.PhaseMeasure && m.intended >= f.from {
			sorted = append(sorted, m)
		}
	}
	slices.SortFunc(sorted, func(a, b message) int { return cmp.Compare(a.intended, b.intended) })
	first, recovered := int64(0), int64(0)
	broken := false
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
		case row == nil:
			continue // not sampled
		case !row.Complete():
			broken, recovered = true, 0
			if inWindow {
				rep.Messages++
				rep.Lost += row.Subscribers - row.Count
			}
		case m.intended >= f.killed && recovered == 0:
			recovered = m.intended + row.MaxNS
		}
		if m.intended >= f.killed && row.Count > 0 {
			if arrival := m.intended + row.MinNS; first == 0 || arrival < first {
				first = arrival
			}
		}
	}
	if !broken && recovered == 0 {
		recovered = f.killed // nothing was sent after it, and nothing was lost
	}
	rep.FirstDelivery, rep.Recovered = since(f.killed, first), since(f.killed, recovered)
}

// ms converts nanoseconds to the milliseconds of the document.
func ms(ns int64) float64 { return reports.Millis(ns) }

// since is the time from one moment to another, nil when the other never was.
func since(from, to int64) *float64 {
	if to == 0 {
		return nil
	}
	v := ms(to - from)
	return &v
}
