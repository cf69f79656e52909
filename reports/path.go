package reports

import (
	"math"
	"strconv"
)

// path writes the data of an SVG path as steps between points that were rounded to a
// tenth of a pixel first, which is a third of the length of absolute coordinates, and
// adds up no error.
type path struct {
	b      []byte
	x, y   int // tenths
	repeat bool
}

func tenths(v float64) int { return int(math.Round(v * 10)) }

// move begins a new line.
func (p *path) move(x, y float64) {
	p.x, p.y = tenths(x), tenths(y)
	p.b = append(p.b, 'M')
	p.number(p.x, false)
	p.number(p.y, true)
	p.repeat = false
}

// line goes on to a point.
func (p *path) line(x, y float64) {
	tx, ty := tenths(x), tenths(y)
	if !p.repeat {
		p.b = append(p.b, 'l')
	}
	p.number(tx-p.x, p.repeat)
	p.number(ty-p.y, true)
	p.x, p.y, p.repeat = tx, ty, true
}

// box draws a closed box of its own.
func (p *path) box(x0, y0, x1, y1 float64) {
	p.move(x0, y0)
	w, h := tenths(x1)-p.x, tenths(y1)-p.y
	for _, step := range []struct {
		command byte
		length  int
	}{{'h', w}, {'v', h}, {'h', -w}} {
		p.b = append(p.b, step.command)
		p.number(step.length, false)
	}
	p.b = append(p.b, 'z')
}

// number writes tenths, apart from the number before it if there is one.
func (p *path) number(n int, apart bool) {
	if n < 0 {
		p.b = append(p.b, '-')
		n = -n
	} else if apart {
		p.b = append(p.b, ' ')
	}
	whole, rest := n/10, n%10
	if whole > 0 || rest == 0 {
		p.b = strconv.AppendInt(p.b, int64(whole), 10)
	}
	if rest > 0 {
		p.b = append(p.b, '.', byte('0'+rest))
	}
}

func (p *path) String() string { return string(p.b) }
