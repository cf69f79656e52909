package reports

import (
	"math"
	"strings"
)

// chart has a horizontal and a vertical axis, and any of: lines, stacked areas, cells
// of a heat map, bands, marks at moments and rules at values.
type chart struct {
	label  string // what it shows, for those who cannot see it
	x, y   axis
	lines  []line
	bands  []band
	marks  []mark
	rules  []rule
	cells  *cells
	height float64 // of the wide form; 0 means 250
	// stacked adds each line to those before it, and fills between them. All lines must
	// have the same x.
	stacked bool
	// cursor names the charts of a page that share a cursor, empty for none.
	cursor string
}

// line is one series. Points with a NaN break it.
type line struct {
	name   string
	class  string // s1 to s8: colour and dashes
	points []point
	area   bool // filled down to the axis
	dots   bool // every point is marked
	step   bool
}

type point struct{ x, y float64 }

// band shades a span of x; mark is a vertical line at a moment, rule a horizontal one
// at a value.
type band struct {
	from, to float64
	name     string
	class    string
}

type mark struct {
	x     float64
	name  string
	class string // fault, or empty for a quiet one
}

type rule struct {
	y    float64
	name string
}

// cells are the counts of a heat map. Column i spans xs[i] to xs[i]+width, row j
// edges[j] to edges[j+1].
type cells struct {
	xs     []float64
	width  float64
	edges  []float64
	counts [][]int64
}

// heatLevels is how many shades a heat map has; they are the classes h1 to h9.
const heatLevels = 9

// heatLevel is the shade of a count by its logarithm, 0 for none.
func heatLevel(count, most int64) int {
	if count <= 0 {
		return 0
	}
	if most <= 1 {
		return heatLevels
	}
	l := 1 + int(math.Log(float64(count))/math.Log(float64(most))*(heatLevels-1)+0.5)
	return min(l, heatLevels)
}

// svg draws both forms.
func (c chart) svg() string {
	h := c.height
	if h == 0 {
		h = 250
	}
	return both(frames(h), c.label, c.draw)
}

func (c chart) draw(v *canvas, f frame) {
	x := func(value float64) float64 { return f.left + c.x.position(value)*(f.width-f.left-f.right) }
	y := func(value float64) float64 {
		p := math.Min(math.Max(c.y.position(value), 0), 1)
		return f.height - f.bottom - p*(f.height-f.top-f.bottom)
	}
	right, bottom := f.width-f.right, f.height-f.bottom
	c.drawBands(v, f, x)
	c.y.drawVertical(v, f, y)
	c.x.drawHorizontal(v, f, x)
	c.drawCells(v, f, x, y)
	if c.stacked {
		c.drawStack(v, x, y, bottom)
	} else {
		for _, l := range c.lines {
			l.draw(v, x, y, bottom)
		}
	}
	for _, r := range c.rules {
		if p := c.y.position(r.y); p < 0 || p > 1 {
			continue
		}
		v.hline("rule", f.left, right, y(r.y))
		v.text("rulename", "end", right-4, y(r.y)-4, r.name)
	}
	c.drawMarks(v, f, x)
}

func (c chart) drawBands(v *canvas, f frame, x func(float64) float64) {
	right, bottom := f.width-f.right, f.height-f.bottom
	for _, band := range c.bands {
		x0, x1 := math.Max(x(band.from), f.left), math.Min(x(band.to), right)
		if x1 <= x0 {
			continue
		}
		if c.cells == nil {
			v.rect("band "+band.class, x0, f.top, x1-x0, bottom-f.top, "")
		}
		if x0 > f.left+1 {
			v.vline("edge", x0, f.top-6, bottom)
		}
		// The names stand above the plot, where no line crosses them.
		if x1-x0 > textWidth(band.name)+8 {
			v.text("bandname", "middle", (x0+x1)/2, f.top-5, band.name)
		}
	}
}

func (c chart) drawMarks(v *canvas, f frame, x func(float64) float64) {
	right, bottom := f.width-f.right, f.height-f.bottom
	// Names of near marks stand below each other.
	var ends []float64
	for _, m := range c.marks {
		at := x(m.x)
		if at < f.left-0.5 || at > right+0.5 {
			continue
		}
		v.vline("mark "+m.class, at, f.top, bottom)
		width := textWidth(m.name) + 8
		anchor, from := "start", at+4
		if at+width > right {
			anchor, from = "end", at-width
		}
		row := 0
		for row < len(ends) && ends[row] > from {
			row++
		}
		if row == len(ends) {
			ends = append(ends, 0)
		}
		ends[row] = from + width
		tx := at + 4
		if anchor == "end" {
			tx = at - 4
		}
		v.text("markname "+m.class, anchor, tx, f.top+12+float64(row)*13, m.name)
	}
}

// drawCells draws one path per shade, which keeps a map of many thousands of cells
// small.
func (c chart) drawCells(v *canvas, f frame, x, y func(float64) float64) {
	if c.cells == nil {
		return
	}
	var most int64
	for _, col := range c.cells.counts {
		for _, n := range col {
			most = max(most, n)
		}
	}
	var shades [heatLevels + 1]strings.Builder
	for i, col := range c.cells.counts {
		x0, x1 := x(c.cells.xs[i]), x(c.cells.xs[i]+c.cells.width)
		x0, x1 = math.Max(x0, f.left), math.Min(x1, f.width-f.right)
		for j, n := range col {
			level := heatLevel(n, most)
			if level == 0 || x1 <= x0 {
				continue
			}
			y1, y0 := y(c.cells.edges[j]), y(c.cells.edges[j+1])
			b := &shades[level]
			b.WriteString("M" + px(x0) + " " + px(y0) + "H" + px(x1) + "V" + px(y1) + "H" + px(x0) + "Z")
		}
	}
	for level := 1; level <= heatLevels; level++ {
		if shades[level].Len() > 0 {
			v.path("cell h"+string(rune('0'+level)), shades[level].String(), "")
		}
	}
}

// drawStack fills between the running sums of the lines.
func (c chart) drawStack(v *canvas, x, y func(float64) float64, bottom float64) {
	var below []float64
	for _, l := range c.lines {
		if len(l.points) == 0 {
			continue
		}
		if below == nil {
			below = make([]float64, len(l.points))
		}
		var upper, lower strings.Builder
		for i, p := range l.points {
			if math.IsNaN(p.y) {
				p.y = 0
			}
			cmd := "L"
			if i == 0 {
				cmd = "M"
			}
			upper.WriteString(cmd + px(x(p.x)) + " " + px(y(below[i]+p.y)))
		}
		for i := len(l.points) - 1; i >= 0; i-- {
			at := y(below[i])
			if below[i] == 0 {
				at = bottom
			}
			lower.WriteString("L" + px(x(l.points[i].x)) + " " + px(at))
			if !math.IsNaN(l.points[i].y) {
				below[i] += l.points[i].y
			}
		}
		v.path("fill "+fillOf(l.class), upper.String()+lower.String()+"Z", "")
		v.path("line solid "+l.class, upper.String(), "")
	}
}

// fillOf is the class that fills with the colour of a line's class.
func fillOf(class string) string { return strings.Replace(class, "s", "f", 1) }

// draw draws a series; what a gap leaves as a single point becomes a dot.
func (l line) draw(v *canvas, atX, atY func(float64) float64, bottom float64) {
	flush := func(run []point) {
		if len(run) == 0 {
			return
		}
		if len(run) == 1 {
			v.circle("dot "+fillOf(l.class), atX(run[0].x), atY(run[0].y), 2.5, "")
			return
		}
		var d strings.Builder
		for i, p := range run {
			x, y := px(atX(p.x)), px(atY(p.y))
			switch {
			case i == 0:
				d.WriteString("M" + x + " " + y)
			case l.step:
				d.WriteString("H" + x + "V" + y)
			default:
				d.WriteString("L" + x + " " + y)
			}
			if l.dots {
				v.circle("dot "+fillOf(l.class), atX(p.x), atY(p.y), 2.5, "")
			}
		}
		if l.area {
			v.path("area "+fillOf(l.class), d.String()+"V"+px(bottom)+"H"+px(atX(run[0].x))+"Z", "")
		}
		v.path("line "+l.class, d.String(), "")
	}
	var run []point
	for _, p := range l.points {
		if math.IsNaN(p.y) || math.IsInf(p.y, 0) {
			flush(run)
			run = run[:0]
			continue
		}
		run = append(run, p)
	}
	flush(run)
}
