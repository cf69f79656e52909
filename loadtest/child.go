package loadtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// nursery starts the child processes of a run and sees that none outlives it.
//
// Linux ties a parent-death signal to the thread that forked (prctl(2),
// PR_SET_PDEATHSIG), not to the process, and Go may end a thread. So one goroutine
// with a thread of its own starts them all, and lives until they are gone.
type nursery struct {
	dir  string // for the children's logs
	exec string // this binary
	// servers is the build that managers and gateways are started from, empty for this one.
	servers string
	env     []string
	// unset are variables that managers and gateways do not get, since the scenario sets
	// what they would.
	unset []string

	// serverCPUs and loadCPUs are what the children may run on; none is all.
	serverCPUs, loadCPUs []int

	work chan func()
	done chan struct{}

	mu       sync.Mutex // guards the following
	children []*child
	closed   bool
}

// child is one process.
type child struct {
	role, name string
	pid        int
	logPath    string
	stdin      *os.File // nil unless asked for
	// lines carries the child's standard output; it is closed at its end.
	lines  chan []byte
	exited chan struct{} // closed when the process is reaped

	mu       sync.Mutex // guards the following
	expected bool       // its end is our doing
	state    *os.ProcessState
	cmd      *exec.Cmd
}

// ErrDied is wrapped by the error of a run in which a process ended by itself.
var ErrDied = errors.New("process ended by itself")

// stopGrace is how long a process has to end after SIGTERM before SIGKILL. A
// gateway tells ten thousand clients goodbye meanwhile.
const stopGrace = 10 * time.Second

func newNursery(dir, executable string, environ []string) *nursery {
	n := &nursery{
		dir: dir, exec: executable, work: make(chan func()), done: make(chan struct{}),
		// The services take FIRETOWER_... variables as configuration. A run is configured by
		// its scenario alone, or its result could not be repeated from its own document.
		env: slices.DeleteFunc(slices.Clone(environ), func(kv string) bool { return strings.HasPrefix(kv, "FIRETOWER_") }),
	}
	go func() {
		defer close(n.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for f := range n.work {
			f()
		}
	}()
	return n
}

// start starts this binary with the given arguments, or for a manager or gateway the
// build that the target names.
func (n *nursery) start(role, name string, wantStdin bool, args ...string) (*child, error) {
	if n.servers != "" && (role == "manager" || role == "gateway") {
		return n.startOf(n.servers, role, name, wantStdin, args...)
	}
	return n.startOf(n.exec, role, name, wantStdin, args...)
}

// startOf starts the given binary.
func (n *nursery) startOf(binary, role, name string, wantStdin bool, args ...string) (*child, error) {
	logPath := filepath.Join(n.dir, name+".log")
	logFile, err := os.OpenFile(filepath.Clean(logPath), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644) //nolint:gosec // logs are for everyone to read
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer logFile.Close()                // the child has its own descriptor
	cmd := exec.Command(binary, args...) // our own, or the one that the user names
	cmd.Env = n.environ(role)
	cmd.Stderr = logFile
	cmd.SysProcAttr = childAttributes()
	c := &child{role: role, name: name, logPath: logPath, lines: make(chan []byte, 64), exited: make(chan struct{}), cmd: cmd}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if wantStdin {
		pipe, err := cmd.StdinPipe()
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
		var ok bool
		if c.stdin, ok = pipe.(*os.File); !ok {
			return nil, fmt.Errorf("start %s: its input is a %T, which has no deadlines", name, pipe)
		}
	}
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil, fmt.Errorf("start %s: the run is over", name)
	}
	started := make(chan error, 1) // one result
	n.work <- func() { started <- n.startOn(cmd, role) }
	if err := <-started; err != nil {
		n.mu.Unlock()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c.pid = cmd.Process.Pid
	n.children = append(n.children, c)
	n.mu.Unlock()
	go c.read(stdout)
	return c, nil
}

// environ is the environment of a child.
func (n *nursery) environ(role string) []string {
	if len(n.unset) == 0 || role != "manager" && role != "gateway" {
		return n.env
	}
	return slices.DeleteFunc(slices.Clone(n.env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(n.unset, name)
	})
}

// startOn starts a child on the CPUs of its role: it inherits those of the thread that
// forks it.
func (n *nursery) startOn(cmd *exec.Cmd, role string) error {
	cpus := n.loadCPUs
	if isServer(role) {
		cpus = n.serverCPUs
	}
	if len(cpus) > 0 {
		if err := pinThread(cpus); err != nil {
			return err
		}
	}
	return cmd.Start()
}

// maxLine bounds a line of a child's standard output: a worker's report is the
// largest, with a row for each message.
const maxLine = 512 << 20

// read passes the child's lines on, and reaps it when it has closed its output.
func (c *child) read(stdout io.Reader) {
	r := bufio.NewReaderSize(stdout, 64<<10)
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) <= maxLine {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			break
		}
		c.lines <- line
		line = nil
	}
	close(c.lines)
	// The error repeats what the state says.
	_ = c.cmd.Wait()
	c.mu.Lock()
	c.state = c.cmd.ProcessState
	c.mu.Unlock()
	close(c.exited)
}

// announcement is the line that a service prints once it is ready.
type announcement struct {
	Event  string `json:"event"`
	Role   string `json:"role"`
	PID    int    `json:"pid"`
	Link   string `json:"link"`
	GRPC   string `json:"grpc"`
	HTTP   string `json:"http"`
	Listen string `json:"listen"`
	// Publish is where backends connect, Version names the library: servers of others.
	Publish string `json:"publish"`
	Version string `json:"version"`
}

// ready waits for the announcement of a service, and from then on discards what it prints.
func (c *child) ready(ctx context.Context, timeout time.Duration) (announcement, error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				<-c.exited
				return announcement{}, c.endedEarly(ctx)
			}
			var a announcement
			if json.Unmarshal(line, &a) != nil || a.Event != "ready" {
				continue
			}
			go func() {
				for range c.lines {
				}
			}()
			return a, nil
		case <-timer.C:
			return announcement{}, fmt.Errorf("%s (pid %d) was not ready within %v%s", c.name, c.pid, timeout, c.logTail())
		case <-ctx.Done():
			return announcement{}, context.Cause(ctx)
		}
	}
}

// interruptGrace is for how long the signal that ended a child may take to reach this process.
const interruptGrace = time.Second

// endedEarly is the error for a service that ended before it was ready. A terminal's Ctrl-C
// goes to a whole process group, and a child is in ours until it has made its own: it may die
// of what interrupts the run, a moment before the run knows.
func (c *child) endedEarly(ctx context.Context) error {
	c.mu.Lock()
	status, ok := c.state.Sys().(syscall.WaitStatus)
	c.mu.Unlock()
	if ok && status.Signaled() && status.Signal() == syscall.SIGINT {
		timer := time.NewTimer(interruptGrace)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
	return c.died()
}

// died is the error for a process that ended by itself.
func (c *child) died() error {
	return fmt.Errorf("%s (pid %d): %w: %s%s", c.name, c.pid, ErrDied, c.exit(), c.logTail())
}

// exit says how the process ended.
func (c *child) exit() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == nil {
		return "running"
	}
	return c.state.String()
}

// cpu is the CPU time of a process that has ended, by the kernel's final account.
func (c *child) cpu() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == nil {
		return 0, false
	}
	return c.state.UserTime() + c.state.SystemTime(), true
}

// unexpected tells whether the process has ended, and not by our doing.
func (c *child) unexpected() bool {
	select {
	case <-c.exited:
	default:
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.expected
}

// logTail is the last lines of the child's log, for an error.
func (c *child) logTail() string {
	b, err := os.ReadFile(c.logPath)
	if err != nil || len(b) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b[max(0, len(b)-4096):])), "\n")
	return "; its log ends:\n  " + strings.Join(lines[max(0, len(lines)-5):], "\n  ")
}

// signal sends a signal to the process, by its pid. A process that has been
// reaped is left alone: its pid may be another's by now.
func (c *child) signal(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expected = true
	if c.state == nil {
		// It may have ended meanwhile and wait to be reaped, which is as good.
		_ = c.cmd.Process.Signal(sig)
	}
}

// send sends a signal that does not end the process: its end would be no doing of
// ours.
func (c *child) send(sig syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != nil {
		return fmt.Errorf("%s (pid %d) has ended: %s", c.name, c.pid, c.state)
	}
	return c.cmd.Process.Signal(sig)
}

// kill ends the process at once and waits until it is reaped.
func (c *child) kill() {
	c.signal(syscall.SIGKILL)
	c.reaped(nil)
}

// stop ends the process: its input first, then SIGTERM, then after the grace SIGKILL.
func (c *child) stop(grace time.Duration) {
	if c.stdin != nil {
		_ = c.stdin.Close() // a worker ends with its input; it may have done so already
	}
	c.signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	if !c.reaped(timer.C) {
		c.kill()
	}
}

// reaped waits until the process is gone, or the timeout comes. What the process
// still prints is thrown away: with nobody to read it, it could not end.
func (c *child) reaped(timeout <-chan time.Time) bool {
	lines := c.lines
	for {
		select {
		case _, ok := <-lines:
			if !ok {
				lines = nil
			}
		case <-c.exited:
			return true
		case <-timeout:
			return false
		}
	}
}

// all lists the processes that were ever started.
func (n *nursery) all() []*child {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.children)
}

// close stops every process, the last started first and each role in its turn, so
// that clients leave before their gateway and gateways before their manager. No
// process is left when it returns.
func (n *nursery) close(grace time.Duration) {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return
	}
	n.closed = true
	n.mu.Unlock()
	for _, roles := range [][]string{{"worker"}, {"gateway", "reference", "peer"}, {"manager"}} {
		var wg sync.WaitGroup
		for _, c := range n.all() {
			if slices.Contains(roles, c.role) {
				wg.Go(func() { c.stop(grace) })
			}
		}
		wg.Wait()
	}
	close(n.work)
	<-n.done
}
