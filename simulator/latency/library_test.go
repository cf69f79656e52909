package latency_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"firetower/simulator/latency"
)

// The pitfalls of hdrhistogram-go that HARNESS §6.1 lists, and that this package leans on being as they are in the
// version that go.mod pins. A newer version that changes one of them should be met by a failing test.
func TestLibraryPitfalls(t *testing.T) {
	geometry := func() *hdrhistogram.Histogram {
		return hdrhistogram.New(latency.Lowest, latency.Highest, latency.Digits)
	}
	t.Run("negative values are refused", func(t *testing.T) {
		h := geometry()
		if err := h.RecordValue(-1); err == nil || h.TotalCount() != 0 {
			t.Errorf("RecordValue(-1): %v, total %d", err, h.TotalCount())
		}
	})
	t.Run("values far out of range are refused", func(t *testing.T) {
		h := geometry()
		if err := h.RecordValue(10 * latency.Highest); err == nil {
			t.Error("RecordValue(600s) succeeds")
		}
	})
	t.Run("merge reports what it drops", func(t *testing.T) {
		from := hdrhistogram.New(1, 100*latency.Highest, latency.Digits)
		if err := from.RecordValue(90 * latency.Highest); err != nil {
			t.Fatal(err)
		}
		if dropped := geometry().Merge(from); dropped != 1 {
			t.Errorf("Merge dropped %d, want 1", dropped)
		}
	})
	t.Run("maximum and minimum are bucket edges", func(t *testing.T) {
		h := geometry()
		if err := h.RecordValue(1_000_000_001); err != nil {
			t.Fatal(err)
		}
		if h.Max() == 1_000_000_001 && h.Min() == 1_000_000_001 {
			t.Error("the histogram is exact now: Recorder need not keep minimum and maximum")
		}
	})
	t.Run("values that are equal within three digits share a bucket", func(t *testing.T) {
		h := geometry()
		if !h.ValuesAreEquivalent(1_000_000_000, 1_000_000_001) || h.ValuesAreEquivalent(1_000_000_000, 1_001_000_000) {
			t.Error("the geometry does not give three digits")
		}
	})
	t.Run("dense memory is what the design counts on", func(t *testing.T) {
		if got := geometry().ByteSize(); got < 140<<10 || got > 160<<10 {
			t.Errorf("a histogram takes %d bytes, want about 144 KiB", got)
		}
	})
}

// The log is what HistogramLogProcessor and the HDR viewers read: header lines in their order, times from the start
// time, milliseconds in the third column, and a tag in front.
func TestLogWriter(t *testing.T) {
	var out bytes.Buffer
	start := time.Date(2026, 3, 4, 5, 6, 7, 890_000_000, time.UTC)
	log, err := latency.NewLogWriter(&out, start, "firetower 10k-group", "two\nlines")
	if err != nil {
		t.Fatal(err)
	}
	r := latency.NewRecorder()
	r.RecordN(2_000_000, 3)
	if err := log.Interval("delivery", start, start.Add(time.Second), r); err != nil {
		t.Fatal(err)
	}
	if err := log.Interval("lag", start.Add(time.Second), start.Add(2*time.Second), latency.NewRecorder()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	wantPrefixes := []string{
		"# firetower 10k-group", "# two lines", "#[Histogram log format version 1.3]",
		"#[StartTime: 1772600767 (seconds since epoch), 2026-03-04T05:06:07Z]",
		`"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"`,
		"Tag=delivery,0.890000,1.000000,2.0", "Tag=lag,1.890000,1.000000,0.000",
	}
	if len(lines) != len(wantPrefixes) {
		t.Fatalf("%d lines:\n%s", len(lines), out.String())
	}
	for i, want := range wantPrefixes {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d is\n%s\nwant it to begin with\n%s", i, lines[i], want)
		}
	}

	reader := hdrhistogram.NewHistogramLogReader(bytes.NewReader(out.Bytes()))
	h, err := reader.NextIntervalHistogram()
	if err != nil || h == nil {
		t.Fatalf("the log does not read back: %v", err)
	}
	if h.Tag() != "delivery" || h.TotalCount() != 3 || h.StartTimeMs() != start.UnixMilli() {
		t.Errorf("read back tag %q, count %d, start %d, want %d", h.Tag(), h.TotalCount(), h.StartTimeMs(), start.UnixMilli())
	}
}

func TestLogWriterRefusesTags(t *testing.T) {
	log, err := latency.NewLogWriter(&bytes.Buffer{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, tag := range map[string]string{
		"empty": "", "comma first": ",a", "comma last": "a,", "space": "a b", "line feed last": "a\n", "control": "a\x7f",
	} {
		if err := log.Interval(tag, time.Now(), time.Now(), latency.NewRecorder()); err == nil {
			t.Errorf("%s: tag %q is accepted", name, tag)
		}
	}
}
