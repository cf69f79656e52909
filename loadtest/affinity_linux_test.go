package loadtest_test

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"firetower/loadtest"
	"firetower/scenarios"
)

// allowed is what the kernel says of the CPUs of a process.
func allowed(t *testing.T, status string) string {
	t.Helper()
	b, err := os.ReadFile(status)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if list, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			return strings.TrimSpace(list)
		}
	}
	t.Fatalf("%s does not tell of CPUs", status)
	return ""
}

// Servers and load get CPUs of their own, and this process all of its back. It is no
// parallel test: for its time all of this process runs on half of the CPUs.
func TestIsolatedCPUs(t *testing.T) {
	if len(loadtest.ReadMachine().CPUList) < 2 {
		t.Skip("there is one CPU")
	}
	before, procs := allowed(t, "/proc/self/status"), runtime.GOMAXPROCS(0)
	p := plan(t, tiny(t, func(s *scenarios.Scenario) { s.Topology.CPUs = scenarios.CPUsIsolated }), loadtest.Firetower)
	o, mark := options(t, p)
	o.Tags = map[string]string{"branch": "main"}
	got := map[string]string{}
	o.Progress = hook{func(name string) {
		if name == "measure" {
			for _, role := range []string{" gateway ", " manager ", "loadtest worker"} {
				got[role] = allowed(t, "/proc/"+strconv.Itoa(pidOf(t, mark, role))+"/status")
			}
			got["coordinator"] = allowed(t, "/proc/self/status")
		}
	}}
	r, _ := carryOut(t.Context(), t, o, mark)
	everythingArrived(t, r)
	e := r.Environment
	if e.ServerCPUs == "" || e.LoadCPUs == "" || e.ServerCPUs == e.LoadCPUs || !strings.Contains(p.String(), "CPUs          "+e.ServerCPUs) {
		t.Errorf("servers on %q, load on %q; plan\n%s", e.ServerCPUs, e.LoadCPUs, p)
	}
	if got[" gateway "] != e.ServerCPUs || got[" manager "] != e.ServerCPUs || got["loadtest worker"] != e.LoadCPUs || got["coordinator"] != e.LoadCPUs {
		t.Errorf("the kernel says %v of servers on %q and load on %q", got, e.ServerCPUs, e.LoadCPUs)
	}
	if now := allowed(t, "/proc/self/status"); now != before || runtime.GOMAXPROCS(0) != procs {
		t.Errorf("this process has CPUs %s and %d of them, had %s and %d", now, runtime.GOMAXPROCS(0), before, procs)
	}
	if r.Tags["branch"] != "main" {
		t.Errorf("tags %v", r.Tags)
	}
}
