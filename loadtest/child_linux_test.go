package loadtest_test

import (
	"context"
	"errors"
	"testing"

	"firetower/loadtest"
)

// A service that dies of the Ctrl-C that interrupts the run has not ended by itself, whoever
// hears of it first.
func TestServiceDiesOfTheRunsInterrupt(t *testing.T) {
	t.Parallel()
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	go cancel(interrupted)
	if err := loadtest.ReadyOf(ctx, t.TempDir(), "kill -INT $$"); !errors.Is(err, interrupted) {
		t.Errorf("with an interrupt: %v", err)
	}
	for _, script := range []string{"kill -INT $$", "kill -TERM $$", "exit 3"} {
		if err := loadtest.ReadyOf(t.Context(), t.TempDir(), script); !errors.Is(err, loadtest.ErrDied) {
			t.Errorf("%s: %v", script, err)
		}
	}
}
