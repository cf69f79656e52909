package reports

import (
	"fmt"
	"io"
	"slices"
	"time"

	"firetower/simulator/latency"
)

// Interval is one line of the histogram log: what was recorded under a tag
// between two moments.
type Interval struct {
	// Tag is "<phase>.<distribution>", as "measure.delivery".
	Tag      string
	From, To time.Time
	Recorder *latency.Recorder
}

// WriteLog writes the histogram log, in the format that HistogramLogProcessor and
// the viewers of the HdrHistogram project open. Lines are in order of time.
func WriteLog(w io.Writer, r *Result, intervals []Interval) error {
	log, err := latency.NewLogWriter(w, r.Started,
		"firetower "+r.ID+" "+r.Target,
		"tags are <phase>.<distribution>; values are nanoseconds, Interval_Max is milliseconds")
	if err != nil {
		return err
	}
	sorted := slices.Clone(intervals)
	slices.SortStableFunc(sorted, func(a, b Interval) int { return a.From.Compare(b.From) })
	for _, i := range sorted {
		if i.Recorder == nil || i.Recorder.Count() == 0 {
			continue
		}
		if err := log.Interval(i.Tag, i.From, i.To, i.Recorder); err != nil {
			return fmt.Errorf("tag %s: %w", i.Tag, err)
		}
	}
	return nil
}
