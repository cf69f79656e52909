package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// input is a value as a source gives it: text from the environment or a flag,
// or a typed value of TOML.
type input struct {
	text string
	toml any // nil when the source gives text
}

// parse makes the value of key k from in: int64 (integers, sizes, ports),
// bool, string, time.Duration, []string or parsedAddress. Its errors name
// neither place nor key, and for a secret not the value either.
func (k *key) parse(in input) (any, error) {
	v, err := k.parseShape(in)
	if err != nil {
		return nil, err
	}
	if err := k.parseBounds(v); err != nil {
		return nil, err
	}
	if k.check != nil {
		if err := k.check(v); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (k *key) parseShape(in input) (any, error) {
	switch k.kind {
	case KindInt, KindPort:
		return parseInt(in)
	case KindBool:
		return parseBool(in)
	case KindSize:
		return parseSize(in)
	case KindDuration:
		return parseDuration(in, k.bareSeconds)
	case KindList:
		return parseList(in)
	case KindListen, KindDial:
		return k.parseAddress(in)
	case KindSecret:
		s, err := parseText(in)
		if err != nil {
			return nil, errors.New("want text in quotes")
		}
		return s, nil
	default:
		return parseText(in)
	}
}

func (k *key) parseBounds(v any) error {
	switch v := v.(type) {
	case int64:
		if v < k.lo || v > k.hi {
			got := strconv.FormatInt(v, 10)
			if k.kind == KindSize {
				got = formatSize(v)
			}
			return fmt.Errorf("must be %s, got %s", k.span(), got)
		}
	case time.Duration:
		if int64(v) < k.lo || int64(v) > k.hi {
			return fmt.Errorf("must be %s, got %s", k.span(), formatDuration(v))
		}
	case string:
		if k.kind == KindChoice && !slices.Contains(k.choices, v) {
			err := fmt.Sprintf("must be %s, got %q", k.span(), v)
			if near := nearest(v, k.choices); near != "" {
				err += fmt.Sprintf(", did you mean %q?", near)
			}
			return errors.New(err)
		}
	}
	return nil
}

func (k *key) parseAddress(in input) (any, error) {
	s, err := parseText(in)
	if err != nil {
		return nil, err
	}
	if s == "" {
		if !k.optional {
			return nil, errors.New(`must not be empty: want host:port`)
		}
		return parsedAddress{hasPort: true}, nil
	}
	a, err := parseAddress(s)
	if err != nil {
		return nil, err
	}
	if k.kind == KindDial {
		switch {
		case a.Host == "":
			return nil, fmt.Errorf("%q names no host to connect to", s)
		case a.hasPort && a.Port == 0:
			return nil, fmt.Errorf("%q names no port to connect to", s)
		}
	}
	return a, nil
}

// describe names a TOML value for people.
func describe(v any) string {
	switch v := v.(type) {
	case int64:
		return fmt.Sprintf("the integer %d", v)
	case float64:
		return fmt.Sprintf("the number %v", v)
	case bool:
		return fmt.Sprintf("the boolean %v", v)
	case string:
		return fmt.Sprintf("the text %q", v)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	default:
		return fmt.Sprintf("%v", v)
	}
}

func parseText(in input) (string, error) {
	if in.toml == nil {
		return in.text, nil
	}
	s, ok := in.toml.(string)
	if !ok {
		return "", fmt.Errorf("want text in quotes, got %s", describe(in.toml))
	}
	return s, nil
}

func parseInt(in input) (int64, error) {
	if in.toml != nil {
		n, ok := in.toml.(int64)
		if !ok {
			return 0, fmt.Errorf("want an integer, got %s", describe(in.toml))
		}
		return n, nil
	}
	n, err := strconv.ParseInt(in.text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("want an integer, got %q", in.text)
	}
	return n, nil
}

func parseBool(in input) (bool, error) {
	switch {
	case in.toml != nil:
		if b, ok := in.toml.(bool); ok {
			return b, nil
		}
		return false, fmt.Errorf("want true or false, got %s", describe(in.toml))
	case in.text == "true":
		return true, nil
	case in.text == "false":
		return false, nil
	default:
		return false, fmt.Errorf("want true or false, got %q", in.text)
	}
}

// parseList reads a TOML list of text, or text with commas between the members.
func parseList(in input) ([]string, error) {
	if in.toml == nil {
		if strings.TrimSpace(in.text) == "" {
			return []string{}, nil
		}
		out := strings.Split(in.text, ",")
		for i := range out {
			out[i] = strings.TrimSpace(out[i])
		}
		return out, nil
	}
	members, ok := in.toml.([]any)
	if !ok {
		return nil, fmt.Errorf(`want a list of text such as ["a", "b"], got %s`, describe(in.toml))
	}
	out := make([]string, 0, len(members))
	for _, m := range members {
		s, ok := m.(string)
		if !ok {
			return nil, fmt.Errorf(`want a list of text such as ["a", "b"], got %s in it`, describe(m))
		}
		out = append(out, s)
	}
	return out, nil
}

// parseDuration reads "25s", "1m30s", "250ms"; with bareSeconds also 25.
func parseDuration(in input, bareSeconds bool) (time.Duration, error) {
	text := in.text
	n, isInt := in.toml.(int64)
	switch s, isText := in.toml.(string); {
	case isInt:
		text = strconv.FormatInt(n, 10)
	case isText:
		text = s
	case in.toml != nil:
		return 0, fmt.Errorf(`want a duration such as "30s", got %s`, describe(in.toml))
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		if !bareSeconds {
			return 0, fmt.Errorf(`%d has no unit: write %q for seconds`, seconds, text+"s")
		}
		if seconds < 0 || seconds > math.MaxInt64/int64(time.Second) {
			return 0, fmt.Errorf("%d seconds is out of range", seconds)
		}
		return time.Duration(seconds) * time.Second, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf(`want a duration such as "30s", "250ms" or "1m30s", got %q`, text)
	}
	return d, nil
}

// formatDuration writes the shortest form that parseDuration reads: "1m30s",
// "2m", "0s".
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// sizeUnits are tried in this order, so that "KiB" is not read as "B".
func sizeUnits() []sizeUnit {
	return []sizeUnit{
		{"GiB", 1 << 30},
		{"MiB", 1 << 20},
		{"KiB", 1 << 10},
		{"GB", 1e9},
		{"MB", 1e6},
		{"KB", 1e3},
		{"kB", 1e3},
		{"B", 1},
	}
}

type sizeUnit struct {
	suffix string
	bytes  int64
}

// parseSize reads "64KiB", "1MB", "512B" or a bare integer of bytes.
func parseSize(in input) (int64, error) {
	text := in.text
	switch v := in.toml.(type) {
	case nil:
	case int64:
		return v, nil
	case string:
		text = v
	default:
		return 0, fmt.Errorf(`want a size such as "64KiB", got %s`, describe(in.toml))
	}
	number, unit := text, int64(1)
	for _, u := range sizeUnits() {
		if n, ok := strings.CutSuffix(text, u.suffix); ok {
			number, unit = strings.TrimSpace(n), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf(`want a size such as "64KiB", "1MiB" or 65536, got %q`, text)
	}
	if n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is out of range", text)
	}
	return n * unit, nil
}

// formatSize writes the largest binary unit that loses nothing.
func formatSize(n int64) string {
	for _, u := range sizeUnits()[:3] {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// set puts a parsed value where the key's value goes. Addresses and ports are
// put together by the loader.
func (k *key) set(v any) {
	switch to := k.to.(type) {
	case *int:
		*to = int(v.(int64)) //nolint:errcheck // the kind decides both types; a test sets every key
	case *bool:
		*to = v.(bool) //nolint:errcheck // as above
	case *string:
		*to = v.(string) //nolint:errcheck // as above
	case *time.Duration:
		*to = v.(time.Duration) //nolint:errcheck // as above
	case *[]string:
		*to = v.([]string) //nolint:errcheck // as above
	default:
		panic(fmt.Sprintf("config: key %s: no place for a %s", k.path, k.kind))
	}
}

// text is the value as a flag would give it.
func (k *key) text() string {
	switch to := k.to.(type) {
	case *int:
		if k.kind == KindSize {
			return formatSize(int64(*to))
		}
		return strconv.Itoa(*to)
	case *bool:
		return strconv.FormatBool(*to)
	case *string:
		return *to
	case *time.Duration:
		return formatDuration(*to)
	case *[]string:
		return strings.Join(*to, ",")
	case *Address:
		return to.String()
	default:
		panic(fmt.Sprintf("config: key %s: no text of a %s", k.path, k.kind))
	}
}

// tomlText is the value as a file would give it.
func (k *key) tomlText() string {
	switch to := k.to.(type) {
	case *[]string:
		quoted := make([]string, len(*to))
		for i, s := range *to {
			quoted[i] = quoteTOML(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case *int, *bool:
		if k.kind != KindSize {
			return k.text()
		}
	}
	return quoteTOML(k.text())
}

// quoteTOML writes s as a basic string (TOML v1.0.0, section String).
func quoteTOML(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
