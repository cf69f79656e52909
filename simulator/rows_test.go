package simulator_test

import (
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"

	"firetower/simulator"
)

func TestRowBuckets(t *testing.T) {
	var next int64
	for bucket := range simulator.RowBuckets {
		lowest, highest := simulator.RowBucketBounds(bucket)
		if lowest != next {
			t.Fatalf("bucket %d begins at %d, the one before ended at %d", bucket, lowest, next-1)
		}
		for _, ns := range []int64{lowest, (lowest + highest) / 2, highest} {
			if got := simulator.RowBucket(ns); got != bucket && bucket < simulator.RowBuckets-1 {
				t.Errorf("%d ns is in bucket %d, which is %d to %d; got %d", ns, bucket, lowest, highest, got)
			}
		}
		if width := float64(highest+1) / float64(lowest); bucket > 0 && bucket < simulator.RowBuckets-1 && width > 1.2501 {
			t.Errorf("bucket %d is %.2f wide", bucket, width)
		}
		next = highest + 1
	}
	if got := simulator.RowBucket(-5); got != 0 {
		t.Errorf("negative: bucket %d", got)
	}
	if got := simulator.RowBucket(math.MaxInt64); got != simulator.RowBuckets-1 {
		t.Errorf("the greatest: bucket %d", got)
	}
}

func rowOf(t *testing.T, subscribers int, latencies ...int64) simulator.MessageRow {
	t.Helper()
	table := simulator.NewRowTable(10)
	for _, ns := range latencies {
		table.Add(simulator.PhaseMeasure, 0, 0, 1, 1000, ns)
	}
	_, rows := table.Rows([]simulator.TopicSent{{Phase: simulator.PhaseMeasure, First: 1, Count: 1}}, []int{subscribers}, 10)
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	return rows[0]
}

func TestRowReached(t *testing.T) {
	const ms = 1_000_000
	full := rowOf(t, 4, 10*ms, 20*ms, 40*ms, 80*ms)
	partial := rowOf(t, 4, 10*ms, 20*ms, 40*ms)
	none := rowOf(t, 4)
	tests := map[string]struct {
		row       simulator.MessageRow
		share     float64
		low, high int64
		ok        bool
	}{
		"first":                        {full, 0, 10 * ms, 10 * ms, true},
		"a quarter is the first":       {full, 0.25, 10 * ms, 10 * ms, true},
		"half":                         {full, 0.5, 20 * ms, 25 * ms, true},
		"all":                          {full, 1, 80 * ms, 80 * ms, true},
		"incomplete: what it has":      {partial, 0.75, 40 * ms, 40 * ms, true},
		"incomplete: more than it has": {partial, 0.76, 0, 0, false},
		"incomplete: all":              {partial, 1, 0, 0, false},
		"nobody":                       {none, 0.5, 0, 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := tt.row.Reached(tt.share)
			if ok != tt.ok || got < tt.low || got > tt.high {
				t.Errorf("Reached(%v) = %d, %v, want %d..%d, %v", tt.share, got, ok, tt.low, tt.high, tt.ok)
			}
		})
	}
	if !full.Complete() || partial.Complete() || none.Complete() {
		t.Error("Complete is wrong")
	}
	if none.Count != 0 || none.MinNS != 0 || none.Subscribers != 4 {
		t.Errorf("a message that reached nobody: %+v", none)
	}
}

// Fleets that thinned their rows at different times still hold the same messages, whole.
func TestRowTableThins(t *testing.T) {
	const messages, limit = 10_000, 256
	sent := []simulator.TopicSent{{Phase: simulator.PhaseMeasure, First: 1, Count: messages}}
	small, large := simulator.NewRowTable(limit), simulator.NewRowTable(4*limit)
	for seq := uint64(1); seq <= messages; seq++ {
		for range 3 {
			small.Add(simulator.PhaseMeasure, 0, 0, seq, 1, int64(seq))
		}
		large.Add(simulator.PhaseMeasure, 0, 0, seq, 1, int64(2*seq))
	}
	if small.Len() > limit || small.Len() < limit/8 {
		t.Errorf("%d rows within a limit of %d", small.Len(), limit)
	}
	small.Absorb(large)
	stride, rows := small.Rows(sent, []int{4}, limit)
	if stride < 2 || stride&(stride-1) != 0 {
		t.Errorf("stride %d", stride)
	}
	if len(rows) < limit/8 || len(rows) > limit {
		t.Errorf("%d rows reported within a limit of %d", len(rows), limit)
	}
	for _, row := range rows {
		if row.Count != 4 || row.MinNS != int64(row.Sequence) || row.MaxNS != int64(2*row.Sequence) {
			t.Fatalf("row %+v, want 4 arrivals", row)
		}
	}
}

// Merging the reports of parts of the connections is reporting the whole.
func TestPropertyRowsFold(t *testing.T) {
	type arrival struct {
		Topic, Sequence uint64
		Latency         int64
	}
	sent := []simulator.TopicSent{
		{Topic: 0, Phase: simulator.PhaseWarmup, First: 1, Count: 3},
		{Topic: 0, Phase: simulator.PhaseMeasure, First: 4, Count: 5},
		{Topic: 1, Phase: simulator.PhaseMeasure, First: 1, Count: 8},
	}
	phaseOf := func(a arrival) simulator.Phase {
		if a.Topic == 0 && a.Sequence < 4 {
			return simulator.PhaseWarmup
		}
		return simulator.PhaseMeasure
	}
	report := func(arrivals []arrival, subscribers []int) *simulator.Report {
		table := simulator.NewRowTable(1000)
		for _, a := range arrivals {
			table.Add(phaseOf(a), uint32(a.Topic), 0, a.Sequence, int64(a.Sequence*1000), a.Latency)
		}
		r := emptyReport()
		r.RowStride, r.Rows = table.Rows(sent, subscribers, 1000)
		return r
	}
	properties(t, 100, "rows of the parts fold into the rows of the whole", prop.ForAll(
		func(arrivals []arrival, cut int) string {
			cut = min(cut, len(arrivals))
			whole := report(arrivals, []int{5, 9})
			merged, err := simulator.Merge(report(arrivals[:cut], []int{2, 9}), report(arrivals[cut:], []int{3, 0}))
			if err != nil {
				return err.Error()
			}
			if !reflect.DeepEqual(merged.Rows, whole.Rows) {
				return fmt.Sprintf("merged %+v\nwhole %+v", merged.Rows, whole.Rows)
			}
			return ""
		},
		gen.SliceOf(gen.StrictStruct(reflect.TypeFor[arrival](), map[string]gopter.Gen{
			"Topic": gen.UInt64Range(0, 1), "Sequence": gen.UInt64Range(1, 8), "Latency": gen.Int64Range(0, 20_000_000_000),
		})),
		gen.IntRange(0, 99),
	))
}

// Reports whose rows were thinned differently merge into the messages that both have.
func TestMergeOfDifferentStrides(t *testing.T) {
	const messages = 4000
	sent := []simulator.TopicSent{{Phase: simulator.PhaseMeasure, First: 1, Count: messages}}
	var parts []*simulator.Report
	for _, limit := range []int{100, 1000, 10_000} {
		table := simulator.NewRowTable(limit)
		for seq := uint64(1); seq <= messages; seq++ {
			table.Add(simulator.PhaseMeasure, 0, 0, seq, 1, int64(limit))
		}
		r := emptyReport()
		r.RowStride, r.Rows = table.Rows(sent, []int{1}, limit)
		parts = append(parts, r)
	}
	merged, err := simulator.Merge(parts...)
	if err != nil {
		t.Fatal(err)
	}
	if merged.RowStride != parts[0].RowStride || len(merged.Rows) != len(parts[0].Rows) {
		t.Errorf("stride %d with %d rows, want those of the thinnest: %d with %d", merged.RowStride, len(merged.Rows),
			parts[0].RowStride, len(parts[0].Rows))
	}
	for _, row := range merged.Rows {
		if row.Subscribers != 3 || !row.Complete() || row.MinNS != 100 || row.MaxNS != 10_000 {
			t.Fatalf("row %+v", row)
		}
	}
}
