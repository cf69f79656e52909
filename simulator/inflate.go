package simulator

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

// inflater turns compressed messages into what they were. A shard has one for all of its connections, since each
// message stands alone (RFC 7692 §7.1.1.1).
type inflater struct {
	in, out []byte
	source  bytes.Reader
	stream  io.ReadCloser // nil before the first message
}

// deflateTail is what the sender left out (§7.2.1), and an empty block that ends the stream.
const deflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflate returns what a message holds; it is valid until the next call. fail is the close code that the server earns.
func (i *inflater) inflate(payload []byte, limit int) (message []byte, fail protocolError) {
	i.in = append(append(i.in[:0], payload...), deflateTail...)
	i.source.Reset(i.in)
	i.out = i.out[:0]
	for i.source.Len() > 0 { // streams may end within a message (§7.2.3.4)
		if i.stream == nil {
			i.stream = flate.NewReader(&i.source)
		} else if r, ok := i.stream.(flate.Resetter); !ok || r.Reset(&i.source, nil) != nil {
			return nil, closeBadData
		}
		for {
			if len(i.out) == cap(i.out) {
				i.out = append(i.out, 0)[:len(i.out)]
			}
			n, err := i.stream.Read(i.out[len(i.out):cap(i.out)])
			i.out = i.out[:len(i.out)+n]
			switch {
			case len(i.out) > limit:
				return nil, closeTooBig
			case errors.Is(err, io.EOF):
			case err != nil:
				return nil, closeBadData
			default:
				continue
			}
			break
		}
	}
	return i.out, 0
}
