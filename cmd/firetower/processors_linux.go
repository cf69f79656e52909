package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// processDemand is for how long the threads of this process have run or waited for a
// processor (proc(5), /proc/PID/task/TID/schedstat), all together, and whether the system
// tells. What waits is wanted as well: a process that others keep from the processors looks
// as if it had little to do. Threads that end take their part with them.
func processDemand() (wanted time.Duration, ok bool) {
	const tasks = "/proc/self/task"
	dir, err := os.Open(tasks)
	if err != nil {
		return 0, false
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, false
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(tasks, name, "schedstat"))
		if err != nil {
			continue // it has ended
		}
		var ran, waited int64
		if _, err := fmt.Sscan(string(text), &ran, &waited); err == nil {
			wanted += time.Duration(ran + waited)
			ok = true
		}
	}
	return wanted, ok
}
