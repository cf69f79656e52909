package reports

import (
	"fmt"
	"math"
	"strings"
)

// scatter puts points on two axes, and joins those of a front.
type scatter struct {
	label  string
	x, y   axis
	points []dot
	// front is joined by a line, in its order.
	front []point
}

// dot is a point with its name and, when known, how far it may be off.
type dot struct {
	x, y   float64
	name   string // written beside it, when there is room
	class  string // f1 to f8, or quiet
	title  string
	xr, yr [2]float64 // intervals, zero for none
	r      float64    // radius in pixels, 0 for the usual
}

func (s scatter) svg() string {
	return both(frames(340), s.label, func(v *canvas, f frame) {
		x := func(value float64) float64 { return f.left + s.x.position(value)*(f.width-f.left-f.right) }
		y := func(value float64) float64 {
			return f.height - f.bottom - s.y.position(value)*(f.height-f.top-f.bottom)
		}
		s.y.drawVertical(v, f, y)
		s.x.drawHorizontal(v, f, x)
		if len(s.front) > 1 {
			var d strings.Builder
			for i, p := range s.front {
				cmd := "L"
				if i == 0 {
					cmd = "M"
				}
				d.WriteString(cmd + px(x(p.x)) + " " + px(y(p.y)))
			}
			v.path("front", d.String(), "")
		}
		var taken [][4]float64
		for _, p := range s.points {
			r := p.r
			if r == 0 {
				r = 4.5
			}
			if p.xr[1] > p.xr[0] {
				v.hline("whisker", x(p.xr[0]), x(p.xr[1]), y(p.y))
			}
			if p.yr[1] > p.yr[0] {
				v.vline("whisker", x(p.x), y(p.yr[0]), y(p.yr[1]))
			}
			v.circle("dot "+p.class, x(p.x), y(p.y), r, p.title)
		}
		for _, p := range s.points {
			taken = place(v, f, taken, x(p.x), y(p.y), p.name)
		}
	})
}

// place writes the name of a point where no other name stands, in one of its four
// corners, so that no whisker crosses it, or not at all.
func place(v *canvas, f frame, taken [][4]float64, x, y float64, name string) [][4]float64 {
	if name == "" {
		return taken
	}
	w := textWidth(name)
	for _, try := range [][2]float64{{6, -6}, {-6 - w, -6}, {6, 15}, {-6 - w, 15}} {
		box := [4]float64{x + try[0], y + try[1] - 11, x + try[0] + w, y + try[1] + 2}
		if box[0] < 0 || box[2] > f.width || box[1] < 0 || box[3] > f.height-f.bottom {
			continue
		}
		free := true
		for _, o := range taken {
			if box[0] < o[2] && o[0] < box[2] && box[1] < o[3] && o[1] < box[3] {
				free = false
				break
			}
		}
		if free {
			v.text("pointname", "start", box[0], y+try[1], name)
			return append(taken, box)
		}
	}
	return taken
}

// parallel draws each of many settings as a line across one axis per key and figure.
type parallel struct {
	label string
	axes  []parallelAxis
	lines []parallelLine
}

// parallelAxis is one upright axis. Values are positions between 0 (bottom) and 1.
type parallelAxis struct {
	name  string
	ticks []tick // value is the position
}

// parallelLine has one position per axis; NaN breaks it.
type parallelLine struct {
	at    []float64
	class string // quiet, or s1 to s8; draw what matters last
	title string
}

// rowHeight is how far the axes of the narrow form stand from each other.
const rowHeight = 52

// svg draws the axes upright, side by side; on a narrow screen, where their labels would
// cover each other, lying down, one below the other.
func (p parallel) svg() string {
	fs := frames(300)
	fs[1].height = rowHeight * float64(len(p.axes))
	return both(fs, p.label, func(v *canvas, f frame) {
		f.left, f.right, f.top, f.bottom = 34, 34, 34, 10
		step := (f.width - f.left - f.right) / float64(max(len(p.axes)-1, 1))
		point := func(i int, at float64) (x, y float64) {
			return f.left + float64(i)*step, f.height - f.bottom - at*(f.height-f.top-f.bottom)
		}
		if f.narrow {
			f.left, f.right = 14, 14
			point = func(i int, at float64) (x, y float64) {
				return f.left + at*(f.width-f.left-f.right), rowHeight*float64(i) + 22
			}
		}
		for _, l := range p.lines {
			var d strings.Builder
			cmd := "M"
			for i, at := range l.at {
				if math.IsNaN(at) {
					cmd = "M"
					continue
				}
				x, y := point(i, at)
				fmt.Fprintf(&d, "%s%s %s", cmd, px(x), px(y))
				cmd = "L"
			}
			v.path("thread "+l.class, d.String(), l.title)
		}
		for i, a := range p.axes {
			on := func(at float64) (x, y float64) { return point(i, at) }
			if f.narrow {
				a.row(v, f, on)
			} else {
				p.column(v, f, i, step, on)
			}
		}
	})
}

// column draws an axis upright: the first one's labels to its right, the others' to their left.
func (p parallel) column(v *canvas, f frame, i int, step float64, point func(at float64) (x, y float64)) {
	a := p.axes[i]
	x, _ := point(0)
	v.vline("axis", x, f.top, f.height-f.bottom)
	anchor, at := "middle", x
	switch i {
	case 0:
		anchor, at = "start", 0
	case len(p.axes) - 1:
		anchor, at = "end", f.width
	}
	// Neighbours' names stand on two lines.
	v.text("title", anchor, at, 11+13*float64(i%2), fit(a.name, 2*step-8))
	for _, t := range a.ticks {
		side, tx := "end", x-5
		if i == 0 {
			side, tx = "start", x+5
		}
		_, y := point(t.value)
		v.text("tick halo", side, tx, y+3.5, t.text)
	}
}

// row draws an axis lying, its name above it and the labels below.
func (a parallelAxis) row(v *canvas, f frame, point func(at float64) (x, y float64)) {
	_, y := point(0)
	v.hline("axis", f.left, f.width-f.right, y)
	v.text("title halo", "start", 0, y-9, fit(a.name, f.width))
	for _, t := range a.ticks {
		anchor := "middle"
		tx, _ := point(t.value)
		switch t.value {
		case 0:
			anchor, tx = "start", 0
		case 1:
			anchor, tx = "end", f.width
		}
		v.text("tick halo", anchor, tx, y+14, t.text)
	}
}
