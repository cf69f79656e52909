package latency

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// ErrCorrupt says that an encoded recorder contradicts itself or is not one.
var ErrCorrupt = errors.New("encoded histogram is corrupt")

// maxEncoded bounds the base64 text that Decode looks at. A recorder with every bucket in use encodes to about 60 KiB.
const maxEncoded = 1 << 20

// Encoded is a recorder as it travels between processes and stands in result files. The histogram itself is the V2
// compressed encoding of HdrHistogram in base64, which the tools of every language read; what the histogram does not
// know stands beside it.
type Encoded struct {
	// LowestNS, HighestNS and Digits are the geometry.
	LowestNS  int64 `json:"lowest_ns"`
	HighestNS int64 `json:"highest_ns"`
	Digits    int   `json:"digits"`
	// Count is the number of durations in the histogram.
	Count int64 `json:"count"`
	// MinNS, MaxNS and SumNS are exact. SumNS is decimal text, since it may pass 2^63.
	MinNS int64  `json:"min_ns"`
	MaxNS int64  `json:"max_ns"`
	SumNS string `json:"sum_ns"`
	// Overflow of Count were clamped to HighestNS; Negative are in no other figure.
	Overflow int64 `json:"overflow,omitempty"`
	Negative int64 `json:"negative,omitempty"`
	// V2 is the base64 text of the V2 compressed encoding.
	V2 string `json:"v2"`
}

// Encode returns the recorder in a form that JSON can carry and [Decode] restores exactly.
func (r *Recorder) Encode() (Encoded, error) {
	v2, err := r.hist.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return Encoded{}, fmt.Errorf("encode histogram: %w", err)
	}
	return Encoded{
		LowestNS: Lowest, HighestNS: Highest, Digits: Digits,
		Count: r.Count(), MinNS: r.Min(), MaxNS: r.Max(), SumNS: r.Sum().String(),
		Overflow: r.overflow, Negative: r.negative, V2: string(v2),
	}, nil
}

// Decode restores a recorder. It trusts nothing: it looks at the geometry before anything of its size is allocated
// ([ErrGeometry]), and refuses an encoding whose figures do not fit each other ([ErrCorrupt]).
func Decode(e Encoded) (*Recorder, error) {
	if e.LowestNS != Lowest || e.HighestNS != Highest || e.Digits != Digits {
		return nil, fmt.Errorf("%w: %d..%d ns with %d digits", ErrGeometry, e.LowestNS, e.HighestNS, e.Digits)
	}
	if len(e.V2) > maxEncoded {
		return nil, fmt.Errorf("%w: %d bytes of base64, at most %d are", ErrCorrupt, len(e.V2), maxEncoded)
	}
	if err := peekGeometry(e.V2); err != nil {
		return nil, err
	}
	hist, err := hdrhistogram.Decode([]byte(e.V2))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err := checkGeometry(hist); err != nil {
		return nil, err
	}
	sum, ok := new(big.Int).SetString(e.SumNS, 10)
	switch {
	case hist.TotalCount() != e.Count:
		return nil, fmt.Errorf("%w: %d counts in the histogram, %d beside it", ErrCorrupt, hist.TotalCount(), e.Count)
	case !ok || sum.Sign() < 0 || sum.BitLen() > 128:
		return nil, fmt.Errorf("%w: sum %q", ErrCorrupt, e.SumNS)
	case e.Overflow < 0 || e.Overflow > e.Count || e.Negative < 0:
		return nil, fmt.Errorf("%w: overflow %d and negative %d of %d", ErrCorrupt, e.Overflow, e.Negative, e.Count)
	case e.MinNS < 0 || e.MinNS > e.MaxNS:
		return nil, fmt.Errorf("%w: minimum %d, maximum %d", ErrCorrupt, e.MinNS, e.MaxNS)
	}
	r := &Recorder{hist: hist, min: math.MaxInt64, overflow: e.Overflow, negative: e.Negative}
	if e.Count > 0 {
		r.min, r.max = e.MinNS, e.MaxNS
		r.sumLo = new(big.Int).And(sum, new(big.Int).SetUint64(math.MaxUint64)).Uint64()
		r.sumHi = new(big.Int).Rsh(sum, 64).Uint64()
	}
	return r, nil
}

// peekGeometry reads the header of a V2 compressed encoding and compares the geometry in it. The library's own decoder
// allocates whatever a header asks for, which is up to gigabytes.
func peekGeometry(v2 string) error {
	// The first 8 bytes are cookie and length; what follows is a zlib stream that begins with the 40-byte header:
	// cookie, payload length, normalizing offset, digits (int32 each), lowest, highest (int64), ratio (float64).
	raw, err := base64.StdEncoding.DecodeString(v2)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if len(raw) < 8 {
		return fmt.Errorf("%w: %d bytes", ErrCorrupt, len(raw))
	}
	inflate, err := zlib.NewReader(bytes.NewReader(raw[8:]))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	defer inflate.Close()
	var header [hdrhistogram.ENCODING_HEADER_SIZE]byte
	if _, err := io.ReadFull(inflate, header[:]); err != nil {
		return fmt.Errorf("%w: header: %w", ErrCorrupt, err)
	}
	digits := int32(binary.BigEndian.Uint32(header[12:]))
	lowest := int64(binary.BigEndian.Uint64(header[16:]))
	highest := int64(binary.BigEndian.Uint64(header[24:]))
	if lowest != Lowest || highest != Highest || digits != Digits {
		return fmt.Errorf("%w: %d..%d ns with %d digits", ErrGeometry, lowest, highest, digits)
	}
	return nil
}

// MarshalJSON writes the recorder as [Encoded].
func (r *Recorder) MarshalJSON() ([]byte, error) {
	e, err := r.Encode()
	if err != nil {
		return nil, err
	}
	return json.Marshal(e)
}

// UnmarshalJSON restores the recorder from [Encoded], with the checks of [Decode].
func (r *Recorder) UnmarshalJSON(b []byte) error {
	var e Encoded
	if err := json.Unmarshal(b, &e); err != nil {
		return err
	}
	decoded, err := Decode(e)
	if err != nil {
		return err
	}
	*r = *decoded
	return nil
}
