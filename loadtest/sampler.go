package loadtest

import (
	"context"
	"os"
	"sync"
	"time"

	"firetower/simulator/clock"
)

// sampler reads what every process of a run uses: once a second, and at the edges
// of phases.
type sampler struct {
	clock *clock.Clock
	begin int64 // the run's start, by clock
	procs func() []*child

	mu     sync.Mutex // guards the following
	tracks map[int]*track
	order  []int // pids in order of appearance
}

// track is the samples of one process.
type track struct {
	role, name string
	child      *child // nil for the coordinator
	t          []float64
	cores      []float64
	rss        []int64
	fds        []int
	peak       int64

	lastAt  int64
	lastCPU time.Duration
}

// edge is what every process had used at one moment.
type edge struct {
	at      int64 // by clock
	cpu     map[int]time.Duration
	wait    map[int]time.Duration
	kernel  kernelCounters
	metrics counterSet // of all servers together
	servers scrapes
}

func newSampler(c *clock.Clock, begin int64, procs func() []*child) *sampler {
	return &sampler{clock: c, begin: begin, procs: procs, tracks: map[int]*track{}}
}

// run samples once a second until ctx ends.
func (s *sampler) run(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		s.sample()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// sample takes one sample of every process that lives.
func (s *sampler) sample() {
	at := s.clock.Now()
	t := float64(at-s.begin) / 1e9
	s.mu.Lock()
	defer s.mu.Unlock()
	s.one(t, at, os.Getpid(), "coordinator", "coordinator", nil)
	for _, c := range s.procs() {
		s.one(t, at, c.pid, c.role, c.name, c)
	}
}

func (s *sampler) one(t float64, at int64, pid int, role, name string, c *child) {
	if c != nil {
		select {
		case <-c.exited:
			return // its pid may be another's by now
		default:
		}
	}
	u, err := readUsage(pid)
	if err != nil {
		return
	}
	tr := s.tracks[pid]
	if tr == nil {
		tr = &track{role: role, name: name, child: c, lastAt: at, lastCPU: u.cpu}
		s.tracks[pid] = tr
		s.order = append(s.order, pid)
	}
	cores := 0.0
	if at > tr.lastAt {
		cores = float64(u.cpu-tr.lastCPU) / float64(at-tr.lastAt)
	}
	tr.lastAt, tr.lastCPU = at, u.cpu
	tr.peak = max(tr.peak, u.rss)
	tr.t = append(tr.t, float64(int64(t*1000))/1000)
	tr.cores = append(tr.cores, float64(int64(cores*10000))/10000)
	tr.rss = append(tr.rss, u.rss)
	tr.fds = append(tr.fds, u.fds)
}

// edge reads what every process has used until now. A process that has ended is
// in it with its final account.
func (s *sampler) edge(m scrapes) edge {
	e := edge{at: s.clock.Now(), cpu: map[int]time.Duration{}, wait: map[int]time.Duration{}, kernel: readKernel(), metrics: m.sum(), servers: m}
	if u, err := readUsage(os.Getpid()); err == nil {
		e.cpu[os.Getpid()] = u.cpu
		e.wait[os.Getpid()] = readWait(os.Getpid())
	}
	for _, c := range s.procs() {
		if cpu, ended := c.cpu(); ended {
			e.cpu[c.pid] = cpu
			continue
		}
		if u, err := readUsage(c.pid); err == nil {
			e.cpu[c.pid] = u.cpu
			e.wait[c.pid] = readWait(c.pid)
		}
	}
	return e
}

// cpuOf adds up what the processes of some roles used between two edges. One that
// came in between counts from its start.
func cpuOf(from, to edge, procs []*child, is func(role string) bool) time.Duration {
	var sum time.Duration
	for _, c := range procs {
		if is(c.role) {
			sum += to.cpu[c.pid] - from.cpu[c.pid]
		}
	}
	return sum
}

// isServer tells the system under test from the harness.
func isServer(role string) bool { return role != "worker" && role != "coordinator" }
