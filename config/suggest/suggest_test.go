package suggest_test

import (
	"testing"

	"firetower/config/suggest"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"load.rate", "load.mode", "topics.per_connection", "bucket.Num", "open", "smoke"}
	tests := []struct{ name, word, want string }{
		{"the same", "load.rate", "load.rate"},
		{"a letter is missing", "load.rat", "load.rate"},
		{"a letter too many", "load.ratee", "load.rate"},
		{"two neighbours are swapped, as one slip", "opne", "open"},
		{"another letter", "smoka", "smoke"},
		{"case does not count", "BUCKET.NUM", "bucket.Num"},
		{"a hyphen for an underscore", "topics.per-connection", "topics.per_connection"},
		{"too far", "topology", ""},
		{"nothing", "", ""},
		{"long words may differ in more", "topix.pre_connection", "topics.per_connection"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := suggest.Nearest(tt.word, known); got != tt.want {
				t.Errorf("%q gave %q, want %q", tt.word, got, tt.want)
			}
		})
	}
	if got := suggest.Nearest("x", nil); got != "" {
		t.Errorf("of no candidates: %q", got)
	}
}

func TestDidYouMean(t *testing.T) {
	t.Parallel()
	if got := suggest.DidYouMean("opne", []string{"open"}); got != `, did you mean "open"?` {
		t.Errorf("got %q", got)
	}
	if got := suggest.DidYouMean("something", []string{"open"}); got != "" {
		t.Errorf("got %q", got)
	}
}
