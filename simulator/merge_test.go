package simulator_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"firetower/simulator"
	"firetower/simulator/latency"
)

// One of each figure that is not of messages, for a report.
func furtherReport(n int64) *simulator.Report {
	r := emptyReport()
	for range n {
		r.Reconnect.Record(1_000 * n)
		r.Join.Record(2_000 * n)
	}
	r.Reconnects, r.LastReconnectNS, r.Down = n, 10*n, 2*n
	r.ReconnectRefused = map[string]int64{"a": n}
	r.Churn = &simulator.ChurnReport{
		Changes: n, Refused: 2 * n, Unanswered: 3 * n, Skipped: 4 * n, Due: 5 * n, Received: 6 * n, Lost: 7 * n, Duplicated: 8 * n,
		Reordered: 9 * n, Extra: 10 * n,
	}
	r.Innocents = []int64{n, 2 * n}
	r.Phases = []simulator.PhaseReport{{
		Phase: simulator.PhaseHold, LostInnocent: n, Intended: latency.NewRecorder(), Actual: latency.NewRecorder(),
		Innocent: latency.NewRecorder(),
	}}
	r.Phases[0].Innocent.Record(n)
	return r
}

// What comes back, what churns and who is innocent add up over workers, and survive JSON.
func TestMergeOfFurtherFigures(t *testing.T) {
	var parts []*simulator.Report
	for _, n := range []int64{1, 3} {
		text, err := json.Marshal(furtherReport(n))
		if err != nil {
			t.Fatal(err)
		}
		var back simulator.Report
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, &back)
	}
	merged, err := simulator.Merge(parts[0], parts[1], emptyReport()) // the last has no churn
	if err != nil {
		t.Fatal(err)
	}
	want := furtherReport(4)
	if !reflect.DeepEqual(merged.Churn, want.Churn) {
		t.Errorf("churn %+v, want %+v", merged.Churn, want.Churn)
	}
	if merged.Reconnects != 4 || merged.LastReconnectNS != 30 || merged.Down != 8 || merged.ReconnectRefused["a"] != 4 {
		t.Errorf("reconnects %d, last at %d, down %d, refused %v", merged.Reconnects, merged.LastReconnectNS, merged.Down, merged.ReconnectRefused)
	}
	if merged.Reconnect.Count() != 4 || merged.Reconnect.Max() != 3_000 || merged.Join.Count() != 4 || merged.Join.Max() != 6_000 {
		t.Errorf("%d reconnects, %d joins", merged.Reconnect.Count(), merged.Join.Count())
	}
	if !slices.Equal(merged.Innocents, want.Innocents) {
		t.Errorf("innocents %v, want %v", merged.Innocents, want.Innocents)
	}
	if p := phaseOf(merged, simulator.PhaseHold); p.LostInnocent != 4 || p.Innocent.Count() != 2 {
		t.Errorf("hold %+v", p)
	}
}

// A configuration travels to workers as JSON.
func TestConfigSurvivesJSON(t *testing.T) {
	config := simulator.DefaultConfig()
	config.Reconnect, config.Victims = quickReconnect(), []int{2, -1, 0}
	config.Churn = simulator.ChurnPlan{Topics: 3, Rate: 0.5, Seed: 9, Grace: 1}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	var back simulator.Config
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, config) {
		t.Errorf("%+v, %v, want\n%+v", back, err, config)
	}
}
