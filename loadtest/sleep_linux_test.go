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
	for range 3 {
		woke := make(chan struct{})
		go func() {
			defer close(woke)
			loadtest.HoldFor(2 * time.Second)
		}()
		runtime.GC()
		select {
		case <-woke:
			t.Error("the collection ended with the sleep")
		default:
		}
		<-woke
	}
}
