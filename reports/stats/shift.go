package stats

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrValues says that some values cannot be compared by ratio.
var ErrValues = errors.New("values cannot be compared by ratio")

// Estimate is a value with its interval.
type Estimate struct {
	Value, Low, High float64
	// Confidence is what the interval truly has: at least what was asked for, when
	// Bounded.
	Confidence float64
	// Bounded tells that an interval of the asked confidence exists. With few
	// observations none does; Low and High are then the widest interval that the
	// observations give, and Confidence is what that one has.
	Bounded bool
}

// Shift estimates by how much next lies above base: the median of all differences
// between one of each (Hodges and Lehmann), with an interval between two of those
// differences that needs no assumption but that both have the same shape. Where
// MannWhitney is exact the confidence is too, for values without ties; ties make it higher.
func Shift(base, next []float64, confidence float64) Estimate {
	differences := make([]float64, 0, len(base)*len(next))
	for _, b := range base {
		for _, n := range next {
			differences = append(differences, n-b)
		}
	}
	slices.Sort(differences)
	m, n := len(base), len(next)
	var counts []float64
	if countable(m, n) {
		counts = rankSumCounts(m, n)
	}
	return fromOrdered(differences, counts, math.Sqrt(float64(m*n*(m+n+1))/12), confidence)
}

// PairedShift estimates the centre of the differences of pairs: the median of their
// Walsh averages, the means of each two of them and of each with itself, with an
// interval between two of those averages.
func PairedShift(differences []float64, confidence float64) Estimate {
	n := len(differences)
	walsh := make([]float64, 0, n*(n+1)/2)
	for i, a := range differences {
		for _, b := range differences[i:] {
			walsh = append(walsh, (a+b)/2)
		}
	}
	slices.Sort(walsh)
	var counts []float64
	if n <= exactPairs {
		ranks := make([]int, n)
		for i := range ranks {
			ranks[i] = i + 1
		}
		counts = signedRankCounts(ranks)
	}
	return fromOrdered(walsh, counts, math.Sqrt(float64(n*(n+1)*(2*n+1))/24), confidence)
}

// fromOrdered takes the median of ordered differences, and the k-th from either end
// as the interval: it misses the truth with the probability that the statistic of the
// test is below k on either side. counts is the statistic's distribution; nil stands
// for the normal one with the given deviation.
func fromOrdered(ordered, counts []float64, deviation, confidence float64) Estimate {
	if len(ordered) == 0 {
		return Estimate{Value: math.NaN(), Low: math.Inf(-1), High: math.Inf(1)}
	}
	k, missed := 0, 0.0
	if counts == nil {
		center := float64(len(ordered)) / 2
		k = max(int(center-quantileNormal((1+confidence)/2)*deviation), 0)
		missed = math.Erfc((center - float64(k) + 0.5) / deviation / math.Sqrt2)
	} else {
		all := 0.0
		for _, c := range counts {
			all += c
		}
		for below := 0.0; k < (len(ordered)+1)/2; k++ {
			below += counts[k]
			if 2*below/all > 1-confidence+1e-12 {
				break
			}
			missed = 2 * below / all
		}
		if k == 0 {
			missed = 2 * counts[0] / all
		}
	}
	e := Estimate{Value: middle(ordered), Bounded: k > 0, Confidence: math.Max(1-missed, 0)}
	i := max(k-1, 0)
	e.Low, e.High = ordered[i], ordered[len(ordered)-1-i]
	return e
}

// Ratio estimates next divided by base: Shift on logarithms. Every value must be a
// positive number (ErrValues).
func Ratio(base, next []float64, confidence float64) (Estimate, error) {
	b, err := logs(base)
	if err != nil {
		return Estimate{}, err
	}
	n, err := logs(next)
	if err != nil {
		return Estimate{}, err
	}
	return exponential(Shift(b, n, confidence)), nil
}

// PairedRatio estimates next divided by base when values of the same index are of
// one block. Both have as many values, each a positive number (ErrValues).
func PairedRatio(base, next []float64, confidence float64) (Estimate, error) {
	d, err := logRatios(base, next)
	if err != nil {
		return Estimate{}, err
	}
	return exponential(PairedShift(d, confidence)), nil
}

func exponential(e Estimate) Estimate {
	e.Value, e.Low, e.High = math.Exp(e.Value), math.Exp(e.Low), math.Exp(e.High)
	return e
}

func logs(values []float64) ([]float64, error) {
	out := make([]float64, len(values))
	for i, v := range values {
		if !(v > 0) || math.IsInf(v, 1) {
			return nil, fmt.Errorf("%w: %v is not a positive number", ErrValues, v)
		}
		out[i] = math.Log(v)
	}
	return out, nil
}

func logRatios(base, next []float64) ([]float64, error) {
	if len(base) != len(next) {
		return nil, fmt.Errorf("%w: %d and %d values are no pairs", ErrValues, len(base), len(next))
	}
	b, err := logs(base)
	if err != nil {
		return nil, err
	}
	n, err := logs(next)
	if err != nil {
		return nil, err
	}
	for i := range n {
		n[i] -= b[i]
	}
	return n, nil
}

// middle is the median of ordered values.
func middle(ordered []float64) float64 {
	n := len(ordered)
	if n%2 == 1 {
		return ordered[n/2]
	}
	return (ordered[n/2-1] + ordered[n/2]) / 2
}

// quantileNormal is the quantile p of the standard normal distribution.
func quantileNormal(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }
