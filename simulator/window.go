package simulator

import (
	"context"
	"errors"
	"fmt"

	"firetower/simulator/latency"
)

// Window is what reached the healthy connections between two calls of [Fleet.Window], of every phase but PhaseProbe
// and of the topics of the plan, not of those that churn.
type Window struct {
	// FromNS and ToNS are its ends, CLOCK_MONOTONIC. The first window of a fleet begins when the fleet was made.
	FromNS int64 `json:"from_ns"`
	ToNS   int64 `json:"to_ns"`
	// Received and Duplicated are as in [PhaseReport].
	Received   int64 `json:"received"`
	Duplicated int64 `json:"duplicated"`
	// Intended is as in [PhaseReport]. Its least and greatest value are known within the three digits of a bucket only.
	Intended *latency.Recorder `json:"intended"`
}

// snapshot is what one shard had counted at one time.
type snapshot struct {
	received, duplicated int64
	intended             [MaxPhases]*latency.Recorder // never written again; nil where there was nothing
}

// windowState is what [Fleet.Window] remembers from call to call.
type windowState struct {
	at   int64       // when the newest window ended
	seen []*snapshot // of each shard
}

// snapshot copies what has changed since the one before, which may be nil. The loop pays for the copy, some 20 us for
// each phase that is under way, and nothing for messages in between.
func (a *account) snapshot(before *snapshot) *snapshot {
	if before == nil {
		before = new(snapshot)
	}
	s := new(snapshot)
	for phase, p := range a.phases {
		if p == nil || Phase(phase) == PhaseProbe {
			continue
		}
		s.received += p.received
		s.duplicated += p.duplicated
		s.intended[phase] = before.intended[phase]
		if s.intended[phase] == nil || s.intended[phase].Count() != p.intended.Count() {
			s.intended[phase] = p.intended.Clone()
		}
	}
	return s
}

// Window returns what arrived since the call before. It may be called from any goroutine after Connect and before
// Finish; calls wait for each other.
func (f *Fleet) Window(ctx context.Context) (*Window, error) {
	if err := f.require(stateConnected); err != nil {
		return nil, err
	}
	f.windowMu.Lock()
	defer f.windowMu.Unlock()
	now, err := f.engine.snapshots(ctx, f.window.seen)
	if err != nil {
		return nil, err
	}
	w := &Window{FromNS: f.window.at, ToNS: f.clock.Now(), Intended: latency.NewRecorder()}
	for i, s := range now {
		before := new(snapshot)
		if f.window.seen != nil {
			before = f.window.seen[i]
		}
		w.Received += s.received - before.received
		w.Duplicated += s.duplicated - before.duplicated
		for phase, r := range s.intended {
			if r == nil || r == before.intended[phase] {
				continue
			}
			grown, err := r.Since(before.intended[phase])
			if err == nil {
				err = w.Intended.Merge(grown)
			}
			if err != nil {
				return nil, fmt.Errorf("simulator: window: %w", err)
			}
		}
	}
	f.window = windowState{at: w.ToNS, seen: now}
	return w, nil
}

// MergeWindows adds the windows of several fleets of one run, which were asked for at about the same time.
func MergeWindows(parts ...*Window) (*Window, error) {
	if len(parts) == 0 {
		return nil, errors.New("simulator: merge of no windows")
	}
	sum := &Window{FromNS: parts[0].FromNS, ToNS: parts[0].ToNS, Intended: latency.NewRecorder()}
	for i, w := range parts {
		sum.FromNS, sum.ToNS = min(sum.FromNS, w.FromNS), max(sum.ToNS, w.ToNS)
		sum.Received += w.Received
		sum.Duplicated += w.Duplicated
		if err := mergeInto(sum.Intended, w.Intended); err != nil {
			return nil, fmt.Errorf("simulator: merge window %d: %w", i, err)
		}
	}
	return sum, nil
}
