package protocol

import (
	"errors"
	"fmt"
	"io"
)

const (
	// readBuffer is the size of a Reader's buffer. Packets up to it are read through the
	// buffer, many in one read; larger ones go straight to where they stay.
	readBuffer = 64 << 10
	// trustedSize is how much is allocated on the word of a length field alone. Past
	// it memory grows with what has really arrived, at most to the double. A body of 1 MiB
	// is within.
	trustedSize = 1<<20 + HeaderSize + MaxHeaderLine
	// maxEmptyReads is how often a read may return nothing before the source counts as broken.
	maxEmptyReads = 100
)

// Reader reads packets from a byte stream, however the stream is cut into
// reads: packets that arrive together and packets that arrive in parts. It is
// for one goroutine.
//
// A Reader holds a buffer of 64 KiB and the packet in work. It allocates for a packet what the
// limit allows, and beyond some 1 MiB only as the bytes arrive. It sets no
// deadlines and starts nothing: a peer that stops sending is for the owner of the connection
// to find.
type Reader struct {
	src   io.Reader
	limit int
	buf   []byte
	// buf[from:to] has been read and not been used.
	from, to int
	// srcErr is an error that the source returned beside the last bytes in the buffer.
	srcErr error
	err    error // final, and what every call returns from then on
}

// NewReader returns a Reader of src that accepts packets up to limit bytes, magic
// and length included; a limit below 1 means [DefaultMaxPacket].
func NewReader(src io.Reader, limit int) *Reader {
	if limit < 1 {
		limit = DefaultMaxPacket
	}
	return &Reader{src: src, limit: limit, buf: make([]byte, readBuffer)}
}

// Next returns the next packet. Its Body is the caller's to keep and to change.
//
// The error is [io.EOF] when the stream ends between two packets, [io.ErrUnexpectedEOF] when it
// ends within one, [ErrBadMagic], [ErrPacketTooLarge] or [ErrBadHeader] when its bytes are
// not packets, and otherwise what the source returned. An error is
// final: each further call returns it again, and the connection is of no more use.
func (r *Reader) Next() (Packet, error) {
	p, _, err := r.NextRaw()
	return p, err
}

// NextRaw is [Reader.Next], and returns the packet's bytes as they came, magic
// included, so that they can be sent on without encoding them again. The
// packet's Body aliases raw.
func (r *Reader) NextRaw() (p Packet, raw []byte, err error) {
	if r.err != nil {
		return Packet{}, nil, r.err
	}
	raw, err = r.readFrame()
	if err == nil {
		p, err = depackPayload(raw[HeaderSize:])
	}
	if err != nil {
		r.err = err
		r.buf = nil
		return Packet{}, nil, err
	}
	return p, raw, nil
}

// Buffered is how many bytes have been read from the source and not been returned.
func (r *Reader) Buffered() int { return r.to - r.from }

// readFrame returns the next packet's bytes in a slice of their own.
func (r *Reader) readFrame() ([]byte, error) {
	size, err := frameSize(r.buf[r.from:r.to], r.limit)
	for errors.Is(err, ErrShort) {
		if err := r.fill(); err != nil {
			return nil, err
		}
		size, err = frameSize(r.buf[r.from:r.to], r.limit)
	}
	if err != nil {
		return nil, err
	}
	if size > len(r.buf) {
		return r.readLarge(size)
	}
	for r.to-r.from < size {
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
	raw := make([]byte, size)
	copy(raw, r.buf[r.from:])
	r.from += size
	return raw, nil
}

// fill reads once, after making room for it at the end of the buffer.
func (r *Reader) fill() error {
	if r.from > 0 {
		// The beginning of a packet moves to the front, once for a packet at most.
		r.to = copy(r.buf, r.buf[r.from:r.to])
		r.from = 0
	}
	n, err := r.readSome(r.buf[r.to:])
	if errors.Is(err, io.EOF) && r.to > 0 {
		err = midPacket(r.to)
	}
	r.to += n
	return err
}

// readLarge reads a packet that does not fit the buffer, whose beginning does.
func (r *Reader) readLarge(size int) ([]byte, error) {
	raw := make([]byte, min(size, trustedSize))
	have := copy(raw, r.buf[r.from:r.to])
	r.from, r.to = 0, 0
	for {
		for have < len(raw) {
			n, err := r.readSome(raw[have:])
			if errors.Is(err, io.EOF) {
				err = midPacket(have)
			}
			if err != nil {
				return nil, err
			}
			have += n
		}
		if have == size {
			return raw, nil
		}
		grown := make([]byte, min(size, 2*len(raw)))
		copy(grown, raw)
		raw = grown
	}
}

// readSome reads at least one byte, or returns 0 and why not.
func (r *Reader) readSome(b []byte) (int, error) {
	if r.srcErr != nil {
		return 0, r.srcErr
	}
	for range maxEmptyReads {
		n, err := r.src.Read(b)
		if n > 0 {
			r.srcErr = err // the bytes first
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

func midPacket(have int) error {
	return fmt.Errorf("protocol: stream ends %d bytes into a packet: %w", have, io.ErrUnexpectedEOF)
}
