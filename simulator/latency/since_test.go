package latency_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"

	"firetower/simulator/latency"
)

func recorded(values ...int64) *latency.Recorder {
	r := latency.NewRecorder()
	for _, v := range values {
		r.Record(v)
	}
	return r
}

// What was recorded since is what a recorder of its own would hold, but for the least and the greatest value, which are
// known within a bucket.
func TestPropertySince(t *testing.T) {
	parameters := gopter.DefaultTestParameters()
	parameters.MinSuccessfulTests = 200
	p := gopter.NewProperties(parameters)
	values := gen.SliceOf(gen.Int64Range(-10, latency.Highest+10))
	p.Property("since an earlier state", prop.ForAll(
		func(before, after []int64) string {
			r := recorded(before...)
			earlier := r.Clone()
			for _, v := range after {
				r.Record(v)
			}
			got, err := r.Since(earlier)
			if err != nil {
				return err.Error()
			}
			want := recorded(after...)
			if got.Count() != want.Count() || got.Sum().Cmp(want.Sum()) != 0 || got.Overflow() != want.Overflow() ||
				got.Negative() != want.Negative() {
				return fmt.Sprintf("count %d, sum %v, overflow %d, negative %d", got.Count(), got.Sum(), got.Overflow(), got.Negative())
			}
			gotBuckets, wantBuckets := got.Buckets(), want.Buckets()
			for i := range wantBuckets {
				if gotBuckets[i] != wantBuckets[i] {
					return fmt.Sprintf("bucket %v, want %v", gotBuckets[i], wantBuckets[i])
				}
			}
			if n := len(wantBuckets); n > 0 {
				first, last := wantBuckets[0], wantBuckets[n-1]
				if got.Min() < first.FromNS || got.Min() > want.Min() || got.Max() < want.Max() ||
					got.Max() > max(last.ToNS, want.Max()) {
					return fmt.Sprintf("from %d to %d, want from %d to %d", got.Min(), got.Max(), want.Min(), want.Max())
				}
			}
			return ""
		}, values, values,
	))
	p.TestingRun(t)
}

func TestSinceNothing(t *testing.T) {
	r := recorded(1, 2)
	got, err := r.Since(nil)
	if err != nil || got.Count() != 2 {
		t.Fatalf("%d, %v", got.Count(), err)
	}
	r.Record(3)
	if got.Count() != 2 {
		t.Error("what was returned shares counts with the recorder")
	}
}

func TestSinceRefusesWhatIsNoEarlierState(t *testing.T) {
	if _, err := recorded(5_000_000).Since(recorded(9_000_000)); !errors.Is(err, latency.ErrOrder) {
		t.Errorf("%v, want %v", err, latency.ErrOrder)
	}
}
