package simulator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"firetower/simulator/clock"
)

// shard is one loop and its connections. Everything in it belongs to the goroutine in run, but for the command word,
// the eventfd that announces it, the channels, and what the account publishes.
type shard struct {
	config  *Config
	clock   *clock.Clock
	account *account
	targets []target
	masks   *masker

	epoll    int
	events   []unix.EpollEvent
	reader   *ring  // nil when each connection is read by itself
	batch    []int  // connections that the reader is about to read
	buffer   []byte // what every connection is read into
	scratch  []byte // frames to be sent
	conns    []conn
	pool     [][]byte // buffers for frames that came in pieces
	inflater inflater

	dial    dialState
	timers  timers
	pace    churnPace
	tasks   []*task // under way
	closing int     // connections whose server still has to answer our close frame
	endBy   int64   // when to stop waiting for those; 0 before finish

	commands atomic.Uint32 // bits of command
	wakeMu   sync.Mutex    // guards the following: who writes to it must know that it is still ours
	wake     int           // eventfd, -1 once the loop has ended
	asked    []*task       // not seen by the loop yet

	settled  chan struct{} // closed when every connection has subscribed or been refused
	finished chan struct{} // closed when the account is complete
	ended    chan struct{} // closed when run has ended
}

// command is a bit in shard.commands.
type command uint32

const (
	commandConnect command = 1 << iota
	commandFinish
	commandStop
	commandTask
)

// wakeIndex marks the eventfd among the events.
const wakeIndex = -1

func newShard(config *Config, clk *clock.Clock, index, first, conns int) (*shard, error) {
	s := &shard{
		config: config, clock: clk, account: newAccount(config, first, conns), masks: newMasker(),
		events: make([]unix.EpollEvent, config.Batch), buffer: make([]byte, config.ReadBuffer),
		conns: make([]conn, conns), epoll: -1, wake: -1,
		settled: make(chan struct{}), finished: make(chan struct{}), ended: make(chan struct{}),
	}
	s.pace = newChurnPace(config, s.account.healthy)
	s.dial = newDialState(config, index, conns)
	for i := range s.conns {
		s.conns[i].fd = -1
	}
	for _, raw := range config.URLs {
		t, err := parseTarget(raw)
		if err != nil {
			return nil, err
		}
		s.targets = append(s.targets, t)
	}
	return s, nil
}

// start makes the descriptors of the loop. They are made late, so that a fleet that never runs holds none.
func (s *shard) start() error {
	s.wakeMu.Lock()
	defer s.wakeMu.Unlock()
	var err error
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	if s.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeIndex}
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, s.wake, &event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	if s.config.Engine == EngineRing {
		if s.reader, err = newRing(s.config.ReadBuffer / ringBatch); err != nil {
			return err
		}
	}
	return nil
}

// release closes all descriptors.
func (s *shard) release() {
	for i := range s.conns {
		if s.conns[i].fd >= 0 {
			unix.Close(int(s.conns[i].fd))
			s.conns[i].fd = -1
		}
	}
	if s.reader != nil {
		s.reader.close()
		s.reader = nil
	}
	s.wakeMu.Lock()
	defer s.wakeMu.Unlock()
	for _, fd := range []int{s.epoll, s.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	s.epoll, s.wake = -1, -1
}

// command asks the loop for something. It may be called from any goroutine, and does nothing once the loop has ended.
func (s *shard) command(c command) {
	s.commands.Or(uint32(c))
	s.wakeMu.Lock()
	defer s.wakeMu.Unlock()
	if s.wake < 0 {
		return
	}
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(s.wake, one[:]) // an error means that the counter is full, and the loop about to wake
}

// run is the loop. It keeps its thread: the thread spends its life in system calls, and a goroutine that moved between
// threads would pay for each.
func (s *shard) run(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.ended)
	defer s.release()
	if err := s.start(); err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	for {
		// First what was asked for: it may have been before there was an eventfd to tell of it.
		if done := s.duties(); done {
			s.account.publish()
			close(s.finished)
			return nil
		}
		if command(s.commands.Load())&commandStop != 0 {
			return ctx.Err()
		}
		more, err := s.turn()
		if err != nil {
			return fmt.Errorf("simulator: %w", err)
		}
		s.account.load.Batches++
		s.account.publish()
		if more {
			s.account.load.FullBatches++
		} else if s.config.Rest > 0 {
			s.account.load.Rests++
			s.rest()
		}
	}
}

// rest sleeps for [Config.Rest] without telling Go's scheduler, whose monitor would look every 20 us whether to take the
// processor away. When the processor is wanted, a signal ends the sleep. A shorter rest is as good.
func (s *shard) rest() {
	rest := unix.NsecToTimespec(int64(s.config.Rest))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&rest)), 0, 0)
}

// turn handles one batch of what has come, and waits for it when there is nothing. It says whether it left something
// waiting.
func (s *shard) turn() (more bool, err error) {
	n, err := s.wait()
	if err != nil {
		return false, err
	}
	for i := range n {
		event := &s.events[i]
		index := int(event.Fd)
		switch {
		case index == wakeIndex:
			s.drainWake()
		case s.batches(index, event.Events):
			// No event of another connection closes this one before it is read.
			s.batch = append(s.batch, index)
			if s.reader.add(s.conns[index].fd) {
				err = s.readBatch()
			}
		default:
			s.ready(index, event.Events)
		}
		if err != nil {
			return false, err
		}
	}
	if len(s.batch) > 0 {
		err = s.readBatch()
	}
	return n == len(s.events), err
}

// wait asks for events. What is there already is taken by a raw system call, which does not tell Go's scheduler;
// a wait that may last goes the ordinary way, so that the thread's processor can be had by others.
func (s *shard) wait() (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.epoll),
		uintptr(unsafe.Pointer(&s.events[0])), uintptr(len(s.events)), 0, 0, 0)
	if errno != 0 && errno != unix.EINTR {
		return 0, fmt.Errorf("epoll_pwait: %w", errno)
	}
	if errno == 0 && n > 0 {
		return int(n), nil
	}
	got, err := unix.EpollWait(s.epoll, s.events, s.timeout())
	switch {
	case errors.Is(err, unix.EINTR):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("epoll_wait: %w", err)
	}
	return got, nil
}

// timeout is how long, in milliseconds, the loop may sleep when nothing happens.
func (s *shard) timeout() int {
	switch {
	case len(s.tasks) > 0:
		return 0
	case s.dial.active(), s.endBy != 0:
		return 1
	}
	next := int64(math.MaxInt64)
	if len(s.timers) > 0 {
		next = s.timers[0].at
	}
	if s.pace.running() {
		next = min(next, s.pace.next())
	}
	if next == math.MaxInt64 {
		return -1
	}
	return int(min(max(next-s.clock.Now()+millisecond-1, 0)/millisecond, 1000))
}

const millisecond = int64(time.Millisecond)

func (s *shard) drainWake() {
	var count [8]byte
	_, _ = unix.Read(s.wake, count[:])
}

// duties does what is not the answer to an event. It says whether the account is complete.
func (s *shard) duties() (done bool) {
	asked := command(s.commands.Load())
	if asked&commandConnect != 0 && !s.dial.begun {
		s.beginDialing()
	}
	if asked&commandTask != 0 || len(s.tasks) > 0 {
		s.doTasks()
	}
	if len(s.timers) > 0 && s.endBy == 0 {
		s.ring(s.clock.Now())
	}
	if s.pace.running() && s.endBy == 0 {
		s.churn(s.clock.Now())
	}
	if s.dial.active() {
		s.continueDialing(s.clock.Now())
	}
	if asked&commandFinish == 0 {
		return false
	}
	now := s.clock.Now()
	if s.endBy == 0 {
		s.endBy = now + int64(goodbyeTimeout)
		s.sayGoodbye()
	}
	if s.closing > 0 && now < s.endBy {
		return false
	}
	s.abandon()
	return true
}

// churn makes the changes that are due.
func (s *shard) churn(now int64) {
	ready := func(conn int) bool { return s.conns[conn].state == connReceiving }
	for s.pace.next() <= now {
		s.pace.made++
		conn, leave, join, ok := s.account.churn.change(s.pace.made, now, ready)
		if !ok {
			continue
		}
		s.scratch = s.scratch[:0]
		if leave != nil {
			s.scratch = s.masks.appendFrame(s.scratch, opText, leave)
		}
		s.scratch = s.masks.appendFrame(s.scratch, opText, join)
		s.send(conn, s.scratch)
	}
}

// ring wakes the connections whose time has come.
func (s *shard) ring(now int64) {
	for {
		index, ok := s.timers.due(now)
		if !ok {
			return
		}
		switch s.conns[index].state {
		case connWaiting:
			s.dial.again = append(s.dial.again, index)
		case connSipping:
			s.sip(index, now)
		case connMute:
			s.trickle(index, now)
		default: // it has ended since
		}
	}
}
