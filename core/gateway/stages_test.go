package gateway_test

import (
	"fmt"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"firetower/core/gateway"
	"firetower/core/protocol"
)

// stages are the histograms of a gateway's stages, and that of its broadcasts.
func stages(t *testing.T, g *gateway.Gateway) (byStage map[string]*dto.Histogram, broadcast *dto.Histogram) {
	t.Helper()
	families, err := g.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	byStage = make(map[string]*dto.Histogram)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case "firetower_gateway_stage_seconds":
				byStage[m.GetLabel()[0].GetValue()] = m.GetHistogram()
			case "firetower_gateway_broadcast_seconds":
				broadcast = m.GetHistogram()
			}
		}
	}
	return byStage, broadcast
}

// Every delivery counts once in each stage that it passed, whatever it was joined
// with, and the stages before the write add up to no more than what the publisher saw. A
// message counts as a broadcast in each Bucket, or once where all were written together.
func TestStagesCountDeliveries(t *testing.T) {
	for inline, broadcasts := range map[int]int{0: 3, 32: 1} {
		t.Run(fmt.Sprintf("inline %d", inline), func(t *testing.T) { stagesCountDeliveries(t, inline, broadcasts) })
	}
}

func stagesCountDeliveries(t *testing.T, inline, broadcasts int) {
	g := run(t, func(o *gateway.Options) { o.Bucket.Num, o.Bucket.InlineSubscribers = 3, inline })
	const connections, messages = 25, 40
	var clients []*wsClient
	for i := range connections {
		c := dial(t, g, []string{protocol.SubprotocolV0, protocol.SubprotocolV1}[i%2])
		if i%2 == 0 {
			c.subscribeV0(g, "room", int64(i+1))
		} else {
			c.subscribe("room")
		}
		clients = append(clients, c)
	}
	begun := time.Now()
	for n := range messages {
		if err := g.Publish("room", fmt.Appendf(nil, "%d", n)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range clients {
		for range messages {
			c.next()
		}
	}
	eventually(t, "all is accounted for", func() bool {
		_, broadcast := stages(t, g)
		return broadcast.GetSampleCount() == uint64(broadcasts*messages)
	})
	took := time.Since(begun).Seconds()
	byStage, broadcast := stages(t, g)
	mean := 0.0
	for _, stage := range []string{"central", "bucket", "fanout"} {
		h := byStage[stage]
		if h.GetSampleCount() != connections*messages {
			t.Errorf("%s counts %d deliveries of %d", stage, h.GetSampleCount(), connections*messages)
		}
		mean += h.GetSampleSum() / float64(h.GetSampleCount())
	}
	if n := byStage["backlog"].GetSampleCount(); n != 0 {
		t.Errorf("%d deliveries waited for their sockets", n)
	}
	if mean <= 0 || mean > took || broadcast.GetSampleSum() > took*float64(broadcasts*messages) {
		t.Errorf("the stages' means add up to %v s of %v s, broadcasts took %v s", mean, took, broadcast.GetSampleSum())
	}
}
