package loadtest

import (
	"math"
	"math/rand/v2"

	"firetower/scenarios"
)

// sizes draws how long the data of each message is.
type sizes struct {
	fixed int
	mix   []scenarios.Mix
	total int // of the weights
	rng   *rand.Rand
}

// sizesStream keeps the draws of sizes apart from those of a phase's gaps.
const sizesStream = 0x73697a65

func newSizes(s scenarios.Scenario) sizes {
	z := sizes{fixed: int(s.Load.Payload), mix: s.Load.Mix}
	if len(z.mix) > 0 {
		z.rng = rand.New(rand.NewPCG(s.Seed, sizesStream)) // a plan that can be repeated, not a secret
	}
	for _, m := range z.mix {
		z.total += m.Weight
	}
	return z
}

func (z *sizes) next() int {
	if z.total == 0 {
		return z.fixed
	}
	at := z.rng.IntN(z.total)
	for _, m := range z.mix {
		if at -= m.Weight; at < 0 {
			return int(m.Size)
		}
	}
	return z.fixed
}

// meanPayload is the mean size of a message's data, and largest the greatest.
func meanPayload(s scenarios.Scenario) (mean, largest int) {
	z := newSizes(s)
	if z.total == 0 {
		return z.fixed, z.fixed
	}
	sum := 0.0
	for _, m := range z.mix {
		sum += float64(m.Size) * float64(m.Weight)
		if m.Weight > 0 {
			largest = max(largest, int(m.Size))
		}
	}
	return int(math.Round(sum / float64(z.total))), largest
}
