package gateway

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// edgeMetrics are the counts of what comes before the upgrade request.
type edgeMetrics struct {
	handshakes        counter
	resumed           counter
	handshakeFailures map[HandshakeFailure]*atomic.Int64
	proxyRefusals     map[ProxyRefusal]*atomic.Int64
}

// EdgeStats are the counts of what comes before the upgrade request.
type EdgeStats struct {
	// Handshakes counts those of TLS that succeeded, Resumed those of them that took
	// up an earlier session.
	Handshakes, Resumed int64
	HandshakeFailures   map[HandshakeFailure]int64
	ProxyRefusals       map[ProxyRefusal]int64
	// Reloads and FailedReloads count the times that the certificate was read anew.
	Reloads, FailedReloads int64
}

func newEdgeMetrics() edgeMetrics {
	return edgeMetrics{handshakeFailures: countsOf(handshakeFailures), proxyRefusals: countsOf(proxyRefusals)}
}

func (m *edgeMetrics) failHandshake(why HandshakeFailure) { m.handshakeFailures[why].Add(1) }

func (m *edgeMetrics) refuseProxy(why ProxyRefusal) { m.proxyRefusals[why].Add(1) }

func (m *metrics) refuse(why RefusalReason) { m.refusals[why].Add(1) }

func (g *Gateway) edgeStats() EdgeStats {
	m := &g.metrics.edge
	s := EdgeStats{
		Handshakes: m.handshakes.Load(), Resumed: m.resumed.Load(),
		HandshakeFailures: valuesOf(m.handshakeFailures), ProxyRefusals: valuesOf(m.proxyRefusals),
	}
	if c := g.certificates; c != nil {
		s.Reloads, s.FailedReloads = c.reloads.Load(), c.failed.Load()
	}
	return s
}

// countsOf makes a count for each reason, so that all are there from the start.
func countsOf[R ~string](reasons []R) map[R]*atomic.Int64 {
	counts := make(map[R]*atomic.Int64, len(reasons))
	for _, r := range reasons {
		counts[r] = new(atomic.Int64)
	}
	return counts
}

func valuesOf[R ~string](counts map[R]*atomic.Int64) map[R]int64 {
	values := make(map[R]int64, len(counts))
	for r, n := range counts {
		values[r] = n.Load()
	}
	return values
}

// edgeDescs describe them to Prometheus.
type edgeDescs struct {
	refusals, proxy, handshakes, failures, reloads, expiry *prometheus.Desc
}

func newEdgeDescs(space string) edgeDescs {
	return edgeDescs{
		refusals:   prometheus.NewDesc(space+"upgrades_refused_total", "Requests to connect that were refused, by reason.", []string{"reason"}, nil),
		proxy:      prometheus.NewDesc(space+"proxy_refused_total", "Connections closed over their PROXY header, by reason.", []string{"reason"}, nil),
		handshakes: prometheus.NewDesc(space+"tls_handshakes_total", "TLS handshakes that succeeded, by whether they took up an earlier session.", []string{"resumed"}, nil),
		failures:   prometheus.NewDesc(space+"tls_handshake_failures_total", "TLS handshakes that failed, by reason.", []string{"reason"}, nil),
		reloads:    prometheus.NewDesc(space+"tls_certificate_reloads_total", "Times that the certificate was read anew; after an error the one before stays.", []string{"result"}, nil),
		expiry:     prometheus.NewDesc(space+"tls_certificate_expiry_timestamp_seconds", "When the certificate in force ends, in Unix time.", nil, nil),
	}
}

func (d *edgeDescs) describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{d.refusals, d.proxy, d.handshakes, d.failures, d.reloads, d.expiry} {
		ch <- desc
	}
}

func (d *edgeDescs) collect(ch chan<- prometheus.Metric, g *Gateway) {
	count := func(desc *prometheus.Desc, n int64, label string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), label)
	}
	for r, n := range g.metrics.refusals {
		count(d.refusals, n.Load(), string(r))
	}
	s := g.edgeStats()
	if g.opts.Proxy.Protocol != ProxyOff {
		for r, n := range s.ProxyRefusals {
			count(d.proxy, n, string(r))
		}
	}
	if g.certificates == nil {
		return
	}
	count(d.handshakes, s.Resumed, "true")
	count(d.handshakes, s.Handshakes-s.Resumed, "false")
	for r, n := range s.HandshakeFailures {
		count(d.failures, n, string(r))
	}
	count(d.reloads, s.Reloads, "ok")
	count(d.reloads, s.FailedReloads, "error")
	ch <- prometheus.MustNewConstMetric(d.expiry, prometheus.GaugeValue, float64(g.certificates.expires.Load()))
}
