package reports

import (
	"cmp"
	"math"
	"slices"
)

// strips are rows of single values on one common axis, each with its median: what the
// runs of several sets were, one by one.
type strips struct {
	label string
	x     axis
	ref   float64 // a line across; NaN for none
	rows  []stripRow
}

// stripRow is a row. Values stand in the order of the runs, which is told to a pointer
// that rests on one.
type stripRow struct {
	name   string
	text   string // written at the right
	class  string // f1 to f8
	values []float64
	titles []string
	// gap parts the row from the one before it.
	gap bool
}

func (s strips) svg() string {
	fs := frames(0)
	name, text, height := 0.0, 0.0, 0.0
	for _, r := range s.rows {
		name, text = max(name, textWidth(r.name)), max(text, textWidth(r.text))
		height += r.height()
	}
	for i := range fs {
		f := &fs[i]
		f.left, f.right, f.top = min(1.1*name+12, f.width*0.36), min(1.1*text+14, f.width*0.3), 4
		f.height = f.top + f.bottom + height
	}
	return both(fs, s.label, func(v *canvas, f frame) { s.draw(v, f) })
}

func (r stripRow) height() float64 {
	if r.gap {
		return 32
	}
	return 22
}

func (s strips) draw(v *canvas, f frame) {
	right, bottom := f.width-f.right, f.height-f.bottom
	x := func(value float64) float64 {
		return f.left + min(max(s.x.position(value), 0), 1)*(right-f.left)
	}
	s.x.drawHorizontal(v, f, x)
	if !math.IsNaN(s.ref) {
		v.vline("ref", x(s.ref), f.top, bottom)
	}
	y := f.top
	for _, r := range s.rows {
		y += r.height()
		at := y - 11
		v.text("rowname", "end", f.left-10, at+4, fit(r.name, f.left-12))
		v.text("rowname", "start", right+8, at+4, fit(r.text, f.right-8))
		if m := Median(r.values); m != nil {
			v.vline("median", x(*m), at-8, at+8)
		}
		for i, value := range r.values {
			// Runs stand a little below each other, in their order, so that a drift is seen.
			down := 0.0
			if n := len(r.values); n > 1 {
				down = 8 * (float64(i)/float64(n-1) - 0.5)
			}
			title := ""
			if i < len(r.titles) {
				title = r.titles[i]
			}
			v.circle("run "+r.class, x(value), at+down, 3, title)
		}
	}
}

func sortTicks(ticks []tick) {
	slices.SortFunc(ticks, func(a, b tick) int { return cmp.Compare(a.value, b.value) })
}
