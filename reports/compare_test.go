package reports_test

import (
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"firetower/reports"
)

// variant is the sample with another CPU figure.
func variant(t *testing.T, id string, cpu float64) *reports.Result {
	t.Helper()
	r := sample(t)
	r.ID = id
	r.Server.CPUMicrosPerDelivery = &cpu
	return r
}

func TestCompareTellsRatiosOfMedians(t *testing.T) {
	t.Parallel()
	base := []*reports.Result{variant(t, "a", 4), variant(t, "b", 100), variant(t, "c", 5)}
	next := []*reports.Result{variant(t, "d", 10), variant(t, "e", 20)}
	next[0].Environment.Kernel, next[1].Environment.Kernel = "7.0", "7.0"
	c, err := reports.Compare(base, next, false)
	if err != nil {
		t.Fatal(err)
	}
	if row := c.Rows[0]; row.Ratio == nil || math.Abs(*row.Ratio-3) > 1e-9 {
		t.Errorf("15 / 5 gave %+v", row)
	}
	text := c.String()
	for _, want := range []string{"3.000", "differs in kernel: 6.1 | 7.0", "no\nevidence of a change"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "differs in go") {
		t.Error("tells of a difference that is none")
	}
}

func TestCompareOfSingleRunsSaysThatItKnowsNothingOfNoise(t *testing.T) {
	t.Parallel()
	c, err := reports.Compare([]*reports.Result{variant(t, "a", 4)}, []*reports.Result{variant(t, "b", 5)}, false)
	if err != nil || !strings.Contains(c.String(), "nothing here tells a change from noise") {
		t.Errorf("%v\n%s", err, c)
	}
}

func TestCompareRefusesUnlikeQuestions(t *testing.T) {
	t.Parallel()
	base, next := variant(t, "a", 4), variant(t, "b", 5)
	next.Configuration.ScenarioHash = "bb"
	next.Configuration.Scenario = strings.Replace(next.Configuration.Scenario, `rate = "5/s"`, `rate = "10/s"`, 1)
	_, err := reports.Compare([]*reports.Result{base}, []*reports.Result{next}, false)
	if !errors.Is(err, reports.ErrUnlike) || !strings.Contains(err.Error(), `load.rate ("5/s" | "10/s")`) {
		t.Errorf("another rate gave %v", err)
	}
	c, err := reports.Compare([]*reports.Result{base}, []*reports.Result{next}, true)
	if err != nil || !strings.Contains(c.String(), "FORCED, not the same question") {
		t.Errorf("forced: %v\n%v", err, c)
	}
	next.Scenario = "other"
	if _, err := reports.Compare([]*reports.Result{base}, []*reports.Result{next}, false); !errors.Is(err, reports.ErrUnlike) {
		t.Errorf("another scenario gave %v", err)
	}
}

// Another setting of a server is what a comparison is for: it is told, not refused.
func TestCompareTellsOfAnotherSetting(t *testing.T) {
	t.Parallel()
	base, next := variant(t, "a", 4), variant(t, "b", 5)
	base.Configuration.Gateway = "[bucket]\nNum = 4  # default\nConsumerNum = 32  # default\n"
	next.Configuration.Gateway = "[bucket]\nNum = 8  # file x line 2\nConsumerNum = 32  # file x line 3\n"
	next.Configuration.Scenario += "\n[gateway.bucket]\nNum = 8\n"
	c, err := reports.Compare([]*reports.Result{base}, []*reports.Result{next}, false)
	if err != nil {
		t.Fatal(err)
	}
	if text := c.String(); !strings.Contains(text, "differs in gateway configuration: bucket.Num (4 | 8)\n") {
		t.Errorf("%s", text)
	}
}

func TestCompareLeavesInvalidRunsOut(t *testing.T) {
	t.Parallel()
	bad := variant(t, "bad", 400)
	bad.Verdict = reports.Invalid
	c, err := reports.Compare([]*reports.Result{variant(t, "a", 4), bad}, []*reports.Result{variant(t, "b", 4)}, false)
	if err != nil || *c.Rows[0].Ratio != 1 || !strings.Contains(c.String(), "left out, invalid: bad") {
		t.Errorf("%v\n%s", err, c)
	}
	if _, err := reports.Compare([]*reports.Result{bad}, []*reports.Result{variant(t, "b", 4)}, true); !errors.Is(err, reports.ErrUnlike) {
		t.Errorf("a side of invalid runs alone gave %v", err)
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
	// The folder stands for the runs of its first target.
	if err := reports.Write(mkdir(t, dir, "1"), own, nil); err != nil {
		t.Fatal(err)
	}
	group, err := reports.ReadGroup(dir)
	if err != nil || len(group) != 1 || group[0].ID != "own" {
		t.Errorf("read %v (%v)", group, err)
	}
	both, err := reports.ReadGroup(filepath.Join(dir, "1") + "," + filepath.Join(dir, "1"))
	if err != nil || len(both) != 2 {
		t.Errorf("read %d runs (%v), want 2", len(both), err)
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	if m := reports.Median([]float64{3, 1, 2}); *m != 2 {
		t.Errorf("odd: %v", *m)
	}
	if m := reports.Median([]float64{4, 1, 2, 3}); *m != 2.5 {
		t.Errorf("even: %v", *m)
	}
	if reports.Median(nil) != nil {
		t.Error("of nothing there is one")
	}
}
