package latency_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"go.uber.org/goleak"

	"firetower/simulator/latency"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRecorderCounts(t *testing.T) {
	second := int64(1_000_000_000)
	tests := map[string]struct {
		record                       []int64
		count, min, max, over, negat int64
		sum                          string
		p50, p100                    int64
	}{
		"nothing":                           {sum: "0"},
		"zero is a duration":                {record: []int64{0}, count: 1, sum: "0"},
		"below the lowest discernible":      {record: []int64{7}, count: 1, min: 7, max: 7, sum: "7", p50: 7, p100: 7},
		"one":                               {record: []int64{1234}, count: 1, min: 1234, max: 1234, sum: "1234", p50: 1234, p100: 1234},
		"the highest is no overflow":        {record: []int64{latency.Highest}, count: 1, min: latency.Highest, max: latency.Highest, sum: "60000000000", p50: latency.Highest, p100: latency.Highest},
		"one above is clamped and counted":  {record: []int64{latency.Highest + 1}, count: 1, min: latency.Highest + 1, max: latency.Highest + 1, over: 1, sum: "60000000001", p50: latency.Highest + 1, p100: latency.Highest + 1},
		"negatives are counted and no more": {record: []int64{-1, math.MinInt64, 5000}, count: 1, min: 5000, max: 5000, negat: 2, sum: "5000", p50: 5000, p100: 5000},
		"only negatives":                    {record: []int64{-1}, negat: 1, sum: "0"},
		"the greatest there is":             {record: []int64{math.MaxInt64, math.MaxInt64, second}, count: 3, min: second, max: math.MaxInt64, over: 2, sum: "18446744074709551614", p50: math.MaxInt64, p100: math.MaxInt64},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := latency.NewRecorder()
			for _, ns := range tt.record {
				r.Record(ns)
			}
			got := []int64{r.Count(), r.Min(), r.Max(), r.Overflow(), r.Negative(), r.Percentile(100)}
			want := []int64{tt.count, tt.min, tt.max, tt.over, tt.negat, tt.p100}
			if !slices.Equal(got, want) {
				t.Errorf("count, min, max, overflow, negative, p100 = %v, want %v", got, want)
			}
			if got := r.Sum().String(); got != tt.sum {
				t.Errorf("Sum() = %s, want %s", got, tt.sum)
			}
			if p50 := r.Percentile(50); p50 < r.Min() || p50 > r.Max() {
				t.Errorf("Percentile(50) = %d, outside of %d..%d", p50, r.Min(), r.Max())
			}
		})
	}
}

// The percentiles of a recorder are those of the sorted samples, within three digits.
func TestRecorderPercentilesAgainstSortedSamples(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 10, 1000, 20_000} {
		r := latency.NewRecorder()
		samples := make([]int64, n)
		for i := range samples {
			samples[i] = int64(math.Exp(random.Float64()*14 + 10)) // 22 us to 26 s
			r.Record(samples[i])
		}
		slices.Sort(samples)
		for _, p := range []float64{0, 1, 50, 90, 99, 99.9, 99.99, 100} {
			rank := min(max(int(p/100*float64(n)+0.5), 1), n)
			exact := samples[rank-1]
			got := r.Percentile(p)
			if got < exact-exact/1000-1024 || got > exact+exact/500+1024 {
				t.Errorf("n=%d: Percentile(%v) = %d, the sample is %d", n, p, got, exact)
			}
		}
		if got, want := r.Percentile(100), samples[n-1]; got != want {
			t.Errorf("n=%d: Percentile(100) = %d, want exactly %d", n, got, want)
		}
	}
}

func TestRecorderMean(t *testing.T) {
	r := latency.NewRecorder()
	if got := r.Mean(); got != 0 {
		t.Errorf("mean of nothing = %v", got)
	}
	r.RecordN(1_000_000, 3)
	r.RecordN(2_000_000, 1)
	r.RecordN(5, 0)
	r.RecordN(5, -1)
	if got := r.Mean(); got != 1_250_000 {
		t.Errorf("Mean() = %v, want 1250000", got)
	}
	if got := r.Count(); got != 4 {
		t.Errorf("Count() = %d, want 4", got)
	}
}

// A merge of parts is what one recorder of everything would be, bucket for bucket.
func TestRecorderMergeLosesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	whole := latency.NewRecorder()
	parts := []*latency.Recorder{nil}
	for i := range 5 {
		part := latency.NewRecorder()
		for range 1000 * i { // the first stays empty
			ns := random.Int64N(2*latency.Highest) - 1_000_000
			part.Record(ns)
			whole.Record(ns)
		}
		parts = append(parts, part)
	}
	before := parts[2].Count()
	merged, err := latency.Merged(parts...)
	if err != nil {
		t.Fatal(err)
	}
	assertEqual(t, merged, whole)
	if parts[2].Count() != before {
		t.Error("a part has changed")
	}
}

// HARNESS §6.1: histograms of other geometries merge "successfully" in the library and lose precision or counts.
func TestRecorderMergeRefusesAnotherGeometry(t *testing.T) {
	tests := map[string]*hdrhistogram.Histogram{
		"other lowest":  hdrhistogram.New(1, latency.Highest, latency.Digits),
		"other highest": hdrhistogram.New(latency.Lowest, latency.Highest-1, latency.Digits),
		"other digits":  hdrhistogram.New(latency.Lowest, latency.Highest, latency.Digits-1),
	}
	for name, h := range tests {
		t.Run(name, func(t *testing.T) {
			to := latency.NewRecorder()
			if err := to.Merge(latency.RecorderOf(h)); !errors.Is(err, latency.ErrGeometry) {
				t.Errorf("Merge: %v, want ErrGeometry", err)
			}
			e := latency.MustEncode(h)
			if _, err := latency.Decode(e); !errors.Is(err, latency.ErrGeometry) {
				t.Errorf("Decode: %v, want ErrGeometry", err)
			}
		})
	}
}

func TestRecorderCloneAndReset(t *testing.T) {
	r := latency.NewRecorder()
	r.Record(5_000_000)
	r.Record(-1)
	clone := r.Clone()
	r.Record(7_000_000)
	if clone.Count() != 1 || clone.Max() != 5_000_000 {
		t.Errorf("the clone shares counts: count %d, max %d", clone.Count(), clone.Max())
	}
	r.Reset()
	assertEqual(t, r, latency.NewRecorder())
}

func TestRecorderBucketsAndCountAtOrBelow(t *testing.T) {
	r := latency.NewRecorder()
	for _, ns := range []int64{1_000_000, 1_000_000, 3_000_000, 50_000_000_000} {
		r.Record(ns)
	}
	buckets := r.Buckets()
	if len(buckets) != 3 || buckets[0].Count != 2 {
		t.Fatalf("Buckets() = %+v", buckets)
	}
	for _, b := range buckets {
		if b.FromNS > b.ToNS {
			t.Errorf("bucket %+v", b)
		}
	}
	if got := r.CountAtOrBelow(3_000_000); got != 3 {
		t.Errorf("CountAtOrBelow(3ms) = %d, want 3", got)
	}
	if got := r.CountAtOrBelow(999_000); got != 0 {
		t.Errorf("CountAtOrBelow(999us) = %d, want 0", got)
	}
}

// The recorder stands in the receiving loop.
func TestRecordAllocatesNothing(t *testing.T) {
	r := latency.NewRecorder()
	for name, ns := range map[string]int64{"ordinary": 1_234_567, "overflow": 2 * latency.Highest, "negative": -3} {
		if got := testing.AllocsPerRun(1000, func() { r.Record(ns) }); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}

func TestEncodeRoundTrip(t *testing.T) {
	full := latency.NewRecorder()
	for ns := int64(1); ns < latency.Highest; ns += ns/700 + 1 {
		full.Record(ns)
	}
	clamped := latency.NewRecorder()
	clamped.Record(math.MaxInt64)
	clamped.Record(-5)
	clamped.RecordN(math.MaxInt64, 1<<20)
	tests := map[string]*latency.Recorder{
		"empty": latency.NewRecorder(), "every bucket": full, "overflow, negative and a wide sum": clamped,
	}
	for name, r := range tests {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if len(text) > 128<<10 {
				t.Errorf("%d bytes of JSON", len(text))
			}
			var back latency.Recorder
			if err := json.Unmarshal(text, &back); err != nil {
				t.Fatal(err)
			}
			assertEqual(t, &back, r)
		})
		t.Run(name+" packed", func(t *testing.T) {
			packed, err := r.Pack()
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(packed)
			if err != nil {
				t.Fatal(err)
			}
			var back latency.Packed
			if err := json.Unmarshal(text, &back); err != nil {
				t.Fatal(err)
			}
			unpacked, err := back.Recorder()
			if err != nil {
				t.Fatal(err)
			}
			assertEqual(t, unpacked, r)
			if packed.Count() != r.Count() {
				t.Errorf("Count() = %d, want %d", packed.Count(), r.Count())
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	r := latency.NewRecorder()
	r.RecordN(1_000_000, 10)
	good, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	wide := latency.MustEncode(hdrhistogram.New(1, math.MaxInt64, 5)) // 40 MB once decoded
	tests := map[string]struct {
		change func(*latency.Encoded)
		want   error
	}{
		"geometry beside it":      {func(e *latency.Encoded) { e.Digits = 2 }, latency.ErrGeometry},
		"geometry in it":          {func(e *latency.Encoded) { e.V2 = wide.V2 }, latency.ErrGeometry},
		"no base64":               {func(e *latency.Encoded) { e.V2 = "!" }, latency.ErrCorrupt},
		"empty":                   {func(e *latency.Encoded) { e.V2 = "" }, latency.ErrCorrupt},
		"cut":                     {func(e *latency.Encoded) { e.V2 = e.V2[:len(e.V2)/2/4*4] }, latency.ErrCorrupt},
		"too long":                {func(e *latency.Encoded) { e.V2 = string(make([]byte, 2<<20)) }, latency.ErrCorrupt},
		"count":                   {func(e *latency.Encoded) { e.Count++ }, latency.ErrCorrupt},
		"sum is no number":        {func(e *latency.Encoded) { e.SumNS = "1e9" }, latency.ErrCorrupt},
		"sum below zero":          {func(e *latency.Encoded) { e.SumNS = "-1" }, latency.ErrCorrupt},
		"sum beyond 128 bits":     {func(e *latency.Encoded) { e.SumNS = new(big.Int).Lsh(big.NewInt(1), 128).String() }, latency.ErrCorrupt},
		"more overflow than all":  {func(e *latency.Encoded) { e.Overflow = 11 }, latency.ErrCorrupt},
		"negative negative count": {func(e *latency.Encoded) { e.Negative = -1 }, latency.ErrCorrupt},
		"minimum above maximum":   {func(e *latency.Encoded) { e.MinNS = e.MaxNS + 1 }, latency.ErrCorrupt},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := good
			tt.change(&e)
			if _, err := latency.Decode(e); !errors.Is(err, tt.want) {
				t.Errorf("Decode: %v, want %v", err, tt.want)
			}
		})
	}
}

func assertEqual(t *testing.T, got, want *latency.Recorder) {
	t.Helper()
	g := []int64{got.Count(), got.Min(), got.Max(), got.Overflow(), got.Negative()}
	w := []int64{want.Count(), want.Min(), want.Max(), want.Overflow(), want.Negative()}
	if !slices.Equal(g, w) {
		t.Errorf("count, min, max, overflow, negative = %v, want %v", g, w)
	}
	if got.Sum().Cmp(want.Sum()) != 0 {
		t.Errorf("Sum() = %v, want %v", got.Sum(), want.Sum())
	}
	if !slices.Equal(got.Buckets(), want.Buckets()) {
		t.Error("the buckets differ")
	}
}
