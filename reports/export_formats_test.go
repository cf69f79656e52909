package reports_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/perf/benchfmt"

	"firetower/reports"
)

func export(t *testing.T, format string, runs ...*reports.Result) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := reports.Export(&b, format, runs); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// benchstat's own reader takes the lines, with the figures in its units.
func TestExportForBenchstat(t *testing.T) {
	t.Parallel()
	a, b, bad, cut := rich(t, 20), rich(t, 20), rich(t, 20), rich(t, 20)
	b.Target, b.Environment.Commit = "firetower@/tmp/a build", "other"
	bad.Verdict, bad.Reasons = reports.Invalid, []string{"the clock ran backwards"}
	cut.Interrupted = true
	text := export(t, "benchfmt", a, b, bad, cut)
	in := benchfmt.NewReader(bytes.NewReader(text), "x")
	var names []string
	for in.Scan() {
		switch rec := in.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Errorf("%v\n%s", rec, text)
		case *benchfmt.Result:
			names = append(names, rec.Name.String())
			p99, ok := rec.Value("sec/delivery-p99")
			if want := *a.Delivery.P99 / 1e3; !ok || p99 < want*0.999999 || p99 > want*1.000001 {
				t.Errorf("p99 is %v s, want %v", p99, want)
			}
			if per, ok := rec.Value("deliveries/s"); !ok || per != 9950 {
				t.Errorf("deliveries/s are %v", per)
			}
			if n := rec.Iters; n != 1 {
				t.Errorf("%d iterations", n)
			}
			if got := rec.GetConfig("goos"); got != "linux" {
				t.Errorf("goos is %q", got)
			}
		}
	}
	if err := in.Err(); err != nil {
		t.Error(err)
	}
	if want := []string{"Fanout/scenario=rich/target=firetower-2", "Fanout/scenario=rich/target=firetower@_tmp_a_build-2"}; !slices.Equal(names, want) {
		t.Errorf("benchmarks are %q, want %q", names, want)
	}
	if m := in.Units().GetAssumption("deliveries/s"); m == nil {
		t.Error("the units have no metadata")
	}
	if !bytes.Contains(text, []byte("is left out: invalid: the clock ran backwards")) {
		t.Error("the invalid run is not mentioned")
	}
}

func TestExportAsCSV(t *testing.T) {
	t.Parallel()
	r := rich(t, 20)
	rows, err := csv.NewReader(bytes.NewReader(export(t, "csv", r, sample(t)))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, name := range rows[0] {
		at[name] = i
	}
	find := func(run, kind, series, statistic string) (values []string) {
		for _, row := range rows[1:] {
			if row[at["run"]] == run && row[at["kind"]] == kind && row[at["series"]] == series && row[at["statistic"]] == statistic {
				values = append(values, row[at["t_s"]]+" "+row[at["value"]]+" "+row[at["unit"]])
			}
		}
		return values
	}
	for _, tt := range []struct {
		run, kind, series, statistic string
		n                            int
		first                        string
	}{
		{r.ID, "scalar", "lost", "", 1, " 4812 "},
		{r.ID, "scalar", "capacity.messages_per_second", "", 1, " 140 1/s"},
		{r.ID, "scalar", "fault.recovery", "", 1, " 2310 ms"},
		{r.ID, "distribution", "connect", "count", 1, " 10000 "},
		{r.ID, "second", "delivered", "", 25, ""},
		{r.ID, "second", "delivery", "p99", 24, ""}, // one second has none
		{r.ID, "process", "worker-0", "cores", 40, ""},
		{r.ID, "server", "gateway-1 goroutines", "", 40, "0 42 "},
		{sample(t).ID, "scalar", "lost", "", 1, " 1 "},
		{sample(t).ID, "scalar", "capacity.messages_per_second", "", 0, ""},
		{sample(t).ID, "distribution", "first", "count", 0, ""},
	} {
		got := find(tt.run, tt.kind, tt.series, tt.statistic)
		if len(got) != tt.n || tt.first != "" && got[0] != tt.first {
			t.Errorf("%s %s %s %s: %d rows %.3q, want %d beginning with %q", tt.run, tt.kind, tt.series, tt.statistic, len(got), got, tt.n, tt.first)
		}
	}
}

// tags are the tags of a log with how many values each has, as the HdrHistogram
// project's own reader finds them.
func tags(t *testing.T, log []byte) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	in := hdrhistogram.NewHistogramLogReader(bytes.NewReader(log))
	for {
		h, err := in.NextIntervalHistogram()
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if h == nil {
			return out
		}
		out[h.Tag()] += h.TotalCount()
	}
}

func TestExportAsHistogramLog(t *testing.T) {
	t.Parallel()
	r := rich(t, 20)
	got := tags(t, export(t, "hlog", r))
	for tag, want := range map[string]int64{
		"delivery": r.Delivery.Count, "delivery.raw": r.DeliveryActual.Count, "completion": r.Completion.Count, "first": r.First.Count,
		"lag": r.PublishLag.Count, "ack": r.PublishAck.Count, "connect": r.Connect.Count, "subscribe": r.Subscribe.Count,
		"reconnect": r.Reconnect.Count, "join": r.Join.Count, "spread": r.Spread.Count,
	} {
		if got[tag] != want {
			t.Errorf("%q has %d values, want %d (of %v)", tag, got[tag], want, got)
		}
	}
	if err := reports.Export(io.Discard, "hlog", []*reports.Result{r, r}); err == nil {
		t.Error("two runs went into one log")
	}
}

// What lies in a run's folder has a line a second, and the other phases apart.
func TestTagsOfALog(t *testing.T) {
	t.Parallel()
	r := rich(t, 20)
	var intervals []reports.Interval
	for _, tag := range []string{"measure.delivery", "measure.delivery", "warmup.delivery", "measure.delivery_actual", "measure.publish_lag", "connect.connect", "recover.delivery"} {
		intervals = append(intervals, reports.Interval{Tag: tag, From: r.Started, To: r.Ended, Recorder: r.Histograms["first"]})
	}
	var b bytes.Buffer
	if err := reports.WriteLog(&b, r, intervals); err != nil {
		t.Fatal(err)
	}
	n := r.First.Count
	want := map[string]int64{"delivery": 2 * n, "warmup.delivery": n, "delivery.raw": n, "lag": n, "connect": n, "recover.delivery": n}
	got := tags(t, b.Bytes())
	for tag, count := range want {
		if got[tag] != count {
			t.Errorf("%q has %d values, want %d", tag, got[tag], count)
		}
	}
	if len(got) != len(want) {
		t.Errorf("tags are %v", got)
	}
}

func TestExportRefuses(t *testing.T) {
	t.Parallel()
	if err := reports.Export(io.Discard, "xml", nil); !errors.Is(err, reports.ErrFormat) || !strings.Contains(err.Error(), "csv, benchfmt, hlog") {
		t.Errorf("xml: %v", err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full")
	}
	defer full.Close()
	for _, format := range reports.Formats() {
		if err := reports.Export(full, format, []*reports.Result{rich(t, 20)}); err == nil {
			t.Errorf("%s: a full disk was not noticed", format)
		}
	}
}
