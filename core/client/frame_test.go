package client_test

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"

	"firetower/core/client"
	"firetower/core/protocol"
)

// TestPushRoundTrip: what a gateway puts into a push comes out byte for byte, but for white space
// around JSON.
func TestPushRoundTrip(t *testing.T) {
	properties := gopter.NewProperties(gopter.DefaultTestParameters())
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

func TestRetryHint(t *testing.T) {
	tests := []struct {
		name, reason string
		want         time.Duration
	}{
		{"none", "gateway stops", 0},
		{"a word", "gateway stops; retry=1.5s", 1500 * time.Millisecond},
		{"alone", "retry=20ms", 20 * time.Millisecond},
		{"part of a word", "noretry=20ms", 0},
		{"negative", "retry=-1s", 0},
		{"no duration", "retry=5", 0},
		{"bounded", "retry=9000h", 10 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := client.RetryHint(tt.reason); got != tt.want {
				t.Errorf("RetryHint(%q) = %v, want %v", tt.reason, got, tt.want)
			}
		})
	}
}
