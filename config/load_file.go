package config

import (
	"fmt"
	"slices"
	"strings"
)

// fromFile lists what the service's file sets.
func (ls *loaders) fromFile(l *loader) []assignment {
	if l.file == "" {
		return nil
	}
	data, err := ls.src.ReadFile(l.file)
	if err != nil {
		// The error of os.ReadFile names the file as well.
		*l.problems = append(*l.problems, &SourceError{
			Origin: Origin{Kind: FromFile, Name: l.file}, Reason: reasonOf(err, l.file),
		})
		return nil
	}
	entries, problems := parseFile(l.file, data)
	*l.problems = append(*l.problems, problems...)
	return ls.matchFile(l, entries)
}

// reasonOf is err without the name of the file, which stands before it anyway.
func reasonOf(err error, file string) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "open "+file+": "), file+": ")
}

// matchFile finds the key of each entry of a file.
func (ls *loaders) matchFile(l *loader, entries []fileEntry) []assignment {
	var out []assignment
	seen := map[string]fileEntry{} // by folded path
	var lists []string
	for _, e := range entries {
		fold := foldPath(e.path)
		a := assignment{origin: Origin{Kind: FromFile, Name: l.file, Line: e.line}, name: e.path}
		if slices.ContainsFunc(lists, func(list string) bool { return strings.HasPrefix(fold, list+".") }) {
			continue // its head was refused
		}
		before, again := seen[fold]
		// TOML itself refuses the same spelling twice, but for dotted parts.
		if again && (before.path != e.path || e.kind == entryKey) {
			l.problem(a, "already stands on line %d, as %s: only case differs", before.line, before.path)
			continue
		}
		seen[fold] = e
		if e.kind == entryList {
			lists = append(lists, fold)
			l.problem(a, "[[...]] is a list of tables, which no key is")
			continue
		}
		a.key = l.find(e.path)
		switch {
		case e.kind == entryTable && a.key != nil:
			l.problem(a, "is a key and not a table: write %s = ...", a.key.path)
		case e.kind == entryTable:
			if !l.hasTable(fold) && !slices.ContainsFunc(entries, func(other fileEntry) bool {
				return strings.HasPrefix(foldPath(other.path), fold+".") // then its keys are reported
			}) {
				l.problem(a, "unknown table%s", ls.meant(l, e.path))
			}
		case a.key == nil && l.hasTable(fold):
			l.problem(a, "is a table and not a key: write [%s] on a line of its own", e.path)
		case a.key == nil:
			l.problem(a, "unknown key%s", ls.meant(l, e.path))
		default:
			if len(ls.active) > 1 && a.key.unusedInServe {
				if e.value != a.key.def {
					l.notices = append(l.notices, unusedNotice(a.origin, a.name))
				}
				continue
			}
			a.value = input{toml: e.value}
			out = append(out, a)
		}
	}
	return out
}

// meant guesses what an unknown name of a file was meant to be.
func (ls *loaders) meant(l *loader, path string) string {
	for _, s := range services() {
		if s == l.service {
			continue
		}
		for _, hit := range ls.names.find(path, foldPath) {
			if hit.service == s && !hit.scoped {
				return fmt.Sprintf(" of the %s; it is one of the %s, see %s", l.service, s, s.ExampleFile())
			}
		}
	}
	if near := ls.names.suggest(path, []Service{l.service}, func(p string) string { return p }); near != "" {
		return fmt.Sprintf(", did you mean %s?", near)
	}
	return ""
}
