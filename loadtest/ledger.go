package loadtest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"firetower/reports"
	"firetower/simulator"
	"firetower/simulator/latency"
)

// rowID names a message.
type rowID struct {
	sequence  uint64
	topic     uint32
	publisher uint16
}

func (m message) id() rowID { return rowID{m.sequence, m.topic, m.publisher} }

// headlinePhases are the phases of messages that the run's figures are of: those of
// the measured phase, with those around its faults.
var headlinePhases = func() (all []simulator.Phase) {
	for fault := range simulator.MaxFaults + 1 {
		of := stampsOf(fault)
		all = append(all, of.before, of.hold, of.recover)
	}
	return all
}()

func headline(p simulator.Phase) bool {
	return slices.Contains(headlinePhases[:3], p.Kind()) // those of the first fault are the kinds
}

// account is what fleets say of some phases together.
type account struct {
	reports.Ledger
	phases                     int // that there were
	lostInnocent               int64
	intended, actual, innocent *latency.Recorder
}

// sumPhases adds up the fleets' account of some phases.
func sumPhases(r *simulator.Report, phases ...simulator.Phase) (account, error) {
	a := account{intended: latency.NewRecorder(), actual: latency.NewRecorder(), innocent: latency.NewRecorder()}
	var errs []error
	for i := range r.Phases {
		p := &r.Phases[i]
		if !slices.Contains(phases, p.Phase) {
			continue
		}
		a.phases++
		a.Expected += p.Expected
		a.Received += p.Received
		a.ReceivedBytes += p.Bytes
		a.Lost += p.Lost
		a.Duplicated += p.Duplicated
		a.Reordered += p.Reordered
		a.Late += p.Late
		a.Corrupt += p.Corrupt
		a.Foreign += p.Foreign
		a.Negative += p.Negative
		a.lostInnocent += p.LostInnocent
		errs = append(errs, mergeInto(a.intended, p.Intended), mergeInto(a.actual, p.Actual), mergeInto(a.innocent, p.Innocent))
	}
	return a, errors.Join(errs...)
}

// mergeInto adds what there is.
func mergeInto(to, from *latency.Recorder) error {
	if from == nil {
		return nil
	}
	return to.Merge(from)
}

// second is what arrived in one second of the measured phase.
type second struct {
	from   int64 // by clock
	phases map[simulator.Phase]*latency.Recorder
	due    int64 // when its first message was, by clock; 0 for none
}

// all is what arrived, whatever its phase.
func (s *second) all() (*latency.Recorder, error) {
	var parts []*latency.Recorder
	for _, phase := range headlinePhases {
		parts = append(parts, s.phases[phase])
	}
	return latency.Merged(parts...)
}

// secondsOf sorts what arrived, and what was planned, by seconds.
func secondsOf(intervals []simulator.Interval, msgs []message) ([]*second, error) {
	at := map[int64]*second{}
	get := func(ns int64) *second {
		from := ns - ns%int64(time.Second)
		if at[from] == nil {
			at[from] = &second{from: from, phases: map[simulator.Phase]*latency.Recorder{}}
		}
		return at[from]
	}
	for _, i := range intervals {
		if !headline(i.Phase) {
			continue
		}
		rec, err := i.Intended.Recorder()
		if err != nil {
			return nil, fmt.Errorf("interval: %w", err)
		}
		s := get(i.StartNS)
		if s.phases[i.Phase], err = latency.Merged(s.phases[i.Phase], rec); err != nil {
			return nil, err
		}
	}
	for _, m := range msgs {
		if headline(m.phase) {
			if s := get(m.intended); s.due == 0 || m.intended < s.due {
				s.due = m.intended
			}
		}
	}
	out := slices.Collect(maps.Values(at))
	slices.SortFunc(out, func(a, b *second) int { return cmp.Compare(a.from, b.from) })
	return out, nil
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
