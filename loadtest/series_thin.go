package loadtest

import (
	"strings"

	"firetower/reports"
)

// thinned joins the points of a series, as many at a time as it takes to have at most n:
// to their mean, and to their largest where that is what the series shows. What was
// null is left out, and a point of nulls alone stays null.
func thinned(s *reports.Series, n int) {
	join := (len(s.T) + n - 1) / n
	if join < 2 {
		return
	}
	var t []float64
	for i := 0; i < len(s.T); i += join {
		t = append(t, s.T[i])
	}
	s.T = t
	for name, values := range s.Values {
		most := strings.HasSuffix(name, "longest")
		var out []*float64
		for i := 0; i < len(values); i += join {
			sum, known := 0.0, 0
			for _, v := range values[i:min(i+join, len(values))] {
				switch {
				case v == nil:
				case most:
					sum, known = max(sum, *v), 1
				default:
					sum += *v
					known++
				}
			}
			if known == 0 {
				out = append(out, nil)
				continue
			}
			out = append(out, pointer(roundTo(sum/float64(known), 6)))
		}
		s.Values[name] = out
	}
}
