package loadtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"firetower/core/schedstat"
)

// clockTick is the unit of CPU times in /proc/PID/stat. Linux gives user space 100
// ticks a second on every architecture that Go runs on (USER_HZ).
const clockTick = 10 * time.Millisecond

// usage is what a process has used, by /proc.
type usage struct {
	cpu time.Duration // user and system
	rss int64         // bytes
	fds int
}

// readUsage reads what a process has used so far. The error is that of a process
// that is gone.
func readUsage(pid int) (usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return usage{}, err
	}
	var u usage
	if u.cpu, err = parseStat(string(stat)); err != nil {
		return usage{}, err
	}
	if exact, ok := readCPU(pid); ok {
		u.cpu = exact
	}
	if f := strings.Fields(readText(filepath.Join(dir, "statm"))); len(f) > 1 {
		if pages, err := strconv.ParseInt(f[1], 10, 64); err == nil {
			u.rss = pages * int64(os.Getpagesize())
		}
	}
	u.fds = countDescriptors(filepath.Join(dir, "fd"))
	return u, nil
}

// countDescriptors is how many descriptors a process has open, by its folder of them. Linux
// tells it as the folder's size (6.2 and later). To list them instead took 60 ms of a core
// for a gateway of ten thousand clients and its workers, once a second, of which one
// message in each second paid the latency.
func countDescriptors(dir string) int {
	if info, err := os.Stat(dir); err == nil && info.Size() > 0 {
		return int(info.Size())
	}
	f, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return 0
	}
	defer f.Close()                // nothing was written
	names, _ := f.Readdirnames(-1) // of a process that ends meanwhile, as many as there are left
	return len(names)
}

// parseStat reads utime and stime, fields 14 and 15 of /proc/PID/stat. The second
// field is the program's name in brackets, which may hold spaces and brackets.
func parseStat(stat string) (time.Duration, error) {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, fmt.Errorf("no name in %q", stat)
	}
	f := strings.Fields(stat[end+1:])
	const utime, stime = 14 - 3, 15 - 3 // the first of f is field 3
	if len(f) <= stime {
		return 0, fmt.Errorf("%d fields in %q", len(f), stat)
	}
	var ticks int64
	for _, field := range []int{utime, stime} {
		n, err := strconv.ParseInt(f[field], 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// readWait is how long a process's threads were runnable and did not run, or 0 when the system does not tell. Threads
// that have ended are not in it. It opens a file for each thread, so it is for phase edges.
func readWait(pid int) time.Duration {
	t, _ := schedstat.Process(pid)
	return t.Waited
}

// readExactRSS reads resident memory from smaps_rollup, which walks the page
// tables. The counters in statm are kept per CPU and may be off by hundreds of KiB.
func readExactRSS(pid int) (int64, bool) {
	for line := range strings.Lines(readText(fmt.Sprintf("/proc/%d/smaps_rollup", pid))) {
		if rest, ok := strings.CutPrefix(line, "Rss:"); ok {
			var kb int64
			if _, err := fmt.Sscanf(rest, "%d kB", &kb); err == nil {
				return kb << 10, true
			}
		}
	}
	u, err := readUsage(pid)
	return u.rss, err == nil
}

// kernelCounters are what the kernel counts for the whole machine.
type kernelCounters struct {
	values map[string]int64
	// busy, steal and total are CPU time of all CPUs.
	busy, steal, total time.Duration
	// pressure is the time in which at least one task waited for a CPU.
	pressure time.Duration
}

// readKernel reads the counters of TCP and of the CPUs.
func readKernel() kernelCounters {
	k := kernelCounters{values: map[string]int64{}}
	for _, path := range []string{"/proc/net/snmp", "/proc/net/netstat"} {
		lines := strings.Split(readText(path), "\n")
		for i := 0; i+1 < len(lines); i += 2 {
			names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
			if len(names) != len(values) || len(names) == 0 || (names[0] != "Tcp:" && names[0] != "TcpExt:") {
				continue
			}
			for j := 1; j < len(names); j++ {
				if n, err := strconv.ParseInt(values[j], 10, 64); err == nil {
					k.values[names[j]] = n
				}
			}
		}
	}
	first, _, _ := strings.Cut(readText("/proc/stat"), "\n")
	// cpu user nice system idle iowait irq softirq steal guest guest_nice; the guest
	// times are in user and nice already.
	if f := strings.Fields(first); len(f) >= 9 && f[0] == "cpu" {
		for i := 1; i <= 8; i++ {
			n, err := strconv.ParseInt(f[i], 10, 64)
			if err != nil {
				break
			}
			t := time.Duration(n) * clockTick
			k.total += t
			switch i {
			case 4, 5: // idle, iowait
			case 8:
				k.steal += t
			default:
				k.busy += t
			}
		}
	}
	some, _, _ := strings.Cut(readText("/proc/pressure/cpu"), "\n")
	if _, text, ok := strings.Cut(some, "total="); ok {
		if us, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
			k.pressure = time.Duration(us) * time.Microsecond
		}
	}
	return k
}
