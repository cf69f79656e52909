package reports_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"firetower/reports"
	"firetower/simulator/latency"
)

func TestGalleryOfCharts(t *testing.T) {
	t.Parallel()
	page, err := reports.Gallery()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "charts.golden.html", page)
}

// largest is largest-triangle-three-buckets as its author defines it (Steinarsson
// 2013, section 4.2), written for reading: the first and the last point are kept; the
// others are cut into n-2 buckets as equal as can be; of each bucket, in order, the
// point is kept that makes the largest triangle with the point kept before it and the
// mean of the next bucket.
func largest(in []reports.Point2, n int) []reports.Point2 {
	buckets := make([][]reports.Point2, 0, n)
	buckets = append(buckets, in[:1])
	size := float64(len(in)-2) / float64(n-2)
	for i := range n - 2 {
		buckets = append(buckets, in[int(float64(i)*size)+1:int(float64(i+1)*size)+1])
	}
	buckets = append(buckets, in[len(in)-1:])
	kept := []reports.Point2{in[0]}
	for i := 1; i < n-1; i++ {
		mx, my := 0.0, 0.0
		for _, p := range buckets[i+1] {
			x, y := p.XY()
			mx, my = mx+x/float64(len(buckets[i+1])), my+y/float64(len(buckets[i+1]))
		}
		ax, ay := kept[i-1].XY()
		var best reports.Point2
		most := -1.0
		for _, p := range buckets[i] {
			bx, by := p.XY()
			if area := math.Abs(ax*(by-my)+bx*(my-ay)+mx*(ay-by)) / 2; area > most*(1+1e-9) {
				best, most = p, area
			}
		}
		kept = append(kept, best)
	}
	return append(kept, in[len(in)-1])
}

func TestThinIsLargestTriangleThreeBuckets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ points, keep int }{{10, 3}, {11, 10}, {100, 7}, {1000, 200}, {5000, 400}} {
		t.Run(fmt.Sprintf("%d to %d", tt.points, tt.keep), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(7, uint64(tt.points)))
			in := make([]reports.Point2, 0, tt.points)
			for i := range tt.points {
				in = append(in, reports.MakePoint(float64(i), rng.ExpFloat64()))
			}
			got, want := reports.Thin(in, tt.keep), largest(in, tt.keep)
			if !slices.Equal(got, want) {
				t.Errorf("kept %v, want %v", got, want)
			}
		})
	}
}

// What is missing stays missing: a line that was drawn across would be made up.
func TestThinSeriesKeepsGaps(t *testing.T) {
	t.Parallel()
	var in []reports.Point2
	for i := range 3000 {
		y := math.Sin(float64(i) / 50)
		if i >= 1000 && i < 1500 || i == 2000 {
			y = math.NaN()
		}
		in = append(in, reports.MakePoint(float64(i), y))
	}
	out := reports.ThinSeries(in, 300)
	var gaps []float64
	for _, p := range out {
		if x, y := p.XY(); math.IsNaN(y) {
			gaps = append(gaps, x)
		}
	}
	if len(out) > 305 || !slices.Equal(gaps, []float64{1000, 2000}) {
		t.Errorf("%d points, gaps at %v", len(out), gaps)
	}
	for _, x := range []float64{0, 999, 1500, 1999, 2001, 2999} {
		if !slices.ContainsFunc(out, func(p reports.Point2) bool { at, _ := p.XY(); return at == x }) {
			t.Errorf("the end at %v is gone", x)
		}
	}
}

func TestThinKeepsEndsAndPeaks(t *testing.T) {
	t.Parallel()
	var in []reports.Point2
	for i := range 10_000 {
		y := 1.0
		if i == 7_777 {
			y = 500
		}
		in = append(in, reports.MakePoint(float64(i), y))
	}
	out := reports.Thin(in, 200)
	if len(out) != 200 || out[0] != in[0] || out[199] != in[9_999] {
		t.Errorf("%d points from %v to %v", len(out), out[0], out[len(out)-1])
	}
	peak := false
	for _, p := range out {
		peak = peak || p.Y() == 500
	}
	if !peak {
		t.Error("the one peak was thinned away")
	}
	if got := reports.Thin(in[:10], 200); len(got) != 10 {
		t.Errorf("10 points became %d", len(got))
	}
}

func TestCurveEndsWhereTheCountDoes(t *testing.T) {
	t.Parallel()
	rec := latency.NewRecorder()
	for i := range int64(400) {
		rec.Record((i + 1) * 1_000_000)
	}
	c := reports.Curve(rec)
	last := c[len(c)-1]
	// 400 values support p99 (368) and not p99.9 (3,688): 1/(1-p) ends shortly after 100.
	if x, y := last.XY(); x < 90 || x > 120 || y < 390 || y > 400 {
		t.Errorf("the curve ends at 1/(1-p) = %v, %v ms", x, y)
	}
	for i := 1; i < len(c); i++ {
		x0, y0 := c[i-1].XY()
		if x, y := c[i].XY(); x < x0 || y < y0 {
			t.Fatalf("the curve falls at point %d", i)
		}
	}
	if reports.Curve(nil) != nil {
		t.Error("nothing recorded has a curve")
	}
}

// The name of a band stands where it is seen: faults are drawn over the phase that they
// are in, and two names in one place cannot be read.
func TestBandNamesDoNotCover(t *testing.T) {
	measure := [2]float64{10, 50}
	for _, tc := range []struct {
		name     string
		over     [][2]float64
		from, to float64
	}{
		{"nothing over it", nil, 10, 50},
		{"a fault late", [][2]float64{{35, 45}}, 10, 35},
		{"a fault early, its recovery after it", [][2]float64{{16, 30}, {14, 16}}, 30, 50},
		{"two that overlap", [][2]float64{{12, 40}, {20, 30}}, 40, 50},
		{"over its end", [][2]float64{{40, 90}}, 10, 40},
		{"beside it", [][2]float64{{0, 10}, {50, 60}}, 10, 50},
		{"all of it", [][2]float64{{0, 60}}, 10, 10},
	} {
		if from, to := reports.UncoveredBand(measure, tc.over); from != tc.from || to != tc.to {
			t.Errorf("%s: seen from %v to %v, want %v to %v", tc.name, from, to, tc.from, tc.to)
		}
	}
}

// Names of settings differ at their ends: a long one is parted, and never cut where its
// value begins.
func TestLongRowNamesAreParted(t *testing.T) {
	for name, want := range map[string][2]string{
		"BuffChanCount=10000":   {"BuffChanCount", "=10000"},
		"Num=8 joinBytes=64KiB": {"Num=8", "joinBytes=64KiB"},
		"delivery p99":          {"delivery", "p99"},
		"throughput":            {"throughput", ""},
		"=":                     {"=", ""},
		"":                      {"", ""},
	} {
		if first, second := reports.Halves(name); first != want[0] || second != want[1] {
			t.Errorf("%q is parted into %q and %q, want %q", name, first, second, want)
		}
	}
}
