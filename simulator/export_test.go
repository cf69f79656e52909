package simulator

import (
	"maps"
	"slices"
	"time"

	"firetower/simulator/stamp"
)

// What tests look at from outside.

const (
	WindowBits = windowBits
	RowBuckets = rowBuckets
)

// Arrival names what the ledger makes of a sequence.
type Arrival = arrival

const (
	InOrder    = inOrder
	Reordered  = reordered
	Duplicated = duplicated
)

// Stream is one stream with gaps of its own.
type Stream struct {
	s stream
	g *gaps
}

// NewStream returns a stream whose gaps are bounded.
func NewStream(limit int) *Stream { return &Stream{newStream(), newGaps(limit)} }

// Arrive notes a sequence.
func (s *Stream) Arrive(seq uint64) Arrival { return s.s.arrive(seq, 7, s.g) }

// Forgotten is how many gaps were not kept.
func (s *Stream) Forgotten() int64 { return s.g.forgotten }

// Gaps is how many are kept.
func (s *Stream) Gaps() int { return s.g.count }

// RowBucket returns the bucket of a latency.
func RowBucket(ns int64) int { return rowBucket(ns) }

// RowTable counts rows.
type RowTable struct{ t *rowTable }

// NewRowTable returns a table of at most limit rows.
func NewRowTable(limit int) RowTable { return RowTable{newRowTable(limit)} }

// Add counts one arrival.
func (t RowTable) Add(phase Phase, topic uint32, publisher uint16, sequence uint64, intended, ns int64) {
	t.t.add(phase, rowKey{sequence, topic, publisher}, intended, ns)
}

// Absorb adds another table.
func (t RowTable) Absorb(from RowTable) { t.t.absorb(from.t) }

// Rows lists what was sent, as a report does.
func (t RowTable) Rows(sent []TopicSent, subscribers []int, limit int) (uint64, []MessageRow) {
	return buildRows(t.t, sent, subscribers, limit)
}

// Len is how many rows are held.
func (t RowTable) Len() int { return len(t.t.rows) }

// Frame is a parsed frame.
type Frame struct {
	Fin      bool
	Deflated bool
	Opcode   byte
	Payload  []byte
}

// ParseFrame parses one frame of a server; code is the close code that the server earns by it.
func ParseFrame(b []byte, maxPayload int) (f Frame, n, need, code int) {
	return ParseFrameDeflated(b, maxPayload, false)
}

// ParseFrameDeflated is the same where compression may have been negotiated.
func ParseFrameDeflated(b []byte, maxPayload int, deflate bool) (f Frame, n, need, code int) {
	frame, n, need, fail := parseFrame(b, maxPayload, deflate)
	return Frame{frame.fin, frame.deflated && fail == 0, byte(frame.op), frame.payload}, n, need, int(fail)
}

// ParseClose parses the payload of a close frame.
func ParseClose(payload []byte) (code, fail int) {
	code, protocol := parseClose(payload)
	return code, int(protocol)
}

// AppendClientFrame appends a masked frame.
func AppendClientFrame(dst []byte, opcodeByte byte, payload []byte) []byte {
	return newMasker().appendFrame(dst, opcode(opcodeByte), payload)
}

// ParseUpgrade parses the server's answer to an upgrade.
func ParseUpgrade(b []byte, subprotocol, accept string) (int, string) {
	no := false
	return parseUpgrade(b, subprotocol, accept, &no)
}

// ParseDeflateUpgrade parses the answer to an upgrade that offered compression.
func ParseDeflateUpgrade(b []byte, subprotocol, accept string) (n int, refusal string, deflate bool) {
	deflate = true
	n, refusal = parseUpgrade(b, subprotocol, accept, &deflate)
	return n, refusal, deflate
}

// Inflate inflates messages one after the other.
func Inflate(limit int, payloads ...[]byte) (messages []string, fail int) {
	var i inflater
	for _, p := range payloads {
		m, fail := i.inflate(p, limit)
		if fail != 0 {
			return messages, int(fail)
		}
		messages = append(messages, string(m))
	}
	return messages, 0
}

// AcceptKey answers a Sec-WebSocket-Key.
func AcceptKey(key string) string { return acceptKey(key) }

// RampAllowed is how many connections an open plan has begun after ns.
func RampAllowed(rate float64, ns int64, n int) int { return ramp{rate: rate}.allowed(ns, n) }

// Share splits n over parts.
func Share(n, parts, i int) int { return share(n, parts, i) }

// SubscribeRequest is the frame that a connection subscribes with.
func SubscribeRequest(config *Config, conn int) []byte { return subscribeRequest(config, conn) }

// Account is a shard's account, without a shard.
type Account struct{ a *account }

// NewAccount returns the account of all connections of a configuration.
func NewAccount(config *Config) Account { return Account{newAccount(config, 0, config.Connections)} }

// Frame counts one message.
func (a Account) Frame(conn int, payload []byte, now int64) {
	a.a.dialect.frame(a.a, conn, payload, wireSize(len(payload)), now)
}

// Lost ends a connection, and Back has it come back with its n-th attempt.
func (a Account) Lost(conn int, now int64) { a.a.ended(conn, "1006 reset", now) }

// Back is the other half of Lost.
func (a Account) Back(conn, attempt int, now int64) {
	a.a.subscribed(conn, &comeback{lostAt: now, attempt: attempt}, now)
}

// Opening is the first message of a connection.
func (a Account) Opening(conn int) []byte { return a.a.opening(conn, 0) }

// Deliver counts one message, and says what it means to its connection and how many pings want an answer.
func (a Account) Deliver(conn int, payload []byte, now int64) (verdict string, pings int) {
	v, reason := a.a.dialect.frame(a.a, conn, payload, wireSize(len(payload)), now)
	switch v {
	case verdictSubscribed:
		verdict = "subscribed"
	case verdictRefused:
		verdict = "refused: " + reason
	case verdictNone:
	}
	return verdict, a.a.takePings()
}

// Report balances the account.
func (a Account) Report(sent []TopicSent) (*Report, error) {
	return buildReport(*a.a.config, []*account{a.a}, sent)
}

// ReconnectWait is how long a connection waits before its n-th attempt.
func ReconnectWait(p ReconnectPlan, conn, n int) time.Duration { return p.wait(conn, n) }

// ChooseShare draws a share of n connections.
func ChooseShare(first, n int, share float64, seed uint64) []int {
	return chooseShare(first, n, share, seed)
}

// Timers wake connections.
type Timers struct{ t timers }

// Set adds one.
func (t *Timers) Set(at int64, conn int) { t.t.set(at, conn) }

// Due takes one out.
func (t *Timers) Due(now int64) (int, bool) { return t.t.due(now) }

// ChurnLedger is the ledger of churn of one shard that has all connections of a configuration.
type ChurnLedger struct{ l *churnLedger }

// NewChurnLedger returns the ledger of an account of its own.
func NewChurnLedger(config *Config) ChurnLedger {
	return ChurnLedger{newAccount(config, 0, config.Connections).churn}
}

// Open begins a connection's first visit; Opened is the answer to it.
func (l ChurnLedger) Open(conn int, now int64) string { return l.l.open(conn, now) }

// Opened answers it.
func (l ChurnLedger) Opened(conn int, now int64) { l.l.opened(conn, now) }

// Change makes the k-th change.
func (l ChurnLedger) Change(k uint64, now int64, ready func(int) bool) (conn int, leave, join []byte, ok bool) {
	return l.l.change(k, now, ready)
}

// Replied takes an answer.
func (l ChurnLedger) Replied(conn int, id string, granted bool, now int64) bool {
	return l.l.replied(conn, id, granted, now)
}

// Lost ends a connection.
func (l ChurnLedger) Lost(conn int, now int64) { l.l.lost(conn, now) }

// Stop ends all visits.
func (l ChurnLedger) Stop(now int64) { l.l.stop(now) }

// Message counts an arrival.
func (l ChurnLedger) Message(conn int, s stamp.Stamp, now int64) bool {
	return l.l.message(conn, &s, now)
}

// Report balances the ledger.
func (l ChurnLedger) Report(sent []TopicSent) ChurnReport {
	told := make(map[Phase]bool)
	for _, s := range sent {
		told[s.Phase] = true
	}
	return l.l.report(churnTimes(*l.l.config, sent), slices.Sorted(maps.Keys(told)))
}
