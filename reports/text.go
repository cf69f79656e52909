package reports

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// summaryLines is the most lines of a summary: it fits a terminal of 80 x 25.
const summaryLines = 25

// Summary is the final block for a terminal: the verdict first, at most 25 lines.
// dir is where the report lies, empty when it is nowhere.
func (r *Result) Summary(dir string) string {
	lines := []string{r.Headline()}
	if text := r.missed(); text != "" {
		lines = append(lines, clip("           "+text, lineWidth))
	}
	for i, reason := range r.Reasons {
		if i == 3 {
			lines = append(lines, fmt.Sprintf("           and %d more, see the report", len(r.Reasons)-i))
			break
		}
		lines = append(lines, "           "+reason)
	}
	if text := r.busy(); text != "" {
		lines = append(lines, "           "+text)
	}
	lines = append(lines, r.subject(), "")
	if r.Delivery.Count > 0 || r.Expected > 0 {
		lines = append(lines, r.trafficLines()...)
	}
	if r.Loop == "idle" && r.ConnectSeconds > 0 { // where it is what the run is about
		lines = append(lines, fmt.Sprintf("  connect    %s in %s s, %s/s; p50 %s ms, p99 %s ms, max %s ms", commas(int64(r.Connections)), figure(r.ConnectSeconds),
			figure(r.ConnectionsPerSecond), figureOr(r.Connect.P50), figureOr(r.Connect.P99), figureOr(r.Connect.Max)))
	}
	if text := r.capacityLine(); text != "" {
		lines = append(lines, text)
	}
	for i, f := range r.Faults {
		if i == 3 {
			lines = append(lines, fmt.Sprintf("             and %d more, see the report", len(r.Faults)-i))
			break
		}
		lines = append(lines, clip("  fault      "+f.line(), lineWidth), clip("             "+f.costLine(), lineWidth))
	}
	lines = append(lines, r.costLines()...)
	lines = append(lines, r.clientLines()...)
	lines = append(lines, r.checkLine())
	if r.missed() == "" {
		lines = append(lines, fmt.Sprintf("  thresholds %d of %d held", len(r.Thresholds), len(r.Thresholds)))
	}
	if dir != "" {
		lines = append(lines, "  report     "+filepath.Join(dir, HTMLFile))
	}
	if len(lines) > summaryLines {
		lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" })
	}
	if len(lines) > summaryLines {
		last := lines[len(lines)-1]
		lines = append(lines[:summaryLines-1], last)
	}
	return strings.Join(lines, "\n") + "\n"
}

// trafficLines are the ledger and the latencies.
func (r *Result) trafficLines() []string {
	lines := r.ledgerLines()
	lines = append(lines, "", fmt.Sprintf("  %-16s%11s%9s%9s%9s%9s%9s", "latency, ms", "count", "p50", "p90", "p99", "p99.9", "max"))
	for _, row := range []struct {
		name string
		d    Distribution
	}{
		{"delivery", r.Delivery},
		{"first arrival", r.First},
		{"completion", r.Completion},
		{"publish lag", r.PublishLag},
		{"reconnect", r.Reconnect},
	} {
		d := row.d
		if d.Count == 0 && row.name == "reconnect" {
			continue // most runs have none
		}
		lines = append(lines, fmt.Sprintf("  %-16s%11s%9s%9s%9s%9s%9s", row.name, commas(d.Count),
			figureOr(d.P50), figureOr(d.P90), figureOr(d.P99), figureOr(d.P999), figureOr(d.Max)))
	}
	if r.Incomplete > 0 {
		lines = append(lines, fmt.Sprintf("  of %s, %s never reached all subscribers and are not in the completion", plural(r.Messages, "message"), commas(r.Incomplete)))
	}
	return append(lines, "")
}

// capacityLine is the highest rate that held; empty for a run that searched none.
func (r *Result) capacityLine() string {
	c := r.Capacity
	switch {
	case c == nil:
		return ""
	case c.MessagesPerSecond == 0:
		return fmt.Sprintf("  capacity   none of %s held a p99 of %s ms", plural(int64(len(c.Trials)), "rate"), figure(c.P99Limit))
	}
	atLeast := ""
	if c.censored() {
		atLeast = "at least "
	}
	text := fmt.Sprintf("  capacity   %s%s messages/s (%s deliveries/s) with a p99 of at most %s ms", atLeast, figure(c.MessagesPerSecond), short(roundTo(c.DeliveriesPerSecond, 3)), figure(c.P99Limit))
	if c.Failed != nil {
		return text + "; " + figure(*c.Failed) + " did not hold"
	}
	return text + "; capacity.to ends the search there"
}

// budgetLines are where the mean time of a delivery went, and what is in none of the
// stages; none when no one told.
func (r *Result) budgetLines() []string {
	sum := 0.0
	for _, s := range r.Budget {
		sum += s.Mean
	}
	if sum <= 0 {
		return nil
	}
	parts := make([]string, 0, len(r.Budget))
	for _, s := range r.Budget {
		// What is less than a hundredth of the way would only make the line long.
		name := s.Name
		if s.Source == "rest" {
			name = "rest"
		}
		if s.Mean >= sum/100 {
			parts = append(parts, name+" "+figure(s.Mean))
		}
	}
	lines := []string{clip("  budget     mean ms: "+strings.Join(parts, ", "), lineWidth)}
	for _, g := range r.BudgetGaps {
		if g.To-g.From >= wideGap {
			lines = append(lines, clip(fmt.Sprintf("             without %s of %s: %s", seconds(g.To-g.From), g.Server, g.Reason), lineWidth))
		}
	}
	return lines
}

// wideGap is how long a server's silence is that a summary tells of, in milliseconds.
// Shorter ones are on the page: every server that is killed leaves one of a few.
const wideGap = 100

// clientLines are what became of the clients that do more than listen, and what they
// left behind.
func (r *Result) clientLines() []string {
	var lines []string
	if s := r.Slow; s != nil {
		told := map[string]int64{}
		for reason, n := range r.Server.Disconnects {
			told[reason] = int64(n)
		}
		line := fmt.Sprintf("  slow       %d of %d disconnected: %s", s.Disconnected, s.Connections, reasons(s.Closed))
		if len(told) > 0 {
			line += "; the server counts " + reasons(told)
		}
		lines = append(lines, clip(line, lineWidth))
	}
	if c := r.Churn; c != nil {
		lines = append(lines, fmt.Sprintf("  churn      %s, %s refused; %s of %s due lost", plural(c.Changes, "change"), commas(c.Refused), commas(c.Lost), plural(c.Due, "delivery")))
	}
	if l := r.Leave; l != nil && (l.LeakedDescriptors > 0 || l.LeakedGoroutines > 0) {
		lines = append(lines, fmt.Sprintf("  left       the servers kept %s and %s after the last client", plural(int64(l.LeakedDescriptors), "descriptor"), plural(int64(l.LeakedGoroutines), "goroutine")))
	}
	return lines
}

// Headline is the verdict and whether the thresholds held, in one line.
func (r *Result) Headline() string {
	text := fmt.Sprintf("%s: %s on %s", strings.ToUpper(string(r.Verdict)), r.Scenario, r.Target)
	failed := 0
	for _, t := range r.Thresholds {
		if !t.OK {
			failed++
		}
	}
	switch {
	case r.Failure != "":
		text += ", which failed: " + firstLine(r.Failure)
	case r.Interrupted:
		text += ", interrupted"
	case failed > 0:
		text += fmt.Sprintf(", %d of %d thresholds failed", failed, len(r.Thresholds))
	case len(r.Thresholds) > 0:
		text += fmt.Sprintf(", all %d thresholds held", len(r.Thresholds))
	}
	return text
}

// VerdictLine is the headline and, when the run is not valid, the first reason.
func (r *Result) VerdictLine() string {
	text := r.Headline()
	if r.Failure == "" && len(r.Reasons) > 0 {
		text += ": " + r.Reasons[0]
		if more := len(r.Reasons) - 1; more > 0 {
			text += fmt.Sprintf(" (and %d more)", more)
		}
	}
	return text
}

func firstLine(s string) string {
	first, _, _ := strings.Cut(s, "\n")
	return first
}

func (r *Result) subject() string {
	var rate string
	switch r.Loop {
	case "open":
		rate = figure(r.MessagesPerSecond) + " messages/s, open loop"
	case "closed":
		rate = figure(r.MessagesPerSecond) + " messages/s, CLOSED loop"
	default:
		rate = "no traffic"
	}
	return fmt.Sprintf("  %s, %s, %s, %d B, %s, %s measured", plural(int64(r.Connections), "client"),
		plural(int64(r.Topics), "topic"), rate, r.PayloadSize, r.Subprotocol, seconds(r.MeasuredSeconds*1000))
}

// reach is the share of the expected deliveries that arrived. It never rounds up to
// all of them.
func (r *Result) reach() string {
	if r.Reach == nil {
		return none
	}
	percent := *r.Reach * 100
	if percent < 100 && percent > 99.9999 {
		return "more than 99.9999 %, not all"
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.4f", percent), "0"), ".") + " %"
}

func (r *Result) ledgerLines() []string {
	each := ""
	if r.Received > 0 && r.ReceivedBytes > 0 {
		each = "  of " + byteSize(float64(r.ReceivedBytes)/float64(r.Received))
	}
	return []string{
		fmt.Sprintf("  deliveries expected %s  received %s  lost %s  reach %s%s", commas(r.Expected), commas(r.Received), commas(r.Lost), r.reach(), each),
		fmt.Sprintf("             duplicated %s  reordered %s  late %s  corrupt %s  foreign %s  negative %s",
			commas(r.Duplicated), commas(r.Reordered), commas(r.Late), commas(r.Corrupt), commas(r.Foreign), commas(r.Negative)),
	}
}

func (r *Result) costLines() []string {
	s, g := r.Server, r.Generator
	lines := []string{
		fmt.Sprintf("  server     %s us CPU per delivery, %s cores, %s per idle connection, %s at most",
			figureOr(s.CPUMicrosPerDelivery), figure(s.CPUCores), byteSizeOr(s.RSSBytesPerConnection), byteSize(float64(s.RSSPeak))),
	}
	if g.CPUMicrosPerMessage != nil {
		line := fmt.Sprintf("  load       %s us CPU per message, %s deliveries/s", figureOr(g.CPUMicrosPerMessage), figure(r.DeliveriesPerSecond))
		if c := r.Calibration; c != nil && c.Share != nil {
			line += fmt.Sprintf(", %.0f %% of what the workers can take", *c.Share*100)
		}
		lines = append(lines, line)
	}
	return append(lines, r.budgetLines()...)
}

func (r *Result) checkLine() string {
	byStatus := map[CheckStatus]int{}
	var notes []string
	for _, c := range r.Checks {
		byStatus[c.Status]++
		if c.Status == CheckNote {
			notes = append(notes, c.Name+" "+c.Value)
		}
	}
	text := fmt.Sprintf("  checks     %d ok", byStatus[CheckOK])
	for _, s := range []CheckStatus{CheckNote, CheckDegraded, CheckInvalid, CheckSkipped} {
		if byStatus[s] > 0 {
			text += fmt.Sprintf(", %d %s", byStatus[s], s)
		}
	}
	if len(notes) > 0 {
		text += " (" + strings.Join(notes, "; ") + ")"
	}
	return clip(text, lineWidth)
}

// lineWidth bounds the lines of a summary whose parts are of any length.
const lineWidth = 118

// missed lists the thresholds that failed, with their figures; empty when all held.
func (r *Result) missed() string {
	var failed []string
	for _, t := range r.Thresholds {
		if !t.OK {
			failed = append(failed, t.Text+" is "+t.is())
		}
	}
	if len(failed) == 0 {
		return ""
	}
	return "thresholds failed: " + strings.Join(failed, "; ")
}

// What makes a machine busy, in per cent: CPU pressure in the measured phase, and in the
// ten seconds before the start, when nothing of the run was there yet.
const (
	busyPressure       = 40
	busyPressureBefore = 20
)

// busy says that the machine may be to blame for the verdict; empty when it is not.
func (r *Result) busy() string {
	if r.Verdict == Valid {
		return ""
	}
	var signs []string
	for _, c := range r.Checks {
		percent := 0.0
		if _, err := fmt.Sscanf(c.Value, "%f %%", &percent); err != nil {
			continue // was not measured
		}
		if c.Name == CheckMachineBusy && c.Status != CheckOK || c.Name == CheckCPUPressure && percent >= busyPressure {
			signs = append(signs, c.Name+" "+c.Value)
		}
	}
	before := 0.0
	if _, err := fmt.Sscanf(r.Environment.PressureBefore, "some avg10=%f", &before); err == nil && before >= busyPressureBefore {
		signs = append(signs, fmt.Sprintf("%.0f %% before the start", before))
	}
	if len(signs) == 0 {
		return ""
	}
	return "the machine was busy (" + strings.Join(signs, ", ") + "): run again when it is idle"
}

// is says what the threshold's figure was.
func (t Threshold) is() string {
	if t.Value == nil {
		return "unknown: " + t.Reason
	}
	return withUnit(*t.Value, t.Unit)
}

// clip shortens a line to at most n characters.
func clip(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n-1]) + "…"
}
