package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firetower/reports"
	"firetower/reports/stats"
)

// comparedFolder is a folder of two targets that took turns five times, of which the
// second needs factor times the CPU of the first.
func comparedFolder(t *testing.T, factor float64) string {
	t.Helper()
	dir := t.TempDir()
	v := &reports.Versus{
		Schema: reports.VersusSchema, ID: "x", Scenario: "10k-group", Subprotocol: "firetower.v1", Loop: "open", Repeat: 5,
		Targets: []string{"firetower", "firetower@/tmp/old"},
	}
	var results []*reports.Result
	for i := range 10 {
		r, err := reports.Read(filepath.Join("..", "..", "reports", "baselines", "10k-group"))
		if err != nil {
			t.Fatal(err)
		}
		cpu := *r.Server.CPUMicrosPerDelivery * (1 + 0.001*float64(i))
		if i%2 == 1 {
			cpu *= factor
		}
		r.ID, r.Target, r.Verdict, r.Server.CPUMicrosPerDelivery = fmt.Sprint(i), v.Targets[i%2], reports.Valid, &cpu
		results = append(results, r)
		v.Runs = append(v.Runs, reports.VersusRun{Target: r.Target, Folder: r.ID, Verdict: r.Verdict, ThresholdsOK: true})
		if err := os.Mkdir(filepath.Join(dir, r.ID), 0o750); err != nil {
			t.Fatal(err)
		}
		b, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, r.ID, reports.ResultFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v.Fill(results)
	if err := reports.WriteVersus(dir, v); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestReportCompareIsAGate(t *testing.T) {
	t.Parallel()
	slower := comparedFolder(t, 1.15)
	old := slower + ":firetower@old"
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"the other target is slower", []string{slower}, exitOK, "IMPROVED: 10k-group, 5 runs of firetower against 5 runs of firetower@old"},
		{"the slower is new", []string{slower, old}, exitRegression, "REGRESSED: 10k-group, 5 runs of firetower@old against 5 runs of firetower"},
		{"a band that the change is within", []string{slower, old, "--band-cpu", "25"}, exitOK, "SAME: "},
		{"a set and itself", []string{slower, slower}, exitOK, "SAME: "},
		{"alpha that five runs cannot reach", []string{slower, old, "--alpha", "0.001"}, exitOK, "INCONCLUSIVE: "},
		{"single runs", []string{filepath.Join(slower, "0"), filepath.Join(slower, "1")}, exitOK, "INCONCLUSIVE: "},
		{"a band that is none", []string{slower, old, "--band", "200"}, exitUsage, "band: must be 0 to below 1, got 2"},
		{"a target that is not there", []string{slower + ":floor", old}, exitUsage, `no such target "floor"; there are firetower, firetower@/tmp/old`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := cli(t, append([]string{"report", "compare"}, tt.args...)...)
			if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
				t.Errorf("exit code %d: %s%s", code, stdout, stderr)
			}
		})
	}
}

func TestReportCompareWritesItsDocument(t *testing.T) {
	t.Parallel()
	dir, out := comparedFolder(t, 1.15), filepath.Join(t.TempDir(), "new")
	code, stdout, stderr := cli(t, "report", "compare", dir, "--json", "--out", out)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var d reports.Comparisons
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || d.Schema != reports.CompareSchema || d.Verdict != stats.Improved {
		t.Errorf("%s, %s (%v)", d.Schema, d.Verdict, err)
	}
	for _, name := range []string{reports.CompareFile, reports.CompareHTMLFile, reports.CompareSummaryFile} {
		if info, err := os.Stat(filepath.Join(out, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoadtestRefusesBuildsAndGates(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"a build that is not there", []string{"--vs", "firetower@/nowhere/old"}, "not a build of firetower"},
		{"a program that is no build", []string{"--target", "firetower@/bin/false"}, "go build -o /tmp/old ./cmd/firetower"},
		{"a gate without another target", []string{"--gate"}, "--gate: needs --vs"},
		{"a gate that could never close", []string{"--vs", "floor", "--gate", "--repeat", "4"}, "--gate: needs --repeat 5 or more: with 4"},
		{"an unknown target", []string{"--vs", "flor"}, "firetower@PATH for another build"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, _, stderr := cli(t, append([]string{"loadtest", "run", "smoke", "--out", t.TempDir()}, tt.args...)...)
			if code != exitUsage || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
}
