package loadtest

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine is what a plan needs to know of the machine. A figure that could not be
// read is 0, and is not checked against.
type Machine struct {
	// CPUs that this process may use.
	CPUs int `json:"cpus"`
	// CPUList are their numbers, none where no program can choose among them.
	CPUList []int `json:"cpu_list,omitempty"`
	// OpenFiles is the hard limit of descriptors of one process.
	OpenFiles uint64 `json:"open_files"`
	// Ports is how many ephemeral ports there are from one address to one other.
	Ports int `json:"ports"`
	// MemoryAvailable is what the kernel would give without swapping, in bytes.
	MemoryAvailable int64 `json:"memory_available"`
	// ListenBacklog bounds the connections that wait to be accepted.
	ListenBacklog int `json:"listen_backlog"`
}

// ReadMachine reads the machine's limits.
func ReadMachine() Machine {
	m := Machine{CPUs: runtime.NumCPU(), OpenFiles: openFilesLimit()}
	if list, err := processCPUs(); err == nil {
		m.CPUList = list
	}
	if f := strings.Fields(readText("/proc/sys/net/ipv4/ip_local_port_range")); len(f) == 2 {
		low, errLow := strconv.Atoi(f[0])
		high, errHigh := strconv.Atoi(f[1])
		if errLow == nil && errHigh == nil && high > low {
			m.Ports = high - low + 1
		}
	}
	m.ListenBacklog, _ = strconv.Atoi(readText("/proc/sys/net/core/somaxconn"))
	m.MemoryAvailable = meminfo("MemAvailable:")
	return m
}

// readText reads a small file of /proc or /sys, empty when there is none.
func readText(path string) string {
	b, err := os.ReadFile(path) // paths are ours
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// meminfo is a line of /proc/meminfo, in bytes.
func meminfo(key string) int64 {
	for line := range strings.Lines(readText("/proc/meminfo")) {
		var kb int64
		if rest, ok := strings.CutPrefix(line, key); ok {
			if _, err := fmt.Sscanf(rest, "%d kB", &kb); err == nil {
				return kb << 10
			}
		}
	}
	return 0
}
