package latency

import "github.com/HdrHistogram/hdrhistogram-go"

// RecorderOf makes a recorder of a histogram of any geometry, which NewRecorder would not.
func RecorderOf(h *hdrhistogram.Histogram) *Recorder { return &Recorder{hist: h} }

// MustEncode encodes a histogram of any geometry, and says of it that it is this package's.
func MustEncode(h *hdrhistogram.Histogram) Encoded {
	v2, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic(err)
	}
	return Encoded{LowestNS: Lowest, HighestNS: Highest, Digits: Digits, SumNS: "0", V2: string(v2)}
}
