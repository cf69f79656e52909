package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"firetower/loadtest"
)

// newProgress shows a run: bars on a terminal, lines elsewhere, since what moves
// the cursor is noise in a log.
func newProgress(g *globalState, off bool) loadtest.Progress {
	switch {
	case off:
		return &lineProgress{out: io.Discard, now: g.now}
	case g.stderrIsTerminal:
		return newBarProgress(g.stderr)
	default:
		return &lineProgress{out: g.stderr, now: g.now}
	}
}

// lineProgress prints a line when a phase begins, and every few seconds within it.
type lineProgress struct {
	out io.Writer
	now func() time.Time

	mu    sync.Mutex // guards the following
	name  string
	total int64
	last  time.Time
}

// lineEvery is the time between two lines of one phase.
const lineEvery = 5 * time.Second

// Phase prints the phase's name.
func (p *lineProgress) Phase(name string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.total, p.last = name, total, p.now()
	fmt.Fprintf(p.out, "%s\n", name)
}

// Set prints how far the phase has come, now and then.
func (p *lineProgress) Set(done int64, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now().Sub(p.last) < lineEvery {
		return
	}
	p.last = p.now()
	line := p.name
	if p.total > 0 {
		line += fmt.Sprintf(" %3d %%", 100*done/p.total)
	}
	if detail != "" {
		line += "  " + detail
	}
	fmt.Fprintln(p.out, line)
}

// Close has nothing to end.
func (p *lineProgress) Close() {}

// barProgress shows a bar for each phase. Bars are told of the state a few times
// a second and never of a message: each telling is a closure sent to a goroutine.
type barProgress struct {
	bars *mpb.Progress

	mu    sync.Mutex // guards the following
	bar   *mpb.Bar
	total int64
	// detail stands behind the current bar. The goroutine that draws the bar reads it,
	// and must not take mu: whoever holds mu may be waiting for that goroutine.
	detail *atomic.Pointer[string]
	closed bool
}

func newBarProgress(out io.Writer) *barProgress {
	return &barProgress{bars: mpb.New(mpb.WithOutput(out), mpb.WithWidth(32), mpb.WithRefreshRate(150*time.Millisecond))}
}

// Phase completes the bar before and begins another. A phase of no known total has
// a bar that is empty until it is full.
func (p *barProgress) Phase(name string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.complete()
	p.total = max(total, 1)
	detail := new(atomic.Pointer[string])
	detail.Store(new(string))
	p.detail = detail
	p.bar = p.bars.New(p.total, mpb.BarStyle().Lbound("").Filler("━").Tip("━").Padding("─").Rbound(""),
		mpb.PrependDecorators(decor.Name(name, decor.WC{W: 9, C: decor.DindentRight})),
		mpb.AppendDecorators(decor.Percentage(decor.WC{W: 5}), decor.Name("  "),
			decor.Any(func(decor.Statistics) string { return *detail.Load() })))
}

// Set moves the bar.
func (p *barProgress) Set(done int64, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil || p.closed {
		return
	}
	p.detail.Store(&detail)
	// At its total a bar completes and can say no more; the next phase completes it.
	p.bar.SetCurrent(min(done, p.total-1))
}

// complete ends the current bar. The caller holds mu. A bar that has a total ends
// when it reaches it, and by nothing else.
func (p *barProgress) complete() {
	if p.bar != nil {
		p.bar.SetCurrent(p.total)
	}
}

// Close ends the display. Wait returns only when every bar has completed or was aborted.
func (p *barProgress) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	bar := p.bar
	p.mu.Unlock()
	if bar != nil {
		bar.Abort(true)
	}
	p.bars.Wait()
}
