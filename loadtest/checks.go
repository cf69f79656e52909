package loadtest

import (
	"fmt"
	"time"

	"firetower/reports"
	"firetower/scenarios"
)

// Limits of the self-check. They are proposals of the literature (lag and
// scheduler delay at some per cent of the latency that is measured) with a floor
// that a busy machine of two cores keeps.
const (
	lagFloor       = 2 * time.Millisecond
	lagShare       = 0.05 // of the delivery's p99: above it the run is degraded
	lagShareMax    = 0.25 // above it, it is invalid: the harness made the latency
	schedFloor     = 2 * time.Millisecond
	schedShare     = 0.10
	skewLimit      = 50 * time.Microsecond
	gcLimit        = 0.01
	stallLimit     = 0.02 // of the measured phase: above it the run is degraded
	stallMost      = 0.2  // above it, it is invalid
	boxLimit       = 0.95
	stealLimit     = 0.02
	readerLimit    = 5.5    // us of CPU per message received, at 10,000 clients
	backlogEvery   = 100    // clients, one of which may have a message unread
	readerMessages = 10_000 // fewer tell nothing of the cost of one
)

// evidence is what the checks look at.
type evidence struct {
	result  *reports.Result
	from    edge // the measured phase
	to      edge
	connect edge // before the first connection
	loads   []workerLoad
	skew    time.Duration
	cpus    int
	faults  error // what fleets ended with before their time
	forgot  int64
	// generatorBound says that a search for the capacity met our own limit, and precision is
	// how near to each other its last two rates were to be.
	generatorBound bool
	precision      float64

	calibration calibration
	warmup      steadiness
	idle        hiccupLoad // the coordinator's
	// ownLag is the publish lag without what the server held up; nothing for all of it.
	ownLag reports.Distribution
}

// selfCheck says whether the figures of a run can be believed.
func selfCheck(e evidence) ([]reports.Check, reports.Verdict, []string) {
	r := e.result
	checks := []reports.Check{
		e.ledger(), e.losses(), e.publisher(), e.connections(),
	}
	if r.Loop == "open" {
		checks = append(checks, e.lag())
	}
	if r.Capacity != nil {
		checks = append(checks, e.search())
	}
	checks = append(checks, e.sched(), e.stalls(), e.gc(), e.clock(), e.box(), e.reader(), e.backlog(), e.steal(), e.kernel(), e.listen(), e.pressure(),
		e.hiccupCheck(), e.ceilingCheck(), e.steadyCheck(), e.budgetCheck())
	verdict := reports.Valid
	var reasons []string
	for _, c := range checks {
		switch c.Status {
		case reports.CheckInvalid:
			verdict = reports.Invalid
		case reports.CheckDegraded:
			if verdict == reports.Valid {
				verdict = reports.Degraded
			}
		default:
			continue
		}
		reasons = append(reasons, fmt.Sprintf("%s: %s, limit %s", c.Name, c.Value, c.Limit))
	}
	return checks, verdict, reasons
}

// search tells whether a search for the capacity found the servers' limit.
func (e evidence) search() reports.Check {
	c := reports.Check{
		Name: "capacity search", Status: when(e.generatorBound, reports.CheckDegraded), Limit: "the servers' limit, not the load generator's",
		Note: "the lowest rate that was not sustained bounds the capacity; when our own lateness failed it, the servers may take more",
	}
	found := e.result.Capacity
	if found.Failed == nil {
		c.Value = fmt.Sprintf("%.4g/s of all that were tried", found.MessagesPerSecond)
		return c
	}
	c.Value = fmt.Sprintf("%.4g/s sustained, %.4g/s not", found.MessagesPerSecond, *found.Failed)
	// A tenth beyond the precision is what rounding may take.
	if best := found.MessagesPerSecond; best > 0 && *found.Failed > best*(1+1.1*e.precision) {
		c.Status = reports.CheckDegraded
		c.Value += ": the search ended before they were within " + scenarios.Ratio(e.precision).String()
	}
	return c
}

// when is bad if the condition holds, and ok otherwise.
func when(cond bool, bad reports.CheckStatus) reports.CheckStatus {
	if cond {
		return bad
	}
	return reports.CheckOK
}

func (e evidence) ledger() reports.Check {
	r := e.result
	off := r.Expected - r.Received - r.Lost
	bad := off != 0 || r.Lost < 0 || r.Negative != 0 || e.forgot != 0
	return reports.Check{
		Name: "ledger balances", Status: when(bad, reports.CheckInvalid),
		Value: fmt.Sprintf("%d = %d + %d", r.Expected, r.Received, r.Lost), Limit: "expected = received + lost",
		Note: "every expected delivery is received or lost, none arrived before it was sent",
	}
}

func (e evidence) losses() reports.Check {
	r := e.result
	unexplained, lost := r.LossUnexplained(), r.Lost
	if r.Churn != nil {
		lost += r.Churn.Lost
	}
	return reports.Check{
		Name: "losses are explained", Status: when(unexplained > 0, reports.CheckDegraded),
		Value: fmt.Sprintf("%d of %d lost", unexplained, lost), Limit: "0 outside of planned faults",
		Note: "the figures of a run that lost messages are of those that arrived",
	}
}

func (e evidence) publisher() reports.Check {
	p := e.result.Publisher
	status := when(p.Dropped > 0, reports.CheckDegraded)
	if p.Planned != p.Sent+p.Refused+p.Dropped || (p.Planned > 0 && p.Dropped*10 > p.Planned) {
		status = reports.CheckInvalid
	}
	if status == reports.CheckOK && p.Refused > 0 && len(e.result.Faults) == 0 {
		status = reports.CheckDegraded
	}
	return reports.Check{
		Name: "the plan was carried out", Status: status,
		Value: fmt.Sprintf("%d of %d sent, %d refused, %d dropped", p.Sent, p.Planned, p.Refused, p.Dropped), Limit: "none dropped, none refused but by a fault",
		Note: "a message that would have been too late to send is dropped and counted",
	}
}

func (e evidence) connections() reports.Check {
	r := e.result
	status := when(r.Connections < r.Planned, reports.CheckInvalid)
	if e.faults != nil {
		status = reports.CheckInvalid
	}
	value := fmt.Sprintf("%d of %d", r.Connections, r.Planned)
	if e.faults != nil {
		value += ", " + e.faults.Error()
	}
	return reports.Check{
		Name: "every client was there", Status: status, Value: value, Limit: "all",
		Note: "connected, subscribed and reached by a probe on each topic before the measured phase",
	}
}

// p99 is the delivery's p99, or 0 when there is none.
func (e evidence) p99() time.Duration {
	if v := e.result.Delivery.P99; v != nil {
		return time.Duration(*v * float64(time.Millisecond))
	}
	return 0
}

func share(d time.Duration, part float64) time.Duration { return time.Duration(float64(d) * part) }

func (e evidence) lag() reports.Check {
	c := reports.Check{Name: "publish lag p99", Note: "how late messages were sent; latencies from the intended send include it. Only our own fault makes a run invalid"}
	lag := e.result.PublishLag
	got, point := highest(lag)
	if point == "" {
		c.Status, c.Value, c.Limit = reports.CheckSkipped, "none", "–"
		return c
	}
	own, known := highest(e.ownLag)
	if known == "" {
		own = got
	}
	limit := max(lagFloor, share(e.p99(), lagShare))
	c.Status = when(got > limit, reports.CheckDegraded)
	if own > max(5*lagFloor, share(e.p99(), lagShareMax)) {
		c.Status = reports.CheckInvalid
	}
	c.Value, c.Limit = show(got), "at most "+show(limit)
	if lag.P99 == nil {
		c.Value += fmt.Sprintf(" (%s of %d)", point, lag.Count)
	}
	if got > limit && own < got/2 {
		c.Value += fmt.Sprintf(", %s without what the server held up", show(own))
	}
	return c
}

// highest is the highest percentile up to p99 that a distribution has the values for, and
// its name; with the fewest it is the maximum, since a single value that is late is the
// maximum of any run. The name is empty without values.
func highest(d reports.Distribution) (time.Duration, string) {
	value, name := d.Max, "the maximum"
	for _, p := range []struct {
		value *float64
		name  string
	}{{d.P90, "p90"}, {d.P95, "p95"}, {d.P99, "p99"}} {
		if p.value != nil {
			value, name = p.value, p.name
		}
	}
	if value == nil {
		return 0, ""
	}
	return time.Duration(*value * float64(time.Millisecond)), name
}

func (e evidence) sched() reports.Check {
	c := reports.Check{Name: "worker scheduler delay p99", Note: "how long runnable goroutines of a worker waited (/sched/latencies)"}
	var worst time.Duration
	var n uint64
	for _, l := range e.loads {
		worst = max(worst, l.SchedP99)
		n += l.Scheduled
	}
	if n == 0 {
		c.Status, c.Value, c.Limit = reports.CheckSkipped, "none", "–"
		return c
	}
	limit := max(schedFloor, share(e.p99(), schedShare))
	c.Status, c.Value, c.Limit = when(worst > limit, reports.CheckDegraded), show(worst), "at most "+show(limit)
	return c
}

// stalls is about workers that stood still: what arrived meanwhile was read late, and
// looks as if the server had sent it late.
func (e evidence) stalls() reports.Check {
	share, longest := 0.0, time.Duration(0)
	for _, l := range e.loads {
		share, longest = max(share, l.StallShare), max(longest, l.StallMax)
	}
	status := when(share > stallLimit, reports.CheckDegraded)
	if share > stallMost {
		status = reports.CheckInvalid
	}
	return reports.Check{
		Name: "worker standstill", Status: status,
		Value: fmt.Sprintf("%.1f %% of the time, longest %s", share*100, show(longest)), Limit: fmt.Sprintf("at most %.0f %%", stallLimit*100),
		Note: fmt.Sprintf("time in which a worker as a whole woke up more than %s late: stopped, starved or throttled", show(hiccupFloor)),
	}
}

func (e evidence) gc() reports.Check {
	worst, longest := 0.0, time.Duration(0)
	for _, l := range e.loads {
		worst, longest = max(worst, l.GCShare), max(longest, l.GCMax)
	}
	return reports.Check{
		Name: "worker garbage collection", Status: when(worst > gcLimit, reports.CheckDegraded),
		Value: fmt.Sprintf("%.2f %% of its CPU, longest stop %s", worst*100, show(longest)), Limit: fmt.Sprintf("at most %.0f %%", gcLimit*100),
		Note: "time taken from the receiving loops",
	}
}

func (e evidence) clock() reports.Check {
	return reports.Check{
		Name: "clock skew between processes", Status: when(e.skew > skewLimit, reports.CheckInvalid),
		Value: show(e.skew), Limit: "at most " + show(skewLimit), Note: "all stamps are CLOCK_MONOTONIC of one machine; measured by pings before and after",
	}
}

func (e evidence) box() reports.Check {
	total := e.to.kernel.total - e.from.kernel.total
	c := reports.Check{Name: reports.CheckMachineBusy, Limit: fmt.Sprintf("at most %.0f %%", boxLimit*100), Note: "a full machine queues for a core; its latency is the same for every server"}
	if total <= 0 {
		c.Status, c.Value = reports.CheckSkipped, "unknown"
		return c
	}
	busy := float64(e.to.kernel.busy-e.from.kernel.busy) / float64(total)
	c.Status, c.Value = when(busy > boxLimit, reports.CheckDegraded), fmt.Sprintf("%.0f %% of %d CPUs", busy*100, e.cpus)
	if e.result.Loop == "closed" && c.Status != reports.CheckOK {
		c.Status = reports.CheckNote // a closed loop is there to fill the machine
	}
	return c
}

func (e evidence) reader() reports.Check {
	g := e.result.Generator
	c := reports.Check{Name: "load CPU per message", Limit: fmt.Sprintf("at most %.1f us", readerLimit), Note: "what a worker's CPU costs per message received; beyond the limit it takes the cores that the servers need"}
	if g.CPUMicrosPerMessage == nil || e.result.Received < readerMessages {
		c.Status, c.Value = reports.CheckSkipped, "too few messages"
		return c
	}
	c.Status, c.Value = when(*g.CPUMicrosPerMessage > readerLimit, reports.CheckNote), fmt.Sprintf("%.2f us", *g.CPUMicrosPerMessage)
	return c
}

func (e evidence) backlog() reports.Check {
	n := e.result.Generator.ReceiveBacklog
	// A ping or the answer to a subscription may come at any moment, and is no backlog.
	limit := int64(max(e.result.PayloadSize, 1) * max(e.result.Connections/backlogEvery, 1))
	return reports.Check{
		Name: "receive backlog", Status: when(n > limit, reports.CheckDegraded),
		Value: fmt.Sprintf("%d B", n), Limit: fmt.Sprintf("at most %d B at the end", limit),
		Note: "bytes that the clients had not read when the run stopped receiving: a message at one of a hundred clients is no backlog",
	}
}

func (e evidence) steal() reports.Check {
	total := e.to.kernel.total - e.from.kernel.total
	c := reports.Check{Name: "steal", Limit: fmt.Sprintf("at most %.0f %%", stealLimit*100), Note: "CPU time that the host gave to others"}
	if total <= 0 {
		c.Status, c.Value = reports.CheckSkipped, "unknown"
		return c
	}
	steal := float64(e.to.kernel.steal-e.from.kernel.steal) / float64(total)
	c.Status, c.Value = when(steal > stealLimit, reports.CheckDegraded), fmt.Sprintf("%.2f %%", steal*100)
	return c
}

func (e evidence) kernel() reports.Check {
	return e.delta("TCP retransmits and drops", "segments sent again or dropped in the measured phase, on the whole machine", e.from,
		"RetransSegs", "TCPBacklogDrop", "TCPRcvQDrop", "PruneCalled")
}

func (e evidence) listen() reports.Check {
	return e.delta("listen queue overflows", "connections refused by a full listen queue since the start: a SYN comes again a second later", e.connect,
		"ListenOverflows", "ListenDrops")
}

// delta notes counters of the kernel that grew.
func (e evidence) delta(name, note string, from edge, counters ...string) reports.Check {
	c := reports.Check{Name: name, Status: reports.CheckOK, Value: "none", Limit: "noted above 0", Note: note}
	for _, k := range counters {
		if n := e.to.kernel.values[k] - from.kernel.values[k]; n > 0 {
			if c.Status == reports.CheckOK {
				c.Status, c.Value = reports.CheckNote, ""
			} else {
				c.Value += ", "
			}
			c.Value += fmt.Sprintf("%s %d", k, n)
		}
	}
	return c
}

func (e evidence) pressure() reports.Check {
	took := time.Duration(e.to.at - e.from.at)
	c := reports.Check{Name: reports.CheckCPUPressure, Status: reports.CheckSkipped, Value: "unknown", Limit: "shown", Note: "share of the measured phase in which some task waited for a CPU (/proc/pressure/cpu)"}
	if took > 0 && e.to.kernel.pressure > 0 {
		c.Status = reports.CheckOK
		c.Value = fmt.Sprintf("%.0f %%", 100*float64(e.to.kernel.pressure-e.from.kernel.pressure)/float64(took))
	}
	return c
}

// show writes a short time for people.
func show(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	default:
		return fmt.Sprintf("%.0f us", float64(d)/float64(time.Microsecond))
	}
}
