package simulator

import "slices"

// Dialect names what is spoken over the WebSocket. Every dialect feeds the same ledger: what differs is how a
// subscription is asked for, and where in a frame the stamped messages lie.
type Dialect string

const (
	// DialectFiretower is Firetower's: v0 or v1, as [Config].Subprotocol says.
	DialectFiretower Dialect = "firetower"
	// DialectBroadcast is the plainest that there is: the frames of firetower.v0 without a subprotocol. A subscription
	// is not answered, and what was published arrives alone in its frame.
	DialectBroadcast Dialect = "broadcast"
	// DialectCentrifugo is Centrifugo's client protocol as JSON: commands, replies and pushes are lines, of which one
	// frame may hold several, and an empty object is a ping.
	DialectCentrifugo Dialect = "centrifugo-json"
	// DialectNATS is the client protocol of NATS: a stream of text commands and counted payloads, which the frames cut
	// where they like.
	DialectNATS Dialect = "nats"
)

// Dialects lists them.
func Dialects() []Dialect {
	return []Dialect{DialectFiretower, DialectBroadcast, DialectCentrifugo, DialectNATS}
}

// dialect is what an engine must know of a [Dialect]. It is shared by all connections and keeps nothing of them: what
// a connection has to remember is its [session].
type dialect interface {
	// opcode is that of the client's messages.
	opcode() opcode
	// request asks for all topics of a connection, whose index counts over the whole run.
	request(config *Config, conn int) []byte
	// replies is how many answers to the request make the subscription; 0 when the server gives none.
	replies(config *Config) int
	// mark is what the envelope of a message of the topic must contain.
	mark(topic string) []byte
	// pong answers the server's ping, where the dialect has one of its own.
	pong() []byte
	// frame counts one data frame of the server: payload is the whole message, wire its size with headers, now when it
	// was read. The reason goes with a refusal. conn counts within the shard. Pings that want an answer are added to
	// the account's pings.
	frame(a *account, conn int, payload []byte, wire int, now int64) (v verdict, reason string)
}

func dialectOf(config *Config) dialect {
	switch config.Dialect {
	case DialectCentrifugo:
		return centrifugoDialect{}
	case DialectNATS:
		return natsDialect{}
	default:
		return firetowerDialect{}
	}
}

// session is what a connection remembers from frame to frame, in a dialect that needs it.
type session struct {
	awaiting int32  // replies that are still to come
	answers  bool   // the server wants its pings answered
	overhead int32  // bytes of WebSocket headers that belong to the message in rest
	rest     []byte // the beginning of a message whose end has not come
}

// opening is the first message of a connection: it forgets what an earlier one with its index had left. conn counts
// within the shard.
func (a *account) opening(conn int, now int64) []byte {
	a.sessions[conn] = session{awaiting: int32(a.dialect.replies(a.config))}
	if a.churn != nil && conn < a.healthy { // in no dialect but Firetower's
		return subscribeRequest(a.config, a.config.FirstIndex+a.first+conn, a.churn.open(conn, now))
	}
	return a.dialect.request(a.config, a.config.FirstIndex+a.first+conn)
}

// replied counts an answer to the opening, and says what the last one says: the connection has subscribed.
func (a *account) replied(conn int) verdict {
	a.unattributed.Replies++
	s := &a.sessions[conn]
	if s.awaiting == 0 {
		return verdictNone
	}
	if s.awaiting--; s.awaiting == 0 {
		return verdictSubscribed
	}
	return verdictNone
}

// stamped counts a message with a stamp, of a healthy connection or of one that is slow by plan.
func (a *account) stamped(conn int, envelope, data []byte, wire int, now int64) {
	if conn >= a.healthy {
		a.slow.of(conn).Received++
		return
	}
	a.message(conn, envelope, data, wire, now)
}

// foreign counts a message that is none of ours.
func (a *account) foreign() { a.phase(a.newest).foreign++ }

// takePings returns how many pings wait for an answer, and forgets them.
func (a *account) takePings() int {
	n := a.pings
	a.pings = 0
	return n
}

// checkDialect reports what is wrong with the dialect of a configuration.
func (c *Config) checkDialect(bad func(format string, args ...any)) {
	switch {
	case c.Dialect != "" && !slices.Contains(Dialects(), c.Dialect):
		bad("dialect: must be one of %q, got %q", Dialects(), c.Dialect)
	case c.Dialect != "" && c.Dialect != DialectFiretower && c.Subprotocol != "":
		bad("subprotocol: must be empty with dialect %q, got %q", c.Dialect, c.Subprotocol)
	}
}

// firetowerDialect is v0, v1 and the plain broadcast.
type firetowerDialect struct{}

func (firetowerDialect) opcode() opcode { return opText }

func (firetowerDialect) request(config *Config, conn int) []byte {
	return subscribeRequest(config, conn)
}

func (firetowerDialect) replies(config *Config) int {
	if config.Subprotocol == SubprotocolV1 {
		return 1
	}
	return 0
}

// mark is the JSON text of the topic, quotes included. The prefix of topics is checked to need no escaping.
func (firetowerDialect) mark(topic string) []byte { return []byte(`"` + topic + `"`) }

func (firetowerDialect) pong() []byte { return nil }

func (firetowerDialect) frame(a *account, conn int, payload []byte, wire int, now int64) (v verdict, reason string) {
	return a.frame(conn, payload, wire, now)
}
