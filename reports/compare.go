package reports

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"firetower/reports/stats"
)

// ErrUnlike says that results do not answer the same question on the same machine, so
// that their figures cannot be compared.
var ErrUnlike = errors.New("the results are not of the same question")

// ErrNoRuns says that a side has no run that counts.
var ErrNoRuns = errors.New("there is nothing to compare")

// CompareSchema names the format of a comparison of sets of runs.
const CompareSchema = "firetower.compare/v1"

// Comparisons are what `report compare` found: one comparison, or one for each other
// target of a folder of runs that took turns.
type Comparisons struct {
	Schema string `json:"schema"`
	// Verdict is regressed when any comparison's is, improved when any is and none
	// regressed, same when all are, and otherwise inconclusive.
	Verdict     stats.Verdict `json:"verdict"`
	Comparisons []*Comparison `json:"comparisons"`
}

// Comparison is two sets of runs of the same question. The observation is a run.
type Comparison struct {
	Scenario string `json:"scenario"`
	Base     Side   `json:"base"`
	New      Side   `json:"new"`
	// Verdict is that of the primary figures together, as far as what was lost without a fault
	// to explain it lets them say anything.
	Verdict stats.Verdict `json:"verdict"`
	// Runs is how many runs of each side would decide what is inconclusive, by what is
	// known now; 0 when nothing is, or when that cannot be told.
	Runs int `json:"runs_needed,omitempty"`
	// Alpha is the chance of a false alarm over all primary figures; intervals have
	// 1 - Alpha or more.
	Alpha float64 `json:"alpha"`
	// Paired says that runs were compared block by block.
	Paired bool `json:"paired"`
	// Identical says that both sides are the very same runs: every figure is the same as
	// itself, and no statistics were asked.
	Identical bool `json:"identical,omitempty" schema:"optional"`
	// Forced says that Unlike, the reasons to refuse the comparison, were overridden.
	Forced bool     `json:"forced,omitempty"`
	Unlike []string `json:"unlike,omitempty"`
	// Differences are what else differs between the machines, builds and settings.
	Differences []string `json:"differences,omitempty"`
	// Losses say what each side lost that no fault explains; empty when neither lost anything,
	// and for sides that are identical.
	Losses []string `json:"losses,omitempty" schema:"optional"`
	// Notes are what a reader must know of the comparison.
	Notes []string `json:"notes,omitempty"`
	// Figures are the primary ones first, which the verdict is of, and then others.
	Figures []ComparedFigure `json:"figures"`
	// Curve is the ratio of the delivery latency, quantile by quantile: a picture of
	// what moved, not a verdict. Null when a side has no deliveries.
	Curve *QuantileCurve `json:"delivery_quantiles"`
}

// Side is one set of runs of a comparison.
type Side struct {
	Label  string `json:"label"`
	Target string `json:"target"`
	Commit string `json:"commit"`
	Binary string `json:"binary_sha256"`
	// Runs count; Excluded ones stand in no figure: they are invalid, were interrupted, or
	// are named twice.
	Runs     []string   `json:"runs"`
	Excluded []Excluded `json:"excluded,omitempty"`
	// Within is how solid a single run's p99 is by itself, null of several runs.
	Within *WithinRun `json:"within_run,omitempty"`
}

// Excluded is a run that does not count.
type Excluded struct {
	Run    string `json:"run"`
	Reason string `json:"reason"`
}

// ComparedFigure is one figure of both sides.
type ComparedFigure struct {
	Metric string `json:"metric"`
	Name   string `json:"name"`
	Unit   string `json:"unit"`
	// Primary figures are judged; the others are shown.
	Primary        bool `json:"primary"`
	HigherIsBetter bool `json:"higher_is_better"`
	// Band is how much of a change does not matter, as 0.05.
	Band float64 `json:"band,omitempty"`
	// Base and New have a value for each run that counts, in their order; when paired,
	// values of the same index are of one block.
	Base       []float64 `json:"base"`
	New        []float64 `json:"new"`
	BaseMedian *float64  `json:"base_median"`
	NewMedian  *float64  `json:"new_median"`
	// Ratio is new / base by Hodges and Lehmann, Low to High its interval and Confidence
	// what that one has. With too few runs for an interval of 1 - alpha, it is the widest
	// there is, and Bounded is false.
	Ratio      *float64 `json:"ratio"`
	Low        *float64 `json:"low"`
	High       *float64 `json:"high"`
	Confidence float64  `json:"confidence,omitempty"`
	Bounded    bool     `json:"bounded,omitempty"`
	// Test is "Mann-Whitney" or "signed rank", P its two-sided p and Holm the same
	// adjusted over the primary figures.
	Test string   `json:"test,omitempty"`
	P    *float64 `json:"p"`
	Holm *float64 `json:"p_holm"`
	// Verdict is empty for figures that are not judged; Reason says why it is
	// inconclusive, and Runs how many runs of each side would decide.
	Verdict stats.Verdict `json:"verdict,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	Runs    int           `json:"runs_needed,omitempty"`
}

// QuantileCurve is the ratio new / base of a distribution by quantile.
type QuantileCurve struct {
	Quantiles []float64  `json:"quantiles"`
	Ratio     []*float64 `json:"ratio"`
	// Low and High are a band by resampling whole runs; null with fewer than
	// stats.MinBandRuns runs of a side.
	Low  []*float64 `json:"low"`
	High []*float64 `json:"high"`
	// BaseRuns and NewRuns are each single run, by quantile, divided by the quantile of
	// all base runs together.
	BaseRuns [][]*float64 `json:"base_runs"`
	NewRuns  [][]*float64 `json:"new_runs"`
}

// CompareOptions are how to compare.
type CompareOptions struct {
	// Force compares what is unlike.
	Force bool
	// Alpha is the chance of a false alarm, 0.05 for intervals of 95 %.
	Alpha float64
	// Band is how much of a change of latency, throughput and memory does not matter,
	// BandCPU that of CPU per delivery: 0.05 is from 1/1.05 to 1.05.
	Band, BandCPU float64
}

// DefaultCompareOptions are 5 % false alarms, a band of 5 %, and of 3 % for CPU.
func DefaultCompareOptions() CompareOptions {
	return CompareOptions{Alpha: 0.05, Band: 0.05, BandCPU: 0.03}
}

// Validate reports every option that cannot be.
func (o CompareOptions) Validate() error {
	var errs []error
	if !(o.Alpha > 0 && o.Alpha <= 0.5) {
		errs = append(errs, fmt.Errorf("alpha: must be above 0 and at most 0.5, got %v", o.Alpha))
	}
	for _, b := range []struct {
		name string
		band float64
	}{{"band", o.Band}, {"band for CPU", o.BandCPU}} {
		if !(b.band >= 0 && b.band < 1) {
			errs = append(errs, fmt.Errorf("%s: must be 0 to below 1, got %v", b.name, b.band))
		}
	}
	return errors.Join(errs...)
}

// comparedMetric is a figure to compare.
type comparedMetric struct {
	metric, name, unit string
	higher             bool
}

// metricCapacity is the figure of a search for the highest rate.
const metricCapacity = "capacity.messages_per_second"

var (
	metricCPU  = comparedMetric{"server.cpu_us_per_delivery", "server CPU per delivery", "us", false}
	metricRSS  = comparedMetric{"server.rss_bytes_per_connection", "memory per idle connection", "bytes", false}
	metricRate = comparedMetric{"deliveries_per_second", "deliveries", "/s", true}
)

// primaryMetrics are declared by the kind of load, before any value is seen. They are
// few, since each makes it harder to call the others: six can be decided by five runs
// a side. Latency of a closed loop is not what users see, and the rate of an open
// loop is what was asked for.
func primaryMetrics(r *Result) []comparedMetric {
	switch {
	case r.Capacity != nil:
		return []comparedMetric{{metricCapacity, "sustained rate", "messages/s", true}, metricCPU, metricRSS}
	case r.Loop == "closed":
		return []comparedMetric{metricRate, metricCPU, metricRSS}
	case r.Loop == "idle":
		return []comparedMetric{metricRSS, {"connect.p99", "connect p99", "ms", false}}
	default:
		return []comparedMetric{
			{"delivery.p50", "delivery p50", "ms", false},
			{"delivery.p99", "delivery p99", "ms", false},
			{"completion.p50", "completion p50", "ms", false},
			{"completion.p95", "completion p95", "ms", false},
			metricCPU, metricRSS,
		}
	}
}

// secondaryMetrics are shown beside them, and not judged.
var secondaryMetrics = []comparedMetric{
	{"delivery.p99.9", "delivery p99.9", "ms", false},
	{"completion.p99", "completion p99", "ms", false},
	{"first.p50", "first arrival p50", "ms", false},
	{"publish_ack.p99", "publish ack p99", "ms", false},
	{"publish_lag.p99", "publish lag p99", "ms", false},
	{"deliveries_per_second", "deliveries", "/s", true},
	{"server.rss_peak_bytes", "server memory peak", "bytes", false},
	{"lost", "lost", "", false},
	{"duplicated", "duplicated", "", false},
	{"reordered", "reordered", "", false},
	{"disconnected", "disconnected", "", false},
}

// NewComparisons is a document of some comparisons.
func NewComparisons(cs ...*Comparison) *Comparisons {
	d := &Comparisons{Schema: CompareSchema, Comparisons: cs}
	var verdicts []stats.Verdict
	for _, c := range cs {
		verdicts = append(verdicts, c.Verdict)
	}
	d.Verdict = stats.Overall(verdicts)
	return d
}

// Compare compares two sets of runs. Sets of different questions or machines are
// refused unless forced; invalid runs are left out and listed.
func Compare(base, next Set, o CompareOptions) (*Comparison, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	c := &Comparison{Alpha: o.Alpha}
	var b, n counted
	c.Base, b = side(base)
	c.New, n = side(next)
	if len(b.runs) == 0 || len(n.runs) == 0 {
		var out []string
		for _, e := range slices.Concat(c.Base.Excluded, c.New.Excluded) {
			out = append(out, e.Run)
		}
		return nil, fmt.Errorf("%w: no run of a side is valid or degraded (left out: %s)", ErrNoRuns, strings.Join(out, ", "))
	}
	turns := base.Source != "" && base.Source == next.Source
	c.Scenario = n.runs[0].Scenario
	shared := 0
	for _, r := range b.runs {
		if slices.ContainsFunc(n.runs, r.isSame) {
			shared++
		}
	}
	c.Identical = shared == len(b.runs) && shared == len(n.runs)
	if !c.Identical {
		c.Unlike = unlike(b.runs, n.runs, turns)
	}
	c.Forced = len(c.Unlike) > 0
	if c.Forced && !o.Force {
		return nil, fmt.Errorf("%w: %s", ErrUnlike, strings.Join(c.Unlike, "; "))
	}
	c.Differences = differences(b.runs, n.runs)
	switch {
	case c.Identical:
		c.Notes = append(c.Notes, "Both sides are the same runs: they are the same as themselves, and nothing was measured twice.")
	case shared > 0:
		c.Notes = append(c.Notes, fmt.Sprintf("%s on both sides: what is the same as itself shows no change.", plural(int64(shared), "run")))
	}
	c.judge(b, n, turns, o)
	for _, m := range secondaryMetrics {
		if !slices.ContainsFunc(c.Figures, func(f ComparedFigure) bool { return f.Metric == m.metric }) {
			if f := m.figure(b, n); len(f.Base)+len(f.New) > 0 {
				c.Figures = append(c.Figures, f)
			}
		}
	}
	c.Curve = quantileCurve(b.runs, n.runs)
	return c, nil
}

// counted are the runs of a side that count, with their blocks.
type counted struct {
	runs   []*Result
	blocks []int
}

func side(set Set) (Side, counted) {
	s := Side{Label: set.Label, Runs: []string{}, Within: set.Within}
	var c counted
	for i, r := range set.Runs {
		why := r.outOfFigures()
		if slices.ContainsFunc(c.runs, r.isSame) {
			why = "it is named twice, and one run is one observation"
		}
		if why != "" {
			s.Excluded = append(s.Excluded, Excluded{r.ID, why})
			continue
		}
		s.Runs = append(s.Runs, r.ID)
		s.Target, s.Commit, s.Binary = r.Target, r.commit(), r.build().Binary
		c.runs = append(c.runs, r)
		if i < len(set.Blocks) {
			c.blocks = append(c.blocks, set.Blocks[i])
		}
	}
	if s.Label == "" {
		s.Label = ShortTarget(s.Target)
	}
	return s, c
}

// isSame tells whether two documents are of one run: it has one number, drawn at its
// start, wherever its folder was copied to.
func (r *Result) isSame(o *Result) bool {
	return o.ID == r.ID && o.Started.Equal(r.Started) && o.RunID == r.RunID
}

// outOfFigures is why a run stands in no figure of several runs, empty for one that does.
// What an interrupted one has measured is of another length, and of its beginning alone.
func (r *Result) outOfFigures() string {
	switch {
	case r.Verdict == Invalid:
		return "invalid: " + strings.Join(r.Reasons, "; ")
	case r.Interrupted:
		return "interrupted"
	default:
		return ""
	}
}

// judge fills in the primary figures and the verdict.
func (c *Comparison) judge(b, n counted, turns bool, o CompareOptions) {
	var metrics []comparedMetric
	for _, m := range primaryMetrics(n.runs[0]) {
		if len(b.values(m.metric)) == 0 && len(n.values(m.metric)) == 0 {
			_, reason := n.runs[0].Metric(m.metric)
			c.Notes = append(c.Notes, fmt.Sprintf("%s is not judged: %s.", m.name, reason))
			continue
		}
		metrics = append(metrics, m)
	}
	var questions []stats.Question
	for _, m := range metrics {
		band := o.Band
		if m.metric == metricCPU.metric {
			band = o.BandCPU
		}
		f := m.figure(b, n)
		f.Primary, f.Band = true, band
		q := stats.Question{Base: f.Base, Next: f.New, Band: band, HigherIsBetter: m.higher}
		if base, next := pairs(b, n, m.metric); turns && stats.EnoughPairs(len(base), o.Alpha, len(metrics)) {
			q.Base, q.Next, q.Paired = base, next, true
			f.Base, f.New = base, next
			f.BaseMedian, f.NewMedian = Median(base), Median(next)
			c.Paired = true
		}
		questions = append(questions, q)
		c.Figures = append(c.Figures, f)
	}
	if left := len(b.runs) + len(n.runs); c.Paired {
		base, _ := pairs(b, n, metrics[0].metric)
		if left -= 2 * len(base); left > 0 {
			c.Notes = append(c.Notes, fmt.Sprintf("%s in no pair: the other of the block does not count.", plural(int64(left), "run")))
		}
	}
	if c.Identical {
		c.Verdict = stats.Same
		for i := range c.Figures {
			f := &c.Figures[i]
			f.Verdict, f.Ratio, f.Low, f.High = stats.Same, ptr(1.0), nil, nil
		}
		return
	}
	var verdicts []stats.Verdict
	for i, a := range stats.Decide(questions, o.Alpha) {
		c.censor(&a, metrics[i].metric, b, n)
		c.Figures[i].answer(a)
		verdicts = append(verdicts, a.Verdict)
		if a.Verdict == stats.Inconclusive {
			c.Runs = max(c.Runs, a.Runs)
		}
	}
	c.Verdict = stats.Overall(verdicts)
	c.weighLosses(b, n, o)
}

// losses are what runs lost that no fault explains.
type losses struct {
	runs                 int
	deliveries, expected int64
	shares               []float64 // of what was due, by run
}

func (c counted) losses() losses {
	var l losses
	for _, r := range c.runs {
		lost, due := r.LossUnexplained(), r.Expected
		if r.Churn != nil {
			due += r.Churn.Due
		}
		if lost > 0 {
			l.runs++
		}
		l.deliveries += lost
		l.expected += due
		l.shares = append(l.shares, float64(lost)/float64(max(due, 1)))
	}
	return l
}

// weighLosses keeps a build from being praised for what it did not deliver: a lost message
// has no latency, and those that were left had the less to wait for. A build that surely
// loses more is worse, whatever else the runs say; one that may lose more is not better; and one
// that is slower than another which surely lost more may be no worse.
func (c *Comparison) weighLosses(b, n counted, o CompareOptions) {
	was, is := b.losses(), n.losses()
	if was.runs+is.runs == 0 {
		return
	}
	for _, side := range []struct {
		label string
		losses
		of int
	}{{c.New.Label, is, len(n.runs)}, {c.Base.Label, was, len(b.runs)}} {
		c.Losses = append(c.Losses, fmt.Sprintf("%s lost %s of %s deliveries that no fault explains, in %d of %s.",
			side.label, commas(side.deliveries), commas(side.expected), side.runs, plural(int64(side.of), "run")))
	}
	more, surely := losesMore(was, is, o)
	less, surelyLess := losesMore(is, was, o)
	switch {
	case more && surely:
		c.Verdict = stats.Regressed
	case more && (c.Verdict == stats.Improved || c.Verdict == stats.Same),
		less && surelyLess && c.Verdict == stats.Regressed:
		c.Verdict = stats.Inconclusive
	}
}

// losesMore tells whether some runs lose a larger share than others by more than the band, and
// whether that is no chance: by the rank-sum test over runs, or since each of several loses more
// than any of the others.
func losesMore(than, loses losses, o CompareOptions) (more, surely bool) {
	more = float64(loses.deliveries)*float64(than.expected) > (1+o.Band)*float64(than.deliveries)*float64(loses.expected)
	surely = stats.MannWhitney(than.shares, loses.shares).P <= o.Alpha ||
		len(loses.shares) >= minVersusRuns && slices.Min(loses.shares) > slices.Max(than.shares)
	return more, surely
}

// censor takes back what rates that were never exceeded cannot tell: with a search on
// either side that ended at its highest rate, the same may be two different capacities.
func (c *Comparison) censor(a *stats.Answer, metric string, b, n counted) {
	if metric != metricCapacity {
		return
	}
	censored := int64(0)
	for _, r := range slices.Concat(b.runs, n.runs) {
		if r.Capacity != nil && r.Capacity.censored() {
			censored++
		}
	}
	if censored == 0 {
		return
	}
	c.Notes = append(c.Notes, fmt.Sprintf("%s held the highest rate of the search (capacity.to): the sustained rate is that or more.", plural(censored, "run")))
	if a.Verdict == stats.Same {
		a.Verdict, a.Reason, a.Runs = stats.Inconclusive, "a search ended at its highest rate", 0
	}
}

func (f *ComparedFigure) answer(a stats.Answer) {
	f.estimate(a.Ratio)
	f.Test, f.P, f.Holm = a.Test, ptr(a.P), ptr(a.Holm)
	f.Verdict, f.Reason, f.Runs = a.Verdict, a.Reason, a.Runs
}

func (f *ComparedFigure) estimate(e stats.Estimate) {
	if math.IsNaN(e.Value) || math.IsInf(e.Low, 0) || math.IsInf(e.High, 0) {
		return
	}
	f.Ratio, f.Low, f.High, f.Confidence, f.Bounded = ptr(e.Value), ptr(e.Low), ptr(e.High), e.Confidence, e.Bounded
}

// figure is a metric of both sides, not judged.
func (m comparedMetric) figure(b, n counted) ComparedFigure {
	f := ComparedFigure{Metric: m.metric, Name: m.name, Unit: m.unit, HigherIsBetter: m.higher, Base: b.values(m.metric), New: n.values(m.metric)}
	f.BaseMedian, f.NewMedian = Median(f.Base), Median(f.New)
	// Counts of zero have no ratio.
	if e, err := stats.Ratio(f.Base, f.New, 0.95); err == nil && len(f.Base) > 0 && len(f.New) > 0 {
		f.estimate(e)
	}
	return f
}

func (c counted) values(metric string) []float64 {
	out := []float64{}
	for _, r := range c.runs {
		if v, reason := r.Metric(metric); reason == "" {
			out = append(out, v)
		}
	}
	return out
}

// pairs are the values of the blocks in which both sides have one.
func pairs(b, n counted, metric string) (base, next []float64) {
	if len(b.blocks) != len(b.runs) || len(n.blocks) != len(n.runs) {
		return nil, nil
	}
	for i, r := range b.runs {
		j := slices.Index(n.blocks, b.blocks[i])
		if j < 0 {
			continue
		}
		x, missing := r.Metric(metric)
		y, missingToo := n.runs[j].Metric(metric)
		if missing == "" && missingToo == "" {
			base, next = append(base, x), append(next, y)
		}
	}
	return base, next
}

// quantileCurve compares the delivery latency of two sets by quantile, as far as each
// side has the deliveries for.
func quantileCurve(base, next []*Result) *QuantileCurve {
	histograms := func(runs []*Result) (hs []stats.Histogram, count int64) {
		for _, r := range runs {
			h := r.Histograms["delivery"]
			if h == nil || h.Count() == 0 {
				continue
			}
			var out stats.Histogram
			for _, b := range h.Buckets() {
				out = append(out, stats.Bin{Value: float64(max(b.ToNS, 1)), Count: b.Count})
				count += b.Count
			}
			hs = append(hs, out)
		}
		return hs, count
	}
	b, inBase := histograms(base)
	n, inNew := histograms(next)
	if len(b) == 0 || len(n) == 0 {
		return nil
	}
	c := &QuantileCurve{}
	for _, q := range stats.RatioCurve() {
		if stats.Support(q, 0.95) <= min(inBase, inNew) {
			c.Quantiles = append(c.Quantiles, q)
		}
	}
	o := stats.DefaultBootstrap()
	if min(len(b), len(n)) < stats.MinBandRuns {
		o.Draws = 0
	}
	ratios, err := stats.QuantileRatios(b, n, c.Quantiles, o)
	if err != nil {
		return nil
	}
	finite := func(v float64) *float64 {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return &v
	}
	for _, e := range ratios {
		c.Ratio, c.Low, c.High = append(c.Ratio, finite(e.Value)), append(c.Low, finite(e.Low)), append(c.High, finite(e.High))
	}
	single := func(hs []stats.Histogram) [][]*float64 {
		var out [][]*float64
		for _, h := range hs {
			var line []*float64
			one, err := stats.QuantileRatios(b, []stats.Histogram{h}, c.Quantiles, stats.Bootstrap{})
			if err != nil {
				return nil
			}
			for _, e := range one {
				line = append(line, finite(e.Value))
			}
			out = append(out, line)
		}
		return out
	}
	c.BaseRuns, c.NewRuns = single(b), single(n)
	return c
}
