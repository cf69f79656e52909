package scenarios

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// assign puts a decoded TOML value into the field that dst points to.
func assign(dst, v any) error {
	switch p := dst.(type) {
	case *int:
		n, ok := v.(int64)
		if !ok || n < math.MinInt32 || n > math.MaxInt32 {
			return fmt.Errorf("wants a whole number, got %s", describe(v))
		}
		*p = int(n)
		return nil
	case *bool:
		b, ok := v.(bool)
		if !ok {
			return fmt.Errorf("wants true or false, got %s", describe(v))
		}
		*p = b
		return nil
	case *uint64:
		n, ok := v.(int64)
		if !ok || n < 0 {
			return fmt.Errorf("wants a whole number of 0 or more, got %s", describe(v))
		}
		*p = uint64(n)
		return nil
	case *[]Threshold:
		items, ok := v.([]any)
		if !ok {
			return fmt.Errorf(`wants a list of strings, as ["lost==0"], got %s`, describe(v))
		}
		var out []Threshold
		for _, item := range items {
			text, ok := item.(string)
			if !ok {
				return fmt.Errorf(`wants a list of strings, as ["lost==0"], got %s in it`, describe(item))
			}
			t, err := ParseThreshold(text)
			if err != nil {
				return err
			}
			out = append(out, t)
		}
		*p = out
		return nil
	}
	if p, ok := dst.(*[]Mix); ok {
		items, ok := v.([]any)
		if !ok {
			return fmt.Errorf(`wants a list of strings, as ["128B:80", "1KiB:20"], got %s`, describe(v))
		}
		return assignMix(p, items)
	}
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("wants %s, got %s", wanted(dst), describe(v))
	}
	return assignText(dst, text)
}

func assignMix(p *[]Mix, items []any) error {
	var out []Mix
	for _, item := range items {
		text, ok := item.(string)
		if !ok {
			return fmt.Errorf(`wants a list of strings, as ["128B:80", "1KiB:20"], got %s in it`, describe(item))
		}
		m, err := ParseMix(text)
		if err != nil {
			return err
		}
		out = append(out, m)
	}
	*p = out
	return nil
}

// assignText puts the value that text holds into the field that dst points to.
func assignText(dst any, text string) error {
	switch p := dst.(type) {
	case *int:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return fmt.Errorf("wants a whole number, got %q", text)
		}
		*p = int(n)
		return nil
	case *bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("wants true or false, got %q", text)
		}
		*p = text == "true"
		return nil
	case *uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return fmt.Errorf("wants a whole number of 0 or more, got %q", text)
		}
		*p = n
		return nil
	case *[]Threshold:
		var out []Threshold
		for _, item := range strings.Split(text, ",") {
			t, err := ParseThreshold(item)
			if err != nil {
				return err
			}
			out = append(out, t)
		}
		*p = out
		return nil
	case *[]Mix:
		items := strings.Split(text, ",")
		parts := make([]any, len(items))
		for i, item := range items {
			parts[i] = item
		}
		return assignMix(p, parts)
	case encoding.TextUnmarshaler:
		return p.UnmarshalText([]byte(text))
	}
	// What is left are strings and named string types.
	reflect.ValueOf(dst).Elem().SetString(text)
	return nil
}

// wanted says what a field takes, for an error.
func wanted(dst any) string {
	switch dst.(type) {
	case *Duration:
		return `a duration in quotes with its unit, as "30s"`
	case *Rate:
		return `a rate in quotes with its unit, as "5/s"`
	case *Ratio:
		return `a share in quotes, as "20%"`
	case *Size:
		return `a size in quotes with its unit, as "128B"`
	default:
		return "a string"
	}
}

// kindOf names what a field takes, for tools.
func kindOf(dst any) string {
	switch dst.(type) {
	case *int, *uint64:
		return "integer"
	case *bool:
		return "boolean"
	case *Duration:
		return "duration"
	case *Rate:
		return "rate"
	case *Ratio:
		return "share"
	case *Size:
		return "size"
	case *[]Threshold:
		return "thresholds"
	case *[]Mix:
		return "mix"
	case *string:
		return "string"
	default:
		return "word"
	}
}

// word is the text of a field that takes a string or a word of a closed set.
func word(src any) string { return reflect.ValueOf(src).Elem().String() }

// describe names a decoded TOML value for an error.
func describe(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("the string %q", v)
	case int64, float64:
		return fmt.Sprintf("the number %v", v)
	case bool:
		return fmt.Sprintf("%v", v)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	default:
		return fmt.Sprintf("%v", v)
	}
}

// format writes a field as TOML would.
func format(src any) string {
	switch p := src.(type) {
	case *int:
		return strconv.Itoa(*p)
	case *bool:
		return strconv.FormatBool(*p)
	case *uint64:
		return strconv.FormatUint(*p, 10)
	case *[]Threshold:
		items := make([]string, len(*p))
		for i, t := range *p {
			items[i] = strconv.Quote(t.Text)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case *[]Mix:
		items := make([]string, len(*p))
		for i, m := range *p {
			items[i] = strconv.Quote(m.String())
		}
		return "[" + strings.Join(items, ", ") + "]"
	case fmt.Stringer:
		return quote(p.String())
	}
	return quote(word(src))
}

// quote writes a TOML basic string; TOML and Go agree on it once control
// characters are written as \u escapes.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// parseFree reads a TOML value; text that is none is a string.
func parseFree(text string) any {
	var doc map[string]any
	if err := toml.Unmarshal([]byte("v = "+text), &doc); err == nil && len(doc) == 1 {
		return doc["v"]
	}
	return text
}
