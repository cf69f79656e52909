package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// The files of a run's folder.
const (
	ResultFile   = "result.json"
	SummaryFile  = "summary.txt"
	HTMLFile     = "report.html"
	LogFile      = "latency.hlog"
	ScenarioFile = "scenario.toml"
	LatestLink   = "latest"
)

var unsafeName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// CreateFolder makes a new folder <UTC time>-<name> below root, with a number
// appended when there is one already: a run never overwrites another.
func CreateFolder(root, name string, now time.Time) (string, error) {
	if err := os.MkdirAll(root, 0o755); err != nil { //nolint:gosec // reports are for everyone to read
		return "", fmt.Errorf("make folder for reports: %w", err)
	}
	base := now.UTC().Format("20060102T150405Z") + "-" + unsafeName.ReplaceAllString(name, "-")
	for n := 1; n < 1000; n++ {
		dir := filepath.Join(root, base)
		if n > 1 {
			dir = fmt.Sprintf("%s.%d", dir, n)
		}
		err := os.Mkdir(dir, 0o755) //nolint:gosec // as above
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, os.ErrExist) {
			return "", fmt.Errorf("make folder for the run: %w", err)
		}
	}
	return "", fmt.Errorf("make folder for the run: %s exists a thousand times", base)
}

// PointLatest makes the symbolic link root/latest point to dir. The link is
// replaced in one step, so that a reader never finds it missing.
func PointLatest(root, dir string) error {
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		return fmt.Errorf("link latest: %w", err)
	}
	tmp := filepath.Join(root, fmt.Sprintf(".latest-%d", os.Getpid()))
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("link latest: %w", err)
	}
	if err := os.Symlink(rel, tmp); err != nil {
		return fmt.Errorf("link latest: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(root, LatestLink)); err != nil {
		return errors.Join(fmt.Errorf("link latest: %w", err), os.Remove(tmp))
	}
	return nil
}

// Write puts the result and all that is made from it into dir: result.json,
// latency.hlog, summary.txt, report.html and scenario.toml. It writes as much as it
// can and joins the errors, since a report without its page is better than none.
func Write(dir string, r *Result, intervals []Interval) error {
	var problems []error
	put := func(name string, render func() ([]byte, error)) {
		data, err := render()
		if err == nil {
			err = writeFile(filepath.Join(dir, name), data)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("write %s: %w", name, err))
		}
	}
	put(ResultFile, func() ([]byte, error) { return r.Encode() })
	put(SummaryFile, func() ([]byte, error) { return []byte(r.Summary(dir)), nil })
	put(LogFile, func() ([]byte, error) {
		var b bytes.Buffer
		err := WriteLog(&b, r, intervals)
		return b.Bytes(), err
	})
	put(HTMLFile, func() ([]byte, error) { return r.HTML() })
	put(ScenarioFile, func() ([]byte, error) { return []byte(r.Configuration.Scenario), nil })
	return errors.Join(problems...)
}

// Encode is the document as it stands in result.json.
func (r *Result) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// writeFile writes a file under another name and renames it when it is whole, so
// that a full disk leaves no half document behind under the right name.
func writeFile(path string, data []byte) error {
	tmp := path + ".part"
	if err := os.WriteFile(tmp, data, 0o644); err != nil { //nolint:gosec // reports are for everyone to read
		return errors.Join(err, os.Remove(tmp))
	}
	return os.Rename(tmp, path)
}
