//go:build slow && linux

package loadtest_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"firetower/loadtest"
	"firetower/reports"
	"firetower/reports/stats"
	"firetower/scenarios"
)

// A build that is slower by a known share, to prove that a comparison finds it. The
// tests build it by an overlay (go help build), so that no switch for it stands in
// the product:
//
//	FIRETOWER_SLOWER=/tmp/slower go test -tags slow -count=1 -run TestSlowerBuild ./loadtest
//	go test -tags slow -count=1 -timeout 15m -v -run TestSlowerBuildRegresses ./loadtest
//
// The first leaves the binary at FIRETOWER_SLOWER; FIRETOWER_SLOWER_SHARE=0.15 says by
// how much. With it, at a size of one's own:
//
//	firetower loadtest run 1k-group --target firetower@/tmp/slower --vs firetower --repeat 10 --gate

// slowerShare is by how much a build is slower when nobody says otherwise.
const slowerShare = 0.15

// buildSlower builds the binary at path.
func buildSlower(t *testing.T, path string, share float64) {
	t.Helper()
	dir, replaced := t.TempDir(), map[string]string{}
	for name, source := range slowed(t, share) {
		changed := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(changed, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		replaced[name] = changed
	}
	data, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, data, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", path, "firetower/cmd/firetower")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
}

func TestSlowerBuild(t *testing.T) {
	path, share := os.Getenv("FIRETOWER_SLOWER"), slowerShare
	if path == "" {
		path = filepath.Join(t.TempDir(), "slower")
	}
	if text := os.Getenv("FIRETOWER_SLOWER_SHARE"); text != "" {
		var err error
		if share, err = strconv.ParseFloat(text, 64); err != nil || share <= 0 {
			t.Fatalf("FIRETOWER_SLOWER_SHARE: must be above 0, got %q", text)
		}
	}
	buildSlower(t, path, share)
	slower, err := loadtest.ReadBuild(t.Context(), path, os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := loadtest.ReadBuild(t.Context(), binary, os.Environ())
	if err != nil || ours.Binary == slower.Binary {
		t.Errorf("the slower build is ours (%v)", err)
	}
	t.Logf("%s burns %.0f %% more in every write to a socket", path, 100*share)
}

// Eight runs of each in turn, of which some may be invalid, are enough to call the CPU time of a build that was made
// slower on purpose.
func TestSlowerBuildRegresses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "slower")
	// Twice as much: tests share their machine with others.
	buildSlower(t, path, 2*slowerShare)
	s := tiny(t, func(s *scenarios.Scenario) {
		s.Connections, s.Load.Rate = 1000, scenarios.Rate{PerSecond: 20}
		s.Phases.Warmup, s.Phases.Measure = scenarios.Seconds(1), scenarios.Seconds(5)
	})
	o, mark := options(t, plan(t, s, loadtest.Firetower))
	slower := loadtest.Target("firetower@" + path)
	v, dir, err := loadtest.RunVersus(t.Context(), loadtest.VersusOptions{
		Options: o, Plans: []*loadtest.Plan{plan(t, s, slower), plan(t, s, loadtest.Firetower)}, Repeat: 8, Gate: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, mark)
	t.Log("\n" + v.Summary(dir))
	counts := map[string]int{}
	for _, run := range v.Runs {
		if run.Verdict != reports.Invalid {
			counts[run.Target]++
		}
	}
	if n := min(counts[v.Targets[0]], counts[v.Targets[1]]); n < 6 {
		t.Skipf("the machine is too busy: %d of 8 runs of a side are not invalid", n)
	}
	if v.ExitCode != loadtest.ExitRegression {
		t.Errorf("exit code %d", v.ExitCode)
	}
	if len(v.Comparisons) != 1 {
		t.Fatalf("%d comparisons", len(v.Comparisons))
	}
	cpu := stats.Inconclusive
	for _, f := range v.Comparisons[0].Figures {
		if f.Metric == "server.cpu_us_per_delivery" {
			cpu = f.Verdict
		}
	}
	if cpu != stats.Regressed {
		t.Errorf("CPU per delivery: %s", cpu)
	}
	for _, run := range v.Runs {
		if r, err := reports.Read(filepath.Join(dir, run.Folder)); err != nil || r.Failure != "" {
			t.Errorf("%s: %v", run.Folder, err)
		}
	}
}
