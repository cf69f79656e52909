// Package filewatch tells when files have been replaced or rewritten, for what is read again then:
// certificates, keys.
package filewatch

import "os"

// Files are looked at together. They are for one goroutine at a time.
type Files struct {
	names []string
	seen  []os.FileInfo // at the last look; nil where there was none
}

// New makes Files that have not been looked at.
func New(names ...string) *Files {
	return &Files{names: names, seen: make([]os.FileInfo, len(names))}
}

// Changed looks at the files and tells whether one is another than at the look before: another file
// of that name, of another size, time or mode, there or gone; on Linux also one of another owner. Look before you read: a change in between is then
// seen by the next look.
func (f *Files) Changed() bool {
	changed := false
	for i, name := range f.names {
		info, err := os.Stat(name)
		if err != nil {
			info = nil
		}
		changed = changed || !same(info, f.seen[i])
		f.seen[i] = info
	}
	return changed
}

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.Mode() == b.Mode() && a.ModTime().Equal(b.ModTime()) && statusTime(a) == statusTime(b)
}
