package clock_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"firetower/simulator/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClock(t *testing.T) *clock.Clock {
	t.Helper()
	c, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNowNeverFalls(t *testing.T) {
	c := newClock(t)
	last := c.Now()
	for range 100_000 {
		now := c.Now()
		if now < last {
			t.Fatalf("%d after %d", now, last)
		}
		last = now
	}
}

// Two clocks stand for two processes: both read the kernel's clock, at another time.
func TestClocksAgree(t *testing.T) {
	a := newClock(t)
	b := newClock(t)
	allowed := int64(a.Uncertainty() + b.Uncertainty())
	// What one reads between two readings of the other lies between them.
	before, between, after := a.Now(), b.Now(), a.Now()
	if between < before-allowed || between > after+allowed {
		t.Errorf("%d is not within %d..%d, allowing for %d", between, before, after, allowed)
	}
}

func TestNowIsTheKernelsClock(t *testing.T) {
	c := newClock(t)
	before, err := clock.Monotonic()
	if err != nil {
		t.Fatal(err)
	}
	now := c.Now()
	after, err := clock.Monotonic()
	if err != nil {
		t.Fatal(err)
	}
	allowed := int64(c.Uncertainty())
	if now < before-allowed || now > after+allowed {
		t.Errorf("Now() = %d, the kernel says %d..%d, allowing for %d", now, before, after, allowed)
	}
}

func TestUncertaintyIsSmallerThanAnythingMeasured(t *testing.T) {
	// One clean bracket of 64 is enough; only a machine that interrupts each of them would fail.
	if got := newClock(t).Uncertainty(); got > 50*time.Microsecond {
		t.Errorf("Uncertainty() = %v", got)
	}
}

func TestWall(t *testing.T) {
	c := newClock(t)
	before := time.Now().Round(0)
	wall := c.Wall(c.Now())
	after := time.Now().Round(0)
	slack := 100 * time.Millisecond // somebody may slew the wall clock
	if wall.Before(before.Add(-slack)) || wall.After(after.Add(slack)) {
		t.Errorf("Wall = %v, now it is %v", wall, after)
	}
}

func TestNowAllocatesNothing(t *testing.T) {
	c := newClock(t)
	if got := testing.AllocsPerRun(1000, func() { c.Now() }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
