package reports_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firetower/reports"
)

// planted makes a sweep over 3 x 3 x 2 settings of the given effects on the first
// objective, with noise of single runs; the default is 4, 100 and 32.
func planted(design string, repeat int, noise float64, effect func(num, buff, consumers string) float64) *reports.Sweep {
	s := &reports.Sweep{
		Schema: reports.SweepSchema, ID: "planted", Scenario: "1k-group", Purpose: "A thousand subscribers of one topic", Loop: "open",
		Started: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Seed: 1, Design: design, Repeat: repeat, BaselineEvery: 5, Complete: true,
		Grid: "bucket.Num=1,2,4 bucket.BuffChanCount=100,1000,10000 bucket.ConsumerNum=1,32",
		Axes: []reports.SweepAxis{
			{Key: "gateway.bucket.Num", Name: "Num", Values: []string{"1", "2", "4"}, Default: "4"},
			{Key: "gateway.bucket.BuffChanCount", Name: "BuffChanCount", Values: []string{"100", "1000", "10000"}, Default: "1000"},
			{Key: "gateway.bucket.ConsumerNum", Name: "ConsumerNum", Values: []string{"1", "32"}, Default: "32"},
		},
		Objectives: []reports.SweepObjective{reports.Objective("delivery.p99"), reports.Objective("server.cpu_us_per_delivery")},
		Questions:  []reports.SweepQuestion{{}},
	}
	s.Cells = append(s.Cells, reports.SweepCell{Values: []string{"4", "1000", "32"}, Default: true})
	for _, n := range s.Axes[0].Values {
		for _, b := range s.Axes[1].Values {
			for _, c := range s.Axes[2].Values {
				if v := []string{n, b, c}; !slices.Equal(v, s.Cells[0].Values) {
					s.Cells = append(s.Cells, reports.SweepCell{Values: v})
				}
			}
		}
	}
	round := reports.SweepRound{Repeat: repeat, Measure: 5}
	for i := range s.Cells {
		round.Cells = append(round.Cells, i)
	}
	s.Rounds = []reports.SweepRound{round}
	r := rand.New(rand.NewPCG(7, 7))
	add := func(block, cell int) {
		c := s.Cells[cell]
		s.Runs = append(s.Runs, reports.SweepRun{
			Step: len(s.Runs), Block: block, Cell: cell, Attempt: 1, Folder: fmt.Sprintf("runs/%d", len(s.Runs)), Seconds: 12,
			Started: s.Started.Add(time.Duration(len(s.Runs)) * 12 * time.Second), Verdict: reports.Valid, ThresholdsOK: true,
			Metrics: map[string]float64{
				"delivery.p99":               20 * effect(c.Values[0], c.Values[1], c.Values[2]) * math.Exp(noise*r.NormFloat64()),
				"server.cpu_us_per_delivery": 4 / math.Sqrt(effect(c.Values[0], c.Values[1], c.Values[2])) * math.Exp(noise/2*r.NormFloat64()),
			},
		})
	}
	for block := range repeat {
		for i := range s.Cells {
			if i > 0 && i%4 == 0 {
				add(block, 0)
			}
			add(block, i)
		}
	}
	s.Seconds = float64(12 * len(s.Runs))
	s.Fill()
	return s
}

func nothing(string, string, string) float64 { return 1 }

// fewConsumers makes every setting with one consumer a quarter faster.
func fewConsumers(_, _, consumers string) float64 {
	if consumers == "1" {
		return 0.75
	}
	return 1
}

func TestSweepPage(t *testing.T) {
	t.Parallel()
	s := planted("grid", 3, 0.04, fewConsumers)
	page, err := s.HTML()
	if err != nil {
		t.Fatal(err)
	}
	if out := os.Getenv("SWEEP_PAGE"); out != "" {
		if err := os.WriteFile(filepath.Clean(out), page, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(page) > 1<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
	for _, want := range []string{"Main effects on delivery p99", "Keys and figures", "The default over time", "Pareto", `id="document"`, "firetower.sweep/v1"} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("lacks %q", want)
		}
	}
	drawn := page[:bytes.Index(page, []byte("<script"))]
	for _, bad := range []string{"NaN", "Inf", "http://", "https://", "%!"} {
		if i := bytes.Index(drawn, []byte(bad)); i >= 0 {
			t.Errorf("has %q: %s", bad, drawn[max(0, i-80):i+80])
		}
	}
}

func TestSweepFindsWhatWasPlanted(t *testing.T) {
	t.Parallel()
	s := planted("grid", 3, 0.03, fewConsumers)
	for i, c := range s.Cells {
		f := c.Figures[0]
		switch {
		case c.Default:
		case c.Values[2] == "1" && f.Verdict != "improved":
			t.Errorf("%s: %s, p %v", s.Label(i), f.Verdict, *f.PHolm)
		case c.Values[2] == "32" && (f.Verdict == "improved" || f.Verdict == "regressed"):
			t.Errorf("%s: %s", s.Label(i), f.Verdict)
		}
		if c.Values[2] == "1" != f.Tie {
			t.Errorf("%s: tie %v", s.Label(i), f.Tie)
		}
	}
	result := s.Questions[0].Results[0]
	for _, e := range result.Effects {
		if big := *e.Share > 0.5; big != (s.Axes[e.Axis].Name == "ConsumerNum") {
			t.Errorf("%s explains %.2f of the variation", s.Axes[e.Axis].Name, *e.Share)
		}
	}
	if text := s.Summary("somewhere"); !strings.Contains(text, "against the default: 9 better") || !strings.Contains(text, "the default is not among them") {
		t.Error(text)
	}
}

// Three runs of a cell scatter less among themselves than three others would; intervals
// of main effects are as wide as they must be all the same.
func TestEffectsOfFewRunsAreNotTooSure(t *testing.T) {
	t.Parallel()
	s := planted("grid", 3, 0.1, nothing)
	for _, e := range s.Questions[0].Results[0].Effects {
		if s.Axes[e.Axis].Name != "ConsumerNum" {
			continue
		}
		// Two levels of nine cells of three runs: the distance of one from the mean of both
		// has a deviation of 0.1 / sqrt(2 * 27), and the interval twice 1.96 of that.
		want := 2 * 1.96 * 0.1 / math.Sqrt(2*27)
		for _, l := range e.Levels {
			if got := math.Log(l.High / l.Low); math.Abs(got/want-1) > 0.15 {
				t.Errorf("%s: an interval of %.4f, want some %.4f", l.Value, got, want)
			}
		}
	}
}

func TestSweepWithoutEffectSaysSo(t *testing.T) {
	t.Parallel()
	s := planted("grid", 3, 0.03, nothing)
	text := s.Summary("")
	for line := range strings.Lines(text) {
		if len(line) > 119 {
			t.Errorf("a line of %d characters: %s", len(line), line)
		}
	}
	if want := "  Num  BuffChanCount  ConsumerNum   runs"; !strings.Contains(text, want) {
		t.Errorf("lacks %q:\n%s", want, text)
	}
	if !strings.Contains(text, "No setting beats the default beyond noise here: none of 17 settings, on none of 2 objectives.") ||
		!strings.Contains(text, "the default among them.") {
		t.Error(text)
	}
	if v := s.Drift[0].Verdict; v != reports.DriftSteady {
		t.Errorf("drift: %s", v)
	}
	for _, e := range s.Questions[0].Results[0].Effects {
		for _, l := range e.Levels {
			if l.Ratio > 1.05 || l.Ratio < 0.95 || l.Low > l.Ratio || l.High < l.Ratio {
				t.Errorf("level %+v", l)
			}
		}
	}
}

// Where only what the question is about has several values, each question has the default alone.
// A setting that is fast since it loses messages is not praised.
func TestSweepDoesNotPraiseWhatMissedAThreshold(t *testing.T) {
	t.Parallel()
	s := planted("grid", 3, 0.03, fewConsumers)
	for i := range s.Runs {
		s.Runs[i].ThresholdsOK = s.Cells[s.Runs[i].Cell].Values[2] != "1"
	}
	s.Fill()
	findings := strings.Join(s.Questions[0].Findings, "\n")
	for want, is := range map[string]bool{
		"Delivery p99 against the default: 9 better, ": true, "Of the better ones 9 missed a threshold": true,
		"No setting beats the default beyond noise here": true, "furthest ahead": false,
	} {
		if strings.Contains(findings, want) != is {
			t.Errorf("%q is said: %v\n%s", want, !is, findings)
		}
	}
}

func TestSweepOfTheDefaultAlone(t *testing.T) {
	t.Parallel()
	s := planted("grid", 3, 0.03, nothing)
	s.Cells, s.Rounds[0].Cells = s.Cells[:1], []int{0}
	s.Runs = slices.DeleteFunc(s.Runs, func(r reports.SweepRun) bool { return r.Cell != 0 })
	s.Fill()
	if text := s.Summary(""); !strings.Contains(text, "The default is the only setting here") || !strings.Contains(text, "4    1000           32              15 ") {
		t.Error(text)
	}
	s.Runs = nil
	s.Fill()
	if text := s.Summary(""); strings.Contains(text, "its figures stand for themselves") {
		t.Error(text)
	}
}
