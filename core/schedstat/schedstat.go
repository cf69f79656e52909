// Package schedstat reads for how long the threads of a process ran and waited for a processor, from Linux's
// /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats of the kernel). It knows nothing of what for.
package schedstat

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Times is for how long threads have run, and were runnable and did not.
type Times struct{ Ran, Waited time.Duration }

// Self reads the times of this process's threads as [Process] does.
func Self() (Times, bool) { return read("/proc/self/task") }

// Process reads the times of a process's threads, all together, and says whether the system tells any. Threads that have
// ended are not in it. It opens a file for each thread.
func Process(pid int) (Times, bool) { return read(fmt.Sprintf("/proc/%d/task", pid)) }

// read sums up the threads of a folder.
func read(tasks string) (sum Times, ok bool) {
	dir, err := os.Open(filepath.Clean(tasks))
	if err != nil {
		return sum, false
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return sum, false
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(tasks, name, "schedstat"))
		if err != nil {
			continue // it has ended
		}
		if t, err := parse(string(text)); err == nil {
			sum.Ran += t.Ran
			sum.Waited += t.Waited
			ok = true
		}
	}
	return sum, ok
}

// parse reads the first two of a thread's numbers, which are nanoseconds; the third is how often it ran.
func parse(text string) (t Times, err error) {
	f := strings.Fields(text)
	if len(f) < 2 {
		return t, fmt.Errorf("%d fields in %q", len(f), text)
	}
	for i, to := range []*time.Duration{&t.Ran, &t.Waited} {
		ns, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return Times{}, err
		}
		*to = time.Duration(ns)
	}
	return t, nil
}
