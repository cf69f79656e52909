package loadtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firetower/loadtest"
	"firetower/scenarios"
)

// A server whose scenario sets the garbage collector gets none of Go's variables that
// would win over that; the others get them as they are.
func TestScenarioSetsTheCollector(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		gateway map[string]any
		left    []string // to the environment
	}{
		{"nothing", nil, []string{"GOGC=77", "GOMEMLIMIT=2GiB"}},
		{"one", map[string]any{"runtime": map[string]any{"gcpercent": int64(50)}}, []string{"GOMEMLIMIT=2GiB"}},
		{"both", map[string]any{"runtime": map[string]any{"gcPercent": int64(50), "memoryLimit": "1GiB"}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := plan(t, tiny(t, quick, func(s *scenarios.Scenario) { s.Gateway = tt.gateway }), loadtest.Firetower)
			o, mark := options(t, p)
			o.Environ = append(o.Environ, "GOGC=77", "GOMEMLIMIT=2GiB")
			r, dir := carryOut(t.Context(), t, o, mark)
			everythingArrived(t, r)
			for _, name := range []string{"manager.log", "gateway-0.log"} {
				log, err := os.ReadFile(filepath.Join(dir, "logs", name))
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range []string{"GOGC=77", "GOMEMLIMIT=2GiB"} {
					want := false
					for _, left := range tt.left {
						want = want || left == v
					}
					if got := strings.Contains(string(log), "is left to the environment\" "+v); got != want {
						t.Errorf("%s says that %s holds: %v, want %v\n%s", name, v, got, want, log)
					}
				}
			}
			if r.Series == nil || r.Series.Values["gateway GC CPU, ms"] == nil || r.Series.Values["manager GC CPU, ms"] == nil {
				t.Error("the servers' series lack the collector's CPU time")
			}
		})
	}
}
