// Package suggest owns the guess behind "did you mean": which of the known names
// was most likely meant by one that is none of them.
//
// It must not know what the names are of, and imports no other package of the
// project, so that every reader of a strict format can use it.
package suggest

import (
	"fmt"
	"strings"
)

// Nearest is the candidate that was most likely meant by name, empty when none is
// near enough to be a slip of the fingers. Neither case nor the kind of separator
// within a word counts.
func Nearest(name string, candidates []string) string {
	folded := fold(name)
	best, bestDistance := "", max(2, len(folded)/4)+1
	for _, c := range candidates {
		if d := distance(folded, fold(c), bestDistance); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// DidYouMean is `, did you mean "x"?` for the nearest candidate, or empty.
func DidYouMean(name string, candidates []string) string {
	if best := Nearest(name, candidates); best != "" {
		return fmt.Sprintf(", did you mean %q?", best)
	}
	return ""
}

// fold makes names alike that differ in case and in hyphens and underscores alone.
func fold(s string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s))
}

// distance counts the insertions, deletions, replacements and swaps of neighbours
// that make b of a (optimal string alignment). It gives up with limit when the
// lengths alone are that far apart.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
