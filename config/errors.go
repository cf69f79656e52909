package config

import (
	"cmp"
	"slices"
	"strings"
)

// SourceError is one thing that is wrong with a configuration, and where.
type SourceError struct {
	// Origin is where it stands.
	Origin Origin
	// Key is the path of the key it is about, as written; "" when it is about
	// the source as a whole.
	Key string
	// Reason says what is wrong and what would be right.
	Reason string
}

// Error is "fireTower.toml:12: bucket.Num: must be from 1 to 1024, got 0".
func (p *SourceError) Error() string {
	var parts []string
	if place := p.Origin.place(); place != "" {
		parts = append(parts, place)
	}
	if p.Key != "" {
		parts = append(parts, p.Key)
	}
	return strings.Join(append(parts, p.Reason), ": ")
}

// SourceErrors is everything that is wrong with a configuration.
type SourceErrors []*SourceError

// Error has a line for each problem.
func (ps SourceErrors) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives each problem to errors.Is and errors.As.
func (ps SourceErrors) Unwrap() []error {
	out := make([]error, len(ps))
	for i, p := range ps {
		out[i] = p
	}
	return out
}

// err returns ps as an error: files first, by line, then environment and flags
// by name, so that the same mistakes always read the same.
func (ps SourceErrors) err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b *SourceError) int {
		return cmp.Or(
			cmp.Compare(a.Origin.Kind.rank(), b.Origin.Kind.rank()),
			cmp.Compare(a.Origin.Name, b.Origin.Name),
			cmp.Compare(a.Origin.Line, b.Origin.Line),
		)
	})
	return ps
}
