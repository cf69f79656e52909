package gateway

import (
	"cmp"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller tells when something has come from connections at rest, so that none of
// them needs a goroutine, and when there is room again for those that have a backlog. It
// is an epoll instance of its own (epoll(7)), edge
// triggered, and itself waited for through the Go runtime's poller.
type poller struct {
	file *os.File
	raw  syscall.RawConn

	mu sync.RWMutex // guards the following
	// towers is by descriptor.
	towers []*FireTower
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
	return &poller{file: file, raw: raw}, nil
}

// What is asked of epoll for every connection, and more for one with a backlog.
const (
	pollInput = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET
	pollRoom  = unix.EPOLLOUT
)

// pollEvent names a connection by its descriptor and the end of its id, so that an event
// for one that has ended finds nobody, though the descriptor be another's.
func pollEvent(t *FireTower, events uint32) unix.EpollEvent {
	return unix.EpollEvent{Events: events, Fd: t.fd, Pad: int32(uint32(t.id))}
}

// add watches a connection. A flusher that has found no room before this could not have it
// watched, and is to try again.
func (p *poller) add(t *FireTower) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fd < 0 {
		return ErrClosed
	}
	p.mu.Lock()
	for int(t.fd) >= len(p.towers) {
		p.towers = append(p.towers, nil)
	}
	p.towers[t.fd] = t
	p.mu.Unlock()
	err := p.control(unix.EPOLL_CTL_ADD, t, pollInput)
	if t.backlog != nil {
		wake(t.backlog.writable)
	}
	return err
}

// watchRoom begins or ends to watch for room in a connection's socket; t.mu is held. It
// reports whether it is watched now.
func (p *poller) watchRoom(t *FireTower, watch bool) bool {
	events := uint32(pollInput)
	if watch {
		events |= pollRoom
	}
	return p.control(unix.EPOLL_CTL_MOD, t, events) == nil && watch
}

// control changes what is watched of a connection; t.mu is held.
func (p *poller) control(op int, t *FireTower, events uint32) error {
	event := pollEvent(t, events)
	var ctl error
	err := p.raw.Control(func(epfd uintptr) { ctl = unix.EpollCtl(int(epfd), op, int(t.fd), &event) })
	return cmp.Or(err, ctl)
}

// remove forgets a connection whose descriptor is about to be closed, which takes it out
// of the epoll instance.
func (p *poller) remove(fd int, t *FireTower) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fd < len(p.towers) && p.towers[fd] == t {
		p.towers[fd] = nil
	}
}

func (p *poller) find(event *unix.EpollEvent) *FireTower {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if int(event.Fd) >= len(p.towers) {
		return nil
	}
	t := p.towers[event.Fd]
	if t == nil || uint32(t.id) != uint32(event.Pad) {
		return nil
	}
	return t
}

// run wakes the connections that events are for, until close.
func (p *poller) run() {
	events := make([]unix.EpollEvent, 512)
	for {
		n := 0
		err := p.raw.Read(func(fd uintptr) bool {
			var err syscall.Errno
			for {
				if n, err = epollNow(int(fd), events); err != unix.EINTR {
					return n != 0
				}
			}
		})
		if err != nil {
			return
		}
		for i := range events[:max(n, 0)] {
			t := p.find(&events[i])
			if t == nil {
				continue
			}
			if events[i].Events&^pollRoom != 0 {
				t.wake()
			}
			if events[i].Events&^unix.EPOLLIN != 0 {
				t.roomAgain()
			}
		}
	}
}

// epollNow asks for events without waiting, and so without telling the scheduler.
func epollNow(epfd int, events []unix.EpollEvent) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), 0
}

func (p *poller) close() { _ = p.file.Close() }

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
				if r := t.attached(); r != nil {
					wake(r.ready)
				}
				return
			}
		default:
			return
		}
	}
}

// roomAgain lets the flusher of a backlog go on.
func (t *FireTower) roomAgain() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.backlog != nil {
		wake(t.backlog.writable)
	}
}
