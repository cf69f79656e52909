package loadtest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"firetower/reports"
	"firetower/scenarios"
	"firetower/simulator"
	"firetower/simulator/latency"
)

// The exit codes of a run, which cmd lists for people.
const (
	ExitOK          = 0
	ExitError       = 1
	ExitRegression  = 97
	ExitInvalid     = 98
	ExitThreshold   = 99
	ExitInterrupted = 105
)

// outcome makes the result document of what the run has gathered, however far it came.
func (r *run) outcome(failure, interrupted error) *reports.Result {
	payload, _ := meanPayload(r.s)
	res := &reports.Result{
		Schema: reports.Schema, ID: filepath.Base(r.dir), Scenario: r.s.Name, Purpose: r.s.Purpose, Target: string(r.o.Plan.Target),
		Started: r.started, Ended: time.Now(), Seed: r.s.Seed, RunID: fmt.Sprintf("%016x", r.runID),
		Loop: loop(r.s), Subprotocol: r.o.Plan.spoken(), Planned: r.s.Connections, Topics: r.s.Topics.Count, PayloadSize: payload,
		Interrupted: interrupted != nil, Tags: r.o.Tags,
		CompletionAt: map[string]reports.Distribution{}, Histograms: map[string]*latency.Recorder{},
		Environment: readEnvironment(r.o, r.pressure), Configuration: r.configuration(),
	}
	if r.o.part != nil {
		res.Duet = r.o.part.with
	}
	res.Phases = r.phaseList()
	res.Processes = r.processes()
	res.Publisher = r.publisherAccount()
	for _, d := range []*reports.Distribution{&res.Delivery, &res.DeliveryActual, &res.First, &res.Completion, &res.Spread, &res.PublishAck, &res.PublishLag, &res.Connect, &res.Subscribe, &res.Reconnect, &res.Join} {
		*d = reports.Summarise(nil)
	}
	var problems []error
	if failure != nil && !errors.Is(failure, ErrInterrupted) {
		problems = append(problems, failure)
	}
	problems = append(problems, r.failures)
	if r.report != nil {
		problems = append(problems, r.fill(res))
	}
	if err := errors.Join(problems...); err != nil {
		res.Failure = err.Error()
	}
	r.judge(res)
	return res
}

func loop(s scenarios.Scenario) string {
	switch s.Load.Mode {
	case scenarios.ModeInflight:
		return "closed"
	case scenarios.ModeIdle:
		return "idle"
	default:
		return "open"
	}
}

// judge makes the checks, the verdict, the thresholds and the exit code.
func (r *run) judge(res *reports.Result) {
	ev := evidence{
		result: res, from: r.edgeFrom, to: r.edgeTo, connect: r.edgeStart, loads: r.loads, skew: r.skew,
		cpus: r.o.Plan.Machine.CPUs, calibration: r.calibration, warmup: r.warmup, idle: r.idle, faults: r.fleet.faults(),
		generatorBound: r.generatorBound, precision: float64(r.s.Capacity.Precision),
	}
	if r.report != nil {
		ev.forgot = r.report.Forgotten
		own, err := mergedPhases(r.pub.ownLags)
		if err != nil { // of recorders that are all made alike
			res.Failure = cmp.Or(res.Failure, err.Error())
		}
		ev.ownLag = reports.Summarise(own)
	}
	if r.edgeTo.at != 0 && r.report != nil {
		res.Checks, res.Verdict, res.Reasons = selfCheck(ev)
	} else {
		res.Verdict, res.Reasons = reports.Invalid, []string{"the run ended before its measured phase did"}
	}
	if res.Failure != "" {
		res.Verdict = reports.Invalid
		res.Reasons = append(res.Reasons, "the run failed: "+res.Failure)
	}
	res.Thresholds, res.ThresholdsOK = evaluate(r.s.Thresholds, res)
	switch {
	case res.Failure != "":
		res.ExitCode = ExitError
	case res.Interrupted:
		res.ExitCode = ExitInterrupted
	case res.Verdict == reports.Invalid:
		res.ExitCode = ExitInvalid
	case !res.ThresholdsOK:
		res.ExitCode = ExitThreshold
	default:
		res.ExitCode = ExitOK
	}
}

// evaluate says which thresholds held. One whose figure the run does not have has not.
func evaluate(thresholds []scenarios.Threshold, res *reports.Result) ([]reports.Threshold, bool) {
	units := map[scenarios.MetricKind]string{
		scenarios.KindTime: "ms", scenarios.KindMicros: "us", scenarios.KindBytes: "bytes", scenarios.KindRate: "/s",
	}
	out, ok := []reports.Threshold{}, true
	for _, t := range thresholds {
		e := reports.Threshold{Text: t.Text, Metric: t.Metric, Limit: t.Limit, Unit: units[t.Kind]}
		value, reason := res.Metric(t.Metric)
		if reason == "" {
			e.Value = &value
			e.OK = t.Op.Holds(value, t.Limit)
		} else {
			e.Reason = reason
		}
		ok = ok && e.OK
		out = append(out, e)
	}
	return out, ok
}

// fill puts the fleets' report into the document.
func (r *run) fill(res *reports.Result) error {
	rep := r.report
	sum, err := sumPhases(rep, headlinePhases...)
	if err != nil {
		return err
	}
	res.Ledger = sum.Ledger
	res.Connections = int(rep.Subscribed)
	if rep.Slow != nil {
		res.Slow = &reports.Slow{Connections: rep.Slow.Connections, Closed: rep.Slow.Closed, Received: rep.Slow.Received}
		for _, n := range rep.Slow.Closed {
			res.Slow.Disconnected += n
		}
	}
	r.fillClients(res)
	res.Capacity, res.Leave = r.capacity, r.left
	if jain := rep.Spread.Jain(); jain > 0 {
		res.Fairness = &jain
	}
	if res.Expected > 0 {
		reach := float64(res.Received) / float64(res.Expected)
		res.Reach = &reach
	}
	if err := r.fillFaults(res); err != nil {
		return err
	}
	messages := r.fillMessages(res)
	if err := r.fillLatency(res, sum, messages); err != nil {
		return err
	}
	r.fillCost(res)
	r.fillCalibration(res)
	if res.Budget = budget(res, r.edgeFrom.servers, r.edgeTo.servers); res.Budget != nil {
		res.BudgetGaps = r.gaps
	}
	res.Series = r.servers.series(r.begin)
	res.SkewP99 = skewP99(rep.Spread)
	if res.Heatmap, err = r.heatmap(rep.Intervals); err != nil {
		return err
	}
	return r.fillSeconds(res)
}

// fillClients tells what became of the clients' connections.
func (r *run) fillClients(res *reports.Result) {
	rep := r.report
	for _, n := range rep.Closed {
		res.Disconnected += n
	}
	if r.s.Reconnect.Mode == scenarios.ReconnectAlways {
		res.Disconnected = rep.Down
	}
	res.Reconnects = rep.Reconnects
	if c := rep.Churn; c != nil {
		res.Churn = &reports.Churn{
			Topics: r.s.Churn.Topics, Changes: c.Changes, Refused: c.Refused, Due: c.Due, Received: c.Received, Lost: c.Lost,
			Duplicated: c.Duplicated, Reordered: c.Reordered, Extra: c.Extra, Grace: reports.MillisOf(churnGrace),
		}
	}
	if took := float64(r.phaseEnd("connect")-r.phaseStart("connect")) / 1e9; took > 0 {
		res.ConnectSeconds = math.Round(took*1e3) / 1e3
		res.ConnectionsPerSecond = math.Round(float64(rep.Subscribed)/took*10) / 10
	}
}

// fillFaults tells what the faults cost, and which losses they do not explain.
func (r *run) fillFaults(res *reports.Result) error {
	if len(r.faults) == 0 {
		res.LostUnexplained = max(res.Lost, 0)
		return nil
	}
	rep := r.report
	others, err := r.bystanders()
	if err != nil {
		return err
	}
	a := aftermath{
		faults: r.faults, lives: r.acks.streams, misses: r.acks.misses, messages: r.pub.messages, rows: rep.Rows, stride: rep.RowStride,
		lost: res.Lost, others: others, start: r.phaseStart("measure"), end: r.phaseEnd("measure"),
	}
	for _, p := range rep.Phases {
		a.duplicated += p.Duplicated
	}
	if rep.Down == 0 {
		a.whole = rep.LastReconnectNS
	}
	if a.seconds, err = secondsOf(rep.Intervals, r.pub.messages); err != nil {
		return err
	}
	res.Faults, res.LostUnexplained, err = a.work()
	return err
}

// messageStats are what single messages tell.
type messageStats struct {
	first, completion, spread *latency.Recorder
	at                        map[string]*latency.Recorder
	last                      int64 // the last arrival of all, by clock
}

// completionShares are the shares of subscribers that completion is reported at.
var completionShares = []struct {
	name  string
	share float64
}{{"50", 0.50}, {"90", 0.90}, {"99", 0.99}}

// fillMessages works out what single messages tell: their first arrival, their
// last, and the time between.
func (r *run) fillMessages(res *reports.Result) messageStats {
	st := messageStats{first: latency.NewRecorder(), completion: latency.NewRecorder(), spread: latency.NewRecorder(), at: map[string]*latency.Recorder{}}
	for _, s := range completionShares {
		st.at[s.name] = latency.NewRecorder()
	}
	var rows []simulator.MessageRow
	incomplete := int64(0)
	for _, row := range r.report.Rows {
		if !headline(row.Phase) || row.Subscribers == 0 {
			continue // a message for nobody has no first and no last
		}
		rows = append(rows, row)
		if row.Count > 0 {
			st.first.Record(row.MinNS)
			st.last = max(st.last, row.IntendedNS+row.MaxNS)
		}
		for _, s := range completionShares {
			if ns, ok := row.Reached(s.share); ok {
				st.at[s.name].Record(ns)
			}
		}
		if !row.Complete() {
			incomplete++
			continue
		}
		st.completion.Record(row.MaxNS)
		st.spread.Record(row.MaxNS - row.MinNS)
	}
	for _, m := range r.pub.messages {
		if headline(m.phase) && m.fate == fateSent {
			res.Messages++
		}
	}
	res.Incomplete = incomplete * int64(max(r.report.RowStride, 1))
	res.Sample = r.sample(rows)
	return st
}

// seconds is a moment in seconds from the run's start.
func (r *run) seconds(at int64) float64 { return math.Round(float64(at-r.begin)/1e6) / 1e3 }

func (r *run) phaseStart(name string) int64 {
	for _, p := range r.phases {
		if p.name == name {
			return p.from
		}
	}
	return r.begin
}

func (r *run) phaseEnd(name string) int64 {
	for _, p := range r.phases {
		if p.name == name {
			return p.to
		}
	}
	return r.begin
}

// fillLatency makes the distributions and the histogram log's lines.
func (r *run) fillLatency(res *reports.Result, sum account, st messageStats) error {
	acks, err := mergedPhases(r.acks.acks)
	if err != nil {
		return err
	}
	lags, err := mergedPhases(r.pub.lags)
	if err != nil {
		return err
	}
	put := func(name string, d *reports.Distribution, h *latency.Recorder) {
		*d = reports.Summarise(h)
		if h != nil && h.Count() > 0 {
			res.Histograms[name] = h
		}
	}
	put("delivery", &res.Delivery, sum.intended)
	put("delivery_actual", &res.DeliveryActual, sum.actual)
	put("first", &res.First, st.first)
	put("completion", &res.Completion, st.completion)
	put("spread", &res.Spread, st.spread)
	put("publish_ack", &res.PublishAck, acks)
	put("publish_lag", &res.PublishLag, lags)
	put("connect", &res.Connect, r.report.Connect)
	put("subscribe", &res.Subscribe, r.report.Subscribe)
	put("reconnect", &res.Reconnect, r.report.Reconnect)
	put("join", &res.Join, r.report.Join)
	for _, s := range completionShares {
		res.CompletionAt[s.name] = reports.Summarise(st.at[s.name])
	}
	// What is measured lasts until the last delivery, or the end of the plan of messages
	// when that is later.
	from, to := r.phaseStart("measure"), max(r.phaseStart("measure"), r.published, st.last)
	res.MeasuredSeconds = math.Round(float64(to-from)/1e6) / 1e3
	if res.MeasuredSeconds > 0 {
		res.DeliveriesPerSecond = float64(res.Received+r.churned) / res.MeasuredSeconds
		res.MessagesPerSecond = float64(res.Messages) / (float64(r.published-from) / 1e9)
	}
	wall := r.clock.Wall
	for _, name := range []string{"first", "completion", "publish_lag", "publish_ack", "delivery_actual"} {
		r.intervals = append(r.intervals, reports.Interval{Tag: "measure." + name, From: wall(from), To: wall(to), Recorder: res.Histograms[name]})
	}
	r.intervals = append(r.intervals, reports.Interval{Tag: "connect.connect", From: wall(r.phaseStart("connect")), To: wall(r.phaseEnd("connect")), Recorder: r.report.Connect})
	return nil
}

// mergedPhases is what was recorded of the headline's phases.
func mergedPhases(by map[simulator.Phase]*latency.Recorder) (*latency.Recorder, error) {
	var parts []*latency.Recorder
	for _, phase := range headlinePhases {
		parts = append(parts, by[phase])
	}
	return latency.Merged(parts...)
}

// fillCost works out what servers and harness used.
func (r *run) fillCost(res *reports.Result) {
	procs := r.nursery.all()
	if r.rssEmpty > 0 && r.rssIdle > 0 && res.Connections > 0 {
		per := math.Round(float64(r.rssIdle-r.rssEmpty) / float64(res.Connections))
		res.Server.RSSBytesPerConnection = &per
	}
	res.Server.RSSEmpty, res.Server.RSSIdle = r.rssEmpty, r.rssIdle
	res.Server.RSSPeak = r.sampler.serverPeak()
	res.Generator.Workers = len(r.fleet)
	res.Generator.Engine = string(r.report.Engine)
	res.Generator.ReceiveBacklog = r.report.Load.Backlog
	if r.edgeTo.at == 0 {
		return
	}
	server := cpuOf(r.edgeFrom, r.edgeTo, procs, isServer)
	workers := cpuOf(r.edgeFrom, r.edgeTo, procs, func(role string) bool { return role == "worker" })
	own := r.edgeTo.cpu[os.Getpid()] - r.edgeFrom.cpu[os.Getpid()]
	res.Server.CPUSeconds, res.Generator.WorkerCPUSeconds, res.Generator.CoordinatorSeconds = server.Seconds(), workers.Seconds(), own.Seconds()
	if took := time.Duration(r.edgeTo.at - r.edgeFrom.at); took > 0 {
		res.Server.CPUCores = server.Seconds() / took.Seconds()
	}
	per := func(d time.Duration, n int64) *float64 {
		if n == 0 {
			return nil
		}
		v := math.Round(float64(d)/float64(n)) / 1e3
		return &v
	}
	res.Server.CPUMicrosPerDelivery = per(server, res.Received+r.churned)
	res.Generator.CPUMicrosPerMessage = per(workers, res.Received+res.Duplicated+r.churned)
	if reads := r.report.Load.Reads; reads > 0 {
		all := r.fleet.counters().ChurnReceived
		for _, p := range r.report.Phases {
			all += p.Received + p.Duplicated
		}
		v := math.Round(float64(all)/float64(reads)*100) / 100
		res.Generator.MessagesPerRead = &v
	}
	from, to := r.edgeFrom.metrics, r.edgeTo.metrics
	res.Server.Drops = grown(from, to, "firetower_gateway_drops_total", "reason")
	for reason, n := range grown(from, to, "firetower_manager_drops_total", "reason") {
		res.Server.Drops["manager "+reason] += n
	}
	res.Server.Disconnects = grown(from, to, "firetower_gateway_disconnects_total", "reason")
	res.Server.Metrics = totals(from, to)
}

// phaseNames are the names of the kinds of phases of messages, which are also those of
// the run's.
var phaseNames = map[simulator.Phase]string{
	simulator.PhaseProbe: "probe", simulator.PhaseWarmup: "warmup", simulator.PhaseMeasure: "measure",
	simulator.PhaseTrial: "trials", simulator.PhaseHold: "hold", simulator.PhaseRecover: "recover",
}

func phaseName(p simulator.Phase) string { return phaseNames[p.Kind()] }

// phaseList is the run's phases by their beginning, with the ledger of those that
// sent messages. Those of a fault stand within the measured one, whose ledger is
// without their messages.
func (r *run) phaseList() []reports.Phase {
	out := []reports.Phase{}
	sorted := slices.Clone(r.phases)
	slices.SortStableFunc(sorted, func(a, b phase) int { return cmp.Compare(a.from, b.from) })
	for _, p := range sorted {
		rp := reports.Phase{Name: p.name, Start: ms(p.from - r.begin), End: ms(p.to - r.begin)}
		if r.report != nil && r.pub != nil {
			if sum, err := sumPhases(r.report, r.stampsIn(p)...); err == nil && sum.phases > 0 {
				d := reports.Summarise(sum.intended)
				rp.Ledger, rp.Delivery = &sum.Ledger, &d
			}
		}
		out = append(out, rp)
	}
	return out
}

// stampsIn are the numbers of the messages that fleets have an account of, of a phase of
// the run: the measured one has one before each fault, and one after them all.
func (r *run) stampsIn(p phase) []simulator.Phase {
	if p.stamp != 0 {
		return []simulator.Phase{p.stamp}
	}
	var out []simulator.Phase
	for _, of := range r.report.Phases {
		if of.Phase != simulator.PhaseProbe && phaseName(of.Phase) == p.name {
			out = append(out, of.Phase)
		}
	}
	return out
}

// publisherAccount is the account of the measured phase's messages.
func (r *run) publisherAccount() reports.Publisher {
	p := reports.Publisher{}
	if r.system != nil {
		p.Via = r.system.via(r.s.Load)
	}
	if r.pub == nil {
		return p
	}
	for _, m := range r.pub.messages {
		if !headline(m.phase) {
			continue
		}
		p.Planned++
		switch m.fate {
		case fateSent:
			p.Sent++
		case fateRefused:
			p.Refused++
		case fateDropped:
			p.Dropped++
		}
	}
	for _, phase := range headlinePhases {
		p.Unacknowledged += r.acks.unacknowledged[phase]
		p.Missed += r.acks.missed[phase]
	}
	p.Errors = r.acks.errors
	return p
}

// configuration is what the run was told to do.
func (r *run) configuration() reports.Configuration {
	text := r.s.Encode()
	question := r.s.Clone()
	question.Seed, question.Gateway, question.Manager = 0, nil, nil
	hash := sha256.Sum256([]byte(question.Encode()))
	c := reports.Configuration{
		Scenario: text, ScenarioHash: hex.EncodeToString(hash[:]), Overrides: r.o.Overrides,
		Gateway: r.o.Plan.GatewayTOML, Manager: r.o.Plan.ManagerTOML,
	}
	if r.system != nil {
		c.Server = r.system.peer.Version
	}
	if plan, err := json.Marshal(r.o.Plan); err == nil {
		c.Plan = plan
	}
	return c
}
