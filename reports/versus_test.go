package reports_test

import (
	"strings"
	"testing"

	"firetower/reports"
)

// versusOf writes a folder of runs that took turns: n blocks of the sets' runs.
func versusOf(t *testing.T, n int, sets ...reports.Set) (string, *reports.Versus) {
	t.Helper()
	dir := t.TempDir()
	v := &reports.Versus{
		Schema: reports.VersusSchema, ID: "x", Scenario: "sample", Purpose: "What does a comparison look like", Subprotocol: "firetower.v0", Loop: "open", Repeat: n,
		Started: sets[0].Runs[0].Started, Ended: sets[0].Runs[0].Ended,
	}
	for _, s := range sets {
		v.Targets = append(v.Targets, s.Runs[0].Target)
	}
	var results []*reports.Result
	for i := range n {
		for k := range sets {
			// Every second block runs backwards.
			if i%2 == 1 {
				k = len(sets) - 1 - k
			}
			r := sets[k].Runs[i]
			v.Runs = append(v.Runs, reports.VersusRun{Target: r.Target, Folder: r.ID, Verdict: r.Verdict, ThresholdsOK: r.ThresholdsOK})
			results = append(results, r)
			if err := reports.Write(mkdir(t, dir, r.ID), r, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	v.Fill(results)
	if err := reports.WriteVersus(dir, v); err != nil {
		t.Fatal(err)
	}
	return dir, v
}

func TestVersusOfThreeRunsHasIntervals(t *testing.T) {
	t.Parallel()
	_, v := versusOf(t, 8, turns(t, "firetower", 8, 1.15, 2), turns(t, "firetower@/tmp/old", 8, 1, 1), turns(t, "floor", 8, 0.5, 4))
	if worse := v.Worse(); strings.Join(worse, " ") != "firetower@old floor" {
		t.Errorf("worse than %q", worse)
	}
	golden(t, "versus8.golden", []byte(v.Summary("dir")))
	page, err := v.HTML()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "versus.golden.html", page)
	mixed := turns(t, "firetower", 8, 0.5, 2)
	for _, r := range mixed.Runs {
		*r.Server.RSSBytesPerConnection *= 2
	}
	_, v = versusOf(t, 8, mixed, turns(t, "floor", 8, 1, 4))
	if want := "firetower against floor: better in 3, worse in 1 ("; !strings.Contains(v.Summary("dir"), want) {
		t.Errorf("a summary of better and worse figures does not say %q:\n%s", want, v.Summary("dir"))
	}
	_, v = versusOf(t, 2, turns(t, "firetower", 2, 1.15, 2), turns(t, "floor", 2, 0.5, 4))
	if len(v.Comparisons) != 0 {
		t.Error("two runs of each target were judged")
	}
}

func TestVersusTable(t *testing.T) {
	t.Parallel()
	own, floor, bad := variant(t, "own", 6), variant(t, "floor", 4), variant(t, "bad", 1)
	floor.Target, bad.Target = "floor", "floor"
	bad.Verdict = reports.Invalid
	v := &reports.Versus{
		Schema: reports.VersusSchema, ID: "x", Scenario: "sample", Subprotocol: "firetower.v0", Loop: "open", Repeat: 1, Targets: []string{"firetower", "floor"},
		Runs: []reports.VersusRun{{Target: "firetower", Folder: "1", Verdict: reports.Valid}, {Target: "floor", Folder: "2", Verdict: reports.Valid}, {Target: "floor", Folder: "3", Verdict: reports.Invalid}},
	}
	v.Fill([]*reports.Result{own, floor, bad})
	if c := v.Table[0].Cells[1]; c.Ratio == nil || *c.Ratio != 1.5 || len(c.Values) != 1 {
		t.Errorf("6 / 4 gave %+v", c)
	}
	golden(t, "versus.golden", []byte(v.Summary("dir")))
	dir := t.TempDir()
	if err := reports.WriteVersus(dir, v); err != nil {
		t.Fatal(err)
	}
	again, err := reports.ReadVersus(dir)
	if err != nil || again.Summary("") != v.Summary("") {
		t.Errorf("another comparison came back (%v)", err)
	}
	// Where nothing is published, connecting is what is compared.
	v.Loop = "idle"
	v.Fill([]*reports.Result{own, floor, bad})
	if first := v.Table[0]; first.Metric != "connections_per_second" || first.Cells[0].Median == nil {
		t.Errorf("the first figure of an idle loop is %+v", first)
	}
	// Where no run counts, the table says of every figure that there is none.
	own.Verdict, floor.Verdict = reports.Invalid, reports.Invalid
	v.Fill([]*reports.Result{own, floor, bad})
	if len(v.Table) == 0 || len(v.Excluded) != 3 {
		t.Errorf("%d figures without a run that counts, %d left out", len(v.Table), len(v.Excluded))
	}
}
