package gateway

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"firetower/core/histogram"
)

// counter is an atomic on a cache line of its own, since the consumers of all
// Buckets add to the same few.
type counter struct {
	atomic.Int64
	_ [56]byte
}

// metrics are the gateway's counts. They are plain atomics, which a collector
// reads when it is asked.
type metrics struct {
	deliveries     counter
	deliveredBytes counter
	writes         counter
	received       counter
	unmatched      counter
	backlogged     counter
	backlogBytes   counter
	connected      counter
	badRequests    counter
	// forbiddenSubscribe and forbiddenPublish count topics that were refused, or whole requests.
	forbiddenSubscribe, forbiddenPublish counter
	// unauthorized counts new tokens that were refused.
	unauthorized   counter
	linkReconnects counter
	linkMissed     counter
	syncCalls      counter
	published      counter
	// connectedCompressed counts connections that negotiated compression.
	connectedCompressed counter
	// compressed counts messages that were compressed, incompressible those that would
	// not shrink; the time, in ns, is that of both.
	compressed, incompressible, compressInput, compressOutput, compressTime counter

	backlogWait histogram.Histogram
	drops       map[DropReason]*atomic.Int64
	disconnects map[DisconnectReason]*atomic.Int64
	refusals    map[RefusalReason]*atomic.Int64
	edge        edgeMetrics
}

func newMetrics() *metrics {
	m := &metrics{
		drops:       make(map[DropReason]*atomic.Int64, len(dropReasons)),
		disconnects: make(map[DisconnectReason]*atomic.Int64, len(disconnectReasons)),
		refusals:    countsOf(refusalReasons),
		edge:        newEdgeMetrics(),
	}
	for _, r := range dropReasons {
		m.drops[r] = new(atomic.Int64)
	}
	for _, r := range disconnectReasons {
		m.disconnects[r] = new(atomic.Int64)
	}
	return m
}

func (m *metrics) drop(why DropReason, n int) {
	if n > 0 {
		m.drops[why].Add(int64(n))
	}
}

func (m *metrics) disconnect(why DisconnectReason) { m.disconnects[why].Add(1) }

// Stats are a gateway's counts at one moment.
type Stats struct {
	Connections, Subscriptions, Topics int64
	// Received counts messages from the manager, Deliveries messages written to
	// connections, Writes the system calls' worth of joined messages.
	Received, Deliveries, Writes int64
	// Backlogged counts connections that have a backlog now, BacklogBytes its size.
	Backlogged, BacklogBytes int64
	// Reading counts connections that something is being read from, or that have sent a
	// part of a frame.
	Reading int64
	// CentralQueue counts messages that wait for a Bucket or are being written.
	CentralQueue int64
	// CompressedConnections counts connections, since the start, that negotiated
	// compression; Compressed and Incompressible messages that were compressed, once
	// for all receivers, and that would not shrink; CompressInput and
	// CompressOutput the former's bytes before and after.
	CompressedConnections, Compressed, Incompressible, CompressInput, CompressOutput int64
	// SyncCalls counts the calls that told the manager of topics.
	SyncCalls      int64
	LinkUp         bool
	LinkReconnects int64
	LinkMissed     int64
	// ForbiddenSubscribes and ForbiddenPublishes count topics that clients were refused,
	// Unauthorized new tokens of theirs.
	ForbiddenSubscribes, ForbiddenPublishes, Unauthorized int64

	Drops       map[DropReason]int64
	Disconnects map[DisconnectReason]int64
	// Refusals counts requests to connect that were refused, by reason.
	Refusals map[RefusalReason]int64
	// Edge counts what ended before the request.
	Edge EdgeStats
}

// Stats returns the counts.
func (g *Gateway) Stats() Stats {
	m := g.metrics
	s := Stats{
		Connections:         g.towers.count.Load(),
		Subscriptions:       g.towers.index.subs.Load(),
		Topics:              g.towers.index.size.Load(),
		Received:            m.received.Load(),
		Deliveries:          m.deliveries.Load(),
		Writes:              m.writes.Load(),
		Backlogged:          m.backlogged.Load(),
		BacklogBytes:        m.backlogBytes.Load(),
		Reading:             g.readers.lent.Load(),
		CentralQueue:        int64(g.towers.central.waiting()),
		SyncCalls:           m.syncCalls.Load(),
		LinkUp:              g.linked(),
		LinkReconnects:      m.linkReconnects.Load(),
		LinkMissed:          m.linkMissed.Load(),
		ForbiddenSubscribes: m.forbiddenSubscribe.Load(),
		ForbiddenPublishes:  m.forbiddenPublish.Load(),
		Unauthorized:        m.unauthorized.Load(),

		Drops:       make(map[DropReason]int64),
		Disconnects: make(map[DisconnectReason]int64),
		Refusals:    valuesOf(m.refusals),
		Edge:        g.edgeStats(),

		CompressedConnections: m.connectedCompressed.Load(),
		Compressed:            m.compressed.Load(),
		Incompressible:        m.incompressible.Load(),
		CompressInput:         m.compressInput.Load(),
		CompressOutput:        m.compressOutput.Load(),
	}
	for r, n := range m.drops {
		s.Drops[r] = n.Load()
	}
	for r, n := range m.disconnects {
		s.Disconnects[r] = n.Load()
	}
	return s
}

// collector shows the counts to Prometheus.
type collector struct {
	gateway   *Gateway
	plain     []plainMetric
	drops     *prometheus.Desc
	closes    *prometheus.Desc
	bucketQ   *prometheus.Desc
	stages    *prometheus.Desc
	broadcast *prometheus.Desc
	edge      edgeDescs
}

type plainMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func() float64
}

func newCollector(g *Gateway) *collector {
	const space = "firetower_gateway_"
	c := &collector{
		gateway: g,
		drops:   prometheus.NewDesc(space+"drops_total", "Messages not delivered, by reason.", []string{"reason"}, nil),
		closes:  prometheus.NewDesc(space+"disconnects_total", "Connections ended, by reason.", []string{"reason"}, nil),
		bucketQ: prometheus.NewDesc(space+"bucket_queue", "Messages that wait for the consumers of a bucket.", []string{"bucket"}, nil),
		stages: prometheus.NewDesc(space+"stage_seconds",
			"Time of a delivery in each stage: central until handed to the buckets, bucket until its consumer began, fanout until the subscriber was written to, backlog until its socket took the rest.",
			[]string{"stage"}, nil),
		broadcast: prometheus.NewDesc(space+"broadcast_seconds",
			"Time from a message's arrival until the last subscriber of a bucket, or of those written together, was written to; by message and bucket.", nil, nil),
		edge: newEdgeDescs(space),
	}
	add := func(kind prometheus.ValueType, name, help string, read func() float64) {
		c.plain = append(c.plain, plainMetric{prometheus.NewDesc(space+name, help, nil, nil), kind, read})
	}
	of := func(n *counter) func() float64 { return func() float64 { return float64(n.Load()) } }
	ofInt := func(n *atomic.Int64) func() float64 { return func() float64 { return float64(n.Load()) } }
	m := g.metrics
	gauge, count := prometheus.GaugeValue, prometheus.CounterValue
	add(gauge, "connections", "Client connections.", ofInt(&g.towers.count))
	add(gauge, "subscriptions", "Subscriptions of all connections.", ofInt(&g.towers.index.subs))
	add(gauge, "topics", "Topics with subscribers here.", ofInt(&g.towers.index.size))
	add(count, "connections_total", "Client connections since the start.", of(&m.connected))
	add(gauge, "connections_read", "Connections of which something is being read, or a part of a frame has come.", ofInt(&g.readers.lent))
	add(count, "bad_requests_total", "Frames of clients that were refused.", of(&m.badRequests))
	add(count, "forbidden_subscribes_total", "Topics that clients may not subscribe to and tried to.", of(&m.forbiddenSubscribe))
	add(count, "forbidden_publishes_total", "Topics that clients may not publish to and tried to.", of(&m.forbiddenPublish))
	add(count, "unauthorized_total", "New tokens of connected clients that were refused.", of(&m.unauthorized))
	add(count, "published_total", "Messages that clients and the application published.", of(&m.published))
	add(count, "messages_received_total", "Messages that came from the manager.", of(&m.received))
	add(count, "messages_unmatched_total", "Messages whose topic had no subscriber here any more.", of(&m.unmatched))
	add(count, "deliveries_total", "Messages written to connections.", of(&m.deliveries))
	add(count, "delivered_bytes_total", "Bytes of messages written to connections.", of(&m.deliveredBytes))
	add(count, "writes_total", "Writes to connections; one carries several joined messages.", of(&m.writes))
	add(count, "connections_compressed_total", "Client connections since the start that negotiated compression.", of(&m.connectedCompressed))
	add(count, "compressed_messages_total", "Messages compressed, each once for all receivers of a subprotocol.", of(&m.compressed))
	add(count, "incompressible_messages_total", "Messages that compressing would not have made smaller, and that went out as they are.", of(&m.incompressible))
	add(count, "compress_input_bytes_total", "Bytes of compressed messages before compression.", of(&m.compressInput))
	add(count, "compress_output_bytes_total", "Bytes of compressed messages after it.", of(&m.compressOutput))
	add(count, "compress_seconds_total", "Time spent on compressing, that of incompressible messages included.",
		func() float64 { return float64(m.compressTime.Load()) / 1e9 })
	add(gauge, "backlogged_connections", "Connections whose socket does not take all at once.", of(&m.backlogged))
	add(gauge, "backlog_bytes", "Bytes that wait for such connections.", of(&m.backlogBytes))
	add(gauge, "central_queue", "Messages, by bucket, that wait for consumers or are being written.",
		func() float64 { return float64(g.towers.central.waiting()) })
	add(gauge, "rings", "How many writers can write to many connections with one system call.", ofInt(&g.towers.rings.size))
	add(gauge, "link_up", "1 while the link to the manager stands.", func() float64 {
		if g.linked() {
			return 1
		}
		return 0
	})
	add(count, "link_reconnects_total", "Times the link was lost or could not be opened.", of(&m.linkReconnects))
	add(count, "link_missed_total", "Messages that the manager sent over a link which broke before they came.", of(&m.linkMissed))
	add(count, "sync_calls_total", "Calls that told the manager of topics.", of(&m.syncCalls))
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, p := range c.plain {
		ch <- p.desc
	}
	ch <- c.drops
	ch <- c.closes
	ch <- c.bucketQ
	ch <- c.stages
	ch <- c.broadcast
	c.edge.describe(ch)
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, p := range c.plain {
		ch <- prometheus.MustNewConstMetric(p.desc, p.kind, p.read())
	}
	m := c.gateway.metrics
	for r, n := range m.drops {
		ch <- prometheus.MustNewConstMetric(c.drops, prometheus.CounterValue, float64(n.Load()), string(r))
	}
	for r, n := range m.disconnects {
		ch <- prometheus.MustNewConstMetric(c.closes, prometheus.CounterValue, float64(n.Load()), string(r))
	}
	for _, b := range c.gateway.towers.buckets {
		var depth int64
		for _, l := range b.lanes {
			depth += l.depth.Load()
		}
		ch <- prometheus.MustNewConstMetric(c.bucketQ, prometheus.GaugeValue, float64(depth), bucketName(b.index))
	}
	c.collectStages(ch)
	c.edge.collect(ch, c.gateway)
}
