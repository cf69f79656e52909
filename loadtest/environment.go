package loadtest

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"firetower/reports"
)

// sysctls are the kernel's settings that a run's figures depend on.
var sysctls = []string{
	"net/core/somaxconn", "net/ipv4/ip_local_port_range", "net/ipv4/tcp_max_syn_backlog", "net/ipv4/tcp_mem",
	"net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem", "net/ipv4/tcp_tw_reuse",
}

// readEnvironment reads what the figures depend on beside the scenario.
func readEnvironment(o Options, pressureBefore string) reports.Environment {
	e := reports.Environment{
		OS: runtime.GOOS, Arch: runtime.GOARCH, Kernel: readText("/proc/sys/kernel/osrelease"),
		CPU: cpuModel(), CPUs: runtime.NumCPU(), Memory: meminfo("MemTotal:"),
		Governor:  orNone(readText("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
		Clock:     orNone(readText("/sys/devices/system/clocksource/clocksource0/current_clocksource")),
		CgroupCPU: orNone(cgroup("cpu.max")), CgroupMem: orNone(cgroup("memory.max")),
		OpenFiles: o.Plan.Machine.OpenFiles, GoVersion: runtime.Version(), GOMAXPROCS: processors(),
		GOGC: orNone(os.Getenv("GOGC")), GOMEMLIMIT: orNone(os.Getenv("GOMEMLIMIT")),
		Commit: o.Build.Commit, Modified: o.Build.Modified, Binary: hashFile(o.Executable), Server: o.servers, Sysctl: map[string]string{},
		PressureBefore: orNone(pressureBefore),
	}
	e.ServerCPUs, e.LoadCPUs = cpuList(o.Plan.ServerCPUs), cpuList(o.Plan.LoadCPUs)
	e.Hostname, _ = os.Hostname() // a name that cannot be read stays empty
	for _, name := range sysctls {
		if v := readText("/proc/sys/" + name); v != "" {
			e.Sysctl[strings.ReplaceAll(name, "/", ".")] = strings.Join(strings.Fields(v), " ")
		}
	}
	return e
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func cpuModel() string {
	for line := range strings.Lines(readText("/proc/cpuinfo")) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// cgroup reads a limit of the control group that this process is in (version 2).
func cgroup(file string) string {
	for line := range strings.Lines(readText("/proc/self/cgroup")) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return readText(filepath.Join("/sys/fs/cgroup", path, file))
		}
	}
	return ""
}

// hashFile is the SHA-256 of a file, empty when it cannot be read.
func hashFile(path string) string {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return ""
	}
	defer f.Close() // only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}
