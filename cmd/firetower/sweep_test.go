package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

func TestSweepRefusesBeforeItStartsAnything(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "none")
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no scenario", nil, "name one scenario"},
		{"unknown scenario", []string{"1k-gruop", "--grid", "bucket.Num=1"}, `did you mean "1k-group"?`},
		{"no grid", []string{"smoke"}, "no axis: write KEY=VALUE"},
		{"unknown key", []string{"smoke", "--grid", "bucket.Nmu=1"}, `no key "bucket.Nmu", did you mean "bucket.Num"?`},
		{"unknown key of a server", []string{"smoke", "--grid", "gateway.bukcet.Num=1"}, `did you mean "gateway.bucket.Num"?`},
		{"a value that is none", []string{"smoke", "--grid", "bucket.Num=1,x"}, "bucket.Num: want an integer"},
		{"a plan that is impossible", []string{"smoke", "--grid", "connections=100,900000"}, "connections=900000: the plan does not fit this machine"},
		{"unknown design", []string{"smoke", "--grid", "bucket.Num=1", "--design", "gird"}, `--design: no design "gird", did you mean "grid"?`},
		{"random without cells", []string{"smoke", "--grid", "bucket.Num=1", "--design", "random"}, "--cells: must be 1 to"},
		{"unknown objective", []string{"smoke", "--grid", "bucket.Num=1", "--objective", "delivery.p98"}, `no metric "delivery.p98"`},
		{"resume of nothing", []string{"--resume", filepath.Join(out, "x")}, "Name the folder of a sweep"},
		{"resume with a grid alone", []string{"--resume", "x", "--grid", "bucket.Num=1"}, "--grid: name the scenario as well"},
		{"resume with half a plan", []string{"--resume", "x", "--repeat", "5"}, "--repeat: name the scenario and --grid as well"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := cli(t, slices.Concat([]string{"sweep"}, tt.args, []string{"--out", out})...)
			if code != exitUsage || stdout != "" || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, printed %q and %q, want %q", code, stdout, stderr, tt.want)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("a folder was made")
			}
		})
	}
}

func TestSweepDryRunTellsPlanAndTime(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := cli(t, "sweep", "1k-group", "--grid", "bucket.Num=1,2,4 bucket.ConsumerNum=1,32 connections=500,1000", "--dry-run")
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{
		"sweep of 1k-group: 14 cells, grid", "gateway.bucket.Num", "1 2 4  (default 0)", "connections", "changes the load", "about ", "calibration 0s",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("lacks %q:\n%s", want, stdout)
		}
	}
}

// A sweep of two cells through the command line, and its report from its folder.
func TestSweepRunsAndReports(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	p := newProcess("sweep", "smoke", "--grid", "bucket.Num=1", "--repeat", "1", "--conns", "10", "--duration", "500ms", "--warmup", "0s",
		"--set", "phases.settle=50ms", "--out", out)
	p.state.environ = os.Environ()
	// A starved machine makes every run invalid, by right.
	if code := p.run(t); code != exitOK && code != exitInvalidRun {
		t.Fatalf("exit code %d: %s%s", code, p.stdout, p.stderr)
	}
	for _, want := range []string{"run 1 of 3: Num=0, the default; about", "by plan left", "run 2 of 3: Num=1;"} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("told nothing of %q:\n%s", want, p.stderr)
		}
	}
	if !strings.HasPrefix(p.stdout.String(), "sweep of smoke: 2 cells, grid") {
		t.Errorf("printed %s", p.stdout)
	}
	dir := filepath.Join(out, reports.LatestLink)
	s, err := reports.ReadSweep(dir)
	if err != nil || len(s.Cells) != 2 || !s.Complete {
		t.Fatalf("%v: %+v", err, s)
	}
	page := filepath.Join(out, "again.html")
	code, stdout, stderr := cli(t, "report", "show", out, "--html", page)
	if code != exitOK || !strings.HasPrefix(stdout, "sweep of smoke: 2 cells") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if b, err := os.ReadFile(page); err != nil || !strings.Contains(string(b), reports.SweepSchema) {
		t.Errorf("page: %v", err)
	}
	// A sweep that is complete has nothing left to do.
	if code, _, stderr := cli(t, "sweep", "1k-group", "--resume", dir); code != exitUsage || !strings.Contains(stderr, "is a sweep of smoke, not of 1k-group") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	again := newProcess("sweep", "smoke", "--resume", dir, "--quiet")
	again.state.environ = os.Environ()
	again.run(t)
	if !strings.Contains(again.stdout.String(), "sweep of smoke: 2 cells") || again.stderr.String() != "" {
		t.Errorf("resumed: %s%s", again.stdout, again.stderr)
	}
	after, err := reports.ReadSweep(dir)
	if err != nil || len(after.Runs) != len(s.Runs) {
		t.Errorf("%d runs have become %d, %v", len(s.Runs), len(after.Runs), err)
	}
}

func TestSweepDesignsAreInTheHelp(t *testing.T) {
	t.Parallel()
	_, stdout, _ := cli(t, "sweep", "--help")
	for _, d := range loadtest.Designs() {
		if !strings.Contains(stdout, "\n  "+string(d)+" ") {
			t.Errorf("lacks %s", d)
		}
	}
}

func TestTuneRefusesBeforeItStartsAnything(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "none")
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no scenario", nil, "name one scenario"},
		{"no time", []string{"smoke", "--budget", "20s"}, "the budget is too short: --budget 20s: a search needs at least "},
		{"a limit that is none", []string{"smoke", "--subject-to", "delivery.p99"}, "--subject-to: \"delivery.p99\" is not a threshold"},
		{"a limit of nothing", []string{"smoke", "--subject-to", "delivry.p99<5ms"}, `did you mean "delivery.p99"?`},
		{"work in the space", []string{"smoke", "--grid", "connections=1,2"}, "connections: changes the load"},
		{"resume of nothing", []string{"--resume", filepath.Join(out, "x")}, "Name the folder of a search"},
		{"resume with half a plan", []string{"--resume", "x", "--budget", "5m"}, "--budget: name the scenario as well, or leave all of it to --resume"},
		{"resume with half a scenario", []string{"--resume", "x", "--conns", "5"}, "--conns: name the scenario as well"},
		{"time without a unit", []string{"smoke", "--budget", "10"}, `--budget: want a duration such as "30s", "250ms" or "1m30s", got "10"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := cli(t, slices.Concat([]string{"tune"}, tt.args, []string{"--out", out})...)
			if code != exitUsage || stdout != "" || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, printed %q and %q, want %q", code, stdout, stderr, tt.want)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("a folder was made")
			}
		})
	}
}

func TestTuneDryRunTellsItsBudget(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := cli(t, "tune", "1k-group", "--objective", "server.cpu_us_per_delivery", "--subject-to", "delivery.p99<50ms", "--dry-run")
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{"tune 1k-group: least server CPU per delivery, at delivery.p99<50ms", "bucket.Num", "combinations", "confirmation", "no more than 10m0s"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("lacks %q:\n%s", want, stdout)
		}
	}
}

// begunIn writes the document of a search of smoke in which no run has been made yet, or
// of the sweep of the same cells.
func begunIn(t *testing.T, search bool) string {
	t.Helper()
	s, err := scenarios.Open("smoke")
	if err != nil {
		t.Fatal(err)
	}
	doc := &reports.Sweep{
		Schema: reports.SweepSchema, ID: "begun", Scenario: "smoke", ScenarioTOML: s.Encode(), Grid: "bucket.Num=1,2", Design: string(loadtest.DesignGrid),
		Repeat: 5, BaselineEvery: 5, Objectives: []reports.SweepObjective{reports.Objective("delivery.p99")},
	}
	if search {
		doc.Design = string(loadtest.DesignHalving)
		doc.Search = &reports.SweepSearch{Limits: []string{"delivery.p99<50ms"}, Budget: 600, Finalists: 3, Short: 1}
	}
	dir := t.TempDir()
	if err := reports.WriteSweepState(dir, doc); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestResumeOfSweepsAndSearches(t *testing.T) {
	t.Parallel()
	sweep, search := begunIn(t, false), begunIn(t, true)
	old := begunIn(t, false)
	if err := os.WriteFile(filepath.Join(old, reports.TuneFile), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"a search as it began", []string{"tune", "--resume", search, "--dry-run"}, exitOK, "tune smoke: least delivery p99, at delivery.p99<50ms"},
		{"a search by its scenario", []string{"tune", "smoke", "--resume", search, "--dry-run"}, exitOK, "tune smoke: "},
		{"a search of another scenario", []string{"tune", "1k-group", "--resume", search}, exitUsage, "is a search of smoke, not of 1k-group"},
		{"another plan of a search", []string{"tune", "smoke", "--conns", "7", "--resume", search, "--budget", "9m"}, exitUsage, "the plan is another: "},
		{"what differs of it", []string{"tune", "smoke", "--conns", "7", "--resume", search, "--budget", "9m"}, exitUsage, "budget: was 10m0s, is 9m0s"},
		{"what to do about it", []string{"tune", "smoke", "--conns", "7", "--resume", search, "--budget", "9m"}, exitUsage, "Leave out all flags but --resume"},
		{"a sweep as a search", []string{"tune", "--resume", sweep}, exitUsage, "firetower sweep --resume " + sweep},
		{"a search as a sweep", []string{"sweep", "--resume", search}, exitUsage, "firetower tune --resume " + search},
		{"a search of an older build", []string{"tune", "--resume", old}, exitUsage, "was written by an older build"},
		{"a sweep as it began", []string{"sweep", "--resume", sweep, "--dry-run"}, exitOK, "sweep of smoke: 3 cells, grid"},
		{"another plan of a sweep", []string{"sweep", "smoke", "--resume", sweep, "--grid", "bucket.Num=1,8"}, exitUsage, "grid: was bucket.Num=1,2, is bucket.Num=1,8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := cli(t, slices.Concat(tt.args, []string{"--quiet"})...)
			if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
				t.Errorf("exit code %d, printed %q and %q, want %q", code, stdout, stderr, tt.want)
			}
		})
	}
}
