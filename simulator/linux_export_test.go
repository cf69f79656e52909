//go:build linux

package simulator

import (
	"golang.org/x/sys/unix"

	"firetower/simulator/clock"
)

// FailedComeback begins the attempt of a lost connection to come back that fails before its SYN. It returns how many
// attempts are under way then, how many were refused, and whether another one is to follow.
func FailedComeback(config Config) (inFlight int, refused int64, again bool, err error) {
	clk, err := clock.New()
	if err != nil {
		return 0, 0, false, err
	}
	s, err := newShard(&config, clk, 0, 0, 1)
	if err != nil {
		return 0, 0, false, err
	}
	s.conns[0].state = connWaiting
	s.conns[0].back = &comeback{lostAt: clk.Now(), attempt: 1}
	s.begin(0, clk.Now())
	for _, n := range s.account.reconnectRefused {
		refused += n
	}
	defer s.release()
	return s.dial.inFlight, refused, len(s.timers) == 1 && s.conns[0].fd < 0, nil
}

// ChooseEngine is the engine that New picks where a ring has that fault.
func ChooseEngine(config Config, fault error) (Engine, error) { return chooseEngine(&config, fault) }

// Ring reads sockets, many with one call.
type Ring struct{ r *ring }

// RingBatch is how many one call reads.
const RingBatch = ringBatch

// NewRing makes a ring whose buffers have size bytes.
func NewRing(size int) (Ring, error) {
	r, err := newRing(size)
	return Ring{r}, err
}

// Add asks for a read.
func (r Ring) Add(fd int) (full bool) { return r.r.add(int32(fd)) }

// Read makes the reads: what came of each, or its error.
func (r Ring) Read() (data []string, errs []error, err error) {
	results, err := r.r.read()
	for i, n := range results {
		if n < 0 {
			data, errs = append(data, ""), append(errs, unix.Errno(-n))
			continue
		}
		data, errs = append(data, string(r.r.buffer(i)[:n])), append(errs, nil)
	}
	return data, errs, err
}

// Close frees it.
func (r Ring) Close() { r.r.close() }
