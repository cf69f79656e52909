package latency

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// ErrTag says that a tag cannot stand in a histogram log.
var ErrTag = errors.New("histogram log tag is not usable")

// LogWriter writes recorders as lines of a histogram log (.hlog, format 1.3), which HistogramLogProcessor and the
// viewers of the HdrHistogram project open. Values are nanoseconds and the column Interval_Max is in milliseconds.
type LogWriter struct {
	out   *hdrhistogram.HistogramLogWriter
	start time.Time
}

// NewLogWriter writes the header (comments first, then format version, start time and legend: the order that the Java
// tools want) and returns a writer for the lines. Times in the log count from start, truncated to whole seconds since
// the header has no more.
func NewLogWriter(w io.Writer, start time.Time, comments ...string) (*LogWriter, error) {
	out := hdrhistogram.NewHistogramLogWriter(w)
	start = start.Truncate(time.Second)
	steps := make([]func() error, 0, len(comments)+3)
	for _, comment := range comments {
		// A comment that looks like a header line, or has lines of its own, would be read as one.
		comment = " " + strings.NewReplacer("\r", " ", "\n", " ").Replace(comment)
		steps = append(steps, func() error { return out.OutputComment(comment) })
	}
	steps = append(steps, out.OutputLogFormatVersion,
		func() error { return out.OutputStartTime(start.UnixMilli()) }, out.OutputLegend)
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, fmt.Errorf("write histogram log header: %w", err)
		}
	}
	// Lines carry seconds since the start time, so the library must subtract it.
	out.SetBaseTime(start.UnixMilli())
	return &LogWriter{out: out, start: start}, nil
}

// Interval writes one line: what r recorded between from and to, under tag. A tag is not empty and has no comma,
// space or control character ([ErrTag]; the library's own check misses the first and the last character).
func (l *LogWriter) Interval(tag string, from, to time.Time, r *Recorder) error {
	if tag == "" || strings.ContainsFunc(tag, func(c rune) bool { return c <= ' ' || c == ',' || c == 0x7f }) {
		return fmt.Errorf("%w: %q", ErrTag, tag)
	}
	// The tag and the times are fields of the histogram; a clone keeps the recorder as it was.
	hist := r.hist.Clone()
	hist.SetTag(tag)
	hist.SetStartTimeMs(from.UnixMilli())
	hist.SetEndTimeMs(to.UnixMilli())
	if err := l.out.OutputIntervalHistogram(hist); err != nil {
		return fmt.Errorf("write histogram log line %q: %w", tag, err)
	}
	return nil
}
