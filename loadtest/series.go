package loadtest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"firetower/reports"
	"firetower/simulator"
	"firetower/simulator/latency"
)

// sample is at most reports.MaxSample of the planned messages, spread evenly over
// time. One that did not go out, or reached nobody, is in it without values.
func (r *run) sample(rows []simulator.MessageRow) reports.Sample {
	known := make(map[rowID]*simulator.MessageRow, len(rows))
	for i := range rows {
		known[rowID{rows[i].Sequence, rows[i].Topic, rows[i].Publisher}] = &rows[i]
	}
	var planned []message
	for _, m := range r.pub.messages {
		sampled := m.fate != fateSent || known[m.id()] != nil
		if headline(m.phase) && sampled {
			planned = append(planned, m)
		}
	}
	slices.SortStableFunc(planned, func(a, b message) int { return cmp.Compare(a.intended, b.intended) })
	var s reports.Sample
	step := max(1, (len(planned)+reports.MaxSample-1)/reports.MaxSample)
	for i := 0; i < len(planned); i += step {
		m := planned[i]
		at := func(share float64) *float64 {
			if m.fate != fateSent {
				return nil
			}
			ns, ok := known[m.id()].Reached(share)
			if !ok {
				return nil
			}
			v := ms(ns)
			return &v
		}
		s.T = append(s.T, r.seconds(m.intended))
		s.At50 = append(s.At50, at(0.50))
		s.At90 = append(s.At90, at(0.90))
		s.At99 = append(s.At99, at(0.99))
		s.Last = append(s.Last, at(1))
	}
	return s
}

// fillSeconds works out what happened in each second of the traffic.
func (r *run) fillSeconds(res *reports.Result) error {
	type cell struct {
		planned, sent int64
		rec           *latency.Recorder
	}
	type slot struct {
		second int64
		phase  simulator.Phase
	}
	cells := map[slot]*cell{}
	get := func(ns int64, phase simulator.Phase) *cell {
		k := slot{ns / int64(time.Second), phase}
		if cells[k] == nil {
			cells[k] = &cell{}
		}
		return cells[k]
	}
	for _, m := range r.pub.messages {
		get(m.intended, m.phase.Kind()).planned++
		if m.fate == fateSent {
			get(m.actual, m.phase.Kind()).sent++
		}
	}
	for _, i := range r.report.Intervals {
		if i.Phase != simulator.PhaseWarmup && !headline(i.Phase) {
			continue
		}
		rec, err := i.Intended.Recorder()
		if err != nil {
			return fmt.Errorf("interval: %w", err)
		}
		// A second may have the ends of several faults' windows in it.
		if c := get(i.StartNS, i.Phase.Kind()); c.rec == nil {
			c.rec = rec
		} else if c.rec, err = latency.Merged(c.rec, rec); err != nil {
			return fmt.Errorf("interval: %w", err)
		}
		r.intervals = append(r.intervals, reports.Interval{
			Tag: phaseName(i.Phase) + ".delivery", From: r.clock.Wall(i.StartNS), To: r.clock.Wall(i.StartNS + int64(time.Second)), Recorder: rec,
		})
	}
	keys := make([]slot, 0, len(cells))
	for k := range cells {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b slot) int {
		return cmp.Or(cmp.Compare(a.second, b.second), cmp.Compare(a.phase, b.phase))
	})
	s := &res.Seconds
	for _, k := range keys {
		c := cells[k]
		d := reports.Summarise(c.rec)
		s.T = append(s.T, r.seconds(k.second*int64(time.Second)))
		s.Phase = append(s.Phase, phaseName(k.phase))
		s.Planned = append(s.Planned, c.planned)
		s.Sent = append(s.Sent, c.sent)
		s.Delivered = append(s.Delivered, d.Count)
		s.P50, s.P90, s.P99, s.Max = append(s.P50, d.P50), append(s.P90, d.P90), append(s.P99, d.P99), append(s.Max, d.Max)
	}
	return nil
}

// processes are all processes of the run with their samples.
func (r *run) processes() []reports.Process {
	out := []reports.Process{}
	r.sampler.mu.Lock()
	defer r.sampler.mu.Unlock()
	for _, pid := range r.sampler.order {
		t := r.sampler.tracks[pid]
		p := reports.Process{Role: t.role, Name: t.name, PID: pid, RSSPeak: t.peak, T: t.t, Cores: t.cores, RSS: t.rss, FDs: t.fds, Exit: "running"}
		if t.child != nil {
			p.Exit = t.child.exit()
		}
		if r.edgeTo.at != 0 {
			p.CPUSeconds = (r.edgeTo.cpu[pid] - r.edgeFrom.cpu[pid]).Seconds()
			p.WaitSeconds = max(r.edgeTo.wait[pid]-r.edgeFrom.wait[pid], 0).Seconds()
		}
		out = append(out, p)
	}
	return out
}

// serverPeak is the highest resident memory of all servers together in one sample.
func (s *sampler) serverPeak() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	sums := map[float64]int64{}
	peak := int64(0)
	for _, t := range s.tracks {
		if !isServer(t.role) {
			continue
		}
		for i, at := range t.t {
			sums[at] += t.rss[i]
			peak = max(peak, sums[at])
		}
	}
	return peak
}
