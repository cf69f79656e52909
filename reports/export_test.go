package reports

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

// Curve is the x and y of a percentile curve.
var Curve = curve
