package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// binaryPath is the built binary, for the tests over real processes.
var binaryPath string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "firetower-cmd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binaryPath = filepath.Join(dir, "firetower")
	build := exec.Command("go", "build", "-o", binaryPath, ".")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// patience bounds every wait of these tests; none of them is expected to take
// more than a moment.
const patience = 20 * time.Second

// output collects what a command writes, from any goroutine.
type output struct {
	mu sync.Mutex // guards the following
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// awaitText polls until text has been written.
func (o *output) awaitText(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !strings.Contains(o.String(), text) {
		if time.Now().After(deadline) {
			t.Fatalf("%q was not written in %s, but:\n%s", text, patience, o)
		}
		pause()
	}
}

// pause is the step of a poll.
func pause() {
	timer := time.NewTimer(2 * time.Millisecond)
	<-timer.C
}

// process is a command that runs in the test's own process.
type process struct {
	state          *globalState
	stdout, stderr *output
	signals        chan os.Signal
	hangups        chan os.Signal
	code           chan int
	// collector is what the command has set the garbage collector to; zero is nothing.
	collector atomic.Pointer[collectorSettings]
	// processors are the calls of setProcessors.
	processors callLog
}

// newProcess makes the state of a command; prepare may change it before it runs.
func newProcess(args ...string) *process {
	p := &process{stdout: &output{}, stderr: &output{}, signals: make(chan os.Signal, 2), hangups: make(chan os.Signal, 1), code: make(chan int, 1)}
	p.state = &globalState{
		args: args, stdin: strings.NewReader(""), stdout: p.stdout, stderr: p.stderr, pid: 4711,
		now: time.Now, after: time.After,
		readFile: func(name string) ([]byte, error) {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
		executable: func() (string, error) { return binaryPath, nil },
		setCollector: func(percent *int, limit *int64) {
			var s collectorSettings
			if percent != nil {
				s.percent = *percent
			}
			if limit != nil {
				s.limit = *limit
			}
			p.collector.Store(&s)
		},
		setProcessors: func(n int) { p.processors.add(n) },
		signals:       p.signals,
		hangups:       func() (<-chan os.Signal, func()) { return p.hangups, func() {} },
	}
	return p
}

// withFiles gives the command files.
func (p *process) withFiles(files map[string]string) *process {
	p.state.readFile = func(name string) ([]byte, error) {
		if content, ok := files[name]; ok {
			return []byte(content), nil
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return p
}

func (p *process) withEnv(pairs ...string) *process { p.state.environ = pairs; return p }

func (p *process) withStdin(text string) *process { p.state.stdin = strings.NewReader(text); return p }

// run runs the command to its end.
func (p *process) run(t *testing.T) (code int) {
	t.Helper()
	p.start()
	return p.wait(t)
}

func (p *process) start() { go func() { p.code <- run(p.state) }() }

func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case code := <-p.code:
		return code
	case <-time.After(patience):
		t.Fatalf("%q has not ended; it wrote:\n%s%s", p.state.args, p.stdout, p.stderr)
		return -1
	}
}

// cli runs a command to its end.
func cli(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := newProcess(args...)
	code = p.run(t)
	return code, p.stdout.String(), p.stderr.String()
}

// startService runs a service in this process until the test's end and returns
// its announcement.
func startService(t *testing.T, p *process) announcement {
	t.Helper()
	p.state.args = append(p.state.args, "--announce")
	p.start()
	t.Cleanup(func() {
		p.signals <- syscall.SIGTERM
		if code := p.wait(t); code != exitOK {
			t.Errorf("%q ended with %d:\n%s", p.state.args, code, p.stderr)
		}
	})
	deadline := time.Now().Add(patience)
	for !strings.Contains(p.stdout.String(), "\n") {
		select {
		case code := <-p.code:
			p.code <- code
			t.Fatalf("%q ended with %d:\n%s", p.state.args, code, p.stderr)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q is not ready:\n%s", p.state.args, p.stderr)
		}
		pause()
	}
	return parseAnnouncement(t, p.stdout.String())
}

func parseAnnouncement(t *testing.T, line string) announcement {
	t.Helper()
	var a announcement
	dec := json.NewDecoder(strings.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); err != nil || a.Event != "ready" || strings.Count(line, "\n") != 1 {
		t.Fatalf("announcement %q: %v", line, err)
	}
	return a
}

// anyPorts makes a service listen on free ports.
func anyPorts(command string) []string {
	switch command {
	case "serve":
		return []string{"--link", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"}
	case "manager":
		return []string{"--link", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"}
	default:
		return []string{"--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"}
	}
}

// child is a command in a process of its own.
type child struct {
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr *output
	ended  chan error
}

// startChild starts the built binary; it is killed at the test's end at the
// latest.
func startChild(t *testing.T, args ...string) *child {
	t.Helper()
	return startChildWith(t, nil, args...)
}

// startChildWith starts the built binary with more variables in its environment.
func startChildWith(t *testing.T, environ []string, args ...string) *child {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &child{cmd: exec.CommandContext(ctx, binaryPath, args...), stderr: &output{}, ended: make(chan error, 1)}
	c.cmd.Stderr = c.stderr
	c.cmd.Env = append(append(os.Environ(), "FIRETOWER_TEST_PARENT="+t.Name()), environ...)
	c.cmd.SysProcAttr = diesWithParent()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.cmd.Stdout = w
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	c.stdout = bufio.NewReader(r)
	go func() { c.ended <- c.cmd.Wait() }()
	t.Cleanup(func() {
		cancel()
		c.wait(t)
		r.Close()
	})
	return c
}

// line reads one line of standard output.
func (c *child) line(t *testing.T) string {
	t.Helper()
	type result struct {
		line string
		err  error
	}
	got := make(chan result, 1)
	go func() {
		line, err := c.stdout.ReadString('\n')
		got <- result{line, err}
	}()
	select {
	case r := <-got:
		if r.err != nil && !errors.Is(r.err, io.EOF) {
			t.Fatalf("standard output: %v\n%s", r.err, c.stderr)
		}
		return r.line
	case <-time.After(patience):
		t.Fatalf("%q wrote no line:\n%s", c.cmd.Args, c.stderr)
		return ""
	}
}

// signal sends a signal to the child and to nobody else.
func (c *child) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// wait returns the exit code.
func (c *child) wait(t *testing.T) int {
	t.Helper()
	select {
	case err := <-c.ended:
		c.ended <- err
		return c.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("%q has not ended:\n%s", c.cmd.Args, c.stderr)
		return -1
	}
}
