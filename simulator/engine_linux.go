package simulator

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"firetower/simulator/clock"
)

// rawSockets says that the engines exist which do without Go's network poller.
const rawSockets = true

func newEngine(config Config, clk *clock.Clock) (engine, error) {
	if config.Engine == EngineGoroutine {
		return newGoroutineEngine(&config, clk)
	}
	e := &epollEngine{stopped: make(chan struct{})}
	var err error
	forShards(&config, func(first, conns int) {
		if err != nil {
			return
		}
		var shard *shard
		if shard, err = newShard(&config, clk, len(e.shards), first, conns); err == nil {
			e.shards = append(e.shards, shard)
		}
	})
	return e, err
}

// epollEngine drives the shards, each of which has its connections to itself.
type epollEngine struct {
	shards  []*shard
	stopped chan struct{} // closed when run has ended
}

func (e *epollEngine) run(ctx context.Context) error {
	defer close(e.stopped)
	group, ctx := errgroup.WithContext(ctx)
	// The loops sleep in epoll_wait: somebody must wake them when the context ends.
	stop := context.AfterFunc(ctx, func() {
		for _, s := range e.shards {
			s.command(commandStop)
		}
	})
	defer stop()
	for _, s := range e.shards {
		group.Go(func() error { return s.run(ctx) })
	}
	return group.Wait()
}

func (e *epollEngine) connect(ctx context.Context) error {
	for _, s := range e.shards {
		s.command(commandConnect)
	}
	refused := make(map[string]int64)
	planned := 0
	for _, s := range e.shards {
		select {
		case <-s.settled:
		case <-ctx.Done():
			return ctx.Err()
		case <-e.stopped:
			return ErrStopped
		}
		// The shard writes its account's refusals only before it has settled.
		addCounts(refused, s.account.refused)
		planned += s.account.conns
	}
	if len(refused) == 0 {
		return nil
	}
	return &ConnectError{Planned: planned, Refused: refused}
}

func (e *epollEngine) finish(ctx context.Context) ([]*account, error) {
	for _, s := range e.shards {
		s.command(commandFinish)
	}
	accounts := make([]*account, len(e.shards))
	for i, s := range e.shards {
		select {
		case <-s.finished:
		case <-ctx.Done():
			s.command(commandStop)
			<-s.ended
		case <-e.stopped:
		}
		select {
		case <-s.finished:
		default:
			return nil, errors.Join(ErrStopped, ctx.Err())
		}
		accounts[i] = s.account
	}
	return accounts, nil
}

func (e *epollEngine) counters() Counters {
	accounts := make([]*account, len(e.shards))
	for i, s := range e.shards {
		accounts[i] = s.account
	}
	return countersOf(accounts)
}
