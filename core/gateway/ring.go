package gateway

import (
	"runtime"
	"sync/atomic"
	"syscall"

	"firetower/core/rawio"
)

// ringLeast is from how many connections on one system call for all of them is less than
// one for each.
const ringLeast = 3

// ringPool lends the rings by which a batch goes to many connections with one system
// call, for as long as the borrower does not yield. There are as many as can be at work at
// once; who finds none, since a borrower waits for a lock, writes to the next connection by
// itself.
type ringPool struct {
	free chan *rawio.Ring
	// size is how many there are.
	size atomic.Int64
}

func (p *ringPool) init() { p.free = make(chan *rawio.Ring, runtime.GOMAXPROCS(0)) }

// open makes the rings, or says why there can be none.
func (p *ringPool) open() error {
	for range cap(p.free) {
		r, err := rawio.NewRing()
		if err != nil {
			p.close()
			return err
		}
		p.free <- r
		p.size.Add(1)
	}
	return nil
}

// get lends a ring for so many connections, or nil.
func (p *ringPool) get(connections int) *rawio.Ring {
	if connections < ringLeast {
		return nil
	}
	select {
	case r := <-p.free:
		return r
	default:
		return nil
	}
}

func (p *ringPool) put(r *rawio.Ring) {
	if r != nil {
		p.free <- r
	}
}

// close frees the rings, which nobody has any more.
func (p *ringPool) close() {
	for p.size.Load() > 0 {
		(<-p.free).Close()
		p.size.Add(-1)
	}
}

// ringBytes bounds what one system call sends in all, since nothing else can run on its
// processor meanwhile.
const ringBytes = 256 << 10

// ringShare is to how many connections a batch of so many bytes goes with one call.
func ringShare(bytes int) int { return min(max(ringBytes/bytes, 1), rawio.RingSize) }

// deliverMany is deliver for up to RingSize connections at once. It holds their locks
// meanwhile, as many as are free: to wait for one while holding others could be to wait
// for somebody who waits for those.
func (w *batchWriter) deliverMany(ring *rawio.Ring, b batch, towers []*FireTower, o *outcome) {
	var (
		fds     [rawio.RingSize]int32
		results [rawio.RingSize]int32
		ends    [rawio.RingSize]end
		held    [rawio.RingSize]*FireTower
		others  [rawio.RingSize]*FireTower
	)
	n, m := 0, 0
	for _, t := range towers {
		if t.mu.TryLock() {
			if t.directLocked() {
				held[n], fds[n] = t, t.fd
				n++
				continue
			}
			t.mu.Unlock()
		}
		others[m] = t
		m++
	}
	if n > 0 {
		ring.SendAll(fds[:n], b.joined, results[:n])
	}
	for i, t := range held[:n] {
		taken, errno := int(results[i]), syscall.Errno(0)
		if taken < 0 {
			taken, errno = 0, syscall.Errno(-taken)
		}
		d, e := t.settleLocked(b, taken, errno)
		t.mu.Unlock()
		o.add(d)
		ends[i] = e
	}
	// What is to be done for one of them waits until all are free.
	for i, t := range held[:n] {
		t.carryOut(ends[i])
	}
	for _, t := range others[:m] {
		o.add(t.deliver(b))
	}
}
