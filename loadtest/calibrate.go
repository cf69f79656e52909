package loadtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"time"

	"firetower/reports"
	"firetower/scenarios"
	"firetower/simulator"
)

// A calibration loads a server that does next to nothing, before the one that is to be
// measured is started: the reference server floor, which writes each message once to
// each client, one frame per write, from one thread and without queues. Worker
// processes of its own hold the run's connections and topics, in firetower.v0, and the
// run's publisher sends the run's messages: first as fast as they are delivered, which
// gives the ceiling, then at the planned rate, which gives the generator's own latency.
// Its processes have ended before the servers start.

const (
	// calibrationConnections bounds the clients of a calibration; what a worker can do
	// in a second depends little on how many more there are.
	calibrationConnections = 10_000
	// calibrationRate is how fast they connect. The server accepts in one thread.
	calibrationRate = 8000
	// underWay is how many deliveries a calibration keeps under way: enough that server
	// and workers never wait for the publisher, and fewer than make the server join reads.
	underWay = 2000
	// The share of its ceiling that a run may use of the generator. Beyond it the
	// generator's own queueing is in the figures, or all that they show.
	ceilingShare    = 0.5
	ceilingShareMax = 0.9
)

// calibration is what came of one.
type calibration struct {
	result *reports.Calibration // nil when there is none
	// note says why, or on how many connections it stands.
	note string
}

// calibrate measures the workers by themselves. Its failure is no failure of the run.
func (r *run) calibrate(ctx context.Context) error {
	length := r.s.Phases.Calibrate.Duration
	switch {
	case r.o.part != nil && r.o.part.index > 0:
		r.calibration.note = "the first run of the duet has it"
		return nil
	case length == 0:
		r.calibration.note = "phases.calibrate is 0s"
		return nil
	case r.s.Load.Mode == scenarios.ModeIdle:
		r.calibration.note = "nothing is published"
		return nil
	case runtime.GOOS != "linux":
		r.calibration.note = "the server for it exists on Linux only"
		return nil
	}
	total, status := r.elapsed(length, nil)
	return r.phase(ctx, "calibrate", total, status, func() error {
		n := newNursery(r.nursery.dir, r.o.Executable, r.nursery.env)
		n.serverCPUs, n.loadCPUs = r.nursery.serverCPUs, r.nursery.loadCPUs
		defer func() {
			for _, c := range n.all() {
				c.kill() // what they hold is of no use any more, and ten thousand goodbyes take seconds
			}
			n.close(stopGrace)
		}()
		var err error
		r.calibration.result, err = r.calibrateWith(ctx, n, calibrationScenario(r.s), length)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			r.calibration.result = nil
			r.calibration.note = "it failed: " + err.Error()
			return nil // the run goes on without it, and its check says so
		}
		return nil
	})
}

// calibrationScenario is the part of a scenario that concerns the workers alone.
func calibrationScenario(s scenarios.Scenario) scenarios.Scenario {
	c := s.Clone()
	c.Connections = min(s.Connections-s.SlowClients(), calibrationConnections)
	c.Subprotocol = scenarios.V0
	c.Clients.Engine = scenarios.Engine(engineOf(s)) // also where that is for the sake of TLS, which the server here has not
	if c.Clients.Engine == "" {
		c.Clients.Engine = scenarios.EngineAuto
	}
	c.Clients.Transport = scenarios.TransportTCP
	c.Slow, c.Faults, c.Churn.Topics = nil, nil, 0
	c.Reconnect.Mode = scenarios.ReconnectNever
	c.Connect.Rate.PerSecond = max(s.Connect.Rate.PerSecond, calibrationRate)
	c.Load.Publishers = 1
	c.Topology.Gateways, c.Topology.Managers = 1, 1
	return c
}

func (r *run) calibrateWith(ctx context.Context, n *nursery, s scenarios.Scenario, length time.Duration) (*reports.Calibration, error) {
	sys := &system{nursery: n, target: Floor}
	if err := sys.startReference(ctx); err != nil {
		return nil, err
	}
	p := &Plan{Scenario: s, Target: Floor, Workers: split(s.Connections, len(r.o.Plan.Workers))}
	if s.Connections < r.s.Connections-r.s.SlowClients() {
		r.calibration.note = fmt.Sprintf("on %d connections", s.Connections)
	}
	// The run's own messages are told apart from these by their number.
	id := r.runID + 1
	f, err := startWorkers(ctx, n, p, sys.urls, id)
	if err != nil {
		return nil, err
	}
	each := func(op string) error {
		return f.each(ctx, func(ctx context.Context, _ int, w *workerHandle) error {
			_, err := w.call(ctx, request{Op: op})
			return err
		})
	}
	if err := each(opConnect); err != nil {
		return nil, err
	}
	sinks, err := sys.sinks(ctx, r.clock, p)
	if err != nil {
		return nil, err
	}
	c := &calibrating{run: r, nursery: n, fleet: f, pub: newPublisher(r.clock, s, id, sinks), s: s}
	out, err := c.carryOut(ctx, length, func() error { return each(opFlow) })
	_, closeErr := c.pub.close()
	return out, errors.Join(err, closeErr)
}

// carryOut measures the ceiling and then, where there is a planned rate, the latency.
func (c *calibrating) carryOut(ctx context.Context, length time.Duration, flow func() error) (*reports.Calibration, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	if err := flow(); err != nil {
		return nil, err
	}
	out := &reports.Calibration{Seconds: length.Seconds()}
	if c.s.Closed() || c.s.Load.Mode == scenarios.ModeCapacity {
		c.ceiling(ctx, length, out)
		return out, nil
	}
	c.ceiling(ctx, length/2, out)
	// The fleets' whole report would take longer than the calibration.
	asking := context.WithoutCancel(ctx) // a call that is given up would leave its answer to the next one
	if _, err := c.fleet.window(asking); err != nil {
		return nil, err
	}
	c.pub.open(ctx, simulator.PhaseMeasure, newSchedule(c.s, length-length/2, uint64(simulator.PhaseMeasure)))
	c.settle(ctx)
	w, err := c.fleet.window(asking)
	if err != nil {
		return nil, err
	}
	d := reports.Summarise(w.Intended)
	out.P50, out.P99 = d.P50, d.P99
	return out, nil
}

// calibrating is a calibration under way.
type calibrating struct {
	*run

	nursery *nursery // the calibration's own
	fleet   fleet
	pub     *publisher
	s       scenarios.Scenario
}

// ready publishes probes until every client has seen them.
func (c *calibrating) ready(ctx context.Context) error {
	deadline := c.clock.Now() + int64(c.s.Phases.Ready.Duration)
	all := func() bool { return int(c.fleet.counters().Probed) >= c.fleet.healthy() }
	for !all() {
		if err := c.fleet.faults(); err != nil {
			return err
		}
		if c.clock.Now() > deadline {
			return fmt.Errorf("%d of %d clients saw a probe on each of their topics", c.fleet.counters().Probed, c.fleet.healthy())
		}
		if err := c.pub.probe(ctx); err != nil {
			return err
		}
		if err := c.poll(ctx, probeEvery, all); err != nil {
			return err
		}
	}
	return nil
}

// ceiling publishes as fast as what is published is delivered. Where it is the server that
// could do no more, what the workers could have taken is worked out from what they used.
func (c *calibrating) ceiling(ctx context.Context, length time.Duration, out *reports.Calibration) {
	perMessage := float64(c.s.Connections*c.s.Topics.PerConnection) / float64(c.s.Topics.Count)
	inflight := max(2, int(math.Ceil(underWay/max(perMessage, 1))))
	at, received, before := c.clock.Now(), c.fleet.received(), c.demand()
	c.pub.closed(ctx, simulator.PhaseWarmup, length, inflight, perMessage, c.fleet.received)
	n, took := c.fleet.received()-received, float64(c.clock.Now()-at)/1e9
	after := c.demand()
	c.settle(ctx)
	if took > 0 {
		out.DeliveriesPerSecond = math.Round(float64(n) / took * headroom(before, after, took, c.nursery.loadProcessors()))
	}
	if n > 0 {
		out.CPUMicrosPerMessage = math.Round(float64(after.workers()-before.workers())/float64(n)) / 1e3
	}
}

// demand is what the processes of a calibration have used so far.
type demand struct {
	each    []time.Duration // by worker
	sharing time.Duration   // all that share the workers' processors, these included
}

// workers is what all workers have used.
func (d demand) workers() (sum time.Duration) {
	for _, used := range d.each {
		sum += used
	}
	return sum
}

func (c *calibrating) demand() demand {
	return demandOf(c.nursery, func(pid int) time.Duration {
		u, _ := readUsage(pid) // nothing of one that has ended, which the run finds out
		return u.cpu
	})
}

// demandOf is what workers, and those that share their processors, have used by an account of
// processes. Servers that have processors of their own do not share them.
func demandOf(n *nursery, used func(pid int) time.Duration) demand {
	d := demand{sharing: used(os.Getpid())}
	for _, p := range n.all() {
		switch {
		case p.role == "worker":
			d.each = append(d.each, used(p.pid))
			d.sharing += d.each[len(d.each)-1]
		case isServer(p.role) && len(n.loadCPUs) == 0:
			d.sharing += used(p.pid)
		}
	}
	return d
}

// loadProcessors is how many there are for workers and those that share them.
func (n *nursery) loadProcessors() int {
	if own := len(n.loadCPUs); own > 0 {
		return own
	}
	return runtime.NumCPU()
}

// headroom is by how much more than they did in so many seconds the workers could have
// done: until the busiest has no more time, of which each has as much as one processor
// gives, since its receiving is one loop, or until the processors that they share have
// none. It is 1 at least, and where that is not known.
func headroom(before, after demand, seconds float64, processors int) float64 {
	busiest := time.Duration(0)
	for i := range min(len(before.each), len(after.each)) {
		busiest = max(busiest, after.each[i]-before.each[i])
	}
	sharing := after.sharing - before.sharing
	if busiest <= 0 || sharing <= 0 {
		return 1
	}
	return max(1, seconds*min(1/busiest.Seconds(), float64(processors)/sharing.Seconds()))
}

// settle waits until nothing arrives any more.
func (c *calibrating) settle(ctx context.Context) {
	last, since := c.fleet.received(), c.clock.Now()
	// An error says that ctx ended, which the caller sees.
	_ = c.poll(ctx, 5*time.Second, func() bool {
		if n := c.fleet.received(); n != last {
			last, since = n, c.clock.Now()
		}
		return c.clock.Now()-since >= int64(50*time.Millisecond)
	})
}

// ceilingCheck is about the share of the generator's ceiling that the run used.
func (e evidence) ceilingCheck() reports.Check {
	c := reports.Check{
		Name: "share of the generator's ceiling", Status: reports.CheckSkipped, Value: "unknown", Limit: fmt.Sprintf("at most %.0f %%", ceilingShare*100),
		Note: "reads a second against what the workers can take from a server that only writes, a frame per write, or by what was used in this run; what a server joins is one read",
	}
	if e.calibration.note != "" {
		c.Note += "; " + e.calibration.note
	}
	own := e.calibration.result
	if own == nil || own.Share == nil {
		return c
	}
	share := *own.Share
	switch {
	case e.result.Loop == "closed":
		c.Status = when(share > ceilingShare, reports.CheckNote) // it is there to go to the limit
	case share > ceilingShareMax:
		c.Status = reports.CheckInvalid
	default:
		c.Status = when(share > ceilingShare, reports.CheckDegraded)
	}
	c.Value = fmt.Sprintf("%.0f %% of %.0f reads/s", share*100, max(own.DeliveriesPerSecond, own.Shown))
	return c
}

// fillCalibration puts what came of the calibration into the document.
func (r *run) fillCalibration(res *reports.Result) {
	res.Calibration = r.calibration.result
	if own := res.Calibration; own != nil && own.DeliveriesPerSecond > 0 && res.Received > 0 {
		// A message that comes joined with others costs a reader a fortieth of one that
		// comes alone: what counts is how often it has to read.
		reads := res.DeliveriesPerSecond
		if joined := res.Generator.MessagesPerRead; joined != nil && *joined > 1 {
			reads /= *joined
		}
		own.Shown = math.Round(reads * r.headroom())
		own.Share = pointer(roundTo(reads/max(own.DeliveriesPerSecond, own.Shown), 4))
	}
}

// headroom is that of the workers in the measured phase. A message costs them less the more
// there are, since one call of epoll_wait(2) tells of many, and so it is rather too little.
// Where a calibration wakes many workers for single messages it needs more of the machine than the run
// does, and reaches less than the run went on to show: 43,000 deliveries a second with seven workers
// that then took 50,000 with a third of the processors idle.
func (r *run) headroom() float64 {
	if r.o.part != nil { // another run uses the processors too
		return 1
	}
	d := usedBetween(r.edgeFrom, r.edgeTo, r.nursery)
	return headroom(demand{each: make([]time.Duration, len(d.each))}, d, float64(r.edgeTo.at-r.edgeFrom.at)/1e9, r.nursery.loadProcessors())
}

// usedBetween is the demand between two edges.
func usedBetween(from, to edge, n *nursery) demand {
	return demandOf(n, func(pid int) time.Duration { return max(to.cpu[pid]-from.cpu[pid], 0) }) // 0 of one that has died
}
