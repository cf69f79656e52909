package gateway

import (
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// AdmissionOptions bound a storm of clients that connect at once. Who comes on top is
// answered 503 with a Retry-After at once, before any work is done for it.
type AdmissionOptions struct {
	// Handshakes bounds the upgrades at work at once: from the request, which has been
	// read whole, over Authenticate to the answer. 0 is 2048 for each processor. Default 0.
	Handshakes int
	// Rate bounds new connections per second; a second's worth may come at once. 0 is
	// no bound. Default 0.
	Rate int
}

// handshakesPerCore is what Handshakes is by itself, times the processors: about what
// each gets done in a second, so that nobody who is let in waits much longer. In a storm
// nearly all clients that are let in stand in their handler: with 256, ten thousand
// clients of which 512 connected at once were refused by the dozen on two processors.
const handshakesPerCore = 2048

// RefusalReason says why a request to connect was refused, as the label of
// firetower_gateway_upgrades_refused_total.
type RefusalReason string

const (
	// RefusedFull: Limits.MaxConnections are there already (503).
	RefusedFull RefusalReason = "full"
	// RefusedStopping: the gateway stops (503).
	RefusedStopping RefusalReason = "stopping"
	// RefusedAddress: Limits.MaxConnectionsPerIP are there from its address (503).
	RefusedAddress RefusalReason = "address"
	// RefusedRate: Admission.Rate (503).
	RefusedRate RefusalReason = "rate"
	// RefusedBusy: Admission.Handshakes are at work (503).
	RefusedBusy RefusalReason = "handshakes"
	// RefusedIdentity: Authenticate did not know it (401).
	RefusedIdentity RefusalReason = "identity"
	// RefusedRequest: it is no correct upgrade, or of an origin that may not connect.
	RefusedRequest RefusalReason = "bad_request"
)

var refusalReasons = []RefusalReason{
	RefusedFull, RefusedStopping, RefusedAddress, RefusedRate, RefusedBusy, RefusedIdentity, RefusedRequest,
}

// Errors of admission; ErrFull and ErrStopped are further ones.
var (
	// ErrAddressFull: Limits.MaxConnectionsPerIP are there from the client's address.
	ErrAddressFull = errors.New("gateway: too many connections from this address")
	// ErrRate: more connect per second than Admission.Rate.
	ErrRate = errors.New("gateway: too many new connections per second")
	// ErrBusy: Admission.Handshakes are at work.
	ErrBusy = errors.New("gateway: too many handshakes at once")
)

func refusalReasonOf(err error) RefusalReason {
	switch {
	case errors.Is(err, ErrAddressFull):
		return RefusedAddress
	case errors.Is(err, ErrRate):
		return RefusedRate
	case errors.Is(err, ErrBusy):
		return RefusedBusy
	case errors.Is(err, ErrStopped):
		return RefusedStopping
	default:
		return RefusedFull
	}
}

// admission decides who may begin a handshake.
type admission struct {
	clock   *clock
	slots   int64
	working atomic.Int64
	// cost is how long a handshake took of late, in nanoseconds.
	cost  atomic.Int64
	rate  bucketOfTokens
	queue returnQueue
}

func (a *admission) init(o AdmissionOptions, c *clock) {
	a.clock = c
	if a.slots = int64(o.Handshakes); a.slots == 0 {
		a.slots = handshakesPerCore * int64(runtime.GOMAXPROCS(0))
	}
	a.rate.init(o.Rate)
}

// enter begins a handshake, for which leave is to be called, or refuses it.
func (a *admission) enter() (began int64, err error) {
	began = a.clock.now()
	if a.working.Add(1) > a.slots {
		a.working.Add(-1)
		return 0, ErrBusy
	}
	if !a.rate.take(began) {
		a.working.Add(-1)
		return 0, ErrRate
	}
	return began, nil
}

func (a *admission) leave(began int64) {
	a.working.Add(-1)
	// An average over some sixteen; that two of them meet here does not matter.
	took, cost := a.clock.now()-began, a.cost.Load()
	a.cost.Store(cost + (took-cost)/16)
}

// retryAfter is when a client that was refused is to come back, in seconds from now: at
// the place that it has in the queue of all that were refused of late, as fast as the
// bound that refused it lets them in.
func (a *admission) retryAfter(why error, window time.Duration) int {
	var each time.Duration
	switch {
	case errors.Is(why, ErrRate):
		each = time.Duration(a.rate.each)
	case errors.Is(why, ErrBusy):
		each = time.Duration(a.cost.Load() / a.slots)
	default: // nobody knows when there will be room
		return wholeSeconds(0, window)
	}
	return wholeSeconds(a.queue.place(a.clock.now(), each), window)
}

// maxRetryAfter bounds what clients are told: in a longer storm some will come too early.
const maxRetryAfter = time.Minute

// wholeSeconds adds a jitter of up to the window to a wait and makes of it what
// RFC 9110 section 10.2.3 has room for, at least 1.
func wholeSeconds(wait, window time.Duration) int {
	wait += time.Duration(rand.Int64N(int64(max(window, time.Second))))
	return max(1, int(math.Ceil(min(wait, maxRetryAfter).Seconds())))
}

// returnQueue spreads the clients that were refused: each is told a later moment than
// the one before. A place is kept for nobody, since who comes back is admitted or
// refused as everyone is.
type returnQueue struct {
	mu sync.Mutex // guards the following
	// end is the last place that was given away, in the gateway's clock.
	end int64
}

// place takes a place and returns how far off it is.
func (q *returnQueue) place(now int64, each time.Duration) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.end = min(max(q.end, now)+int64(each), now+int64(maxRetryAfter))
	return time.Duration(q.end - now)
}

// bucketOfTokens lets in so many per second on average, and a second's worth at once.
// It counts time and not tokens: full is when it will hold a second's worth again, and
// a token moves that moment on by what one takes to flow in (the generic cell rate
// algorithm, ITU-T I.371).
type bucketOfTokens struct {
	each int64 // nanoseconds from token to token; 0 is no bound

	mu   sync.Mutex // guards the following
	full int64
}

func (b *bucketOfTokens) init(perSecond int) {
	if perSecond > 0 {
		b.each = max(1, int64(time.Second)/int64(perSecond))
	}
}

// take takes a token at a moment of the gateway's clock, if there is one.
func (b *bucketOfTokens) take(now int64) bool {
	if b.each == 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	next := max(b.full, now) + b.each
	if next-now > max(int64(time.Second), b.each) {
		return false
	}
	b.full = next
	return true
}

// addressShards is over how many locks the addresses are spread.
const addressShards = 64

// addressCounts counts connections per client address. Of an IPv6 address the first 64
// bits count: the rest is for the client to choose (RFC 4291 section 2.5.1).
type addressCounts struct {
	limit  int // 0 is no bound, and counts nothing
	shards [addressShards]struct {
		mu sync.Mutex // guards the following
		n  map[netip.Addr]int
	}
}

func (c *addressCounts) init(limit int) {
	c.limit = limit
	for i := range c.shards {
		c.shards[i].n = make(map[netip.Addr]int)
	}
}

// counted is the address that a client is counted under, invalid when it is not.
func (c *addressCounts) counted(a netip.Addr) netip.Addr {
	if c.limit == 0 || !a.IsValid() || a.Is4() {
		return a
	}
	return netip.PrefixFrom(a, 64).Masked().Addr()
}

// add counts a connection, unless there are as many as there may be.
func (c *addressCounts) add(a netip.Addr) bool {
	if c.limit == 0 || !a.IsValid() {
		return true
	}
	a = c.counted(a)
	s := &c.shards[shardOfAddr(a)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n[a] >= c.limit {
		return false
	}
	s.n[a]++
	return true
}

func (c *addressCounts) remove(a netip.Addr) {
	if c.limit == 0 || !a.IsValid() {
		return
	}
	a = c.counted(a)
	s := &c.shards[shardOfAddr(a)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n[a]--; s.n[a] <= 0 {
		delete(s.n, a)
	}
}

func shardOfAddr(a netip.Addr) int {
	b := a.As16()
	h := uint32(2166136261) // FNV-1a
	for _, x := range b {
		h = (h ^ uint32(x)) * 16777619
	}
	return int(h % addressShards)
}
