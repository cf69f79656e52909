package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// readThreadTimes reads the times of this process's threads (/proc/PID/task/TID/schedstat;
// the kernel's Documentation/scheduler/sched-stats), and whether the system tells. Threads
// that end take their part with them.
func readThreadTimes() (t threadTimes, ok bool) {
	const tasks = "/proc/self/task"
	dir, err := os.Open(tasks)
	if err != nil {
		return t, false
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return t, false
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(tasks, name, "schedstat"))
		if err != nil {
			continue // it has ended
		}
		var ran, waited int64
		if _, err := fmt.Sscan(string(text), &ran, &waited); err == nil {
			t.ran += time.Duration(ran)
			t.waited += time.Duration(waited)
			ok = true
		}
	}
	return t, ok
}
