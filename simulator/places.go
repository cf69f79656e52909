package simulator

// nowhere is the place of a connection that had none when a fault happened.
const nowhere = -1

// places are the servers that the healthy connections of a shard were at when each fault of [Config.Victims] happened.
// A connection comes back to another server than its own, and is innocent of what happens to its own from then on. The
// shard tells the time by the messages that it has seen: of fault i are those from the end of the window of the fault
// before it. Memory: 4 bytes for each connection and fault, none without a victim.
type places struct {
	faults int
	at     []int32 // index in URLs or nowhere, of connection and fault
}

func newPlaces(config *Config, first, healthy int) places {
	some := false
	for _, v := range config.Victims {
		some = some || v >= 0
	}
	if !some {
		return places{}
	}
	p := places{faults: len(config.Victims), at: make([]int32, healthy*len(config.Victims))}
	for i := range p.at {
		p.at[i] = int32((config.FirstIndex + first + i/p.faults) % len(config.URLs))
	}
	return p
}

// innocent says that a connection was at another server than the victim of a fault when that happened.
func (p *places) innocent(conn, fault, victim int) bool {
	at := int(p.at[conn*p.faults+fault])
	return at != victim && at != nowhere
}

// moved has a connection be at a server, or nowhere, of all faults from one on.
func (p *places) moved(conn, fault, server int) {
	for ; fault < p.faults; fault++ {
		p.at[conn*p.faults+fault] = int32(server)
	}
}

// lost notes that a connection has ended: it was where it was of the fault that is under way, and of the next it is
// nowhere until it comes back.
func (a *account) lost(conn int) {
	from := a.fault() + 1
	if a.calm() {
		from = 0
	}
	a.places.moved(conn, from, nowhere)
}

// back notes that a connection has come back to a server. A fault that has happened already found it nowhere, or where
// it had been. So does one that has not, when messages of the time before it have come: what this connection received of
// them is in the account of its place.
func (a *account) back(conn, server int) {
	newest := a.newestPhase()
	from := newest.Fault()
	if !a.calm() && (newest.Kind() != PhaseMeasure || a.places.here(conn, from)) {
		from++
	}
	a.places.moved(conn, from, server)
}

// calm says that no message of the time before the first fault has come.
func (a *account) calm() bool { return a.newestPhase() < PhaseMeasure }

// here says that a connection was somewhere when a fault happened.
func (p *places) here(conn, fault int) bool {
	return fault < p.faults && p.at[conn*p.faults+fault] != nowhere
}

// newestPhase is the highest of those that the shard has seen a message of.
func (a *account) newestPhase() Phase { return Phase(max(a.begun, 1) - 1) }

// fault is the newest fault that the shard has seen a message of.
func (a *account) fault() int { return a.newestPhase().Fault() }
