package reports

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Set is the runs of one configuration, in the order in which they ran.
type Set struct {
	// Label names the set for people: the target, or what the caller calls it.
	Label string
	Runs  []*Result
	// Source is the folder of runs that took turns with those of other sets, empty when
	// they did not, and Blocks is the turn of each run. Sets of one source are compared
	// block by block.
	Source string
	Blocks []int
	// Within is how solid the p99 of a single run is by itself, nil of several.
	Within *WithinRun
}

// ErrNoTarget says that a comparison of targets has no such target.
var ErrNoTarget = errors.New("no such target")

// ReadSet reads the runs that a path stands for: a run's folder, its result.json, or
// the folder of repeated runs or of a comparison of targets, which stands for the runs
// of its first target, or with :TARGET behind it for those of another. Paths may be
// joined by commas. A folder of runs stands for its latest.
func ReadSet(paths string) (Set, error) {
	var out Set
	parts := strings.Split(paths, ",")
	for _, path := range parts {
		s, err := readSet(strings.TrimSpace(path))
		if err != nil {
			return Set{}, err
		}
		if len(parts) == 1 {
			return s, nil
		}
		out.Label = s.Label
		out.Runs = append(out.Runs, s.Runs...)
	}
	return out, nil
}

func readSet(path string) (Set, error) {
	dir, target, named := path, "", false
	if _, err := os.Stat(path); err != nil {
		// Not at the last colon: a target may be a path with colons of its own.
		dir, target, named = strings.Cut(path, ":")
	}
	dir = Locate(dir)
	if KindOf(dir) != KindVersus {
		if named {
			return Set{}, fmt.Errorf("%s: %w: %s is no comparison of targets", path, ErrNoTarget, dir)
		}
		r, err := Read(dir)
		if err != nil {
			return Set{}, err
		}
		s := Set{Label: ShortTarget(r.Target), Runs: []*Result{r}}
		if FolderOf(dir) == dir {
			if s.Within, err = Within(dir); err != nil {
				return Set{}, err
			}
		}
		return s, nil
	}
	v, err := ReadVersus(dir)
	if err != nil {
		return Set{}, err
	}
	if !named {
		target = v.Targets[0]
	}
	return v.Set(dir, target)
}

// Set reads the runs of one target from the comparison's folder, or the one that its
// document lies in. A target that is an
// executable may be named as it is shown, without its folder.
func (v *Versus) Set(dir, target string) (Set, error) {
	if !slices.Contains(v.Targets, target) {
		for _, t := range v.Targets {
			if ShortTarget(t) == target {
				target = t
			}
		}
	}
	if !slices.Contains(v.Targets, target) {
		return Set{}, fmt.Errorf("%s: %w %q; there are %s", dir, ErrNoTarget, target, strings.Join(v.Targets, ", "))
	}
	dir = FolderOf(dir)
	whole, err := filepath.Abs(dir)
	if err != nil {
		return Set{}, fmt.Errorf("read comparison: %w", err)
	}
	if resolved, err := filepath.EvalSymlinks(whole); err == nil {
		whole = resolved
	}
	s := Set{Label: ShortTarget(target), Source: whole}
	for i, run := range v.Runs {
		if run.Target != target {
			continue
		}
		r, err := Read(filepath.Join(dir, run.Folder))
		if err != nil {
			return Set{}, err
		}
		s.Runs = append(s.Runs, r)
		s.Blocks = append(s.Blocks, i/len(v.Targets))
	}
	if len(s.Runs) == 0 {
		return Set{}, fmt.Errorf("%s: %w: %s did not run", dir, ErrNoTarget, target)
	}
	return s, nil
}

// ShortTarget is a target's name for tables: that of an executable without its folder.
func ShortTarget(target string) string {
	name, path, ok := strings.Cut(target, "@")
	if !ok {
		return target
	}
	return name + "@" + filepath.Base(path)
}
