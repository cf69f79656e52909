package scenarios

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The bounds below keep a slip of the fingers from becoming a day's run or an
// allocation of the whole memory; they are far above anything that fits a machine.
const (
	maxConnections = 1_000_000
	maxTopics      = 1_000_000
	maxMessages    = 2_000_000
	maxRate        = 1_000_000
	// MaxFaults is how many faults one scenario may have: the messages around each are
	// stamped with numbers of their own.
	MaxFaults = 30
	// MinPayload is the smallest message that can hold the test header.
	MinPayload = 128
	maxPayload = 1 << 20
	maxMix     = 64
	maxWeight  = 1_000_000
	// maxTopicsPerClient is the gateway's own default of limits.maxTopicsPerConn.
	maxTopicsPerClient = 128
)

var (
	nameForm    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	purposeForm = regexp.MustCompile(`^[^\r\n]+$`)
)

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

// eachKey checks what one table of keys says of itself: keys that mean nothing here,
// choices and limits. Entries of arrays have a prefix as "fault[0].".
func eachKey[T any](d *decoder, prefix string, keys []key[T], t, def *T) {
	for _, k := range keys {
		full := prefix + k.name
		if !k.means(t) {
			// What is zero by default and is not here was meant to be something.
			zero := reflect.ValueOf(k.at(def)).Elem().IsZero()
			d.check(!d.given[full] && (!zero || reflect.ValueOf(k.at(t)).Elem().IsZero()), full, "%s", k.ignored())
			continue
		}
		if reason := k.problem(t); reason != "" && !d.refused(full) {
			d.fail(full, reason)
		}
	}
}

// refused tells whether a key's value could not even be read.
func (d *decoder) refused(key string) bool {
	return slices.ContainsFunc(d.problems, func(p *ProblemError) bool { return p.Key == key })
}

func (d *decoder) validate() {
	s, def := &d.s, Default()
	if d.file != "" {
		for _, k := range scenarioKeys {
			d.check(!k.needed || d.given[k.name], k.name, "is missing: %s", k.doc)
		}
	}
	if d.file == "" || d.given["version"] {
		// Any other problem may be no more than this one.
		d.check(s.Version == Version, "version", "this build reads version %d, got %d", Version, s.Version)
	}
	eachKey(d, "", scenarioKeys, s, &def)
	d.validateTopics()
	d.validateLoad()
	d.validateClients()
	d.validateTopology()
	d.validateSlow()
	d.validateFaults()
	d.validateThresholds()
}

func (d *decoder) validateTopics() {
	s := &d.s
	d.check(s.Topics.PerConnection <= max(s.Topics.Count, 1), "topics.per_connection", "must be at most topics.count, %d, got %d", s.Topics.Count, s.Topics.PerConnection)
	if s.Reconnect.Mode == ReconnectAlways {
		d.check(s.Reconnect.Most.Duration >= s.Reconnect.After.Duration, "reconnect.most", "must be at least reconnect.after, %v, got %v", s.Reconnect.After, s.Reconnect.Most)
	}
	if s.Churn.Topics == 0 {
		return
	}
	d.check(s.Churn.Topics >= 2, "churn.topics", "must be at least 2, or there is no other topic to join, got %d", s.Churn.Topics)
	d.check(s.Topics.Count+s.Churn.Topics <= maxTopics, "churn.topics", "must be at most %d together with topics.count, got %d", maxTopics, s.Churn.Topics)
	d.check(s.Topics.PerConnection < maxTopicsPerClient, "topics.per_connection", "must be below %d with churn, whose topic is one more, got %d", maxTopicsPerClient, s.Topics.PerConnection)
	d.check(s.Subprotocol == V1, "churn.topics", "needs subprotocol = %q: the other one confirms no subscription, so nobody could say from when on a message is due", V1)
}

func (d *decoder) validateLoad() {
	s, l := &d.s, &d.s.Load
	if l.Mode == ModeInflight {
		d.check(l.Publishers == 1, "load.publishers", "must be 1 in inflight mode, whose loop is one, got %d", l.Publishers)
		d.check(s.Churn.Topics == 0, "churn.topics", "needs an open load: a closed loop waits for the deliveries of a message, and with churn nobody knows beforehand how many those are")
	}
	d.check(l.Mode != ModeIdle || s.Churn.Topics == 0, "churn.topics", "needs a load: without messages nobody could tell who is subscribed")
	d.check(len(l.Mix) <= maxMix, "load.mix", "must be at most %d sizes, got %d", maxMix, len(l.Mix))
	for _, m := range l.Mix {
		d.check(m.Size >= MinPayload && m.Size <= maxPayload, "load.mix", "%v: the size must be %v to %v, since the test header needs its room", m, Size(MinPayload), Size(maxPayload))
		d.check(m.Weight >= 1 && m.Weight <= maxWeight, "load.mix", "%v: the weight must be 1 to %d", m, maxWeight)
	}
	d.check(l.AckWithin.Duration%time.Millisecond == 0, "load.ack_within", "must be whole milliseconds, got %v", l.AckWithin)
	if l.Mode == ModeBurst && l.Every.Duration <= 0 {
		return // has no rate
	}
	if n := s.MessagesPerSecond() * (s.Phases.Measure.Seconds() + s.Phases.Warmup.Seconds()); n > maxMessages {
		d.fail("load", fmt.Sprintf("plans %.0f messages, more than the %d that a ledger of single messages is made for", n, maxMessages))
	}
	if l.Mode != ModeCapacity {
		return
	}
	c := s.Capacity
	d.check(c.From.PerSecond < c.To.PerSecond, "capacity.to", "must be above capacity.from, %v, got %v", c.From, c.To)
	n := c.To.PerSecond * c.Trial.Seconds()
	d.check(n <= maxMessages, "capacity.trial", "plans up to %.0f messages in one trial, more than the %d that a ledger of single messages is made for", n, maxMessages)
}

func (d *decoder) validateClients() {
	c := d.s.Clients
	d.check(c.Transport != TransportTLS || c.Engine == EngineAuto || c.Engine == EngineGoroutine, "clients.engine",
		"must be %q or %q with clients.transport = %q: %s reads raw sockets and has no TLS", EngineGoroutine, EngineAuto, TransportTLS, c.Engine)
}

func (d *decoder) validateTopology() {
	t := d.s.Topology
	d.check(t.Managers <= max(t.Gateways, 1), "topology.managers", "must be at most topology.gateways, %d, got %d: a manager without a gateway has nothing to do", t.Gateways, t.Managers)
}

func (d *decoder) validateSlow() {
	for i := range d.s.Slow {
		def := defaultSlow()
		def.Rate = Rate{} // what an entry holds that has no use for it
		eachKey(d, fmt.Sprintf("slow[%d].", i), slowKeys, &d.s.Slow[i], &def)
	}
	d.check(len(d.s.Slow) == 0 || d.s.SlowClients() < d.s.Connections, "slow", "%d slow clients leave none of %d to measure", d.s.SlowClients(), d.s.Connections)
}

func (d *decoder) validateFaults() {
	s := &d.s
	d.check(len(s.Faults) == 0 || s.Load.Mode == ModeOpen, "fault", "needs load.mode = \"open\": a closed loop stops with the server, and so hides the fault")
	d.check(len(s.Faults) <= MaxFaults, "fault", "must be at most %d, got %d", MaxFaults, len(s.Faults))
	for i := range s.Faults {
		f, at := &s.Faults[i], fmt.Sprintf("fault[%d].", i)
		eachKey(d, at, faultKeys, f, &Fault{})
		d.validateVictim(f, at)
		d.check(f.At.Duration+f.Hold.Duration < s.Phases.Measure.Duration, at+"at", "the fault would end at %v, after the measured %v", Duration{f.At.Duration + f.Hold.Duration}, s.Phases.Measure)
		if i > 0 {
			prev := s.Faults[i-1]
			d.check(f.At.Duration >= prev.At.Duration+prev.Hold.Duration+prev.Recover.Duration, at+"at", "comes before fault[%d] has recovered", i-1)
		}
	}
}

func (d *decoder) validateVictim(f *Fault, at string) {
	s := &d.s
	switch f.Kind {
	case FaultManagerRestart:
		d.check(f.Victim < s.Topology.Managers, at+"victim", "must be below topology.managers, %d, got %d", s.Topology.Managers, f.Victim)
	case FaultGatewayKill, FaultGatewayPause, FaultLinkBlackhole:
		d.check(f.Victim < s.Topology.Gateways, at+"victim", "must be below topology.gateways, %d, got %d", s.Topology.Gateways, f.Victim)
	case FaultDisconnect:
	}
	// Clients that stay away miss everything until the end, outside of the fault's window.
	if f.Kind == FaultGatewayKill || f.Kind == FaultDisconnect {
		d.check(s.Reconnect.Mode == ReconnectAlways, at+"kind", "%s needs reconnect.mode = %q: clients that stay away miss all messages until the end, which no fault explains", f.Kind, ReconnectAlways)
	}
}

// validateThresholds refuses a limit on a figure that the run cannot have.
func (d *decoder) validateThresholds() {
	s := &d.s
	for _, t := range s.Thresholds {
		table, _, _ := strings.Cut(t.Metric, ".")
		lack := ""
		switch {
		case table == "fault" && len(s.Faults) == 0:
			lack = "there is no [[fault]]"
		case table == "slow" && len(s.Slow) == 0:
			lack = "there is no [[slow]]"
		case table == "churn" && s.Churn.Topics == 0, table == "join" && s.Churn.Topics == 0:
			lack = "churn.topics is 0"
		case table == "capacity" && s.Load.Mode != ModeCapacity:
			lack = "load.mode is not \"capacity\""
		case table == "reconnect" && s.Reconnect.Mode == ReconnectNever:
			lack = "reconnect.mode is \"never\""
		}
		d.check(lack == "", "thresholds", "%q: the run will have no such figure, since %s", t.Text, lack)
	}
}
