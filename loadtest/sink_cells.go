package loadtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// cellSink publishes every message to several managers, as a backend does that
// keeps independent cells. The message is one unit: it has one sequence number, is
// sent when at least one manager can take it, and is acknowledged when all have. A
// manager without a stream at that moment does not get it; the clients of its
// gateways expect it all the same, so that the ledger shows what they missed while
// the other cells go on. A message that no manager can take is refused, and one
// that a full window keeps waiting for too long goes to none of them.
type cellSink struct {
	cells []*grpcSink
	errs  tally
	// own is of what no stream accounts for: a manager that was away.
	own sinkAccount
	// taken is the streams of the message under way, kept for its memory.
	taken []*publishStream
}

func newCellSink(cells []*grpcSink) *cellSink {
	return &cellSink{cells: cells, own: newSinkAccount()}
}

// joint is a message that goes to several managers.
type joint struct {
	mu           sync.Mutex // guards the following
	open         int        // managers that have not settled it
	missed, lost bool       // by any of them
	dropped      bool       // it goes to none
}

// settle notes what one manager made of the message. The call that was the last
// gets what all of them made of it.
func (j *joint) settle(missed, lost bool) (last, anyMissed, anyLost bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.open--
	j.missed = j.missed || missed
	j.lost = j.lost || lost
	return j.open == 0 && !j.dropped, j.missed, j.lost
}

func (j *joint) drop() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.dropped = true
}

func (c *cellSink) send(ctx context.Context, topic string, data []byte, p pendingAck, deadline int64) error {
	p.joint = &joint{open: len(c.cells)}
	c.taken = c.taken[:0]
	away := 0
	for i, cell := range c.cells {
		st, err := cell.reserve(ctx, p, deadline)
		switch {
		case err == nil:
			c.taken = append(c.taken, st)
		case errors.Is(err, errWindowFull):
			p.joint.drop()
			for _, st := range c.taken {
				st.withdraw()
			}
			return err
		default:
			away++
			c.errs.add(fmt.Sprintf("manager %d is away", i))
		}
	}
	if len(c.taken) == 0 {
		return errNotConnected
	}
	// Those who are away first, so that the last word is an answer.
	for range away {
		c.own.note(p, p.actual, true, false)
	}
	for _, st := range c.taken {
		st.write(topic, data)
	}
	return nil
}

func (c *cellSink) account() sinkAccount {
	sum := newSinkAccount()
	sum.add(c.own)
	add(sum.errors, c.errs.all())
	for _, cell := range c.cells {
		sum.add(cell.account())
	}
	return sum
}

func (c *cellSink) close() error {
	var wg sync.WaitGroup
	errs := make([]error, len(c.cells))
	for i, cell := range c.cells {
		wg.Go(func() { errs[i] = cell.close() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
