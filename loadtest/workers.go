package loadtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"firetower/scenarios"
	"firetower/simulator"
	"firetower/simulator/clock"
)

// workerHandle is the coordinator's side of one worker.
type workerHandle struct {
	child   *child
	config  simulator.Config
	replies chan reply

	calling sync.Mutex // held by the call that is under way; guards the following
	calls   uint64
	cut     bool // it was told a part of a line, and can be told no more

	received atomic.Int64 // messages, as the newest tick or flow says

	mu       sync.Mutex // guards the following
	counters simulator.Counters
	fault    string // what the fleet's Run ended with
}

// fleet is all workers of a run.
type fleet []*workerHandle

// startWorkers starts the worker processes and their fleets.
func startWorkers(ctx context.Context, n *nursery, p *Plan, urls []string, runID uint64) (fleet, error) {
	var f fleet
	first := 0
	s := p.Scenario
	for i, conns := range p.Workers {
		c := simulator.DefaultConfig()
		c.URLs = urls
		c.Subprotocol = string(s.Subprotocol)
		if e := engineOf(s); e != "" {
			c.Engine = e
		}
		if s.Clients.Transport == scenarios.TransportTLS {
			c.CAFile = certificateFile(n.dir)
		}
		p.speak(&c)
		c.Connections, c.FirstIndex = conns, first
		// Each worker has an address of its own: an address has some 28,000 ports to a server.
		c.SourceIPs = []string{fmt.Sprintf("127.0.%d.%d", 1+i/250, 1+i%250)}
		c.RunID = runID
		c.Topics = topicPlan(s)
		c.Compression = s.Clients.Compression
		c.Publishers = s.Load.Publishers
		share := float64(conns) / float64(s.Connections)
		c.ConnectRate = s.Connect.Rate.PerSecond * share
		c.HandshakesInFlight = max(1, int(float64(s.Connect.Handshakes)*share))
		c.HandshakeTimeout = min(c.HandshakeTimeout, s.Connect.Timeout.Duration)
		c.MessageDeadline = s.Phases.Drain.Duration
		_, largest := meanPayload(s)
		c.MaxFrame = max(c.MaxFrame, largest+4096)
		c.Victims = victims(s)
		if s.Churn.Topics > 0 {
			c.Churn = simulator.ChurnPlan{Topics: s.Churn.Topics, Rate: s.Churn.Rate.PerSecond * share, Seed: s.Seed, Grace: churnGrace}
		}
		c.Reconnect = simulator.ReconnectPlan{
			Enabled: s.Reconnect.Mode == scenarios.ReconnectAlways, After: s.Reconnect.After.Duration, Most: s.Reconnect.Most.Duration,
			Jitter: float64(s.Reconnect.Jitter), Seed: s.Seed,
		}
		if i == len(p.Workers)-1 {
			for _, g := range s.Slow {
				c.Slow = append(c.Slow, simulator.SlowSpec{Count: g.Count, Kind: simulator.SlowKind(g.Kind), ReceiveBuffer: int(g.ReceiveBuffer), Rate: g.Rate.PerSecond})
			}
		}
		first += conns
		w, err := startWorker(ctx, n, fmt.Sprintf("worker-%d", i), c)
		if err != nil {
			return f, err
		}
		f = append(f, w)
	}
	return f, nil
}

// churnGrace is how long a message on a topic that churns may be on its way: one that
// a client did not wait so long for is not due to it.
const churnGrace = time.Second

func startWorker(ctx context.Context, n *nursery, name string, c simulator.Config) (*workerHandle, error) {
	process, err := n.start("worker", name, true, "loadtest", "worker")
	if err != nil {
		return nil, err
	}
	w := &workerHandle{child: process, config: c, replies: make(chan reply, unread)}
	go w.listen()
	_, err = w.call(ctx, request{Op: opStart, Config: &c})
	return w, err
}

// unread is how many answers may wait: one, and those to calls that were given up.
const unread = 16

// flowPrefix is how a flow's line begins; there are thousands of them in a second.
var flowPrefix = []byte(`{"op":"flow","received":`)

// listen takes the worker's lines apart until it ends.
func (w *workerHandle) listen() {
	for line := range w.child.lines {
		if rest, ok := bytes.CutPrefix(line, flowPrefix); ok {
			var n int64
			for _, d := range rest {
				if d < '0' || d > '9' {
					break
				}
				n = n*10 + int64(d-'0')
			}
			w.received.Store(n)
			continue
		}
		var r reply
		if err := json.Unmarshal(line, &r); err != nil {
			r = reply{Error: fmt.Sprintf("unreadable line: %v", err)}
		}
		if r.Op != evTick {
			select {
			case w.replies <- r:
			default: // nobody has asked for so many
			}
			continue
		}
		w.mu.Lock()
		if r.Counters != nil {
			w.counters = *r.Counters
			w.received.Store(r.Counters.Received)
		}
		if r.Error != "" {
			w.fault = r.Error
		}
		w.mu.Unlock()
	}
	close(w.replies)
}

// call asks the worker and waits for its answer.
func (w *workerHandle) call(ctx context.Context, r request) (reply, error) {
	w.calling.Lock()
	defer w.calling.Unlock()
	w.calls++
	r.ID = w.calls
	line, err := json.Marshal(r)
	if err != nil {
		return reply{}, fmt.Errorf("%s: %s: %w", w.child.name, r.Op, err)
	}
	if err := w.tell(ctx, append(line, '\n')); err != nil {
		if ctx.Err() != nil {
			return reply{}, context.Cause(ctx)
		}
		return reply{}, w.gone(r.Op, err)
	}
	for {
		select {
		case answer, ok := <-w.replies:
			switch {
			case !ok:
				return reply{}, w.gone(r.Op, nil)
			case answer.ID != r.ID && answer.Op != "":
				continue // to a call that did not wait for it
			case answer.Error != "":
				return answer, fmt.Errorf("%s: %s: %s", w.child.name, r.Op, answer.Error)
			}
			return answer, nil
		case <-ctx.Done():
			return reply{}, context.Cause(ctx)
		}
	}
}

// tell writes a line to the worker. One that does not read holds it up, at the longest
// until ctx ends; what it has got by then is a part of a line, and there will be no more.
func (w *workerHandle) tell(ctx context.Context, line []byte) error {
	if w.cut {
		return errors.New("it has stopped reading")
	}
	late := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(late)
		_ = w.child.stdin.SetWriteDeadline(time.Now()) // a pipe has deadlines
	})
	_, err := w.child.stdin.Write(line)
	if !stop() {
		<-late
		w.cut = err != nil
		_ = w.child.stdin.SetWriteDeadline(time.Time{})
	}
	return err
}

// gone is the error of a call to a worker that has ended or is about to.
func (w *workerHandle) gone(op string, err error) error {
	select {
	case <-w.child.exited:
		return w.child.died()
	case <-time.After(time.Second):
		return fmt.Errorf("%s: %s: %w", w.child.name, op, errors.Join(errors.New("it does not listen"), err))
	}
}

// each calls all workers at once and joins their errors.
func (f fleet) each(ctx context.Context, do func(context.Context, int, *workerHandle) error) error {
	errs := make([]error, len(f))
	var wg sync.WaitGroup
	for i, w := range f {
		wg.Go(func() { errs[i] = do(ctx, i, w) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// counters adds up what the workers last told.
func (f fleet) counters() simulator.Counters {
	var sum simulator.Counters
	sum.Closed = map[string]int64{}
	for _, w := range f {
		w.mu.Lock()
		c := w.counters
		closed := maps.Clone(c.Closed)
		w.mu.Unlock()
		sum.Connected += c.Connected
		sum.Subscribed += c.Subscribed
		sum.Refused += c.Refused
		sum.Probed += c.Probed
		sum.Received += c.Received
		sum.Bytes += c.Bytes
		sum.Duplicated += c.Duplicated
		sum.Reconnected += c.Reconnected
		sum.Disconnected += c.Disconnected
		sum.ChurnChanges += c.ChurnChanges
		sum.ChurnRefused += c.ChurnRefused
		sum.ChurnReceived += c.ChurnReceived
		for code, n := range closed {
			sum.Closed[code] += n
		}
	}
	return sum
}

// received is the number of messages received, as fresh as it is known.
func (f fleet) received() int64 {
	var sum int64
	for _, w := range f {
		sum += w.received.Load()
	}
	return sum
}

// healthy is the number of clients that do not misbehave by plan.
func (f fleet) healthy() int {
	n := 0
	for _, w := range f {
		n += w.config.Healthy()
	}
	return n
}

// faults are what fleets ended with before their time.
func (f fleet) faults() error {
	var errs []error
	for _, w := range f {
		w.mu.Lock()
		if w.fault != "" {
			errs = append(errs, fmt.Errorf("%s: %s", w.child.name, w.fault))
		}
		w.mu.Unlock()
	}
	return errors.Join(errs...)
}

// mark begins a new account of each worker's own load and returns the old ones.
func (f fleet) mark(ctx context.Context) ([]workerLoad, error) {
	loads := make([]workerLoad, len(f))
	err := f.each(ctx, func(ctx context.Context, i int, w *workerHandle) error {
		r, err := w.call(ctx, request{Op: opMark})
		if err == nil && r.Load != nil {
			loads[i] = *r.Load
		}
		return err
	})
	return loads, err
}

// disconnect resets a share of the connections of every worker, and returns how
// many those were.
func (f fleet) disconnect(ctx context.Context, share float64, seed uint64) (int, error) {
	counts := make([]int, len(f))
	err := f.each(ctx, func(ctx context.Context, i int, w *workerHandle) error {
		r, err := w.call(ctx, request{Op: opDisconnect, Share: share, Seed: seed})
		counts[i] = r.Connections
		return err
	})
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum, err
}

// window is what arrived since the window before.
func (f fleet) window(ctx context.Context) (*simulator.Window, error) {
	parts := make([]*simulator.Window, len(f))
	err := f.each(ctx, func(ctx context.Context, i int, w *workerHandle) error {
		r, err := w.call(ctx, request{Op: opWindow})
		parts[i] = r.Window
		return err
	})
	if err != nil {
		return nil, err
	}
	return simulator.MergeWindows(parts...)
}

// skew measures how far the workers' clocks may be from ours: by how much an
// answer lies outside of the time between question and answer.
func (f fleet) skew(ctx context.Context, c *clock.Clock) (time.Duration, error) {
	worst := time.Duration(0)
	for _, w := range f {
		before := c.Now()
		r, err := w.call(ctx, request{Op: opPing})
		after := c.Now()
		if err != nil {
			return 0, err
		}
		worst = max(worst, time.Duration(before-r.Now), time.Duration(r.Now-after))
	}
	return worst, nil
}

// finish stops all fleets and merges what they report.
func (f fleet) finish(ctx context.Context, sent []simulator.TopicSent) (*simulator.Report, error) {
	parts := make([]*simulator.Report, len(f))
	err := f.each(ctx, func(ctx context.Context, i int, w *workerHandle) error {
		r, err := w.call(ctx, request{Op: opFinish, Sent: sent})
		parts[i] = r.Report
		return err
	})
	if err != nil {
		return nil, err
	}
	return simulator.Merge(parts...)
}
