package coretest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"firetower/core/manager"
)

// Addrs are the addresses of a manager.
type Addrs struct {
	Link, GRPC, HTTP string
}

func addrsOf(a manager.Addrs) Addrs {
	addrs := Addrs{Link: a.Link.String(), GRPC: a.GRPC.String()}
	if a.HTTP != nil {
		addrs.HTTP = a.HTTP.String()
	}
	return addrs
}

// runningManager is a manager that was started and not stopped yet.
type runningManager interface {
	addrs() Addrs
	// stop ends it in order.
	stop(t testing.TB)
	// kill ends it as a crash would.
	kill(t testing.TB)
}

// localManager runs in the test's process.
type localManager struct {
	at     Addrs
	cancel context.CancelFunc
	ended  chan error
}

func startLocalManager(t testing.TB, options manager.Options) runningManager {
	t.Helper()
	m, err := manager.New(options)
	if err != nil {
		t.Fatalf("coretest: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	local := &localManager{cancel: cancel, ended: make(chan error, 1)}
	go func() { local.ended <- m.Run(ctx) }()
	select {
	case <-m.Ready():
	case err := <-local.ended:
		cancel()
		t.Fatalf("coretest: manager: %v", err)
	}
	local.at = addrsOf(m.Addrs())
	return local
}

func (m *localManager) addrs() Addrs { return m.at }

func (m *localManager) stop(t testing.TB) {
	t.Helper()
	m.cancel()
	if err := <-m.ended; err != nil {
		t.Errorf("coretest: manager: %v", err)
	}
}

func (m *localManager) kill(t testing.TB) {
	t.Helper()
	t.Fatal("coretest: only a manager in a child process can be killed: set Options.ManagerProcess")
}

// childEnv holds the options of the manager that a child process is to run.
const childEnv = "FIRETOWER_CORETEST_MANAGER"

// childOptions are the options that cross over to a child process.
type childOptions struct {
	Options manager.Options
}

// RunChild is called first in TestMain of a package that uses Options.ManagerProcess: in a child
// process it runs the manager and does not return.
func RunChild() {
	text := os.Getenv(childEnv)
	if text == "" {
		return
	}
	if err := runChild(text); err != nil {
		fmt.Fprintln(os.Stderr, "coretest: child:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runChild(text string) error {
	var child childOptions
	if err := json.Unmarshal([]byte(text), &child); err != nil {
		return err
	}
	m, err := manager.New(child.Options)
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	select {
	case <-m.Ready():
		if err := json.NewEncoder(os.Stdout).Encode(addrsOf(m.Addrs())); err != nil {
			return err
		}
		return <-ended
	case err := <-ended:
		return err
	}
}

// childManager runs in a child process.
type childManager struct {
	at  Addrs
	cmd *exec.Cmd
	out io.Reader
}

func startChildManager(t testing.TB, options manager.Options) runningManager {
	t.Helper()
	options.Registry, options.Logger = nil, nil
	text, err := json.Marshal(childOptions{Options: options})
	if err != nil {
		t.Fatalf("coretest: %v", err)
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatalf("coretest: %v", err)
	}
	cmd := exec.Command(executable)
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = nil // a manager that is cut from its gateways has much to say
	dieWithParent(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("coretest: %v", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("coretest: start the manager: %v", err)
	}
	child := &childManager{cmd: cmd, out: out}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &child.at)
	}
	if err != nil {
		child.end(t, syscall.SIGKILL)
		t.Fatalf("coretest: the manager's addresses: %v", err)
	}
	return child
}

func (m *childManager) addrs() Addrs { return m.at }

func (m *childManager) stop(t testing.TB) {
	t.Helper()
	if state := m.end(t, syscall.SIGTERM); !state.Success() {
		t.Errorf("coretest: manager: %v", state)
	}
}

func (m *childManager) kill(t testing.TB) {
	t.Helper()
	m.end(t, syscall.SIGKILL)
}

func (m *childManager) end(t testing.TB, sig syscall.Signal) *os.ProcessState {
	t.Helper()
	if err := m.cmd.Process.Signal(sig); err != nil {
		t.Errorf("coretest: signal the manager: %v", err)
	}
	_, _ = io.Copy(io.Discard, m.out)
	_ = m.cmd.Wait() // the state tells
	return m.cmd.ProcessState
}
