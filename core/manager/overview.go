package manager

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// overview makes what the dashboard shows. Listing topics passes over all of
// them, so it is done by one caller at a time, and the others share the result
// while it is fresh: any number of open pages costs about as much as one.
type overview struct {
	registry *topicRelevance

	mu     sync.Mutex // guards the following
	filter topicFilter
	limit  int
	rows   []topicInfo // of the last listing; never changed
	total  int64
	until  time.Time // when they are stale
}

// A listing is fresh for this long, and for listCost times as long as it took, so
// that listing takes a small share of one processor however many topics there are.
const (
	listFresh = 500 * time.Millisecond
	listCost  = 20
)

// topicFilter says which topics are listed; empty fields match all.
type topicFilter struct {
	prefix, contains string
}

func (f topicFilter) match() func(string) bool {
	if f == (topicFilter{}) {
		return nil
	}
	return func(topic string) bool {
		return strings.HasPrefix(topic, f.prefix) && strings.Contains(topic, f.contains)
	}
}

// topics lists the topics with the most subscribers, and how many match.
func (o *overview) topics(limit int, filter topicFilter) ([]topicInfo, int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	begin := time.Now()
	if o.filter == filter && o.limit == limit && begin.Before(o.until) {
		return o.rows, o.total
	}
	o.rows, o.total = o.registry.top(limit, filter.match())
	o.filter, o.limit = filter, limit
	took := time.Since(begin)
	o.until = begin.Add(max(listFresh, listCost*took))
	return o.rows, o.total
}

// The overview's JSON. Counters are totals since the manager began: the page
// makes rates of two of them and the times at which they were read.
type overviewJSON struct {
	Manager   managerJSON            `json:"manager"`
	Totals    totalsJSON             `json:"totals"`
	Counters  countersJSON           `json:"counters"`
	Drops     map[DropReason]uint64  `json:"drops"`
	Evictions map[EvictReason]uint64 `json:"evictions"`
	Gateways  []gatewayJSON          `json:"gateways"`
	Topics    []topicJSON            `json:"topics"`
	// TopicsMatched is how many topics match the filter, listed or not.
	TopicsMatched int64 `json:"topics_matched"`
}

type managerJSON struct {
	ID       string `json:"id"`
	Version  string `json:"version"`
	UptimeMS int64  `json:"uptime_ms"`
	Draining bool   `json:"draining"`
}

type totalsJSON struct {
	Topics      int64 `json:"topics"`
	Subscribers int64 `json:"subscribers"`
}

type countersJSON struct {
	Publishes  map[Via]uint64 `json:"publishes"`
	Queued     uint64         `json:"queued"`
	Deliveries uint64         `json:"deliveries"`
	LinkBytes  uint64         `json:"link_bytes"`
	Missed     uint64         `json:"missed"`
}

type gatewayJSON struct {
	ID             string `json:"id"`
	State          string `json:"state"`
	Legacy         bool   `json:"legacy"`
	Remote         string `json:"remote"`
	Version        string `json:"version"`
	StateMS        int64  `json:"state_ms"` // how long it has been in this state
	Topics         int64  `json:"topics"`
	Subscribers    int64  `json:"subscribers"`
	QueuedMessages int    `json:"queued_messages"`
	QueuedBytes    int    `json:"queued_bytes"`
	// QueueFill is how full the queue is, 0 to 1: of its two bounds the nearer.
	QueueFill float64 `json:"queue_fill"`
	Sent      uint64  `json:"sent"`
	Dropped   uint64  `json:"dropped"`
}

type topicJSON struct {
	Topic       string `json:"topic"`
	Subscribers int64  `json:"subscribers"`
	Gateways    int    `json:"gateways"`
}

// The topics that the page asks for.
const (
	defaultOverviewTopics = 50
	maxOverviewTopics     = 500
)

// serveOverview gives the page all it shows: ?limit=50&q=part-of-a-topic.
func (m *Manager) serveOverview(w http.ResponseWriter, r *http.Request) {
	limit, err := limitOf(r, defaultOverviewTopics, maxOverviewTopics)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	rows, matched := m.overview.topics(limit, topicFilter{contains: r.URL.Query().Get("q")})
	now := time.Now()
	out := overviewJSON{
		Manager: managerJSON{ID: m.id, Version: m.opt.Version, UptimeMS: now.Sub(m.started).Milliseconds(), Draining: m.draining.Load()},
		Totals:  totalsJSON{Topics: m.registry.topics.Load(), Subscribers: m.registry.subscribers.Load()},
		Counters: countersJSON{
			Publishes: values(m.counter.publishes), Queued: m.counter.queued.Load(), Deliveries: m.counter.deliveries.Load(),
			LinkBytes: m.counter.linkBytes.Load(), Missed: m.counter.missed.Load(),
		},
		Drops:         values(m.counter.drops),
		Evictions:     values(m.counter.evictions),
		Gateways:      []gatewayJSON{},
		Topics:        topicsJSON(rows),
		TopicsMatched: matched,
	}
	for _, g := range m.bucket.gateways() {
		messages, bytes := g.queue.size()
		out.Gateways = append(out.Gateways, gatewayJSON{
			ID: g.id, State: g.state.String(), Legacy: g.legacy, Remote: g.remote, Version: g.version,
			StateMS: now.Sub(g.since).Milliseconds(), Topics: g.index.topics.Load(), Subscribers: g.index.subscribers.Load(),
			QueuedMessages: messages, QueuedBytes: bytes,
			QueueFill: max(float64(messages)/float64(m.opt.QueueMessages), float64(bytes)/float64(m.opt.QueueBytes)),
			Sent:      g.sent.Load(), Dropped: g.dropped.Load(),
		})
	}
	writeJSON(w, out)
}

func topicsJSON(rows []topicInfo) []topicJSON {
	out := make([]topicJSON, len(rows)) // never null
	for i, r := range rows {
		out[i] = topicJSON{Topic: r.topic, Subscribers: r.subscribers, Gateways: r.gateways}
	}
	return out
}

func values[K comparable](counters map[K]*atomic.Uint64) map[K]uint64 {
	out := make(map[K]uint64, len(counters))
	for k, n := range counters {
		out[k] = n.Load()
	}
	return out
}
