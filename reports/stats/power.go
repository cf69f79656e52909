package stats

import "math"

// defaultPower is the chance with which the runs that an Answer asks for decide.
const defaultPower = 0.8

// Plan is a comparison that has yet to be made.
type Plan struct {
	// Ratio is the true ratio that is expected, next divided by base.
	Ratio float64
	// Spread is the standard deviation of the logarithm of a single run's figure.
	Spread float64
	// Band and Alpha are as in Question and Decide; Family is how many questions there are.
	Band, Alpha float64
	Family      int
	// Power is the wanted chance of a verdict other than inconclusive, as 0.8.
	Power float64
}

// RunsNeeded is how many runs of each side a comparison needs to come to a verdict
// with the wanted power. It takes the logarithms to be normal, with two parts: the
// interval has to clear the nearer edge of the band, and a change has to be
// significant in its family. The normal numbers are raised by pi/3, the price of
// ranks where the values are in truth normal, and by z^2/4 for small samples.
// It never says less than what the exact tests need to say anything, nor more than
// MostRuns. Since Ratio and Spread are commonly estimates from few runs themselves,
// so is the number.
func RunsNeeded(p Plan) int {
	least := minRuns(p.Alpha / float64(max(p.Family, 1)))
	effect, edge := math.Abs(math.Log(p.Ratio)), math.Log1p(p.Band)
	missed := 1 - p.Power
	need := func(alpha, missed, distance float64) float64 {
		if distance <= 0 {
			return math.Inf(1)
		}
		za, zb := quantileNormal(1-alpha/2), quantileNormal(1-missed)
		z := p.Spread * (za + zb) / distance
		return 2*z*z*math.Pi/3 + za*za/4
	}
	var n float64
	if effect > edge {
		n = math.Max(need(p.Alpha, missed, effect-edge), need(p.Alpha/float64(max(p.Family, 1)), missed, effect))
	} else {
		// Both ends have to stay within: what may be missed is shared between them.
		n = need(p.Alpha, missed/2, edge-effect)
	}
	if p.Spread == 0 && effect != edge {
		return least
	}
	if !(n < MostRuns) {
		return MostRuns
	}
	return max(least, int(math.Ceil(n)))
}

// spread is the standard deviation of the logarithm of a run's figure, within the
// sides, or for pairs that of their differences over the root of two; ok is false
// when no side has two values.
func (q Question) spread(paired bool) (deviation float64, ok bool) {
	if paired {
		d, err := logRatios(q.Base, q.Next)
		if err != nil || len(d) < 2 {
			return 0, false
		}
		squares, _ := squares(d)
		return math.Sqrt(squares / float64(len(d)-1) / 2), true
	}
	sum, freedom := 0.0, 0
	for _, side := range [][]float64{q.Base, q.Next} {
		l, err := logs(side)
		if err != nil {
			return 0, false
		}
		s, f := squares(l)
		sum += s
		freedom += f
	}
	if freedom == 0 {
		return 0, false
	}
	return math.Sqrt(sum / float64(freedom)), true
}

// squares is the sum of squares around the mean, and its degrees of freedom.
func squares(values []float64) (sum float64, freedom int) {
	if len(values) == 0 {
		return 0, 0
	}
	mean := 0.0
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		sum += (v - mean) * (v - mean)
	}
	return sum, len(values) - 1
}

// minRuns is the least number of runs a side with which the rank-sum test can reach
// alpha at all: 2 / C(2n, n) <= alpha. For 0.05 that is 4.
func minRuns(alpha float64) int {
	arrangements := 1.0
	for n := 1; n < MostRuns; n++ {
		arrangements = arrangements * float64(2*n) * float64(2*n-1) / float64(n*n)
		if 2/arrangements <= alpha {
			return n
		}
	}
	return MostRuns
}

// minPairs is the least number of blocks with which the signed-rank test can reach
// alpha: 2^(1-n) <= alpha. For 0.05 that is 6.
func minPairs(alpha float64) int {
	n := 1
	for p := 1.0; p > alpha && n < MostRuns; n++ {
		p /= 2
	}
	return n
}
