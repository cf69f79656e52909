package loadtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"firetower/scenarios"
	"firetower/simulator"
)

// Target names a system under test.
type Target string

// The targets: Firetower itself, and the reference servers that say where the
// limit is on the machine of the run.
const (
	Firetower   Target = "firetower"
	Floor       Target = "floor"
	FloorJoined Target = "floor-joined"
	Classic     Target = "classic"
)

// Targets lists all targets.
func Targets() []Target {
	return []Target{Firetower, Floor, FloorJoined, Classic, Centrifuge, CentrifugeBatch, NATS, GWS}
}

// Reference tells whether the target is a reference server: one process, which
// speaks firetower.v0 alone and takes publish frames from clients.
func (t Target) Reference() bool { return t == Floor || t == FloorJoined || t == Classic }

const (
	// connectionsPerWorker keeps a worker well below 20,000 descriptors, and its
	// loop below one core.
	connectionsPerWorker = 8000
	// spareDescriptors of a process are for what is not a client.
	spareDescriptors = 512
	// topicPrefix begins the names of all topics of a run.
	topicPrefix = "loadtest-"
)

// The estimates of memory per connection are generous: they are there to refuse
// a plan that cannot fit, not to predict.
const (
	serverBytesPerConnection = 24 << 10 // what a server with a goroutine and buffers each takes
	kernelBytesPerConnection = 12 << 10 // two sockets and their queues
	workerBytesPerConnection = 4 << 10
	goroutineClientBytes     = 20 << 10 // of the goroutine engine
	tlsClientBytes           = 48 << 10 // of the same with TLS
	processBytes             = 64 << 20
	messageBytes             = 128     // of one in the coordinator's account
	rowBytes                 = 400     // of one in a worker's
	rowsOfWorker             = 1 << 16 // simulator.Config.MaxRows
	recorderBytes            = 144 << 10
)

// cpuMicros is what one delivery costs on both sides together, by experience: the
// kernel's part of a write and a read, and as much again for the programs.
const cpuMicros = 9.0

// Plan is what a scenario means on this machine. It is what `loadtest plan` prints.
type Plan struct {
	Scenario scenarios.Scenario `json:"-"`
	Target   Target             `json:"target"`
	Machine  Machine            `json:"machine"`

	Connections   int   `json:"connections"`
	Subscriptions int   `json:"subscriptions"`
	Workers       []int `json:"connections_of_workers"`
	Servers       int   `json:"server_processes"`
	// DescriptorsServer and DescriptorsWorker are the most that one process needs.
	DescriptorsServer int `json:"descriptors_of_a_server"`
	DescriptorsWorker int `json:"descriptors_of_a_worker"`
	// ServerCPUs and LoadCPUs are what servers and load are kept to; none is all.
	ServerCPUs []int `json:"server_cpus,omitempty"`
	LoadCPUs   []int `json:"load_cpus,omitempty"`
	// Trials is the most that a search for the capacity may take.
	Trials int `json:"trials,omitempty"`
	// PortsPerSource is the most that one source address needs to one server.
	PortsPerSource int `json:"ports_of_a_source"`
	// Memory is an estimate in bytes, of all processes and of the kernel's sockets.
	Memory int64 `json:"memory_bytes"`
	// Messages and Deliveries are of the measured phase; 0 in a closed loop.
	Messages   int64 `json:"messages"`
	Deliveries int64 `json:"deliveries"`
	// DeliveriesPerSecond is the planned load, Cores what it is likely to cost.
	DeliveriesPerSecond float64 `json:"deliveries_per_second"`
	Cores               float64 `json:"cores"`
	// Duration is about how long the run takes.
	Duration time.Duration `json:"duration_ns"`
	// Notes are what a reader should know before the start.
	Notes []string `json:"notes,omitempty"`
	// GatewayTOML and ManagerTOML are the servers' resolved configurations, empty for a
	// reference server, which has none.
	GatewayTOML string `json:"-"`
	ManagerTOML string `json:"-"`
	// unset are variables that the servers do not get: see overridden.
	unset []string
}

// ErrImpossible is wrapped by NewPlan when the machine cannot carry the scenario.
var ErrImpossible = errors.New("the plan does not fit this machine")

// NewPlan works out what a scenario needs, and refuses what cannot be: before
// anything has been started.
func NewPlan(s scenarios.Scenario, target Target, m Machine) (*Plan, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if target.Reference() {
		if err := fitsReference(s, target); err != nil {
			return nil, err
		}
	}
	if target.Peer() {
		if err := fitsPeer(s, target); err != nil {
			return nil, err
		}
	}
	p := &Plan{Scenario: s, Target: target, Machine: m, Connections: s.Connections, Subscriptions: s.Subscriptions()}
	gateways := s.Topology.Gateways
	p.Servers = gateways + s.Topology.Managers
	if target.Alone() {
		gateways, p.Servers = 1, 1
	}
	p.Workers = split(s.Connections, s.Topology.Workers)
	// The clients of a gateway that dies all come to the next one.
	fold := 1
	if gateways > 1 && moves(s) {
		fold = 2
	}
	p.DescriptorsServer = fold*((s.Connections+gateways-1)/gateways) + spareDescriptors
	p.DescriptorsWorker = p.Workers[0] + spareDescriptors
	p.PortsPerSource = fold * ((p.Workers[0] + gateways - 1) / gateways)
	p.Memory = int64(s.Connections)*(serverBytesPerConnection+kernelBytesPerConnection+workerBytes(s)) +
		int64(p.Servers+len(p.Workers)+1)*processBytes
	perMessage := deliveriesPerMessage(s)
	if s.Load.Mode == scenarios.ModeCapacity {
		p.Trials = mostTrials(s.Capacity) // and how many messages, nobody knows beforehand
	} else {
		p.Messages = int64(s.MessagesPerSecond() * s.Phases.Measure.Seconds())
		p.Deliveries = int64(float64(p.Messages) * perMessage)
		p.DeliveriesPerSecond = s.MessagesPerSecond() * perMessage
		p.Cores = p.DeliveriesPerSecond * cpuMicros / 1e6
	}
	if phases := int64(len(s.Faults)); phases > 0 { // each fault's histograms; see stampsOf
		p.Memory += (3*phases + 1) * recorderBytes * int64(10*len(p.Workers)+3)
	}
	p.Memory += p.Messages*messageBytes + min(p.Messages, rowsOfWorker)*rowBytes*int64(len(p.Workers))
	if s.Topology.CPUs == scenarios.CPUsIsolated && len(m.CPUList) > 1 {
		p.ServerCPUs, p.LoadCPUs = halves(m.CPUList)
	}
	p.Duration = estimate(s)
	p.notes()
	if !target.Alone() {
		if err := p.resolveServers(); err != nil {
			return nil, err
		}
	}
	return p, p.fits()
}

// fitsReference refuses what only Firetower can do.
func fitsReference(s scenarios.Scenario, target Target) error {
	var problems []error
	if s.Subprotocol != scenarios.V0 {
		problems = append(problems, fmt.Errorf("subprotocol: %s speaks %s alone, the scenario asks for %s", target, scenarios.V0, s.Subprotocol))
	}
	for _, f := range s.Faults {
		if f.Kind != scenarios.FaultDisconnect {
			problems = append(problems, fmt.Errorf("fault: %s has no manager and no gateways, so no %s", target, f.Kind))
		}
	}
	problems = append(problems, fitsTransport(s, target))
	if s.Churn.Topics > 0 {
		problems = append(problems, fmt.Errorf("churn.topics: %s answers no request, so nobody could say from when on a message is due", target))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w: %w", ErrImpossible, err)
	}
	return nil
}

// fitsTransport refuses TLS for servers that the harness gives no certificate.
func fitsTransport(s scenarios.Scenario, target Target) error {
	if s.Clients.Transport != scenarios.TransportTLS {
		return nil
	}
	return fmt.Errorf("clients.transport: %s is started without TLS, only %s has a certificate", target, Firetower)
}

// engineOf is how workers hold the clients, "" for the simulator's default.
func engineOf(s scenarios.Scenario) simulator.Engine {
	switch {
	case s.Clients.Engine != scenarios.EngineAuto:
		return simulator.Engine(s.Clients.Engine)
	case s.Clients.Transport == scenarios.TransportTLS:
		return simulator.EngineGoroutine
	default:
		return ""
	}
}

// workerBytes is what a client takes in its worker.
func workerBytes(s scenarios.Scenario) int64 {
	switch {
	case s.Clients.Transport == scenarios.TransportTLS:
		return tlsClientBytes
	case engineOf(s) == simulator.EngineGoroutine:
		return goroutineClientBytes
	default:
		return workerBytesPerConnection
	}
}

// moves tells whether a fault drives all clients of a gateway to another.
func moves(s scenarios.Scenario) bool {
	return s.Reconnect.Mode == scenarios.ReconnectAlways && slices.ContainsFunc(s.Faults, func(f scenarios.Fault) bool {
		return f.Kind == scenarios.FaultGatewayKill
	})
}

// deliveriesPerMessage is how many clients get a message, on average over the topics.
func deliveriesPerMessage(s scenarios.Scenario) float64 {
	subscriptions := s.Topics.PerConnection
	if s.Churn.Topics > 0 {
		subscriptions++ // every client is at one of them
	}
	return float64((s.Connections-s.SlowClients())*subscriptions) / float64(s.Topics.Count+s.Churn.Topics)
}

// split shares n connections over k workers, the first ones getting the rest; k of
// 0 means as many as connectionsPerWorker asks for.
func split(n, k int) []int {
	if k == 0 {
		k = (n + connectionsPerWorker - 1) / connectionsPerWorker
	}
	k = min(k, n)
	parts := make([]int, k)
	for i := range parts {
		parts[i] = n / k
		if i < n%k {
			parts[i]++
		}
	}
	return parts
}

// estimate is about how long a run takes.
func estimate(s scenarios.Scenario) time.Duration {
	connect := float64(s.Connections) / s.Connect.Rate.PerSecond
	const startAndStop = 4 * time.Second
	calibrate := s.Phases.Calibrate.Duration
	if calibrate > 0 {
		calibrate += 2 * time.Second // its processes and their connections
	}
	search := time.Duration(0)
	if s.Load.Mode == scenarios.ModeCapacity {
		search = time.Duration(mostTrials(s.Capacity)) * (s.Capacity.Trial.Duration + quietFor + time.Second)
	}
	leave := min(s.Phases.Leave.Duration, 2*time.Second) // most servers are done at once
	return startAndStop + search + leave + calibrate + 2*s.Phases.Settle.Duration + time.Duration(connect*float64(time.Second)) +
		s.Phases.Warmup.Duration + s.Phases.Measure.Duration + 2*time.Second
}

// fits says why the machine cannot carry the plan.
func (p *Plan) fits() error {
	var problems []error
	m := p.Machine
	if m.OpenFiles > 0 && uint64(p.DescriptorsServer) > m.OpenFiles {
		what := "topology.gateways: a server process needs %d descriptors, the hard limit is %d: use more gateways or raise the limit (ulimit -Hn)"
		if p.Target.Alone() {
			what = "connections: " + string(p.Target) + " is one process and needs %d descriptors, the hard limit is %d: use fewer connections or raise the limit (ulimit -Hn)"
		}
		problems = append(problems, fmt.Errorf(what, p.DescriptorsServer, m.OpenFiles))
	}
	if m.OpenFiles > 0 && uint64(p.DescriptorsWorker) > m.OpenFiles {
		problems = append(problems, fmt.Errorf("topology.workers: a worker needs %d descriptors, the hard limit is %d: use more workers", p.DescriptorsWorker, m.OpenFiles))
	}
	// They are the last worker's.
	if slow, most := p.Scenario.SlowClients(), p.Workers[len(p.Workers)-1]; slow > most {
		problems = append(problems, fmt.Errorf("slow: one worker holds all %d of them, and has %d connections: use fewer slow clients or fewer workers", slow, most))
	}
	if m.Ports > 0 && p.PortsPerSource > m.Ports*9/10 {
		problems = append(problems, fmt.Errorf("topology.workers: each source address needs %d ports to one server, there are %d (net.ipv4.ip_local_port_range): use more workers or gateways", p.PortsPerSource, m.Ports))
	}
	if m.MemoryAvailable > 0 && p.Memory > m.MemoryAvailable*9/10 {
		problems = append(problems, fmt.Errorf("connections: about %s of memory are needed, %s are available", scenarios.Size(p.Memory>>20<<20), scenarios.Size(m.MemoryAvailable>>20<<20)))
	}
	if p.Scenario.Topology.CPUs == scenarios.CPUsIsolated && len(p.LoadCPUs) == 0 {
		problems = append(problems, fmt.Errorf("topology.cpus: %q needs two CPUs to choose from, this process has %d: use %q", scenarios.CPUsIsolated, len(m.CPUList), scenarios.CPUsShared))
	}
	if m.ListenBacklog > 0 && p.Scenario.Connect.Handshakes > m.ListenBacklog {
		problems = append(problems, fmt.Errorf("connect.handshakes: %d at once, the listen backlog is %d (net.core.somaxconn): the kernel would drop SYNs", p.Scenario.Connect.Handshakes, m.ListenBacklog))
	}
	if ramp := float64(p.Connections) / p.Scenario.Connect.Rate.PerSecond; ramp > p.Scenario.Connect.Timeout.Seconds() {
		problems = append(problems, fmt.Errorf("connect.rate: %d connections at %v take %.0f s, connect.timeout is %v", p.Connections, p.Scenario.Connect.Rate, ramp, p.Scenario.Connect.Timeout))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w: %w", ErrImpossible, err)
	}
	return nil
}

func (p *Plan) notes() {
	s := p.Scenario
	if cpus := float64(p.Machine.CPUs); p.Cores > 0.8*cpus {
		p.Notes = append(p.Notes, fmt.Sprintf("about %.1f of %.0f cores will be busy: latency will mostly be queueing for a core, the same for every server", p.Cores, cpus))
	}
	if s.Load.Mode == scenarios.ModeCapacity && s.Reconnect.Mode == scenarios.ReconnectNever {
		p.Notes = append(p.Notes, "a rate that is too high may cost clients their connection, which ends the search: reconnect.mode = \"always\" lets it go on")
	}
	if s.Clients.Transport == scenarios.TransportTLS && s.Clients.Engine == scenarios.EngineAuto {
		p.Notes = append(p.Notes, "clients.transport: clients speak TLS, so workers hold them with the goroutine engine, which costs them about twice as much")
	}
	for i, f := range s.Faults {
		if f.Kind == scenarios.FaultLinkBlackhole {
			p.Notes = append(p.Notes, fmt.Sprintf("fault[%d]: all that gateway %d and its manager say goes through a relay of the harness", i, f.Victim))
		}
	}
	if s.Closed() {
		p.Notes = append(p.Notes, "closed loop: finds the highest throughput; its latency is not what users would see")
	}
	if n := p.Messages; n > 0 && n < completionSupport {
		p.Notes = append(p.Notes, fmt.Sprintf("%s: the p99 of their completion needs %d to have an upper bound, and will be left out", plural(int(n), "message"), completionSupport))
	}
}

// completionSupport is reports.Support(99): messages needed for a p99 of completion.
const completionSupport = 368

// topicPlan is the simulator's form of the scenario's topics.
func topicPlan(s scenarios.Scenario) simulator.TopicPlan {
	return simulator.TopicPlan{Count: s.Topics.Count, PerConn: s.Topics.PerConnection, Prefix: topicPrefix}
}

// plural is "1 topic", "2 topics".
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// everyNth is how many messages there are to one of a churning topic.
func everyNth(s scenarios.Scenario) float64 {
	return roundTo(float64(s.Topics.Count+s.Churn.Topics)/float64(s.Churn.Topics), 3)
}

// faultLine is what a fault does, for people.
func faultLine(f scenarios.Fault) string {
	switch f.Kind {
	case scenarios.FaultDisconnect:
		return fmt.Sprintf("%s of %v of the clients at %v; losses count as its own for %v", f.Kind, f.Share, f.At, f.Recover)
	case scenarios.FaultManagerRestart:
		return fmt.Sprintf("%s of manager %d at %v, away for %v; losses count as its own for %v more", f.Kind, f.Victim, f.At, f.Hold, f.Recover)
	default:
		return fmt.Sprintf("%s of gateway %d at %v, away for %v; losses count as its own for %v more", f.Kind, f.Victim, f.At, f.Hold, f.Recover)
	}
}

// String is the plan for people.
func (p *Plan) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-14s%s\n", name, fmt.Sprintf(format, args...))
	}
	s := p.Scenario
	fmt.Fprintf(&b, "%s on %s: %s\n", s.Name, p.Target, s.Purpose)
	topics := plural(s.Topics.Count, "topic")
	if s.Topics.Count > 1 {
		topics += fmt.Sprintf(", %d of them each", s.Topics.PerConnection)
	}
	line("clients", "%d, %s, %s; %d slow by plan", s.Connections, topics, p.spoken(), s.SlowClients())
	each := fmt.Sprintf("%v each", s.Load.Payload)
	if len(s.Load.Mix) > 0 {
		each = "of several sizes"
	}
	switch s.Load.Mode {
	case scenarios.ModeOpen:
		line("load", "%v, %s, open loop, %s, %s", s.Load.Rate, s.Load.Arrivals, plural(s.Load.Publishers, "publisher"), each)
	case scenarios.ModeBurst:
		line("load", "%d at once every %v, open loop, %s", s.Load.Burst, s.Load.Every, each)
	case scenarios.ModeInflight:
		line("load", "%d in flight, closed loop, %s", s.Load.Inflight, each)
	case scenarios.ModeCapacity:
		c := s.Capacity
		line("load", "search from %v to %v for the highest that keeps a p99 of %v, within %v; %s", c.From, c.To, c.P99, c.Precision, each)
		line("trials", "at most %d of %v, then the measured phase at what was found", p.Trials, c.Trial)
	default:
		line("load", "none")
	}
	if len(s.Load.Mix) > 0 {
		mean, largest := meanPayload(s)
		line("sizes", "drawn from the seed: %v, %v on average, %v at most", s.Load.Mix, scenarios.Size(mean), scenarios.Size(largest))
	}
	if s.Churn.Topics > 0 {
		line("churn", "%v over %s, to which every %vth message goes", s.Churn.Rate, plural(s.Churn.Topics, "more topic"), everyNth(s))
	}
	if s.Reconnect.Mode == scenarios.ReconnectAlways {
		line("reconnect", "after %v, at most %v, %v of it drawn", s.Reconnect.After, s.Reconnect.Most, s.Reconnect.Jitter)
	}
	if p.Messages > 0 {
		line("deliveries", "%.0f/s, %d in all of %s; about %.1f of %s", p.DeliveriesPerSecond, p.Deliveries, plural(int(p.Messages), "message"), p.Cores, plural(p.Machine.CPUs, "core"))
	}
	line("phases", "calibrate %v, connect %.0fs, warm-up %v, measure %v, drain at most %v, leave at most %v; about %v in all",
		s.Phases.Calibrate, float64(s.Connections)/s.Connect.Rate.PerSecond, s.Phases.Warmup, s.Phases.Measure, s.Phases.Drain, s.Phases.Leave, p.Duration.Round(time.Second))
	line("processes", "%d of servers, %s with %v connections", p.Servers, plural(len(p.Workers), "worker"), p.Workers)
	line("descriptors", "%d in a server, %d in a worker, of %d", p.DescriptorsServer, p.DescriptorsWorker, p.Machine.OpenFiles)
	if len(p.LoadCPUs) > 0 {
		line("CPUs", "%s for the servers, %s for workers and coordinator", cpuList(p.ServerCPUs), cpuList(p.LoadCPUs))
	}
	line("ports", "%d from each source address, of %d", p.PortsPerSource, p.Machine.Ports)
	line("memory", "about %v, of %v available", scenarios.Size(p.Memory>>20<<20), scenarios.Size(p.Machine.MemoryAvailable>>20<<20))
	for _, f := range s.Faults {
		line("fault", "%s", faultLine(f))
	}
	for _, t := range s.Thresholds {
		line("must hold", "%s", t)
	}
	for _, n := range p.Notes {
		line("note", "%s", n)
	}
	return b.String()
}
