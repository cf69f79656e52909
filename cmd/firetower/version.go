package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// buildInfo is what the Go toolchain wrote into this binary.
type buildInfo struct {
	// Version is the module's version, or "dev" for a build from a checkout.
	Version string `json:"version"`
	// Commit is the commit that the checkout was at, when known.
	Commit string `json:"commit,omitempty"`
	// Modified tells that the checkout had changes on top of Commit.
	Modified bool `json:"modified,omitempty"`
	// CommitTime is when Commit was made, as RFC 3339.
	CommitTime string `json:"commit_time,omitempty"`
	Go         string `json:"go"`
	Platform   string `json:"platform"`
}

// describedCommit is what 'git describe --always --dirty' said of the checkout: make sets
// it, for builds into which the toolchain writes no commit (GOFLAGS=-buildvcs=false).
var describedCommit string

// readBuildInfo reads it.
func readBuildInfo() buildInfo {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return buildInfoOf(info, describedCommit)
}

// buildInfoOf is what the toolchain says, or what make does where that says nothing.
func buildInfoOf(info *debug.BuildInfo, described string) buildInfo {
	b := buildInfo{Version: "dev", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.CommitTime = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	if b.Commit == "" {
		b.Commit, b.Modified = strings.CutSuffix(described, "-dirty")
	}
	return b
}

// String is the one line that people read.
func (b buildInfo) String() string {
	s := "firetower " + b.Version
	if b.Commit != "" {
		s += " commit " + b.Commit[:min(12, len(b.Commit))]
		if b.Modified {
			s += " (modified)"
		}
	}
	return fmt.Sprintf("%s %s %s", s, b.Go, b.Platform)
}

// short is the version that services tell each other.
func (b buildInfo) short() string {
	if b.Commit == "" {
		return b.Version
	}
	return b.Version + "-" + b.Commit[:min(12, len(b.Commit))]
}

func newVersionCommand(g *globalState) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print what this binary was built from",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			b := readBuildInfo()
			if asJSON {
				return writeJSON(g.stdout, b)
			}
			_, err := fmt.Fprintln(g.stdout, b)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// writeJSON writes v as indented JSON with a line end.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
