package stats

import (
	"fmt"
	"math"
)

// Verdict is what a comparison says of one figure, or of all of them.
type Verdict string

// The verdicts.
const (
	// Improved and Regressed: the whole interval lies beyond the band, and the test
	// says that it is no chance.
	Improved  Verdict = "improved"
	Regressed Verdict = "regressed"
	// Same: the whole interval lies within the band.
	Same Verdict = "same"
	// Inconclusive: anything else; more runs may decide.
	Inconclusive Verdict = "inconclusive"
)

// Question is a figure of two sets of runs.
type Question struct {
	// Base and Next have a value for each run. When Paired, values of the same index are
	// of one block, in which both ran side by side.
	Base, Next []float64
	Paired     bool
	// Band is how much of a change does not matter: 0.05 stands for ratios from 1/1.05
	// to 1.05.
	Band float64
	// HigherIsBetter turns improved and regressed round.
	HigherIsBetter bool
}

// Answer is what the runs say of it.
type Answer struct {
	// Ratio is next divided by base.
	Ratio Estimate
	// Test is the name of the test: "Mann-Whitney" or "signed rank".
	Test string
	// P is that of no difference, and Holm the same adjusted over all the questions.
	P, Holm float64
	Verdict Verdict
	// Reason says why a verdict is inconclusive.
	Reason string
	// Runs is how many runs of each side would decide, by what is known now; 0 when that
	// cannot be told or the verdict is there. See RunsNeeded.
	Runs int
}

// MostRuns is the greatest number of runs that an Answer names; what needs more is
// not worth asking for.
const MostRuns = 100

// Names of tests.
const (
	testRankSum    = "Mann-Whitney"
	testSignedRank = "signed rank"
)

// Decide answers a family of questions at level alpha (0.05 for intervals of 95 %).
//
// Improved and regressed need two things: the interval of the ratio lies wholly
// beyond the band, and p, adjusted by Holm over the family, is at most alpha. So when
// nothing has changed, the chance of calling any change in the family is at most
// alpha. Same needs the interval wholly within the band.
//
// Paired questions are answered by the signed-rank test when there are enough blocks
// for it to reach alpha in this family at all, which is known before any value is:
// 2^(1-blocks) <= alpha / questions. With fewer, the rank-sum test answers, which can
// tell more from few runs and takes no advantage of the blocks.
func Decide(questions []Question, alpha float64) []Answer {
	answers := make([]Answer, len(questions))
	p := make([]float64, len(questions))
	for i, q := range questions {
		answers[i] = q.measure(alpha, len(questions))
		p[i] = answers[i].P
	}
	for i, adjusted := range Holm(p) {
		answers[i].Holm = adjusted
		answers[i].judge(questions[i], alpha, len(questions))
	}
	return answers
}

// Overall is the verdict of a family: regressed when any figure is, improved when
// any is and none regressed, same when all are, and otherwise inconclusive.
func Overall(verdicts []Verdict) Verdict {
	seen := map[Verdict]int{}
	for _, v := range verdicts {
		seen[v]++
	}
	switch {
	case seen[Regressed] > 0:
		return Regressed
	case seen[Improved] > 0:
		return Improved
	case len(verdicts) > 0 && seen[Same] == len(verdicts):
		return Same
	default:
		return Inconclusive
	}
}

// measure estimates and tests, without a verdict.
func (q Question) measure(alpha float64, family int) Answer {
	a := Answer{P: 1, Test: testRankSum, Verdict: Inconclusive}
	var err error
	if q.paired(alpha, family) {
		a.Test = testSignedRank
		a.Ratio, err = PairedRatio(q.Base, q.Next, 1-alpha)
		if err == nil {
			d, _ := logRatios(q.Base, q.Next) // as above
			a.P = SignedRank(d).P
		}
	} else {
		a.Ratio, err = Ratio(q.Base, q.Next, 1-alpha)
		if err == nil {
			a.P = MannWhitney(q.Base, q.Next).P
		}
	}
	if err != nil {
		a.Ratio = Estimate{Value: math.NaN(), High: math.Inf(1)}
		a.Reason = err.Error()
	}
	return a
}

// EnoughPairs tells whether the signed-rank test can reach alpha in a family of so
// many questions with so many blocks.
func EnoughPairs(blocks int, alpha float64, family int) bool {
	return blocks >= minPairs(alpha/float64(max(family, 1)))
}

func (q Question) paired(alpha float64, family int) bool {
	return q.Paired && len(q.Base) == len(q.Next) && EnoughPairs(len(q.Base), alpha, family)
}

// judge gives the verdict.
func (a *Answer) judge(q Question, alpha float64, family int) {
	if a.Reason != "" {
		return
	}
	edge := 1 + q.Band
	worse, better := a.Ratio.Low > edge, a.Ratio.High < 1/edge
	if q.HigherIsBetter {
		worse, better = better, worse
	}
	least := min(minRuns(alpha/float64(family)), MostRuns)
	switch {
	case len(q.Base) == 0 || len(q.Next) == 0:
		a.Reason = "a side has no value"
		return
	case !a.Ratio.Bounded:
		a.Reason = fmt.Sprintf("%d and %d runs have no interval of %.4g %%", len(q.Base), len(q.Next), 100*(1-alpha))
	case worse && a.Holm <= alpha:
		a.Verdict = Regressed
		return
	case better && a.Holm <= alpha:
		a.Verdict = Improved
		return
	case worse || better:
		a.Reason = fmt.Sprintf("p = %.2g over all %d figures is above %.2g", a.Holm, family, alpha)
	case a.Ratio.Low >= 1/edge && a.Ratio.High <= edge:
		a.Verdict = Same
		return
	default:
		a.Reason = fmt.Sprintf("the interval reaches over the edge of the ±%.4g %% band", 100*q.Band)
	}
	a.Runs = least
	if spread, ok := q.spread(a.Test == testSignedRank); ok {
		a.Runs = min(max(least, RunsNeeded(Plan{
			Ratio: a.Ratio.Value, Spread: spread, Band: q.Band, Alpha: alpha, Power: defaultPower, Family: family,
		})), MostRuns)
	}
	// By the estimate there may be enough already; chance said otherwise, and asks for more.
	a.Runs = max(a.Runs, min(len(q.Base), len(q.Next))+1)
}
