package reports_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"firetower/reports"
)

func TestReadSet(t *testing.T) {
	t.Parallel()
	dir, _ := versusOf(t, 2, turns(t, "firetower", 2, 1, 2), turns(t, "firetower@/tmp/a:b/old", 2, 1, 1))
	for _, tt := range []struct{ name, path, label, ids string }{
		{"a folder of turns is its first target", dir, "firetower", "firetower-1 firetower-2"},
		{"another target of it", dir + ":firetower@/tmp/a:b/old", "firetower@old", "firetower@old-1 firetower@old-2"},
		{"another target by its short name", dir + ":firetower@old", "firetower@old", "firetower@old-1 firetower@old-2"},
		{"a run", filepath.Join(dir, "firetower-2"), "firetower", "firetower-2"},
		{"two runs", filepath.Join(dir, "firetower-1") + ", " + filepath.Join(dir, "firetower-1"), "firetower", "firetower-1 firetower-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := reports.ReadSet(tt.path)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, r := range s.Runs {
				ids = append(ids, r.ID)
			}
			if got := strings.Join(ids, " "); got != tt.ids || s.Label != tt.label {
				t.Errorf("read %s: %s", s.Label, got)
			}
		})
	}
	a, errA := reports.ReadSet(dir)
	b, errB := reports.ReadSet(dir + ":firetower@old")
	if errA != nil || errB != nil || a.Source == "" || a.Source != b.Source || fmt.Sprint(a.Blocks) != "[0 1]" || fmt.Sprint(b.Blocks) != "[0 1]" {
		t.Errorf("turns of one folder are %q %v and %q %v", a.Source, a.Blocks, b.Source, b.Blocks)
	}
	for _, path := range []string{dir + ":classic", filepath.Join(dir, "firetower-1") + ":classic"} {
		if _, err := reports.ReadSet(path); !errors.Is(err, reports.ErrNoTarget) {
			t.Errorf("%s gave %v", path, err)
		}
	}
}
