package reports

import (
	"math"
	"slices"
)

// thin reduces a series without gaps to at most n points by
// largest-triangle-three-buckets (Steinarsson 2013), which keeps the peaks that an
// average would flatten.
func thin(points []point, n int) []point {
	if len(points) <= n || n < 3 {
		return points
	}
	kept := thinIndices(points, n)
	out := make([]point, len(kept))
	for i, at := range kept {
		out[i] = points[at]
	}
	return out
}

// thinSeries thins a series with gaps: each unbroken run by its share of n, at least
// three points, with one NaN between two runs.
func thinSeries(points []point, n int) []point {
	if len(points) <= n {
		return points
	}
	var out []point
	gap := func(p point) bool { return math.IsNaN(p.y) }
	for rest := points; len(rest) > 0; {
		end := slices.IndexFunc(rest, gap)
		if end < 0 {
			end = len(rest)
		}
		if end > 0 {
			out = append(out, thin(rest[:end], max(n*end/len(points), 3))...)
			rest = rest[end:]
			continue
		}
		next := slices.IndexFunc(rest, func(p point) bool { return !gap(p) })
		if next < 0 {
			break
		}
		out = append(out, rest[0])
		rest = rest[next:]
	}
	return out
}

// thinIndices are the places of the points that thin keeps.
func thinIndices(points []point, n int) []int {
	out := make([]int, 0, n)
	out = append(out, 0)
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
		out = append(out, best)
		last = best
	}
	return append(out, len(points)-1)
}
