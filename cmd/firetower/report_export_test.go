package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"firetower/reports"
)

// baselines are the committed results.
var baselines = filepath.Join("..", "..", "reports", "baselines")

// meetsSchema checks a document against a schema that is checked in.
func meetsSchema(t *testing.T, schema, document string) {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "..", "reports", "schema", schema))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(doc); err != nil {
		t.Error(err)
	}
}

// The page of targets side by side is made anew as that of a run is.
func TestReportShowMakesThePageOfTargets(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "page.html")
	code, stdout, stderr := cli(t, "report", "show", filepath.Join(baselines, "vs-floor-5ps"), "--html", page)
	if code != exitOK || !strings.HasPrefix(stdout, "10k-group: ") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if b, err := os.ReadFile(page); err != nil || !bytes.Contains(b, []byte(reports.VersusSchema)) {
		t.Errorf("page: %v", err)
	}
}

func TestReportExport(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "out")
	for _, tt := range []struct {
		name string
		args []string
		want []string
	}{
		{"csv is the default", []string{"10k-group"}, []string{
			"run,scenario,target,kind,series,statistic,phase,t_s,value,unit\n",
			"Z-10k-group,10k-group,firetower,scalar,expected,,measure,,3750000,\n",
		}},
		{"all runs of a comparison", []string{"vs-floor-5ps", "--format", "benchfmt"}, []string{
			"BenchmarkFanout/scenario=10k-group/target=floor-", "BenchmarkFanout/scenario=10k-group/target=firetower-", "BenchmarkFanout/scenario=10k-group/target=gws-",
		}},
		{"a file", []string{"10k-group", "--format", "hlog", "-o", file}, []string{"#[Histogram log format version 1.3]", "Tag=delivery.raw,", "Tag=lag,"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.args[0] = filepath.Join(baselines, tt.args[0])
			code, stdout, stderr := cli(t, append([]string{"report", "export"}, tt.args...)...)
			if code != exitOK {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			if tt.args[len(tt.args)-1] == file {
				text, err := os.ReadFile(file)
				if err != nil || stdout != "" {
					t.Fatalf("%v, and printed %q", err, stdout)
				}
				stdout = string(text)
			}
			for _, want := range tt.want {
				if !strings.Contains(stdout, want) {
					t.Errorf("lacks %q:\n%.2000s", want, stdout)
				}
			}
		})
	}
}

func TestReportHTML(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join(baselines, "idle-10k", reports.ResultFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, reports.ResultFile), text, 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "x.html")
	for name, tt := range map[string]struct {
		args []string
		page string
	}{
		"a folder":     {[]string{dir}, filepath.Join(dir, reports.HTMLFile)},
		"its document": {[]string{filepath.Join(dir, reports.ResultFile)}, filepath.Join(dir, reports.HTMLFile)},
		"elsewhere":    {[]string{dir, "--out", elsewhere}, elsewhere},
	} {
		code, stdout, stderr := cli(t, append([]string{"report", "html"}, tt.args...)...)
		page, err := os.ReadFile(tt.page)
		if code != exitOK || stdout != tt.page+"\n" || err != nil || !bytes.Contains(page, []byte("idle-10k")) {
			t.Errorf("%s: exit code %d, printed %q %q, %v", name, code, stdout, stderr, err)
		}
		if err := os.Remove(tt.page); err != nil {
			t.Error(err)
		}
	}
}

// Whatever a document is of, it is shown and its page made from its folder and from its file.
func TestReportKnowsEveryKindOfDocument(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, dir, file, says string }{
		{"a run", "idle-10k", reports.ResultFile, ": idle-10k on firetower"},
		{"a comparison of targets", "vs-floor-5ps", reports.VersusFile, "floor"},
		{"a sweep", "sweep-1k-group", reports.SweepFile, "sweep of 1k-group: 28 cells"},
		{"a search", "tune-1k-group", reports.TuneFile, "tune 1k-group for least"},
	} {
		for _, path := range []string{filepath.Join(baselines, tt.dir), filepath.Join(baselines, tt.dir, tt.file)} {
			t.Run(tt.name+", "+filepath.Base(path), func(t *testing.T) {
				t.Parallel()
				code, stdout, stderr := cli(t, "report", "show", path)
				if code != exitOK || !strings.Contains(stdout, tt.says) {
					t.Errorf("show: exit code %d, printed %q %q, want %q", code, stdout, stderr, tt.says)
				}
				page := filepath.Join(t.TempDir(), "x.html")
				code, stdout, stderr = cli(t, "report", "html", path, "--out", page)
				if b, err := os.ReadFile(page); code != exitOK || stdout != page+"\n" || err != nil || !bytes.Contains(b, []byte("</html>")) {
					t.Errorf("html: exit code %d, printed %q %q, %v", code, stdout, stderr, err)
				}
			})
		}
	}
}

func TestReportValidate(t *testing.T) {
	t.Parallel()
	good := filepath.Join(baselines, "10k-group")
	text, err := os.ReadFile(filepath.Join(good, reports.ResultFile))
	if err != nil {
		t.Fatal(err)
	}
	with := func(old, replacement string) string {
		path := filepath.Join(t.TempDir(), reports.ResultFile)
		changed := bytes.Replace(text, []byte(old), []byte(replacement), 1)
		if bytes.Equal(changed, text) {
			t.Fatalf("the document has no %q", old)
		}
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		name, path string
		code       int
		want       string
	}{
		{"good", good, exitOK, ": ok\n"},
		{"of a later build", with(`"scenario":`, `"mood": "fair", "scenario":`), exitOK, ": ok, with a property that this build does not know: mood\n"},
		{"does not balance", with(`"received": 3750000`, `"received": 3750001`), exitUsage, "expected 3750000 is not received 3750001 + lost 0"},
		{"another version", with("firetower.run/v1", "firetower.run/v2"), exitUsage, `schema is "firetower.run/v2"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := cli(t, "report", "validate", tt.path)
			if code != tt.code || !strings.Contains(stdout, tt.want) {
				t.Errorf("exit code %d: %s%s", code, stdout, stderr)
			}
		})
	}
	if code, _, stderr := cli(t, "report", "validate", good, with("firetower.run/v1", "x")); code != exitUsage || !strings.Contains(stderr, "1 of 2 documents are not valid") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestReportCommandsRefuse(t *testing.T) {
	t.Parallel()
	good := filepath.Join(baselines, "10k-group")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"export"}, "want at least one run"},
		{[]string{"html"}, "want at least one run"},
		{[]string{"validate"}, "want at least one run"},
		{[]string{"export", good, "--format", "xml"}, `"xml" is no format of an export: csv, benchfmt, hlog`},
		{[]string{"export", good, good, "--format", "hlog"}, "a histogram log holds one run, got 2"},
		{[]string{"export", t.TempDir()}, "Name a run's folder"},
		{[]string{"html", good, good, "--out", "x"}, "--out is one file, and 2 runs are named"},
	} {
		if code, _, stderr := cli(t, append([]string{"report"}, tt.args...)...); code != exitUsage || !strings.Contains(stderr, tt.want) {
			t.Errorf("%v: exit code %d: %s", tt.args, code, stderr)
		}
	}
}
