package reports

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// chart has a horizontal and a vertical axis, and any of: lines, stacked areas, cells
// of a heat map, bands, marks at moments and rules at values.
type chart struct {
	label string // what it shows, for those who cannot see it
	x, y  axis
	lines []line
	bands []band
	marks []mark
	rules []rule
	cells *cells
	// ribbons are filled between two lines; zone shades a span of y. Both lie below the lines.
	ribbons []ribbon
	zone    *[2]float64
	height  float64 // of the wide form; 0 means 250
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
	if c.zone != nil {
		v.rect("band same", f.left, y(c.zone[1]), right-f.left, y(c.zone[0])-y(c.zone[1]), "")
	}
	c.y.drawVertical(v, f, y)
	c.x.drawHorizontal(v, f, x)
	c.drawCells(v, f, x, y)
	for _, r := range c.ribbons {
		r.draw(v, x, y)
	}
	// A narrow screen has half the pixels.
	lines, n := c.lines, len(c.lines)
	if c.stacked {
		if f.narrow {
			lines = together(lines, maxDrawn/2)
		}
		c.drawStack(v, lines, x, y, bottom)
		n = 0
	}
	for _, l := range lines[:n] {
		if f.narrow {
			l.points = thinSeries(l.points, maxDrawn/2)
		}
		l.draw(v, x, y, bottom)
	}
	for _, r := range c.rules {
		if p := c.y.position(r.y); p < 0 || p > 1 {
			continue
		}
		v.hline("rule", f.left, right, y(r.y))
		at := y(r.y) - 4
		if at < f.top+8 {
			at += 16 // above are the names of the phases
		}
		v.text("rulename", "end", right-4, at, r.name)
	}
	c.drawMarks(v, f, x)
}

func (c chart) drawBands(v *canvas, f frame, x func(float64) float64) {
	right, bottom := f.width-f.right, f.height-f.bottom
	for i, band := range c.bands {
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
		// The names stand above the plot, where no line crosses them, and above what is seen of
		// the band: a fault lies within the phase that it is in.
		from, to := uncovered(band, c.bands[i+1:])
		x0, x1 = math.Max(x(from), f.left), math.Min(x(to), right)
		if x1-x0 > textWidth(band.name)+8 {
			v.text("bandname", "middle", (x0+x1)/2, f.top-5, band.name)
		}
	}
}

// uncovered is the longest part of a band that none of those drawn after it covers;
// from and to are the same when nothing is left.
func uncovered(b band, over []band) (from, to float64) {
	over = slices.Clone(over)
	slices.SortFunc(over, func(p, q band) int { return cmp.Compare(p.from, q.from) })
	longest := func(a, z float64) {
		if z-a > to-from {
			from, to = a, z
		}
	}
	from, to = b.from, b.from
	begin := b.from
	for _, o := range over {
		longest(begin, math.Min(o.from, b.to))
		begin = math.Max(begin, o.to)
	}
	longest(begin, b.to)
	return from, to
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
// small; neighbours of one shade are one box.
func (c chart) drawCells(v *canvas, f frame, x, y func(float64) float64) {
	if c.cells == nil {
		return
	}
	m := c.cells
	if f.narrow {
		m = m.halved()
	}
	var most int64
	for _, col := range m.counts {
		for _, n := range col {
			most = max(most, n)
		}
	}
	var shades [heatLevels + 1]path
	for j := range len(m.edges) - 1 {
		y0, y1 := y(m.edges[j+1]), y(m.edges[j])
		for i := 0; i < len(m.xs); {
			level, from := heatLevel(m.counts[i][j], most), i
			for i < len(m.xs) && heatLevel(m.counts[i][j], most) == level {
				i++
			}
			x0 := math.Max(x(m.xs[from]), f.left)
			x1 := math.Min(x(m.xs[i-1]+m.width), f.width-f.right)
			if level > 0 && x1 > x0 {
				shades[level].box(x0, y0, x1, y1)
			}
		}
	}
	for level := 1; level <= heatLevels; level++ {
		if len(shades[level].b) > 0 {
			v.path("cell h"+string(rune('0'+level)), shades[level].String(), "")
		}
	}
}

// halved joins pairs of columns, when there are too many for a narrow screen.
func (c *cells) halved() *cells {
	if len(c.xs) < 100 {
		return c
	}
	out := &cells{width: 2 * c.width, edges: c.edges}
	for i, col := range c.counts {
		if i%2 == 0 {
			out.xs = append(out.xs, c.xs[i])
			out.counts = append(out.counts, slices.Clone(col))
			continue
		}
		for j, n := range col {
			out.counts[i/2][j] += n
		}
	}
	return out
}

// drawStack fills between the running sums of the lines.
func (c chart) drawStack(v *canvas, lines []line, x, y func(float64) float64, bottom float64) {
	var below []float64
	for _, l := range lines {
		if len(l.points) == 0 {
			continue
		}
		if below == nil {
			below = make([]float64, len(l.points))
		}
		height := func(i int) float64 {
			if v := l.points[i].y; !math.IsNaN(v) {
				return v
			}
			return 0
		}
		var d path
		d.move(x(l.points[0].x), y(below[0]+height(0)))
		for i := 1; i < len(l.points); i++ {
			d.line(x(l.points[i].x), y(below[i]+height(i)))
		}
		for i := len(l.points) - 1; i >= 0; i-- {
			at := y(below[i])
			if below[i] == 0 {
				at = bottom
			}
			d.line(x(l.points[i].x), at)
			below[i] += height(i)
		}
		v.path("fill "+l.class+" "+fillOf(l.class), d.String()+"z", "")
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
		var d path
		for i, p := range run {
			if i == 0 {
				d.move(atX(p.x), atY(p.y))
			} else {
				d.line(atX(p.x), atY(p.y))
			}
			if l.dots {
				v.circle("dot "+fillOf(l.class), atX(p.x), atY(p.y), 2.5, "")
			}
		}
		if l.area {
			v.path("area "+fillOf(l.class), d.String()+"V"+px(bottom)+"H"+px(atX(run[0].x))+"z", "")
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
