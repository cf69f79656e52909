package reports

// Slow is what became of the clients that misbehaved by plan.
type Slow struct {
	Connections int `json:"connections"`
	// Disconnected is how many the server ended, Closed by which code.
	Disconnected int64            `json:"disconnected"`
	Closed       map[string]int64 `json:"closed"`
	Received     int64            `json:"received"`
}

// Churn is the account of the topics that clients came to and left. A message is
// due to a client when it was sent after the client's subscription had been
// answered, and the client asked to leave only when the message was Grace old or
// more; what a client gets beyond that is Extra. Due = Received + Lost.
type Churn struct {
	Topics     int     `json:"topics"`
	Changes    int64   `json:"changes"`
	Refused    int64   `json:"refused"`
	Due        int64   `json:"due"`
	Received   int64   `json:"received"`
	Lost       int64   `json:"lost"`
	Duplicated int64   `json:"duplicated"`
	Reordered  int64   `json:"reordered"`
	Extra      int64   `json:"extra"`
	Grace      float64 `json:"grace_ms"`
}

// LossUnexplained is LostUnexplained together with what was lost of churning topics in a
// run without faults, whose part in that nobody knows.
func (r *Result) LossUnexplained() int64 {
	n := r.LostUnexplained
	if r.Churn != nil && len(r.Faults) == 0 {
		n += max(r.Churn.Lost, 0)
	}
	return n
}

// Fault is what was done to the servers, and what came of it. Times are
// milliseconds; At counts from the start of the measured phase, the others from
// the fault. What did not happen is null.
type Fault struct {
	Kind string  `json:"kind"`
	At   float64 `json:"at_ms"`
	// Victim is the process that it happened to, or how many clients.
	Victim string `json:"victim" schema:"optional"`
	// Down is how long the victim was away, from the kill to its being ready again.
	Down *float64 `json:"down_ms"`
	// Detected is when the fault first showed from outside: the publisher's first error (a
	// stream that broke, a message refused, an answer that a gateway was not reached);
	// when it saw none, the intended time of the first message after it that did not reach
	// all, or 0 when only such as were under way did not;
	// when all did, the beginning of the first second whose latency left the band of Steady.
	Detected *float64 `json:"detected_ms"`
	// Republished is when a publish first succeeded on a new stream, of a fault that broke
	// the publisher's.
	Republished *float64 `json:"republished_ms"`
	// FirstDelivery is when the first message that was sent after the fault arrived anywhere.
	FirstDelivery *float64 `json:"first_delivery_ms"`
	// Recovered is from when on every message reached all its subscribers.
	Recovered *float64 `json:"recovered_ms"`
	// Steady is from when on the delivery p99 of every second was at most a tenth above that
	// before the fault, or no higher than in the worst second before it.
	Steady *float64 `json:"steady_ms" schema:"optional"`
	// Reconnected is when the last client that had lost its connection was back.
	Reconnected *float64 `json:"reconnected_ms" schema:"optional"`
	// Before is the delivery latency of the measured phase until the fault, since the
	// window of the one before, or until that one when there was no time in between; During is that of messages sent from the fault to the end
	// of its window, and Innocent that of those same messages at clients of other gateways
	// than the victim: null when there are none, with InnocentNote, or when nothing reached
	// them.
	Before   *Distribution `json:"before" schema:"optional"`
	During   *Distribution `json:"during" schema:"optional"`
	Innocent *Distribution `json:"innocent" schema:"optional"`
	// InnocentBefore is the latency at those clients of the messages sent until the moment of
	// the fault, since the window of the one before; Before is of whole seconds. Left out when
	// there were none.
	InnocentBefore *Distribution `json:"innocent_before,omitempty"`
	// InnocentClients is how many such clients there were when the fault happened, wherever
	// they began; 0 of a fault that has no single gateway as its victim. InnocentNote is why nothing is told of them all the same, in
	// documents of versions that could not tell them apart of every fault.
	InnocentClients int    `json:"innocent_clients" schema:"optional"`
	InnocentNote    string `json:"innocent_note,omitempty"`
	// LostInnocent of Lost are those of such clients.
	LostInnocent int64 `json:"lost_innocent" schema:"optional"`
	Duplicated   int64 `json:"duplicated" schema:"optional"`
	// Window is the time within which a loss counts as this fault's.
	Window float64 `json:"window_ms"`
	// Lost deliveries within the window, of Messages that did not reach all.
	Lost     int64 `json:"lost"`
	Messages int64 `json:"messages"`
	Refused  int64 `json:"refused"`
}
