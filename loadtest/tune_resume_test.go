package loadtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firetower/config"
	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

// A search over real processes, of one setting against the default, that Ctrl-C ends: it
// goes on with the run that was under way and no other, from what its folder says alone.
func TestTuneIsInterruptedAndResumed(t *testing.T) {
	t.Parallel()
	mark := newMarker()
	o := loadtest.SweepOptions{Options: loadtest.Options{Executable: binary, Environ: append(os.Environ(), markerVariable+"="+mark), Root: t.TempDir()}}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	o.Before = inThirdRun(interrupt)
	p := tuneOf(t, loadtest.TuneSettings{Space: "bucket.Num=1"})
	p.WithoutBudget()
	first, dir, err := loadtest.RunTune(ctx, p, o)
	if err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, mark)
	if first.ExitCode != loadtest.ExitInterrupted || first.Verdict != reports.TuneUnconfirmed || first.Recommended != -1 {
		t.Errorf("exit code %d, %s, takes %d", first.ExitCode, first.Verdict, first.Recommended)
	}
	if text := first.Summary(dir); !strings.Contains(text, "go on with firetower tune --resume "+dir) {
		t.Errorf("says nothing of how to go on:\n%s", text)
	}
	kept, spent := slices.Clone(first.Search.Runs), first.Search.Search.Spent

	begun, err := reports.ReadSweep(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = loadtest.TunePlanOf(begun, loadtest.ReadMachine()); err != nil {
		t.Fatal(err)
	}
	o.Before, o.Resume = nil, dir
	answer, again, err := loadtest.RunTune(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, mark)
	if again != dir || !answer.Search.Complete || answer.Search.Interrupted || answer.Search.Search.Spent <= spent {
		t.Errorf("in %s: complete %v, interrupted %v, %v s spent after %v", again, answer.Search.Complete, answer.Search.Interrupted, answer.Search.Search.Spent, spent)
	}
	goneOn(t, kept, answer.Search, dir)
	read, err := reports.ReadTune(dir)
	if err != nil || read.Verdict != answer.Verdict || len(read.Search.Runs) != len(answer.Search.Runs) {
		t.Fatalf("%v: %+v", err, read)
	}
	// A starved machine makes runs invalid, by right; a setting of which none is left is no candidate.
	if answer.Verdict != reports.TuneUnconfirmed {
		if _, err := config.LoadGateway(config.Sources{GatewayFile: filepath.Join(dir, reports.TuneGateway)}); err != nil {
			t.Error(err)
		}
	}
}

// begunSearch writes the document of a search that has made no run yet.
func begunSearch(t *testing.T, p *loadtest.TunePlan) string {
	t.Helper()
	dir := t.TempDir()
	if err := reports.WriteSweepState(dir, p.Sweep.Document()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What is written of a search is all that its plan is made of.
func TestTunePlanIsReadFromItsDocument(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		set  loadtest.TuneSettings
	}{
		{"all defaults", loadtest.TuneSettings{}},
		{"a short one", loadtest.TuneSettings{Budget: 3 * time.Minute}},
		{"every setting", loadtest.TuneSettings{
			Objective: "server.cpu_us_per_delivery", Constraints: limit(t, "delivery.p99<50ms", "lost==0"), Space: "bucket.Num=1,2,4 bucket.ConsumerNum=1,8", Budget: 7*time.Minute + time.Second/3,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := tuneOf(t, tt.set)
			doc, err := reports.ReadSweep(begunSearch(t, p))
			if err != nil {
				t.Fatal(err)
			}
			again, err := loadtest.TunePlanOf(doc, loadtest.ReadMachine())
			if err != nil {
				t.Fatal(err)
			}
			if differ := again.Sweep.Differences(doc); len(differ) > 0 || again.Sweep.Hash() != p.Sweep.Hash() {
				t.Errorf("the plan has become another: %q", differ)
			}
			if again.String() != p.String() {
				t.Errorf("was\n%s\nis\n%s", p, again)
			}
		})
	}
}

// A search does not go on under another plan, and says what differs; nothing is written then.
func TestTuneRefusesAnotherPlan(t *testing.T) {
	t.Parallel()
	base := loadtest.TuneSettings{Space: "bucket.Num=1,2", Constraints: limit(t, "delivery.p99<50ms")}
	dir := begunSearch(t, tuneOf(t, base))
	before, err := os.ReadFile(filepath.Join(dir, reports.SweepFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(s *scenarios.Scenario, set *loadtest.TuneSettings)
		says   string
	}{
		{"the load", func(s *scenarios.Scenario, _ *loadtest.TuneSettings) { s.Connections = 20 }, "connections: was 10, is 20"},
		{"a key of a server", func(s *scenarios.Scenario, _ *loadtest.TuneSettings) {
			s.Gateway = map[string]any{"bucket": map[string]any{"BuffChanCount": int64(10)}}
		}, "gateway.bucket.BuffChanCount: was "},
		{"the space", func(_ *scenarios.Scenario, set *loadtest.TuneSettings) { set.Space = "bucket.Num=1,8" }, "grid: was bucket.Num=1,2, is bucket.Num=1,8"},
		{"the objective", func(_ *scenarios.Scenario, set *loadtest.TuneSettings) { set.Objective = "delivery.p50" }, "objectives: was delivery.p99"},
		{"a limit", func(_ *scenarios.Scenario, set *loadtest.TuneSettings) { set.Constraints = nil }, "limits: was delivery.p99<50ms, is none"},
		{"the budget", func(_ *scenarios.Scenario, set *loadtest.TuneSettings) { set.Budget = 20 * time.Minute }, "budget: was 10m0s, is 20m0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, set := tiny(t, quick), base
			set.Budget = 10 * time.Minute
			tt.change(&s, &set)
			p, err := loadtest.NewTunePlan(s, set, loadtest.ReadMachine())
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = loadtest.RunTune(t.Context(), p, loadtest.SweepOptions{Options: loadtest.Options{Executable: binary}, Resume: dir, Force: true})
			if !errors.Is(err, loadtest.ErrOtherPlan) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
		})
	}
	if after, err := os.ReadFile(filepath.Join(dir, reports.SweepFile)); err != nil || !slices.Equal(before, after) {
		t.Errorf("a refused search was written to: %v", err)
	}
}

// A search and a sweep of the same cells are not each other, and a sweep is no search.
func TestSweepIsNoSearch(t *testing.T) {
	t.Parallel()
	p := tuneOf(t, loadtest.TuneSettings{Space: "bucket.Num=1,2"})
	doc := p.Sweep.Document()
	doc.Search = nil
	if _, err := loadtest.TunePlanOf(doc, loadtest.ReadMachine()); !errors.Is(err, loadtest.ErrNoSearch) {
		t.Errorf("a search without its own plan: %v", err)
	}
	if differ := p.Sweep.Differences(doc); len(differ) == 0 || !strings.Contains(differ[0], "kind: was a sweep, is a search") {
		t.Errorf("%q", differ)
	}
}

// What is left of a search is never more than its budget, and foresees that time that is
// left over goes to more runs that confirm.
func TestForecastOfASearchKnowsItsBudget(t *testing.T) {
	t.Parallel()
	const budget = 10 * time.Minute
	for _, tt := range []struct {
		name   string
		took   float64 // each run beside its measured phase, in seconds
		likely func(left, planned, likely time.Duration) bool
	}{
		{"slow runs would take more than there is", 60, func(left, planned, likely time.Duration) bool { return planned > left && likely == left }},
		{"quick runs leave time for more of the finalists", 0.5, func(left, planned, likely time.Duration) bool {
			return likely > planned+20*time.Second && likely < left
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := tuneOf(t, loadtest.TuneSettings{Budget: budget, Space: "bucket.Num=1,2,4,8 bucket.ConsumerNum=1,8,32"})
			s := p.Sweep.Document()
			round := p.Sweep.FirstRound()
			s.Rounds = append(s.Rounds, round)
			pretend(p.Sweep, s, func(int) float64 { return 10 })
			const made = 3
			s.Runs = s.Runs[:made]
			for i := range s.Runs {
				s.Runs[i].Seconds = round.Measure + tt.took
				s.Search.Spent += s.Runs[i].Seconds
			}
			left := budget - time.Duration(s.Search.Spent*float64(time.Second))
			f := p.Sweep.ForecastAt(s, 0, made)
			unbound := tuneOf(t, loadtest.TuneSettings{Budget: budget, Space: "bucket.Num=1,2,4,8 bucket.ConsumerNum=1,8,32"})
			unbound.WithoutBudget()
			planned := unbound.Sweep.ForecastAt(s, 0, made).Likely
			if !tt.likely(left, planned, f.Likely) || f.Most > left {
				t.Errorf("%v of %v are left: %v, at most %v, %v by plan alone", left, budget, f.Likely, f.Most, planned)
			}
			// Time that was spent otherwise, as by a run that was interrupted, leaves less.
			s.Search.Spent = (budget - time.Minute).Seconds()
			if f := p.Sweep.ForecastAt(s, 0, made); f.Likely > time.Minute {
				t.Errorf("a minute is left, and the forecast is %v", f.Likely)
			}
		})
	}
}

// A document of a search from before it kept its own plan is read as it was.
func TestSearchInASweepsDocumentIsOptional(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(quickSweep(t).Document())
	if err != nil || strings.Contains(string(data), `"search"`) {
		t.Errorf("%v: a sweep says that it is a search: %s", err, data)
	}
}
