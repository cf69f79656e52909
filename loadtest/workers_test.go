package loadtest_test

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"firetower/loadtest"
)

// A worker that lives and does not read holds a call up until its context ends, and is told
// nothing after a part of a line.
func TestWorkerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	defer ours.Close()
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan []error)
	go func() { told <- loadtest.TellWorker(ctx, ours, 2, 1<<20) }()
	if _, err := io.ReadFull(theirs, make([]byte, 1<<10)); err != nil { // the first line is under way
		t.Fatal(err)
	}
	cancel()
	errs := <-told
	if !errors.Is(errs[0], os.ErrDeadlineExceeded) || errs[1] == nil {
		t.Errorf("told it %v", errs)
	}
	// What was written in time is no less whole for a context that ends later.
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	if errs := loadtest.TellWorker(t.Context(), ours, 2, 1<<20); errs[0] != nil || errs[1] != nil {
		t.Errorf("told one that reads %v", errs)
	}
}
