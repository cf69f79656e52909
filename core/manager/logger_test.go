package manager_test

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
)

// logBuffer keeps what a manager logged.
type logBuffer struct {
	mu sync.Mutex // guards the following
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// testLogger logs everything into a buffer that is shown when the test fails.
func testLogger(t *testing.T) *slog.Logger {
	t.Helper()
	b := new(logBuffer)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("manager's log:\n%s", b)
		}
	})
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
