package scenarios

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"firetower/config/suggest"
)

// key is one key of a table T of the format: its name, what it is for, where it is
// kept, what it may be and when it means something. Decoding, checks, printing, the
// JSON Schema and overrides by name are all driven by it.
type key[T any] struct {
	name string
	doc  string
	at   func(*T) any // a pointer to the field
	// choices is the closed set of a key that takes a word.
	choices []string
	form    *regexp.Regexp // of a key that takes any text of this form
	limits  *limits
	when    *condition[T]
	needed  bool // a file without it is refused
}

// limits bound a number with or without a unit.
type limits struct {
	low, high any  // of the field's own type; nil is no bound
	above     bool // low itself is too little
}

// condition tells when a key means something. A key that means nothing is refused
// when it is given, and left out when the scenario is printed.
type condition[T any] struct {
	// on is the key that decides.
	on string
	// text is the condition as a file would meet it, as `load.mode = "burst"`.
	text string
	// holds is whether t meets it.
	holds func(t *T) bool
}

func field[T any](name, doc string, at func(*T) any) key[T] {
	return key[T]{name: name, doc: doc, at: at}
}

// within bounds the key's value; both bounds belong to it.
func (k key[T]) within(low, high any) key[T] {
	k.limits = &limits{low: low, high: high}
	return k
}

// above bounds the key's value; low does not belong to it.
func (k key[T]) above(low, high any) key[T] {
	k.limits = &limits{low: low, high: high, above: true}
	return k
}

// like says what form a key's text has.
func (k key[T]) like(form *regexp.Regexp) key[T] {
	k.form = form
	return k
}

// only says when the key means something.
func (k key[T]) only(c condition[T]) key[T] {
	k.when = &c
	return k
}

// required marks a key that every file must have.
func (k key[T]) required() key[T] {
	k.needed = true
	return k
}

// oneOf is the closed set of a key that takes a word.
func oneOf[T any, S ~string](k key[T], choices ...S) key[T] {
	for _, c := range choices {
		k.choices = append(k.choices, string(c))
	}
	return k
}

// means tells whether the key means something in t.
func (k key[T]) means(t *T) bool { return k.when == nil || k.when.holds(t) }

// ignored is what is wrong with giving a key that means nothing.
func (k key[T]) ignored() string { return "is for " + k.when.text + " alone" }

// problem is what is wrong with the key's value in t, empty when nothing is.
func (k key[T]) problem(t *T) string {
	value := k.at(t)
	if k.choices != nil {
		if got := word(value); !slices.Contains(k.choices, got) {
			return fmt.Sprintf("must be %s, got %q%s", orList(k.choices), got, suggest.DidYouMean(got, k.choices))
		}
	}
	if k.form != nil && !k.form.MatchString(word(value)) {
		return fmt.Sprintf("must look like %s, got %q", k.form, word(value))
	}
	if k.limits != nil && !k.limits.hold(value) {
		return fmt.Sprintf("must be %s, got %s", k.limits, unquoted(value))
	}
	return ""
}

// hold tells whether the value that p points to is within the limits.
func (l *limits) hold(p any) bool {
	v := number(p)
	if l.low != nil && (v < number(l.low) || l.above && v == number(l.low)) {
		return false
	}
	return l.high == nil || v <= number(l.high)
}

// String is "1 to 64", "above 0s and at most 24h" or "at least 1".
func (l *limits) String() string {
	switch {
	case l.high == nil && l.above:
		return "above " + unquoted(l.low)
	case l.high == nil:
		return "at least " + unquoted(l.low)
	case l.above:
		return "above " + unquoted(l.low) + " and at most " + unquoted(l.high)
	default:
		return unquoted(l.low) + " to " + unquoted(l.high)
	}
}

// number is a value, or what a pointer points to, as a number of its base unit.
func number(v any) float64 {
	switch v := v.(type) {
	case int:
		return float64(v)
	case *int:
		return float64(*v)
	case Duration:
		return float64(v.Duration)
	case *Duration:
		return float64(v.Duration)
	case Rate:
		return v.PerSecond
	case *Rate:
		return v.PerSecond
	case Size:
		return float64(v)
	case *Size:
		return float64(*v)
	case Ratio:
		return float64(v)
	case *Ratio:
		return float64(*v)
	default:
		panic(fmt.Sprintf("scenarios: %T has no limits", v))
	}
}

// unquoted is a value for an error.
func unquoted(v any) string {
	if n, ok := v.(int); ok {
		return fmt.Sprint(n)
	}
	if s, ok := v.(fmt.Stringer); ok {
		return s.String()
	}
	return format(v)
}

// orList is "a", "a or b", "a, b or c".
func orList(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

func hours(n int) Duration { return Duration{time.Duration(n) * time.Hour} }

func perSecond(n float64) Rate { return Rate{n} }
