package reports_test

import (
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
