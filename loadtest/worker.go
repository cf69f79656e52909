package loadtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"firetower/simulator"
	"firetower/simulator/clock"
)

// A worker is a child process that holds a fleet of clients. It takes requests as
// JSON lines on its standard input and answers on its standard output; the end of
// its input is the end of it.

// request is what the coordinator asks of a worker.
type request struct {
	Op string `json:"op"`
	// ID is told again in the answer: one to a request that nobody waits for any longer
	// must not be taken for another's.
	ID     uint64                `json:"id,omitempty"`
	Config *simulator.Config     `json:"config,omitempty"`
	Sent   []simulator.TopicSent `json:"sent,omitempty"`
	// Share and Seed choose the connections of a disconnect.
	Share float64 `json:"share,omitempty"`
	Seed  uint64  `json:"seed,omitempty"`
}

// The operations. Each is answered by one reply of the same name.
const (
	opStart      = "start"      // make the fleet
	opConnect    = "connect"    // ramp up all connections
	opPing       = "ping"       // tell the clock
	opMark       = "mark"       // begin a new account of the worker's own load, tell the old one
	opFlow       = "flow"       // from now on tell the messages received as fast as they change
	opDisconnect = "disconnect" // reset a share of the connections
	opWindow     = "window"     // tell what arrived since the last one
	opFinish     = "finish"     // stop receiving and report
)

// reply is what a worker says. Ticks and flows come by themselves.
type reply struct {
	Op    string `json:"op"`
	Error string `json:"error,omitempty"`
	// Refused counts connections that did not subscribe, by reason (connect).
	Refused  map[string]int64    `json:"refused,omitempty"`
	Counters *simulator.Counters `json:"counters,omitempty"`
	Received int64               `json:"received,omitempty"` // flow
	Now      int64               `json:"now,omitempty"`      // ping
	Load     *workerLoad         `json:"load,omitempty"`     // mark
	Report   *simulator.Report   `json:"report,omitempty"`   // finish
	// Connections is how many were reset (disconnect).
	Connections int               `json:"connections,omitempty"`
	Window      *simulator.Window `json:"window,omitempty"` // window
	ID          uint64            `json:"id,omitempty"`     // of the request
}

// The events.
const (
	evTick = "tick"
	evFlow = "flow"
)

// workerLoad is how the worker's own runtime fared since the mark before.
type workerLoad struct {
	// SchedP99 is the p99 of the time that goroutines waited to run.
	SchedP99 time.Duration `json:"sched_p99_ns"`
	SchedMax time.Duration `json:"sched_max_ns"`
	// Scheduled is how many waits that is of.
	Scheduled uint64 `json:"scheduled"`
	// GCMax is the upper bound of the longest stop for the garbage collector.
	GCMax time.Duration `json:"gc_max_ns"`
	// GCShare is the collector's share of the CPU time that the worker used.
	GCShare float64 `json:"gc_share"`

	hiccupLoad
}

const (
	// tickEvery is how often a worker tells its counters.
	tickEvery = 200 * time.Millisecond
	// flowEvery is how often it looks whether more was received, once asked to.
	flowEvery = 250 * time.Microsecond
	// workerGC is the workers' GOGC: their heap is small and steady, and every
	// collection is time taken from the receiving loop.
	workerGC = 400
	// workerSpare is how many more processors Go has in a worker than there are. The hiccup meter and a loop that rests sleep
	// in system calls, and while no processor of Go's is idle its monitor looks every 20 us whether to take one from them:
	// that was a sixth of a worker's CPU on two cores. Both are threads that sleep most of the time. The goroutine engine has
	// no such loop, and would spread over processors that the servers need.
	workerSpare = 2
)

// RunWorker is the body of a worker process. It returns when its input ends or ctx does.
func RunWorker(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	clk, err := clock.New()
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	debug.SetGCPercent(workerGC)
	w := &worker{clock: clk, out: bufio.NewWriterSize(stdout, 64<<10)}
	requests := make(chan request)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	readErr := make(chan error, 1) // one result
	go func() {
		// This goroutine may stay blocked in a read when ctx ends first; the process ends
		// with RunWorker, and so does it.
		readErr <- readRequests(ctx, stdin, requests)
	}()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-readErr:
			return err
		case r := <-requests:
			w.handle(ctx, &wg, r)
		}
	}
}

func readRequests(ctx context.Context, stdin io.Reader, to chan<- request) error {
	dec := json.NewDecoder(stdin)
	for {
		var r request
		switch err := dec.Decode(&r); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("worker: read request: %w", err)
		}
		select {
		case to <- r:
		case <-ctx.Done():
			return nil
		}
	}
}

// worker is the state of a worker process. The fields below out are the
// coordinator's requests', which come one at a time.
type worker struct {
	clock *clock.Clock

	mu  sync.Mutex // guards the following
	out *bufio.Writer

	fleet   *simulator.Fleet
	base    runtimeSample
	hiccups hiccups
}

// say writes one line. An error means that the coordinator is gone; the end of
// the input follows.
func (w *worker) say(r reply) {
	b, err := json.Marshal(r)
	if err != nil {
		b, _ = json.Marshal(reply{ID: r.ID, Op: r.Op, Error: "encode reply: " + err.Error()})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = w.out.Write(append(b, '\n'))
	_ = w.out.Flush()
}

func (w *worker) handle(ctx context.Context, wg *sync.WaitGroup, r request) {
	switch r.Op {
	case opStart:
		w.say(reply{ID: r.ID, Op: r.Op, Error: text(w.start(ctx, wg, r.Config))})
	case opPing:
		w.say(reply{ID: r.ID, Op: r.Op, Now: w.clock.Now()})
	case opMark:
		now := sampleRuntime()
		load := now.since(w.base)
		load.hiccupLoad = w.hiccups.read(w.clock.Now())
		w.base = now
		w.say(reply{ID: r.ID, Op: r.Op, Load: &load})
	default:
		w.handleFleet(ctx, wg, r)
	}
}

func (w *worker) handleFleet(ctx context.Context, wg *sync.WaitGroup, r request) {
	if w.fleet == nil {
		w.say(reply{ID: r.ID, Op: r.Op, Error: "no fleet: start comes first"})
		return
	}
	switch r.Op {
	case opConnect:
		// The ramp takes a while, and ticks tell of it; other requests wait for its answer.
		wg.Go(func() {
			err := w.fleet.Connect(ctx)
			var refused *simulator.ConnectError
			if errors.As(err, &refused) {
				w.say(reply{ID: r.ID, Op: r.Op, Refused: refused.Refused, Error: err.Error()})
				return
			}
			w.say(reply{ID: r.ID, Op: r.Op, Error: text(err)})
		})
	case opFlow:
		wg.Go(func() { w.flow(ctx) })
		w.say(reply{ID: r.ID, Op: r.Op + "ing"}) // "flow" itself is the name of the lines that follow
	case opDisconnect:
		n, err := w.fleet.Disconnect(ctx, r.Share, r.Seed)
		w.say(reply{ID: r.ID, Op: r.Op, Connections: n, Error: text(err)})
	case opWindow:
		window, err := w.fleet.Window(ctx)
		w.say(reply{ID: r.ID, Op: r.Op, Window: window, Error: text(err)})
	case opFinish:
		report, err := w.fleet.Finish(ctx, r.Sent)
		w.say(reply{ID: r.ID, Op: r.Op, Report: report, Error: text(err)})
	default:
		w.say(reply{ID: r.ID, Op: r.Op, Error: fmt.Sprintf("unknown operation %q", r.Op)})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (w *worker) start(ctx context.Context, wg *sync.WaitGroup, c *simulator.Config) error {
	if w.fleet != nil || c == nil {
		return errors.New("start wants one configuration, once")
	}
	fleet, err := simulator.New(*c)
	if err != nil {
		return err
	}
	w.fleet = fleet
	sleep := sleepUntil
	if fleet.Engine() != simulator.EngineGoroutine {
		sleep = holdUntil
		undo := spareProcessors(workerSpare)
		wg.Go(func() {
			<-ctx.Done()
			undo()
		})
	}
	wg.Go(func() {
		if err := fleet.Run(ctx); err != nil && ctx.Err() == nil {
			w.say(reply{Op: evTick, Error: err.Error()})
		}
	})
	wg.Go(func() { w.tick(ctx) })
	wg.Go(func() { w.hiccups.run(ctx, w.clock, sleep) })
	return nil
}

// tick tells the counters now and then.
func (w *worker) tick(ctx context.Context) {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c := w.fleet.Counters()
			w.say(reply{Op: evTick, Counters: &c})
		}
	}
}

// flow tells the messages received whenever they have grown: what a closed loop
// goes by.
func (w *worker) flow(ctx context.Context) {
	ticker := time.NewTicker(flowEvery)
	defer ticker.Stop()
	last := int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if n := w.fleet.Counters().Received; n != last {
				last = n
				w.say(reply{Op: evFlow, Received: n})
			}
		}
	}
}

// runtimeSample is a reading of the runtime's own account.
type runtimeSample struct {
	sched, gcPauses *metrics.Float64Histogram
	gcCPU, allCPU   float64 // seconds
}

func sampleRuntime() runtimeSample {
	s := []metrics.Sample{
		{Name: "/sched/latencies:seconds"},
		{Name: "/sched/pauses/total/gc:seconds"},
		{Name: "/cpu/classes/gc/total:cpu-seconds"},
		{Name: "/cpu/classes/user:cpu-seconds"},
	}
	metrics.Read(s)
	var out runtimeSample
	if s[0].Value.Kind() == metrics.KindFloat64Histogram {
		out.sched = cloneHistogram(s[0].Value.Float64Histogram())
	}
	if s[1].Value.Kind() == metrics.KindFloat64Histogram {
		out.gcPauses = cloneHistogram(s[1].Value.Float64Histogram())
	}
	if s[2].Value.Kind() == metrics.KindFloat64 && s[3].Value.Kind() == metrics.KindFloat64 {
		out.gcCPU = s[2].Value.Float64()
		out.allCPU = out.gcCPU + s[3].Value.Float64()
	}
	return out
}

func cloneHistogram(h *metrics.Float64Histogram) *metrics.Float64Histogram {
	return &metrics.Float64Histogram{Counts: append([]uint64(nil), h.Counts...), Buckets: h.Buckets}
}

// since is the account between two readings.
func (s runtimeSample) since(from runtimeSample) workerLoad {
	var l workerLoad
	counts := growthOf(from.sched, s.sched)
	for _, n := range counts {
		l.Scheduled += n
	}
	l.SchedP99 = quantile(s.sched, counts, 0.99)
	l.SchedMax = quantile(s.sched, counts, 1)
	l.GCMax = quantile(s.gcPauses, growthOf(from.gcPauses, s.gcPauses), 1)
	if used := s.allCPU - from.allCPU; used > 0 {
		l.GCShare = (s.gcCPU - from.gcCPU) / used
	}
	return l
}

func growthOf(from, to *metrics.Float64Histogram) []uint64 {
	if to == nil {
		return nil
	}
	out := append([]uint64(nil), to.Counts...)
	if from != nil && len(from.Counts) == len(out) {
		for i := range out {
			out[i] -= from.Counts[i]
		}
	}
	return out
}

// quantile is the upper edge of the bucket that holds the share q.
func quantile(h *metrics.Float64Histogram, counts []uint64, q float64) time.Duration {
	var total, seen uint64
	for _, n := range counts {
		total += n
	}
	if total == 0 {
		return 0
	}
	need := uint64(math.Ceil(q * float64(total)))
	for i, n := range counts {
		if seen += n; seen >= need {
			edge := h.Buckets[i+1]
			if math.IsInf(edge, 1) {
				edge = h.Buckets[i]
			}
			return time.Duration(edge * float64(time.Second))
		}
	}
	return 0
}
