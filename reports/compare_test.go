package reports_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firetower/reports"
	"firetower/reports/stats"
	"firetower/simulator/latency"
)

// variant is the sample with another CPU figure.
func variant(t *testing.T, id string, cpu float64) *reports.Result {
	t.Helper()
	r := sample(t)
	r.ID = id
	r.Server.CPUMicrosPerDelivery = &cpu
	return r
}

// setOf are variants by their CPU figures.
func setOf(t *testing.T, label string, cpus ...float64) reports.Set {
	t.Helper()
	s := reports.Set{Label: label}
	for i, cpu := range cpus {
		s.Runs = append(s.Runs, variant(t, fmt.Sprintf("%s-%d", label, i+1), cpu))
	}
	return s
}

// turns are n runs that took turns with others of the folder "x": of a server that is
// factor times as slow, with noise of some per cent from run to run.
func turns(t *testing.T, target string, n int, factor float64, seed uint64) reports.Set {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	noise := func(v, spread float64) *float64 { return ptr(v * math.Exp(spread*r.NormFloat64())) }
	s := reports.Set{Label: reports.ShortTarget(target), Source: "x"}
	for i := range n {
		run := variant(t, fmt.Sprintf("%s-%d", reports.ShortTarget(target), i+1), *noise(4*factor, 0.01))
		run.Target = target
		level := *noise(10e6*factor, 0.03)
		h := latency.NewRecorder()
		for range 4000 {
			h.Record(int64(level * math.Exp(0.4*r.NormFloat64())))
		}
		run.Histograms["delivery"], run.Delivery = h, reports.Summarise(h)
		run.Completion.P50, run.Completion.P95 = noise(25, 0.02), noise(40, 0.3)
		run.Server.RSSBytesPerConnection = noise(4600, 0.005)
		s.Runs, s.Blocks = append(s.Runs, run), append(s.Blocks, i)
	}
	return s
}

func compared(t *testing.T, base, next reports.Set, force bool) (*reports.Comparison, string) {
	t.Helper()
	o := reports.DefaultCompareOptions()
	o.Force = force
	c, err := reports.Compare(base, next, o)
	if err != nil {
		t.Fatal(err)
	}
	return c, reports.NewComparisons(c).Summary("")
}

func figure(t *testing.T, c *reports.Comparison, metric string) reports.ComparedFigure {
	t.Helper()
	for _, f := range c.Figures {
		if f.Metric == metric {
			return f
		}
	}
	t.Fatalf("no %s is compared", metric)
	return reports.ComparedFigure{}
}

const cpuMetric = "server.cpu_us_per_delivery"

func TestCompareFindsWhatWasPlanted(t *testing.T) {
	t.Parallel()
	slower, _ := compared(t, turns(t, "firetower@/old", 10, 1, 1), turns(t, "firetower", 10, 1.15, 2), false)
	if slower.Verdict != stats.Regressed || !slower.Paired {
		t.Errorf("15 %% slower: %s, paired %v", slower.Verdict, slower.Paired)
	}
	if f := figure(t, slower, cpuMetric); f.Verdict != stats.Regressed || f.Test != "signed rank" || *f.Low > 1.15 || *f.High < 1.15 {
		t.Errorf("CPU: %+v", f)
	}
	// A block with a run that does not count has no pair.
	base, next := turns(t, "firetower@/old", 10, 1, 1), turns(t, "firetower", 10, 1.15, 2)
	base.Runs[3].Verdict = reports.Invalid
	holed, text := compared(t, base, next, false)
	if f := figure(t, holed, cpuMetric); len(f.Base) != 9 || len(f.New) != 9 || f.New[3] != *next.Runs[4].Server.CPUMicrosPerDelivery || !strings.Contains(text, "1 run in no pair: the other of the block does not count.") {
		t.Errorf("%+v\n%s", f, text)
	}
	faster, _ := compared(t, turns(t, "firetower@/old", 10, 1.15, 1), turns(t, "firetower", 10, 1, 2), false)
	if faster.Verdict != stats.Improved {
		t.Errorf("15 %% faster: %s", faster.Verdict)
	}
	// Five of each side are compared as they are: five pairs could not tell six figures.
	few, _ := compared(t, turns(t, "firetower@/old", 5, 1, 1), turns(t, "firetower", 5, 1.15, 2), false)
	if f := figure(t, few, cpuMetric); few.Paired || f.Test != "Mann-Whitney" || f.Verdict != stats.Regressed {
		t.Errorf("five runs: %+v", f)
	}
	// Compared with itself a set is the same, however few its runs and wide its noise; by
	// its runs, and not by its name.
	for _, n := range []int{1, 3, 8} {
		c, text := compared(t, turns(t, "firetower", n, 1, 3), turns(t, "firetower", n, 1, 3), false)
		if f := figure(t, c, "completion.p95"); c.Verdict != stats.Same || !c.Identical || f.Verdict != stats.Same || *f.Ratio != 1 || f.P != nil ||
			!strings.HasPrefix(text, "SAME: sample, both sides are the same ") || strings.Contains(text, "single run") {
			t.Errorf("%d runs and themselves: %s\n%+v", n, text, f)
		}
	}
	all, part := turns(t, "firetower", 8, 1, 3), turns(t, "firetower", 8, 1, 3)
	part.Runs, part.Blocks = part.Runs[:7], part.Blocks[:7]
	if c, text := compared(t, all, part, false); c.Identical || !strings.Contains(text, "7 runs on both sides") {
		t.Errorf("a set and a part of it: %s", text)
	}
	again := turns(t, "firetower", 8, 1, 4)
	for _, r := range again.Runs {
		r.RunID = "another"
	}
	if c, _ := compared(t, all, again, false); c.Identical {
		t.Error("runs of the same names that were made anew count as the same")
	}
}

func TestGoldenComparison(t *testing.T) {
	t.Parallel()
	base, next := turns(t, "firetower@/old", 8, 1, 1), turns(t, "firetower", 8, 1.15, 2)
	base.Runs[7].Verdict, base.Runs[7].Reasons = reports.Invalid, []string{"the machine was busy <with> something else"}
	for _, r := range next.Runs {
		r.Environment.Kernel = "7.0"
	}
	c, text := compared(t, base, next, true)
	if lines := strings.Count(text, "\n"); lines > 25 || !strings.HasPrefix(text, "REGRESSED: sample") {
		t.Errorf("%d lines:\n%s", lines, text)
	}
	golden(t, "compare.golden", []byte(text))
	for range 20 {
		c.Notes = append(c.Notes, "a note")
	}
	if text := reports.NewComparisons(c).Summary("dir"); strings.Count(text, "\n") != 25 || !strings.Contains(text, "notes more") || !strings.Contains(text, "memory per idle") {
		t.Errorf("%d lines:\n%s", strings.Count(text, "\n"), text)
	}
	c.Notes = nil
	d := reports.NewComparisons(c)
	page, err := d.HTML()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "compare.golden.html", page)
	dir := t.TempDir()
	if err := reports.WriteComparisons(dir, d); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, reports.CompareFile))
	if err != nil {
		t.Fatal(err)
	}
	var back reports.Comparisons
	if err := json.Unmarshal(data, &back); err != nil || back.Schema != reports.CompareSchema || back.Summary("") != text {
		t.Errorf("another comparison came back (%v)", err)
	}
	// Several are told in short, one after another.
	other, _ := compared(t, turns(t, "floor", 4, 0.5, 3), turns(t, "firetower", 4, 1, 2), false)
	both := reports.NewComparisons(c, other)
	if text := both.Summary(""); both.Verdict != stats.Regressed || !strings.Contains(text, "INCONCLUSIVE: sample, 4 runs of firetower against 4 runs of floor") {
		t.Errorf("%s", text)
	}
	if _, err := both.HTML(); err != nil {
		t.Error(err)
	}
}

// Searches that both ended at their highest rate do not say that two servers can do the
// same, and one that did not shows which can do less.
func TestCompareOfCapacitiesThatWereNotFound(t *testing.T) {
	t.Parallel()
	search := func(label string, rate float64, failed *float64) reports.Set {
		s := setOf(t, label, 4, 4.01, 4.02, 3.99, 3.98)
		for _, r := range s.Runs {
			r.Capacity = &reports.Capacity{MessagesPerSecond: rate, Failed: failed}
		}
		return s
	}
	const metric = "capacity.messages_per_second"
	c, text := compared(t, search("a", 1000, nil), search("b", 1000, nil), false)
	if f := figure(t, c, metric); f.Verdict != stats.Inconclusive || f.Reason == "" || !strings.Contains(text, "10 runs held the highest rate of the search (capacity.to)") {
		t.Errorf("%+v\n%s", f, text)
	}
	c, _ = compared(t, search("a", 1000, nil), search("b", 500, ptr(550.0)), false)
	if f := figure(t, c, metric); f.Verdict != stats.Regressed {
		t.Errorf("half of what is not known to be the limit: %+v", f)
	}
	c, _ = compared(t, search("a", 500, ptr(550.0)), search("b", 500, ptr(550.0)), false)
	if f := figure(t, c, metric); f.Verdict != stats.Same {
		t.Errorf("two limits that were found: %+v", f)
	}
}

func TestCompareOfSingleRunsSaysThatItKnowsNothingOfNoise(t *testing.T) {
	t.Parallel()
	c, text := compared(t, setOf(t, "a", 4), setOf(t, "b", 8), false)
	if c.Verdict != stats.Inconclusive || c.Runs != 5 {
		t.Errorf("%s, asks for %d runs", c.Verdict, c.Runs)
	}
	for _, want := range []string{"tells no change from noise", "inconclusive, >=5 runs"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
}

// A single run tells at least how much of its p99 hangs on some of its seconds.
func TestWithinRun(t *testing.T) {
	t.Parallel()
	r, dir := sample(t), t.TempDir()
	var intervals []reports.Interval
	for s := range 30 {
		h := latency.NewRecorder()
		for i := range int64(200) {
			h.Record((10 + int64(s%3)) * (1_000_000 + 10_000*i))
		}
		at := r.Started.Add(time.Duration(s) * time.Second)
		intervals = append(intervals,
			reports.Interval{Tag: "measure.delivery", From: at, To: at.Add(time.Second), Recorder: h},
			reports.Interval{Tag: "warmup.delivery", From: at, To: at.Add(time.Second), Recorder: r.Histograms["delivery"]})
	}
	if err := reports.Write(dir, r, intervals); err != nil {
		t.Fatal(err)
	}
	s, err := reports.ReadSet(dir)
	if err != nil || s.Within == nil {
		t.Fatalf("%+v (%v)", s.Within, err)
	}
	if w := s.Within; w.Seconds != 30 || w.Low > w.P99 || w.High < w.P99 || w.P99 < 33 || w.P99 > 36 {
		t.Errorf("%+v", w)
	}
	if _, text := compared(t, s, setOf(t, "b", 5), false); !strings.Contains(text, "within this run alone, by blocks of 5 of its 30 seconds") {
		t.Errorf("%s", text)
	}
	if err := reports.Write(dir, r, intervals[:10]); err != nil {
		t.Fatal(err)
	}
	if w, err := reports.Within(dir); w != nil || err != nil {
		t.Errorf("five seconds gave %+v (%v)", w, err)
	}
	if w, err := reports.Within(t.TempDir()); w != nil || err != nil {
		t.Errorf("no log gave %+v (%v)", w, err)
	}
	if err := os.WriteFile(filepath.Join(dir, reports.LogFile), []byte("Tag=measure.delivery,1.0,1.0,1.0,HIST!!\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if w, err := reports.Within(dir); err == nil {
		t.Errorf("a broken log gave %+v", w)
	}
}

func TestCompareRefusesWhatIsUnlike(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*reports.Result)
		want   string
	}{
		{"another rate", func(r *reports.Result) {
			r.Configuration.ScenarioHash = "bb"
			r.Configuration.Scenario = strings.Replace(r.Configuration.Scenario, `rate = "5/s"`, `rate = "10/s"`, 1)
		}, `load.rate ("5/s" | "10/s")`},
		{"another scenario", func(r *reports.Result) { r.Scenario = "other" }, "scenario: sample | other"},
		{"another CPU", func(r *reports.Result) { r.Environment.CPU = "b" }, "CPU model: a <CPU> | b"},
		{"more cores", func(r *reports.Result) { r.Environment.CPUs = 64 }, "CPUs: 2 | 64"},
		{"another kernel", func(r *reports.Result) { r.Environment.Kernel = "7.0" }, "kernel: 6.1 | 7.0"},
		{"another toolchain", func(r *reports.Result) { r.Environment.GoVersion = "go1.30" }, "go: go1.26 | go1.30"},
		{"another governor", func(r *reports.Result) { r.Environment.Governor = "powersave" }, "governor: – | powersave"},
		{"another GOMAXPROCS", func(r *reports.Result) { r.Environment.GOMAXPROCS = 1 }, "GOMAXPROCS: 2 | 1"},
		{"code that no commit holds", func(r *reports.Result) { r.Environment.Modified, r.Environment.Binary = true, "bb" }, "with changes of b-1"},
		{"servers of code that no commit holds", func(r *reports.Result) { r.Environment.Server = &reports.ServerBuild{Modified: true, Binary: "bb"} }, "with changes of b-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base, next := setOf(t, "a", 4), setOf(t, "b", 5)
			tt.change(next.Runs[0])
			_, err := reports.Compare(base, next, reports.DefaultCompareOptions())
			if !errors.Is(err, reports.ErrUnlike) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("gave %v", err)
			}
			c, text := compared(t, base, next, true)
			if !c.Forced || !strings.Contains(text, "FORCED, unlike in") {
				t.Errorf("forced: %s", text)
			}
		})
	}
	// Runs that took turns are known by their binaries.
	base, next := turns(t, "firetower@/old", 4, 1, 1), turns(t, "firetower", 4, 1, 2)
	next.Runs[0].Environment.Modified = true
	if c, _ := compared(t, base, next, false); c.Forced || !strings.Contains(strings.Join(c.Differences, "\n"), "commit: ") {
		t.Errorf("differences %q", c.Differences)
	}
}

// Another setting of a server is what a comparison is for: it is told, not refused.
func TestCompareTellsOfAnotherSetting(t *testing.T) {
	t.Parallel()
	base, next := setOf(t, "a", 4), setOf(t, "b", 5)
	base.Runs[0].Configuration.Gateway = "[bucket]\nNum = 4  # default\nConsumerNum = 32  # default\n"
	next.Runs[0].Configuration.Gateway = "[bucket]\nNum = 8            # file x line 2\nConsumerNum = 32  # file x line 3\n"
	next.Runs[0].Configuration.Scenario += "\n[gateway.bucket]\nNum = 8\n"
	_, text := compared(t, base, next, false)
	if !strings.Contains(text, "differs in gateway configuration: bucket.Num (4 | 8)\n") || strings.Contains(text, "differs in servers' go") {
		t.Errorf("%s", text)
	}
}

// What a build loses has no latency, and makes it no better.
func TestCompareWeighsLosses(t *testing.T) {
	t.Parallel()
	losing := func(target string, factor float64, seed uint64, lost int64, faults bool) reports.Set {
		s := turns(t, target, 10, factor, seed)
		for i, r := range s.Runs {
			r.LostUnexplained, r.Faults = 0, nil
			lost := lost
			if lost < 0 { // by one run alone
				lost = int64(max(1-i, 0))
			}
			r.Churn = &reports.Churn{Due: 1000, Received: 1000 - lost, Lost: lost}
			if faults {
				r.Faults = []reports.Fault{{}}
			}
		}
		return s
	}
	for _, tt := range []struct {
		name       string
		base, next int64
		factor     float64
		faults     bool
		want       stats.Verdict
		says       string
	}{
		{"the new one loses, and is the faster for it", 0, 100, 0.8, false, stats.Regressed, "firetower lost 1,000 of 50,010 deliveries that no fault explains, in 10 of 10 runs."},
		{"it loses more", 50, 100, 0.8, false, stats.Regressed, "firetower lost 1,000 of"},
		{"it loses about as much", 100, 102, 0.8, false, stats.Improved, "firetower lost 1,020 of"},
		{"one of its runs loses one", 0, -1, 0.8, false, stats.Inconclusive, "firetower lost 1 of"},
		{"the old one alone loses, and is the faster for it", 100, 0, 1.25, false, stats.Inconclusive, "firetower lost 0 of"},
		{"one run of the old one lost one, and it is faster", -1, 0, 1.25, false, stats.Regressed, "firetower lost 0 of"},
		{"it loses less", 100, 50, 0.8, false, stats.Improved, "firetower lost 500 of"},
		{"the old one alone loses", 100, 0, 0.8, false, stats.Improved, "firetower lost 0 of"},
		{"the fault explains it", 0, 100, 0.8, true, stats.Improved, ""},
		{"nothing is lost", 0, 0, 0.8, false, stats.Improved, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, text := compared(t, losing("firetower@/old", 1, 1, tt.base, tt.faults), losing("firetower", tt.factor, 2, tt.next, tt.faults), true)
			if c.Verdict != tt.want {
				t.Errorf("%s\n%s", c.Verdict, text)
			}
			notes := strings.Join(c.Losses, "\n")
			if (tt.says == "") != (notes == "") || !strings.Contains(notes, tt.says) || !strings.Contains(text, tt.says) {
				t.Errorf("says %q", notes)
			}
		})
	}
}

func TestCompareLeavesInvalidRunsOut(t *testing.T) {
	t.Parallel()
	base, next := setOf(t, "a", 4, 400), setOf(t, "b", 4)
	base.Runs[1].Verdict, base.Runs[1].Reasons = reports.Invalid, []string{"lag"}
	c, text := compared(t, base, next, false)
	if f := figure(t, c, cpuMetric); *f.Ratio != 1 || !strings.Contains(text, "left out: a-2: invalid: lag") {
		t.Errorf("%s", text)
	}
	base.Runs = base.Runs[1:]
	if _, err := reports.Compare(base, next, reports.CompareOptions{Force: true, Alpha: 0.05}); !errors.Is(err, reports.ErrNoRuns) || errors.Is(err, reports.ErrUnlike) || !strings.Contains(err.Error(), "left out: a-2") {
		t.Errorf("a side of invalid runs alone gave %v", err)
	}
}

// A run that was interrupted measured less than the others, and one that is named twice is
// no second observation.
func TestCompareCountsWholeRunsOnce(t *testing.T) {
	t.Parallel()
	base, next := setOf(t, "a", 4, 400), setOf(t, "b", 4)
	base.Runs[1].Interrupted = true
	c, text := compared(t, base, next, false)
	if f := figure(t, c, cpuMetric); *f.Ratio != 1 || !strings.Contains(text, "left out: a-2: interrupted") {
		t.Errorf("%s", text)
	}
	base.Runs = base.Runs[:1]
	next.Runs = slices.Repeat(next.Runs, 6)
	c, text = compared(t, base, next, false)
	if len(c.New.Runs) != 1 || len(c.New.Excluded) != 5 || !strings.Contains(text, "named twice") {
		t.Errorf("%d runs:\n%s", len(c.New.Runs), text)
	}
	interrupted := turns(t, "floor", 3, 1, 4)
	interrupted.Runs[2].Interrupted = true
	_, v := versusOf(t, 3, turns(t, "firetower", 3, 1, 2), interrupted)
	if n := len(v.Table[0].Cells[1].Values); n != 2 || len(v.Excluded) != 1 || !strings.HasSuffix(v.Excluded[0], ": interrupted") {
		t.Errorf("%d values, left out %q", n, v.Excluded)
	}
}

// What is judged is declared by the kind of load, and few: each figure makes it
// harder to call the others.
func TestPrimaryFigures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*reports.Result)
		want   string
	}{
		// The sample has 40 messages, which no p95 can be read from.
		{"open loop", func(*reports.Result) {}, "delivery.p50 delivery.p99 completion.p50 server.cpu_us_per_delivery server.rss_bytes_per_connection"},
		{"closed loop", func(r *reports.Result) { r.Loop = "closed" }, "deliveries_per_second server.cpu_us_per_delivery server.rss_bytes_per_connection"},
		{"idle", func(r *reports.Result) { r.Loop = "idle" }, "server.rss_bytes_per_connection"},
		{"capacity", func(r *reports.Result) { r.Capacity = &reports.Capacity{MessagesPerSecond: 10} }, "capacity.messages_per_second server.cpu_us_per_delivery server.rss_bytes_per_connection"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base, next := setOf(t, "a", 4), setOf(t, "b", 5)
			tt.change(base.Runs[0])
			tt.change(next.Runs[0])
			c, _ := compared(t, base, next, false)
			var primary []string
			for _, f := range c.Figures {
				if f.Primary {
					primary = append(primary, f.Metric)
				}
			}
			if got := strings.Join(primary, " "); got != tt.want {
				t.Errorf("judges %s", got)
			}
			if tt.name == "open loop" && !strings.Contains(strings.Join(c.Notes, "\n"), "completion p95 is not judged: needs 72 values, has 40.") {
				t.Errorf("notes %q", c.Notes)
			}
		})
	}
}

func TestCompareOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]reports.CompareOptions{
		"alpha: must be above 0":         {},
		"band: must be 0 to below 1":     {Alpha: 0.05, Band: -1},
		"band for CPU: must be 0 to bel": {Alpha: 0.05, BandCPU: 3},
	} {
		if _, err := reports.Compare(setOf(t, "a", 4), setOf(t, "b", 4), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v gave %v", o, err)
		}
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
