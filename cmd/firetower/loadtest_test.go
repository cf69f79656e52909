package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firetower/reports"
)

func TestLoadtestPlanShowsWhatOverridesWhat(t *testing.T) {
	t.Parallel()
	p := newProcess("loadtest", "plan", "1k-group", "--rate", "7", "--set", "gateway.bucket.Num=8").
		withEnv("FIRETOWER_LOADTEST_RATE=3", "FIRETOWER_LOADTEST_CONNS=500", "FIRETOWER_LOADTEST_DURATION=", "RATE=99", "FIRETOWER_LOADTEST_LOAD_PAYLOAD=1KiB", "FIRETOWER_LOADTEST_SEED=4")
	if code := p.run(t); code != exitOK {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	for _, want := range []string{
		"override: load.rate = 3/s (FIRETOWER_LOADTEST_RATE)", "override: connections = 500 (FIRETOWER_LOADTEST_CONNS)",
		"override: load.payload = 1KiB (FIRETOWER_LOADTEST_LOAD_PAYLOAD)", "override: seed = 4 (FIRETOWER_LOADTEST_SEED)",
		"override: load.rate = 7/s (--rate)", "override: gateway.bucket.Num = 8 (--set)",
		"clients       500", "load          7/s", "descriptors", "must hold     lost==0",
	} {
		if !strings.Contains(p.stdout.String(), want) {
			t.Errorf("lacks %q:\n%s", want, p.stdout)
		}
	}
}

// What the services take from the environment, a run does not, and says so.
func TestLoadtestTellsOfVariablesWithoutEffect(t *testing.T) {
	t.Parallel()
	p := newProcess("loadtest", "plan", "smoke").
		withEnv("FIRETOWER_BUCKET_NUM=3", "FIRETOWER_MANAGER_HEARTBEAT=5s", "FIRETOWER_LINK_TOKEN=hush", "FIRETOWER_TEST_PARENT=x", "FIRETOWER_BIN=y", "HOME=/")
	if code := p.run(t); code != exitOK {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	want := `FIRETOWER_BUCKET_NUM has no effect on load tests: use --set gateway.bucket.Num=3
FIRETOWER_MANAGER_HEARTBEAT has no effect on load tests: use --set manager.heartbeat=5s
FIRETOWER_LINK_TOKEN has no effect on load tests: use --set gateway.link.token or manager.link.token=...
`
	if p.stderr.String() != want {
		t.Errorf("said:\n%swant:\n%s", p.stderr, want)
	}
}

func TestLoadtestPlanCountsOne(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := cli(t, "loadtest", "plan", "smoke", "--rate", "10/m", "--duration", "6s", "--workers", "1")
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{"1 topic, firetower.v1", "10/m, constant, open loop, 1 publisher,", "in all of 1 message;", "1 worker with"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("lacks %q:\n%s", want, stdout)
		}
	}
}

func TestLoadtestPlanAsTOMLIsAScenario(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := cli(t, "loadtest", "plan", "smoke", "--conns", "77", "--toml")
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	p := newProcess("loadtest", "plan", "mine.toml").withFiles(map[string]string{"mine.toml": stdout})
	if code := p.run(t); code != exitOK || !strings.Contains(p.stdout.String(), "clients       77") {
		t.Errorf("exit code %d: %s%s", code, p.stdout, p.stderr)
	}
}

func TestLoadtestRefusesBeforeItStartsAnything(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	for _, tt := range []struct {
		name, args, want string
		env              []string
	}{
		{"no scenario", "", "name one scenario", nil},
		{"unknown scenario", "10k-gruop", `did you mean "10k-group"?`, nil},
		{"a file without its ending", "mine", "whose name ends in .toml", nil},
		{"no such file", "mine.toml", "file does not exist", nil},
		{"a rate that is none", "smoke --rate fast", `--rate: load.rate: "fast" is not a rate`, nil},
		{"a rate where there is none", "burst-5k --rate 5", `--rate: load.rate is for load.mode = "open" alone`, nil},
		{"a variable that is none", "smoke", "FIRETOWER_LOADTEST_DURATION: phases.measure: \"10\" is not a duration", []string{"FIRETOWER_LOADTEST_DURATION=10"}},
		{"a variable misspelt", "smoke", `FIRETOWER_LOADTEST_RAET: unknown variable, did you mean "FIRETOWER_LOADTEST_RATE"?`, []string{"FIRETOWER_LOADTEST_RAET=10"}},
		{"a variable far off", "smoke", "FIRETOWER_LOADTEST_FROBNICATE: unknown variable; there are FIRETOWER_LOADTEST_RATE, FIRETOWER_LOADTEST_DURATION", []string{"FIRETOWER_LOADTEST_FROBNICATE=10"}},
		{"a variable with its prefix misspelt", "smoke", `FIRETOWER_LOADTES_RATE: unknown variable, did you mean "FIRETOWER_LOADTEST_RATE"?`, []string{"FIRETOWER_LOADTES_RATE=10"}},
		{"a key without a meaning", "smoke --set capacity.p99=1s", `--set: capacity.p99 is for load.mode = "capacity" alone`, nil},
		{"a variable without a meaning", "smoke", `FIRETOWER_LOADTEST_CHURN_RATE: churn.rate is for churn.topics above 0 alone`, []string{"FIRETOWER_LOADTEST_CHURN_RATE=1/s"}},
		{"two variables of one key", "smoke", "FIRETOWER_LOADTEST_RATE and FIRETOWER_LOADTEST_LOAD_RATE are both load.rate: set one of them", []string{"FIRETOWER_LOADTEST_RATE=1", "FIRETOWER_LOADTEST_LOAD_RATE=2"}},
		{"an unknown key", "smoke --set load.rat=5/s", `no key "load.rat", did you mean "load.rate"?`, nil},
		{"a key of a server", "smoke --set bucket.Num=8", `--set: no key "bucket.Num", did you mean gateway.bucket.Num?`, nil},
		{"a key of both servers", "smoke --set heartbeat=8s", `no key "heartbeat", did you mean gateway.heartbeat or manager.heartbeat?`, nil},
		{"a pair that is none", "smoke --set load.rate", "write KEY=VALUE", nil},
		{"an unknown server key", "smoke --set gateway.bucket.Nmu=5", "bucket.Nmu", nil},
		{"an unknown threshold", "smoke --threshold delivry.p99<1s", "did you mean", nil},
		{"an unknown target", "smoke --vs nginx", `no target "nginx"`, nil},
		{"a target named twice", "smoke --vs firetower", "firetower is named twice", nil},
		{"a fault that no reference has", "manager-restart --vs floor", "floor has no manager", nil},
		{"servers of others that are not built", "smoke --vs nats --peers /nowhere/peers", "run 'make peers'", nil},
		{"servers of others that a variable names", "smoke --target gws", "/nowhere/peers: no such file", []string{"FIRETOWER_LOADTEST_PEERS=/nowhere/peers"}},
		{"a fault that no server of others has", "manager-restart --vs nats", "fault: nats has no managers and gateways", nil},
		{"topics that change where none do", "10k-topics-churn --target gws", "churn.topics:", nil},
		{"too many connections", "smoke --conns 900000", "does not fit this machine", nil},
		{"no repeats", "smoke --repeat 0", "--repeat: must be 1 to 100", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := slices.Concat([]string{"loadtest", "run"}, strings.Fields(tt.args), []string{"--out", filepath.Join(out, "none")})
			p := newProcess(args...).withEnv(tt.env...)
			if code := p.run(t); code != exitUsage || !strings.Contains(p.stderr.String(), tt.want) {
				t.Errorf("exit code %d, standard error %q, want %q in it", code, p.stderr, tt.want)
			}
			if _, err := os.Stat(filepath.Join(out, "none")); err == nil {
				t.Error("a folder was made")
			}
		})
	}
}

func TestLoadtestRunAndReport(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	short := []string{"--conns", "20", "--duration", "1s", "--warmup", "100ms", "--set", "phases.settle=100ms", "--out", out}
	p := newProcess(slices.Concat([]string{"loadtest", "run", "smoke"}, short)...)
	p.state.environ = os.Environ()
	// A starved machine makes a run invalid, by right; all else must hold.
	if code := p.run(t); code != exitOK && code != exitInvalidRun {
		t.Fatalf("exit code %d: %s%s", code, p.stdout, p.stderr)
	}
	if !strings.Contains(p.stdout.String(), "smoke on firetower, all 6 thresholds held") {
		t.Errorf("printed %s", p.stdout)
	}
	// Without a terminal there are lines, and nothing that moves a cursor.
	if text := p.stderr.String(); !strings.Contains(text, "\nmeasure\n") || strings.Contains(text, "\x1b") {
		t.Errorf("progress: %q", text)
	}
	latest := filepath.Join(out, reports.LatestLink)
	code, stdout, stderr := cli(t, "report", "show", latest)
	if code != exitOK || !strings.Contains(stdout, "smoke on firetower") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if !strings.HasPrefix(p.stdout.String(), "INVALID") {
		code, stdout, stderr = cli(t, "report", "compare", latest, latest)
		if code != exitOK || !strings.Contains(stdout, "both sides are the same 1 run of firetower") {
			t.Errorf("exit code %d: %s%s", code, stdout, stderr)
		}
	}
	meetsSchema(t, "run.schema.json", filepath.Join(latest, reports.ResultFile))
	code, stdout, stderr = cli(t, "report", "show", latest, "--json")
	if code != exitOK || !strings.Contains(stdout, `"schema": "firetower.run/v1"`) {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

func TestLoadtestThresholdDecidesTheExitCode(t *testing.T) {
	t.Parallel()
	p := newProcess("loadtest", "run", "smoke", "--conns", "20", "--duration", "1s", "--warmup", "0s", "--set", "phases.settle=100ms",
		"--threshold", "expected==1", "--quiet", "--out", t.TempDir())
	p.state.environ = os.Environ()
	code := p.run(t)
	want := exitThreshold
	if strings.HasPrefix(p.stdout.String(), "INVALID") {
		want = exitInvalidRun // a starved machine
	}
	if code != want {
		t.Errorf("exit code %d: %s%s", code, p.stdout, p.stderr)
	}
	if !strings.Contains(p.stdout.String(), "1 of 1 thresholds failed") || p.stderr.String() != "" {
		t.Errorf("printed %s%s", p.stdout, p.stderr)
	}
}

func TestReportOfNothing(t *testing.T) {
	t.Parallel()
	code, _, stderr := cli(t, "report", "show", filepath.Join(t.TempDir(), "none"))
	if code != exitUsage || !strings.Contains(stderr, "loadtest run smoke") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	bad := filepath.Join(t.TempDir(), "result.json")
	if err := os.WriteFile(bad, []byte(`{"schema":"firetower.run/v9"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr = cli(t, "report", "compare", bad, bad)
	if code != exitUsage || !strings.Contains(stderr, `schema is "firetower.run/v9"`) {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestReportRefuses(t *testing.T) {
	t.Parallel()
	readme := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(readme, []byte("# Read me\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"show", readme}, "README.md: is not a result document\nName a run's folder below reports/runs, or its result.json."},
		{[]string{"show", "a", "b"}, `unexpected argument "b"`},
		{[]string{"compare", "a"}, "a: one argument must be a folder of targets that took turns"},
		{[]string{"compare"}, "want two sets of runs, BASE and NEW, or one folder of runs that took turns, got 0"},
	} {
		if code, _, stderr := cli(t, append([]string{"report"}, tt.args...)...); code != exitUsage || !strings.Contains(stderr, tt.want) {
			t.Errorf("%v: exit code %d: %s", tt.args, code, stderr)
		}
	}
}

// A folder of runs stands for the latest one below it.
func TestReportShowOfAFolderOfRuns(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir, err := reports.CreateFolder(root, "smoke-vs", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	v := &reports.Versus{Schema: reports.VersusSchema, Scenario: "smoke", Targets: []string{"firetower", "floor"}, Repeat: 1, Subprotocol: "firetower.v0", Loop: "open"}
	if err := errors.Join(reports.WriteVersus(dir, v), reports.PointLatest(root, dir)); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := cli(t, "report", "show", root)
	if code != exitOK || !strings.HasPrefix(stdout, "smoke: firetower, floor in turn") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

// The bars end whatever state they are in: mpb waits for every bar to complete.
func TestBarsEndInEveryState(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(p *barProgress){
		"never used":     func(*barProgress) {},
		"a phase begun":  func(p *barProgress) { p.Phase("connect", 100) },
		"of no total":    func(p *barProgress) { p.Phase("spawn", 0) },
		"full":           func(p *barProgress) { p.Phase("connect", 100); p.Set(100, "x"); p.Set(500, "y") },
		"several phases": func(p *barProgress) { p.Phase("a", 0); p.Phase("b", 5); p.Set(5, ""); p.Phase("c", 7); p.Set(1, "z") },
		"closed twice":   func(p *barProgress) { p.Phase("a", 3); p.Close(); p.Phase("b", 3); p.Set(1, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newBarProgress(&output{})
			use(p)
			done := make(chan struct{})
			go func() {
				defer close(done)
				p.Close()
			}()
			select {
			case <-done:
			case <-time.After(patience):
				t.Fatal("the display has not ended")
			}
		})
	}
}
