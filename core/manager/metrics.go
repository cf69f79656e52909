package manager

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"firetower/core/histogram"
)

// collector shows a manager's state and counters to Prometheus, read when asked:
// nothing is counted twice.
type collector struct {
	m *Manager

	gateways, topics, subscribers, queueMessages, queueBytes                                           *prometheus.Desc
	publishes, queued, direct, deliveries, drops, evictions, linkBytes, missed, build, started, stages *prometheus.Desc
}

// register puts the manager's metrics into its registry.
func (m *Manager) register() error {
	if m.metrics == nil {
		m.metrics = prometheus.NewRegistry()
		for _, c := range []prometheus.Collector{
			collectors.NewGoCollector(),
			collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		} {
			if err := m.metrics.Register(c); err != nil {
				return err
			}
		}
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("firetower_manager_"+name, help, labels, nil)
	}
	return m.metrics.Register(&collector{
		m:             m,
		gateways:      desc("gateways", "Gateways by state: live ones hold a link, detached ones lost it and may come back.", "state"),
		topics:        desc("topics", "Topics with at least one subscriber."),
		subscribers:   desc("subscribers", "Subscriptions, over all topics and gateways."),
		queueMessages: desc("link_queue_messages", "Packets that wait for a gateway.", "gateway"),
		queueBytes:    desc("link_queue_bytes", "Bytes that wait for a gateway.", "gateway"),
		publishes:     desc("publishes_total", "Messages published, by the way in.", "via"),
		queued:        desc("queued_total", "Messages queued to gateways: one publish counts once per gateway."),
		direct:        desc("direct_total", "Messages that were written to an idle link by who published them, a part of queued_total."),
		deliveries:    desc("deliveries_total", "Subscribers that the published messages addressed."),
		drops:         desc("drops_total", "Messages given up, by reason.", "reason"),
		evictions:     desc("evictions_total", "Links that the manager ended, by reason.", "reason"),
		linkBytes:     desc("link_bytes_total", "Bytes written to links."),
		missed:        desc("missed_total", "Messages that gateways should have had on links that they lost, as told when they came back."),
		build:         desc("build_info", "Always 1; the version is the label.", "version"),
		stages:        desc("stage_seconds", "Time of a message in each stage, by gateway that it went to: route until it was queued to the link, link until it was written to the socket.", "stage"),
		started:       desc("start_time_seconds", "When the manager was made, in Unix time."),
	})
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.gateways, c.topics, c.subscribers, c.queueMessages, c.queueBytes, c.publishes, c.queued, c.direct,
		c.deliveries, c.drops, c.evictions, c.linkBytes, c.missed, c.build, c.started, c.stages,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	states := map[sessionState]int{sessionLive: 0, sessionDetached: 0}
	seen := make(map[string]bool)
	for _, g := range c.m.bucket.gateways() {
		states[g.state]++
		if seen[g.id] {
			continue // a ClusterID that is spelled as a legacy gateway's address: one series each
		}
		seen[g.id] = true
		messages, bytes := g.queue.size()
		gauge(c.queueMessages, float64(messages), g.id)
		gauge(c.queueBytes, float64(bytes), g.id)
	}
	for state, n := range states {
		gauge(c.gateways, float64(n), state.String())
	}
	gauge(c.topics, float64(c.m.registry.topics.Load()))
	gauge(c.subscribers, float64(c.m.registry.subscribers.Load()))
	for via, n := range c.m.counter.publishes {
		count(c.publishes, n.Load(), string(via))
	}
	count(c.queued, c.m.counter.queued.Load())
	count(c.direct, c.m.counter.direct.Load())
	count(c.deliveries, c.m.counter.deliveries.Load())
	for reason, n := range c.m.counter.drops {
		count(c.drops, n.Load(), string(reason))
	}
	for reason, n := range c.m.counter.evictions {
		count(c.evictions, n.Load(), string(reason))
	}
	count(c.linkBytes, c.m.counter.linkBytes.Load())
	count(c.missed, c.m.counter.missed.Load())
	for stage, h := range map[string]*histogram.Histogram{"route": &c.m.counter.route, "link": &c.m.counter.link} {
		var counts histogram.Counts
		counts.Add(h)
		ch <- counts.Metric(c.stages, stage)
	}
	gauge(c.build, 1, c.m.opt.Version)
	gauge(c.started, float64(c.m.started.UnixNano())/1e9)
}
