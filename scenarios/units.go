package scenarios

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time, written as Go writes it: "30s", "1m30s", "250ms".
type Duration struct{ time.Duration }

// Seconds makes a Duration of s seconds.
func Seconds(s float64) Duration { return Duration{time.Duration(s * float64(time.Second))} }

// ParseDuration reads a non-negative length of time with its unit.
func ParseDuration(s string) (Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return Duration{}, fmt.Errorf(`%q is not a duration: give a number with a unit, as "30s", "250ms" or "1m30s"`, s)
	}
	if d < 0 {
		return Duration{}, fmt.Errorf("%q is negative", s)
	}
	return Duration{d}, nil
}

// String writes the shortest form that ParseDuration reads back: "1m30s", "2m", "0s".
func (d Duration) String() string {
	s := d.Duration.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes the form that a scenario file uses.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (d *Duration) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDuration(string(b))
	return err
}

// Rate is a frequency, kept as events per second and written "5/s", "300/m" or "0.5/s".
type Rate struct {
	// PerSecond is the number of events in a second.
	PerSecond float64
}

// rateUnits are the spans that a rate may be given over.
var rateUnits = []struct {
	suffix string
	span   float64 // seconds
}{
	{"/s", 1},
	{"/m", 60},
	{"/h", 3600},
}

// ParseRate reads a non-negative rate with its unit.
func ParseRate(s string) (Rate, error) {
	for _, u := range rateUnits {
		num, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			break
		}
		if v < 0 {
			return Rate{}, fmt.Errorf("%q is negative", s)
		}
		return Rate{v / u.span}, nil
	}
	return Rate{}, fmt.Errorf(`%q is not a rate: give a number per time, as "5/s" or "300/m"`, s)
}

// String writes the rate per second, or over a longer span when that is shorter and
// says the same: "0.5/s", and "10/m" rather than "0.16666666666666666/s".
func (r Rate) String() string {
	best := ""
	for _, u := range rateUnits {
		v, form := r.PerSecond*u.span, byte('g')
		if v >= 1 && v < 1e15 {
			form = 'f' // "1000000/s" reads better than "1e+06/s"
		}
		text := strconv.FormatFloat(v, form, -1, 64) + u.suffix
		back, err := ParseRate(text)
		if best == "" || len(text) < len(best)-shorterBy && err == nil && back == r {
			best = text
		}
	}
	return best
}

// shorterBy is how many characters a longer span must save to be preferred to seconds.
const shorterBy = 3

// MarshalText writes the form that a scenario file uses.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (r *Rate) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRate(string(b))
	return err
}

// Size is a number of bytes, written "128B", "4KiB", "1MiB" or "1.5KB".
type Size int64

// sizeUnits are tried in this order, so that "KiB" is not read as "B".
var sizeUnits = []struct {
	suffix string
	bytes  float64
}{
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"GB", 1e9},
	{"MB", 1e6},
	{"KB", 1e3},
	{"kB", 1e3},
	{"B", 1},
}

// ParseSize reads a whole, non-negative number of bytes with its unit.
func ParseSize(s string) (Size, error) {
	for _, u := range sizeUnits {
		num, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			break
		}
		b := v * u.bytes
		switch {
		case b < 0:
			return 0, fmt.Errorf("%q is negative", s)
		case b != math.Trunc(b) || b > 1<<50:
			return 0, fmt.Errorf("%q is not a whole number of bytes", s)
		}
		return Size(b), nil
	}
	return 0, fmt.Errorf(`%q is not a size: give a number with a unit, as "128B", "4KiB" or "1MiB"`, s)
}

// String writes the largest binary unit that loses nothing.
func (s Size) String() string {
	switch n := int64(s); {
	case n != 0 && n%(1<<30) == 0:
		return strconv.FormatInt(n>>30, 10) + "GiB"
	case n != 0 && n%(1<<20) == 0:
		return strconv.FormatInt(n>>20, 10) + "MiB"
	case n != 0 && n%(1<<10) == 0:
		return strconv.FormatInt(n>>10, 10) + "KiB"
	default:
		return strconv.FormatInt(n, 10) + "B"
	}
}

// MarshalText writes the form that a scenario file uses.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *Size) UnmarshalText(b []byte) (err error) {
	*s, err = ParseSize(string(b))
	return err
}

// Ratio is a share of one, written "20%" or "0.2".
type Ratio float64

// ParseRatio reads a share from 0 to 1.
func ParseRatio(s string) (Ratio, error) {
	decimal := s
	if num, percent := strings.CutSuffix(s, "%"); percent {
		decimal = strings.TrimSpace(num) + "e-2" // exact, where a division by 100 is not
	}
	v, err := strconv.ParseFloat(decimal, 64)
	switch {
	case err != nil || math.IsNaN(v):
		return 0, fmt.Errorf(`%q is not a share: write it as "20%%" or "0.2"`, s)
	case v < 0 || v > 1:
		return 0, fmt.Errorf("%q is not from 0%% to 100%%", s)
	}
	return Ratio(v), nil
}

// String writes the share in per cent where that reads back as the same.
func (r Ratio) String() string {
	percent := strconv.FormatFloat(math.Round(float64(r)*1e10)/1e8, 'g', -1, 64) + "%"
	if back, err := ParseRatio(percent); err == nil && back == r {
		return percent
	}
	return strconv.FormatFloat(float64(r), 'g', -1, 64)
}

// MarshalText writes the form that a scenario file uses.
func (r Ratio) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (r *Ratio) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRatio(string(b))
	return err
}

// ParseMix reads "SIZE:WEIGHT".
func ParseMix(s string) (Mix, error) {
	size, weight, ok := strings.Cut(s, ":")
	if !ok {
		return Mix{}, fmt.Errorf(`%q is not a size and its weight: write them as "1KiB:15"`, s)
	}
	bytes, err := ParseSize(strings.TrimSpace(size))
	if err != nil {
		return Mix{}, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(weight))
	if err != nil || n < 1 || n > maxWeight {
		return Mix{}, fmt.Errorf("%q: the weight must be a whole number from 1 to %d", s, maxWeight)
	}
	return Mix{Size: bytes, Weight: n}, nil
}

// String writes the form that ParseMix reads.
func (m Mix) String() string { return m.Size.String() + ":" + strconv.Itoa(m.Weight) }
