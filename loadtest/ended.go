package loadtest

import (
	"context"
	"slices"
	"time"

	"firetower/reports"
	"firetower/scenarios"
	"firetower/simulator/clock"
)

// ended is a process of a server that a fault killed, with the last that it told of
// itself: its counters go with it.
type ended struct {
	place int // in the order of system.scrapes
	name  string
	// start is which process of its place it was, from 1.
	start int
	// began, asked and killed are when it was started, 0 when that was before the measured phase, when it was asked for
	// its counters and when it was killed, by clock.
	began, asked, killed int64
	told                 counterSet // nil when it did not answer
}

// lastTimeout bounds the wait for the counters of a server that is about to be killed.
const lastTimeout = 500 * time.Millisecond

// lastWords asks a server that a fault is going to kill for its counters; nil when the
// fault kills none. The fault is late by as long as that takes, a few milliseconds.
func (s *system) lastWords(ctx context.Context, c *clock.Clock, f scenarios.Fault) *ended {
	place := f.Victim
	switch f.Kind {
	case scenarios.FaultManagerRestart:
	case scenarios.FaultGatewayKill:
		place += len(s.managers)
	default:
		return nil
	}
	places := s.places()
	if place < 0 || place >= len(places) || place >= len(s.scrapes) {
		return nil // the fault says so
	}
	v := places[place]
	e := &ended{place: place, name: v.child.name, start: v.starts, began: v.began, asked: c.Now()}
	ask := newScraper(lastTimeout)
	defer ask.close()
	e.told = ask.one(ctx, s.scrapes[place], ownMetric)
	return e
}

// places are where servers are, in the order of scrapes.
func (s *system) places() []*server { return slices.Concat(s.managers, s.gateways) }

// whole joins the counters of servers that were killed in the measured phase, from start to
// end by clock, to those of the servers that were asked at its ends: each process becomes a
// pair of its own. What no pair has is listed.
func (s *system) whole(from, to scrapes, start, end int64) (scrapes, scrapes, []reports.BudgetGap) {
	var gaps []reports.BudgetGap
	miss := func(name string, since, until int64, reason string) {
		if until > since {
			gaps = append(gaps, reports.BudgetGap{Server: name, From: ms(since - start), To: ms(until - start), Reason: reason})
		}
	}
	const atTheStart = "it did not answer at the start of the measured phase"
	var before, last scrapes
	for _, e := range s.ended {
		since := max(start, e.began)
		told := counterSet(nil)
		if e.start == 1 && e.place < len(from) {
			told = from[e.place]
		}
		switch {
		case e.told == nil:
			miss(e.name, since, e.killed, "it did not answer before it was killed")
		case e.start == 1 && told == nil:
			miss(e.name, since, e.killed, atTheStart)
		default:
			before, last = append(before, told), append(last, e.told)
			miss(e.name, e.asked, e.killed, "from its last answer until it was killed")
		}
	}
	survivors := s.survivors(from, to)
	to = slices.Clone(to)
	for i, v := range s.places() {
		switch {
		case i >= len(to):
		case to[i] == nil:
			miss(v.process(), max(start, v.began), end, "it did not answer at the end")
		case v.starts == 1 && (i >= len(from) || from[i] == nil):
			to[i] = nil
			miss(v.process(), start, end, atTheStart)
		}
	}
	return append(survivors, before...), append(to, last...), gaps
}

// process is the name of the process that is in a place now.
func (v *server) process() string {
	if v.child == nil {
		return v.name
	}
	return v.child.name
}
