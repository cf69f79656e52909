package reports

import (
	"math"
	"strings"
	"unicode"
)

// dots are rows of a value with an interval on one common axis: a forest plot, or any
// ranking with its uncertainty.
type dots struct {
	label string
	x     axis
	// from and to shade what counts as no difference; ref is the line of "the same". NaN
	// leaves either out.
	from, to, ref float64
	rows          []dotRow
}

// dotRow is a row. Without an interval, lo and hi are NaN, and without a value all
// three are.
type dotRow struct {
	name  string
	text  string // written at the right: the figure in numbers
	word  string // the verdict, below or behind the text
	class string // ok, bad, warn, quiet or s1 to s8
	lo    float64
	mid   float64
	hi    float64
	title string
	// same shades what counts as no difference for this row alone; empty for none.
	same [2]float64
}

func (d dots) svg() string {
	row := 30.0
	fs := frames(0)
	name, text := 0.0, 0.0
	for _, r := range d.rows {
		name = max(name, nameWidth(r.name))
		text = max(text, textWidth(r.text), textWidth(r.word))
	}
	for i := range fs {
		f := &fs[i]
		f.left, f.right, f.top = min(name+12, f.width*0.32), min(text+14, f.width*0.34), 6
		each := row
		if f.narrow {
			each = row + 6
		}
		f.height = f.top + f.bottom + each*float64(len(d.rows))
	}
	return both(fs, d.label, func(v *canvas, f frame) { d.draw(v, f) })
}

func (d dots) draw(v *canvas, f frame) {
	right, bottom := f.width-f.right, f.height-f.bottom
	each := (bottom - f.top) / float64(max(len(d.rows), 1))
	x := func(value float64) float64 {
		return f.left + min(max(d.x.position(value), 0), 1)*(right-f.left)
	}
	if !math.IsNaN(d.from) && !math.IsNaN(d.to) {
		v.rect("band same", x(d.from), f.top, x(d.to)-x(d.from), bottom-f.top, "")
	}
	for i, r := range d.rows {
		if r.same[1] > r.same[0] {
			v.rect("band same", x(r.same[0]), f.top+float64(i)*each, x(r.same[1])-x(r.same[0]), each, "")
		}
	}
	d.x.drawHorizontal(v, f, x)
	if !math.IsNaN(d.ref) {
		v.vline("ref", x(d.ref), f.top, bottom)
	}
	for i, r := range d.rows {
		y := f.top + (float64(i)+0.5)*each
		d.drawName(v, r.name, f.left-10, y)
		if !math.IsNaN(r.lo) && !math.IsNaN(r.hi) {
			v.hline("interval "+r.class, x(r.lo), x(r.hi), y)
			for _, end := range []float64{r.lo, r.hi} {
				// An interval that leaves the axis has an open end.
				if p := d.x.position(end); p >= 0 && p <= 1 {
					v.vline("interval "+r.class, x(end), y-4, y+4)
				}
			}
		}
		if !math.IsNaN(r.mid) {
			v.circle("mid "+r.class, x(r.mid), y, 4.5, r.title)
		}
		if r.word == "" {
			v.text("rowname", "start", right+8, y+4, fit(r.text, f.right-8))
			continue
		}
		v.text("rowname", "start", right+8, y-2, fit(r.text, f.right-8))
		v.text("word "+r.class, "start", right+8, y+11, fit(r.word, f.right-8))
	}
}

// nameWidth is about how many pixels the name of a row takes: that of a setting is of digits
// and dots, or of capitals, and the mean letter that textWidth counts in is neither. The
// widths are those of DejaVu Sans, which is wider than what most systems have.
func nameWidth(s string) float64 {
	w := 0.0
	for _, r := range s {
		switch {
		case strings.ContainsRune(" ·.,:;ijl|'", r):
			w += 3.7
		case strings.ContainsRune("mwMW%", r):
			w += 11
		case unicode.IsUpper(r):
			w += 8
		default:
			w += 7.2
		}
	}
	return w
}

// drawName writes the name of a row to the left of x, below each other in two parts where it
// is too long for one line: a name that loses its end is that of its neighbour too.
func (d dots) drawName(v *canvas, name string, x, y float64) {
	room := x - 1
	if nameWidth(name) <= room {
		v.text("rowname", "end", x, y+4, name)
		return
	}
	first, second := halves(name)
	if second == "" {
		v.text("rowname", "end", x, y+4, fitName(first, room))
		return
	}
	v.text("rowname", "end", x, y-2, fitName(first, room))
	v.text("rowname", "end", x, y+11, fitName(second, room))
}

// fitName shortens a name to a width in pixels.
func fitName(name string, width float64) string {
	for n := len([]rune(name)); n > 2; n-- {
		if s := clip(name, n); nameWidth(s) <= width {
			return s
		}
	}
	return clip(name, 2)
}

// halves parts a name before the = or after the space that is nearest to its middle; second is
// empty when it has neither.
func halves(name string) (first, second string) {
	at, off := 0, len(name)
	for i := 1; i < len(name)-1; i++ {
		if away := max(i-len(name)/2, len(name)/2-i); (name[i] == '=' || name[i] == ' ') && away < off {
			at, off = i, away
		}
	}
	if at == 0 {
		return name, ""
	}
	return name[:at], strings.TrimSpace(name[at:])
}
