package reports_test

import (
	"os"
	"path/filepath"
	"testing"

	"firetower/reports"
)

// What a folder holds and what a document in a file is of, whatever the file's name, and
// the document that is opened then.
func TestKindOf(t *testing.T) {
	t.Parallel()
	const base = "baselines"
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	read := func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, tt := range []struct {
		name, path string
		want       reports.Kind
	}{
		{"a run", filepath.Join(base, "10k-group"), reports.KindRun},
		{"a run's document", filepath.Join(base, "10k-group", reports.ResultFile), reports.KindRun},
		{"a comparison", filepath.Join(base, "vs-floor-5ps"), reports.KindVersus},
		{"a comparison's document", filepath.Join(base, "vs-floor-5ps", reports.VersusFile), reports.KindVersus},
		{"a sweep", filepath.Join(base, "sweep-1k-group"), reports.KindSweep},
		{"a sweep's document", filepath.Join(base, "sweep-1k-group", reports.SweepFile), reports.KindSweep},
		{"a search, which has the document of a sweep as well", filepath.Join(base, "tune-1k-group"), reports.KindTune},
		{"a search's document", filepath.Join(base, "tune-1k-group", reports.TuneFile), reports.KindTune},
		{"a document under another name", write("other.json", read(filepath.Join(base, "sweep-1k-group", reports.SweepFile))), reports.KindSweep},
		{"a folder of none", dir, ""},
		{"a file of none", write("x.json", `{"schema": "another/v1"}`), ""},
		{"a file that is no JSON", write("x.txt", "text"), ""},
		{"nothing", filepath.Join(dir, "none"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := reports.KindOf(tt.path); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			d, err := reports.Open(tt.path)
			got := reports.Kind("")
			switch d.(type) {
			case *reports.Result:
				got = reports.KindRun
			case *reports.Versus:
				got = reports.KindVersus
			case *reports.Sweep:
				got = reports.KindSweep
			case *reports.Tune:
				got = reports.KindTune
			}
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("opened %T, %v", d, err)
			}
		})
	}
}

// A comparison is the runs of its targets, by its folder or by its document.
func TestSetOfAComparisonsDocument(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("baselines", "vs-floor-5ps")
	want, err := reports.ReadSet(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := reports.ReadSet(filepath.Join(dir, reports.VersusFile))
	if err != nil || got.Source != want.Source || len(got.Runs) != len(want.Runs) || got.Label != want.Label {
		t.Errorf("%v: %d runs of %s in %s, want %d of %s in %s", err, len(got.Runs), got.Label, got.Source, len(want.Runs), want.Label, want.Source)
	}
}
