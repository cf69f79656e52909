package schedstat_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"firetower/core/schedstat"
)

func TestRead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		tasks map[string]string // by thread; "-" is one that has ended
		want  schedstat.Times
		ok    bool
	}{
		{"none", nil, schedstat.Times{}, false},
		{"one", map[string]string{"7": "100 20 3\n"}, schedstat.Times{Ran: 100, Waited: 20}, true},
		{"several", map[string]string{"7": "100 20 3\n", "8": "1 2 3\n"}, schedstat.Times{Ran: 101, Waited: 22}, true},
		{"one has ended", map[string]string{"7": "-", "8": "1 2 3\n"}, schedstat.Times{Ran: 1, Waited: 2}, true},
		{"all have", map[string]string{"7": "-"}, schedstat.Times{}, false},
		{"a kernel that does not count", map[string]string{"7": "0 0 0\n"}, schedstat.Times{}, true},
		{"something else", map[string]string{"7": "100\n", "8": "5 x 1\n", "9": ""}, schedstat.Times{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tasks := t.TempDir()
			for thread, text := range tt.tasks {
				if err := os.Mkdir(filepath.Join(tasks, thread), 0o700); err != nil {
					t.Fatal(err)
				}
				if text == "-" {
					continue
				}
				if err := os.WriteFile(filepath.Join(tasks, thread, "schedstat"), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got, ok := schedstat.Read(tasks); got != tt.want || ok != tt.ok {
				t.Errorf("%+v, %t, want %+v, %t", got, ok, tt.want, tt.ok)
			}
		})
	}
	if _, ok := schedstat.Read(filepath.Join(t.TempDir(), "none")); ok {
		t.Error("a process that is gone has times")
	}
}

// A process reads of itself what others read of it, and what its threads used.
func TestProcess(t *testing.T) {
	t.Parallel()
	before, ok := schedstat.Self()
	if !ok {
		t.Skip("the system does not tell what a thread uses")
	}
	for after := before; after.Ran-before.Ran < 3*time.Millisecond; after, _ = schedstat.Process(os.Getpid()) {
		// It must come to that, or this test does not end.
	}
	if _, ok := schedstat.Process(1<<22 + 1); ok {
		t.Error("a process beyond the highest number has times")
	}
}
