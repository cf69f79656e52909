package loadtest

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// counterSet holds the counters that a server publishes, by name and labels as in the
// text format: `firetower_gateway_drops_total{reason="slow"}`. Those of several
// servers are added up.
type counterSet map[string]float64

// maxMetrics bounds what is read of one server.
const maxMetrics = 8 << 20

// scrape reads the metrics of some servers. One that does not answer is left out:
// the account of a run does not depend on it.
func scrape(ctx context.Context, addrs []string) counterSet {
	sum := counterSet{}
	client := http.Client{Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	for _, addr := range addrs {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
		if err != nil {
			continue
		}
		resp, err := client.Do(req)
		if err != nil {
			continue
		}
		if resp.StatusCode == http.StatusOK {
			sum.read(io.LimitReader(resp.Body, maxMetrics))
		}
		_ = resp.Body.Close() // only read
	}
	return sum
}

// read adds the samples of Firetower's own metrics from the Prometheus text format.
func (m counterSet) read(r io.Reader) {
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		line := scan.Text()
		if !strings.HasPrefix(line, "firetower_") {
			continue
		}
		// A label's value may hold spaces; the sample's value follows the last brace.
		cut := strings.LastIndexByte(line, '}') + 1
		if cut == 0 {
			cut = strings.IndexByte(line, ' ')
		}
		if cut <= 0 || cut >= len(line) {
			continue
		}
		f := strings.Fields(line[cut:])
		if len(f) == 0 {
			continue
		}
		if v, err := strconv.ParseFloat(f[0], 64); err == nil {
			m[line[:cut]] += v
		}
	}
}

// grown is how much the counters with a name grew, by the value of one label;
// those that did not are left out.
func grown(from, to counterSet, name, label string) map[string]float64 {
	out := map[string]float64{}
	for key, v := range to {
		rest, ok := strings.CutPrefix(key, name)
		if !ok || (rest != "" && rest[0] != '{') {
			continue
		}
		by := growth(from[key], v)
		if by == 0 {
			continue
		}
		out[labelValue(rest, label)] += by
	}
	return out
}

// labelValue is the value of a label in `{a="x",b="y"}`, or "all" when there is none.
func labelValue(labels, label string) string {
	_, rest, ok := strings.Cut(labels, label+`="`)
	if !ok {
		return "all"
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// totals is how much every plain counter grew, its labels added up.
func totals(from, to counterSet) map[string]float64 {
	out := map[string]float64{}
	for key, v := range to {
		name, _, _ := strings.Cut(key, "{")
		if by := growth(from[key], v); by != 0 && strings.HasSuffix(name, "_total") {
			out[name] += by
		}
	}
	return out
}

// growth is how much a counter grew; one that fell belongs to a process that was
// restarted in between and counts from zero.
func growth(from, to float64) float64 {
	if to < from {
		return to
	}
	return to - from
}
