package scenarios

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"firetower/config/suggest"
)

// MetricKind is what a metric is counted in, and so which units its limit takes.
type MetricKind string

// The kinds of metrics.
const (
	// KindTime is a length of time, kept in milliseconds; limits are written "250ms".
	KindTime MetricKind = "time"
	// KindMicros is a length of time, kept in microseconds; limits are written "5.6us".
	KindMicros MetricKind = "microseconds"
	// KindBytes is a size, kept in bytes; limits are written "8KiB".
	KindBytes MetricKind = "bytes"
	// KindCount is a plain number; limits carry no unit.
	KindCount MetricKind = "count"
	// KindRate is per second; limits are written "1000/s".
	KindRate MetricKind = "rate"
	// KindRatio is a share of one; limits are written "0.999" or "99.9%".
	KindRatio MetricKind = "ratio"
)

// timeDistributions are the latencies of a result; each has the points of timePoints.
var timeDistributions = []string{
	"delivery", "delivery_actual", "first", "completion", "spread", "publish_ack", "publish_lag", "connect",
	"subscribe", "reconnect", "join",
}

var timePoints = []string{"min", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"}

// scalarMetrics are the single figures of a result.
var scalarMetrics = map[string]MetricKind{
	"expected":                        KindCount,
	"received":                        KindCount,
	"lost":                            KindCount,
	"lost_unexplained":                KindCount,
	"duplicated":                      KindCount,
	"reordered":                       KindCount,
	"late":                            KindCount,
	"corrupt":                         KindCount,
	"foreign":                         KindCount,
	"negative":                        KindCount,
	"disconnected":                    KindCount,
	"incomplete":                      KindCount,
	"reach":                           KindRatio,
	"deliveries_per_second":           KindRate,
	"publisher.dropped":               KindCount,
	"publisher.refused":               KindCount,
	"slow.disconnected":               KindCount,
	"fault.recovery":                  KindTime,
	"fault.reconnected":               KindTime,
	"fault.steady":                    KindTime,
	"fault.innocent.p99":              KindTime,
	"fault.lost_innocent":             KindCount,
	"reconnects":                      KindCount,
	"connect_seconds":                 KindCount,
	"connections_per_second":          KindRate,
	"skew_p99":                        KindCount,
	"churn.lost":                      KindCount,
	"churn.changes":                   KindCount,
	"capacity.messages_per_second":    KindRate,
	"server.leaked_descriptors":       KindCount,
	"server.leaked_goroutines":        KindCount,
	"server.rss_peak_bytes":           KindBytes,
	"server.cpu_us_per_delivery":      KindMicros,
	"server.rss_bytes_per_connection": KindBytes,
}

// Metrics lists every metric that a threshold may name.
func Metrics() []string {
	var all []string
	for name := range scalarMetrics {
		all = append(all, name)
	}
	for _, d := range timeDistributions {
		for _, p := range timePoints {
			all = append(all, d+"."+p)
		}
	}
	slices.Sort(all)
	return all
}

func metricKind(name string) (MetricKind, bool) {
	if k, ok := scalarMetrics[name]; ok {
		return k, true
	}
	dist, point, ok := strings.Cut(name, ".")
	if ok && slices.Contains(timeDistributions, dist) && slices.Contains(timePoints, point) {
		return KindTime, true
	}
	return "", false
}

// Op is a comparison.
type Op string

// opOrder lists the comparisons, two characters first, so that "<=" is not read as "<".
var opOrder = []Op{"<=", ">=", "==", "!=", "<", ">"}

// Holds tells whether value op limit is so.
func (o Op) Holds(value, limit float64) bool {
	switch o {
	case "<=":
		return value <= limit
	case ">=":
		return value >= limit
	case "==":
		return value == limit
	case "!=":
		return value != limit
	case "<":
		return value < limit
	case ">":
		return value > limit
	default:
		return false
	}
}

// Threshold is something that must hold of a result, as "delivery.p99<250ms".
type Threshold struct {
	// Text is the threshold as it was written, without spaces.
	Text   string
	Metric string
	Kind   MetricKind
	Op     Op
	// Limit is in the kind's base unit: milliseconds, microseconds, bytes, a
	// number, a number per second, or a share of one.
	Limit float64
}

// ParseThreshold reads METRIC OP LIMIT.
func ParseThreshold(text string) (Threshold, error) {
	squeezed := strings.Join(strings.Fields(text), "")
	at, op := -1, Op("")
	for _, o := range opOrder {
		if i := strings.Index(squeezed, string(o)); i >= 0 && (at < 0 || i < at) {
			at, op = i, o
		}
	}
	if at < 0 {
		return Threshold{}, fmt.Errorf(`%q is not a threshold: write METRIC OP LIMIT, as "delivery.p99<250ms" or "lost==0"`, text)
	}
	t := Threshold{Text: squeezed, Metric: squeezed[:at], Op: op}
	var ok bool
	if t.Kind, ok = metricKind(t.Metric); !ok {
		return Threshold{}, fmt.Errorf("%q: no metric %q%s", text, t.Metric, suggest.DidYouMean(t.Metric, Metrics()))
	}
	var err error
	if t.Limit, err = parseLimit(squeezed[at+len(op):], t.Kind); err != nil {
		return Threshold{}, fmt.Errorf("%q: %w", text, err)
	}
	return t, nil
}

func parseLimit(s string, kind MetricKind) (float64, error) {
	switch kind {
	case KindTime, KindMicros:
		d, err := ParseDuration(s)
		if err != nil {
			return 0, err
		}
		if kind == KindMicros {
			return float64(d.Duration) / float64(time.Microsecond), nil
		}
		return float64(d.Duration) / float64(time.Millisecond), nil
	case KindBytes:
		b, err := ParseSize(s)
		return float64(b), err
	case KindRate:
		r, err := ParseRate(s)
		return r.PerSecond, err
	case KindRatio:
		decimal := s
		if num, percent := strings.CutSuffix(s, "%"); percent {
			decimal = num + "e-2" // exact, where a division by 100 is not
		}
		v, err := strconv.ParseFloat(decimal, 64)
		if err != nil {
			return 0, fmt.Errorf(`%q is not a ratio: write it as "0.999" or "99.9%%"`, s)
		}
		return v, nil
	default:
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not a number: this metric has no unit", s)
		}
		return v, nil
	}
}

// String is the threshold as it was written.
func (t Threshold) String() string { return t.Text }

// MarshalText writes the form that a scenario file uses.
func (t Threshold) MarshalText() ([]byte, error) { return []byte(t.Text), nil }

// UnmarshalText reads what MarshalText writes.
func (t *Threshold) UnmarshalText(b []byte) (err error) {
	*t, err = ParseThreshold(string(b))
	return err
}
