// Peers runs the push servers of others as targets of a load test: one process, one server, embedded as a library with
// the settings that its own documentation recommends. It is a module of its own, so that what these servers need weighs
// on nobody who builds Firetower.
//
//	peers centrifuge|centrifuge-batch|nats|gws [--listen ADDRESS] [--announce]
//
// It knows nothing of the product and of the harness but the line that a service prints once it is ready, for
// --announce: {"event":"ready","role":"peer","pid":1,"listen":"...","publish":"...","version":"..."}. Clients connect to
// ws://LISTEN/ws; a backend publishes to the server at PUBLISH, over the server's own protocol.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// The exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// announcement is the line of --announce.
type announcement struct {
	Event string `json:"event"`
	Role  string `json:"role"`
	PID   int    `json:"pid"`
	// Listen is where WebSocket clients connect, Publish where a backend does.
	Listen  string `json:"listen"`
	Publish string `json:"publish"`
	// Version is the library's, as "centrifuge v0.40.1".
	Version string `json:"version"`
}

// run is the program, but for what is the process's. Servers log to stderr, and nothing but the announcement goes to
// stdout.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("peers", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:0", "`ADDRESS` for WebSocket clients; port 0 lets the kernel choose")
	announce := flags.Bool("announce", false, "print a line of JSON once the server is ready")
	flags.Usage = func() {
		fmt.Fprintf(stderr, "usage: peers %s [flags]\n", strings.Join(kinds(), "|"))
		flags.PrintDefaults()
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		flags.Usage()
		return exitUsage
	}
	kind := args[0]
	if err := flags.Parse(args[1:]); err != nil {
		return exitUsage
	}
	if !slices.Contains(kinds(), kind) || flags.NArg() > 0 {
		fmt.Fprintf(stderr, "peers: no server %q\n", strings.Join(append([]string{kind}, flags.Args()...), " "))
		flags.Usage()
		return exitUsage
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	p, err := start(ctx, kind, *listen, log)
	if err != nil {
		fmt.Fprintln(stderr, "peers:", err)
		return exitError
	}
	if *announce {
		line, err := json.Marshal(announcement{
			Event: "ready", Role: "peer", PID: os.Getpid(), Listen: p.listen(), Publish: p.publish(), Version: version(kind),
		})
		if err == nil {
			_, err = stdout.Write(append(line, '\n'))
		}
		if err != nil {
			fmt.Fprintln(stderr, "peers: announce:", errors.Join(err, p.stop()))
			return exitError
		}
	} else {
		fmt.Fprintf(stderr, "%s: clients at ws://%s%s, backends at %s\n", version(kind), p.listen(), clientPath, p.publish())
	}
	failed := p.wait(ctx)
	if err := errors.Join(failed, p.stop()); err != nil {
		fmt.Fprintln(stderr, "peers:", err)
		return exitError
	}
	return exitOK
}
