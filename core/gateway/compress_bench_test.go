package gateway_test

import (
	"compress/flate"
	"fmt"
	"io"
	"strings"
	"testing"

	"firetower/core/gateway"
)

// BenchmarkCompress is the price of a message that somebody gets compressed, paid once for all receivers,
// and the share of its size that is left.
func BenchmarkCompress(b *testing.B) {
	for _, size := range []int{128, 256, 512, 1 << 10, 4 << 10, 16 << 10, 64 << 10} {
		for _, level := range []int{1, 3, 5, 6, 7, 9} {
			b.Run(fmt.Sprintf("size=%d/level=%d", size, level), func(b *testing.B) {
				z := gateway.NewCompressor(level)
				frame := gateway.TextFrame([]byte(jsonOf(1, size)))
				n := len(z.Frame(frame))
				b.SetBytes(int64(len(frame)))
				b.ReportAllocs()
				for b.Loop() {
					z.Frame(frame)
				}
				b.ReportMetric(100*float64(n)/float64(len(frame)), "%size")
			})
		}
	}
}

// BenchmarkCompressStandard is the same by compress/flate, for the choice of a library.
func BenchmarkCompressStandard(b *testing.B) {
	for _, size := range []int{256, 1 << 10, 16 << 10} {
		for _, level := range []int{1, 6, 9} {
			b.Run(fmt.Sprintf("size=%d/level=%d", size, level), func(b *testing.B) {
				w, err := flate.NewWriter(io.Discard, level)
				if err != nil {
					b.Fatal(err)
				}
				payload := []byte(jsonOf(1, size))
				n := len(deflateAt(string(payload), level))
				b.SetBytes(int64(len(payload)))
				b.ReportAllocs()
				for b.Loop() {
					w.Reset(io.Discard)
					_, _ = w.Write(payload)
					_ = w.Flush()
				}
				b.ReportMetric(100*float64(n)/float64(len(payload)), "%size")
			})
		}
	}
}

// BenchmarkInflate is the price of a client's compressed message.
func BenchmarkInflate(b *testing.B) {
	for _, size := range []int{256, 1 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			deflated := []byte(deflate(jsonOf(1, size)))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var i gateway.Inflater
			for b.Loop() {
				if _, err := i.Inflate(deflated, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func deflateAt(payload string, level int) string {
	var b strings.Builder
	w, _ := flate.NewWriter(&b, level)
	_, _ = io.WriteString(w, payload)
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}
