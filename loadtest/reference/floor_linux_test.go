package reference_test

import (
	"testing"

	"firetower/loadtest/reference"
)

// Between handshakes the floor allocates nothing, so that the garbage collector sleeps.
func TestFloorPublishAllocatesNothing(t *testing.T) {
	for _, kind := range []string{reference.KindFloor, reference.KindFloorJoined} {
		t.Run(kind, func(t *testing.T) {
			if got := reference.FloorPublishAllocs(t, kind); got != 0 {
				t.Errorf("%v allocations per publish", got)
			}
		})
	}
}
