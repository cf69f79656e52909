package reports

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// stageClasses give the stages colours that stay theirs: the harness's own are quiet,
// the rest that no one measured is the quietest.
func stageClasses(stages []Stage) []string {
	servers := []string{"f1", "f2", "f3", "f4", "f6", "f7", "f8"}
	out := make([]string, len(stages))
	next := 0
	for i, s := range stages {
		if s.Source == "servers" {
			out[i] = servers[next%len(servers)]
			next++
			continue
		}
		out[i] = "f5"
	}
	return out
}

// budget is where the time of a delivery goes.
func (r *Result) budget() block {
	b := bars{label: "Mean time of a delivery by stage", title: "ms", show: func(v float64) string { return figure(v) + " ms" }}
	row := barRow{name: "mean"}
	t := table{Head: []string{"stage", "count", "mean, ms", "share of the mean", "p50, ms", "p99, ms", "told by"}}
	sum := 0.0
	for _, s := range r.Budget {
		sum += s.Mean
	}
	classes := stageClasses(r.Budget)
	var legends []legend
	notes := table{Head: []string{"stage", "what it is"}, Text: true}
	for i, s := range r.Budget {
		row.parts = append(row.parts, barPart{s.Name, classes[i], s.Mean})
		share := none
		if sum > 0 {
			share = fmt.Sprintf("%.1f %%", 100*s.Mean/sum)
		}
		t.Rows = append(t.Rows, []string{s.Name, commas(s.Count), figure(s.Mean), share, figureOr(s.P50), figureOr(s.P99), s.Source})
		legends = append(legends, legend{"wide s" + classes[i][1:], s.Name})
		notes.Rows = append(notes.Rows, []string{s.Name, s.Note})
	}
	row.total = figure(sum) + " ms"
	b.rows = []barRow{row}
	var gaps []string
	for _, g := range r.BudgetGaps {
		gaps = append(gaps, g.sentence())
	}
	return block{
		Text: gaps,
		Plot: &plot{
			Title:   "Mean time of a delivery, by stage",
			Caption: "Means add up to the mean of the delivery; percentiles do not. Stages that no server told of itself are grey.",
			SVG:     b.svg(), Legend: legends, Table: notes,
		},
		Table: &t,
	}
}

// sentence says what of a server is in no stage.
func (g BudgetGap) sentence() string {
	return fmt.Sprintf("In no stage: %s for %s, %s to %s into the measured phase: %s.", g.Server, seconds(g.To-g.From), seconds(g.From), seconds(g.To), g.Reason)
}

// capacity is the search for the highest rate.
func (r *Result) capacityBlocks() []block {
	c := r.Capacity
	if c == nil {
		return nil
	}
	sentence := "No rate that was tried held."
	if c.MessagesPerSecond > 0 {
		sentence = fmt.Sprintf("%s messages/s held, which is %s deliveries/s, with a p99 of at most %s ms.", figure(c.MessagesPerSecond), short(roundTo(c.DeliveriesPerSecond, 3)), figure(c.P99Limit))
	}
	if c.Failed != nil {
		sentence += " " + figure(*c.Failed) + " messages/s did not."
	} else if c.MessagesPerSecond > 0 {
		sentence = "At least " + sentence + " capacity.to ends the search there: the highest rate is not known."
	}
	t := table{Head: []string{"trial", "messages/s", "achieved", "p50, ms", "p99, ms", "lost", "publish lag p99, ms", "", "reason"}, Words: 8}
	ch := chart{label: "Latency by rate", y: axis{title: "ms"}}
	trials := slices.Clone(c.Trials)
	slices.SortStableFunc(trials, func(a, b CapacityTrial) int { return cmp.Compare(a.Rate, b.Rate) })
	held, failed := line{name: "p99, sustained", class: "s3", dots: true}, line{name: "p99, not sustained", class: "s8", dots: true}
	median := line{name: "p50", class: "s1", dots: true}
	hi := 0.0
	for i, trial := range c.Trials {
		word := "not sustained"
		if trial.Sustained {
			word = "sustained"
		}
		t.Rows = append(t.Rows, []string{fmt.Sprint(i + 1), figure(trial.Rate), figure(trial.Achieved), figureOr(trial.P50), figureOr(trial.P99), commas(trial.Lost), figureOr(trial.LagP99), word, trial.Reason})
		hi = math.Max(hi, trial.Rate)
	}
	for _, trial := range trials {
		if trial.P50 != nil {
			median.points = append(median.points, point{trial.Rate, *trial.P50})
		}
		if trial.P99 == nil {
			continue
		}
		if trial.Sustained {
			held.points = append(held.points, point{trial.Rate, *trial.P99})
		} else {
			failed.points = append(failed.points, point{trial.Rate, *trial.P99})
		}
	}
	for _, l := range []line{held, failed, median} {
		if len(l.points) > 0 {
			ch.lines = append(ch.lines, l)
		}
	}
	if len(ch.lines) == 0 {
		return []block{{Text: []string{sentence}, Table: &t}}
	}
	ch.y = timeScale(append(ys(ch.lines), c.P99Limit))
	ch.x = linearAxis("messages/s", hi, short)
	ch.rules = []rule{{c.P99Limit, "limit of p99"}}
	if c.MessagesPerSecond > 0 {
		ch.marks = []mark{{x: c.MessagesPerSecond, name: "highest that held"}}
	}
	p := ch.plot("Latency by rate", "", table{})
	return []block{{Text: []string{sentence}, Plot: &p, Table: &t}}
}

// generatorBlocks say how much of the figures could be the load generator's own.
func (r *Result) generatorBlocks() []block {
	g := r.Generator
	facts := []fact{
		{"workers", fmt.Sprintf("%d, %s", g.Workers, g.Engine)},
		{"CPU per message received", figureOr(g.CPUMicrosPerMessage) + " µs"},
		{"CPU of workers", figure(g.WorkerCPUSeconds) + " s"},
		{"CPU of the coordinator", figure(g.CoordinatorSeconds) + " s"},
		{"messages per read", figureOr(g.MessagesPerRead)},
		{"left in the clients' sockets", byteSize(float64(g.ReceiveBacklog))},
	}
	columns := []block{{Heading: "The generator's own cost", Facts: facts}}
	if c := r.Calibration; c != nil {
		share := none
		if c.Share != nil {
			share = fmt.Sprintf("%.1f %%", *c.Share*100)
		}
		shown := none
		if c.Shown > 0 {
			shown = commas(int64(c.Shown))
		}
		columns = append(columns, block{Heading: "Calibration against a server that only writes", Facts: []fact{
			{"deliveries/s at most", commas(int64(c.DeliveriesPerSecond))},
			{"by what this run used", shown},
			{"of which this run used", share},
			{"CPU per message", figure(c.CPUMicrosPerMessage) + " µs"},
			{"own p50 at this run's rate", figureOr(c.P50) + " ms"},
			{"own p99 at this run's rate", figureOr(c.P99) + " ms"},
			{"measured for", seconds(c.Seconds * 1000)},
		}})
	}
	return []block{{Columns: columns}}
}

// leaveBlock is what the servers held before, with and after the clients.
func (r *Result) leaveBlock() []block {
	l := r.Leave
	if l == nil {
		return nil
	}
	t := table{Head: []string{"of all servers", "before the first client", "all idle", "after the last has gone", "did not come back"}}
	t.Rows = [][]string{
		{"file descriptors", commas(int64(l.Descriptors[0])), commas(int64(l.Descriptors[1])), commas(int64(l.Descriptors[2])), commas(int64(l.LeakedDescriptors))},
		{"goroutines", commas(int64(l.Goroutines[0])), commas(int64(l.Goroutines[1])), commas(int64(l.Goroutines[2])), commas(int64(l.LeakedGoroutines))},
		{"resident memory", byteSize(float64(l.RSS[0])), byteSize(float64(l.RSS[1])), byteSize(float64(l.RSS[2])), none},
	}
	return []block{{
		Heading: "When all have left",
		Text:    []string{"Looked at until " + seconds(l.Seconds*1000) + " after the last client had gone. The runtime gives memory back slowly and on its own terms, so there is no figure of what leaked of it."},
		Table:   &t,
	}}
}
