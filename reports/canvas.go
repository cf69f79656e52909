package reports

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// canvas writes SVG. Colours are left to the page's style sheet, by class, so that one
// drawing serves light, dark and paper; every text that it writes is escaped.
type canvas struct {
	b strings.Builder
}

// frame is the geometry of one form of a chart. Charts are drawn twice, for wide and
// for narrow screens, so that their text stays readable on both: a drawing that merely
// shrinks is unreadable at 400 px.
type frame struct {
	width, height            float64
	left, right, top, bottom float64
	narrow                   bool
}

// frames are the two forms, with the given heights.
func frames(height float64) [2]frame {
	return [2]frame{
		{width: 812, height: height, left: 48, right: 8, top: 22, bottom: 38},
		{width: 368, height: math.Round(height * 0.92), left: 42, right: 8, top: 22, bottom: 38, narrow: true},
	}
}

// both draws the two forms of a chart.
func both(fs [2]frame, label string, draw func(*canvas, frame)) string {
	var b strings.Builder
	for _, f := range fs {
		var c canvas
		draw(&c, f)
		class := "wide"
		if f.narrow {
			class = "narrow"
		}
		fmt.Fprintf(&b, `<svg class="%s" viewBox="0 0 %s %s" role="img" aria-label="%s" data-left="%s" data-right="%s" data-top="%s" data-bottom="%s">%s</svg>`,
			class, px(f.width), px(f.height), html.EscapeString(label), px(f.left), px(f.width-f.right), px(f.top), px(f.height-f.bottom), c.b.String())
	}
	return b.String()
}

// px writes a coordinate to a tenth of a pixel.
func px(v float64) string {
	s := fmt.Sprintf("%.1f", v)
	return strings.TrimSuffix(s, ".0")
}

// textWidth is roughly how wide a text of the charts' size is, in pixels.
func textWidth(s string) float64 { return 6.1 * float64(len([]rune(s))) }

// fit shortens a text to a width in pixels.
func fit(s string, width float64) string {
	if textWidth(s) <= width {
		return s
	}
	return clip(s, max(int(width/6.1), 2))
}

// text writes at (x, y); anchor is start, middle or end.
func (c *canvas) text(class, anchor string, x, y float64, s string) {
	if s == "" {
		return
	}
	at := ""
	if anchor != "start" {
		at = ` text-anchor="` + anchor + `"`
	}
	fmt.Fprintf(&c.b, `<text class="%s"%s x="%s" y="%s">%s</text>`, class, at, px(x), px(y), html.EscapeString(s))
}

// rect draws a box; title is what a pointer that rests on it is told, if anything.
func (c *canvas) rect(class string, x, y, w, h float64, title string) {
	fmt.Fprintf(&c.b, `<rect class="%s" x="%s" y="%s" width="%s" height="%s"`, class, px(x), px(y), px(math.Max(w, 0)), px(math.Max(h, 0)))
	c.end("rect", title)
}

// circle draws a dot.
func (c *canvas) circle(class string, x, y, r float64, title string) {
	fmt.Fprintf(&c.b, `<circle class="%s" cx="%s" cy="%s" r="%s"`, class, px(x), px(y), px(r))
	c.end("circle", title)
}

// path draws d, which is made of numbers alone.
func (c *canvas) path(class, d, title string) {
	fmt.Fprintf(&c.b, `<path class="%s" d="%s"`, class, d)
	c.end("path", title)
}

// hline and vline draw straight lines.
func (c *canvas) hline(class string, x0, x1, y float64) {
	c.path(class, "M"+px(x0)+" "+px(y)+"H"+px(x1), "")
}

func (c *canvas) vline(class string, x, y0, y1 float64) {
	c.path(class, "M"+px(x)+" "+px(y0)+"V"+px(y1), "")
}

func (c *canvas) end(element, title string) {
	if title == "" {
		c.b.WriteString("/>")
		return
	}
	fmt.Fprintf(&c.b, `><title>%s</title></%s>`, html.EscapeString(title), element)
}
