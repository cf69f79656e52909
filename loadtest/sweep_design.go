package loadtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"firetower/config/suggest"
	"firetower/reports"
)

// Design is how the cells of a sweep are chosen from its axes.
type Design string

// The designs.
const (
	// DesignGrid is every combination.
	DesignGrid Design = "grid"
	// DesignOFAT changes one setting at a time, and leaves the others at their defaults.
	DesignOFAT Design = "ofat"
	// DesignRandom is a Latin hypercube over the listed values, drawn from the seed: of
	// n cells each value of an axis stands in n/k, k being how many values there are.
	DesignRandom Design = "random"
	// DesignHalving begins with every combination, short runs, and drops the worse half
	// after each round, until few are left that run at full length.
	DesignHalving Design = "halving"
)

// Designs lists the designs.
func Designs() []Design { return []Design{DesignGrid, DesignOFAT, DesignRandom, DesignHalving} }

// ParseDesign is the design of that name.
func ParseDesign(name string) (Design, error) {
	var names []string
	for _, d := range Designs() {
		if string(d) == name {
			return d, nil
		}
		names = append(names, string(d))
	}
	return "", fmt.Errorf("no design %q%s; there are %s", name, suggest.DidYouMean(name, names), strings.Join(names, ", "))
}

// maxCells bounds a sweep: a machine is busy for weeks with as many.
const maxCells = 5000

// choice is the value of each axis by its index, asIs where the axis is left alone.
type choice []int

const asIs = -1

// combinations are all choices of some axes, the last axis changing fastest; those that
// are not named are left alone.
func combinations(axes []reports.SweepAxis, named func(reports.SweepAxis) bool) ([]choice, error) {
	out := []choice{slices.Repeat(choice{asIs}, len(axes))}
	for i, a := range axes {
		if !named(a) {
			continue
		}
		if len(out)*len(a.Values) > maxCells {
			return nil, fmt.Errorf("more than %d cells: use --design random --cells N, or fewer values", maxCells)
		}
		var next []choice
		for _, c := range out {
			for v := range a.Values {
				d := slices.Clone(c)
				d[i] = v
				next = append(next, d)
			}
		}
		out = next
	}
	return out, nil
}

func isSetting(a reports.SweepAxis) bool { return !a.Work }
func isWork(a reports.SweepAxis) bool    { return a.Work }

// settingsOf are the choices of settings that a design asks for; n is for DesignRandom,
// and for DesignHalving when it is not 0.
func settingsOf(d Design, axes []reports.SweepAxis, n int, seed uint64) ([]choice, error) {
	switch d {
	case DesignOFAT:
		var out []choice
		for i, a := range axes {
			for v := range a.Values {
				if a.Work {
					continue
				}
				c := slices.Repeat(choice{asIs}, len(axes))
				c[i] = v
				out = append(out, c)
			}
		}
		return out, nil
	case DesignRandom:
		return hypercube(axes, n, seed)
	case DesignHalving:
		if n > 0 {
			return hypercube(axes, n, seed)
		}
	case DesignGrid:
	}
	return combinations(axes, isSetting)
}

// combos is how many combinations of settings there are, as a float: it may be huge.
func combos(axes []reports.SweepAxis) float64 {
	n := 1.0
	for _, a := range axes {
		if !a.Work {
			n *= float64(len(a.Values))
		}
	}
	return n
}

// hypercube draws n different choices in which every value of an axis stands equally
// often, or once less.
func hypercube(axes []reports.SweepAxis, n int, seed uint64) ([]choice, error) {
	if n < 1 || n > maxCells {
		return nil, fmt.Errorf("--cells: must be 1 to %d, got %d", maxCells, n)
	}
	if total := combos(axes); float64(n) > total {
		return nil, fmt.Errorf("--cells: there are %.0f combinations, %d are asked for", total, n)
	}
	r := rand.New(rand.NewPCG(seed, 0x6c6873)) // a choice that can be repeated, not a secret
	columns := make([][]int, len(axes))
	for i, a := range axes {
		columns[i] = slices.Repeat([]int{asIs}, n)
		if a.Work {
			continue
		}
		first := r.IntN(len(a.Values)) // which values stand once more is drawn as well
		for j := range n {
			columns[i][j] = (first + j) % len(a.Values)
		}
	}
	row := func(j int) choice {
		c := make(choice, len(axes))
		for i := range axes {
			c[i] = columns[i][j]
		}
		return c
	}
	// Shuffled columns give a hypercube; rows that came out twice are shuffled on, which
	// keeps the columns as they are. A full grid may need many exchanges.
	const most = 200_000
	for try := 0; ; try++ {
		if try == 0 {
			for i := range columns {
				r.Shuffle(n, func(a, b int) { columns[i][a], columns[i][b] = columns[i][b], columns[i][a] })
			}
		}
		seen, again := map[string]bool{}, asIs
		var out []choice
		for j := range n {
			c := row(j)
			if key := fmt.Sprint(c); seen[key] {
				again = j
			} else {
				seen[key] = true
			}
			out = append(out, c)
		}
		if again == asIs {
			return out, nil
		}
		if try*n > most {
			// Equal shares and different rows cannot both be had for certain: keep the rows.
			return fillUp(axes, out, n, r)
		}
		i, j := r.IntN(len(axes)), r.IntN(n)
		columns[i][again], columns[i][j] = columns[i][j], columns[i][again]
	}
}

// fillUp replaces rows that came out twice by combinations that did not come out.
func fillUp(axes []reports.SweepAxis, rows []choice, n int, r *rand.Rand) ([]choice, error) {
	seen := map[string]bool{}
	var out []choice
	add := func(c choice) {
		if key := fmt.Sprint(c); !seen[key] && len(out) < n {
			seen[key] = true
			out = append(out, c)
		}
	}
	for _, c := range rows {
		add(c)
	}
	rest, err := combinations(axes, isSetting)
	if err != nil {
		return out, nil //nolint:nilerr // a huge space: fewer cells than asked for, and none twice
	}
	r.Shuffle(len(rest), func(a, b int) { rest[a], rest[b] = rest[b], rest[a] })
	for _, c := range rest {
		add(c)
	}
	return out, nil
}
