package loadtest_test

import (
	"runtime"
	"testing"
	"time"

	"firetower/loadtest"
)

// A goroutine that sleeps without telling the scheduler does not keep a collection, which
// stops all goroutines, waiting until it wakes.
func TestHoldingSleepLetsTheWorldStop(t *testing.T) {
	if runtime.GOMAXPROCS(0) == 1 {
		t.Skip("the sleeper would have the one processor")
	}
	runtime.GC() // of what other tests have left, which may take seconds by itself
	woke := make(chan struct{})
	go func() {
		defer close(woke)
		loadtest.HoldFor(6 * time.Second)
	}()
	for range 3 {
		runtime.GC()
	}
	select {
	case <-woke:
		t.Error("the collections ended with the sleep")
	default:
	}
	<-woke
}
