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

// RingShard is a shard whose loop is the test's, on the test's thread.
type RingShard struct{ s *shard }

// NewRingShard starts the shard of a configuration whose engine is EngineRing.
func NewRingShard(config Config) (RingShard, error) {
	clk, err := clock.New()
	if err != nil {
		return RingShard{}, err
	}
	s, err := newShard(&config, clk, 0, 0, config.Connections)
	if err != nil {
		return RingShard{}, err
	}
	s.dial.begun, s.dial.unsettled = true, 0
	return RingShard{s}, s.start()
}

// Attach gives a connection a socket, as if it had just subscribed.
func (r RingShard) Attach(index, fd int) error {
	c := &r.s.conns[index]
	c.fd, c.state = int32(fd), connReceiving
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(index)}
	if err := unix.EpollCtl(r.s.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return err
	}
	r.s.adopt(index)
	return nil
}

// Enter has the kernel do what is ready, and looks at none of it.
func (r RingShard) Enter() error {
	r.s.submit()
	return r.s.reader.enter()
}

// Reap looks at what the kernel has done.
func (r RingShard) Reap() (int, error) { return r.s.reap() }

// Turn is one turn of the loop that waits for nothing.
func (r RingShard) Turn() error {
	if err := r.Enter(); err != nil {
		return err
	}
	_, err := r.s.reap()
	return err
}

// Detach closes a connection as its owner does.
func (r RingShard) Detach(index int) { r.s.close(index) }

// Pings is how many pings have been read.
func (r RingShard) Pings() int64 { return r.s.account.unattributed.Pings }

// Closed is why connections have ended.
func (r RingShard) Closed() map[string]int64 { return r.s.account.published.closed }

// Receives is how many receives the kernel has.
func (r RingShard) Receives() int { return r.s.reader.armed }

// Failure is what must not have happened.
func (r RingShard) Failure() error { return r.s.account.failure }

// Release ends the shard.
func (r RingShard) Release() { r.s.release() }
