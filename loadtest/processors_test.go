package loadtest_test

import (
	"runtime"
	"testing"

	"firetower/loadtest"
)

// Runs that overlap add their processors to what is meant and take away their own, in any
// order, and what is told of the environment is what is meant.
func TestProcessorsToSpare(t *testing.T) { // not parallel: GOMAXPROCS is the process's
	base := loadtest.Processors()
	actual := runtime.GOMAXPROCS(0)
	held := actual - base // of runs in other tests, none now
	check := func(what string, meant, spare int) {
		t.Helper()
		if got := loadtest.Processors(); got != meant {
			t.Errorf("%s: %d processors are meant, want %d", what, got, meant)
		}
		if got := runtime.GOMAXPROCS(0); got != meant+spare+held {
			t.Errorf("%s: GOMAXPROCS is %d, want %d", what, got, meant+spare+held)
		}
	}
	first := loadtest.SpareProcessors(2)
	check("one run", base, 2)
	all := loadtest.SetProcessors(base + 1)
	check("isolated", base+1, 2)
	second := loadtest.SpareProcessors(3)
	check("two runs", base+1, 5)
	first()
	first()
	check("the first has ended", base+1, 3)
	all()
	check("no longer isolated", base, 3)
	second()
	check("both have ended", base, 0)
}
