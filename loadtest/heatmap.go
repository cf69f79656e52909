package loadtest

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"firetower/reports"
	"firetower/simulator"
)

const (
	// heatColumns is the most columns of a heatmap.
	heatColumns = 240
	// heatRows is how many rows a decade of latency has: a row is a third wider than the
	// one below, which still tells two modes apart.
	heatRows = 8
)

// heatmap counts the deliveries of warm-up and measured phase by time and latency. It
// is nil when there are none.
func (r *run) heatmap(intervals []simulator.Interval) (*reports.Heatmap, error) {
	var kept []simulator.Interval
	for _, i := range intervals {
		if i.Phase != simulator.PhaseProbe && i.Intended.Count() > 0 {
			kept = append(kept, i)
		}
	}
	if len(kept) == 0 {
		return nil, nil
	}
	second := int64(time.Second)
	begin, end := kept[0].StartNS, kept[0].StartNS
	for _, i := range kept {
		begin, end = min(begin, i.StartNS), max(end, i.StartNS)
	}
	seconds := (end-begin)/second + 1
	step := (seconds + heatColumns - 1) / heatColumns
	columns := int((seconds + step - 1) / step)
	// cells are by column, phase and row; rows count from 1 ns up.
	counts := make([]map[int]int64, columns)
	of := make([]map[simulator.Phase]int64, columns)
	least, most := math.MaxInt, 0
	for _, i := range kept {
		rec, err := i.Intended.Recorder()
		if err != nil {
			return nil, fmt.Errorf("interval: %w", err)
		}
		at := int((i.StartNS - begin) / second / step)
		if counts[at] == nil {
			counts[at], of[at] = map[int]int64{}, map[simulator.Phase]int64{}
		}
		for _, b := range rec.Buckets() {
			row := heatRow(b.FromNS + (b.ToNS-b.FromNS)/2)
			counts[at][row] += b.Count
			least, most = min(least, row), max(most, row)
		}
		of[at][i.Phase.Kind()] += rec.Count()
	}
	h := &reports.Heatmap{Step: float64(step)}
	for row := least; row <= most; row++ {
		h.Edges = append(h.Edges, roundTo(math.Pow(10, float64(row)/heatRows)/1e6, 4))
	}
	for at := range columns {
		h.T = append(h.T, r.seconds(begin+int64(at)*step*second))
		h.Phase = append(h.Phase, mostOf(of[at]))
		column := make([]int64, most-least+1)
		for row, n := range counts[at] {
			column[row-least] = n
		}
		h.Counts = append(h.Counts, column)
	}
	return h, nil
}

// heatRow is the row of a latency: the first whose upper edge, 10^(row/heatRows) ns, is
// not below it.
func heatRow(ns int64) int {
	return int(math.Ceil(heatRows*math.Log10(float64(max(ns, 1))) - 1e-9))
}

// mostOf names the phase of most deliveries in a column; empty for a column without any.
func mostOf(of map[simulator.Phase]int64) string {
	var phases []simulator.Phase
	for p := range of {
		phases = append(phases, p)
	}
	if len(phases) == 0 {
		return ""
	}
	slices.Sort(phases)
	return phaseName(slices.MaxFunc(phases, func(a, b simulator.Phase) int { return int(min(max(of[a]-of[b], -1), 1)) }))
}

// roundTo keeps so many significant digits.
func roundTo(v float64, digits int) float64 {
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64)
	if err != nil {
		return v // it is what was just written
	}
	return short
}

// skewP99 is the p99 over connections of their mean latency, by the median of it; nil
// for fewer connections than a p99 needs.
func skewP99(s simulator.Spread) *float64 {
	m := s.MeanLatency
	if m == nil || m.Count() < reports.Support(99) || m.Percentile(50) == 0 {
		return nil
	}
	return pointer(roundTo(float64(m.Percentile(99))/float64(m.Percentile(50)), 4))
}
