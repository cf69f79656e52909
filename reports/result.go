package reports

import (
	"encoding/json"
	"time"

	"firetower/simulator/latency"
)

// Schema names the format of a result document. The number grows when a field
// changes its meaning or goes; a new optional field leaves it as it is.
const Schema = "firetower.run/v1"

// Verdict says whether the figures of a run can be believed. It is about the
// measurement, not about the server: a server that loses every message can have a
// valid run, with thresholds that failed.
type Verdict string

const (
	// Valid: every self-check passed.
	Valid Verdict = "valid"
	// Degraded: the figures hold, but something stood in their way that a reader
	// must know of.
	Degraded Verdict = "degraded"
	// Invalid: the figures mean nothing.
	Invalid Verdict = "invalid"
)

// Result is one run. Times within it are milliseconds unless a name says otherwise.
// Fields with the tag schema:"optional" are younger than the format: older documents
// lack them.
type Result struct {
	Schema string `json:"schema"`
	// ID is the name of the run's folder.
	ID string `json:"id"`
	// Scenario is the scenario's name, and Purpose its line for people.
	Scenario string `json:"scenario"`
	Purpose  string `json:"purpose"`
	// Target is what was loaded: firetower, firetower@PATH, a reference server or a peer.
	Target  string    `json:"target"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	// Tags are the caller's own words for the run.
	Tags map[string]string `json:"tags,omitempty"`
	// Seed is the plan's seed, RunID the random number that this run's messages carry.
	Seed  uint64 `json:"seed"`
	RunID string `json:"run_id"`

	Verdict Verdict `json:"verdict"`
	// Reasons are why the verdict is not valid, one line each.
	Reasons []string `json:"reasons,omitempty"`
	// ThresholdsOK tells whether every threshold held.
	ThresholdsOK bool `json:"thresholds_ok"`
	// Interrupted says that a signal ended the run early; the figures are of what
	// had been measured until then.
	Interrupted bool `json:"interrupted,omitempty"`
	// Failure is the error that ended the run, empty when it came to its end.
	Failure string `json:"failure,omitempty"`
	// ExitCode is what the process ended with.
	ExitCode int `json:"exit_code"`

	// Loop is "open", "closed" or "idle". Latency of a closed loop is not what users see.
	Loop string `json:"loop"`
	// Duet is the target of the run that took turns with this one message by message, empty
	// of a run that had the machine for itself.
	Duet string `json:"duet,omitempty" schema:"optional"`
	// Subprotocol is what the clients asked for.
	Subprotocol string `json:"subprotocol"`
	// Connections were subscribed when the measured phase began, slow ones included;
	// Planned is how many should have been.
	Connections int `json:"connections"`
	Planned     int `json:"planned_connections"`
	Topics      int `json:"topics"`
	PayloadSize int `json:"payload_bytes"`

	// Ledger is that of the measured phase.
	Ledger
	// LostUnexplained of Lost are not in the window of a fault that the scenario planned.
	LostUnexplained int64 `json:"lost_unexplained"`
	// Disconnected is how many clients that were not slow by plan lost their connection.
	Disconnected int64 `json:"disconnected"`
	// Messages were sent in the measured phase; Incomplete of them did not reach all
	// their subscribers. Those stand in Completion at no value: their completion is
	// censored at the drain's end.
	Messages   int64 `json:"messages"`
	Incomplete int64 `json:"incomplete"`
	// Reach is Received / Expected, null when nothing was expected.
	Reach *float64 `json:"reach"`
	// MeasuredSeconds is the length of the measured phase until its last delivery.
	MeasuredSeconds     float64 `json:"measured_seconds"`
	DeliveriesPerSecond float64 `json:"deliveries_per_second"`
	MessagesPerSecond   float64 `json:"messages_per_second"`

	// Delivery is arrival minus intended send, over deliveries; DeliveryActual counts
	// from the actual send. The gap between them is the publisher's own lag.
	Delivery       Distribution `json:"delivery"`
	DeliveryActual Distribution `json:"delivery_actual"`
	// First, Completion and Spread are per message: its first arrival and its last,
	// counted from the intended send, and the time between the two.
	First      Distribution `json:"first"`
	Completion Distribution `json:"completion"`
	Spread     Distribution `json:"spread"`
	// CompletionAt is the time until the given share of the subscribers had a message.
	CompletionAt map[string]Distribution `json:"completion_at"`
	// PublishAck is the server's answer minus the actual send; PublishLag is the actual
	// minus the intended send, which is the harness's own fault.
	PublishAck Distribution `json:"publish_ack"`
	PublishLag Distribution `json:"publish_lag"`
	// Connect is the time from connect(2) to the answer to the upgrade.
	Connect Distribution `json:"connect"`
	// Subscribe is the time from the answer to the upgrade to that of the subscription
	// (firetower.v1 only), Reconnect from the end of a connection to its being
	// subscribed again, and Join from the request for a churning topic to its answer.
	Subscribe Distribution `json:"subscribe" schema:"optional"`
	Reconnect Distribution `json:"reconnect" schema:"optional"`
	Join      Distribution `json:"join" schema:"optional"`
	// ConnectSeconds is how long the ramp took until all were subscribed.
	ConnectSeconds       float64 `json:"connect_seconds" schema:"optional"`
	ConnectionsPerSecond float64 `json:"connections_per_second" schema:"optional"`
	// Reconnects is how often a client came back.
	Reconnects int64 `json:"reconnects" schema:"optional"`
	// SkewP99 is the p99 over connections of their mean delivery latency, divided by the
	// median of it: 1 when every connection is served alike.
	SkewP99 *float64 `json:"skew_p99" schema:"optional"`
	// Fairness is Jain's index of what each connection received: 1 when all the same.
	Fairness *float64 `json:"fairness"`

	Server    Server    `json:"server"`
	Generator Generator `json:"generator"`
	Publisher Publisher `json:"publisher"`
	Slow      *Slow     `json:"slow,omitempty"`
	Churn     *Churn    `json:"churn,omitempty"`
	Faults    []Fault   `json:"faults,omitempty"`
	// Capacity is the search for the highest rate, of a scenario that makes one.
	Capacity *Capacity `json:"capacity,omitempty"`
	// Calibration is what the workers can do against a server that only writes.
	Calibration *Calibration `json:"calibration,omitempty"`
	// Leave is what the servers still held once all clients had gone.
	Leave *Leave `json:"leave,omitempty"`
	// Budget is where the time of a delivery went, in the order of its way.
	Budget []Stage `json:"budget,omitempty"`
	// BudgetGaps are when what a server did is in no stage of Budget, nor in its counters
	// under Server, by server and time.
	BudgetGaps []BudgetGap `json:"budget_gaps,omitempty"`
	// Heatmap is how many deliveries took how long, over time.
	Heatmap *Heatmap `json:"heatmap,omitempty"`
	// Series are the servers' own gauges and rates, once a second.
	Series *Series `json:"series,omitempty"`

	Checks     []Check     `json:"checks"`
	Thresholds []Threshold `json:"thresholds"`
	Phases     []Phase     `json:"phases"`
	Processes  []Process   `json:"processes"`
	Seconds    Seconds     `json:"seconds"`
	Sample     Sample      `json:"message_sample"`

	// Histograms hold the whole distributions, by the names of the fields above.
	Histograms map[string]*latency.Recorder `json:"histograms"`

	Environment   Environment   `json:"environment"`
	Configuration Configuration `json:"configuration"`
}

// Ledger is the account of every expected delivery, a pair of message and client.
// It balances: Expected = Received + Lost.
type Ledger struct {
	// Expected is the sum over messages sent of the clients subscribed to their topic.
	// A message that the server refused, and so said it would not deliver, is not in
	// it: see Publisher.
	Expected int64 `json:"expected"`
	// Received counts each pair once.
	Received int64 `json:"received"`
	// ReceivedBytes is the size of their frames on the wire, headers included.
	ReceivedBytes int64 `json:"received_bytes,omitempty"`
	Lost          int64 `json:"lost"`
	// Duplicated counts every arrival of a pair after its first.
	Duplicated int64 `json:"duplicated"`
	// Reordered of Received came after a later message of the same publisher and topic.
	Reordered int64 `json:"reordered"`
	// Late of Received came after the scenario's deadline.
	Late int64 `json:"late"`
	// Corrupt frames failed their checksum; Foreign ones are of another run or topic.
	Corrupt int64 `json:"corrupt"`
	Foreign int64 `json:"foreign"`
	// Negative of Received arrived before they were sent: a fault of the clock, and in
	// no histogram.
	Negative int64 `json:"negative"`
}

// Server is what the system under test used. Figures are of all its processes
// together unless they stand under Roles.
type Server struct {
	// CPUMicrosPerDelivery is the CPU time (user and system) of all server processes in
	// the measured phase, divided by the deliveries received of it.
	CPUMicrosPerDelivery *float64 `json:"cpu_us_per_delivery"`
	// RSSBytesPerConnection is the growth of resident memory from empty to all clients
	// idle and subscribed, divided by the clients. Nothing forces a collection.
	RSSBytesPerConnection *float64 `json:"rss_bytes_per_connection"`
	CPUSeconds            float64  `json:"cpu_seconds"`
	// CPUCores is CPUSeconds divided by the time that it is of: from the start of the
	// measured phase to the end of the drain and of the last fault's window.
	CPUCores float64 `json:"cpu_cores"`
	// RSSEmpty, RSSIdle and RSSPeak are resident bytes before the first client, with all
	// of them idle, and the highest that was sampled.
	RSSEmpty int64 `json:"rss_empty_bytes"`
	RSSIdle  int64 `json:"rss_idle_bytes"`
	RSSPeak  int64 `json:"rss_peak_bytes"`
	// Drops and Disconnects are the server's own counters, by reason, as they grew in
	// the measured phase.
	Drops       map[string]float64 `json:"drops,omitempty"`
	Disconnects map[string]float64 `json:"disconnects,omitempty"`
	// Metrics are further counters of the server as they grew in the measured phase.
	Metrics map[string]float64 `json:"metrics,omitempty"`
}

// Generator is what the harness itself used in the measured phase.
type Generator struct {
	Workers int    `json:"workers"`
	Engine  string `json:"engine"`
	// CPUMicrosPerMessage is the workers' CPU time per message received.
	CPUMicrosPerMessage *float64 `json:"cpu_us_per_message"`
	WorkerCPUSeconds    float64  `json:"worker_cpu_seconds"`
	CoordinatorSeconds  float64  `json:"coordinator_cpu_seconds"`
	// MessagesPerRead tells how much the server joined on the way.
	MessagesPerRead *float64 `json:"messages_per_read"`
	// ReceiveBacklog is what waited in the clients' sockets at the end, in bytes.
	ReceiveBacklog int64 `json:"receive_backlog_bytes"`
}

// Publisher is the account of the published messages of the measured phase.
// It balances: Planned = Sent + Refused + Dropped.
type Publisher struct {
	// Via is how messages were published: "grpc stream" or "websocket", and whether
	// acknowledgements waited for each other, which their latencies contain then.
	Via     string `json:"via"`
	Planned int64  `json:"planned"`
	Sent    int64  `json:"sent"`
	// Refused messages could not be handed over, or the server said no.
	Refused int64 `json:"refused"`
	// Dropped messages were not sent, since they would have been later than the
	// scenario's give_up.
	Dropped int64 `json:"dropped"`
	// Unacknowledged of Sent never had an answer; they are expected all the same.
	Unacknowledged int64 `json:"unacknowledged"`
	// Missed of Sent were answered with the word that a gateway could not be reached, or
	// did not go to one of several managers, which was away.
	Missed int64            `json:"missed"`
	Errors map[string]int64 `json:"errors,omitempty"`
}

// Capacity is a search for the highest rate that keeps a latency.
type Capacity struct {
	// MessagesPerSecond is the highest rate that was sustained, 0 when none was, and
	// Failed the lowest that was not, null when all were.
	MessagesPerSecond   float64         `json:"messages_per_second"`
	DeliveriesPerSecond float64         `json:"deliveries_per_second"`
	Failed              *float64        `json:"failed_messages_per_second"`
	P99Limit            float64         `json:"p99_limit"`
	Trials              []CapacityTrial `json:"trials"`
}

// censored says that the highest rate of the search held: the capacity is that or more.
func (c *Capacity) censored() bool { return c.MessagesPerSecond > 0 && c.Failed == nil }

// CapacityTrial is one rate that was tried, in the order of the search.
type CapacityTrial struct {
	Rate      float64  `json:"rate"`
	Achieved  float64  `json:"achieved"`
	P50       *float64 `json:"p50"`
	P99       *float64 `json:"p99"`
	Lost      int64    `json:"lost"`
	LagP99    *float64 `json:"lag_p99"`
	Sustained bool     `json:"sustained"`
	// Reason says why the rate was not sustained.
	Reason string `json:"reason,omitempty"`
}

// Calibration is what the workers do against a server that writes ready frames as
// fast as the sockets take them, with the run's connections, topics and payload: the
// generator's own ceiling.
type Calibration struct {
	Seconds float64 `json:"seconds"`
	// DeliveriesPerSecond is the ceiling: what the workers could have taken, in the share of
	// the processors that the server beside them left.
	DeliveriesPerSecond float64 `json:"deliveries_per_second"`
	CPUMicrosPerMessage float64 `json:"cpu_us_per_message"`
	// P50 and P99 are the generator's own latency at the run's planned rate, null in a
	// closed loop.
	P50 *float64 `json:"p50"`
	P99 *float64 `json:"p99"`
	// Shown is what the workers could have read in a second by what they and the servers used in the
	// measured phase; 0 where that is not known. It is more than DeliveriesPerSecond where the
	// server of the calibration was dearer than that of the run.
	Shown float64 `json:"shown_per_second,omitempty"`
	// Share of the ceiling, which is the greater of the two, that the run used, in reads: messages that the server joined
	// are one.
	Share *float64 `json:"share"`
}

// Leave is what the servers held before the first client, with all of them idle and
// after the last had gone.
type Leave struct {
	Seconds     float64  `json:"seconds"`
	Descriptors [3]int   `json:"descriptors"`
	Goroutines  [3]int   `json:"goroutines"`
	RSS         [3]int64 `json:"rss_bytes"`
	// LeakedDescriptors and LeakedGoroutines did not come back.
	LeakedDescriptors int `json:"leaked_descriptors"`
	LeakedGoroutines  int `json:"leaked_goroutines"`
}

// Stage is a part of a delivery's way. Times are milliseconds; Mean adds up over
// the stages to the mean of the delivery, the percentiles do not.
type Stage struct {
	// Name is "publish lag", "manager", "link", "central wait", "bucket wait",
	// "fan-out", "backlog" where there was one, or "network and reader"; of a server that
	// tells nothing of its stages "publish lag" or "server, network and reader".
	Name string `json:"name"`
	// What it is, for people.
	Note string `json:"note"`
	// Source is "servers" for what they measured themselves, "harness" for what the
	// harness did, and "rest" for what no one measured by itself.
	Source string   `json:"source"`
	Count  int64    `json:"count"`
	Mean   float64  `json:"mean"`
	P50    *float64 `json:"p50"`
	P99    *float64 `json:"p99"`
}

// BudgetGap is a time of which a process of a server has told nothing.
type BudgetGap struct {
	Server string `json:"server"`
	// From and To are milliseconds from the start of the measured phase.
	From   float64 `json:"from_ms"`
	To     float64 `json:"to_ms"`
	Reason string  `json:"reason"`
}

// Heatmap counts deliveries by time and latency. T are the beginnings of columns in
// seconds from the run's start, Edges the upper edges of rows in milliseconds, and
// Counts[column][row] the deliveries.
type Heatmap struct {
	T      []float64 `json:"t"`
	Step   float64   `json:"step_s"`
	Phase  []string  `json:"phase"`
	Edges  []float64 `json:"edges_ms"`
	Counts [][]int64 `json:"counts"`
}

// Series are figures that the servers tell of themselves, at T seconds from the
// run's start. A value that a server did not tell is null.
type Series struct {
	T      []float64             `json:"t"`
	Values map[string][]*float64 `json:"values"`
}

// CheckStatus is the outcome of a self-check.
type CheckStatus string

const (
	// CheckOK is within the limit.
	CheckOK CheckStatus = "ok"
	// CheckNote is worth knowing and changes no verdict.
	CheckNote CheckStatus = "note"
	// CheckDegraded makes the verdict degraded.
	CheckDegraded CheckStatus = "degraded"
	// CheckInvalid makes the verdict invalid.
	CheckInvalid CheckStatus = "invalid"
	// CheckSkipped could not be made, with the reason in its note.
	CheckSkipped CheckStatus = "skipped"
)

// The names of the self-checks that tell of a busy machine.
const (
	CheckMachineBusy = "machine busy"
	CheckCPUPressure = "CPU pressure"
)

// Check is one self-check of the harness, with its limit.
type Check struct {
	Name   string      `json:"name"`
	Status CheckStatus `json:"status"`
	// Value and Limit are for people, with units: "0.42 ms", "at most 2 ms".
	Value string `json:"value"`
	Limit string `json:"limit"`
	// Note says what the check is about.
	Note string `json:"note"`
}

// Threshold is something that the scenario wanted to hold.
type Threshold struct {
	Text   string `json:"text"`
	Metric string `json:"metric"`
	// Value is null when the run has no such figure; then the threshold has failed.
	Value *float64 `json:"value"`
	Limit float64  `json:"limit"`
	Unit  string   `json:"unit"`
	OK    bool     `json:"ok"`
	// Reason says why a threshold without a value has none.
	Reason string `json:"reason,omitempty"`
}

// Phase is one part of the run. Start and End count in milliseconds from the
// run's start.
type Phase struct {
	Name  string  `json:"name"`
	Start float64 `json:"start_ms"`
	End   float64 `json:"end_ms"`
	// Ledger is of the messages sent in this phase, null when it sends none.
	Ledger   *Ledger       `json:"ledger,omitempty"`
	Delivery *Distribution `json:"delivery,omitempty"`
}

// Process is one process of the run.
type Process struct {
	// Role is manager, gateway, reference, worker or coordinator.
	Role string `json:"role"`
	Name string `json:"name"`
	PID  int    `json:"pid"`
	// CPUSeconds, WaitSeconds (runnable and not running) are of the measured phase.
	CPUSeconds  float64 `json:"cpu_seconds"`
	WaitSeconds float64 `json:"wait_seconds"`
	RSSPeak     int64   `json:"rss_peak_bytes"`
	// Exit is how the process ended.
	Exit string `json:"exit"`
	// The samples stand once a second over the whole run, at T seconds from its start.
	// Cores is the CPU time since the sample before, per second.
	T     []float64 `json:"t"`
	Cores []float64 `json:"cores"`
	RSS   []int64   `json:"rss_bytes"`
	FDs   []int     `json:"fds"`
}

// Server tells whether the process belongs to the system under test.
func (p Process) Server() bool { return p.Role != "worker" && p.Role != "coordinator" }

// Seconds are the deliveries of each second of warm-up and measured phase, by the
// second of arrival. T counts in seconds from the run's start. A percentile that a
// second has too few deliveries for is null.
type Seconds struct {
	T         []float64  `json:"t"`
	Phase     []string   `json:"phase"`
	Planned   []int64    `json:"planned_messages"`
	Sent      []int64    `json:"sent_messages"`
	Delivered []int64    `json:"delivered"`
	P50       []*float64 `json:"p50"`
	P90       []*float64 `json:"p90"`
	P99       []*float64 `json:"p99"`
	Max       []*float64 `json:"max"`
}

// Sample are single messages of the measured phase, by their intended time in
// seconds from the run's start: at most MaxSample of them, spread evenly. Times are
// milliseconds from the intended send until the share of subscribers had the
// message; null when they never had.
type Sample struct {
	T    []float64  `json:"t"`
	At50 []*float64 `json:"at50"`
	At90 []*float64 `json:"at90"`
	At99 []*float64 `json:"at99"`
	Last []*float64 `json:"last"`
}

// MaxSample bounds the messages that stand in a document one by one.
const MaxSample = 1000

// Environment is the machine and the build, as far as figures depend on them.
type Environment struct {
	Hostname string `json:"hostname"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	Kernel   string `json:"kernel"`
	CPU      string `json:"cpu"`
	CPUs     int    `json:"cpus"`
	// ServerCPUs and LoadCPUs are what servers and load were kept to, as 0-3,8; empty
	// when all shared all.
	ServerCPUs string `json:"server_cpus,omitempty"`
	LoadCPUs   string `json:"load_cpus,omitempty"`
	Memory     int64  `json:"memory_bytes"`
	Governor   string `json:"governor"`
	Clock      string `json:"clocksource"`
	CgroupCPU  string `json:"cgroup_cpu_max"`
	CgroupMem  string `json:"cgroup_memory_max"`
	OpenFiles  uint64 `json:"open_files_hard_limit"`
	GoVersion  string `json:"go"`
	GOMAXPROCS int    `json:"gomaxprocs"`
	GOGC       string `json:"gogc"`
	GOMEMLIMIT string `json:"gomemlimit"`
	// Commit of the build, with Modified when the tree had changes.
	Commit   string `json:"commit"`
	Modified bool   `json:"modified"`
	// Binary is the SHA-256 of the executable that ran as servers and workers.
	Binary string `json:"binary_sha256"`
	// Server is the build that the servers were started from when it is another than that
	// of the rest, with the target firetower@PATH.
	Server *ServerBuild      `json:"server_build,omitempty"`
	Sysctl map[string]string `json:"sysctl"`
	// PressureBefore is the "some" line of /proc/pressure/cpu before the start.
	PressureBefore string `json:"cpu_pressure_before"`
}

// ServerBuild is an executable, and what it says of itself.
type ServerBuild struct {
	Path string `json:"path"`
	// Binary is the SHA-256 of the executable.
	Binary   string `json:"binary_sha256"`
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
}

// Configuration is what the run was told to do.
type Configuration struct {
	// Scenario is the resolved scenario, as TOML.
	Scenario string `json:"scenario_toml"`
	// ScenarioHash is the SHA-256 of that text without its seed and without the servers'
	// keys: runs with the same hash asked the same question, of servers that may have
	// been set otherwise.
	ScenarioHash string `json:"scenario_sha256"`
	// Overrides are the keys that did not come from the scenario's file.
	Overrides []Override `json:"overrides,omitempty"`
	// Gateway and Manager are the servers' resolved configurations, as TOML.
	Gateway string `json:"gateway_toml,omitempty"`
	Manager string `json:"manager_toml,omitempty"`
	// Server is the name and version of the server that was loaded, when it is one of
	// others: "nats v2.15.2".
	Server string `json:"server,omitempty"`
	// Plan is the arithmetic that was printed before the start.
	Plan json.RawMessage `json:"plan"`
}

// Override is one key that the environment or a flag changed.
type Override struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}
