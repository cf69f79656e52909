package reports_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"firetower/reports"
	"firetower/simulator/latency"
)

// Scripts read these fields; the names are a promise.
func TestDocumentHasTheFieldsThatScriptsRead(t *testing.T) {
	t.Parallel()
	b, err := sample(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	for _, path := range [][]string{
		{"schema"},
		{"connections"},
		{"expected"},
		{"received"},
		{"lost"},
		{"duplicated"},
		{"reordered"},
		{"late"},
		{"corrupt"},
		{"foreign"},
		{"delivery", "p50"},
		{"delivery", "p90"},
		{"delivery", "p99"},
		{"delivery", "p99.9"},
		{"delivery", "max"},
		{"delivery", "unit"},
		{"completion", "p50"},
		{"server", "cpu_us_per_delivery"},
		{"server", "rss_bytes_per_connection"},
		{"verdict"},
	} {
		var at any = doc
		for _, key := range path {
			m, _ := at.(map[string]any)
			at = m[key]
		}
		if at == nil {
			t.Errorf("%s is not there", strings.Join(path, "."))
		}
	}
	// A percentile without support is there, and null.
	completion, _ := doc["completion"].(map[string]any)
	if v, there := completion["p99"]; !there || v != nil {
		t.Errorf("completion.p99 of 40 values is %v, %v; want null", v, there)
	}
}

func TestSupportOfPercentiles(t *testing.T) {
	t.Parallel()
	// HARNESS: the upper bound is finite only when q^n <= 0.025.
	for p, want := range map[float64]int64{50: 6, 90: 36, 95: 72, 99: 368, 99.9: 3688, 0: 1, 100: math.MaxInt64} {
		if got := reports.Support(p); got != want {
			t.Errorf("p%v needs %d, want %d", p, got, want)
		}
	}
}

func TestSummariseSuppressesWhatTheCountCannotSupport(t *testing.T) {
	t.Parallel()
	rec := latency.NewRecorder()
	for range 367 {
		rec.Record(5_000_000)
	}
	d := reports.Summarise(rec)
	if d.P95 == nil || d.P99 != nil || d.Suppressed["p99"] != "needs 368 values, has 367" {
		t.Errorf("with 367 values: p95 %v, p99 %v, %v", d.P95, d.P99, d.Suppressed)
	}
	rec.Record(9_000_000)
	if d = reports.Summarise(rec); d.P99 == nil || *d.Max != 9 {
		t.Errorf("with 368 values: p99 %v, max %v", d.P99, *d.Max)
	}
	if _, reason := d.Get("p99.9"); reason == "" {
		t.Error("p99.9 of 368 values has a value")
	}
	for range 10 {
		rec.Record(61_000_000_000)
	}
	d = reports.Summarise(rec)
	if d.P99 != nil || d.Suppressed["p99"] != "is above 1m0s, where the histogram ends" || d.P95 == nil || *d.Max != 61_000 {
		t.Errorf("with 10 of 378 values above a minute: p95 %v, p99 %v, max %v, %v", d.P95, d.P99, *d.Max, d.Suppressed)
	}
	if d := reports.Summarise(nil); d.Count != 0 || d.P50 != nil || d.Max != nil {
		t.Errorf("nothing recorded gave %+v", d)
	}
}

func TestReadGivesBackWhatWasWritten(t *testing.T) {
	t.Parallel()
	want := sample(t)
	dir := t.TempDir()
	interval := reports.Interval{Tag: "measure.delivery", From: want.Started, To: want.Started.Add(time.Second), Recorder: want.Histograms["delivery"]}
	if err := reports.Write(dir, want, []reports.Interval{interval}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, reports.ResultFile)} {
		got, err := reports.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := want.Encode()
		b, err := got.Encode()
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: another document came back (%v)", path, err)
		}
		if !reflect.DeepEqual(want.Histograms["delivery"].Buckets(), got.Histograms["delivery"].Buckets()) {
			t.Error("another histogram came back")
		}
	}
	for _, name := range []string{reports.SummaryFile, reports.HTMLFile, reports.LogFile, reports.ScenarioFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s is missing or empty (%v)", name, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.part")); len(left) > 0 {
		t.Errorf("half-written files are left: %v", left)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	good, err := sample(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	swap := func(from, to string) string {
		if !strings.Contains(string(good), from) {
			t.Fatalf("the sample has no %s", from)
		}
		return strings.Replace(string(good), from, to, 1)
	}
	tests := []struct{ name, doc, want string }{
		{"another version", swap("firetower.run/v1", "firetower.run/v2"), `schema is "firetower.run/v2"`},
		{"no schema", `{"verdict":"valid"}`, "is not a result document"},
		{"no JSON", "hello", "is not a result document"},
		{"cut short", string(good[:len(good)/2]), "is not a result document"},
		{"a ledger that does not balance", swap(`"expected": 4001`, `"expected": 4002`), "expected 4002 is not received 4000 + lost 1"},
		{"a publisher that does not balance", swap(`"sent": 41`, `"sent": 40`), "planned 41 is not sent 40"},
		{"an unknown verdict", swap(`"verdict": "degraded"`, `"verdict": "fine"`), `verdict: "fine" is none`},
		{"a verdict without a reason", swap(`"publish lag p99: 9 ms, limit at most 2 ms"`, ""), "reasons: a verdict of degraded has none"},
		{"a histogram of another count", swap(`"count": 4000`, `"count": 4001`), "delivery.count: 4001"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "result.json")
			if err := os.WriteFile(path, []byte(tt.doc), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := reports.Read(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
	if _, err := reports.Read(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder without a result gave %v", err)
	}
}

func TestLocateFollowsLatest(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if got := reports.Locate(root); got != root {
		t.Errorf("a folder without runs stands for %s", got)
	}
	dir := mkdir(t, root, "one")
	if err := reports.Write(dir, sample(t), nil); err != nil {
		t.Fatal(err)
	}
	if err := reports.PointLatest(root, dir); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		root: filepath.Join(root, reports.LatestLink), dir: dir, filepath.Join(dir, reports.ResultFile): filepath.Join(dir, reports.ResultFile),
	} {
		if got := reports.Locate(path); got != want {
			t.Errorf("%s stands for %s, want %s", path, got, want)
		}
	}
}

func TestEveryMetricOfTheDocumentCanBeLookedUp(t *testing.T) {
	t.Parallel()
	r := sample(t)
	for name, want := range map[string]float64{
		"lost": 1, "lost_unexplained": 1, "server.cpu_us_per_delivery": 4.25, "fault.recovery": 1600, "delivery.min": 1, "publisher.refused": 0,
	} {
		if got, reason := r.Metric(name); reason != "" || got != want {
			t.Errorf("%s is %v (%s), want %v", name, got, reason, want)
		}
	}
	for _, name := range []string{"completion.p99", "slow.disconnected", "nothing", "nothing.p50", "delivery.p98", "first.p50"} {
		if _, reason := r.Metric(name); reason == "" {
			t.Errorf("%s has a value", name)
		}
	}
}

func TestFoldersAreNeverOverwritten(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "deep", "runs")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var dirs []string
	for range 3 {
		dir, err := reports.CreateFolder(root, "10k/../group", at)
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, filepath.Base(dir))
		if err := reports.PointLatest(root, dir); err != nil {
			t.Fatal(err)
		}
		if to, err := os.Readlink(filepath.Join(root, reports.LatestLink)); err != nil || to != filepath.Base(dir) {
			t.Errorf("latest points to %q (%v), want %s", to, err, dir)
		}
	}
	want := []string{"20260102T030405Z-10k-..-group", "20260102T030405Z-10k-..-group.2", "20260102T030405Z-10k-..-group.3"}
	if !reflect.DeepEqual(dirs, want) {
		t.Errorf("made %v, want %v", dirs, want)
	}
}
