package simulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"firetower/simulator"
	"firetower/simulator/clock"
)

// Windows tell what came between two calls, once each, and add up to the whole.
func TestWindows(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		const conns = 4
		s := newStub(t, nil)
		config := testConfig(s, engine, conns)
		config.Shards = 2
		f := startFleet(t, config)
		if _, err := f.Window(context.Background()); !errors.Is(err, simulator.ErrState) {
			t.Errorf("Window before Connect: %v", err)
		}
		f.connect()
		clk, err := clock.New()
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, "all subscriptions", func() bool { return len(s.all()) == conns })
		seq, total := uint64(0), int64(0)
		send := func(phase simulator.Phase, n, repeat int) {
			for range n {
				seq++
				m := encode(message(clk, phase, 0, seq))
				for _, c := range s.all() {
					for range repeat {
						c.text(m)
						total++
					}
				}
			}
			waitFor(t, "the messages", func() bool { return f.Counters().Received == total })
		}
		var last *simulator.Window
		var all []*simulator.Window
		window := func(received, duplicated int64) {
			t.Helper()
			w, err := f.Window(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if w.Received != received || w.Duplicated != duplicated || w.Intended.Count() != received {
				t.Errorf("received %d (%d latencies), duplicated %d, want %d and %d",
					w.Received, w.Intended.Count(), w.Duplicated, received, duplicated)
			}
			if w.ToNS <= w.FromNS || last != nil && w.FromNS != last.ToNS || w.ToNS > clk.Now() {
				t.Errorf("from %d to %d after %+v", w.FromNS, w.ToNS, last)
			}
			text, err := json.Marshal(w)
			if err != nil {
				t.Fatal(err)
			}
			last = new(simulator.Window)
			if err := json.Unmarshal(text, last); err != nil {
				t.Fatal(err)
			}
			all = append(all, last)
		}
		window(0, 0)
		send(simulator.PhaseProbe, 1, 1) // not in any window
		send(simulator.PhaseWarmup, 3, 1)
		send(simulator.PhaseMeasure, 2, 1)
		window(5*conns, 0)
		send(simulator.PhaseMeasure, 1, 2)
		window(conns, conns)
		window(0, 0)
		send(simulator.PhaseTrial, 4, 1)
		window(4*conns, 0)
		sum, err := simulator.MergeWindows(all...)
		if err != nil || sum.Received != 10*conns || sum.Duplicated != conns || sum.Intended.Count() != 10*conns ||
			sum.FromNS != all[0].FromNS || sum.ToNS != last.ToNS {
			t.Errorf("all windows together: %+v, %v", sum, err)
		}
		report := f.finish(simulator.TopicSent{Phase: simulator.PhaseTrial, First: 8, Count: 4})
		if len(report.Rows) != 0 {
			t.Errorf("%d rows of trials", len(report.Rows))
		}
		if p := phaseOf(report, simulator.PhaseTrial); p.Expected != 4*conns || p.Lost != 0 || p.Intended.Count() != 4*conns {
			t.Errorf("trial %+v", p)
		}
	})
}

func TestMergeWindowsRefuses(t *testing.T) {
	if _, err := simulator.MergeWindows(); err == nil {
		t.Error("a merge of nothing succeeds")
	}
	if _, err := simulator.MergeWindows(&simulator.Window{}); err == nil {
		t.Error("a window without a histogram merges")
	}
}

// Connections of other servers than the victim are told of apart, by the server that they belong to.
func TestInnocent(t *testing.T) {
	engines(t, func(t *testing.T, engine simulator.Engine) {
		// What the innocent lose and receive of 4 lost and 10 received, by who the victim is.
		for victim, want := range map[int][2]int64{-1: {0, 0}, 0: {1, 7}, 1: {3, 7}, 2: {4, 6}} {
			var stubs []*stub
			config := testConfig(newStub(t, nil), engine, 7)
			config.URLs, config.Victims, config.Shards = nil, []int{victim}, 2
			for range 3 {
				stubs = append(stubs, newStub(t, nil))
				config.URLs = append(config.URLs, stubs[len(stubs)-1].url())
			}
			f := startFleet(t, config)
			f.connect()
			clk, err := clock.New()
			if err != nil {
				t.Fatal(err)
			}
			waitFor(t, "all subscriptions", func() bool {
				return len(stubs[0].all()) == 3 && len(stubs[1].all()) == 2 && len(stubs[2].all()) == 2
			})
			m, next := encode(message(clk, simulator.PhaseHold, 0, 1)), encode(message(clk, simulator.PhaseHold, 0, 2))
			for i, s := range stubs {
				for at, c := range s.all() {
					c.text(m)
					if i == 2 || i == 1 && at == 0 { // server 0 has three misses and server 1 one
						c.text(next)
					}
				}
			}
			waitFor(t, "the messages", func() bool { return f.Counters().Received == 10 })
			p := phaseOf(f.finish(simulator.TopicSent{Phase: simulator.PhaseHold, First: 1, Count: 2}), simulator.PhaseHold)
			if p.Lost != 4 || p.LostInnocent != want[0] || p.Innocent.Count() != want[1] {
				t.Errorf("victim %d: %d lost, %d of the innocent, who have %d", victim, p.Lost, p.LostInnocent, p.Innocent.Count())
			}
		}
	})
}
