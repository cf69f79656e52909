package config

import (
	"strings"

	"firetower/config/suggest"
)

// nearest returns the candidate that was most likely meant by word, "" when
// none is near. What has the right name in another table counts as near.
func nearest(word string, candidates []string) string {
	if best := suggest.Nearest(word, candidates); best != "" {
		return best
	}
	for _, c := range candidates {
		if strings.EqualFold(lastPart(c), lastPart(word)) {
			return c
		}
	}
	return ""
}

// lastPart is what stands behind the last dot.
func lastPart(s string) string { return s[strings.LastIndexByte(s, '.')+1:] }
