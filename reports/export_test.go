package reports

import "math"

// Point2 is a point of a chart, for tests.
type Point2 = point

// MakePoint makes one.
func MakePoint(x, y float64) Point2 { return point{x, y} }

// XY are its coordinates.
func (p point) XY() (x, y float64) { return p.x, p.y }

// Y is its height.
func (p point) Y() float64 { return p.y }

// Thin is thin.
func Thin(points []Point2, n int) []Point2 { return thin(points, n) }

// ThinSeries is thinSeries.
func ThinSeries(points []Point2, n int) []Point2 { return thinSeries(points, n) }

// Curve is the x and y of a percentile curve.
var Curve = curve

// Gallery is a page of every kind of chart, with made-up figures.
func Gallery() ([]byte, error) {
	show := func(title, svg string) block { return block{Plot: &plot{Title: title, SVG: svg}} }
	heat := chart{
		label: "cells", x: timeAxis(0, 20), y: logAxis("ms", 1, 100, plain), bands: []band{{0, 5, "warm-up", "even"}, {5, 20, "measure", "measure"}},
		marks: []mark{{8, "gateway-kill", "fault"}, {8.2, "detected", ""}, {12, "recovered", ""}},
		cells: &cells{width: 1, edges: []float64{1, 2, 5, 10, 20, 50, 100}},
	}
	stack := chart{label: "stack", x: timeAxis(0, 19), y: linearAxis("cores", 2, plain), stacked: true, rules: []rule{{1.8, "2 CPUs"}}}
	for k, class := range []string{"s1", "s2", "s3"} {
		l := line{name: class, class: class}
		for i := range 20 {
			l.points = append(l.points, point{float64(i), 0.3 + 0.2*math.Sin(float64(i*(k+1))/5)})
		}
		stack.lines = append(stack.lines, l)
	}
	for i := range 20 {
		heat.cells.xs = append(heat.cells.xs, float64(i))
		col := make([]int64, 6)
		for j := range col {
			col[j] = int64(1000*math.Exp(-math.Abs(float64(j)-2-math.Sin(float64(i)/3)))) * int64(min(i, 1))
		}
		heat.cells.counts = append(heat.cells.counts, col)
	}
	m := matrix{label: "matrix", x: "bucket.num", y: "bucket.consumer_num", cols: []string{"8", "32", "128"}, rows: []string{"1", "2", "4"}}
	for j := range m.rows {
		var row []matrixCell
		for i := range m.cols {
			row = append(row, matrixCell{text: figure(20 + float64(i*j*7)), note: "± 3", level: float64(i*j) / 4, best: i*j == 0, title: "three runs"})
		}
		m.cells = append(m.cells, row)
	}
	m.cells[2][2] = matrixCell{}
	nan := math.NaN()
	forest := dots{
		label: "forest", x: logAxis("ratio new / base", 0.5, 2, plain), from: 0.95, to: 1.05, ref: 1,
		rows: []dotRow{
			{"delivery p99", "1.15 [1.09, 1.22]", "regressed", "bad", 1.09, 1.15, 1.22, "p = 0.008", [2]float64{}},
			{"CPU per delivery", "0.80 [0.71, 0.90]", "improved", "ok", 0.71, 0.80, 0.90, "", [2]float64{}},
			{"completion p99", "1.01 [0.98, 1.03]", "same", "quiet", 0.98, 1.01, 1.03, "", [2]float64{}},
			{"memory", "1.10 [0.4, 3]", "inconclusive", "warn", 0.4, 1.1, 3, "", [2]float64{}},
			{"lost", "no figure", "", "quiet", nan, nan, nan, "", [2]float64{}},
		},
	}
	sc := scatter{label: "scatter", x: linearAxis("us CPU per delivery", 10, plain), y: linearAxis("p99, ms", 100, plain), front: []point{{2, 60}, {4, 30}, {8, 20}}}
	for _, p := range sc.front {
		sc.points = append(sc.points, dot{x: p.x, y: p.y, name: "num=" + figure(p.x), class: "f1", xr: [2]float64{p.x - 1, p.x + 1}, yr: [2]float64{p.y - 5, p.y + 9}})
	}
	sc.points = append(sc.points, dot{x: 7, y: 80, name: "default", class: "quiet"})
	pc := parallel{label: "parallel", axes: []parallelAxis{
		{"bucket.num", []tick{{0, "8", false}, {1, "128", false}}},
		{"buff_chan_count", []tick{{0, "64", false}, {1, "1024", false}}},
		{"p99, ms", []tick{{0, "20", false}, {1, "90", false}}},
		{"CPU, us", []tick{{0, "4", false}, {1, "9", false}}},
	}}
	for i := range 12 {
		l := parallelLine{class: "quiet", title: "a setting"}
		if i > 9 {
			l.class = "s1"
		}
		for j := range pc.axes {
			l.at = append(l.at, 0.5+0.5*math.Sin(float64(i*(j+3))))
		}
		pc.lines = append(pc.lines, l)
	}
	budget := bars{label: "bars", title: "ms", show: figure, rows: []barRow{{"mean", []barPart{{"publish lag", "f5", 0.2}, {"bucket wait", "f1", 12}, {"fan-out", "f2", 8}, {"network", "f3", 15}}, "35.2 ms"}, {"floor", []barPart{{"fan-out", "f2", 4}}, "4 ms"}}}
	return sheet{Title: "gallery", Name: "Every kind of chart", Sections: []section{{"Charts", []block{
		show("Cells", heat.svg()), show("Stack", stack.svg()), show("Matrix", m.svg()), show("Forest", forest.svg()),
		show("Scatter", sc.svg()), show("Parallel", pc.svg()), show("Bars", budget.svg()),
	}}}}.html()
}

// UncoveredBand is the longest part of a band, from its start to its end, that those
// drawn after it leave free.
func UncoveredBand(b [2]float64, over [][2]float64) (from, to float64) {
	var after []band
	for _, o := range over {
		after = append(after, band{from: o[0], to: o[1]})
	}
	return uncovered(band{from: b[0], to: b[1]}, after)
}

// Halves parts the name of a row that is too long for one line.
func Halves(name string) (first, second string) { return halves(name) }
