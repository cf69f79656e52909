package reports

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// chart is a line chart, drawn as SVG with colours left to the page's style sheet.
// It is drawn twice, for wide and for narrow screens, so that its text stays
// readable on both: a drawing that merely shrinks becomes unreadable at 400 px.
type chart struct {
	label  string // what it shows, for those who cannot see it
	x, y   axis
	lines  []line
	bands  []band
	marks  []mark
	height int // of the wide form; 0 means 250
}

// axis maps values to positions.
type axis struct {
	title    string
	min, max float64
	log      bool
	ticks    []tick
	// at overrides the mapping of a value to a position between 0 and 1.
	at func(float64) float64
}

type tick struct {
	value float64
	text  string
	minor bool // left out where there is little room
}

// line is one series. Points with a NaN break it.
type line struct {
	name   string
	class  string // s1 to s5: colour and dashes
	points []point
	area   bool // filled down to the axis
	step   bool
}

type point struct{ x, y float64 }

// band shades a span of x; mark is a vertical line.
type band struct {
	from, to float64
	name     string
	class    string
}

type mark struct {
	x    float64
	name string
}

func (a axis) position(v float64) float64 {
	if a.at != nil {
		return a.at(v)
	}
	lo, hi := a.min, a.max
	if a.log {
		lo, hi, v = math.Log10(lo), math.Log10(hi), math.Log10(math.Max(v, a.min))
	}
	if hi <= lo {
		return 0
	}
	return (v - lo) / (hi - lo)
}

// linearAxis covers lo to at least hi with round ticks.
func linearAxis(title string, lo, hi float64, format func(float64) string) axis {
	if !(hi > lo) {
		hi = lo + 1
	}
	step := roundStep(hi - lo)
	a := axis{title: title, min: lo, max: lo + math.Ceil((hi-lo)/step-1e-9)*step}
	for i := 0; ; i++ {
		v := lo + float64(i)*step
		if v > a.max+step/1e6 {
			break
		}
		a.ticks = append(a.ticks, tick{value: v, text: format(v), minor: i%2 == 1})
	}
	return a
}

// roundStep is the distance of four to five ticks over a span.
func roundStep(span float64) float64 {
	step := math.Pow(10, math.Floor(math.Log10(span/4)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if span/(step*m) <= 5 {
			return step * m
		}
	}
	return step * 10
}

// timeAxis covers exactly lo to hi seconds, with ticks at round seconds.
func timeAxis(lo, hi float64) axis {
	a := axis{title: "seconds from the start", min: lo, max: hi}
	step := roundStep(math.Max(hi-lo, 1e-3))
	for i, v := 0, math.Ceil(lo/step-1e-9)*step; v <= hi; i, v = i+1, v+step {
		a.ticks = append(a.ticks, tick{value: v, text: plain(v), minor: i%2 == 1})
	}
	return a
}

// plain writes a tick's value without needless digits.
func plain(v float64) string {
	if v == 0 {
		return "0" // and not -0, which rounding up gives
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// logAxis covers lo to hi in decades, with 2 and 5 as minor ticks.
func logAxis(title string, lo, hi float64, format func(float64) string) axis {
	lo = math.Max(lo, 1e-3)
	hi = math.Max(hi, lo*2)
	a := axis{title: title, log: true, min: floorTo125(lo), max: ceilTo125(hi)}
	for e := math.Floor(math.Log10(a.min)); e <= math.Ceil(math.Log10(a.max)); e++ {
		for _, m := range []float64{1, 2, 5} {
			v := m * math.Pow(10, e)
			if v >= a.min*0.999 && v <= a.max*1.001 {
				a.ticks = append(a.ticks, tick{value: v, text: format(v), minor: m != 1})
			}
		}
	}
	// Within less than two decades, every tick is needed.
	if a.max/a.min < 100 {
		for i := range a.ticks {
			a.ticks[i].minor = false
		}
	}
	return a
}

func floorTo125(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{5, 2} {
		if v >= m*p {
			return m * p
		}
	}
	return p
}

func ceilTo125(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*p {
			return m * p
		}
	}
	return 10 * p
}

// frame is the geometry of one form of a chart.
type frame struct {
	width, height            int
	left, right, top, bottom float64
	minor                    bool // draw minor ticks
	class                    string
}

// svg draws both forms.
func (c chart) svg() string {
	h := c.height
	if h == 0 {
		h = 250
	}
	wide := frame{width: 812, height: h, left: 48, right: 6, top: 20, bottom: 38, minor: true, class: "wide"}
	narrow := frame{width: 368, height: h * 9 / 10, left: 40, right: 6, top: 20, bottom: 38, class: "narrow"}
	return c.draw(wide) + c.draw(narrow)
}

func (c chart) draw(f frame) string {
	var b strings.Builder
	px := func(v float64) float64 {
		return f.left + c.x.position(v)*(float64(f.width)-f.left-f.right)
	}
	py := func(v float64) float64 {
		p := math.Min(math.Max(c.y.position(v), 0), 1)
		return float64(f.height) - f.bottom - p*(float64(f.height)-f.top-f.bottom)
	}
	right, bottom := float64(f.width)-f.right, float64(f.height)-f.bottom
	fmt.Fprintf(&b, `<svg class="%s" viewBox="0 0 %d %d" role="img" aria-label="%s">`, f.class, f.width, f.height, html.EscapeString(c.label))
	for _, band := range c.bands {
		x0, x1 := math.Max(px(band.from), f.left), math.Min(px(band.to), right)
		if x1 <= x0 {
			continue
		}
		fmt.Fprintf(&b, `<rect class="band %s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, band.class, x0, f.top, x1-x0, bottom-f.top)
		if x1-x0 > 7*float64(len(band.name)) {
			fmt.Fprintf(&b, `<text class="bandname" x="%.1f" y="%.1f">%s</text>`, x0+5, f.top+12, html.EscapeString(band.name))
		}
	}
	for _, t := range c.y.ticks {
		if t.minor && !f.minor {
			continue
		}
		y := py(t.value)
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %.1fH%.1f"/><text class="tick" text-anchor="end" x="%.1f" y="%.1f">%s</text>`, f.left, y, right, f.left-6, y+3.5, html.EscapeString(t.text))
	}
	for _, t := range c.x.ticks {
		if t.minor && !f.minor {
			continue
		}
		x := px(t.value)
		anchor := "middle"
		if x > right-12 {
			anchor = "end"
		}
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %.1fV%.1f"/><text class="tick" text-anchor="%s" x="%.1f" y="%.1f">%s</text>`, x, f.top, bottom, anchor, x, bottom+14, html.EscapeString(t.text))
	}
	fmt.Fprintf(&b, `<path class="axis" d="M%.1f %.1fH%.1f"/>`, f.left, bottom, right)
	fmt.Fprintf(&b, `<text class="title" text-anchor="end" x="%.1f" y="%.1f">%s</text>`, right, float64(f.height)-5, html.EscapeString(c.x.title))
	fmt.Fprintf(&b, `<text class="title" x="0" y="10">%s</text>`, html.EscapeString(c.y.title))
	for _, l := range c.lines {
		drawLine(&b, l, px, py, bottom)
	}
	for _, m := range c.marks {
		x := px(m.x)
		if x < f.left || x > right {
			continue
		}
		fmt.Fprintf(&b, `<path class="mark" d="M%.1f %.1fV%.1f"/><text class="markname" x="%.1f" y="%.1f">%s</text>`, x, f.top, bottom, x+4, f.top+26, html.EscapeString(m.name))
	}
	b.WriteString("</svg>")
	return b.String()
}

// drawLine draws a series; what a gap leaves as a single point becomes a dot.
func drawLine(b *strings.Builder, l line, px, py func(float64) float64, bottom float64) {
	flush := func(run []point) {
		if len(run) == 0 {
			return
		}
		if len(run) == 1 {
			fmt.Fprintf(b, `<circle class="dot %s" cx="%.1f" cy="%.1f" r="2.5"/>`, l.class, px(run[0].x), py(run[0].y))
			return
		}
		var d strings.Builder
		for i, p := range run {
			x, y := px(p.x), py(p.y)
			switch {
			case i == 0:
				fmt.Fprintf(&d, "M%.1f %.1f", x, y)
			case l.step:
				fmt.Fprintf(&d, "H%.1fV%.1f", x, y)
			default:
				fmt.Fprintf(&d, "L%.1f %.1f", x, y)
			}
		}
		if l.area {
			fmt.Fprintf(b, `<path class="area %s" d="%sV%.1fH%.1fZ"/>`, l.class, d.String(), bottom, px(run[0].x))
		}
		fmt.Fprintf(b, `<path class="line %s" d="%s"/>`, l.class, d.String())
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

// thin reduces a series to at most n points by largest-triangle-three-buckets
// (Steinarsson 2013), which keeps the peaks that an average would flatten.
func thin(points []point, n int) []point {
	if len(points) <= n || n < 3 {
		return points
	}
	out := make([]point, 0, n)
	out = append(out, points[0])
	size := float64(len(points)-2) / float64(n-2)
	last := 0
	for i := range n - 2 {
		from, to := 1+int(float64(i)*size), 1+int(float64(i+1)*size)
		nextTo := min(1+int(float64(i+2)*size), len(points))
		var ax, ay float64
		for _, p := range points[to:nextTo] {
			ax += p.x
			ay += p.y
		}
		ax /= float64(nextTo - to)
		ay /= float64(nextTo - to)
		best, bestArea := from, -1.0
		for j := from; j < to; j++ {
			area := math.Abs((points[last].x-ax)*(points[j].y-points[last].y) - (points[last].x-points[j].x)*(ay-points[last].y))
			if area > bestArea {
				best, bestArea = j, area
			}
		}
		out = append(out, points[best])
		last = best
	}
	return append(out, points[len(points)-1])
}
