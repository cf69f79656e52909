package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// ErrSchema says that a document is not of the format that this build reads.
var ErrSchema = errors.New("not a result document of this version")

// ErrNoResult says that a file is no result document at all.
var ErrNoResult = errors.New("is not a result document")

// maxDocument bounds the result documents that are read.
const maxDocument = 256 << 20

// Check says what is wrong with a document: its schema, and the sums that must
// hold in every one.
func (r *Result) Check() error {
	if r.Schema != Schema {
		return fmt.Errorf("%w: schema is %q, this build reads %q", ErrSchema, r.Schema, Schema)
	}
	var problems []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	bad(r.ID != "", "id: is empty")
	bad(r.Scenario != "", "scenario: is empty")
	bad(r.Target != "", "target: is empty")
	bad(r.Verdict == Valid || r.Verdict == Degraded || r.Verdict == Invalid, "verdict: %q is none", r.Verdict)
	bad(r.Verdict == Valid || len(r.Reasons) > 0, "reasons: a verdict of %s has none", r.Verdict)
	bad(r.Expected == r.Received+r.Lost, "ledger: expected %d is not received %d + lost %d", r.Expected, r.Received, r.Lost)
	bad(r.LostUnexplained >= 0 && r.LostUnexplained <= max(r.Lost, 0), "lost_unexplained: %d of %d lost", r.LostUnexplained, r.Lost)
	p := r.Publisher
	bad(p.Planned == p.Sent+p.Refused+p.Dropped, "publisher: planned %d is not sent %d + refused %d + dropped %d", p.Planned, p.Sent, p.Refused, p.Dropped)
	for name, h := range r.Histograms {
		d := r.distribution(name)
		bad(d != nil, "histograms: %q is not a distribution", name)
		if d != nil && h != nil {
			bad(d.Count == h.Count(), "%s.count: %d, its histogram holds %d", name, d.Count, h.Count())
		}
	}
	bad(len(r.Seconds.T) == len(r.Seconds.P99) && len(r.Seconds.T) == len(r.Seconds.Delivered), "seconds: columns differ in length")
	for _, proc := range r.Processes {
		bad(len(proc.T) == len(proc.Cores) && len(proc.T) == len(proc.RSS), "processes: columns of %s differ in length", proc.Name)
	}
	return errors.Join(problems...)
}

// Validate reads and checks a result as Read does, and names the first property that
// this build does not know, empty when it knows all: a later build may have added one.
func Validate(path string) (unknown string, err error) {
	if _, err := Read(path); err != nil {
		return "", err
	}
	data, err := load(path)
	if err != nil {
		return "", err
	}
	strict := json.NewDecoder(bytes.NewReader(data))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&Result{}); err != nil {
		// All else was found by Read.
		_, name, _ := strings.Cut(err.Error(), "unknown field ")
		return strings.Trim(name, `"`), nil
	}
	return "", nil
}

// Read loads and checks a result: from result.json itself or from the folder
// that holds it.
func Read(path string) (*Result, error) {
	data, err := load(path)
	if err != nil {
		return nil, err
	}
	// The schema comes first: a document of another version need not parse as this one.
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(data, &head); err != nil || head.Schema == "" {
		return nil, fmt.Errorf("%s: %w", path, ErrNoResult)
	}
	if head.Schema != Schema {
		return nil, fmt.Errorf("%s: %w: schema is %q, this build reads %q", path, ErrSchema, head.Schema, Schema)
	}
	r := &Result{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrSchema, err)
	}
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// load is the bytes of a result document.
func load(path string) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, ResultFile)
	}
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	defer f.Close() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	if len(data) > maxDocument {
		return nil, fmt.Errorf("read result: %s is larger than %d MiB", path, maxDocument>>20)
	}
	return data, nil
}
