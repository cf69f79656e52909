package simulator_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"

	"firetower/simulator"
)

func TestPropertyReconnectWait(t *testing.T) {
	properties(t, 500, "a wait is After*2^(n-1) up to Most, less a share of at most Jitter, and always the same", prop.ForAll(
		func(after, most int64, jitter float64, conn, n int, seed uint64) string {
			p := simulator.ReconnectPlan{
				After: time.Duration(after), Most: time.Duration(after + most), Jitter: jitter, Seed: seed,
			}
			whole := math.Min(float64(p.After)*math.Pow(2, float64(n-1)), float64(p.Most))
			got := simulator.ReconnectWait(p, conn, n)
			if float64(got) > whole*(1+1e-9) || float64(got) < whole*(1-jitter)-1 {
				return fmt.Sprintf("wait %v, want from %v to %v", got, whole*(1-jitter), whole)
			}
			if again := simulator.ReconnectWait(p, conn, n); again != got {
				return fmt.Sprintf("%v, and then %v", got, again)
			}
			return ""
		},
		gen.Int64Range(1, int64(time.Minute)), gen.Int64Range(0, int64(time.Hour)), gen.Float64Range(0, 1),
		gen.IntRange(0, 1<<24), gen.IntRange(1, 100), gen.UInt64(),
	))
}

// Jitter spreads clients that were lost together over its whole share.
func TestReconnectWaitIsSpread(t *testing.T) {
	p := simulator.ReconnectPlan{After: time.Second, Most: time.Second, Jitter: 1, Seed: 1}
	const conns = 10_000
	tenths := make([]int, 10)
	for conn := range conns {
		tenths[int(10*simulator.ReconnectWait(p, conn, 1)/(time.Second+1))]++
	}
	for i, n := range tenths {
		if n < conns/10*8/10 || n > conns/10*12/10 {
			t.Errorf("%d of %d waits in tenth %d", n, conns, i)
		}
	}
}

func TestPropertyChooseShare(t *testing.T) {
	properties(t, 300, "a choice has the right size, in order and without repetition, and grows with the share", prop.ForAll(
		func(first, n int, share float64, seed uint64) string {
			got := simulator.ChooseShare(first, n, share, seed)
			if want := int(math.Round(share * float64(n))); len(got) != want {
				return fmt.Sprintf("%d chosen, want %d", len(got), want)
			}
			for i, conn := range got {
				if conn < 0 || conn >= n || i > 0 && conn <= got[i-1] {
					return fmt.Sprintf("chosen %v of %d", got, n)
				}
			}
			for _, conn := range simulator.ChooseShare(first, n, share/2, seed) {
				if !slices.Contains(got, conn) {
					return fmt.Sprintf("%d is in the half and not in the whole", conn)
				}
			}
			return ""
		},
		gen.IntRange(0, 1<<20), gen.IntRange(0, 300), gen.Float64Range(0, 1), gen.UInt64(),
	))
}

func TestPropertyTimersWakeInOrder(t *testing.T) {
	properties(t, 300, "timers come out in the order of their times, and none before its own", prop.ForAll(
		func(times []int64) string {
			var timers simulator.Timers
			for conn, at := range times {
				timers.Set(at, conn)
			}
			want := slices.Sorted(slices.Values(times))
			for _, at := range want {
				if conn, ok := timers.Due(at - 1); ok {
					return fmt.Sprintf("connection %d wakes before %d", conn, at)
				}
				conn, ok := timers.Due(at)
				if !ok || times[conn] != at {
					return fmt.Sprintf("connection %d (%v) wakes at %d", conn, ok, at)
				}
				times[conn] = -1
			}
			if _, ok := timers.Due(math.MaxInt64); ok {
				return "one too many"
			}
			return ""
		},
		gen.SliceOf(gen.Int64Range(0, 50)),
	))
}

func TestPlansThatAreRefused(t *testing.T) {
	tests := map[string]struct {
		change func(*simulator.Config)
		want   string
	}{
		"no first wait": {
			func(c *simulator.Config) { c.Reconnect = simulator.ReconnectPlan{Enabled: true, Most: 1} },
			"reconnect.after: must be > 0, got 0s",
		},
		"first wait beyond the last": {
			func(c *simulator.Config) { c.Reconnect = simulator.ReconnectPlan{Enabled: true, After: 2, Most: 1} },
			"reconnect.most: must be >= reconnect.after (2ns), got 1ns",
		},
		"jitter beyond the wait": {
			func(c *simulator.Config) {
				c.Reconnect = simulator.ReconnectPlan{Enabled: true, After: 1, Most: 1, Jitter: 1.5}
			},
			"reconnect.jitter: must be from 0 to 1, got 1.5",
		},
		"no such victim": {
			func(c *simulator.Config) { c.Victims = []int{0, 1} },
			"victims[1]: must be -1 or an index in urls (1 of them), got 1",
		},
		"neither victim nor nobody": {
			func(c *simulator.Config) { c.Victims = []int{-2} },
			"victims[0]: must be -1 or an index in urls (1 of them), got -2",
		},
		"more faults than phases": {
			func(c *simulator.Config) { c.Victims = make([]int, simulator.MaxFaults+1) },
			"victims: must be at most 30, got 31",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			config := simulator.DefaultConfig()
			config.URLs, config.Connections = []string{"ws://127.0.0.1:1/"}, 1
			if err := config.Validate(); err != nil {
				t.Fatal(err)
			}
			tt.change(&config)
			if err := config.Validate(); err == nil || err.Error() != tt.want {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
