package loadtest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/scenarios"
)

// sweepOf plans a sweep of the tiny scenario.
func sweepOf(t *testing.T, set loadtest.SweepSettings) *loadtest.SweepPlan {
	t.Helper()
	p, err := loadtest.NewSweepPlan(tiny(t), complete(set), loadtest.ReadMachine())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// complete gives settings what a call gives them by default.
func complete(set loadtest.SweepSettings) loadtest.SweepSettings {
	if set.Design == "" {
		set.Design = loadtest.DesignGrid
	}
	if set.Repeat == 0 {
		set.Repeat = 3
	}
	if set.BaselineEvery == 0 {
		set.BaselineEvery = 5
	}
	return set
}

func labels(p *loadtest.SweepPlan) []string {
	var out []string
	for _, c := range p.Cells {
		out = append(out, strings.Join(c.Values, " "))
	}
	return out
}

func TestParseGrid(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, grid, want, problem string
	}{
		{"short form", "bucket.Num=1,2", "gateway.bucket.Num(Num)[1 2]", ""},
		{"any case", "BUCKET.consumernum=1", "gateway.bucket.ConsumerNum(ConsumerNum)[1]", ""},
		{"full form", "gateway.bucket.Num=1 manager.limits.maxPacketBytes=1MiB", "gateway.bucket.Num(Num)[1] manager.limits.maxPacketBytes(maxPacketBytes)[1MiB]", ""},
		{"names that two axes share", "gateway.heartbeat=5s manager.heartbeat=6s", "gateway.heartbeat(gateway.heartbeat)[5s] manager.heartbeat(manager.heartbeat)[6s]", ""},
		{"work", "connections=500,1000 load.payload=1KiB", "connections(connections)*[500 1000] load.payload(payload)*[1KiB]", ""},
		{"deployment", "topology.gateways=1,2", "topology.gateways(gateways)[1 2]", ""},
		{"nothing", "", "", "no axis: write KEY=VALUE"},
		{"no values", "bucket.Num", "", `"bucket.Num" is no axis`},
		{"an empty value", "bucket.Num=1,,2", "", "gateway.bucket.Num: a value is empty"},
		{"a value twice", "bucket.Num=1,1", "", "1 is named twice"},
		{"an axis twice", "bucket.Num=1 gateway.bucket.num=2", "", "gateway.bucket.Num: is named twice"},
		{"unknown", "bucket.Nmu=1", "", `no key "bucket.Nmu", did you mean "bucket.Num"?`},
		{"of both services", "heartbeat=5s", "", "heartbeat: is a key of both services: say gateway.heartbeat or manager.heartbeat"},
		{"seed", "seed=1,2", "", "seed: can be no axis: it differs in each repeat"},
		{"slow clients", "slow.count=0,1", "slow.count(count)[0 1]", ""},
		{"keys that change together", "connections+load.rate=500:20,1000:10/s", "connections+load.rate(connections+load.rate)*[500:20 1000:10/s]", ""},
		{"a value for one of two", "connections+load.rate=500,1000", "", "connections+load.rate: 500 is not one value for each key: write them as A:B"},
		{"a setting that is tied", "connections+bucket.Num=500:1", "", "gateway.bucket.Num: keys of the load alone can be tied"},
		{"an entry of a table", "fault.hold=1s", "", "fault.hold: can be no axis"},
		{"all problems at once", "bucket.Nmu=1 seed=1", "", "seed: can be no axis"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			axes, err := loadtest.ParseGrid(tt.grid)
			var got []string
			for _, a := range axes {
				work := ""
				if a.Work {
					work = "*"
				}
				got = append(got, fmt.Sprintf("%s(%s)%s%v", a.Key, a.Name, work, a.Values))
			}
			switch {
			case tt.problem != "" && (err == nil || !strings.Contains(err.Error(), tt.problem)):
				t.Errorf("error %v, want %q", err, tt.problem)
			case tt.problem == "" && (err != nil || strings.Join(got, " ") != tt.want):
				t.Errorf("got %q, %v, want %q", strings.Join(got, " "), err, tt.want)
			}
		})
	}
}

func TestSweepCells(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		set  loadtest.SweepSettings
		want []string
	}{
		{"a grid with the default in it", loadtest.SweepSettings{Grid: "bucket.Num=1,4 bucket.ConsumerNum=1,32"}, []string{"4 32", "1 1", "1 32", "4 1"}},
		{"a grid without", loadtest.SweepSettings{Grid: "bucket.Num=1,2 bucket.ConsumerNum=8"}, []string{"4 32", "1 8", "2 8"}},
		{"one factor at a time", loadtest.SweepSettings{Grid: "bucket.Num=1,2,4 bucket.ConsumerNum=1,32", Design: loadtest.DesignOFAT}, []string{"4 32", "1 32", "2 32", "4 1"}},
		{"work", loadtest.SweepSettings{Grid: "connections=20,40 bucket.Num=1"}, []string{"20 4", "20 1", "40 4", "40 1"}},
		{"work that changes together", loadtest.SweepSettings{Grid: "connections+load.rate=20:40,40:20"}, []string{"20:40", "40:20"}},
		{"a size in other words", loadtest.SweepSettings{Grid: "bucket.joinBytes=65536,1KiB"}, []string{"64KiB", "1KiB"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := sweepOf(t, tt.set)
			if got := labels(p); !slices.Equal(got, tt.want) {
				t.Errorf("cells %q, want %q", got, tt.want)
			}
			for _, q := range p.Questions {
				if !p.Cells[q.Baseline].Default {
					t.Errorf("question %q: the baseline is no default", q.Name)
				}
			}
		})
	}
}

func TestSweepRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		set     loadtest.SweepSettings
		problem string
	}{
		{"a wrong value of one cell", loadtest.SweepSettings{Grid: "bucket.Num=1,many"}, "bucket.Num"},
		{"a value out of bounds", loadtest.SweepSettings{Grid: "bucket.Num=1,2000"}, "bucket.Num"},
		{"a cell that does not fit", loadtest.SweepSettings{Grid: "connections=10,900000"}, "connections=900000: the plan does not fit this machine"},
		{"a scenario's value that is none", loadtest.SweepSettings{Grid: "load.payload=1KiB,big"}, "load.payload"},
		{"the same setting twice", loadtest.SweepSettings{Grid: "bucket.joinBytes=1KiB,1024"}, "is the same setting as 1KiB"},
		{"an unknown objective", loadtest.SweepSettings{Grid: "bucket.Num=1", Objectives: []string{"delivry.p99"}}, `did you mean "delivery.p99"?`},
		{"too many cells asked for", loadtest.SweepSettings{Grid: "bucket.Num=1,2", Design: loadtest.DesignRandom, Cells: 3}, "there are 2 combinations, 3 are asked for"},
		{"cells without random", loadtest.SweepSettings{Grid: "bucket.Num=1,2", Cells: 3}, "--cells: is for --design random and halving"},
		{"no repeat", loadtest.SweepSettings{Grid: "bucket.Num=1,2", Repeat: -1}, "--repeat: must be 1 to 100"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := loadtest.NewSweepPlan(tiny(t), complete(tt.set), loadtest.ReadMachine()); err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("error %v, want %q", err, tt.problem)
			}
		})
	}
}

// A Latin hypercube has each value of an axis equally often, and no cell twice.
func TestSweepRandomIsBalanced(t *testing.T) {
	t.Parallel()
	set := loadtest.SweepSettings{Grid: "bucket.Num=1,2,3,5 bucket.ConsumerNum=1,2,8,16 bucket.BuffChanCount=10,100", Design: loadtest.DesignRandom, Cells: 8}
	p := sweepOf(t, set)
	cells := p.Cells[1:]
	if len(cells) != 8 {
		t.Fatalf("%d cells", len(cells))
	}
	for i, a := range p.Axes {
		count := map[string]int{}
		for _, c := range cells {
			count[c.Values[i]]++
		}
		for _, v := range a.Values {
			if count[v] != 8/len(a.Values) {
				t.Errorf("%s=%s in %d cells", a.Name, v, count[v])
			}
		}
	}
	if again := sweepOf(t, set); !slices.Equal(labels(p), labels(again)) {
		t.Error("the same seed drew other cells")
	}
	full := sweepOf(t, loadtest.SweepSettings{Grid: "bucket.Num=1,2,3 bucket.ConsumerNum=1,2,8", Design: loadtest.DesignRandom, Cells: 9})
	if got := labels(full); len(got) != 10 {
		t.Errorf("all of a grid: %q", got)
	}
}

func TestSweepOrder(t *testing.T) {
	t.Parallel()
	p := sweepOf(t, loadtest.SweepSettings{Grid: "bucket.Num=1,2,3,4,5,6 bucket.ConsumerNum=1,2,32"})
	round := p.FirstRound()
	order := p.Order(round, 0)
	perBlock := make([]map[int]int, 3)
	for i := range perBlock {
		perBlock[i] = map[int]int{}
	}
	since, blocks := 0, []string{"", "", ""}
	for _, st := range order {
		perBlock[st.Block][st.Cell]++
		if p.Cells[st.Cell].Default {
			since = 0
			continue
		}
		if since++; since > 5 {
			t.Fatalf("%d cells in a row without the default", since)
		}
		blocks[st.Block] += fmt.Sprint(" ", st.Cell)
	}
	for b, cells := range perBlock {
		for c := range p.Cells {
			if n := cells[c]; n < 1 || n > 1 && !p.Cells[c].Default {
				t.Errorf("block %d has cell %d %d times", b, c, n)
			}
		}
	}
	if !p.Cells[order[0].Cell].Default || !p.Cells[order[len(order)-1].Cell].Default {
		t.Error("the default does not stand at both ends")
	}
	if blocks[0] == blocks[1] {
		t.Error("two blocks have the same order")
	}
	if !slices.Equal(order, p.Order(round, 0)) {
		t.Error("the order differs from call to call")
	}
	// With all runs in order, a setting that is always ahead must be told from the default.
	defaults := 0
	for _, st := range order {
		if p.Cells[st.Cell].Default {
			defaults++
		}
	}
	if least := reports.LeastP(defaults, 3, len(p.Cells)-1); least > reports.SweepAlpha {
		t.Errorf("%d runs of the default cannot tell %d settings: p = %v", defaults, len(p.Cells)-1, least)
	}
}

func TestSweepHashTellsPlansApart(t *testing.T) {
	t.Parallel()
	base := loadtest.SweepSettings{Grid: "bucket.Num=1,2"}
	hash := sweepOf(t, base).Hash()
	if hash != sweepOf(t, base).Hash() {
		t.Error("the same plan has two hashes")
	}
	for name, set := range map[string]loadtest.SweepSettings{
		"grid":       {Grid: "bucket.Num=1,3"},
		"repeat":     {Grid: "bucket.Num=1,2", Repeat: 4},
		"baseline":   {Grid: "bucket.Num=1,2", BaselineEvery: 2},
		"design":     {Grid: "bucket.Num=1,2", Design: loadtest.DesignHalving},
		"objectives": {Grid: "bucket.Num=1,2", Objectives: []string{"delivery.p50"}},
	} {
		if sweepOf(t, set).Hash() == hash {
			t.Errorf("another %s has the same hash", name)
		}
	}
	s := tiny(t, func(s *scenarios.Scenario) { s.Seed = 99 })
	p, err := loadtest.NewSweepPlan(s, complete(base), loadtest.ReadMachine())
	if err != nil || p.Hash() == hash {
		t.Errorf("another seed has the same hash, %v", err)
	}
}

// pretend adds the runs of a round, as if the cells had the given figures.
func pretend(p *loadtest.SweepPlan, s *reports.Sweep, figure func(cell int) float64) {
	at := len(s.Rounds) - 1
	for i, st := range p.Order(s.Rounds[at], at) {
		s.Runs = append(s.Runs, reports.SweepRun{
			Round: at, Step: i, Block: st.Block, Cell: st.Cell, Attempt: 1, Verdict: reports.Valid, ThresholdsOK: true, Seconds: s.Rounds[at].Measure + 4,
			Started: time.Unix(int64(10*len(s.Runs)), 0), Metrics: map[string]float64{
				"delivery.p99": figure(st.Cell) * (1 + 0.001*float64(i%7)), "server.cpu_us_per_delivery": 4 + float64(st.Cell%2),
			},
		})
	}
	s.Fill()
}

func TestSweepHalvingKeepsTheBetterHalf(t *testing.T) {
	t.Parallel()
	p := sweepOf(t, loadtest.SweepSettings{Grid: "bucket.Num=1,2,3,5 bucket.ConsumerNum=1,2,8,16", Design: loadtest.DesignHalving})
	s := p.Document()
	figure := func(cell int) float64 { return float64(10 + cell) } // the default is cell 0
	var sizes []string
	for round, more := p.FirstRound(), true; more; round, more = p.NextRound(s) {
		sizes = append(sizes, fmt.Sprintf("%dx%d", len(round.Cells), round.Repeat))
		s.Rounds = append(s.Rounds, round)
		for i, c := range round.Cells {
			if c != i {
				t.Errorf("round %d has cells %v, want the first ones", len(s.Rounds), round.Cells)
				break
			}
		}
		pretend(p, s, figure)
	}
	if got := strings.Join(sizes, " "); got != "17x1 9x2 5x3" {
		t.Errorf("rounds %s", got)
	}
	if last := s.Rounds[2].Measure; last != 1.5 || len(p.Foreseen()) != 3 {
		t.Errorf("the last of %d rounds measures %v s", len(p.Foreseen()), last)
	}
	if s.Cells[4].Dropped || !s.Cells[5].Dropped || s.Cells[5].Round != 1 {
		t.Errorf("cells: %+v", s.Cells[4:6])
	}
	if r := s.Questions[0].Results[0]; r.Best != 0 {
		t.Errorf("best is %d", r.Best)
	}
}

func TestForecastKnowsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	p := sweepOf(t, loadtest.SweepSettings{Grid: "bucket.Num=1,2,3"})
	s := p.Document()
	s.Rounds = append(s.Rounds, p.FirstRound())
	if f := p.ForecastAt(s, 0, 0); f.Measured != 0 || !strings.Contains(f.String(), "by plan") {
		t.Errorf("before any run: %+v", f)
	}
	pretend(p, s, func(int) float64 { return 10 })
	n := len(p.Order(s.Rounds[0], 0))
	f := p.ForecastAt(s, 0, n-2)
	if want := time.Duration(2 * 5.5 * float64(time.Second)); f.Likely != want || f.Least != f.Most || f.Measured != n {
		t.Errorf("two runs to go: %+v, want %v", f, want)
	}
	if f := p.ForecastAt(s, 0, n); f.Likely != 0 {
		t.Errorf("at the end: %+v", f)
	}
}
