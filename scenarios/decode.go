package scenarios

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"firetower/config/suggest"
)

// ProblemError is one thing that is wrong with a scenario file.
type ProblemError struct {
	// File is the path or name of the file, empty when there is none.
	File string
	// Line is the line of the key, or of the table that lacks it; 0 when unknown.
	Line int
	// Key is the key's whole name, as "load.rate" or "fault[0].at".
	Key string
	// Reason says what is wrong and what would be right.
	Reason string
}

// Error is "file:line: key: reason", without the parts that are not known.
func (p *ProblemError) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Reason)
	return b.String()
}

// Decode reads a scenario file strictly. The error joins one *ProblemError for each
// thing that is wrong, in the order of the file.
func Decode(file string, data []byte) (Scenario, error) {
	var doc map[string]any
	if err := toml.Unmarshal(data, &doc); err != nil {
		p := &ProblemError{File: file, Reason: err.Error()}
		var syntax *toml.DecodeError
		if errors.As(err, &syntax) {
			p.Line, _ = syntax.Position()
			p.Key = strings.Join(syntax.Key(), ".")
			p.Reason = strings.TrimPrefix(syntax.Error(), "toml: ")
		}
		return Scenario{}, p
	}
	d := decoder{file: file, lines: lineIndex(data), s: Default()}
	d.table("", doc)
	d.validate()
	if len(d.problems) > 0 {
		return Scenario{}, d.err()
	}
	return d.s, nil
}

// decoder carries what one Decode has gathered.
type decoder struct {
	file     string
	lines    map[string]int
	s        Scenario
	given    map[string]bool // keys that the file has
	problems []*ProblemError
}

func (d *decoder) err() error {
	slices.SortStableFunc(d.problems, func(a, b *ProblemError) int { return a.Line - b.Line })
	errs := make([]error, len(d.problems))
	for i, p := range d.problems {
		errs[i] = p
	}
	return errors.Join(errs...)
}

// fail notes a problem at the nearest place that the file has for the key: the
// key itself, or the table around it.
func (d *decoder) fail(key, reason string) {
	d.problems = append(d.problems, &ProblemError{File: d.file, Line: nearest(d.lines, key), Key: key, Reason: reason})
}

// table walks the tables that the key table knows, in sorted order so that
// errors come out alike.
func (d *decoder) table(prefix string, t map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(t)) {
		v, full := t[name], prefix+name
		switch {
		case prefix == "" && slices.Contains(freeTables, name):
			d.free(name, v)
			continue
		case full == "slow":
			d.s.Slow = decodeEntries(d, full, v, slowKeys, defaultSlow)
			continue
		case full == "fault":
			d.s.Faults = decodeEntries(d, full, v, faultKeys, defaultFault)
			continue
		}
		if k, ok := find(scenarioKeys, full); ok {
			d.note(full)
			if err := assign(k.at(&d.s), v); err != nil {
				d.fail(full, err.Error())
			}
			continue
		}
		if sub, ok := v.(map[string]any); ok && hasTable(full) {
			d.table(full+".", sub)
			continue
		}
		known := append(names(scenarioKeys), "slow", "fault", "gateway", "manager")
		d.fail(full, "unknown key"+suggest.DidYouMean(full, known))
	}
}

func (d *decoder) note(key string) {
	if d.given == nil {
		d.given = map[string]bool{}
	}
	d.given[key] = true
}

// hasTable tells whether any known key lives in the table called name.
func hasTable(name string) bool {
	return slices.ContainsFunc(scenarioKeys, func(k key[Scenario]) bool { return strings.HasPrefix(k.name, name+".") })
}

func (d *decoder) free(name string, v any) {
	t, ok := v.(map[string]any)
	if !ok {
		d.fail(name, "wants a table of the server's configuration keys, got "+describe(v))
		return
	}
	if name == "gateway" {
		d.s.Gateway = t
	} else {
		d.s.Manager = t
	}
}

// decodeEntries reads an array of tables.
func decodeEntries[T any](d *decoder, name string, v any, keys []key[T], def func() T) []T {
	items, ok := v.([]any)
	if !ok {
		d.fail(name, fmt.Sprintf("wants an array of tables, written [[%s]], got %s", name, describe(v)))
		return nil
	}
	out := make([]T, 0, len(items))
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", name, i)
		t, ok := item.(map[string]any)
		if !ok {
			d.fail(at, "wants a table, got "+describe(item))
			continue
		}
		entry := def()
		for _, field := range slices.Sorted(maps.Keys(t)) {
			full := at + "." + field
			k, ok := find(keys, field)
			if !ok {
				d.fail(full, "unknown key"+suggest.DidYouMean(field, names(keys)))
				continue
			}
			d.note(full)
			if err := assign(k.at(&entry), t[field]); err != nil {
				d.fail(full, err.Error())
			}
		}
		for _, k := range keys {
			if !k.means(&entry) && !d.given[at+"."+k.name] {
				reflect.ValueOf(k.at(&entry)).Elem().SetZero()
			}
		}
		out = append(out, entry)
	}
	return out
}
