package gateway

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller tells when something has come from connections at rest, so that none of
// them needs a goroutine. It is an epoll instance of its own (epoll(7)), edge
// triggered, and itself waited for through the Go runtime's poller.
type poller struct {
	file *os.File
	raw  syscall.RawConn

	mu     sync.RWMutex // guards the following
	towers map[uint64]*FireTower
}

// newPoller opens the epoll instance.
func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &poller{file: file, raw: raw, towers: make(map[uint64]*FireTower)}, nil
}

// add watches a connection; its events carry its id, so that one for a
// connection that has ended finds nobody, though the descriptor be another's.
func (p *poller) add(t *FireTower) error {
	p.mu.Lock()
	p.towers[t.id] = t
	p.mu.Unlock()
	event := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     int32(uint32(t.id)), Pad: int32(uint32(t.id >> 32)),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == stateClosed {
		return ErrClosed
	}
	var ctl error
	err := p.raw.Control(func(epfd uintptr) {
		ctl = unix.EpollCtl(int(epfd), unix.EPOLL_CTL_ADD, t.fd, &event)
	})
	if err == nil {
		err = ctl
	}
	return err
}

// remove forgets a connection; closing its descriptor has taken it out of the epoll instance.
func (p *poller) remove(t *FireTower) {
	p.mu.Lock()
	delete(p.towers, t.id)
	p.mu.Unlock()
}

// run wakes the connections that events are for, until close.
func (p *poller) run() {
	events := make([]unix.EpollEvent, 512)
	for {
		n := 0
		err := p.raw.Read(func(fd uintptr) bool {
			var err error
			for {
				if n, err = unix.EpollWait(int(fd), events, 0); err != unix.EINTR {
					return n != 0
				}
			}
		})
		if err != nil {
			return
		}
		for i := range max(n, 0) {
			id := uint64(uint32(events[i].Fd)) | uint64(uint32(events[i].Pad))<<32
			p.mu.RLock()
			t := p.towers[id]
			p.mu.RUnlock()
			if t != nil {
				t.wake()
			}
		}
	}
}

func (p *poller) close() { _ = p.file.Close() }

// The state of a connection that the poller watches.
const (
	readIdle  = iota // nobody reads
	readBusy         // a goroutine reads
	readAgain        // a goroutine reads, and an event has come since it began
)

// wake lets a goroutine read what has come, unless one does already: that one
// then looks once more.
func (t *FireTower) wake() {
	for {
		switch s := atomic.LoadInt32(&t.reading); s {
		case readIdle:
			if atomic.CompareAndSwapInt32(&t.reading, readIdle, readBusy) {
				go t.readReady()
				return
			}
		case readBusy:
			if atomic.CompareAndSwapInt32(&t.reading, readBusy, readAgain) {
				return
			}
		default:
			return
		}
	}
}
