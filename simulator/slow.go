package simulator

import (
	"errors"
	"fmt"
	"math"
	"time"

	"firetower/simulator/latency"
)

// SlowKind names what a slow connection does.
type SlowKind string

const (
	// SlowNeverReads subscribes like the others and then leaves everything in its socket.
	SlowNeverReads SlowKind = "never-reads"
	// SlowReader takes [SlowSpec.Rate] messages a second out of its socket, one at a time, and answers pings when it
	// comes to them.
	SlowReader SlowKind = "slow-reader"
	// SlowWriter reads like the others, and begins a frame that it sends one byte of in a second. In the midst of a frame
	// it can neither answer a ping nor say goodbye.
	SlowWriter SlowKind = "slow-writer"
	// SlowHalfOpen reads like the others and never sends anything after its subscription: no pong, no close frame, and
	// it does not hang up either when it is told to.
	SlowHalfOpen SlowKind = "half-open"
)

// SlowSpec asks for connections that do not keep up. They are the last of the fleet's connections, in the order of the
// specs, and stand in no figure but their own (see [SlowReport]). They do not come back, and do not churn.
type SlowSpec struct {
	// Count is how many.
	Count int `json:"count"`
	// Kind is what they do. Default "never-reads".
	Kind SlowKind `json:"kind"`
	// ReceiveBuffer is their SO_RCVBUF in bytes, which Linux doubles. It is small, since back-pressure shows only
	// once this buffer and the server's send buffer are full. 0 is the fleet's. Default 4096 in the harness.
	ReceiveBuffer int `json:"receive_buffer"`
	// Rate is the messages a second that a slow-reader takes. 0 is 1.
	Rate float64 `json:"rate"`
}

func (s SlowSpec) validate(key string) error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(key+"."+format, args...)) }
	if s.Count < 0 {
		bad("count: must be >= 0, got %d", s.Count)
	}
	if s.ReceiveBuffer < 0 {
		bad("receive_buffer: must be >= 0, got %d", s.ReceiveBuffer)
	}
	switch s.Kind {
	case "", SlowNeverReads, SlowReader, SlowWriter, SlowHalfOpen:
	default:
		bad("kind: must be %q, %q, %q or %q, got %q", SlowNeverReads, SlowReader, SlowWriter, SlowHalfOpen, s.Kind)
	}
	if s.Rate < 0 || math.IsNaN(s.Rate) || s.Rate > 1e6 {
		bad("rate: must be from 0 to 1000000, got %v", s.Rate)
	}
	return errors.Join(problems...)
}

// kind is the kind with its default.
func (s *SlowSpec) kind() SlowKind {
	if s.Kind == "" {
		return SlowNeverReads
	}
	return s.Kind
}

// mute says that such a connection sends nothing that it is asked for.
func (s *SlowSpec) mute() bool { return s != nil && (s.Kind == SlowWriter || s.Kind == SlowHalfOpen) }

// readEvery is the time between two messages of a slow-reader.
func (s *SlowSpec) readEvery() time.Duration {
	if s.Rate == 0 {
		return time.Second
	}
	return time.Duration(float64(time.Second) / s.Rate)
}

// trickleEvery is the time between two bytes of a slow-writer.
const trickleEvery = time.Second

// trickleHeader begins the frame of a slow-writer: masked text of 65,535 bytes, which take it 18 hours. The masking key
// is zeros, and so is the payload.
var trickleHeader = []byte{0x80 | byte(opText), 0x80 | 126, 0xff, 0xff, 0, 0, 0, 0}

// slowSpec is the spec that a connection, counted within the fleet, was made slow by, or nil.
func slowSpec(config *Config, conn int) *SlowSpec {
	conn -= config.Healthy()
	for i := range config.Slow {
		if conn < 0 {
			return nil
		}
		if conn < config.Slow[i].Count {
			return &config.Slow[i]
		}
		conn -= config.Slow[i].Count
	}
	return nil
}

// SlowReport tells of the connections that were slow by plan.
type SlowReport struct {
	// SlowCount is of all of them.
	SlowCount
	// Kinds are the same figures by kind.
	Kinds map[SlowKind]*SlowCount `json:"kinds"`
	// Ended is the time, from the first message that any connection of the fleet received, to the moment when a slow
	// connection was seen to have ended; those that only Finish discovered are not in it.
	Ended *latency.Recorder `json:"ended"`
}

// SlowCount is what became of slow connections.
type SlowCount struct {
	// Connections is how many there were and Subscribed how many of them got there.
	Connections int   `json:"connections"`
	Subscribed  int64 `json:"subscribed"`
	// Closed counts how they ended, by close code. A connection that does not read learns of its end when Finish reads
	// what is left in its socket; the kernel tells of a reset at once.
	Closed map[string]int64 `json:"closed"`
	// Open were still connected at the end.
	Open int64 `json:"open"`
	// Received counts the messages that they read, by themselves or when Finish had them read what was left.
	Received int64 `json:"received"`
}

func newSlowReport() *SlowReport {
	return &SlowReport{
		SlowCount: SlowCount{Closed: make(map[string]int64)}, Kinds: make(map[SlowKind]*SlowCount), Ended: latency.NewRecorder(),
	}
}

func (c *SlowCount) add(from *SlowCount) {
	c.Connections += from.Connections
	c.Subscribed += from.Subscribed
	c.Open += from.Open
	c.Received += from.Received
	addCounts(c.Closed, from.Closed)
}

// add adds all but the histogram.
func (r *SlowReport) add(from *SlowReport) {
	r.SlowCount.add(&from.SlowCount)
	for kind, count := range from.Kinds {
		r.kind(kind).add(count)
	}
}

func (r *SlowReport) kind(kind SlowKind) *SlowCount {
	if r.Kinds[kind] == nil {
		r.Kinds[kind] = &SlowCount{Closed: make(map[string]int64)}
	}
	return r.Kinds[kind]
}

// slowLedger is a [SlowReport] while it is being counted, by one shard.
type slowLedger struct {
	healthy int          // the shard's connections that come before the slow ones
	conns   []*SlowCount // of each slow connection, that of its kind
	kinds   map[SlowKind]*SlowCount
	endedAt []int64 // CLOCK_MONOTONIC
}

func newSlowLedger(config *Config, first, healthy, conns int) slowLedger {
	l := slowLedger{healthy: healthy, kinds: make(map[SlowKind]*SlowCount)}
	for conn := healthy; conn < conns; conn++ {
		kind := slowSpec(config, first+conn).kind()
		if l.kinds[kind] == nil {
			l.kinds[kind] = &SlowCount{Closed: make(map[string]int64)}
		}
		l.kinds[kind].Connections++
		l.conns = append(l.conns, l.kinds[kind])
	}
	return l
}

// of is where a slow connection, counted within the shard, is counted.
func (l *slowLedger) of(conn int) *SlowCount { return l.conns[conn-l.healthy] }

func (l *slowLedger) addTo(r *SlowReport, started int64) {
	for kind, count := range l.kinds {
		r.SlowCount.add(count)
		r.kind(kind).add(count)
	}
	for _, at := range l.endedAt {
		if started != 0 {
			r.Ended.Record(max(at-started, 0))
		}
	}
}
