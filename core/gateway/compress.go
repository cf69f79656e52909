package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
	"github.com/klauspost/compress/flate"
)

// permessage-deflate (RFC 7692) without context takeover in either direction: each
// message is compressed by itself. That is what lets one compressed message
// be shared by all receivers, and what leaves a connection at rest without any
// compression state.

// CompressionOptions shape permessage-deflate.
type CompressionOptions struct {
	// Enabled lets clients negotiate it. Default false.
	Enabled bool
	// Threshold is the least size of a message, in bytes with its envelope, that is
	// compressed. Default 256.
	Threshold int
	// Level is from 1, the fastest, to 9, the smallest. Default 3.
	Level int
}

// rsv1 is the bit of a frame's first byte that marks a compressed message (RFC 7692 section 6).
const rsv1 = 0x40

// extensionDeflate is the name of the extension (RFC 7692 section 7).
const extensionDeflate = "permessage-deflate"

// acceptsDeflate tells whether one of a client's offers can be accepted with the
// answer that the WebSocket library gives: no context takeover, windows of 32 KiB
// (RFC 7692 section 7.1).
func acceptsDeflate(h http.Header) bool {
	for _, value := range h.Values("Sec-WebSocket-Extensions") {
		for offer := range strings.SplitSeq(value, ",") {
			if acceptableOffer(strings.Split(offer, ";")) {
				return true
			}
		}
	}
	return false
}

// acceptableOffer takes an offer's name and parameters. One with a parameter that is
// unknown, repeated or out of its range must be declined (section 7.1), and so
// must a limit of the server's window, which the answer would have to name.
func acceptableOffer(parts []string) bool {
	if strings.TrimSpace(parts[0]) != extensionDeflate {
		return false
	}
	var seen []string
	for _, p := range parts[1:] {
		name, value, valued := strings.Cut(p, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if slices.Contains(seen, name) {
			return false
		}
		seen = append(seen, name)
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if valued {
				return false
			}
		case "client_max_window_bits":
			if valued && !windowBits(value) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// windowBits tells whether s is from 8 to 15 without leading zeros, quoted or not.
func windowBits(s string) bool {
	if len(s) > 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	n, err := strconv.Atoi(s)
	return err == nil && n >= 8 && n <= 15 && s == strconv.Itoa(n)
}

// upgrade answers the upgrade request of a client and tells whether compression
// was negotiated.
func (g *Gateway) upgrade(u *websocket.Upgrader, w http.ResponseWriter, r *http.Request) (ws *websocket.Conn, compressed bool, err error) {
	w = quietHijacker{w}
	if asked := r.Header["Sec-Websocket-Protocol"]; len(asked) > 1 {
		// The library looks at the first line alone, and there may be several (RFC 6455 section 11.3.4).
		joined := *r
		joined.Header = r.Header.Clone()
		joined.Header.Set("Sec-WebSocket-Protocol", strings.Join(asked, ", "))
		r = &joined
	}
	if g.compressor != nil && acceptsDeflate(r.Header) {
		// The library looks for the name of the extension alone: it gets a request
		// of which we know what it will answer.
		compressing, offer := *u, *r
		compressing.EnableCompression = true
		offer.Header = r.Header.Clone()
		offer.Header.Set("Sec-WebSocket-Extensions", extensionDeflate)
		ws, err = compressing.Upgrade(w, &offer, nil)
		return ws, err == nil, err
	}
	ws, err = u.Upgrade(w, r, nil)
	return ws, false, err
}

// compressor compresses messages, each once for all of its receivers.
type compressor struct {
	threshold, level int
	metrics          *metrics
	clock            *clock
	// free holds the deflaters that nobody uses, unmade a token for each that may yet
	// be made. There are at most as many as can run at once, since compressing waits
	// for nothing: this bounds their memory, 0.8 to 1.4 MiB each.
	free   chan *deflater
	unmade chan struct{}
}

type deflater struct {
	out bytes.Buffer
	w   *flate.Writer
}

// keepDeflated is the largest output buffer that a deflater keeps.
const keepDeflated = 64 << 10

// newCompressor returns nil where compression is not enabled.
func newCompressor(o CompressionOptions, m *metrics, c *clock) *compressor {
	if !o.Enabled {
		return nil
	}
	z := &compressor{
		threshold: o.Threshold, level: o.Level, metrics: m, clock: c,
		free: make(chan *deflater, runtime.GOMAXPROCS(0)), unmade: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	for range cap(z.unmade) {
		z.unmade <- struct{}{}
	}
	return z
}

// take gives the caller a deflater, which it puts back into free.
func (z *compressor) take() *deflater {
	select {
	case d := <-z.free:
		return d
	default:
	}
	select {
	case d := <-z.free:
		return d
	case <-z.unmade:
		d := new(deflater)
		d.w, _ = flate.NewWriter(&d.out, z.level) // fails for a level that Validate refuses
		return d
	}
}

// deflateTail is what ends a flush, and is left out of a message (RFC 7692 section 7.2.1).
const deflateTail = "\x00\x00\xff\xff"

// compress returns the compressed form of a complete frame, of its exact size and
// never changed again; or the frame itself where it is too small or would not
// shrink, which a message may be in spite of the extension (RFC 7692 section 6).
func (z *compressor) compress(frame []byte) []byte {
	payload := frame[frameHeaderSize(frame):]
	if len(payload) < z.threshold {
		return frame
	}
	begun := z.clock.now()
	d := z.take()
	deflated := d.deflate(payload)
	if len(deflated) < len(payload) {

		header := appendFrameHeader(make([]byte, 0, maxFrameHeader), frame[0]&0xf|rsv1, len(deflated))
		frame = append(append(make([]byte, 0, len(header)+len(deflated)), header...), deflated...)
		z.metrics.compressed.Add(1)
		z.metrics.compressInput.Add(int64(len(payload)))
		z.metrics.compressOutput.Add(int64(len(deflated)))
	} else {
		z.metrics.incompressible.Add(1)
	}
	if d.out.Cap() > keepDeflated {
		d.out = bytes.Buffer{}
	}
	z.free <- d
	z.metrics.compressTime.Add(z.clock.now() - begun)
	return frame
}

// deflate returns the payload of a compressed message. It is valid until the next call.
func (d *deflater) deflate(payload []byte) []byte {
	d.out.Reset()
	d.w.Reset(&d.out)
	_, _ = d.w.Write(payload) // a bytes.Buffer takes all
	_ = d.w.Flush()
	return bytes.TrimSuffix(d.out.Bytes(), []byte(deflateTail))
}

// errDeflate: a client's message says that it is compressed, but is not.
var errDeflate = errors.New("websocket: bad compressed message")

// errReservedBit: a frame carries a reserved bit where it has no meaning
// (RFC 7692 section 6.2: only the first frame of a message).
var errReservedBit = errors.New("websocket: RSV1 set")

// inflaters lends what inflates clients' messages. One is in use only while a
// message that is there as a whole is inflated, so there are few.
type inflaters struct{ pool sync.Pool }

type inflater struct {
	in  bytes.Reader
	out io.ReadCloser
}

func (p *inflaters) get() *inflater {
	if i, ok := p.pool.Get().(*inflater); ok {
		return i
	}
	i := new(inflater)
	i.out = flate.NewReader(&i.in)
	return i
}

// inflate appends what a compressed message holds to dst, whose bytes it replaces. It fails
// with websocket.ErrReadLimit as soon as that is more than limit: what inflates to a
// thousand times its size costs no more than a message that is too big as it is.
// It appends to deflated, which must have been read as a whole.
func (p *inflaters) inflate(dst, deflated *readBuffer, limit int) error {
	// What the sender left out, and an empty block that ends the stream.
	deflated.bytes = append(deflated.bytes, deflateTail+"\x01\x00\x00\xff\xff"...)
	i := p.get()
	defer p.pool.Put(i)
	i.in.Reset(deflated.bytes)
	defer i.in.Reset(nil)
	dst.bytes = dst.bytes[:0]
	// A sender may end streams within the message (section 7.2.3.4).
	for i.in.Len() > 0 {
		resetter, ok := i.out.(flate.Resetter)
		if !ok {
			return errDeflate // the library promises one
		}
		if err := resetter.Reset(&i.in, nil); err != nil {
			return fmt.Errorf("%w: %s", errDeflate, err.Error())
		}
		switch err := dst.appendFrom(nil, i.out, limit); {
		case errors.Is(err, websocket.ErrReadLimit):
			return err
		case err != nil: // not to be taken for the connection's
			return fmt.Errorf("%w: %s", errDeflate, err.Error())
		}
	}
	return nil
}
