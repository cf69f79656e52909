package main

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"firetower/config"
	"firetower/core/schedstat"
)

// A manager that routes a few thousand messages a second has each of them alone, and Go
// wakes a second thread for most, to look for work that there is not: on two processors
// that was a third of its CPU. So it runs on one processor for as long as that is enough,
// and on all as soon as it is not.
const (
	// governEvery is how often the governor looks.
	governEvery = 100 * time.Millisecond
	// From busyShare of one processor on a process gets all; it gets one again after
	// calmLooks looks that came to less than calmShare on average.
	busyShare = 0.6
	calmShare = 0.4
	calmLooks = 20
)

// governor decides whether one processor is enough. Its zero value says that it is.
type governor struct {
	all bool
	// Since it had all, or since the last time that the average was looked at.
	looks int
	sum   float64
}

// look takes what the process wanted since the last look, as a share of one processor, and
// tells whether the process is to have all processors.
func (g *governor) look(share float64) (all bool) {
	if !g.all {
		g.all, g.looks, g.sum = share >= busyShare, 0, 0
		return g.all
	}
	g.looks++
	g.sum += share
	if g.looks == calmLooks {
		g.all = g.sum/calmLooks >= calmShare
		g.looks, g.sum = 0, 0
	}
	return g.all
}

// wanted is what a process wanted that ran for a share of one processor, and waited for
// another: what it had, or, when it hardly ever slept, more than it had. Everybody waits a
// little on a machine that is shared; who never sleeps has too few processors.
func wanted(ran, waited float64) float64 {
	const never = 0.9 // as good as busyShare
	return max(ran, (ran+waited)*busyShare/never)
}

// setProcessors lets Go code run on n processors at a time; 0 is as many as the process has,
// also when that changes.
func setProcessors(n int) {
	if n == 0 {
		runtime.SetDefaultGOMAXPROCS()
		return
	}
	runtime.GOMAXPROCS(n)
}

// applyProcessors sets on how many processors this process runs, until stop is called.
// GOMAXPROCS wins over the key that means the same. Where neither says, a process that is
// governed has one while that is enough.
func applyProcessors(ctx context.Context, g *globalState, log *slog.Logger, c config.Runtime, governed bool) (stop func()) {
	stop = func() {}
	v, inEnvironment := environmentValue(g.environ, "GOMAXPROCS")
	_, measurable := schedstat.Self()
	switch {
	case inEnvironment:
		log.Info("runtime.maxProcs is left to the environment", "GOMAXPROCS", v)
	case c.MaxProcs > 0:
		g.setProcessors(c.MaxProcs)
	case governed && measurable && runtime.NumCPU() > 1:
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			govern(ctx, g.setProcessors, log)
		}()
		stop = func() {
			cancel()
			<-ended
		}
	}
	return stop
}

// govern gives the process one processor or all of them, as it needs, until ctx is over,
// and then all.
func govern(ctx context.Context, set func(n int), log *slog.Logger) {
	set(1)
	defer set(0)
	tick := time.NewTicker(governEvery)
	defer tick.Stop()
	var gov governor
	at := time.Now()
	before, _ := schedstat.Self() // as with each, that it works has been found
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		total, _ := schedstat.Self()
		passed := float64(now.Sub(at))
		share := wanted(float64(total.Ran-before.Ran)/passed, float64(total.Waited-before.Waited)/passed)
		at, before = now, total
		had := gov.all
		all := gov.look(share)
		if all == had {
			continue
		}
		if all {
			set(0)
		} else {
			set(1)
		}
		log.Debug("processors", "all", all, "share", share)
	}
}
