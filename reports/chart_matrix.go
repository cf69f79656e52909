package reports

import "strings"

// matrix is a grid of two categories with a number printed in each cell: the answers
// of a sweep over two keys.
type matrix struct {
	label      string
	x, y       string   // what columns and rows are
	cols, rows []string // their values
	cells      [][]matrixCell
}

// matrixCell is at cells[row][column].
type matrixCell struct {
	text  string // the number, empty for a cell that was not measured
	note  string // a smaller second line
	title string // what a pointer is told
	// level is the shade, 0 for none to 1 for the strongest.
	level float64
	// best frames the cell: it belongs to the set that is told as the best.
	best bool
	// interval is drawn at the foot of the cell, nil for none.
	interval *cellInterval
}

// cellInterval is a value with its bounds and what it is compared with, as positions
// between 0 and 1 on a scale that all cells share.
type cellInterval struct{ lo, mid, hi, ref float64 }

func (c cellInterval) draw(v *canvas, x, y, w float64, on string) {
	at := func(p float64) float64 { return x + min(max(p, 0), 1)*w }
	v.vline("incell tick1"+on, at(c.ref), y-4, y+4)
	v.hline("incell"+on, at(c.lo), at(c.hi), y)
	v.circle("incell dot1"+on, at(c.mid), y, 2.4, "")
}

func (m matrix) svg() string {
	row := 34.0
	for _, cells := range m.cells {
		for _, c := range cells {
			if c.interval != nil {
				row = 46
			}
		}
	}
	fs := frames(0)
	widest := 0.0
	for _, r := range m.rows {
		widest = max(widest, textWidth(r))
	}
	for i := range fs {
		fs[i].left = min(widest+12, fs[i].width*0.3)
		fs[i].top = 34
		fs[i].bottom = 8
		fs[i].height = fs[i].top + fs[i].bottom + row*float64(len(m.rows))
	}
	return both(fs, m.label, func(v *canvas, f frame) {
		w := (f.width - f.left - f.right) / float64(max(len(m.cols), 1))
		w = min(w, 150)
		v.text("title", "start", 0, 10, fit("across: "+m.x+", down: "+m.y, f.width))
		for i, name := range m.cols {
			v.text("tick", "middle", f.left+(float64(i)+0.5)*w, 27, fit(name, w-4))
		}
		for j, name := range m.rows {
			y := f.top + float64(j)*row
			v.text("tick", "end", f.left-6, y+row/2+4, fit(name, f.left-8))
			for i := range m.cols {
				if i < len(m.cells[j]) {
					m.cells[j][i].draw(v, f.left+float64(i)*w, y, w, row)
				}
			}
		}
	})
}

func (c matrixCell) draw(v *canvas, x, y, w, h float64) {
	shade, ink := "h0", "celltext"
	if c.text != "" {
		level := 1 + int(min(max(c.level, 0), 1)*(heatLevels-1)+0.5)
		shade = "h" + string(rune('0'+level))
		if level > heatLevels/2+1 {
			ink += " on"
		}
	}
	v.rect("matrix "+shade, x+1, y+1, w-2, h-2, c.title)
	if c.best {
		v.rect("best", x+2, y+2, w-4, h-4, "")
	}
	if c.interval != nil {
		c.interval.draw(v, x+10, y+h-8, w-20, strings.TrimPrefix(ink, "celltext"))
		h -= 10
	}
	at := y + h/2 + 4
	if c.note != "" {
		at = y + h/2 - 1
		v.text(ink+" small", "middle", x+w/2, y+h/2+11, fit(c.note, w-4))
	}
	v.text(ink, "middle", x+w/2, at, fit(c.text, w-4))
}
