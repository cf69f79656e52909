package reports

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (r *Result) tiles() []tile {
	lost := "of " + commas(r.Expected) + " expected"
	tiles := []tile{
		{"delivery p50", figureOr(r.Delivery.P50), "ms", "of " + plural(r.Delivery.Count, "delivery")},
		{"delivery p99", figureOr(r.Delivery.P99), "ms", "max " + figureOr(r.Delivery.Max) + " ms"},
		{"completion p50", figureOr(r.Completion.P50), "ms", "p99 " + figureOr(r.Completion.P99) + " ms"},
		{"lost", commas(r.Lost), "", lost},
		{"throughput", short(roundTo(r.DeliveriesPerSecond, 3)), "/s", "deliveries"},
		{"server CPU", figureOr(r.Server.CPUMicrosPerDelivery), "µs", "per delivery"},
		{"server memory", byteSizeOr(r.Server.RSSBytesPerConnection), "", "per idle connection"},
		{"load CPU", figureOr(r.Generator.CPUMicrosPerMessage), "µs", "per message received"},
	}
	if r.Delivery.Count == 0 {
		return tiles[6:7]
	}
	return tiles
}

// roundTo keeps n significant digits.
func roundTo(v float64, n int) float64 {
	var out float64
	if _, err := fmt.Sscanf(fmt.Sprintf("%.*g", n, v), "%g", &out); err != nil {
		return v
	}
	return out
}

func (r *Result) ledgerFacts() []fact {
	facts := []fact{
		{"expected", commas(r.Expected)},
		{"received, each once", commas(r.Received)},
		{"lost", commas(r.Lost)},
		{"lost, not explained by a fault", commas(r.LostUnexplained)},
		{"duplicated", commas(r.Duplicated)},
		{"reordered", commas(r.Reordered)},
		{"late", commas(r.Late)},
		{"corrupt", commas(r.Corrupt)},
		{"foreign", commas(r.Foreign)},
		{"negative latency", commas(r.Negative)},
		{"messages that did not reach all", commas(r.Incomplete) + " of " + commas(r.Messages)},
		{"reach", r.reach()},
	}
	for _, group := range []struct {
		name   string
		values map[string]float64
	}{{"server drops", r.Server.Drops}, {"server disconnects", r.Server.Disconnects}} {
		for _, reason := range slices.Sorted(maps.Keys(group.values)) {
			if v := group.values[reason]; v != 0 {
				facts = append(facts, fact{group.name + ", " + reason, commas(int64(v))})
			}
		}
	}
	return facts
}

func (r *Result) publisherFacts() []fact {
	p := r.Publisher
	return []fact{
		{"planned", commas(p.Planned)},
		{"sent", commas(p.Sent)},
		{"refused by the server", commas(p.Refused)},
		{"dropped, too late to send", commas(p.Dropped)},
		{"never acknowledged", commas(p.Unacknowledged)},
		{"acknowledged, but not for every gateway", commas(p.Missed)},
	}
}

// reasons writes a count by reason in one line.
func reasons(m map[string]int64) string {
	parts := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, commas(m[k])+" with "+k)
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func (r *Result) processTable() table {
	t := table{Head: []string{"process", "pid", "CPU s", "cores", "waited s", "memory peak", "end"}}
	for _, p := range r.Processes {
		cores := none
		if r.MeasuredSeconds > 0 {
			cores = figure(p.CPUSeconds / r.MeasuredSeconds)
		}
		t.Rows = append(t.Rows, []string{p.Name, fmt.Sprint(p.PID), figure(p.CPUSeconds), cores, figure(p.WaitSeconds), byteSize(float64(p.RSSPeak)), p.Exit})
	}
	return t
}

func (r *Result) environmentFacts() []fact {
	e := r.Environment
	facts := []fact{
		{"machine", fmt.Sprintf("%s, %d CPUs, %s, %s", e.CPU, e.CPUs, byteSize(float64(e.Memory)), e.Hostname)},
		{"system", strings.TrimSpace(e.OS + "/" + e.Arch + " " + e.Kernel)},
		{"clock", e.Clock},
		{"governor", e.Governor},
		{"cgroup", "cpu " + e.CgroupCPU + ", memory " + e.CgroupMem},
		{"open files", commas(int64(min(e.OpenFiles, 1<<62))) + " for a process"},
		{"go", fmt.Sprintf("%s, GOMAXPROCS %d, GOGC %s, GOMEMLIMIT %s", e.GoVersion, e.GOMAXPROCS, e.GOGC, e.GOMEMLIMIT)},
	}
	if r.Configuration.Server != "" {
		facts = append(facts, fact{"server", r.Configuration.Server})
	}
	if e.Commit != "" {
		commit := e.Commit
		if e.Modified {
			commit += " with changes"
		}
		facts = append(facts, fact{"commit", commit})
	}
	facts = append(facts, fact{"binary", clip(e.Binary, 16)}, fact{"CPU pressure before", e.PressureBefore})
	for _, k := range slices.Sorted(maps.Keys(e.Sysctl)) {
		facts = append(facts, fact{k, e.Sysctl[k]})
	}
	return facts
}
