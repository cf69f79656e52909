package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

// A commit is known of every build that make did, also when the toolchain was told to
// write none into it.
func TestBuildInfo(t *testing.T) {
	t.Parallel()
	stamped := &debug.BuildInfo{Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: "true"},
	}}
	released := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}
	for _, tt := range []struct {
		name      string
		info      *debug.BuildInfo
		described string
		commit    string
		modified  bool
		line      string
	}{
		{"the toolchain knows", stamped, "def", "abc", true, "firetower dev commit abc (modified) go"},
		{"make knows", &debug.BuildInfo{}, "0123456789abcdef", "0123456789abcdef", false, "firetower dev commit 0123456789ab go"},
		{"make knows of changes", &debug.BuildInfo{}, "def-dirty", "def", true, "firetower dev commit def (modified) go"},
		{"nobody knows", &debug.BuildInfo{}, "", "", false, "firetower dev go"},
		{"a released module", released, "", "", false, "firetower v1.2.3 go"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := buildInfoOf(tt.info, tt.described)
			if got.Commit != tt.commit || got.Modified != tt.modified || !strings.HasPrefix(got.String(), tt.line) {
				t.Errorf("%+v, printed %q", got, got)
			}
		})
	}
}
