package reports

import (
	"fmt"
	"math"
)

// faultBlocks tell what was done, when what followed, and what it cost whom. Several
// faults are put side by side first.
func (r *Result) faultBlocks() []block {
	var out []block
	if len(r.Faults) > 1 {
		t := faultTable(r.Faults)
		out = append(out, block{Heading: "All faults", Text: []string{"From detected to steady: milliseconds after the fault. Others are the clients of other gateways than its victim."}, Table: &t})
	}
	for _, f := range r.Faults {
		b := block{Heading: f.name() + ", " + seconds(f.At) + " into the measured phase", Text: []string{f.cost()}, Plot: f.timeline()}
		if f.InnocentNote != "" {
			b.Text = append(b.Text, fmt.Sprintf("Of the %s of other gateways nothing is told: %s.", plural(int64(f.InnocentClients), "client"), f.InnocentNote))
		}
		out = append(out, b)
		t := distributionTable("delivery, ms")
		for _, d := range []struct {
			name string
			d    *Distribution
		}{
			{"before the fault", f.Before},
			{"up to its moment, at clients of other gateways", f.InnocentBefore},
			{"from the fault to the end of its window", f.During},
			{"of these, at clients of other gateways", f.Innocent},
		} {
			if d.d != nil && d.d.Count > 0 {
				t.Rows = append(t.Rows, append([]string{d.name, commas(d.d.Count)}, d.d.cells()...))
			}
		}
		if len(t.Rows) > 0 {
			out = append(out, block{Table: &t})
		}
	}
	return out
}

// faultTable is a row of figures for each fault.
func faultTable(faults []Fault) table {
	t := table{Head: []string{"fault", "at", "detected", "victim back", "first delivery", "recovered", "steady", "lost", "refused", "others p99, ms", "others lost"}}
	for _, f := range faults {
		others, lost := none, none
		if f.hasInnocents() && f.InnocentNote == "" {
			others, lost = figureOr(p99(f.Innocent)), commas(f.LostInnocent)
		}
		t.Rows = append(t.Rows, []string{
			f.name(), seconds(f.At), neverOr(f.Detected), neverOr(f.Down), neverOr(f.FirstDelivery), neverOr(f.Recovered), neverOr(f.Steady),
			commas(f.Lost), commas(f.Refused), others, lost,
		})
	}
	return t
}

// name is what was done to whom.
func (f Fault) name() string {
	if f.Victim == "" {
		return f.Kind
	}
	return f.Kind + " of " + f.Victim
}

// faultDisconnect is the kind of a fault that no server goes down in.
const faultDisconnect = "disconnect"

// line tells when what followed a fault.
func (f Fault) line() string {
	text := fmt.Sprintf("%s at %s: detected %s", f.name(), seconds(f.At), after(f.Detected))
	if f.Kind != faultDisconnect {
		text += ", down " + after(f.Down)
	}
	text += ", all deliver " + after(f.Recovered)
	if f.Reconnected != nil {
		text += ", all back " + after(f.Reconnected)
	}
	return text
}

// costLine tells what a fault cost, and those whom it did not happen to.
func (f Fault) costLine() string {
	text := fmt.Sprintf("first delivery %s; %s lost, %s refused", after(f.FirstDelivery), plural(f.Lost, "delivery"), plural(f.Refused, "message"))
	switch {
	case f.InnocentNote != "":
		text += "; clients elsewhere: not told"
	case f.hasInnocents():
		text += fmt.Sprintf("; clients elsewhere: p99 %s ms, %s lost", figureOr(p99(f.Innocent)), commas(f.LostInnocent))
	}
	return text
}

// after is the time from a fault to what followed it.
func after(v *float64) string {
	if v == nil {
		return "never"
	}
	return seconds(*v)
}

// cost is what a fault lost, in a sentence.
func (f Fault) cost() string {
	text := "Lost " + plural(f.Lost, "delivery")
	if f.Messages > 0 {
		text += " of " + plural(f.Messages, "message")
	}
	if f.Innocent != nil || f.LostInnocent > 0 {
		text += ", " + commas(f.LostInnocent) + " of them at clients of other gateways"
	}
	text += "; " + plural(f.Refused, "message") + " refused"
	if f.Duplicated > 0 {
		text += "; " + plural(f.Duplicated, "duplicate")
	}
	return text + ". A loss counts as this fault's for " + seconds(f.Window) + "."
}

// steps are the moments after a fault, in the order in which they are hoped for.
func (f Fault) steps() []struct {
	name, note string
	at         *float64
} {
	return []struct {
		name, note string
		at         *float64
	}{
		{"detected", "the publisher saw an error", f.Detected},
		{"republished", "a publish succeeded again", f.Republished},
		{"victim back", "the process was ready again", f.Down},
		{"first delivery", "a message sent after the fault arrived anywhere", f.FirstDelivery},
		{"all reconnected", "the last client was back", f.Reconnected},
		{"recovered", "every message reached all from here on", f.Recovered},
		{"steady", "p99 of every second within a tenth of before", f.Steady},
	}
}

// timeline is what happened after a fault, each as its distance from it.
func (f Fault) timeline() *plot {
	nan := math.NaN()
	d := dots{label: "What followed the fault, and when", from: nan, to: nan, ref: nan}
	hi := 0.0
	t := table{Head: []string{"after the fault", "ms", "what it is"}, Text: true}
	for _, s := range f.steps() {
		row := dotRow{name: s.name, text: "not seen", class: "quiet", lo: nan, mid: nan, hi: nan, title: s.note}
		if s.at != nil {
			hi = math.Max(hi, *s.at)
			row.lo, row.mid, row.hi, row.class, row.text = 0, *s.at, *s.at, "", seconds(*s.at)
			if s.name == "recovered" || s.name == "steady" {
				row.class = "ok"
			}
		}
		d.rows = append(d.rows, row)
		t.Rows = append(t.Rows, []string{s.name, neverOr(s.at), s.note})
	}
	unit, div := "ms after the fault", 1.0
	if hi >= 2000 {
		unit, div = "seconds after the fault", 1000
	}
	for i := range d.rows {
		d.rows[i].lo, d.rows[i].mid, d.rows[i].hi = d.rows[i].lo/div, d.rows[i].mid/div, d.rows[i].hi/div
	}
	d.x = linearAxis(unit, hi/div, plain)
	return &plot{Title: "", SVG: d.svg(), Table: t}
}

// clientBlocks are the ways of the clients to a subscription and back, and those that
// misbehaved by plan.
func (r *Result) clientBlocks() []block {
	t := distributionTable("ms")
	for _, name := range distributionNames[7:] {
		if d := r.distribution(name); d.Count > 0 {
			t.Rows = append(t.Rows, append([]string{label(name), commas(d.Count)}, d.cells()...))
		}
	}
	var out []block
	if len(t.Rows) > 0 {
		p := r.curves("Connecting by percentile", "Connect is from connect(2) to the answer to the upgrade; subscribe from there to the answer to the subscription; reconnect from a connection's end to its being subscribed again; join from asking for a further topic to the answer.", []named{
			{"connect", "s1", "connect"},
			{"subscribe", "s2", "subscribe"},
			{"reconnect", "s3", "reconnect"},
			{"join of a topic", "s4", "join"},
		})
		out = append(out, block{Table: &t})
		if p.Table.Rows != nil {
			out = append(out, plotBlock(p))
		}
	}
	facts := []fact{{"connections", commas(int64(r.Connections)) + " of " + commas(int64(r.Planned)) + " planned"}}
	add := func(name, value string) { facts = append(facts, fact{name, value}) }
	if r.ConnectSeconds > 0 {
		add("ramp until all were subscribed", seconds(r.ConnectSeconds*1000)+", "+figure(r.ConnectionsPerSecond)+" connections/s")
	}
	add("lost their connection, not by plan", commas(r.Disconnected))
	if r.Reconnects > 0 {
		add("came back", commas(r.Reconnects))
	}
	if r.SkewP99 != nil {
		add("skew: p99 of connections over their median", figure(*r.SkewP99))
	}
	if r.Fairness != nil {
		add("fairness of deliveries (Jain)", fmt.Sprintf("%.6g", *r.Fairness))
	}
	columns := []block{{Heading: "Connections", Facts: facts}}
	if b := r.misbehaving(); len(b.Facts) > 0 {
		columns = append(columns, b)
	}
	if b := r.churning(); len(b.Facts) > 0 {
		columns = append(columns, b)
	}
	return append(out, block{Columns: columns})
}

// misbehaving is what became of the slow clients.
func (r *Result) misbehaving() block {
	s := r.Slow
	if s == nil {
		return block{}
	}
	return block{Heading: "Clients that misbehave by plan", Facts: []fact{
		{"connections", commas(int64(s.Connections))},
		{"disconnected by the server", commas(s.Disconnected)},
		{"closed", reasons(s.Closed)},
		{"received, in no other figure", commas(s.Received)},
	}}
}

// churning is the account of the topics that clients came to and left.
func (r *Result) churning() block {
	c := r.Churn
	if c == nil {
		return block{}
	}
	return block{Heading: "Topics that clients come to and leave", Facts: []fact{
		{"topics", commas(int64(c.Topics))},
		{"changes", commas(c.Changes)},
		{"refused", commas(c.Refused)},
		{"due deliveries", commas(c.Due)},
		{"received", commas(c.Received)},
		{"lost", commas(c.Lost)},
		{"duplicated", commas(c.Duplicated)},
		{"reordered", commas(c.Reordered)},
		{"extra: leaving, or younger than " + seconds(c.Grace), commas(c.Extra)},
	}}
}
