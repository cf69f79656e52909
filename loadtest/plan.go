package loadtest

import (
	"errors"
	"fmt"
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
	processBytes             = 64 << 20
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
	p.Servers = gateways + 1 // and the manager
	if target.Alone() {
		gateways, p.Servers = 1, 1
	}
	p.Workers = split(s.Connections, s.Topology.Workers)
	p.DescriptorsServer = (s.Connections+gateways-1)/gateways + spareDescriptors
	p.DescriptorsWorker = p.Workers[0] + spareDescriptors
	p.PortsPerSource = (p.Workers[0] + gateways - 1) / gateways
	p.Memory = int64(s.Connections)*(serverBytesPerConnection+kernelBytesPerConnection+workerBytesPerConnection) +
		int64(p.Servers+len(p.Workers)+1)*processBytes
	healthy := s.Connections - s.SlowClients()
	perMessage := float64(healthy*s.Topics.PerConnection) / float64(s.Topics.Count)
	p.Messages = int64(s.MessagesPerSecond() * s.Phases.Measure.Seconds())
	p.Deliveries = int64(float64(p.Messages) * perMessage)
	p.DeliveriesPerSecond = s.MessagesPerSecond() * perMessage
	p.Cores = p.DeliveriesPerSecond * cpuMicros / 1e6
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
		problems = append(problems, fmt.Errorf("fault: %s has no manager, so no %s", target, f.Kind))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w: %w", ErrImpossible, err)
	}
	return nil
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
	return startAndStop + calibrate + 2*s.Phases.Settle.Duration + time.Duration(connect*float64(time.Second)) +
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
	if m.Ports > 0 && p.PortsPerSource > m.Ports*9/10 {
		problems = append(problems, fmt.Errorf("topology.workers: each source address needs %d ports to one server, there are %d (net.ipv4.ip_local_port_range): use more workers or gateways", p.PortsPerSource, m.Ports))
	}
	if m.MemoryAvailable > 0 && p.Memory > m.MemoryAvailable*9/10 {
		problems = append(problems, fmt.Errorf("connections: about %s of memory are needed, %s are available", scenarios.Size(p.Memory>>20<<20), scenarios.Size(m.MemoryAvailable>>20<<20)))
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
	switch s.Load.Mode {
	case scenarios.ModeOpen:
		line("load", "%v, %s, open loop, %s, %v each", s.Load.Rate, s.Load.Arrivals, plural(s.Load.Publishers, "publisher"), s.Load.Payload)
	case scenarios.ModeBurst:
		line("load", "%d at once every %v, open loop, %v each", s.Load.Burst, s.Load.Every, s.Load.Payload)
	case scenarios.ModeInflight:
		line("load", "%d in flight, closed loop, %v each", s.Load.Inflight, s.Load.Payload)
	default:
		line("load", "none")
	}
	if p.Messages > 0 {
		line("deliveries", "%.0f/s, %d in all of %s; about %.1f of %s", p.DeliveriesPerSecond, p.Deliveries, plural(int(p.Messages), "message"), p.Cores, plural(p.Machine.CPUs, "core"))
	}
	line("phases", "connect %.0fs, warm-up %v, measure %v, drain at most %v; about %v in all",
		float64(s.Connections)/s.Connect.Rate.PerSecond, s.Phases.Warmup, s.Phases.Measure, s.Phases.Drain, p.Duration.Round(time.Second))
	line("processes", "%d of servers, %s with %v connections", p.Servers, plural(len(p.Workers), "worker"), p.Workers)
	line("descriptors", "%d in a server, %d in a worker, of %d", p.DescriptorsServer, p.DescriptorsWorker, p.Machine.OpenFiles)
	line("ports", "%d from each source address, of %d", p.PortsPerSource, p.Machine.Ports)
	line("memory", "about %v, of %v available", scenarios.Size(p.Memory>>20<<20), scenarios.Size(p.Machine.MemoryAvailable>>20<<20))
	for _, f := range s.Faults {
		line("fault", "%s at %v, away for %v", f.Kind, f.At, f.Hold)
	}
	for _, t := range s.Thresholds {
		line("must hold", "%s", t)
	}
	for _, n := range p.Notes {
		line("note", "%s", n)
	}
	return b.String()
}
