package reports

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"firetower/reports/stats"
)

// WithinRun is how solid the delivery p99 of a single run is, by that run alone. The
// next start commonly differs by more.
type WithinRun struct {
	// P99, and Low to High its interval of 95 %, are milliseconds.
	P99  float64 `json:"p99"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// Seconds of the measured phase were resampled in blocks of Block.
	Seconds int `json:"seconds"`
	Block   int `json:"block"`
}

// blockSeconds is the length of the blocks: longer than a collection or a stall, and
// so short that a minute has a dozen.
const blockSeconds = 5

// Within reads the seconds of a run's histogram log and resamples them. It is nil for
// a run of fewer than two blocks, or without the log.
func Within(dir string) (*WithinRun, error) {
	// Logs of older builds have the phase in every tag; a log has one form or the other.
	seconds, err := readIntervals(filepath.Join(dir, LogFile), "delivery", "measure.delivery")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // there is nothing to say
	}
	if err != nil {
		return nil, err
	}
	e, err := stats.BlockQuantile(seconds, blockSeconds, 0.99, stats.DefaultBootstrap())
	if errors.Is(err, stats.ErrBootstrap) {
		return nil, nil //nolint:nilnil // as above
	}
	if err != nil {
		return nil, err
	}
	return &WithinRun{P99: Millis(int64(e.Value)), Low: Millis(int64(e.Low)), High: Millis(int64(e.High)), Seconds: len(seconds), Block: blockSeconds}, nil
}

// readIntervals reads the histograms with any of the tags from a histogram log, in
// order of time.
func readIntervals(path string, tags ...string) ([]stats.Histogram, error) {
	data, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("read histogram log: %w", err)
	}
	// The reader decodes every line; the other tags are left out before.
	var lines bytes.Buffer
	scanner := bufio.NewScanner(bytes.NewReader(data))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		line := scanner.Text()
		if strings.HasPrefix(line, "#") || slices.ContainsFunc(tags, func(tag string) bool { return strings.HasPrefix(line, "Tag="+tag+",") }) {
			lines.WriteString(line + "\n")
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read histogram log %s: %w", path, err)
	}
	reader := hdrhistogram.NewHistogramLogReader(&lines)
	var out []stats.Histogram
	for {
		h, err := reader.NextIntervalHistogram()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read histogram log %s: %w", path, err)
		}
		if h == nil {
			return out, nil
		}
		var s stats.Histogram
		for _, b := range h.Distribution() {
			if b.Count > 0 {
				s = append(s, stats.Bin{Value: float64(b.To), Count: b.Count})
			}
		}
		out = append(out, s)
	}
}

// String says it for people.
func (w *WithinRun) String() string {
	return fmt.Sprintf("delivery p99 %s ms (%s to %s) within this run alone, by blocks of %d of its %d seconds",
		figure(w.P99), figure(w.Low), figure(w.High), w.Block, w.Seconds)
}
