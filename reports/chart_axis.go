package reports

import (
	"math"
	"strconv"
)

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

// linearAxis covers 0 to at least hi with round ticks. A length that does not begin
// at zero deceives, so there is no other linear axis.
func linearAxis(title string, hi float64, format func(float64) string) axis {
	if !(hi > 0) {
		hi = 1
	}
	step := roundStep(hi)
	a := axis{title: title, max: math.Ceil(hi/step-1e-9) * step}
	for i := 0; ; i++ {
		v := float64(i) * step
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
	if math.Abs(v) >= 1e4 && math.Abs(v) < 1e15 {
		return commas(int64(math.Round(v))) // 10,000 and not 1e+04
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

// drawVertical draws the vertical axis: a line across for each tick, and the title above.
func (a axis) drawVertical(v *canvas, f frame, y func(float64) float64) {
	for _, t := range a.ticks {
		if t.minor && f.narrow {
			continue
		}
		v.hline("grid", f.left, f.width-f.right, y(t.value))
		v.text("tick", "end", f.left-6, y(t.value)+3.5, t.text)
	}
	v.text("title", "start", 0, 10, a.title)
}

// drawHorizontal draws the horizontal axis with its title below.
func (a axis) drawHorizontal(v *canvas, f frame, x func(float64) float64) {
	right, bottom := f.width-f.right, f.height-f.bottom
	last := math.Inf(-1)
	for _, t := range a.ticks {
		if t.minor && f.narrow {
			continue
		}
		at, half := x(t.value), textWidth(t.text)/2
		v.vline("grid", at, f.top, bottom)
		anchor, from := "middle", at-half
		if at+half > f.width {
			anchor, from = "end", at-2*half
		}
		if from < last {
			continue // no room for its text
		}
		last = from + 2*half + 4
		v.text("tick", anchor, at, bottom+14, t.text)
	}
	v.hline("axis", f.left, right, bottom)
	v.text("title", "end", right, f.height-5, a.title)
}
