package loadtest_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"firetower/loadtest"
)

func TestCountDescriptors(t *testing.T) {
	t.Parallel()
	// Where the size does not tell, the entries do.
	dir := t.TempDir()
	for _, name := range []string{"0", "1", "2"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := loadtest.CountDescriptors(dir); info.Size() == 0 && got != 3 {
		t.Errorf("%d of 3 entries", got)
	}
	if got := loadtest.CountDescriptors(filepath.Join(dir, "none")); got != 0 {
		t.Errorf("%d descriptors of a process that is gone", got)
	}
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc here")
	}
	entries, err := os.ReadDir("/proc/1/fd")
	if err != nil {
		t.Skip("the descriptors of process 1 are not ours to see")
	}
	// Those of another process, which has no reason to open hundreds meanwhile.
	if got := loadtest.CountDescriptors("/proc/1/fd"); got < len(entries)/2 || got > 2*len(entries)+100 {
		t.Errorf("%d descriptors, and %d are listed", got, len(entries))
	}
}

// The clock of a process counts what its threads use, finer than ticks.
func TestReadCPU(t *testing.T) {
	t.Parallel()
	before, ok := loadtest.ReadCPU(os.Getpid())
	if !ok {
		t.Skip("no clock of a process here")
	}
	for after := before; after-before < 3*time.Millisecond; after, _ = loadtest.ReadCPU(os.Getpid()) {
		// It must come to that, or this test does not end.
	}
	if _, ok := loadtest.ReadCPU(1<<22 + 1); ok {
		t.Error("a process beyond the highest number has a clock")
	}
}
