package loadtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"firetower/reports"
)

// ErrBuild says that an executable is no Firetower that servers can be started from.
var ErrBuild = errors.New("not a build of firetower")

// versionTimeout bounds the answer of a build to what it is.
const versionTimeout = 10 * time.Second

// Build is the executable that the target's servers are started from, when it is
// another build of Firetower: the target firetower@PATH. The harness stays this one,
// so that two builds can take turns under the same load.
func (t Target) Build() (path string, ok bool) {
	name, path, _ := strings.Cut(string(t), "@")
	if Target(name) != Firetower {
		return "", false
	}
	return path, path != ""
}

// ReadBuild asks an executable what it is, and hashes it. It wraps ErrBuild for one
// that is not there or is no Firetower.
func ReadBuild(ctx context.Context, path string, environ []string) (reports.ServerBuild, error) {
	// A bare name would be looked for in PATH.
	path, err := filepath.Abs(path)
	if err != nil {
		return reports.ServerBuild{}, fmt.Errorf("%w: %w", ErrBuild, err)
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "version", "--json") // the one that the user names
	cmd.Env = slices.Clone(environ)
	out, err := cmd.Output()
	if err != nil {
		return reports.ServerBuild{}, fmt.Errorf("%w: %s version: %w", ErrBuild, path, err)
	}
	var v struct {
		Version, Commit, Go string
		Modified            bool
	}
	if err := json.Unmarshal(out, &v); err != nil || v.Version == "" || v.Go == "" {
		return reports.ServerBuild{}, fmt.Errorf("%w: %s version --json said %q", ErrBuild, path, strings.TrimSpace(string(out[:min(len(out), 80)])))
	}
	b := reports.ServerBuild{Path: path, Binary: hashFile(path), Version: v.Version, Commit: v.Commit, Modified: v.Modified, Go: v.Go}
	if b.Binary == "" {
		return b, fmt.Errorf("%w: %s cannot be read", ErrBuild, path)
	}
	return b, nil
}
