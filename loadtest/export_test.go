package loadtest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"firetower/reports"
	"firetower/scenarios"
	"firetower/simulator"
	"firetower/simulator/clock"
	"firetower/simulator/latency"
)

// Attach makes a run load a server that runs already.
func Attach(o *Options, url, grpc string) { o.attach = &attached{url: url, grpc: grpc} }

// OnFault calls a function when a fault has been injected.
func OnFault(o *Options, do func()) { o.onFault = do }

// ParseStat is parseStat.
var ParseStat = parseStat

// TellWorker tells a worker that reads from the other end of stdin so many lines, of a size.
func TellWorker(ctx context.Context, stdin *os.File, lines, size int) (errs []error) {
	w := &workerHandle{child: &child{name: "worker", stdin: stdin}}
	for range lines {
		errs = append(errs, w.tell(ctx, make([]byte, size)))
	}
	return errs
}

// SleepUntil is sleepUntil.
var SleepUntil = sleepUntil

// Split is split.
var Split = split

// ReadMetrics reads a text of metrics.
func ReadMetrics(text string) map[string]float64 {
	m := counterSet{}
	_ = m.read(strings.NewReader(text), ownMetric) // a reader that cannot fail
	return m
}

// Grown is grown.
func Grown(from, to map[string]float64, name, label string) map[string]float64 {
	return grown(from, to, name, label)
}

// Offsets are the first n offsets of a phase's plan, in order.
func Offsets(s scenarios.Scenario, stream uint64, n int) []time.Duration {
	plan := newSchedule(s, time.Hour, stream)
	var out []time.Duration
	for range n {
		out = append(out, plan.next())
	}
	return out
}

// FakeSink is a sink that a test answers for.
type FakeSink struct {
	Send func(topic string, data []byte) error
}

func (f *FakeSink) send(_ context.Context, topic string, data []byte, _ pendingAck, _ int64) error {
	return f.Send(topic, data)
}
func (f *FakeSink) account() sinkAccount { return sinkAccount{} }
func (f *FakeSink) close() error         { return nil }

// PeerSink is a sink of a server of others.
type PeerSink struct{ to sink }

// DialPeer opens a sink for a target that listens at addr.
func DialPeer(ctx context.Context, target Target, addr string, window int) (PeerSink, error) {
	c, err := clock.New()
	if err != nil {
		return PeerSink{}, err
	}
	p := &Plan{Target: target, Scenario: scenarios.Scenario{Load: scenarios.Load{Window: window}}}
	s := &system{target: target, peer: announcement{Publish: addr}}
	to, err := s.peerSink(ctx, c, p)
	return PeerSink{to}, err
}

// DialFiretower opens a sink for a manager's gRPC address.
func DialFiretower(ctx context.Context, addr string, load scenarios.Load) (PeerSink, error) {
	c, err := clock.New()
	if err != nil {
		return PeerSink{}, err
	}
	to, err := dialGRPC(ctx, c, addr, load)
	return PeerSink{to}, err
}

// Send hands a message of the measured phase over, which may wait for the window for as long.
func (s PeerSink) Send(ctx context.Context, topic string, data []byte, wait time.Duration) error {
	c, err := clock.New()
	if err != nil {
		return err
	}
	now := c.Now()
	return s.to.send(ctx, topic, data, pendingAck{phase: simulator.PhaseMeasure, actual: now}, now+int64(wait))
}

// Close ends the sink, and tells what came of its messages.
func (s PeerSink) Close() (acked, missed, unacknowledged int64, errs map[string]int64, err error) {
	err = s.to.close()
	a := s.to.account()
	if r := a.acks[simulator.PhaseMeasure]; r != nil {
		acked = r.Count()
	}
	return acked, a.missed[simulator.PhaseMeasure], a.unacknowledged[simulator.PhaseMeasure], a.errors, err
}

// The errors of sinks.
var (
	ErrWindowFull   = errWindowFull
	ErrNotConnected = errNotConnected
)

// PublisherLags are how late the messages of an open plan were sent, and how late without what
// the sink held up.
func PublisherLags(ctx context.Context, s scenarios.Scenario, length time.Duration, to *FakeSink) (all, own *latency.Recorder, err error) {
	c, err := clock.New()
	if err != nil {
		return nil, nil, err
	}
	p := newPublisher(c, s, 1, []sink{to})
	p.open(ctx, simulator.PhaseMeasure, newSchedule(s, length, 2))
	return p.lags[simulator.PhaseMeasure], p.ownLags[simulator.PhaseMeasure], nil
}

// PublisherFates are what became of the messages of an open plan, and the account
// of what was sent.
func PublisherFates(ctx context.Context, s scenarios.Scenario, length time.Duration, sinks []*FakeSink) (sent, refused, dropped int64, runs []simulator.TopicSent, lag *latency.Recorder, err error) {
	c, err := clock.New()
	if err != nil {
		return 0, 0, 0, nil, nil, err
	}
	var as []sink
	for _, f := range sinks {
		as = append(as, f)
	}
	p := newPublisher(c, s, 1, as)
	p.open(ctx, simulator.PhaseMeasure, newSchedule(s, length, 2))
	return p.sent.Load(), p.refused.Load(), p.dropped.Load(), p.runs, p.lags[simulator.PhaseMeasure], nil
}

// FaultTimes are when a fault happens and when its victim is ready again, in milliseconds
// of the measured phase, and how long its hold and its recovery are.
type FaultTimes struct {
	Killed, Ready, Hold, Recovery int

	Unseen bool // by the publishers, whose stream it does not break
}

// FaultAccount works out the aftermath of faults over messages that are given by their intended
// times in milliseconds, with how many of subscribers got each; below 0 is refused. A
// fault breaks the publishers' stream unless it is Unseen.
func FaultAccount(times []FaultTimes, subscribers int64, got map[int]int64) ([]reports.Fault, int64) {
	at := func(ms int) int64 { return int64(ms+10_000) * int64(time.Millisecond) }
	a := aftermath{stride: 1, start: at(0)}
	opened := at(0)
	for _, t := range times {
		f := faultRecord{plan: scenarios.Fault{Kind: scenarios.FaultManagerRestart}, killed: at(t.Killed), ready: at(t.Ready)}
		f.from, f.until = f.killed-int64(inFlight), at(t.Killed+t.Hold+t.Recovery)
		a.faults, a.others, a.end = append(a.faults, f), append(a.others, bystanders{}), f.until
		if t.Unseen {
			continue
		}
		a.lives = append(a.lives, streamLife{opened: opened, firstAck: opened + int64(10*time.Millisecond), broken: at(t.Killed + 5)})
		opened = at(t.Ready + 10)
	}
	a.lives = append(a.lives, streamLife{opened: opened, firstAck: opened + int64(10*time.Millisecond)})
	seq := uint64(0)
	for ms, n := range got {
		m := message{intended: at(ms), phase: simulator.PhaseMeasure}
		if n < 0 {
			m.fate = fateRefused
			a.messages = append(a.messages, m)
			continue
		}
		seq++
		m.sequence = seq
		a.messages = append(a.messages, m)
		a.rows = append(a.rows, simulator.MessageRow{Phase: simulator.PhaseMeasure, Sequence: seq, IntendedNS: at(ms), Subscribers: subscribers, Count: n, MinNS: int64(time.Millisecond), MaxNS: int64(2 * time.Millisecond)})
		a.lost += subscribers - n
	}
	faults, unexplained, err := a.work()
	if err != nil {
		panic(err) // there are no intervals here that could not be read
	}
	return faults, unexplained
}

// Victims is victims.
var Victims = victims

// SelfCheck runs the self-check on a result with some evidence.
func SelfCheck(r *reports.Result, change func(e *Evidence)) ([]reports.Check, reports.Verdict) {
	e := Evidence{Loads: []workerLoad{{SchedP99: time.Millisecond, Scheduled: 100}}, BusyShare: 0.5}
	if change != nil {
		change(&e)
	}
	from, to := edge{at: 1, kernel: kernelCounters{values: map[string]int64{}}}, edge{at: int64(time.Second), kernel: kernelCounters{values: e.Kernel}}
	to.kernel.total, to.kernel.busy, to.kernel.steal = time.Second, time.Duration(e.BusyShare*float64(time.Second)), time.Duration(e.StealShare*float64(time.Second))
	checks, verdict, _ := selfCheck(evidence{result: r, from: from, to: to, connect: from, loads: e.Loads, skew: e.Skew, cpus: 2, faults: e.Faults, forgot: e.Forgotten, ownLag: e.OwnLag})
	return checks, verdict
}

// Evidence is what a self-check may be given.
type Evidence struct {
	Loads                 []workerLoad
	Skew                  time.Duration
	BusyShare, StealShare float64
	Kernel                map[string]int64
	Faults                error
	Forgotten             int64
	OwnLag                reports.Distribution
}

// WorkerLoad makes the load of a worker.
func WorkerLoad(sched time.Duration, gcShare float64) workerLoad {
	return workerLoad{SchedP99: sched, Scheduled: 100, GCShare: gcShare}
}

// Evaluate is evaluate.
var Evaluate = evaluate

// Step is one run of a round's order.
type Step struct{ Cell, Block int }

// Order is the order of a round's runs.
func (p *SweepPlan) Order(r reports.SweepRound, index int) []Step {
	var out []Step
	for _, st := range p.order(r, index) {
		out = append(out, Step{st.cell, st.block})
	}
	return out
}

// FirstRound, Foreseen, NextRound, Hash, Document and Rank are what they are named after.
func (p *SweepPlan) FirstRound() reports.SweepRound { return p.firstRound() }

func (p *SweepPlan) Foreseen() []reports.SweepRound { return p.foreseen() }

func (p *SweepPlan) NextRound(s *reports.Sweep) (reports.SweepRound, bool) { return p.nextRound(s) }

func (p *SweepPlan) Hash() string { return p.hash() }

func (p *SweepPlan) Document() *reports.Sweep { return p.document() }

func (p *SweepPlan) ForecastAt(s *reports.Sweep, round, index int) Forecast {
	return p.forecast(s, round, index)
}

// Answer is what a search says of its runs.
func (p *TunePlan) Answer(s *reports.Sweep) (*reports.Tune, error) { return p.answer(s) }

// Differences are in what the plan is not the one that a sweep began with.
func (p *SweepPlan) Differences(s *reports.Sweep) []string { return p.differences(s) }

// WithoutBudget lets a search run as planned, and no more.
func (p *TunePlan) WithoutBudget() { p.Sweep.budget = 0 }

// OverBudget tells whether a step may not begin any more.
func (p *SweepPlan) OverBudget(s *reports.Sweep, round, index int, spent time.Duration) bool {
	return p.overBudget(s, round, index, p.order(s.Rounds[round], round), spent)
}

// Extended is the confirming round with the repeats that the budget has room for.
func (p *SweepPlan) Extended(s *reports.Sweep, r reports.SweepRound, spent time.Duration) reports.SweepRound {
	return p.extended(s, r, spent)
}

// Finals is the last round of what has been measured so far.
func (p *SweepPlan) Finals(s *reports.Sweep) reports.SweepRound { return p.finals(s) }

// Bracket closes in on a limit, and returns the rates that it tried, the highest
// that was sustained and the lowest that was not.
func Bracket(from, to, precision, limit float64) (tried []float64, best, failed float64) {
	b := bracket{from: from, to: to, precision: precision}
	for {
		rate, more := b.next()
		if !more {
			return tried, b.best, b.failed
		}
		tried = append(tried, rate)
		b.note(rate, rate <= limit)
	}
}

// MostTrials is mostTrials.
var MostTrials = mostTrials

// InnocentAccount is what clients that a fault did not happen to lost of the messages
// before it and in its window, and how many of the latter arrived.
type InnocentAccount struct{ LostBefore, LostHeld, Arrived int64 }

// LostInnocent is what faults cost the innocent, with some deliveries that no fault
// explains.
func LostInnocent(unexplained int64, of ...InnocentAccount) ([]reports.Fault, error) {
	a := aftermath{stride: 1, lost: unexplained}
	for i, o := range of {
		b := bystanders{
			clients: 10,
			before:  account{lostInnocent: o.LostBefore, innocent: latency.NewRecorder()}, held: account{lostInnocent: o.LostHeld, innocent: latency.NewRecorder()},
		}
		b.held.innocent.RecordN(int64(time.Millisecond), o.Arrived)
		at := int64(3 * i)
		a.faults, a.others, a.end = append(a.faults, faultRecord{from: at, killed: at + 1, until: at + 2}), append(a.others, b), at+2
	}
	faults, _, err := a.work()
	return faults, err
}

// StampsOf are the numbers of the messages before a fault, in its hold and in its recovery.
func StampsOf(fault int) [3]simulator.Phase {
	of := stampsOf(fault)
	return [3]simulator.Phase{of.before, of.hold, of.recover}
}

// Headline is headline.
var Headline = headline

// Completions is how many messages count as complete of those that so many clients
// should have, and have.
func Completions(subscribers []int64) int64 {
	r := &run{report: &simulator.Report{RowStride: 1}, pub: &publisher{}}
	for i, n := range subscribers {
		r.report.Rows = append(r.report.Rows, simulator.MessageRow{Phase: simulator.PhaseMeasure, Sequence: uint64(i + 1), IntendedNS: 1, Subscribers: n, Count: n, MinNS: min(n, 1), MaxNS: n})
	}
	return r.fillMessages(new(reports.Result)).completion.Count()
}

// Took is tookOf.
var Took = tookOf

// Survivors is what managers and gateways, which were started so many times, counted
// before, without those of whom only a successor is left.
func Survivors(managers, gateways []int, from, to []string) (counts []map[string]float64) {
	s := &system{}
	for _, n := range managers {
		s.managers = append(s.managers, &server{starts: n})
	}
	for _, n := range gateways {
		s.gateways = append(s.gateways, &server{starts: n})
	}
	for _, m := range s.survivors(scrapesOf(from), scrapesOf(to)) {
		counts = append(counts, m)
	}
	return counts
}

// Killed is a server's process that was killed: its place, managers first, which process of
// the place it was, when it was asked and killed and its successor started, in nanoseconds,
// and what it told.
type Killed struct {
	Place, Start        int
	Asked, Killed, Next int64
	Told                string
}

// Whole joins what killed servers told to what the servers told at both ends of a phase of
// one second; starts is how often each, all gateways, was started.
func Whole(starts []int, from, to []string, killed ...Killed) (first, last []map[string]float64, gaps []reports.BudgetGap) {
	s := &system{}
	for i, n := range starts {
		s.gateways = append(s.gateways, &server{name: fmt.Sprintf("gateway-%d", i), starts: n})
	}
	for _, k := range killed {
		place := s.gateways[k.Place]
		s.ended = append(s.ended, ended{
			place: k.Place, name: fmt.Sprintf("gateway-%d.%d", k.Place, k.Start), start: k.Start, began: place.began, asked: k.Asked, killed: k.Killed, told: scrapesOf([]string{k.Told})[0],
		})
		place.began = k.Next
	}
	a, b, gaps := s.whole(scrapesOf(from), scrapesOf(to), 0, int64(time.Second))
	for i := range a {
		first, last = append(first, a[i]), append(last, b[i])
	}
	return first, last, gaps
}

// TrialEvidence is what a trial is judged by.
type TrialEvidence struct {
	Rate, Achieved                 float64
	P99, Limit, Lag, Waited, Sched time.Duration
	Lost                           int64
}

// Judge judges a trial, and says whether our own fault failed it.
func Judge(e TrialEvidence) (reports.CapacityTrial, bool) {
	t := trialEvidence{
		rate: e.Rate, achieved: e.Achieved, p99: e.P99, limit: e.Limit, lost: e.Lost, lag: e.Lag, waited: e.Waited, sched: e.Sched,
	}.judge()
	return t.CapacityTrial, t.generator
}

// Left is what servers did not give back; each triple of figures is descriptors and
// goroutines, empty, idle and at the end.
func Left(empty, idle, now [2]int, servers, gateways int) *reports.Leave {
	of := func(v [2]int) holding { return holding{fds: v[0], goroutines: v[1]} }
	return left([2]holding{of(empty), of(idle)}, of(now), servers, gateways)
}

// CountDescriptors is countDescriptors.
var CountDescriptors = countDescriptors

// ReadCPU is readCPU.
var ReadCPU = readCPU

// Headroom is headroom for one worker that wanted busiest, and processes that used sharing.
func Headroom(busiest, sharing time.Duration, seconds float64, processors int) float64 {
	return headroom(demand{each: make([]time.Duration, 1)}, demand{each: []time.Duration{busiest}, sharing: sharing}, seconds, processors)
}

// Processors, SpareProcessors and SetProcessors are processors, spareProcessors and setProcessors.
var (
	Processors      = processors
	SpareProcessors = spareProcessors
	SetProcessors   = setProcessors
)

// HeadroomOfRun is by how much more the workers of a run of so many seconds could have done, which used so
// much, beside servers that used so much and a coordinator that used none.
func HeadroomOfRun(workers []time.Duration, servers time.Duration, isolated bool, seconds float64, processors int) float64 {
	from, to := edge{cpu: map[int]time.Duration{}}, edge{cpu: map[int]time.Duration{}}
	procs := []*child{{role: "gateway", pid: -1}, {role: "manager", pid: -2}}
	from.cpu[-1], to.cpu[-1] = time.Second, time.Second+servers
	from.cpu[-2] = time.Second // it has died
	for i, used := range workers {
		procs = append(procs, &child{role: "worker", pid: -10 - i})
		to.cpu[-10-i] = used
	}
	n := &nursery{children: procs}
	if isolated {
		n.loadCPUs = []int{0}
	}
	d := usedBetween(from, to, n)
	return headroom(demand{each: make([]time.Duration, len(d.each))}, d, seconds, processors)
}

// FinishSweep fills in a sweep that is over.
func FinishSweep(ctx context.Context, s *reports.Sweep) { finish(ctx, s, nil) }

// ReadyOf waits for a service that is a shell's script to be ready.
func ReadyOf(ctx context.Context, dir, script string) error {
	n := newNursery(dir, "/bin/sh", nil)
	defer n.close(time.Second)
	c, err := n.startOf("/bin/sh", "manager", "manager", false, "-c", script)
	if err != nil {
		return err
	}
	_, err = c.ready(ctx, time.Minute)
	return err
}
