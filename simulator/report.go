package simulator

import (
	"firetower/simulator/latency"
)

// Phase is the phase of a run that a message was published in; its number stands in the message's stamp.
type Phase uint8

// The phases that the harness uses. A fleet accepts every number below [MaxPhases].
const (
	// PhaseProbe messages prove that subscriptions deliver. They are repeated until all connections have seen one on
	// each of their topics, so that none of them is expected.
	PhaseProbe Phase = iota
	// PhaseWarmup messages are accounted but are no result.
	PhaseWarmup
	// PhaseMeasure messages are the result.
	PhaseMeasure
	// PhaseRecover messages are sent from the end of a fault's hold to the end of its window.
	PhaseRecover
	// PhaseHold messages are sent from the injection of a fault to the end of its hold.
	PhaseHold
	// PhaseTrial messages are those of a search's trials. They have no rows.
	PhaseTrial

	// MaxPhases is how many phases a fleet tells apart. A message with a higher number is foreign.
	MaxPhases = phaseKinds * (MaxFaults + 1)

	// MaxFaults is how many faults of a run have phases of their own; see [Phase.Of].
	MaxFaults = 30

	// phaseKinds is the distance from a phase of one fault to the same phase of the next.
	phaseKinds = 8
)

// Of is the phase of that kind that belongs to a fault of the run, counted from 0 to [MaxFaults]: PhaseHold and
// PhaseRecover of it, and PhaseMeasure until it, which of the fault after the last is the time after all of them. Those
// of fault 0 are the constants themselves.
func (p Phase) Of(fault int) Phase { return p.Kind() + Phase(fault*phaseKinds) }

// Kind is the constant that the phase is one of, whatever its fault.
func (p Phase) Kind() Phase { return p % phaseKinds }

// Fault is the fault that a phase belongs to, counted from 0.
func (p Phase) Fault() int { return int(p / phaseKinds) }

// headline says that messages of a phase are what a run's figures are of, with a fault or without.
func headline(p Phase) bool { return 1<<p.Kind()&(1<<PhaseMeasure|1<<PhaseRecover|1<<PhaseHold) != 0 }

// hasRows says that messages of a phase are listed one by one.
func hasRows(p Phase) bool { return 1<<p.Kind()&(1<<PhaseProbe|1<<PhaseTrial) == 0 }

// TopicSent tells a fleet what was published, so that it can tell what was lost: the messages First to First+Count-1
// of one publisher on one topic in one phase. Phases of which it is told nothing have nothing expected and nothing
// lost.
type TopicSent struct {
	Topic     uint32 `json:"topic"`
	Publisher uint16 `json:"publisher"`
	Phase     Phase  `json:"phase"`
	First     uint64 `json:"first"`
	Count     uint64 `json:"count"`
	// Times are when each was sent (CLOCK_MONOTONIC, as in its stamp), one for each sequence and rising. Messages on
	// topics that churn need them; others do without.
	Times []int64 `json:"times,omitempty"`
}

// Report is what a fleet has to say about a run. Reports of several workers are added by [Merge].
type Report struct {
	// Engine is the engine that was used.
	Engine Engine `json:"engine"`
	// Connections is how many were planned, slow ones included; Subscribed is how many got there.
	Connections int   `json:"connections"`
	Subscribed  int64 `json:"subscribed"`
	// Probed is how many healthy connections saw a probe on every topic of theirs.
	Probed int64 `json:"probed"`
	// Refused counts connections that never subscribed, by reason.
	Refused map[string]int64 `json:"refused,omitempty"`
	// Closed counts healthy connections that ended before Finish, by close code ("1006 reset" and the like when there
	// was none, "reset by plan" when [Fleet.Disconnect] did it). What they miss is lost, also when they come back.
	Closed map[string]int64 `json:"closed,omitempty"`
	// Connect is the time from connect(2) to the answer to the upgrade; Subscribe from there to the acknowledgement
	// (v1 only).
	Connect   *latency.Recorder `json:"connect"`
	Subscribe *latency.Recorder `json:"subscribe"`
	// Reconnect is the time from the end of a healthy connection to its being subscribed again, of those Reconnects that
	// came back. ReconnectRefused counts attempts that did not get there, by reason.
	Reconnect        *latency.Recorder `json:"reconnect"`
	Reconnects       int64             `json:"reconnects"`
	ReconnectRefused map[string]int64  `json:"reconnect_refused,omitempty"`
	// Join is the time from the request of a churning connection to its answer, where that was yes.
	Join *latency.Recorder `json:"join"`
	// Churn is the account of the topics that connections came to and left; nil when there are none.
	Churn *ChurnReport `json:"churn,omitempty"`
	// LastReconnectNS is when a connection last came back (CLOCK_MONOTONIC), 0 if none did. With a Down of 0 that is
	// when the fleet last became whole.
	LastReconnectNS int64 `json:"last_reconnect_ns"`
	// Down is how many healthy connections had no connection when Finish was called, those included that never
	// subscribed.
	Down int64 `json:"down"`
	// Phases are the ledgers, in rising order of phase; phases without a message sent or received are left out.
	Phases []PhaseReport `json:"phases"`
	// Innocents are how many healthy connections were at another server than the victim when that fault of
	// [Config.Victims] happened, 0 of a fault without a victim; empty without faults.
	Innocents []int64 `json:"innocents,omitempty"`
	// Unattributed counts frames that no phase can be told of.
	Unattributed Unattributed `json:"unattributed"`
	// Rows has one entry for each message of the phases that Finish was told of (but PhaseTrial), whether or not it arrived; with a
	// RowStride above 1 it has a sample.
	Rows []MessageRow `json:"rows"`
	// RowStride is the inverse share of messages that have a row: a power of two, 1 unless [Config.MaxRows] was hit.
	// Which messages those are depends on topic, publisher and sequence alone, so that fleets agree on them.
	RowStride uint64 `json:"row_stride"`
	// Intervals are the deliveries of each second and phase, in rising order; empty unless asked for.
	Intervals []Interval `json:"intervals,omitempty"`
	// Spread describes how evenly the measured phases reached the healthy connections.
	Spread Spread `json:"spread"`
	// Slow tells of the connections that were slow by plan; nil when there are none.
	Slow *SlowReport `json:"slow,omitempty"`
	// Load tells how the loops fared.
	Load Load `json:"load"`
	// Forgotten is how many gaps in sequences the ledger could not keep, being bounded (about a million for each
	// shard). A message that comes late into a forgotten gap counts as duplicated instead of reordered, and stays lost.
	Forgotten int64 `json:"forgotten,omitempty"`
}

// PhaseReport is the ledger of one phase. It balances by construction of Lost: Expected = Received + Lost. All counts
// are of (message, healthy connection) pairs.
type PhaseReport struct {
	Phase Phase `json:"phase"`
	// Expected is what was sent, times the connections that the plan subscribed, whether or not they got there.
	Expected int64 `json:"expected"`
	// Received counts each pair once. In a phase that Finish was told nothing of it stands beside an Expected of 0.
	Received int64 `json:"received"`
	// Lost is Expected - Received. It is negative when more arrived than Finish was told of, which makes the report
	// worthless.
	Lost int64 `json:"lost"`
	// Duplicated counts every arrival of a pair after its first.
	Duplicated int64 `json:"duplicated"`
	// Reordered of Received arrived after a message with a higher sequence of the same publisher and topic.
	Reordered int64 `json:"reordered"`
	// Late of Received arrived later than [Config.MessageDeadline] after their intended time.
	Late int64 `json:"late"`
	// Corrupt and Foreign frames arrived when the shard's newest good message was of this phase: what a damaged frame
	// says of its phase cannot be believed. Foreign ones carry another run, a topic that the connection has not
	// subscribed to, a publisher or a phase that does not exist, or stand in an envelope that names another topic.
	Corrupt int64 `json:"corrupt"`
	Foreign int64 `json:"foreign"`
	// Negative of Received arrived before they were intended or sent, which is a fault of a clock. They are in no
	// histogram.
	Negative int64 `json:"negative"`
	// Bytes is the size of the frames that Received counts, headers included. EngineGoroutine,
	// whose library inflates what it reads, counts compressed ones as they were before.
	Bytes int64 `json:"bytes"`
	// Intended is arrival minus intended time, over Received: what a subscriber sees. Actual is arrival minus actual
	// send; the gap between them is the publisher's own lag.
	Intended *latency.Recorder `json:"intended"`
	Actual   *latency.Recorder `json:"actual"`
	// Innocent is Intended of those connections alone that were at another server than the one of [Config.Victims] when
	// the phase's fault ([Phase.Fault]) happened to that, wherever they have come back to since; LostInnocent of Lost are
	// theirs. Without such a victim both are empty.
	Innocent     *latency.Recorder `json:"innocent"`
	LostInnocent int64             `json:"lost_innocent"`
}

// Unattributed counts what is no test message.
type Unattributed struct {
	// Heartbeats are the dialect's own: the text frames "heartbeat" of v0, the pings of Centrifugo and NATS. Pings are
	// those of the WebSocket, which were answered.
	Heartbeats int64 `json:"heartbeats"`
	Pings      int64 `json:"pings"`
	// Replies and Errors are frames of the v1 protocol.
	Replies int64 `json:"replies"`
	Errors  int64 `json:"errors"`
}

// Interval is what arrived in one second of one phase.
type Interval struct {
	// StartNS is CLOCK_MONOTONIC at the beginning of the second, a multiple of 10^9.
	StartNS int64 `json:"start_ns"`
	Phase   Phase `json:"phase"`
	// Intended is as in [PhaseReport].
	Intended *latency.Packed `json:"intended"`
}

// Spread describes how evenly connections were served in [PhaseMeasure], [PhaseHold] and [PhaseRecover].
type Spread struct {
	// MeanLatency has one value for each connection: the mean of its intended latencies.
	MeanLatency *latency.Recorder `json:"mean_latency"`
	// Connections, Delivered and DeliveredSquares are the sums over connections of 1, x and x*x, where x is what the
	// connection received; they add up over workers. See [Spread.Jain].
	Connections      int64   `json:"connections"`
	Delivered        float64 `json:"delivered"`
	DeliveredSquares float64 `json:"delivered_squares"`
	// Incomplete is how many connections missed at least one message of any phase that Finish was told of.
	Incomplete int64 `json:"incomplete"`
}

// Jain is Jain's fairness index of the messages that each connection received: 1 when all received the same, 1/n when
// one of n received everything. It is 0 when nothing was received.
func (s Spread) Jain() float64 {
	if s.Connections == 0 || s.DeliveredSquares == 0 {
		return 0
	}
	return s.Delivered * s.Delivered / (float64(s.Connections) * s.DeliveredSquares)
}

// Load tells how hard the loops of a fleet worked. The goroutine engine has no loops and leaves it zero.
type Load struct {
	// Batches is how many times a loop asked for events, FullBatches how often it got as many as it asked for, and
	// Rests how often it rested after.
	Batches     int64 `json:"batches"`
	FullBatches int64 `json:"full_batches"`
	Rests       int64 `json:"rests"`
	// Reads is how many reads there were; the messages per read tell how much the server joined.
	Reads int64 `json:"reads"`
	// Inflated is how many messages came compressed.
	Inflated int64 `json:"inflated,omitempty"`
	// Backlog is the number of bytes that were waiting in the healthy connections' sockets when Finish was called.
	Backlog int64 `json:"backlog"`
}
