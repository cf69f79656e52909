package loadtest_test

import (
	"errors"
	"fmt"
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

// tuneOf plans a search with the tiny scenario.
func tuneOf(t *testing.T, set loadtest.TuneSettings) *loadtest.TunePlan {
	t.Helper()
	if set.Budget == 0 {
		set.Budget = 10 * time.Minute
	}
	p, err := loadtest.NewTunePlan(tiny(t, quick), set, loadtest.ReadMachine())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// searched pretends that a search has been made, with the given figures of cells.
func searched(t *testing.T, p *loadtest.TunePlan, figure func(values []string) float64) *reports.Tune {
	t.Helper()
	s := p.Sweep.Document()
	of := func(cell int) float64 { return figure(p.Sweep.Cells[cell].Values) }
	for round, more := p.Sweep.FirstRound(), true; more; round, more = p.Sweep.NextRound(s) {
		s.Rounds = append(s.Rounds, round)
		pretend(p.Sweep, s, of)
	}
	s.Complete = true
	answer, err := p.Answer(s)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func limit(t *testing.T, texts ...string) []scenarios.Threshold {
	t.Helper()
	var out []scenarios.Threshold
	for _, text := range texts {
		c, err := scenarios.ParseThreshold(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

func TestTuneRecommends(t *testing.T) {
	t.Parallel()
	const space = "bucket.Num=1,2,4 bucket.ConsumerNum=1,8,32" // the default is 4 and 32
	// With one consumer or eight it is a third faster, and Num hardly matters.
	fewer := func(values []string) float64 {
		switch {
		case values[1] == "32":
			return 30
		case values[0] == "4":
			return 19.9
		default:
			return 20
		}
	}
	for _, tt := range []struct {
		name    string
		figure  func(values []string) float64
		limits  []string
		verdict reports.TuneVerdict
		take    string
		says    string
		exit    int
	}{
		{"the nearest of what is better", fewer, nil, reports.TuneImproved, "Num=4 ConsumerNum=8", "Take Num=4 ConsumerNum=8: its delivery p99 is 0.6", 0},
		{"nothing is better", func([]string) float64 { return 25 }, nil, reports.TuneDefault, "Num=4 ConsumerNum=32", "Keep the default (Num=4 ConsumerNum=32): no setting beats it beyond noise here.", 0},
		{"what is better by less than matters", func(v []string) float64 { return fewer(v)/20 + 30 }, nil, reports.TuneDefault, "Num=4 ConsumerNum=32", "Keep the default", 0},
		{"the default keeps no limit", fewer, []string{"delivery.p99<25ms"}, reports.TuneKeeps, "Num=4 ConsumerNum=8", "the default does not keep the limits (delivery.p99<25ms held in 0 of 5", 0},
		{"no setting keeps the limits", fewer, []string{"delivery.p99<5ms"}, reports.TuneNone, "", "No setting keeps the limits. The nearest is ", loadtest.ExitThreshold},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			answer := searched(t, tuneOf(t, loadtest.TuneSettings{Space: space, Constraints: limit(t, tt.limits...)}), tt.figure)
			if answer.Verdict != tt.verdict || answer.ExitCode != tt.exit {
				t.Errorf("verdict %s, exit code %d; %q", answer.Verdict, answer.ExitCode, answer.Findings)
			}
			if !strings.Contains(answer.Findings[0], tt.says) {
				t.Errorf("says %q", answer.Findings)
			}
			if tt.take == "" {
				if answer.Recommended != -1 || answer.Gateway != "" {
					t.Errorf("recommends %d: %s", answer.Recommended, answer.Gateway)
				}
				return
			}
			if got := answer.Search.Label(answer.Recommended); got != tt.take {
				t.Errorf("recommends %s; %q", got, answer.Findings)
			}
			recommendationLoads(t, answer)
			written(t, answer)
		})
	}
}

// The best of the finalists scatters, so that the default cannot be told from it. What is
// shown to beat the default is taken all the same.
func TestTuneSeesThroughABestThatScatters(t *testing.T) {
	t.Parallel()
	p := tuneOf(t, loadtest.TuneSettings{Space: "bucket.Num=1,2,4"})
	s := searched(t, p, func([]string) float64 { return 25 }).Search
	figures := map[string][]float64{"4": {100, 101, 102, 103, 104}, "2": {80, 81, 82, 83, 84}, "1": {70, 75, 79, 120, 130}}
	seen := map[int]int{}
	for i := range s.Runs {
		r := &s.Runs[i]
		of := figures[s.Cells[r.Cell].Values[0]]
		if r.Round == len(s.Rounds)-1 {
			r.Metrics["delivery.p99"] = of[seen[r.Cell]%len(of)]
			seen[r.Cell]++
		}
	}
	s.Fill()
	answer, err := p.Answer(s)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Verdict != reports.TuneImproved || answer.Search.Label(answer.Recommended) != "Num=2" || answer.Search.Label(answer.Best) != "Num=1" {
		t.Errorf("%s, %d, best %d: %q", answer.Verdict, answer.Recommended, answer.Best, answer.Findings)
	}
	for _, want := range []string{"Take Num=2", "Num=1 has the better median, but is not shown to beat the default"} {
		if !strings.Contains(strings.Join(answer.Findings, "\n"), want) {
			t.Errorf("does not say %q: %q", want, answer.Findings)
		}
	}
	written(t, answer)
}

// recommendationLoads loads the recommended file as the gateway does.
func recommendationLoads(t *testing.T, answer *reports.Tune) {
	t.Helper()
	file := filepath.Join(t.TempDir(), reports.TuneGateway)
	if err := os.WriteFile(file, []byte(answer.Gateway), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.LoadGateway(config.Sources{GatewayFile: file})
	if err != nil {
		t.Fatalf("%v:\n%s", err, answer.Gateway)
	}
	got := fmt.Sprintf("Num=%d ConsumerNum=%d", c.Bucket.Num, c.Bucket.ConsumerNum)
	if want := answer.Search.Label(answer.Recommended); got != want {
		t.Errorf("the file gives %s, recommended is %s:\n%s", got, want, answer.Gateway)
	}
}

// written writes a search and reads it again.
func written(t *testing.T, answer *reports.Tune) {
	t.Helper()
	dir := t.TempDir()
	if err := reports.WriteTune(dir, answer); err != nil {
		t.Fatal(err)
	}
	again, err := reports.ReadTune(dir)
	if err != nil || again.Verdict != answer.Verdict || len(again.Search.Runs) != len(answer.Search.Runs) {
		t.Errorf("read again: %v", err)
	}
	if text := answer.Summary(dir); !strings.Contains(text, "firetower gateway --config "+filepath.Join(dir, reports.TuneGateway)) {
		t.Error(text)
	}
	if info, err := os.Stat(filepath.Join(dir, reports.HTMLFile)); err != nil || info.Size() > 1<<20 {
		t.Errorf("page: %v", err)
	}
}

// A search that ended before its finalists ran confirms nothing.
func TestTuneUnconfirmed(t *testing.T) {
	t.Parallel()
	p := tuneOf(t, loadtest.TuneSettings{Space: "bucket.Num=1,2,4,8 bucket.ConsumerNum=1,8,32"})
	s := p.Sweep.Document()
	s.Rounds = append(s.Rounds, p.Sweep.FirstRound())
	pretend(p.Sweep, s, func(cell int) float64 { return float64(10 + cell) })
	answer, err := p.Answer(s)
	if err != nil || answer.Verdict != reports.TuneUnconfirmed || answer.Recommended != -1 || answer.ExitCode != loadtest.ExitInvalid {
		t.Errorf("%v: %+v", err, answer)
	}
}

// confirmed is a search that made all its runs, with figures that differ by cell; change
// may take some of them away.
func confirmed(t *testing.T, set loadtest.TuneSettings, figure func(cell int) float64, change func(s *reports.Sweep)) *reports.Tune {
	t.Helper()
	p := tuneOf(t, set)
	s := p.Sweep.Document()
	for round, more := p.Sweep.FirstRound(), true; more; round, more = p.Sweep.NextRound(s) {
		s.Rounds = append(s.Rounds, round)
		pretend(p.Sweep, s, figure)
	}
	s.Complete = true
	change(s)
	s.Fill()
	answer, err := p.Answer(s)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// Too few runs say nothing, and so not that the default is to be kept.
func TestTuneOfTooFewRunsIsUnconfirmed(t *testing.T) {
	t.Parallel()
	same := func(int) float64 { return 10 }
	space := loadtest.TuneSettings{Space: "bucket.Num=1,2,4 bucket.ConsumerNum=1,8,32"}
	for _, tt := range []struct {
		name, says string
		change     func(s *reports.Sweep)
	}{
		{"the budget ended after two blocks", "too few runs of the finalists and the default count (2 runs)", func(s *reports.Sweep) {
			s.Runs = slices.DeleteFunc(s.Runs, func(r reports.SweepRun) bool { return s.Rounds[r.Round].Confirm && r.Block >= 2 })
		}},
		{"a run failed halfway", "the search ended before", func(s *reports.Sweep) { s.Complete = false }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			answer := confirmed(t, space, same, tt.change)
			if answer.Verdict != reports.TuneUnconfirmed || answer.Recommended != -1 || answer.Gateway != "" || answer.ExitCode != loadtest.ExitInvalid || !strings.Contains(answer.Findings[0], tt.says) {
				t.Errorf("%s, takes %d, exit code %d: %q", answer.Verdict, answer.Recommended, answer.ExitCode, answer.Findings)
			}
		})
	}
}

// How sure it is rests on the runs that count.
func TestTuneTellsTheRunsThatCount(t *testing.T) {
	t.Parallel()
	answer := confirmed(t, loadtest.TuneSettings{Space: "bucket.Num=1,2,4 bucket.ConsumerNum=1,8,32"}, func(int) float64 { return 10 }, func(s *reports.Sweep) {
		s.Runs[len(s.Runs)-1].Verdict = reports.Invalid
	})
	n := answer.Search.Rounds[len(answer.Search.Rounds)-1].Repeat
	if text, want := strings.Join(answer.Findings, " "), fmt.Sprintf("How sure: %d to %d runs of each finalist", n-1, n); !strings.Contains(text, want) {
		t.Errorf("lacks %q: %s", want, text)
	}
}

// The nearest to the limits is not the one with the best objective.
func TestTuneNamesTheNearestToTheLimits(t *testing.T) {
	t.Parallel()
	// Cells of even numbers, the default among them, cost less CPU and are slower.
	answer := confirmed(t, loadtest.TuneSettings{
		Space: "bucket.Num=1,2,4 bucket.ConsumerNum=1,8,32", Objective: "server.cpu_us_per_delivery", Constraints: limit(t, "delivery.p99<5ms"),
	}, func(cell int) float64 { return 20 - 10*float64(cell%2) }, func(*reports.Sweep) {})
	nearest := answer.Findings[0]
	if answer.Verdict != reports.TuneNone || !strings.Contains(nearest, "median 10") || strings.Contains(nearest, "Num=4 ConsumerNum=32") || !strings.Contains(answer.Findings[1], "combinations were tried") {
		t.Errorf("%s: %q", answer.Verdict, answer.Findings)
	}
}

func TestTuneKeepsItsBudget(t *testing.T) {
	t.Parallel()
	for _, budget := range []time.Duration{3 * time.Minute, 10 * time.Minute, time.Hour} {
		p := tuneOf(t, loadtest.TuneSettings{Budget: budget})
		if _, length := p.Sweep.Steps(); length > budget {
			t.Errorf("budget %v: %v by plan", budget, length)
		}
		// Runs that take three times as long as planned must not make the search longer.
		s := p.Sweep.Document()
		spent := time.Duration(0)
		longest := time.Duration(0)
		for round, more := p.Sweep.FirstRound(), true; more; {
			s.Rounds = append(s.Rounds, round)
			at := len(s.Rounds) - 1
			cut := false
			for i, st := range p.Sweep.Order(round, at) {
				if cut = p.Sweep.OverBudget(s, at, i, spent); cut {
					break
				}
				seconds := round.Measure + 12
				s.Runs = append(s.Runs, reports.SweepRun{
					Round: at, Step: i, Block: st.Block, Cell: st.Cell, Attempt: 1, Verdict: reports.Valid, ThresholdsOK: true, Seconds: seconds,
					Metrics: map[string]float64{"delivery.p99": float64(10 + st.Cell)},
				})
				longest = max(longest, time.Duration(seconds*float64(time.Second)))
				spent += time.Duration(seconds * float64(time.Second))
			}
			switch {
			case round.Confirm:
				more = false
			case cut:
				round = p.Sweep.Finals(s)
			default:
				if round, more = p.Sweep.NextRound(s); more {
					round = p.Sweep.Extended(s, round, spent)
				}
			}
		}
		if spent > budget || budget-spent > budget/2 {
			t.Errorf("budget %v: %v were spent, the longest run %v", budget, spent, longest)
		}
		if last := s.Rounds[len(s.Rounds)-1]; !last.Confirm || !slices.ContainsFunc(s.Runs, func(r reports.SweepRun) bool { return r.Round == len(s.Rounds)-1 }) {
			t.Errorf("budget %v: nothing was confirmed", budget)
		}
	}
}

func TestTuneRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		set     loadtest.TuneSettings
		problem string
	}{
		{"no time", loadtest.TuneSettings{Budget: 10 * time.Second}, "the budget is too short: --budget 10s: a search needs at least "},
		{"work in the space", loadtest.TuneSettings{Space: "connections=10,20", Budget: time.Hour}, "connections: changes the load"},
		{"capacity of a plain load", loadtest.TuneSettings{Objective: "capacity.messages_per_second", Budget: time.Hour}, "needs a scenario that searches for its capacity"},
		{"an unknown objective", loadtest.TuneSettings{Objective: "delivery.p98", Budget: time.Hour}, `no metric "delivery.p98"`},
		{"an unknown key", loadtest.TuneSettings{Space: "bucket.Nmu=1", Budget: time.Hour}, `did you mean "bucket.Num"?`},
		{"a wrong value", loadtest.TuneSettings{Space: "bucket.Num=2000,1", Budget: time.Hour}, "bucket.Num"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := loadtest.NewTunePlan(tiny(t, quick), tt.set, loadtest.ReadMachine())
			if err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("error %v, want %q", err, tt.problem)
			}
			if tt.name == "no time" && !errors.Is(err, loadtest.ErrBudget) {
				t.Errorf("error %v is no ErrBudget", err)
			}
		})
	}
}

func TestDefaultSpaceHasTheDefault(t *testing.T) {
	t.Parallel()
	for _, cpus := range []int{1, 2, 4, 64} {
		m := loadtest.ReadMachine()
		m.CPUs = cpus
		axes, err := loadtest.ParseGrid(loadtest.DefaultSpace(m))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"4", "1000", "32", "64KiB"} {
			if !slices.Contains(axes[i].Values, want) {
				t.Errorf("%d CPUs: %s has %v, without %s", cpus, axes[i].Key, axes[i].Values, want)
			}
		}
	}
}
