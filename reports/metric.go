package reports

import (
	"fmt"
	"slices"
	"strings"
)

// Metric looks a figure up by its name in the document, as thresholds name it:
// "lost", "delivery.p99.9", "server.cpu_us_per_delivery". When the run has no such
// figure, reason says why.
func (r *Result) Metric(name string) (value float64, reason string) {
	if get, ok := scalars[name]; ok {
		return get(r)
	}
	dist, point, ok := strings.Cut(name, ".")
	if !ok {
		return 0, fmt.Sprintf("a result has no %q", name)
	}
	d := r.distribution(dist)
	if d == nil {
		return 0, fmt.Sprintf("a result has no %q", dist)
	}
	return d.Get(point)
}

// distributionNames are the distributions of a result, in the order of reports.
var distributionNames = []string{
	"delivery", "delivery_actual", "first", "completion", "spread", "publish_ack", "publish_lag", "connect",
	"subscribe", "reconnect", "join",
}

// distribution is a distribution by its name in the document.
func (r *Result) distribution(name string) *Distribution {
	fields := []*Distribution{
		&r.Delivery, &r.DeliveryActual, &r.First, &r.Completion, &r.Spread, &r.PublishAck, &r.PublishLag, &r.Connect,
		&r.Subscribe, &r.Reconnect, &r.Join,
	}
	if i := slices.Index(distributionNames, name); i >= 0 {
		return fields[i]
	}
	return nil
}

// scalars are the single figures of a result, by the names that scenarios know.
var scalars = map[string]func(*Result) (float64, string){
	"expected":              count(func(r *Result) int64 { return r.Expected }),
	"received":              count(func(r *Result) int64 { return r.Received }),
	"lost":                  count(func(r *Result) int64 { return r.Lost }),
	"lost_unexplained":      count(func(r *Result) int64 { return r.LostUnexplained }),
	"duplicated":            count(func(r *Result) int64 { return r.Duplicated }),
	"reordered":             count(func(r *Result) int64 { return r.Reordered }),
	"late":                  count(func(r *Result) int64 { return r.Late }),
	"corrupt":               count(func(r *Result) int64 { return r.Corrupt }),
	"foreign":               count(func(r *Result) int64 { return r.Foreign }),
	"negative":              count(func(r *Result) int64 { return r.Negative }),
	"disconnected":          count(func(r *Result) int64 { return r.Disconnected }),
	"incomplete":            count(func(r *Result) int64 { return r.Incomplete }),
	"publisher.dropped":     count(func(r *Result) int64 { return r.Publisher.Dropped }),
	"publisher.refused":     count(func(r *Result) int64 { return r.Publisher.Refused }),
	"reach":                 maybe(func(r *Result) *float64 { return r.Reach }),
	"deliveries_per_second": func(r *Result) (float64, string) { return r.DeliveriesPerSecond, "" },
	"slow.disconnected": func(r *Result) (float64, string) {
		if r.Slow == nil {
			return 0, "the scenario has no slow clients"
		}
		return float64(r.Slow.Disconnected), ""
	},
	"fault.recovery":         faults(func(f Fault) *float64 { return f.Recovered }, "the run did not recover"),
	"reconnects":             count(func(r *Result) int64 { return r.Reconnects }),
	"connect_seconds":        func(r *Result) (float64, string) { return r.ConnectSeconds, "" },
	"connections_per_second": func(r *Result) (float64, string) { return r.ConnectionsPerSecond, "" },
	"skew_p99":               maybe(func(r *Result) *float64 { return r.SkewP99 }),
	"churn.lost": func(r *Result) (float64, string) {
		if r.Churn == nil {
			return 0, "the scenario has no churning topics"
		}
		return float64(r.Churn.Lost), ""
	},
	"churn.changes": func(r *Result) (float64, string) {
		if r.Churn == nil {
			return 0, "the scenario has no churning topics"
		}
		return float64(r.Churn.Changes), ""
	},
	"fault.innocent.p99":  innocents(func(f Fault) *float64 { return p99(f.Innocent) }),
	"fault.reconnected":   faults(func(f Fault) *float64 { return f.Reconnected }, "not every client came back"),
	"fault.steady":        faults(func(f Fault) *float64 { return f.Steady }, "the latency did not come back"),
	"fault.lost_innocent": innocents(func(f Fault) *float64 { n := float64(f.LostInnocent); return &n }),
	"capacity.messages_per_second": func(r *Result) (float64, string) {
		if r.Capacity == nil {
			return 0, "the scenario does not search for its capacity"
		}
		return r.Capacity.MessagesPerSecond, ""
	},
	"server.leaked_descriptors": func(r *Result) (float64, string) {
		if r.Leave == nil {
			return 0, "was not looked at"
		}
		return float64(r.Leave.LeakedDescriptors), ""
	},
	"server.leaked_goroutines": func(r *Result) (float64, string) {
		if r.Leave == nil {
			return 0, "was not looked at"
		}
		return float64(r.Leave.LeakedGoroutines), ""
	},
	"server.rss_peak_bytes":           func(r *Result) (float64, string) { return float64(r.Server.RSSPeak), "" },
	"server.cpu_us_per_delivery":      maybe(func(r *Result) *float64 { return r.Server.CPUMicrosPerDelivery }),
	"server.rss_bytes_per_connection": maybe(func(r *Result) *float64 { return r.Server.RSSBytesPerConnection }),
}

func count(get func(*Result) int64) func(*Result) (float64, string) {
	return func(r *Result) (float64, string) { return float64(get(r)), "" }
}

func maybe(get func(*Result) *float64) func(*Result) (float64, string) {
	return func(r *Result) (float64, string) {
		if v := get(r); v != nil {
			return *v, ""
		}
		return 0, "was not measured"
	}
}

// faults is the worst of all faults.
func faults(get func(Fault) *float64, none string) func(*Result) (float64, string) {
	return func(r *Result) (float64, string) {
		if len(r.Faults) == 0 {
			return 0, "the run had no fault"
		}
		worst := 0.0
		for _, f := range r.Faults {
			v := get(f)
			if v == nil {
				return 0, none
			}
			worst = max(worst, *v)
		}
		return worst, ""
	}
}

// innocents is the worst of all faults that left some clients alone. One of which nothing
// can be told of them leaves the figure unknown.
func innocents(get func(Fault) *float64) func(*Result) (float64, string) {
	return func(r *Result) (float64, string) {
		some := Result{}
		for _, f := range r.Faults {
			if f.InnocentNote != "" {
				return 0, "of the clients that a fault did not happen to nothing is told: " + f.InnocentNote
			}
			if f.hasInnocents() {
				some.Faults = append(some.Faults, f)
			}
		}
		if len(r.Faults) > 0 && len(some.Faults) == 0 {
			return 0, "no client was innocent of the fault"
		}
		return faults(get, "nothing reached the clients that are innocent of the fault")(&some)
	}
}

// hasInnocents tells whether there were clients that the fault did not happen to; older
// documents do not say how many.
func (f Fault) hasInnocents() bool {
	return f.InnocentClients > 0 || f.Innocent != nil || f.LostInnocent > 0
}

func p99(d *Distribution) *float64 {
	if d == nil {
		return nil
	}
	return d.P99
}
