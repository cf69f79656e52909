package stamp

import "strconv"

// Padding is what fills a message up to its size. All of it is printable ASCII that a JSON string holds as it is.
type Padding uint8

const (
	// Dots are one character over and over: they cost nothing to make, and compress to nothing.
	Dots Padding = iota
	// Records are what an application's JSON compresses like: the same names in each record, and values that differ.
	// Their quotes are single ones, since the message is a JSON string itself.
	Records
	// Noise is base64 digits: it compresses to no less than three quarters, as all text of 64 digits.
	Noise
)

// append appends n bytes of padding. What is drawn follows from the stamp, so that no two messages are alike.
func (p Padding) append(dst []byte, n int, s *Stamp) []byte {
	switch p {
	case Records:
		return appendRecords(dst, n, newDraw(s))
	case Noise:
		return appendNoise(dst, n, newDraw(s))
	default:
		for ; n > 0; n-- {
			dst = append(dst, '.')
		}
		return dst
	}
}

// draw is SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
type draw uint64

func newDraw(s *Stamp) draw {
	return draw(s.Run ^ s.Sequence<<20 ^ uint64(s.Topic)<<4 ^ uint64(s.Publisher))
}

func (d *draw) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func appendRecords(dst []byte, n int, d draw) []byte {
	end := len(dst) + n
	for len(dst) < end {
		v := d.next()
		dst = append(dst, "{'symbol':'"...)
		for range 4 {
			dst = append(dst, 'A'+byte(v%26))
			v /= 26
		}
		dst = append(dst, "','price':"...)
		dst = strconv.AppendUint(dst, 10+v%990, 10)
		v /= 990
		dst = append(dst, '.', '0'+byte(v%10), '0'+byte(v/10%10))
		dst = append(dst, ",'volume':"...)
		dst = strconv.AppendUint(dst, d.next()%100_000, 10)
		dst = append(dst, ",'side':'"...)
		if v&1 == 0 {
			dst = append(dst, "buy'},"...)
		} else {
			dst = append(dst, "sell'},"...)
		}
	}
	return dst[:end]
}

func appendNoise(dst []byte, n int, d draw) []byte {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for n > 0 {
		v := d.next()
		for range min(n, 10) {
			dst = append(dst, digits[v&63])
			v >>= 6
		}
		n -= 10
	}
	return dst
}
