package filewatch_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"firetower/core/filewatch"
)

func TestChanged(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	put := func(name, text string, at int64) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, time.Unix(at, 0), time.Unix(at, 0)); err != nil {
			t.Fatal(err)
		}
	}
	put(a, "1", 1)
	f := filewatch.New(a, b)
	for _, step := range []struct {
		name    string
		do      func()
		changed bool
	}{
		{"first look", func() {}, true},
		{"nothing", func() {}, false},
		{"the second comes", func() { put(b, "1", 1) }, true},
		{"another time", func() { put(a, "1", 2) }, true},
		{"another size", func() { put(a, "12", 2) }, true},
		{"nothing again", func() {}, false},
		{"other permissions", func() { _ = os.Chmod(a, 0o640) }, true},
		{"another file of the same size and time", func() {
			put(filepath.Join(dir, "c"), "34", 2)
			if err := os.Rename(filepath.Join(dir, "c"), a); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"one goes", func() { _ = os.Remove(b) }, true},
		{"it is still gone", func() {}, false},
	} {
		step.do()
		if got := f.Changed(); got != step.changed {
			t.Errorf("%s: changed %v", step.name, got)
		}
	}
}
