package reports

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
)

// TuneSchema names the format of a search for the best setting.
const TuneSchema = "firetower.tune/v1"

// The files of a search in its folder, beside SweepFile, SummaryFile and HTMLFile.
const (
	TuneFile = "tune.json"
	// TuneGateway and TuneManager are the recommended configurations; the second is there
	// only when the space had keys of the manager.
	TuneGateway = "recommended-gateway.toml"
	TuneManager = "recommended-manager.toml"
)

// TuneVerdict is what a search came to.
type TuneVerdict string

// The verdicts.
const (
	// TuneImproved: the recommended setting beats the default, in runs of their own.
	TuneImproved TuneVerdict = "improved"
	// TuneKeeps: the default does not keep the constraints, the recommended setting does.
	TuneKeeps TuneVerdict = "keeps"
	// TuneDefault: nothing beats the default beyond noise; it is recommended.
	TuneDefault TuneVerdict = "default"
	// TuneNone: no setting keeps the constraints; nothing is recommended.
	TuneNone TuneVerdict = "none"
	// TuneUnconfirmed: the search ended before its finalists had been compared.
	TuneUnconfirmed TuneVerdict = "unconfirmed"
)

// Tune is a search for the setting that does best by one figure and keeps limits of others.
type Tune struct {
	Schema      string           `json:"schema"`
	ID          string           `json:"id"`
	Objective   SweepObjective   `json:"objective"`
	Constraints []TuneConstraint `json:"constraints"`
	// Budget is how long the search may take, in seconds.
	Budget float64 `json:"budget_seconds"`
	// Space is how many settings there are, Tried how many of them the search began with.
	Space float64 `json:"space"`
	Tried int     `json:"tried"`

	Verdict TuneVerdict `json:"verdict"`
	// Recommended is the index of a cell of Search, -1 when nothing is recommended.
	Recommended int `json:"recommended"`
	// Best has the best median of the finalists that keep the constraints, Tie are those
	// that are not told from it.
	Best int   `json:"best"`
	Tie  []int `json:"tie"`
	// Candidates are the finalists and the default, the best first.
	Candidates []TuneCandidate `json:"candidates"`
	Findings   []string        `json:"findings"`
	// Gateway and Manager are the recommended configurations, as TOML.
	Gateway  string `json:"gateway_toml,omitempty"`
	Manager  string `json:"manager_toml,omitempty"`
	ExitCode int    `json:"exit_code"`
	// Search is all that was run.
	Search *Sweep `json:"search"`
}

// SweepSearch is the plan of a search as far as it is more than that of a sweep, and what
// of its budget is spent: with it a search is resumed from the document of its sweep.
type SweepSearch struct {
	// Limits are the constraints, as they were written.
	Limits []string `json:"limits"`
	// Budget is how long the search may take, and Spent how long it took so far, over all
	// sessions of a resumed one, in seconds. A budget of 0 has no end.
	Budget float64 `json:"budget_seconds"`
	Spent  float64 `json:"spent_seconds"`
	// Finalists are the settings of the last round, the default not counted, and Short the
	// measured phase of the rounds before it, in seconds.
	Finalists int     `json:"finalists"`
	Short     float64 `json:"short_measure_seconds"`
}

// TuneConstraint is a limit that a setting must keep.
type TuneConstraint struct {
	Text   string `json:"text"`
	Metric string `json:"metric"`
}

// TuneCandidate is a setting of the last round.
type TuneCandidate struct {
	Cell int `json:"cell"`
	// Held is in how many of the candidate's runs each constraint held; Keeps says that
	// the medians keep all of them.
	Held  []int `json:"held"`
	Keeps bool  `json:"keeps"`
	// Changed is how many keys are not at their defaults, Steps by how many doublings they
	// differ in all, Resources the sum of the doublings of all values: what is cheapest has
	// least of the first, then of the second, then of the third.
	Changed   int     `json:"changed"`
	Steps     float64 `json:"steps"`
	Resources float64 `json:"resources"`
}

// WriteTune writes the search, the recommended configurations and all that is made from
// them into dir.
func WriteTune(dir string, t *Tune) error {
	data, err := json.MarshalIndent(t, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", TuneFile, err)
	}
	problems := []error{
		writeFile(filepath.Join(dir, TuneFile), append(data, '\n')),
		WriteSweepState(dir, t.Search),
		writeFile(filepath.Join(dir, SweepCSVFile), t.Search.CSV()),
		writeFile(filepath.Join(dir, SweepBenchFile), t.Search.Bench()),
		writeFile(filepath.Join(dir, SummaryFile), []byte(t.Summary(dir))),
	}
	for name, text := range map[string]string{TuneGateway: t.Gateway, TuneManager: t.Manager} {
		if text != "" {
			problems = append(problems, writeFile(filepath.Join(dir, name), []byte(text)))
		}
	}
	page, err := t.HTML()
	if err == nil {
		err = writeFile(filepath.Join(dir, HTMLFile), page)
	}
	return errors.Join(append(problems, err)...)
}

// ReadTune loads a search from its folder, or from its document.
func ReadTune(path string) (*Tune, error) {
	t := &Tune{}
	if err := readDocument(path, TuneFile, TuneSchema, t, func() string { return t.Schema }); err != nil {
		return nil, err
	}
	if t.Search == nil {
		return nil, fmt.Errorf("%s: %w: it has no search", path, ErrSchema)
	}
	return t, nil
}
