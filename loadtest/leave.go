package loadtest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"firetower/reports"
)

// holding is what the servers hold at one moment, all of them together.
type holding struct {
	fds, goroutines int
	rss             int64
	// mute says that a server did not tell its goroutines.
	mute bool
}

// What servers may hold more than before the first client without a leak: each a
// connection that reads its metrics, and another that is about to end, with the
// descriptor and the two goroutines that net/http gives each; and each gateway, which
// calls its manager from the first subscription on, a gRPC connection with a
// descriptor and some four goroutines at either end.
const (
	spareFDs, spareGoroutines     = 2, 4
	gatewayFDs, gatewayGoroutines = 2, 8
)

// holdings reads what the servers hold: descriptors and memory of /proc, goroutines
// of their own metrics.
func (r *run) holdings(ctx context.Context) holding {
	var h holding
	for _, c := range r.nursery.all() {
		if !isServer(c.role) || c.ended() {
			continue
		}
		if u, err := readUsage(c.pid); err == nil {
			h.fds += u.fds
		}
		if rss, ok := readExactRSS(c.pid); ok {
			h.rss += rss
		}
	}
	for _, addr := range r.system.scrapes {
		n, ok := readGoroutines(ctx, addr)
		h.goroutines += n
		h.mute = h.mute || !ok
	}
	return h
}

// readGoroutines is the number of goroutines that a server tells of; ok is false when it
// does not answer.
func readGoroutines(ctx context.Context, addr string) (n int, ok bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return 0, false
	}
	// The connection must not stay, or it would be counted the next time.
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close() // only read
	scan := bufio.NewScanner(io.LimitReader(resp.Body, maxMetrics))
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		if value, ok := strings.CutPrefix(scan.Text(), "go_goroutines "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, false
			}
			return int(v), true
		}
	}
	return 0, false
}

// leave waits, once every client has gone, until the servers hold no more than
// before the first came, and says what they did not give back.
func (r *run) leave(ctx context.Context) error {
	limit := r.s.Phases.Leave.Duration
	if limit == 0 || r.held[0].fds == 0 {
		return nil // not wanted, or the servers are none of ours
	}
	return r.phase(ctx, "leave", 0, nil, func() error {
		from := r.clock.Now()
		var l *reports.Leave
		mute := false
		back := func() bool {
			now := r.holdings(ctx)
			l = left(r.held, now, max(len(r.system.scrapes), 1), len(r.system.gateways))
			if mute = now.mute; mute {
				return false
			}
			return l.LeakedDescriptors == 0 && l.LeakedGoroutines == 0
		}
		// An error says that ctx ended, which the phase sees.
		_ = r.poll(ctx, limit, back)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if mute {
			return errors.New("a server whose clients have gone does not tell its metrics")
		}
		l.Seconds = float64((r.clock.Now()-from)/int64(time.Millisecond)) / 1e3
		r.left = l
		return nil
	})
}

// left is what servers hold now, and what of it they did not give back; before are
// what they held empty and with every client idle.
func left(before [2]holding, now holding, servers, gateways int) *reports.Leave {
	empty, idle := before[0], before[1]
	l := &reports.Leave{
		Descriptors: [3]int{empty.fds, idle.fds, now.fds}, Goroutines: [3]int{empty.goroutines, idle.goroutines, now.goroutines},
		RSS: [3]int64{empty.rss, idle.rss, now.rss},
	}
	if n := now.fds - empty.fds; n > servers*spareFDs+gateways*gatewayFDs {
		l.LeakedDescriptors = n
	}
	if n := now.goroutines - empty.goroutines; n > servers*spareGoroutines+gateways*gatewayGoroutines {
		l.LeakedGoroutines = n
	}
	return l
}
