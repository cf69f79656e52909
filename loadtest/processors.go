package loadtest

import (
	"runtime"
	"sync"
)

// coordinatorSpare is how many more processors Go has than there are while a run goes on: one for each thread that
// sleeps without telling Go's scheduler (holdUntil), the publisher's and the hiccup meter's. What the publisher makes
// ready, such as the writer of a gRPC stream, is in the queue of its processor, which its sleep keeps. Another processor
// takes it from there at once if one is idle. Without these, p99.9 of a thousand rooms was 20 ms in place of 12, and the
// floor's 4. Were the scheduler told, its monitor would look every 20 us whether to take a processor from a sleeper: a
// tenth of a core, from which servers and clients run too.
const coordinatorSpare = 2

// spare are the processors that Go has beyond those that are meant.
var spare struct {
	mu   sync.Mutex // guards the following, and changes of GOMAXPROCS by this package
	held int
}

// spareProcessors gives Go n more processors until undo, which may be called more than once.
func spareProcessors(n int) (undo func()) {
	change := func(by int) {
		spare.mu.Lock()
		defer spare.mu.Unlock()
		spare.held += by
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + by)
	}
	change(n)
	return sync.OnceFunc(func() { change(-n) })
}

// setProcessors has Go use n processors, and those to spare, until undo.
func setProcessors(n int) (undo func()) {
	set := func(n int) (before int) {
		spare.mu.Lock()
		defer spare.mu.Unlock()
		return runtime.GOMAXPROCS(n+spare.held) - spare.held
	}
	before := set(n)
	return func() { set(before) }
}

// processors is GOMAXPROCS without those to spare.
func processors() int {
	spare.mu.Lock()
	defer spare.mu.Unlock()
	return runtime.GOMAXPROCS(0) - spare.held
}
