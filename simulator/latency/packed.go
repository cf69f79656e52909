package latency

import (
	"encoding/json"
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Packed holds what a recorder holds in a few hundred bytes to some kilobytes instead of 144 KiB. Long series of
// histograms, one per second of a run, are kept in it. It is made from a recorder and turned back into one; it is never
// recorded into. It is immutable.
type Packed struct {
	hist  *hdrhistogram.PackedHistogram
	aside Recorder // all but its hist, which is nil
}

// Pack returns a packed copy of r.
func (r *Recorder) Pack() (*Packed, error) {
	p := &Packed{hist: hdrhistogram.NewPacked(Lowest, Highest, Digits), aside: *r}
	p.aside.hist = nil
	if dropped := p.hist.MergeFrom(r.hist); dropped != 0 {
		return nil, fmt.Errorf("%w: %d of %d", ErrDropped, dropped, r.Count())
	}
	p.hist.Compact()
	return p, nil
}

// Count is as in [Recorder.Count].
func (p *Packed) Count() int64 { return p.hist.TotalCount() }

// Recorder unpacks a copy.
func (p *Packed) Recorder() (*Recorder, error) {
	r := p.aside
	r.hist = hdrhistogram.New(Lowest, Highest, Digits)
	if dropped := p.hist.MergeInto(r.hist); dropped != 0 {
		return nil, fmt.Errorf("%w: %d of %d", ErrDropped, dropped, p.Count())
	}
	return &r, nil
}

// MarshalJSON writes the same as the recorder would.
func (p *Packed) MarshalJSON() ([]byte, error) {
	r, err := p.Recorder()
	if err != nil {
		return nil, err
	}
	return r.MarshalJSON()
}

// UnmarshalJSON reads what [Recorder.MarshalJSON] or [Packed.MarshalJSON] wrote, with the checks of [Decode].
func (p *Packed) UnmarshalJSON(b []byte) error {
	var r Recorder
	if err := json.Unmarshal(b, &r); err != nil {
		return err
	}
	packed, err := r.Pack()
	if err != nil {
		return err
	}
	*p = *packed
	return nil
}
