package loadtest

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// counterSet holds what one server publishes, by name and labels as in the text
// format: `firetower_gateway_drops_total{reason="slow"}`.
type counterSet map[string]float64

// scrapes are the counters of some servers, in their order. That of a server that
// did not answer is nil.
type scrapes []counterSet

// sum adds up what the servers count.
func (s scrapes) sum() counterSet {
	sum := counterSet{}
	for _, m := range s {
		for k, v := range m {
			sum[k] += v
		}
	}
	return sum
}

const (
	// maxMetrics bounds what is read of one server.
	maxMetrics = 8 << 20
	// scrapeTimeout bounds the wait for one at a phase's edge.
	scrapeTimeout = 2 * time.Second
)

// scraper reads metrics over connections that it keeps. Answers are not compressed,
// which would cost the server more than it saves on loopback.
type scraper struct {
	client http.Client
	query  string // of the request
}

// newScraper makes one that asks for metrics by their names, or for all when there are
// none. Servers that cannot select, as older builds, answer with all.
func newScraper(timeout time.Duration, names ...string) *scraper {
	return &scraper{
		client: http.Client{Timeout: timeout, Transport: &http.Transport{DisableCompression: true}},
		query:  url.Values{"name[]": names}.Encode(),
	}
}

func (s *scraper) close() { s.client.CloseIdleConnections() }

// scrape reads those metrics of some servers, all at once, whose name keep wants.
func (s *scraper) scrape(ctx context.Context, addrs []string, keep func(name string) bool) scrapes {
	all := make(scrapes, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() { all[i] = s.one(ctx, addr, keep) })
	}
	wg.Wait()
	return all
}

func (s *scraper) one(ctx context.Context, addr string, keep func(string) bool) counterSet {
	from := url.URL{Scheme: "http", Host: addr, Path: "/metrics", RawQuery: s.query}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), nil)
	if err != nil {
		return nil
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	m := counterSet{}
	if err := m.read(io.LimitReader(resp.Body, maxMetrics), keep); err != nil {
		return nil
	}
	return m
}

// scrape reads Firetower's own metrics of some servers, for a phase's edge. One that
// does not answer is left out: the account of a run does not depend on it.
func scrape(ctx context.Context, addrs []string) scrapes {
	s := newScraper(scrapeTimeout)
	defer s.close()
	return s.scrape(ctx, addrs, ownMetric)
}

// ownMetric tells Firetower's metrics from those of the runtime.
func ownMetric(name string) bool { return strings.HasPrefix(name, "firetower_") }

// read takes the samples whose name keep wants from the Prometheus text format.
func (m counterSet) read(r io.Reader, keep func(name string) bool) error {
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		line := scan.Text()
		end := strings.IndexAny(line, "{ #")
		if end <= 0 || !keep(line[:end]) {
			continue
		}
		// A label's value may hold spaces; the sample's value follows the last brace.
		cut := strings.LastIndexByte(line, '}') + 1
		if cut == 0 {
			cut = end
		}
		f := strings.Fields(line[cut:])
		if len(f) == 0 {
			continue
		}
		if v, err := strconv.ParseFloat(f[0], 64); err == nil {
			m[line[:cut]] += v
		}
	}
	return scan.Err()
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
