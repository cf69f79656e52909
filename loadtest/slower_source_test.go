package loadtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// slowed is the sources by their paths through which a gateway writes to sockets, with a loop
// behind each write that burns the given share of the time that the write took. A write to
// one socket that took longer than 20 us was interrupted, and what it took is no measure of its work.
func slowed(t *testing.T, share float64) map[string]string {
	t.Helper()
	const most = "20*time.Microsecond"
	burn := func(indent, most string) string {
		return strings.ReplaceAll(fmt.Sprintf("written := time.Now()\n"+
			"for end := time.Duration(float64(min(written.Sub(begun), %s)) * %g); time.Since(written) < end; {\n}\n", most, share),
			"\n", "\n"+indent)
	}
	sources := map[string]string{}
	edit := func(file string, changes ...string) {
		path, err := filepath.Abs(filepath.Join("..", "core", "rawio", file))
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		source := string(data)
		for i := 0; i < len(changes); i += 2 {
			if n := strings.Count(source, changes[i]); n != 1 {
				t.Fatalf("%s: %q stands there %d times", path, changes[i], n)
			}
			source = strings.Replace(source, changes[i], changes[i+1], 1)
		}
		sources[path] = source
	}
	send, sent := "\t\tn, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO,", "\t\t\tsyscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)\n"
	edit("rawio_linux.go",
		"\n\t\"syscall\"\n", "\n\t\"syscall\"\n\t\"time\"\n",
		send, "\t\tbegun := time.Now()\n"+send,
		sent, sent+"\t\t"+burn("\t\t", most))
	edit("ring_linux.go",
		"\n\t\"syscall\"\n", "\n\t\"syscall\"\n\t\"time\"\n",
		"\tsubmitted := r.enter(len(fds))\n", "\tbegun := time.Now()\n\tsubmitted := r.enter(len(fds))\n\t"+
			burn("\t", most+"*time.Duration(len(fds))"))
	return sources
}

// TestSlowedSources keeps the edits in step with the sources, since the tests that build with them run by hand.
func TestSlowedSources(t *testing.T) {
	for path, source := range slowed(t, 0.15) {
		if n := strings.Count(source, "begun := time.Now()"); n != 1 {
			t.Errorf("%s: %d writes are slowed", path, n)
		}
	}
}
