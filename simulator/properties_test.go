package simulator_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/leanovate/gopter"
)

// properties runs one property with a printed seed, which FIRETOWER_PROP_SEED repeats.
func properties(t *testing.T, runs int, name string, p gopter.Prop) {
	t.Helper()
	seed := time.Now().UnixNano()
	if text := os.Getenv("FIRETOWER_PROP_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatalf("FIRETOWER_PROP_SEED: %v", err)
		}
	}
	t.Logf("seed %d", seed)
	parameters := gopter.DefaultTestParametersWithSeed(seed)
	parameters.MinSuccessfulTests = runs
	all := gopter.NewProperties(parameters)
	all.Property(name, p)
	all.TestingRun(t)
}
