package loadtest_test

import (
	"reflect"
	"testing"

	"firetower/loadtest"
	"firetower/reports"
)

// The counters of servers that were killed are in the account of a phase, each process by
// itself, and what is in none is told with its time.
func TestCountersOfTheKilled(t *testing.T) {
	t.Parallel()
	const ms = 1_000_000
	n := func(v string) string { return "firetower_gateway_deliveries_total " + v + "\n" }
	const killedGap, silentGap, startGap, endGap = "from its last answer until it was killed", "it did not answer before it was killed",
		"it did not answer at the start of the measured phase", "it did not answer at the end"
	for _, tt := range []struct {
		name     string
		starts   []int
		from, to []string
		killed   []loadtest.Killed
		grown    float64
		gaps     []reports.BudgetGap
	}{
		{"nobody was killed", []int{1, 1}, []string{n("5"), n("7")}, []string{n("15"), n("10")}, nil, 13, nil},
		{
			"one was killed",
			[]int{1, 2},
			[]string{n("5"), n("7")},
			[]string{n("15"), n("4")},
			[]loadtest.Killed{{Place: 1, Start: 1, Asked: 400 * ms, Killed: 403 * ms, Told: n("27")}},
			10 + 20 + 4,
			[]reports.BudgetGap{{Server: "gateway-1.1", From: 400, To: 403, Reason: killedGap}},
		},
		{
			"one was killed twice",
			[]int{3},
			[]string{n("7")},
			[]string{n("4")},
			[]loadtest.Killed{{Start: 1, Asked: 400 * ms, Killed: 403 * ms, Told: n("27")}, {Start: 2, Asked: 700 * ms, Killed: 701 * ms, Told: n("3")}},
			20 + 3 + 4,
			[]reports.BudgetGap{{Server: "gateway-0.1", From: 400, To: 403, Reason: killedGap}, {Server: "gateway-0.2", From: 700, To: 701, Reason: killedGap}},
		},
		{
			"the killed did not answer, of the time that it was there",
			[]int{3},
			[]string{n("7")},
			[]string{n("4")},
			[]loadtest.Killed{
				{Start: 1, Asked: 400 * ms, Killed: 403 * ms, Next: 603 * ms, Told: n("27")},
				{Start: 2, Asked: 700 * ms, Killed: 750 * ms, Next: 950 * ms},
			},
			20 + 4,
			[]reports.BudgetGap{{Server: "gateway-0.1", From: 400, To: 403, Reason: killedGap}, {Server: "gateway-0.2", From: 603, To: 750, Reason: silentGap}},
		},
		{
			"the successor is silent at the end, of the time that it was there",
			[]int{1, 2},
			[]string{n("5"), n("7")},
			[]string{n("15"), ""},
			[]loadtest.Killed{{Place: 1, Start: 1, Asked: 400 * ms, Killed: 403 * ms, Next: 603 * ms, Told: n("27")}},
			10 + 20,
			[]reports.BudgetGap{{Server: "gateway-1.1", From: 400, To: 403, Reason: killedGap}, {Server: "gateway-1", From: 603, To: 1000, Reason: endGap}},
		},
		{
			"nor is known what it had counted before",
			[]int{2},
			[]string{""},
			[]string{n("4")},
			[]loadtest.Killed{{Start: 1, Asked: 400 * ms, Killed: 403 * ms, Told: n("27")}},
			4,
			[]reports.BudgetGap{{Server: "gateway-0.1", To: 403, Reason: startGap}},
		},
		{"one is silent at the end", []int{1, 1}, []string{n("5"), n("7")}, []string{n("15"), ""}, nil, 10, []reports.BudgetGap{{Server: "gateway-1", To: 1000, Reason: endGap}}},
		{"one was silent at the start", []int{1, 1}, []string{n("5"), ""}, []string{n("15"), n("900")}, nil, 10, []reports.BudgetGap{{Server: "gateway-1", To: 1000, Reason: startGap}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			first, last, gaps := loadtest.Whole(tt.starts, tt.from, tt.to, tt.killed...)
			sum := 0.0
			for i := range last {
				sum += last[i]["firetower_gateway_deliveries_total"] - first[i]["firetower_gateway_deliveries_total"]
			}
			if sum != tt.grown {
				t.Errorf("grew by %v, want %v: %v to %v", sum, tt.grown, first, last)
			}
			if !reflect.DeepEqual(gaps, tt.gaps) {
				t.Errorf("gaps %+v, want %+v", gaps, tt.gaps)
			}
		})
	}
}
