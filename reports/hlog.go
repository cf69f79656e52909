package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"firetower/simulator/latency"
)

// Interval is one line of the histogram log: what was recorded under a tag
// between two moments.
type Interval struct {
	// Tag is "<phase>.<distribution>", as "measure.delivery"; see logTag for what it is
	// in the log.
	Tag      string
	From, To time.Time
	Recorder *latency.Recorder
}

// WriteLog writes the histogram log, in the format that HistogramLogProcessor and
// the viewers of the HdrHistogram project open. Lines are in order of time.
func WriteLog(w io.Writer, r *Result, intervals []Interval) error {
	log, err := latency.NewLogWriter(w, r.Started,
		"firetower "+r.ID+" "+r.Target,
		"tags without a phase are of the measured phase; values are nanoseconds, Interval_Max is milliseconds")
	if err != nil {
		return err
	}
	sorted := slices.Clone(intervals)
	slices.SortStableFunc(sorted, func(a, b Interval) int { return a.From.Compare(b.From) })
	for _, i := range sorted {
		if i.Recorder == nil || i.Recorder.Count() == 0 {
			continue
		}
		if err := log.Interval(logTag(i.Tag), i.From, i.To, i.Recorder); err != nil {
			return fmt.Errorf("tag %s: %w", logTag(i.Tag), err)
		}
	}
	return nil
}

// logNames are the distributions whose tags in a log are not their names.
var logNames = map[string]string{"delivery_actual": "delivery.raw", "publish_lag": "lag", "publish_ack": "ack"}

// logTag is the tag in the log: the distribution by itself in the phase that it is
// about (the measured one; connecting for connect), with the phase before it in any
// other. So a viewer that is asked for "delivery" shows what the report is of.
func logTag(tag string) string {
	phase, name, ok := strings.Cut(tag, ".")
	if !ok {
		return tag
	}
	if short := logNames[name]; short != "" {
		name = short
	}
	if phase == phaseMeasure || phase == name {
		return name
	}
	return phase + "." + name
}

// Intervals are the whole distributions of a result, each over the span that it is of:
// what is left of a histogram log when only the document was kept.
func (r *Result) Intervals() []Interval {
	at := func(ms float64) time.Time { return r.Started.Add(time.Duration(ms * float64(time.Millisecond))) }
	span := func(phase string) (from, to time.Time) {
		for _, p := range r.Phases {
			if p.Name == phase {
				return at(p.Start), at(p.End)
			}
		}
		return r.Started, r.Ended
	}
	var out []Interval
	for _, name := range distributionNames {
		phase := phaseMeasure
		if name == "connect" || name == "subscribe" {
			phase = "connect"
		}
		from, to := span(phase)
		if h := r.Histograms[name]; h != nil {
			tag := phase + "." + name
			if name == "subscribe" {
				tag = phaseMeasure + "." + name // is of no other phase: its tag needs none
			}
			out = append(out, Interval{Tag: tag, From: from, To: to, Recorder: h})
		}
	}
	return out
}
