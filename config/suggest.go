package config

import "strings"

// nearest returns the candidate that was most likely meant by word, "" when
// none is near. Case does not count; what has the right name in another table
// counts as near.
func nearest(word string, candidates []string) string {
	fold := strings.ToLower(word)
	best, bestDistance := "", max(2, len(fold)/4)+1
	for _, c := range candidates {
		if d := editDistance(fold, strings.ToLower(c), bestDistance); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best != "" {
		return best
	}
	for _, c := range candidates {
		if lastPart(strings.ToLower(c)) == lastPart(fold) {
			return c
		}
	}
	return ""
}

// lastPart is what stands behind the last dot.
func lastPart(s string) string { return s[strings.LastIndexByte(s, '.')+1:] }

// editDistance counts the insertions, deletions, replacements and swaps of
// neighbours that make b of a (optimal string alignment). It gives up with a
// number of at least limit when the lengths alone are that far apart.
func editDistance(a, b string, limit int) int {
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
