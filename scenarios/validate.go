package scenarios

import (
	"fmt"
	"regexp"
	"time"
)

// The bounds below keep a slip of the fingers from becoming a day's run or an
// allocation of the whole memory; they are far above anything that fits a machine.
const (
	maxConnections = 1_000_000
	maxTopics      = 1_000_000
	maxMessages    = 2_000_000
	maxPhase       = 24 * time.Hour
	maxRate        = 1_000_000
	// MinPayload is the smallest message that can hold the test header.
	MinPayload = 128
	maxPayload = 1 << 20
)

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// Validate joins one *ProblemError for each thing that is wrong with a scenario that
// did not come from a file, or that was changed since.
func (s Scenario) Validate() error {
	d := decoder{s: s}
	d.validate()
	if len(d.problems) == 0 {
		return nil
	}
	return d.err()
}

func (d *decoder) check(ok bool, key, format string, args ...any) {
	if !ok {
		d.fail(key, fmt.Sprintf(format, args...))
	}
}

func (d *decoder) between(key string, v, low, high int) {
	d.check(v >= low && v <= high, key, "must be %d to %d, got %d", low, high, v)
}

func (d *decoder) phase(key string, v Duration) {
	d.check(v.Duration >= 0 && v.Duration <= maxPhase, key, "must be at most %v, got %v", Duration{maxPhase}, v)
}

func (d *decoder) validate() {
	s := &d.s
	if d.file != "" {
		// A file without its version may mean another format than this one.
		d.check(d.given["version"], "version", "is missing: write version = %d", Version)
	}
	d.check(s.Version == Version, "version", "this build reads version %d, got %d", Version, s.Version)
	d.check(nameForm.MatchString(s.Name), "name", "wants lower-case letters, digits and hyphens, got %q", s.Name)
	d.check(s.Purpose != "", "purpose", "is missing: say in one line what the scenario asks")
	d.between("connections", s.Connections, 1, maxConnections)
	d.check(s.Subprotocol == V0 || s.Subprotocol == V1, "subprotocol", "must be %q or %q, got %q%s", V1, V0, s.Subprotocol,
		DidYouMean(string(s.Subprotocol), []string{string(V0), string(V1)}))
	d.between("topics.count", s.Topics.Count, 1, maxTopics)
	if s.Topics.Count >= 1 {
		d.between("topics.per_connection", s.Topics.PerConnection, 1, min(s.Topics.Count, 128))
	}
	d.check(s.Connect.Rate.PerSecond > 0 && s.Connect.Rate.PerSecond <= maxRate, "connect.rate", "must be above 0 and at most %d/s, got %v", maxRate, s.Connect.Rate)
	d.between("connect.handshakes", s.Connect.Handshakes, 1, 4096)
	d.check(s.Connect.Timeout.Duration > 0, "connect.timeout", "must be above 0s")
	d.phase("connect.timeout", s.Connect.Timeout)
	d.phase("phases.settle", s.Phases.Settle)
	d.phase("phases.ready", s.Phases.Ready)
	d.phase("phases.warmup", s.Phases.Warmup)
	d.phase("phases.measure", s.Phases.Measure)
	d.phase("phases.drain", s.Phases.Drain)
	d.check(s.Phases.Ready.Duration > 0, "phases.ready", "must be above 0s")
	d.check(s.Phases.Measure.Duration > 0, "phases.measure", "must be above 0s")
	d.check(s.Phases.Drain.Duration > 0, "phases.drain", "must be above 0s, or every message under way at the end is lost")
	d.between("topology.gateways", s.Topology.Gateways, 1, 64)
	d.between("topology.workers", s.Topology.Workers, 0, 64)
	d.validateLoad()
	d.validateSlow()
	d.validateFaults()
}

func (d *decoder) validateLoad() {
	l := &d.s.Load
	switch l.Mode {
	case ModeOpen:
		d.check(l.Rate.PerSecond > 0 && l.Rate.PerSecond <= maxRate, "load.rate", "must be above 0 and at most %d/s, got %v", maxRate, l.Rate)
	case ModeBurst:
		d.between("load.burst", l.Burst, 1, 100_000)
		d.check(l.Every.Duration > 0, "load.every", "must be above 0s in burst mode")
	case ModeInflight:
		d.between("load.inflight", l.Inflight, 1, 100_000)
		d.check(l.Publishers == 1, "load.publishers", "must be 1 in inflight mode, whose loop is one, got %d", l.Publishers)
	case ModeIdle, ModeCapacity:
	default:
		modes := []string{string(ModeOpen), string(ModeBurst), string(ModeInflight), string(ModeIdle)}
		d.fail("load.mode", fmt.Sprintf("must be open, burst, inflight or idle, got %q%s", l.Mode, DidYouMean(string(l.Mode), modes)))
	}
	// A key that the mode does not use would be parsed and ignored.
	d.check(l.Burst == 0 || l.Mode == ModeBurst, "load.burst", "is for load.mode = \"burst\" alone")
	d.check(l.Every.Duration == 0 || l.Mode == ModeBurst, "load.every", "is for load.mode = \"burst\" alone")
	d.check(l.Inflight == 0 || l.Mode == ModeInflight, "load.inflight", "is for load.mode = \"inflight\" alone")
	d.check(!d.given["load.rate"] || l.Mode == ModeOpen, "load.rate", "is for load.mode = \"open\" alone")
	d.check(l.Arrivals == ArrivalsConstant || l.Arrivals == ArrivalsPoisson, "load.arrivals", "must be %q or %q, got %q", ArrivalsConstant, ArrivalsPoisson, l.Arrivals)
	d.check(l.Payload >= MinPayload && l.Payload <= maxPayload, "load.payload", "must be %v to %v, since the test header needs its room, got %v", Size(MinPayload), Size(maxPayload), l.Payload)
	d.between("load.publishers", l.Publishers, 1, 64)
	d.between("load.window", l.Window, 1, 1_000_000)
	d.check(l.GiveUp.Duration > 0, "load.give_up", "must be above 0s")
	if n := d.s.MessagesPerSecond() * (d.s.Phases.Measure.Seconds() + d.s.Phases.Warmup.Seconds()); n > maxMessages {
		d.fail("load", fmt.Sprintf("plans %.0f messages, more than the %d that a ledger of single messages is made for", n, maxMessages))
	}
}

func (d *decoder) validateSlow() {
	for i, g := range d.s.Slow {
		at := fmt.Sprintf("slow[%d].", i)
		d.check(g.Kind == SlowNeverReads, at+"kind", "must be %q, got %q%s", SlowNeverReads, g.Kind, DidYouMean(string(g.Kind), []string{string(SlowNeverReads)}))
		d.check(g.Count >= 1, at+"count", "must be at least 1, got %d", g.Count)
		d.check(g.ReceiveBuffer >= 0 && g.ReceiveBuffer <= 64<<20, at+"receive_buffer", "must be at most 64MiB, got %v", g.ReceiveBuffer)
	}
	d.check(len(d.s.Slow) == 0 || d.s.SlowClients() < d.s.Connections, "slow", "%d slow clients leave none of %d to measure", d.s.SlowClients(), d.s.Connections)
}

func (d *decoder) validateFaults() {
	d.check(len(d.s.Faults) == 0 || d.s.Load.Mode == ModeOpen, "fault", "needs load.mode = \"open\": a closed loop stops with the server, and so hides the fault")
	for i, f := range d.s.Faults {
		at := fmt.Sprintf("fault[%d].", i)
		d.check(f.Kind == FaultManagerRestart, at+"kind", "must be %q, got %q%s", FaultManagerRestart, f.Kind, DidYouMean(string(f.Kind), []string{string(FaultManagerRestart)}))
		d.check(f.Recover.Duration > 0, at+"recover", "must be above 0s")
		d.check(f.At.Duration+f.Hold.Duration < d.s.Phases.Measure.Duration, at+"at", "the fault would end at %v, after the measured %v", Duration{f.At.Duration + f.Hold.Duration}, d.s.Phases.Measure)
		if i > 0 {
			prev := d.s.Faults[i-1]
			d.check(f.At.Duration >= prev.At.Duration+prev.Hold.Duration+prev.Recover.Duration, at+"at", "comes before fault[%d] has recovered", i-1)
		}
	}
}
