package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxFileBytes bounds a configuration file; the longest sensible one has a
// hundredth of it.
const maxFileBytes = 1 << 20

// entryKind tells what stands in a place of a file.
type entryKind int

const (
	entryKey   entryKind = iota // key = value
	entryTable                  // [table], or an inline table
	entryList                   // [[table]]
)

// tableEntry is the kind of a table's header.
func tableEntry(isList bool) entryKind {
	if isList {
		return entryList
	}
	return entryTable
}

// fileEntry is one key of a file, or the head of a table.
type fileEntry struct {
	// path is as written, with dots between the parts.
	path string
	line int
	kind entryKind
	// value is what TOML makes of a key's value: string, int64, float64, bool, a
	// time, a []any; nil within a list of tables.
	value any
}

// parseFile lists what a TOML document sets, in its order. A document that is
// not TOML gives one problem: nothing after the first mistake can be trusted.
func parseFile(name string, data []byte) ([]fileEntry, SourceErrors) {
	at := func(line int) Origin { return Origin{Kind: FromFile, Name: name, Line: line} }
	if len(data) > maxFileBytes {
		return nil, SourceErrors{{Origin: at(0), Reason: fmt.Sprintf("file is larger than %s", formatSize(maxFileBytes))}}
	}
	// The decoder knows all the rules of TOML (a table defined twice, a value out
	// of range); the parser below knows the places.
	var document map[string]any
	if err := toml.Unmarshal(data, &document); err != nil {
		line := 0
		var decodeErr *toml.DecodeError
		if errors.As(err, &decodeErr) {
			line, _ = decodeErr.Position()
		}
		return nil, SourceErrors{{Origin: at(line), Reason: "not TOML: " + strings.TrimPrefix(err.Error(), "toml: ")}}
	}
	w := fileWalker{data: data, root: document}
	w.parser.Reset(data)
	var table []string
	for w.parser.NextExpression() {
		expr := w.parser.Expression()
		switch expr.Kind {
		case unstable.Table, unstable.ArrayTable:
			var line int
			table, line = w.keyOf(expr.Key())
			w.add(table, line, tableEntry(expr.Kind == unstable.ArrayTable))
		case unstable.KeyValue:
			w.keyValue(table, expr)
		default:
		}
	}
	if err := w.parser.Error(); err != nil {
		return nil, SourceErrors{{Origin: at(0), Reason: "not TOML: " + err.Error()}}
	}
	return w.entries, nil
}

// fileWalker collects the entries of a document.
type fileWalker struct {
	data    []byte
	parser  unstable.Parser
	root    map[string]any
	entries []fileEntry
	// counted is the offset up to which newlines counts line ends.
	counted, newlines int
}

// keyValue adds a key, or the keys of an inline table.
func (w *fileWalker) keyValue(table []string, expr *unstable.Node) {
	parts, line := w.keyOf(expr.Key())
	full := append(append([]string{}, table...), parts...)
	value := expr.Value()
	if value.Kind != unstable.InlineTable {
		w.add(full, line, entryKey)
		return
	}
	w.add(full, line, entryTable)
	for children := value.Children(); children.Next(); {
		w.keyValue(full, children.Node())
	}
}

// keyOf returns the parts of a dotted key and its line.
func (w *fileWalker) keyOf(it unstable.Iterator) (parts []string, line int) {
	for it.Next() {
		n := it.Node()
		if line == 0 {
			line = w.lineAt(int(n.Raw.Offset))
		}
		parts = append(parts, string(n.Data))
	}
	return parts, line
}

// lineAt is the line of an offset, counted from 1. Offsets come in the order of
// the document, so it counts on from the one before.
func (w *fileWalker) lineAt(offset int) int {
	if offset < w.counted {
		w.counted, w.newlines = 0, 0
	}
	w.newlines += bytes.Count(w.data[w.counted:offset], []byte("\n"))
	w.counted = offset
	return 1 + w.newlines
}

func (w *fileWalker) add(parts []string, line int, kind entryKind) {
	shown := make([]string, len(parts))
	for i, p := range parts {
		shown[i] = p
		if p == "" || strings.ContainsAny(p, ". \t\r\n\"'") {
			shown[i] = quoteTOML(p) // a quoted key with a dot is not a dotted key
		}
	}
	w.entries = append(w.entries, fileEntry{
		path: strings.Join(shown, "."), line: line, kind: kind, value: w.valueAt(parts),
	})
}

// valueAt follows parts through the decoded document; within a list of tables
// there is no one value.
func (w *fileWalker) valueAt(parts []string) any {
	var at any = w.root
	for _, p := range parts {
		table, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = table[p]
	}
	return at
}
