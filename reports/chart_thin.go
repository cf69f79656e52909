package reports

import "math"

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
