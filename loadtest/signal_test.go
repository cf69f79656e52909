package loadtest_test

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"firetower/loadtest"
	"firetower/reports"
)

// started is a real `firetower loadtest run`, which a test sends signals to.
type started struct {
	cmd    *exec.Cmd
	phases *bufio.Scanner
	root   string
	mark   string
	stdout bytes.Buffer
}

// begin starts a run that would measure for a minute, and waits until a phase begins.
func begin(t *testing.T, phase string) *started {
	t.Helper()
	return beginWith(t, phase, "--duration", "60s")
}

// beginWith starts a run with some flags, and waits until a phase begins.
func beginWith(t *testing.T, phase string, flags ...string) *started {
	t.Helper()
	s := &started{root: t.TempDir(), mark: newMarker()}
	args := append([]string{"loadtest", "run", "smoke", "--conns", "50", "--out", s.root}, flags...)
	s.cmd = exec.CommandContext(t.Context(), binary, args...)
	s.cmd.Env = append(os.Environ(), markerVariable+"="+s.mark)
	s.cmd.Stdout = &s.stdout
	// A terminal's Ctrl-C goes to the whole foreground group; so does a test's.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.phases = bufio.NewScanner(stderr)
	s.until(t, phase)
	return s
}

// until reads the progress until a phase begins.
func (s *started) until(t *testing.T, phase string) {
	t.Helper()
	for s.phases.Scan() {
		if s.phases.Text() == phase {
			return
		}
	}
	t.Fatalf("the run ended before %q", phase)
}

func (s *started) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-s.cmd.Process.Pid, sig); err != nil {
		t.Error(err)
	}
}

// end waits for the run's end and returns its exit code.
func (s *started) end(t *testing.T) int {
	t.Helper()
	for s.phases.Scan() {
		// The rest of the progress is read away, or the run could not write it.
		continue
	}
	err := s.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return s.cmd.ProcessState.ExitCode()
}

func TestFirstCtrlCDrainsAndReports(t *testing.T) {
	t.Parallel()
	s := begin(t, "measure")
	s.signal(t, syscall.SIGINT)
	if code := s.end(t); code != loadtest.ExitInterrupted {
		t.Errorf("exit code %d", code)
	}
	nothingLeft(t, s.mark)
	r, err := reports.Read(filepath.Join(s.root, reports.LatestLink))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Interrupted || r.Lost != 0 || r.MeasuredSeconds > 50 || r.Failure != "" {
		t.Errorf("interrupted %v after %v s, lost %d, failure %q", r.Interrupted, r.MeasuredSeconds, r.Lost, r.Failure)
	}
	if !strings.Contains(s.stdout.String(), "smoke on firetower, interrupted") {
		t.Errorf("printed %q", s.stdout.String())
	}
}

func TestSecondCtrlCEndsAtOnceAndLeavesNothing(t *testing.T) {
	t.Parallel()
	s := begin(t, "measure")
	s.signal(t, syscall.SIGINT)
	s.until(t, "drain")
	s.signal(t, syscall.SIGINT)
	if code := s.end(t); code != loadtest.ExitInterrupted {
		t.Errorf("exit code %d", code)
	}
	nothingLeft(t, s.mark)
}

// A run that is killed has no time to stop its processes: the kernel does.
func TestKilledRunLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"connect", "measure"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			s := begin(t, phase)
			if err := s.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			s.end(t)
			nothingLeft(t, s.mark)
		})
	}
}

// A worker that nobody speaks to ends with its input.
func TestWorkerEndsWithItsInput(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() { done <- loadtest.RunWorker(t.Context(), r, &out) }()
	if _, err := w.WriteString(`{"op":"ping"}` + "\n" + `{"op":"connect"}` + "\n" + `{"op":"dance"}` + "\n" + `{"op":"mark"}` + "\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the worker lives on")
	}
	for _, want := range []string{`"op":"ping","now":`, `"op":"connect","error":"no fleet`, `"op":"dance","error":"no fleet`, `"op":"mark","load":`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %s:\n%s", want, out.String())
		}
	}
}
