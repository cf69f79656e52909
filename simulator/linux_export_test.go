//go:build linux

package simulator

import "firetower/simulator/clock"

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
