package reports

import (
	"math"
	"strings"
)

// ribbon is filled between two lines of the same x. Where either has no value it is
// broken.
type ribbon struct {
	class   string // of fills: f1 to f8
	x       []float64
	low, up []float64
}

func (r ribbon) draw(v *canvas, atX, atY func(float64) float64) {
	flush := func(from, to int) {
		if to-from < 2 {
			return
		}
		var d strings.Builder
		for i := from; i < to; i++ {
			cmd := "L"
			if i == from {
				cmd = "M"
			}
			d.WriteString(cmd + px(atX(r.x[i])) + " " + px(atY(r.up[i])))
		}
		for i := to - 1; i >= from; i-- {
			d.WriteString("L" + px(atX(r.x[i])) + " " + px(atY(r.low[i])))
		}
		v.path("ribbon "+r.class, d.String()+"Z", "")
	}
	from := 0
	for i := range r.x {
		if math.IsNaN(r.low[i]) || math.IsNaN(r.up[i]) {
			flush(from, i)
			from = i + 1
		}
	}
	flush(from, len(r.x))
}

// ratioTicks are the places at which an axis of ratios may have a number, by how far
// it reaches. Between them and their reciprocals the same steps stand on both sides.
var ratioTicks = []struct {
	reach float64
	ticks []float64
}{
	{1.12, []float64{1.02, 1.05, 1.1}},
	{1.3, []float64{1.05, 1.1, 1.2}},
	{2.1, []float64{1.1, 1.25, 1.5, 2}},
	{11, []float64{1.5, 2, 3, 5, 10}},
	{math.Inf(1), []float64{2, 5, 10, 20, 50, 100}},
}

// ratioAxis is a logarithmic axis around 1 that holds the given ratios, as far as one
// hundredth and a hundred; the least that it spans is 10 % either way.
func ratioAxis(title string, ratios []float64) axis {
	lo, hi := 1/1.1, 1.1
	for _, r := range ratios {
		if r > 0 && !math.IsInf(r, 0) {
			lo, hi = math.Min(lo, r), math.Max(hi, r)
		}
	}
	lo, hi = math.Max(lo/1.02, 0.01), math.Min(hi*1.02, 100)
	a := axis{title: title, log: true, min: lo, max: hi}
	reach := math.Max(1/lo, hi)
	for _, t := range ratioTicks {
		if reach > t.reach {
			continue
		}
		a.ticks = append(a.ticks, tick{value: 1, text: "1"})
		for i, v := range t.ticks {
			a.ticks = append(a.ticks, tick{v, plain(v), i%2 == 0}, tick{1 / v, plain(roundTo(1/v, 2)), i%2 == 0})
		}
		break
	}
	kept := a.ticks[:0]
	for _, t := range a.ticks {
		if t.value >= lo*0.999 && t.value <= hi*1.001 {
			kept = append(kept, t)
		}
	}
	a.ticks = kept
	sortTicks(a.ticks)
	return a
}
