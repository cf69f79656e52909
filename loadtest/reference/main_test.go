package reference_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"firetower/loadtest/reference"
)

// serveEnv makes the test binary a reference server of the kind that it names: benchmarks measure one in a process of
// its own.
const serveEnv = "FIRETOWER_TEST_REFERENCE"

func TestMain(m *testing.M) {
	if kind := os.Getenv(serveEnv); kind != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := reference.Run(ctx, kind, "127.0.0.1:0", func(addr string) { fmt.Println(addr) }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}
