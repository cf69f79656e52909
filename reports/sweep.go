package reports

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// SweepSchema names the format of a sweep.
const SweepSchema = "firetower.sweep/v1"

// The files of a sweep in its folder, beside SummaryFile and HTMLFile.
const (
	SweepFile      = "sweep.json"
	SweepCSVFile   = "sweep.csv"
	SweepBenchFile = "sweep.bench.txt"
	// SweepRuns is the folder that holds the folders of the runs.
	SweepRuns = "runs"
)

// Sweep is one scenario under many settings. The document is the state of a sweep
// under way as well: it is written after each run, and a sweep is resumed from it.
type Sweep struct {
	Schema   string    `json:"schema"`
	ID       string    `json:"id"`
	Scenario string    `json:"scenario"`
	Purpose  string    `json:"purpose"`
	Loop     string    `json:"loop"`
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`
	// Seconds is how long runs were under way, over all sessions of a resumed sweep.
	Seconds float64 `json:"seconds"`
	Seed    uint64  `json:"seed"`
	// Design is grid, ofat, random or halving; Repeat is the runs of a cell in the last round.
	Design string `json:"design"`
	// Drawn is how many cells a random design was asked for.
	Drawn         int `json:"drawn_cells,omitempty"`
	Repeat        int `json:"repeat"`
	BaselineEvery int `json:"baseline_every"`
	// PlanHash is of all that decides which runs are made, and in which order.
	PlanHash string `json:"plan_sha256"`
	// ScenarioTOML is the resolved scenario before any axis.
	ScenarioTOML string      `json:"scenario_toml"`
	Overrides    []Override  `json:"overrides,omitempty"`
	Grid         string      `json:"grid"`
	Axes         []SweepAxis `json:"axes"`
	// Objectives are what cells are judged by, the first one first.
	Objectives []SweepObjective `json:"objectives"`
	// Cells are all settings; each question's default is one of them.
	Cells []SweepCell `json:"cells"`
	// Questions are what is asked of the settings: one, unless an axis changes the load
	// itself. Cells are compared within their question alone.
	Questions []SweepQuestion `json:"questions"`
	// Rounds are one for all cells, or with halving several with ever fewer.
	Rounds []SweepRound `json:"rounds"`
	// Runs are in the order in which they were made.
	Runs []SweepRun `json:"runs"`
	// Excluded runs stand in no figure, one line each.
	Excluded    []string `json:"excluded,omitempty"`
	Interrupted bool     `json:"interrupted,omitempty"`
	// Stopped says why a sweep ended before its plan did, and not by a signal.
	Stopped  string `json:"stopped,omitempty"`
	Complete bool   `json:"complete"`
	ExitCode int    `json:"exit_code"`
	// Drift is how the baseline changed over the sweep, one for each objective.
	Drift       []SweepDrift `json:"drift"`
	Environment Environment  `json:"environment"`
	// Search is what makes a search for the best setting of the sweep, null of any other.
	Search *SweepSearch `json:"search,omitempty"`
}

// SweepAxis is one key and the values that it takes.
type SweepAxis struct {
	// Key is the scenario's, as gateway.bucket.Num; Name is short, and unique in the sweep.
	Key  string `json:"key"`
	Name string `json:"name"`
	// Work says that the axis changes the load itself, and so the question.
	Work   bool     `json:"work,omitempty"`
	Values []string `json:"values"`
	// Default is the value without the axis.
	Default string `json:"default"`
}

// SweepObjective is a figure that cells are judged by.
type SweepObjective struct {
	Metric string `json:"metric"`
	Name   string `json:"name"`
	Unit   string `json:"unit"`
	// Higher says that more is better.
	Higher bool `json:"higher_is_better,omitempty"`
	// Delta is the band within which a ratio counts as no difference: 0.05 is 5 %.
	Delta float64 `json:"delta"`
}

// SweepCell is one setting.
type SweepCell struct {
	// Values are those of the axes, in their order.
	Values   []string `json:"values"`
	Question int      `json:"question"`
	// Default says that the cell is the scenario as it stands, but for axes of work.
	Default bool `json:"default,omitempty"`
	// Round is the last one that the cell was in; Dropped says that it was left behind there.
	Round   int  `json:"round"`
	Dropped bool `json:"dropped,omitempty"`
	// Runs that count, in the cell's last round, and Missed of them that missed a threshold.
	Runs   int `json:"runs"`
	Missed int `json:"missed_thresholds"`
	// Figures are by objective, in their order; empty before the first run that counts.
	Figures []SweepFigure `json:"figures,omitempty"`
	// Pareto says that no other cell is better in both of the first two objectives;
	// ParetoShare is in how many of the resamples that held.
	Pareto      bool     `json:"pareto,omitempty"`
	ParetoShare *float64 `json:"pareto_share"`
}

// SweepFigure is one objective of one cell.
type SweepFigure struct {
	Values []float64 `json:"values"`
	Median *float64  `json:"median"`
	// Ratio of the cell to its question's default: the Hodges-Lehmann estimate with the
	// bounds Low and High, which hold it with at least Confidence. Null for the default itself.
	Ratio      *float64 `json:"ratio"`
	Low        *float64 `json:"low"`
	High       *float64 `json:"high"`
	Confidence *float64 `json:"confidence"`
	// P is of the exact Mann-Whitney test, PHolm the same corrected for the family of all
	// cells of the question.
	P     *float64 `json:"p"`
	PHolm *float64 `json:"p_holm"`
	// Verdict is improved, regressed, same or inconclusive against the default.
	Verdict string `json:"verdict,omitempty"`
	// Tie says that the cell is not shown to be worse than the best one by more than Delta.
	Tie bool `json:"tie,omitempty"`
}

// SweepQuestion is one load, and what came of the settings under it.
type SweepQuestion struct {
	// Values are those of the axes of work, "" for the others.
	Values []string `json:"values,omitempty"`
	// Name is "connections=500", and empty when there is one question alone.
	Name string `json:"name"`
	// Baseline is the index of the question's default.
	Baseline int `json:"baseline"`
	// Findings are what the sweep says, one sentence each, the verdict first.
	Findings []string `json:"findings"`
	// Results are by objective, in their order.
	Results []SweepResult `json:"results"`
}

// SweepResult is one objective of one question.
type SweepResult struct {
	// Best is the cell with the best median, -1 when there is none; Tie are the cells that
	// are not shown to be worse, the best among them.
	Best int   `json:"best"`
	Tie  []int `json:"tie"`
	// Counts is how many cells got each verdict against the default.
	Counts map[string]int `json:"counts"`
	// Effects are of the axes of settings, in their order.
	Effects []SweepEffect `json:"effects"`
	// Noise is the share of the variation over runs that no axis and no pair of axes
	// explains, null unless the cells are a full grid.
	Noise *float64 `json:"noise_share"`
}

// SweepEffect is what an axis does by itself, averaged over the others.
type SweepEffect struct {
	Axis int `json:"axis"`
	// Share of the variation over runs that the axis explains, null unless the cells are a
	// full grid.
	Share  *float64     `json:"share"`
	Levels []SweepLevel `json:"levels"`
}

// SweepLevel is one value of an axis: the geometric mean over the cells that have it,
// divided by that over all cells.
type SweepLevel struct {
	Value string  `json:"value"`
	Cells int     `json:"cells"`
	Mean  float64 `json:"mean"`
	Ratio float64 `json:"ratio"`
	// Low and High hold 95 % of the resamples of runs.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// SweepRound is a part of a sweep in which the same cells run equally often.
type SweepRound struct {
	Cells  []int `json:"cells"`
	Repeat int   `json:"repeat"`
	// Measure is the length of the measured phase, in seconds.
	Measure float64 `json:"measure_seconds"`
	// Confirm says that the round is there to confirm, with figures of its own alone.
	Confirm bool `json:"confirm,omitempty"`
	Steps   int  `json:"steps"`
}

// SweepRun is one run.
type SweepRun struct {
	Round int `json:"round"`
	// Step is the run's place in the order of its round, Block its repeat.
	Step  int `json:"step"`
	Block int `json:"block"`
	Cell  int `json:"cell"`
	// Attempt is 2 for a run that repeats an invalid one.
	Attempt int    `json:"attempt"`
	Seed    uint64 `json:"seed"`
	// Folder is the run's, within the sweep's.
	Folder  string    `json:"folder"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`

	Verdict      Verdict  `json:"verdict"`
	Reasons      []string `json:"reasons,omitempty"`
	ThresholdsOK bool     `json:"thresholds_ok"`
	Interrupted  bool     `json:"interrupted,omitempty"`
	Failure      string   `json:"failure,omitempty"`
	// Metrics are by name, as thresholds name them.
	Metrics map[string]float64 `json:"metrics"`
}

// SweepDrift is how an objective of a question's default changed over time.
type SweepDrift struct {
	Question  int    `json:"question"`
	Objective int    `json:"objective"`
	Verdict   string `json:"verdict"`
	Runs      int    `json:"runs"`
	// Change is the Theil-Sen slope over the whole sweep, as a ratio of end to start.
	Change *float64 `json:"change"`
	// P is of the exact Mann-Kendall test for a trend, Spread the quartile distance of the
	// runs over their median.
	P      *float64 `json:"p"`
	Spread *float64 `json:"spread"`
}

// Drift verdicts.
const (
	DriftSteady  = "steady"
	DriftDrifted = "drifted"
	DriftUnknown = "unknown"
)

// Counts tells whether the run stands in figures.
func (r SweepRun) Counts() bool { return r.Verdict != Invalid && !r.Interrupted && r.Failure == "" }

// sweepMetrics are kept of every run, beside the objectives.
var sweepMetrics = []string{
	"delivery.p50", "delivery.p99", "delivery.p99.9", "completion.p50", "completion.p95", "completion.p99", "completion.max",
	"server.cpu_us_per_delivery", "server.rss_peak_bytes", "server.rss_bytes_per_connection",
	"deliveries_per_second", "lost", "duplicated", "reordered", "publish_lag.p99", "capacity.messages_per_second",
}

// Note adds a run to the sweep.
func (s *Sweep) Note(run SweepRun, r *Result) {
	run.Verdict, run.Reasons, run.ThresholdsOK = r.Verdict, r.Reasons, r.ThresholdsOK
	run.Interrupted, run.Failure = r.Interrupted, r.Failure
	run.Started, run.Seconds = r.Started, r.Ended.Sub(r.Started).Seconds()
	run.Metrics = map[string]float64{}
	names := slices.Clone(sweepMetrics)
	for _, o := range s.Objectives {
		names = append(names, o.Metric)
	}
	for _, name := range names {
		if v, reason := r.Metric(name); reason == "" {
			run.Metrics[name] = v
		}
	}
	if s.Environment.CPU == "" {
		s.Environment = r.Environment
	}
	s.Seconds += run.Seconds
	s.Runs = append(s.Runs, run)
}

// Label names a cell by its settings, as "Num=1 ConsumerNum=32".
func (s *Sweep) Label(cell int) string {
	c := s.Cells[cell]
	var parts []string
	for i, a := range s.Axes {
		if !a.Work {
			parts = append(parts, a.Name+"="+c.Values[i])
		}
	}
	return strings.Join(parts, " ")
}

// objectiveNames are the figures that sweeps know how to name.
var objectiveNames = map[string]struct{ name, unit string }{}

func init() {
	for _, m := range versusMetrics {
		objectiveNames[m.metric] = struct{ name, unit string }{m.name, m.unit}
	}
	objectiveNames["capacity.messages_per_second"] = struct{ name, unit string }{"capacity", "messages/s"}
	objectiveNames["server.rss_peak_bytes"] = struct{ name, unit string }{"server memory at most", "bytes"}
	objectiveNames["connections_per_second"] = struct{ name, unit string }{"connections", "/s"}
}

// Objective describes a metric as an objective. More is better of what is counted by
// the second, and less of all else.
func Objective(metric string) SweepObjective {
	o := SweepObjective{Metric: metric, Name: metric, Delta: 0.05}
	if n, ok := objectiveNames[metric]; ok {
		o.Name, o.Unit = n.name, n.unit
	} else if d, point, ok := strings.Cut(metric, "."); ok && slices.Contains(distributionNames, d) {
		o.Name, o.Unit = strings.TrimSpace(label(d)+" "+point), "ms"
	}
	o.Higher = strings.HasSuffix(metric, "_per_second") || metric == "reach"
	if metric == "server.cpu_us_per_delivery" {
		o.Delta = 0.03
	}
	return o
}

// WriteSweepState writes the document alone, in one step: what a sweep under way keeps.
func WriteSweepState(dir string, s *Sweep) error {
	data, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", SweepFile, err)
	}
	return writeFile(filepath.Join(dir, SweepFile), append(data, '\n'))
}

// WriteSweep writes the document and all that is made from it into dir.
func WriteSweep(dir string, s *Sweep) error {
	problems := []error{WriteSweepState(dir, s)}
	problems = append(problems,
		writeFile(filepath.Join(dir, SummaryFile), []byte(s.Summary(dir))),
		writeFile(filepath.Join(dir, SweepCSVFile), s.CSV()),
		writeFile(filepath.Join(dir, SweepBenchFile), s.Bench()),
	)
	page, err := s.HTML()
	if err == nil {
		err = writeFile(filepath.Join(dir, HTMLFile), page)
	}
	return errors.Join(append(problems, err)...)
}

// ReadSweep loads a sweep from its folder, or from its document.
func ReadSweep(path string) (*Sweep, error) {
	s := &Sweep{}
	return s, readDocument(path, SweepFile, SweepSchema, s, func() string { return s.Schema })
}

// readDocument reads a document of a schema from its file, or from the folder that it lies in.
func readDocument(path, file, schema string, to any, is func() string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, file)
	}
	data, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	if err := json.Unmarshal(data, to); err != nil {
		return fmt.Errorf("%s: %w: %w", path, ErrSchema, err)
	}
	if is() != schema {
		return fmt.Errorf("%s: %w: schema is %q, this build reads %q", path, ErrSchema, is(), schema)
	}
	return nil
}
