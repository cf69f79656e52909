package simulator

import (
	"context"
	"sync"
)

// task is something that a shard's loop is asked to do between two batches. It is called again, after the next batch,
// until it says that it is done.
type task struct {
	do   func(now int64) (done bool)
	done chan struct{}
}

// ask has the loop do something, and waits until it is done. It may be called from any goroutine.
func (s *shard) ask(ctx context.Context, do func(now int64) (done bool)) error {
	t := &task{do: do, done: make(chan struct{})}
	s.wakeMu.Lock()
	s.asked = append(s.asked, t)
	s.wakeMu.Unlock()
	s.command(commandTask)
	select {
	case <-t.done:
		return nil
	case <-s.ended:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// doTasks takes what was asked for, and does it or goes on with it.
func (s *shard) doTasks() {
	if command(s.commands.Load())&commandTask != 0 {
		s.commands.And(^uint32(commandTask))
		s.wakeMu.Lock()
		s.tasks = append(s.tasks, s.asked...)
		s.asked = nil
		s.wakeMu.Unlock()
	}
	left := s.tasks[:0]
	for _, t := range s.tasks {
		if t.do(s.clock.Now()) {
			close(t.done)
			continue
		}
		left = append(left, t)
	}
	clear(s.tasks[len(left):])
	s.tasks = left
}

// askAll asks every shard at once, and returns the first error in the order of the shards.
func (e *epollEngine) askAll(ctx context.Context, do func(i int, s *shard, now int64) (done bool)) error {
	errs := make([]error, len(e.shards))
	var wg sync.WaitGroup
	for i, s := range e.shards {
		wg.Go(func() { errs[i] = s.ask(ctx, func(now int64) bool { return do(i, s, now) }) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *epollEngine) snapshots(ctx context.Context, before []*snapshot) ([]*snapshot, error) {
	now := make([]*snapshot, len(e.shards))
	err := e.askAll(ctx, func(i int, s *shard, _ int64) bool {
		var last *snapshot
		if before != nil {
			last = before[i]
		}
		now[i] = s.account.snapshot(last)
		return true
	})
	if err != nil {
		return nil, err
	}
	return now, nil
}

// resetsAtOnce is how many connections are reset between two batches: their number must not keep the others' messages
// waiting.
const resetsAtOnce = 128

func (e *epollEngine) disconnect(ctx context.Context, conns []int) (int, error) {
	counts := make([]int, len(e.shards))
	next := make([]int, len(e.shards)) // of conns, for each shard
	err := e.askAll(ctx, func(i int, s *shard, now int64) bool {
		first := s.account.first
		for range resetsAtOnce {
			for next[i] < len(conns) && conns[next[i]] < first {
				next[i]++
			}
			if next[i] == len(conns) || conns[next[i]] >= first+s.account.conns {
				return true
			}
			if s.reset(conns[next[i]]-first, now) {
				counts[i]++
			}
			next[i]++
		}
		return false
	})
	if err != nil {
		return 0, err
	}
	n := 0
	for _, c := range counts {
		n += c
	}
	return n, nil
}
