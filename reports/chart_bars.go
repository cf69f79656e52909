package reports

// bars are horizontal bars, each stacked of parts: where a whole goes.
type bars struct {
	label string
	title string // of the axis, with the unit
	rows  []barRow
	show  func(float64) string
}

type barRow struct {
	name  string
	parts []barPart
	total string // written behind the bar
}

type barPart struct {
	name  string
	class string // f1 to f8
	value float64
}

func (b bars) svg() string {
	const row = 34.0
	fs := frames(0)
	widest, behind, hi := 0.0, 0.0, 0.0
	for _, r := range b.rows {
		widest, behind = max(widest, 1.2*textWidth(r.name)), max(behind, 1.2*textWidth(r.total))
		sum := 0.0
		for _, p := range r.parts {
			sum += max(p.value, 0)
		}
		hi = max(hi, sum)
	}
	for i := range fs {
		fs[i].left = min(widest+10, fs[i].width*0.35)
		fs[i].right = behind + 10
		fs[i].top = 4
		fs[i].height = fs[i].top + fs[i].bottom + row*float64(len(b.rows))
	}
	scale := linearAxis(b.title, hi, plain)
	scale.max = max(hi, 1e-9) // the bars use the whole width
	return both(fs, b.label, func(v *canvas, f frame) {
		x := func(value float64) float64 { return f.left + scale.position(value)*(f.width-f.left-f.right) }
		a := scale
		a.ticks = nil
		for _, t := range scale.ticks {
			if t.value <= hi {
				a.ticks = append(a.ticks, t)
			}
		}
		a.drawHorizontal(v, f, x)
		for i, r := range b.rows {
			y := f.top + float64(i)*row
			v.text("rowname", "end", f.left-8, y+row/2+4, fit(r.name, f.left-8))
			at := 0.0
			for _, p := range r.parts {
				if p.value <= 0 {
					continue
				}
				x0, x1 := x(at), x(at+p.value)
				at += p.value
				v.rect("part "+p.class, x0, y+5, max(x1-x0, 0.5), row-10, p.name+": "+b.show(p.value))
				if x1-x0 > textWidth(p.name)+8 {
					v.text("parttext", "middle", (x0+x1)/2, y+row/2+4, p.name)
				}
			}
			v.text("rowname", "start", x(at)+6, y+row/2+4, r.total)
		}
	})
}
