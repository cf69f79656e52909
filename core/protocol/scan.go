package protocol

import (
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// Why encoding/json alone does not do: it takes the last of two equal keys, replaces
// invalid UTF-8 and lone surrogates in silence, and allocates per value. This file finds where values
// begin and end, and refuses what RFC 8259 refuses and what is not UTF-8 (its
// section 8.1). Values are decoded elsewhere.

// What scanValue finds wrong.
var (
	errSyntax = errors.New("not JSON")
	errUTF8   = errors.New("not UTF-8")
	errDepth  = errors.New("nested too deeply")
)

// text tells what is in a JSON string beside plain characters.
type text uint8

const (
	escaped       text = 1 << iota // a backslash
	loneSurrogate                  // \uD800 to \uDFFF that is not half of a pair
)

// scanValue returns where the JSON value that begins at b[i] ends. depth is how
// many levels of arrays and objects it may have. On an error the index is where.
func scanValue(b []byte, i, depth int) (int, error) {
	if i >= len(b) {
		return i, errSyntax
	}
	switch c := b[i]; {
	case c == '"':
		end, _, err := scanString(b, i)
		return end, err
	case c == '{':
		return scanObject(b, i, depth)
	case c == '[':
		return scanArray(b, i, depth)
	case c == '-' || isDigit(c):
		return scanNumber(b, i)
	case c == 't':
		return scanWord(b, i, "true")
	case c == 'f':
		return scanWord(b, i, "false")
	case c == 'n':
		return scanWord(b, i, "null")
	}
	return i, errSyntax
}

func scanObject(b []byte, i, depth int) (int, error) {
	m, err := openObject(b, i, depth)
	for err == nil && m.more {
		err = m.next()
	}
	return m.pos, err
}

func scanArray(b []byte, i, depth int) (int, error) {
	if depth < 1 {
		return i, errDepth
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1, nil
	}
	for {
		end, err := scanValue(b, i, depth-1)
		if err != nil {
			return end, err
		}
		i = skipSpace(b, end)
		if i >= len(b) {
			return i, errSyntax
		}
		switch b[i] {
		case ']':
			return i + 1, nil
		case ',':
			i = skipSpace(b, i+1)
		default:
			return i, errSyntax
		}
	}
}

// members walks the members of an object.
type members struct {
	b     []byte
	pos   int // where to go on; after the object when more is false
	depth int // levels that the values may have
	more  bool

	key, value []byte // of the last member; the key with its quotes
	keyText    text
}

// openObject begins to walk the object whose brace is b[i].
func openObject(b []byte, i, depth int) (members, error) {
	m := members{b: b, pos: i, depth: depth - 1}
	if depth < 1 {
		return m, errDepth
	}
	m.pos = skipSpace(b, i+1)
	if m.pos < len(b) && b[m.pos] == '}' {
		m.pos++
		return m, nil
	}
	m.more = true
	return m, nil
}

// next reads one member; to be called while more is true.
func (m *members) next() error {
	start := m.pos
	if start >= len(m.b) || m.b[start] != '"' {
		return errSyntax
	}
	var err error
	if m.pos, m.keyText, err = scanString(m.b, start); err != nil {
		return err
	}
	m.key = m.b[start:m.pos]
	m.pos = skipSpace(m.b, m.pos)
	if m.pos >= len(m.b) || m.b[m.pos] != ':' {
		return errSyntax
	}
	m.pos = skipSpace(m.b, m.pos+1)
	start = m.pos
	if m.pos, err = scanValue(m.b, start, m.depth); err != nil {
		return err
	}
	m.value = m.b[start:m.pos:m.pos]
	m.pos = skipSpace(m.b, m.pos)
	if m.pos >= len(m.b) {
		return errSyntax
	}
	switch m.b[m.pos] {
	case '}':
		m.pos++
		m.more = false
	case ',':
		m.pos = skipSpace(m.b, m.pos+1)
	default:
		return errSyntax
	}
	return nil
}

// scanString returns where the string whose quote is b[i] ends.
func scanString(b []byte, i int) (end int, t text, err error) {
	i++
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			return i + 1, t, nil
		case c == '\\':
			n, lone := scanEscape(b[i:])
			if n == 0 {
				return i, t, errSyntax
			}
			t |= escaped
			if lone {
				t |= loneSurrogate
			}
			i += n
		case c < ' ':
			return i, t, errSyntax
		case c < utf8.RuneSelf:
			i++
		default:
			r, size := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && size == 1 {
				return i, t, errUTF8
			}
			i += size
		}
	}
	return i, t, errSyntax
}

// scanEscape returns the length of the escape at the beginning of b, 0 if it is none.
// The two escapes of a surrogate pair count as one.
func scanEscape(b []byte) (n int, lone bool) {
	if len(b) < 2 {
		return 0, false
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, false
	case 'u':
	default:
		return 0, false
	}
	u, ok := scanHex(b)
	switch {
	case !ok:
		return 0, false
	case u < 0xd800 || u > 0xdfff:
		return 6, false
	case u < 0xdc00:
		if low, ok := scanHex(b[6:]); ok && low >= 0xdc00 && low <= 0xdfff {
			return 12, false
		}
	}
	return 6, true
}

// unescape decodes the inside of a string that scanString has accepted. A lone
// surrogate becomes U+FFFD.
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		if b[i] != '\\' {
			out = append(out, b[i])
			i++
			continue
		}
		n, _ := scanEscape(b[i:])
		switch c := b[i+1]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			high, _ := scanHex(b[i:])
			low, _ := scanHex(b[i+6:]) // not read unless high is the first of a pair
			r := rune(high)
			if n == 12 {
				r = utf16.DecodeRune(r, rune(low))
			}
			out = utf8.AppendRune(out, r) // a surrogate is appended as U+FFFD
		default:
			out = append(out, c)
		}
		i += n
	}
	return out
}

// scanHex decodes \uXXXX at the beginning of b.
func scanHex(b []byte) (u uint16, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case isDigit(c):
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		u = u<<4 | uint16(c)
	}
	return u, true
}

// scanNumber follows the grammar of RFC 8259, section 6.
func scanNumber(b []byte, i int) (int, error) {
	if b[i] == '-' {
		i++
	}
	from := i
	i = skipDigits(b, i)
	if i == from || b[from] == '0' && i > from+1 {
		return from, errSyntax
	}
	if i < len(b) && b[i] == '.' {
		from = i + 1
		if i = skipDigits(b, from); i == from {
			return i, errSyntax
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		from = i
		if i = skipDigits(b, from); i == from {
			return i, errSyntax
		}
	}
	return i, nil
}

func scanWord(b []byte, i int, word string) (int, error) {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return i, errSyntax
	}
	return i + len(word), nil
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return i
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// skipSpace skips the white space of RFC 8259, section 2.
func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
