package reports_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"firetower/reports"
)

func TestGoldenReports(t *testing.T) {
	t.Parallel()
	r := sample(t)
	golden(t, "summary.golden", []byte(r.Summary("reports/runs/x")))
	page, err := r.HTML()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.golden.html", page)
	var log bytes.Buffer
	intervals := []reports.Interval{
		{Tag: "measure.delivery", From: r.Started.Add(time.Second), To: r.Started.Add(2 * time.Second), Recorder: r.Histograms["delivery"]},
		{Tag: "measure.completion", From: r.Started, To: r.Started.Add(2 * time.Second), Recorder: r.Histograms["completion"]},
	}
	if err := reports.WriteLog(&log, r, intervals); err != nil {
		t.Fatal(err)
	}
	// The compressed payload depends on Go's version; what stands before it does not.
	golden(t, "latency.golden.hlog", regexp.MustCompile(`HIST\S+`).ReplaceAll(log.Bytes(), []byte("HIST...")))
}

func TestSummaryFitsATerminalAndBeginsWithTheVerdict(t *testing.T) {
	t.Parallel()
	r := sample(t)
	r.Reasons = []string{"a", "b", "c", "d", "e"}
	r.Faults = append(r.Faults, r.Faults[0], r.Faults[0])
	r.Slow = &reports.Slow{Connections: 1, Disconnected: 1, Closed: map[string]int64{"4008": 1}}
	text := r.Summary("dir")
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) > 25 {
		t.Errorf("%d lines:\n%s", len(lines), text)
	}
	if !strings.HasPrefix(lines[0], "DEGRADED: sample on firetower") {
		t.Errorf("begins with %q", lines[0])
	}
	if last := lines[len(lines)-1]; !strings.Contains(last, filepath.Join("dir", reports.HTMLFile)) {
		t.Errorf("ends with %q", last)
	}
}

// What decides stands at the top: the thresholds that failed, and what to do about a
// verdict that the machine is to blame for.
func TestSummarySaysFirstWhatToDo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*reports.Result)
		want   string // empty: the machine is not to blame
	}{
		{"idle", func(*reports.Result) {}, ""},
		{"CPU pressure", func(r *reports.Result) {
			r.Checks = append(r.Checks, reports.Check{Name: reports.CheckCPUPressure, Status: reports.CheckOK, Value: "67 %"})
		}, "CPU pressure 67 %"},
		{"little CPU pressure", func(r *reports.Result) {
			r.Checks = append(r.Checks, reports.Check{Name: reports.CheckCPUPressure, Status: reports.CheckOK, Value: "17 %"})
		}, ""},
		{"CPU pressure unknown", func(r *reports.Result) {
			r.Checks = append(r.Checks, reports.Check{Name: reports.CheckCPUPressure, Status: reports.CheckSkipped, Value: "unknown"})
		}, ""},
		{"machine busy", func(r *reports.Result) {
			r.Checks = append(r.Checks, reports.Check{Name: reports.CheckMachineBusy, Status: reports.CheckDegraded, Value: "98 % of 2 CPUs"})
		}, "machine busy 98 % of 2 CPUs"},
		{"before the start", func(r *reports.Result) {
			r.Environment.PressureBefore = "some avg10=65.51 avg60=47.79 avg300=42.94 total=1719241806"
		}, "66 % before the start"},
		{"valid all the same", func(r *reports.Result) {
			r.Verdict, r.Reasons = reports.Valid, nil
			r.Environment.PressureBefore = "some avg10=65.51 avg60=47.79 avg300=42.94 total=1719241806"
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := sample(t)
			tt.change(r)
			text := r.Summary("")
			if lines := strings.Split(text, "\n"); !strings.HasPrefix(lines[1], "           thresholds failed: lost==0 is 1; ") {
				t.Errorf("the second line is %q", lines[1])
			}
			page, err := r.HTML()
			if err != nil {
				t.Fatal(err)
			}
			line := "the machine was busy (" + tt.want + "): run again when it is idle"
			if tt.want == "" {
				line = "the machine was busy"
			}
			if in := strings.Contains(text, line); in != (tt.want != "") {
				t.Errorf("%q is there: %v\n%s", line, in, text)
			}
			if in := bytes.Contains(page, []byte(line)); in != (tt.want != "") {
				t.Errorf("%q is in the page: %v", line, in)
			}
		})
	}
}

func TestVerdictLineHasTheReason(t *testing.T) {
	t.Parallel()
	r := sample(t)
	r.Verdict, r.Reasons = reports.Invalid, []string{"publish lag p99: 90 ms, limit at most 2 ms", "b", "c"}
	if want := "INVALID: sample on firetower, 2 of 3 thresholds failed: publish lag p99: 90 ms, limit at most 2 ms (and 2 more)"; r.VerdictLine() != want {
		t.Errorf("got %q, want %q", r.VerdictLine(), want)
	}
	r.Verdict, r.Reasons = reports.Valid, nil
	if r.VerdictLine() != r.Headline() {
		t.Errorf("got %q", r.VerdictLine())
	}
}

func TestPageHasNoCommitThatIsNotKnown(t *testing.T) {
	t.Parallel()
	r := sample(t)
	r.Environment.Commit = ""
	page, err := r.HTML()
	if err != nil || bytes.Contains(page, []byte("<dt>commit</dt>")) {
		t.Errorf("the page has a commit (%v)", err)
	}
}

func TestPageAsksForNothingAndHoldsTheDocument(t *testing.T) {
	t.Parallel()
	page, err := sample(t).HTML()
	if err != nil {
		t.Fatal(err)
	}
	if len(page) > 1<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
	// Whatever a browser would fetch.
	for _, bad := range []string{"http://", "https://", "src=", "@import", "url(", "<link rel=\"stylesheet\""} {
		if bytes.Contains(page, []byte(bad)) {
			t.Errorf("the page has %q in it", bad)
		}
	}
	if !bytes.Contains(page, []byte(`"schema":"firetower.run/v1"`)) {
		t.Error("the document is not in the page")
	}
}

func TestPageEscapesWhatARunSays(t *testing.T) {
	t.Parallel()
	r := sample(t)
	const evil = `</script><script>alert(1)</script>"'<img onerror=x>`
	r.Scenario, r.Purpose, r.Failure = evil, evil, evil
	r.Reasons = []string{evil}
	r.Environment.CPU = evil
	r.Configuration.Scenario = evil
	r.Faults[0].Kind = evil
	r.Processes[0].Role, r.Processes[0].Name = evil, evil
	r.Phases[1].Name = evil
	page, err := r.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script>alert", "<img onerror", "</script><script"} {
		if bytes.Contains(page, []byte(bad)) {
			at := bytes.Index(page, []byte(bad))
			t.Errorf("%q got through: ...%s", bad, page[max(0, at-80):at+40])
		}
	}
	if n := bytes.Count(page, []byte("</script>")); n != 2 {
		t.Errorf("%d script elements end, want those of the document and of the script", n)
	}
}

// A run that ended before it measured anything has a readable page as well.
func TestPageOfARunThatMeasuredNothing(t *testing.T) {
	t.Parallel()
	r := &reports.Result{
		Schema: reports.Schema, ID: "x", Scenario: "s", Target: "firetower", Verdict: reports.Invalid, Reasons: []string{"nothing was measured"},
		Failure: "gateway died", Interrupted: true,
	}
	page, err := r.HTML()
	if err != nil || !bytes.Contains(page, []byte("gateway died")) {
		t.Errorf("%v: %s", err, page)
	}
	if text := r.Summary(""); !strings.HasPrefix(text, "INVALID: s on firetower, which failed: gateway died") {
		t.Errorf("summary: %s", text)
	}
}

// Every page opens from its file with no console message and no request. It needs
// Chromium.
func TestPageInABrowser(t *testing.T) {
	t.Parallel()
	comparison, err := reports.Compare(turns(t, "firetower@/old", 8, 1, 1), turns(t, "firetower", 8, 1.15, 2), reports.DefaultCompareOptions())
	if err != nil {
		t.Fatal(err)
	}
	_, versus := versusOf(t, 3, turns(t, "firetower", 3, 1.15, 2), turns(t, "floor", 3, 1, 1))
	for _, tt := range []struct {
		name, want string
		page       func() ([]byte, error)
	}{
		{"a run", "Latency by percentile", sample(t).HTML},
		{"a comparison", "Ratio by quantile", reports.NewComparisons(comparison).HTML},
		{"targets in turn", "firetower divided by floor", versus.HTML},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			page, err := tt.page()
			if err != nil {
				t.Fatal(err)
			}
			opensInABrowser(t, page, tt.want)
		})
	}
}

func opensInABrowser(t *testing.T, page []byte, want string) {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium on this machine")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "report.html")
	if err := os.WriteFile(path, page, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	netlog := filepath.Join(dir, "net.json")
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", // a fixed program
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+filepath.Join(dir, "profile"),
		"--enable-logging=stderr", "--log-net-log="+netlog, "--dump-dom", "file://"+path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	dom, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if !bytes.Contains(dom, []byte(want)) {
		t.Error("the page was not rendered")
	}
	// The page's policy let its script run: it adds a button to every table of a chart,
	// and the tips of the cursors.
	if buttons, charts := bytes.Count(dom, []byte(">Copy</button>")), bytes.Count(page, []byte("<summary>Table</summary>")); buttons != charts || bytes.Contains(page, []byte(`<figure class="plot" data-cursor`)) != bytes.Contains(dom, []byte(`class="tip"`)) {
		t.Errorf("the script made %d buttons for %d tables", buttons, charts)
	}
	for line := range strings.Lines(stderr.String()) {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("console: %s", line)
		}
	}
	log, err := os.ReadFile(netlog)
	if err != nil {
		t.Fatal(err)
	}
	// Requests that the page makes name it as their initiator; the browser's own do not.
	if bytes.Contains(log, []byte(`"initiator":"file://`)) {
		t.Error("the page made a request")
	}
}

// The hold and the recovery of a fault, which are phases, are one band each.
func TestFaultBandsAreDrawnOnce(t *testing.T) {
	t.Parallel()
	r := rich(t, 60)
	at := r.Phases[3].Start
	r.Phases = append(r.Phases,
		reports.Phase{Name: "hold gateway-kill", Start: at + 20_000, End: at + 30_000, Ledger: &reports.Ledger{}},
		reports.Phase{Name: "recover gateway-kill", Start: at + 30_000, End: at + 45_000, Ledger: &reports.Ledger{}})
	for i := range r.Faults {
		r.Faults[i].At, r.Faults[i].Window = 20_000, 25_000
	}
	html, err := r.HTML()
	if err != nil {
		t.Fatal(err)
	}
	page := string(html)
	charts := strings.Count(page, `"band measure"`)
	if charts == 0 {
		t.Fatal("no chart has a band of the measured phase")
	}
	for _, kind := range []string{"hold", "recover"} {
		if n := strings.Count(page, `"band `+kind+`"`); n != charts {
			t.Errorf("%d bands %s in %d charts", n, kind, charts)
		}
		if !strings.Contains(page, ">"+kind+"<") {
			t.Errorf("no band is named %s", kind)
		}
	}
}
