package coretest

import (
	"testing"
	"time"
)

// Patience bounds every wait of Eventually. It is for tests that fail, and so no measure of anything.
const Patience = 30 * time.Second

// pollInterval is the pause between two looks at a condition.
const pollInterval = 2 * time.Millisecond

// Eventually polls until the condition holds and fails the test when it does not within Patience.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	if !Poll(Patience, condition) {
		t.Fatalf("not within %v: %s", Patience, what)
	}
}

// Poll polls until the condition holds, and reports whether it did within the time.
func Poll(within time.Duration, condition func() bool) bool {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-timeout.C:
			return condition()
		}
	}
	return true
}
