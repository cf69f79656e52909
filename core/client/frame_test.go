package client_test

import (
	"bytes"
	"math"
	"net/http"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"

	"firetower/core/client"
	"firetower/core/protocol"
)

// seed returns the seed of a property's generators: another each time, unless FIRETOWER_PROP_SEED
// is set.
func seed(t *testing.T) int64 {
	t.Helper()
	seed := time.Now().UnixNano()
	if text := os.Getenv("FIRETOWER_PROP_SEED"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatalf("FIRETOWER_PROP_SEED: must be an integer, is %q", text)
		}
		seed = n
	}
	t.Logf("FIRETOWER_PROP_SEED=%d", seed)
	return seed
}

// TestPushRoundTrip: what a gateway puts into a push comes out byte for byte, but for white space
// around JSON.
func TestPushRoundTrip(t *testing.T) {
	properties := gopter.NewProperties(gopter.DefaultTestParametersWithSeed(seed(t)))
	data := gen.OneGenOf(
		gen.SliceOf(gen.UInt8()),
		gen.AnyString().Map(func(s string) []byte { return []byte(s) }),
		gen.OneConstOf("null", "{}", ` {"a":[1, "é"]} `, `"\ud800"`, "1e5", "<script>&", "{", "").
			Map(func(s string) []byte { return []byte(s) }),
	)
	properties.Property("AppendPushV1, then parsed", prop.ForAll(func(published []byte) bool {
		topic, got, push, err := client.ParsePush(protocol.AppendPushV1(nil, "topic", published))
		return err == nil && push && topic == "topic" &&
			(bytes.Equal(got, published) || bytes.Equal(got, bytes.Trim(published, " \t\r\n")))
	}, data))
	properties.TestingRun(t)
}

func TestBackoffIsFullJitter(t *testing.T) {
	const first, limit = 100 * time.Millisecond, time.Second
	top := client.Waits(first, limit, 80, func() float64 { return math.Nextafter(1, 0) })
	for i, want := range []int64{100, 200, 400, 800, 1000, 1000} {
		if got := top[i].Round(time.Millisecond).Milliseconds(); got != want {
			t.Errorf("the longest wait %d is %vms, want %vms", i, got, want)
		}
	}
	if top[79] > limit {
		t.Errorf("wait 79 is %v", top[79])
	}
	for i, wait := range client.Waits(first, limit, 80, func() float64 { return 0 }) {
		if wait != 0 {
			t.Errorf("the shortest wait %d is %v", i, wait)
		}
	}
}

// A wait comes as seconds or as a date (RFC 9110 section 10.2.3), and is bounded.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
		for value, want := range map[string]time.Duration{
			"": 0, "0": 0, "7": 7 * time.Second, "-1": 0, "1.5": 0, "soon": 0, "99999999999": 10 * time.Minute, "100000": 10 * time.Minute,
			in(90 * time.Second): 90 * time.Second, in(-time.Hour): 0, in(24 * time.Hour): 10 * time.Minute,
		} {
			h := http.Header{}
			if value != "" {
				h.Set("Retry-After", value)
			}
			if got := client.RetryAfter(h); got != want {
				t.Errorf("Retry-After: %s: %v, want %v", value, got, want)
			}
		}
	})
}

func TestRetryHint(t *testing.T) {
	tests := []struct {
		name, reason string
		want         time.Duration
	}{
		{"none", "gateway stops", 0},
		{"a word", "gateway stops; retry_ms=1500", 1500 * time.Millisecond},
		{"alone", "retry_ms=20", 20 * time.Millisecond},
		{"part of a word", "noretry_ms=20", 0},
		{"negative", "retry_ms=-1", 0},
		{"no number", "retry_ms=5s", 0},
		{"bounded", "retry_ms=9223372036854775807", 10 * time.Minute},
		{"too large for a number", "retry_ms=9223372036854775808", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := client.RetryHint(tt.reason); got != tt.want {
				t.Errorf("RetryHint(%q) = %v, want %v", tt.reason, got, tt.want)
			}
		})
	}
}
